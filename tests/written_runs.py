"""Runs written by hand, for the tests of the reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.results.manifests import CellRun, GridManifest
from benchmark.results.runs import RunFolder, RunRecord

NAN = float("nan")
V3 = {"version": "v3", "self_supervision": "shuffle", "shared_layers": "5"}
V4 = {"version": "v4", "fusion_weight": "0.2", "shared_layers": "4-5-6"}
UNITS = {
    "dice": "1",
    "fpv_ml": "ml",
    "fnv_ml": "ml",
    "hd95_mm": "mm",
    "surface_dice_2mm": "1",
    "missed": "1",
    "invented": "1",
    "lesions": "1",
    "missed_lesions": "1",
}

Scores = Mapping[str, Sequence[float]]
"""For every metric one value a case."""


def write_run(
    results: Path,
    run_id: str,
    dice: Sequence[float],
    *,
    fold: int = 0,
    seed: int = 0,
    region: str = "tumor",
    split: str = "test",
    checkpoint: str = "last",
    fpv_ml: Sequence[float] | None = None,
    fnv_ml: Sequence[float] | None = None,
    **record: Any,
) -> None:
    """A finished run whose cases have these scores; `record` are fields of its RunRecord."""
    volumes = {"fpv_ml": fpv_ml, "fnv_ml": fnv_ml}
    scores = {"dice": dice} | {metric: values for metric, values in volumes.items() if values is not None}
    where = {"fold": fold, "seed": seed, "region": region, "split": split, "checkpoint": checkpoint}
    write_readings(results, run_id, {"": scores}, where=where, **record)


def write_readings(
    results: Path,
    run_id: str,
    readings: Mapping[str, Scores],
    *,
    where: Mapping[str, Any] | None = None,
    **record: Any,
) -> None:
    """A finished run that was read in several ways; `where` replaces columns such as fold, seed and region."""
    write_scores(results, run_id, [score_rows(run_id, readings, where=where)], **record)


def write_regions(
    results: Path,
    run_id: str,
    regions: Mapping[str, Scores],
    *,
    where: Mapping[str, Any] | None = None,
    **record: Any,
) -> None:
    """A finished run that was scored in several regions."""
    frames = [
        score_rows(run_id, {"": scores}, where={**(where or {}), "region": region})
        for region, scores in regions.items()
    ]
    write_scores(results, run_id, frames, **record)


def write_scores(results: Path, run_id: str, frames: Sequence[pd.DataFrame], **record: Any) -> None:
    """A finished run with these rows of scores."""
    folder = RunFolder(results, run_id)
    folder.write_scores(pd.concat(frames, ignore_index=True))
    folder.write_record(RunRecord(run_id, state="done", **record))


def score_rows(
    run_id: str, readings: Mapping[str, Scores], *, where: Mapping[str, Any] | None = None
) -> pd.DataFrame:
    """Rows of `scores.parquet`."""
    facts = {"fold": 0, "seed": 0, "region": "tumor", "split": "test", "checkpoint": "last", **(where or {})}
    rows = [
        {
            **facts,
            "run_id": run_id,
            "method": "some_method",
            "dataset": "phantom",
            "grid": "dataset",
            "reading": reading,
            "case_id": f"case{facts['fold']}{number}",
            "patient": f"patient{facts['fold']}{number}",
            "metric": metric,
            "unit": UNITS[metric],
            "value": value,
        }
        for reading, scores in readings.items()
        for metric, values in scores.items()
        for number, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def write_failure(results: Path, run_id: str, failure: Any, *, error: str = "") -> None:
    """A run that failed."""
    RunFolder(results, run_id).write_record(RunRecord(run_id, "failed", failure, error))


def manifest_of(*cells: tuple[Mapping[str, str], int, int, str]) -> GridManifest:
    """A launch of the grid table2: factors, fold, seed and run of every cell."""
    runs = tuple(CellRun(factors, fold, seed, run_id) for factors, fold, seed, run_id in cells)
    return GridManifest("table2", "k", "demo", "phantom", "", "f1", 1.0, runs)


def methods_manifest(
    grid: str, *cells: tuple[str, int, int, str] | tuple[str, int, int, str, str]
) -> GridManifest:
    """A launch of a grid of methods: method, fold, seed, run and, where it has several, reading of every cell."""
    runs = tuple(
        CellRun({"method": method}, fold, seed, run_id, *reading)
        for method, fold, seed, run_id, *reading in cells
    )
    return GridManifest(grid, "k", "paper", "autopet", "", "f1", 1.0, runs)
