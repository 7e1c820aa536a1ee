"""What is shown of a cell: its runs and how they were made, the scores of its cases, how training went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from reports.evidence.evidence import FileEvidence
from reports.ground.published_numbers import PublishedNumber
from reports.page.checking import Checked
from reports.page.grids import ShownGrid
from reports.page.text import packed, yaml_text
from reports.provenance.trace import RunTrace, Trace
from reports.provenance.words import commit_text, defaults_text, difference_text

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
    run: RunTrace,
    parameters: int | None,
    history: Mapping[str, np.ndarray],
    *,
    checked: Checked,
    dataset: str,
    pictures: Sequence[Picture] = (),
) -> dict[str, object]:
    """A run of a cell with what its folder says of it; `checked`: its cell's files, `dataset`: the name of its data."""
    return {
        "run": run.run_id,
        "reading": run.reading,
        "fold": run.fold,
        "seed": run.seed,
        "state": run.state,
        "failure": run.failure,
        "error": run.error,
        "facts": run_facts(run, parameters, checked=checked, dataset=dataset),
        "config": yaml_text(run.config) if run.config else "",
        "curves": curves(history),
        "pictures": [{"file": picture.file, "what": picture.what} for picture in pictures],
    }


def run_facts(run: RunTrace, parameters: int | None, *, checked: Checked, dataset: str) -> dict[str, str]:
    """How a run was made, in words; what was not written down is left out, and so is where: its host and folders."""
    machine, data = run.machine, run.data
    told: dict[str, object] = {
        "Git commit": commit_text(run.commit, digits=None),
        "Protocol version": run.protocol,
        "Unlike the defaults": defaults_text(run.unlike_defaults),
        "Data fingerprint": data.fingerprint,
        "Data": dataset,
        "Folds": data.splits.path,
        "Cases left out": ", ".join(data.excluded_cases),
        "Checkpoint rule": run.checkpoint,
        "Weights, sha256 (recorded, not checked)": run.weights.recorded,
        "Scores, sha256": _digest(checked.scores.get(run.run_id)),
        "Scored on the grid": run.score_grid,
        "Device": machine.get("gpu") or machine.get("cpu") or machine.get("device"),
        "Threads": machine.get("threads"),
        "Precision": machine.get("precision"),
        "Optimiser steps": run.steps,
        "Training": _seconds(run.train_seconds),
        "Parameters": None if parameters is None else f"{parameters:,}",
        "Versions": ", ".join(f"{name} {version}" for name, version in run.versions.items()),
        "Warnings": " ".join(run.warnings),
    }
    if run.mlflow is not None:
        told["MLflow"] = run.mlflow.url or run.mlflow.text
        told["MLflow is there"] = run.mlflow.text if run.mlflow.url else ""
    return known_facts(told)


def known_facts(told: Mapping[str, object]) -> dict[str, str]:
    """The facts in words, without those that were not written down."""
    return {name: str(value) for name, value in told.items() if value not in (None, "")}


def _digest(file: FileEvidence | None) -> str | None:
    """The digest of a file of scores, and whether the file has it."""
    if file is None:
        return None
    told = {
        "unchanged": "the file's",
        "changed": "recorded, NOT the file's",
        "not recorded": "the file's, not recorded",
    }
    return f"{file.recorded or file.sha256} ({told.get(file.state, file.state)})".strip()


def trace_content(trace: Trace, checked: Checked) -> dict[str, object]:
    """What is known of a cell besides its runs: its numbers from the files, what was published of it, its neighbours,
    faults."""
    return {
        "published": None if trace.published is None else _published(trace.published),
        "neighbours": [
            {
                "along": near.along.replace("_", " "),
                "cells": list(near.cells),
                "differences": list(map(difference_text, near.differences)),
            }
            for near in trace.neighbours
        ],
        "recomputed": dict(checked.recomputed),
        "faults": list(dict.fromkeys([*trace.faults, *checked.faults])),
        "remarks": list(trace.remarks),
    }


def _published(number: PublishedNumber) -> str:
    apart = f" Not comparable with the own number: {number.apart}." if number.apart else ""
    return f"{number.value:.2f} ({number.source}; {number.file}, line {number.line}).{apart}"


def _seconds(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def curves(history: Mapping[str, np.ndarray]) -> dict[str, object]:
    """The columns of a run's history over its steps, each at most MOST_POINTS, the last of them always there."""
    n = len(next(iter(history.values()), ()))
    if not n:
        return {"steps": [], "series": {}}
    shown = thinned(n)
    columns = {name: values[shown].tolist() for name, values in history.items()}
    steps = columns.get("step", range(len(shown)))
    series = {
        name: list(map(_five_digits, values)) for name, values in columns.items() if name not in NOT_A_CURVE
    }
    return {
        "steps": list(map(int, steps)),
        "series": {
            name: values for name, values in series.items() if any(value is not None for value in values)
        },
    }


def _five_digits(value: float) -> float | None:
    return float(f"{value:.5g}") if isfinite(value) else None


def thinned(n: int, most: int = MOST_POINTS) -> np.ndarray:
    """Which of n rows are shown: evenly spread, first and last among them."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int))
