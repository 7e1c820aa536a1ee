"""What is shown of a cell: its runs and how they were made, the scores of its cases, how training went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import yaml

from benchmark.results import RunFolder, RunRecord
from reports.page.grids import ShownGrid
from reports.page.text import packed

MOST_POINTS = 250
"""Of a training curve; more are not to be seen."""
NOT_A_CURVE = ("step", "epoch", "seconds")


@dataclass(frozen=True)
class Picture:
    """A picture in the page's folder, and what it shows."""

    file: str
    what: str


def cases_content(grid: ShownGrid) -> dict[str, object]:
    """The test cases of a launch, a list a column; all cells have their scores in this order."""
    cases = grid.cases
    return {
        "case_id": cases["case_id"].astype(str).tolist(),
        "patient": cases["patient"].astype(str).tolist(),
        "fold": cases["fold"].astype(int).tolist(),
    }


def scores_content(grid: ShownGrid, cell: int) -> dict[str, list[str]]:
    """By measure a packed array a seed, of the cell's cases."""
    return {
        key: [
            packed(scores.values[cell, :, seed], scores.scored[cell, :, seed])
            for seed in range(len(scores.seeds))
        ]
        for key, scores in grid.scores.items()
    }


def run_content(
    run: Mapping[Any, Any],
    record: RunRecord,
    config: Mapping[str, Any] | None,
    history: pd.DataFrame,
    *,
    pictures: Sequence[Picture] = (),
    more: Mapping[str, str] | None = None,
) -> dict[str, object]:
    """A row of `planned_runs` with what its folder says of it."""
    return {
        "run": run["run_id"],
        "reading": run["reading"],
        "fold": run["fold"],
        "seed": run["seed"],
        "state": run["state"],
        "failure": run["failure"],
        "error": run["error"],
        "facts": {**run_facts(record), **(more or {})},
        "config": "" if config is None else yaml.safe_dump(dict(config), sort_keys=False),
        "curves": curves(history),
        "pictures": [{"file": picture.file, "what": picture.what} for picture in pictures],
    }


def run_facts(record: RunRecord) -> dict[str, str]:
    """How a run was made, in words; what was not recorded is left out."""
    facts = record.facts
    versions = facts.get("versions") or {}
    told: dict[str, object] = {
        "Git commit": facts.get("git_commit"),
        "Data fingerprint": record.data_fingerprint,
        "Device": facts.get("gpu") or facts.get("cpu") or facts.get("device"),
        "Host": facts.get("host"),
        "Threads": record.threads,
        "Optimiser steps": record.steps,
        "Parameters": None if record.parameters is None else f"{record.parameters:,}",
        "Training": _seconds(record.train_seconds),
        "Inference a case": _seconds(record.inference_seconds_per_case),
        "Peak memory": None if record.peak_memory_mb is None else f"{record.peak_memory_mb:.0f} MiB",
        "Python": facts.get("python"),
        "Versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "Cases left out": ", ".join(record.excluded_cases),
        "Warnings": " ".join(record.warnings),
    }
    return {name: str(value) for name, value in told.items() if value not in (None, "")}


def _seconds(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def curves(history: pd.DataFrame) -> dict[str, object]:
    """The columns of a run's history over its steps, each at most MOST_POINTS, the last of them always there."""
    if history.empty:
        return {"steps": [], "series": {}}
    history = history.iloc[thinned(len(history))]
    steps = history["step"] if "step" in history else pd.Series(range(len(history)))
    numbers = {
        str(name): pd.to_numeric(history[name], errors="coerce")
        for name in history
        if name not in NOT_A_CURVE
    }
    return {
        "steps": [int(step) for step in steps],
        "series": {
            name: [_five_digits(value) for value in column]
            for name, column in numbers.items()
            if column.notna().any()
        },
    }


def _five_digits(value: float) -> float | None:
    return None if not np.isfinite(value) else float(f"{value:.5g}")


def thinned(n: int, most: int = MOST_POINTS) -> np.ndarray:
    """Which of n rows are shown: evenly spread, first and last among them."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int))


def read_config(folder: RunFolder) -> dict[str, Any] | None:
    """A run's configuration; None where it was never started."""
    return folder.config() if folder.config_file.exists() else None
