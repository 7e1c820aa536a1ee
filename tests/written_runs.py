"""Finished runs written by hand, for the tests of the reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from benchmark.results import CellRun, GridManifest, RunFolder, RunRecord

NAN = float("nan")
V3 = {"version": "v3", "self_supervision": "shuffle", "shared_layers": "5"}
V4 = {"version": "v4", "fusion_weight": "0.2", "shared_layers": "4-5-6"}


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
) -> None:
    """A finished run whose cases have these scores."""
    metrics: dict[str, tuple[str, Sequence[float]]] = {"dice": ("1", dice)}
    if fpv_ml is not None:
        metrics["fpv_ml"] = ("ml", fpv_ml)
    rows = [
        {
            "run_id": run_id,
            "method": "mirror_unet",
            "dataset": "phantom",
            "fold": fold,
            "seed": seed,
            "split": split,
            "checkpoint": checkpoint,
            "grid": "dataset",
            "case_id": f"case{fold}{number}",
            "patient": f"patient{fold}{number}",
            "region": region,
            "metric": metric,
            "unit": unit,
            "value": value,
        }
        for metric, (unit, values) in metrics.items()
        for number, value in enumerate(values)
    ]
    folder = RunFolder(results, run_id)
    folder.write_scores(pd.DataFrame(rows))
    folder.write_record(RunRecord(run_id, state="done"))


def manifest_of(*cells: tuple[Mapping[str, str], int, int, str]) -> GridManifest:
    runs = tuple(CellRun(factors, fold, seed, run_id) for factors, fold, seed, run_id in cells)
    return GridManifest("table2", "k", "demo", "phantom", "", "f1", 1.0, runs)
