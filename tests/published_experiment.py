"""Runs written by hand as if they were the published experiment, for the tests of what is compared with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.config import TrainingConfig, merge
from benchmark.data.splits import Fold, Splits
from benchmark.files.writing import write_json
from benchmark.results.manifests import GridManifest
from benchmark.results.runs import DataPlaces, RunFolder

CASES, TESTED = 1014, 203
"""Of AutoPET, and of the part that the paper reports."""


def as_published(
    results: Path,
    manifest: GridManifest,
    *,
    cases: int = CASES,
    folds: int = 5,
    settings: Mapping[str, Any] | None = None,
) -> GridManifest:
    """Give the runs of a launch the recipe, and so many cases in so many folds; `settings` replace some of it."""
    config = {
        "dataset": "autopet",
        "spacing_mm": None,
        "method": "mirror_unet",
        "method_args": {"channels": [16, 32, 64, 128, 256]},
        "training": TrainingConfig().model_dump(mode="json"),
    }
    splits = results / "splits" / f"data-{cases}-{folds}" / f"{folds}_folds.json"
    write_json(splits, written_splits(cases, folds).to_json())
    for cell in manifest.cells:
        folder = RunFolder(results, cell.run_id)
        folder.write_config(merge(config, dict(settings or {})))
        store = results / "stores" / "data"
        folder.write_data(DataPlaces(results / "data", store, store, splits))
    return manifest


def written_splits(cases: int, folds: int) -> Splits:
    """Every case is tested once."""
    ids = [f"case{number:04d}" for number in range(cases)]
    parts = []
    for fold in range(folds):
        test = ids[fold::folds]
        rest = [name for name in ids if name not in set(test)]
        parts.append(Fold(tuple(rest[1:]), tuple(rest[:1]), tuple(test)))
    return Splits(tuple(parts), 0, "by hand")
