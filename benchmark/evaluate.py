"""Cases to scores: one row per case, region and metric."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.config import RunConfig
from benchmark.data.store import PreparedCase
from benchmark.metrics import METRICS, dice, score_masks
from benchmark.vocabulary import DatasetSpec, Region

Predictor = Callable[[PreparedCase], np.ndarray]
"""From a case to its label map on the full volume at the data set's spacing."""


def region_mask(label_map: np.ndarray, region: Region) -> np.ndarray:
    """The union of a region's labels."""
    mask: np.ndarray = np.isin(label_map, region.labels)
    return mask


def mean_dice(predictor: Predictor, cases: Sequence[PreparedCase], *, spec: DatasetSpec) -> float:
    """Mean Dice over cases and regions with a reference; NaN if there are none. Steers training, is never reported."""
    values = []
    for case in cases:
        if case.has_lesion:
            prediction, reference = predictor(case), case.label()
            values += [dice(region_mask(prediction, r), region_mask(reference, r)) for r in spec.regions]
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")


def score_cases(
    predictor: Predictor,
    cases: Sequence[PreparedCase],
    *,
    spec: DatasetSpec,
    config: RunConfig,
    run_id: str,
    predictions: Path | None = None,
    on_case: Callable[[int], None] = lambda done: None,
) -> tuple[pd.DataFrame, float]:
    """Score every case of the test part; returns the rows of `scores.parquet` and the mean seconds a prediction took.

    `predictions`: a folder that gets each case's label map as NIfTI on the original grid.
    """
    rows: list[dict[str, object]] = []
    seconds = []
    for done, case in enumerate(cases):
        started = time.perf_counter()
        prediction = predictor(case)
        seconds.append(time.perf_counter() - started)
        if predictions is not None:
            case.write_nifti(predictions / f"{case.case_id}.nii.gz", prediction)
        facts = {
            "run_id": run_id,
            "method": config.method,
            "dataset": config.dataset,
            "fold": config.fold,
            "seed": config.seed,
            "split": "test",
            "checkpoint": config.training.checkpoint,
            "grid": config.inference.score_grid,
            "case_id": case.case_id,
            "patient": case.patient,
        }
        rows += [facts | score for score in _scores(case, prediction, spec, config.inference.score_grid)]
        on_case(done + 1)
    return pd.DataFrame(rows), float(np.mean(seconds)) if seconds else float("nan")


def _scores(
    case: PreparedCase, prediction: np.ndarray, spec: DatasetSpec, grid: str
) -> Iterator[dict[str, object]]:
    reference, spacing = case.label(), case.geometry.spacing_mm
    if grid == "native":
        prediction, reference = case.geometry.to_native(prediction), case.native_label()
        spacing = case.geometry.native_spacing_mm
    for region in spec.regions:
        values = score_masks(
            region_mask(prediction, region), region_mask(reference, region), spacing_mm=spacing
        )
        for name, value in values.items():
            yield {"region": region.name, "metric": name, "unit": METRICS[name].unit, "value": value}
