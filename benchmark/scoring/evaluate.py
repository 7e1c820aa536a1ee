"""Label maps to scores: one row per case, reading, region and metric."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import UInt8

from benchmark.config import RunConfig
from benchmark.data.prepare import Geometry
from benchmark.data.store import PreparedCase
from benchmark.results.runs import SCORE_COLUMNS
from benchmark.scoring.metrics import METRICS, dice, score_masks
from benchmark.scoring.projections import Projections, projected_errors
from benchmark.vocabulary import IGNORED, BenchError, DatasetSpec, Region, did_you_mean


@dataclass(frozen=True)
class LabelMap:
    """Labels on the full grid of a preparation, or (`native`) on the original file's voxels."""

    voxels: UInt8[np.ndarray, "x y z"]
    geometry: Geometry
    native: bool = False

    def on_grid(self, geometry: Geometry) -> UInt8[np.ndarray, "X Y Z"]:
        """By nearest voxel on the full grid of a preparation of the same case."""
        if self.native:
            return geometry.from_native(self.voxels)
        return self.geometry.to_grid(self.voxels, geometry)

    def on_native(self) -> UInt8[np.ndarray, "i j k"]:
        """By nearest voxel on the original file's voxels."""
        return self.voxels if self.native else self.geometry.to_native(self.voxels)


Split = Literal["test", "validation"]
Predicted = tuple[str, Mapping[str, LabelMap]]
"""A case's id, and its label map for every reading."""


def region_mask(label_map: np.ndarray, region: Region) -> np.ndarray:
    """The union of a region's labels."""
    mask: np.ndarray = np.isin(label_map, region.labels)
    return mask


def annotated_only(
    prediction: UInt8[np.ndarray, "x y z"], reference: UInt8[np.ndarray, "x y z"]
) -> tuple[UInt8[np.ndarray, "x y z"], UInt8[np.ndarray, "x y z"]]:
    """Both label maps with background where nobody annotated: nothing is right, missed or false there.

    nnU-Net's evaluation counts the same voxels. What components and surfaces are then: see `benchmark.scoring.metrics`.
    """
    ignored = reference == IGNORED
    if not ignored.any():
        return prediction, reference
    return np.where(ignored, np.uint8(0), prediction), np.where(ignored, np.uint8(0), reference)


def predicted_regions(spec: DatasetSpec, told: Sequence[str] | None) -> tuple[Region, ...]:
    """The data set's regions that a method's label maps can tell (see `Entrant.predicted_regions`)."""
    if told is None:
        return spec.regions
    known = [region.name for region in spec.regions]
    if unknown := [name for name in told if name not in known]:
        raise BenchError(f"{spec.name} has no region {unknown[0]!r}. {did_you_mean(unknown[0], known)}")
    return tuple(region for region in spec.regions if region.name in told)


def new_projections(spec: DatasetSpec, told: Sequence[str] | None) -> Projections:
    """Where pictures of the told regions go, over the modality in which a method with two branches segments."""
    modality = spec.branches[1][0] if spec.branches else spec.modalities[-1]
    return Projections(modality, [region.name for region in predicted_regions(spec, told)])


def mean_dice(
    predictor: Callable[[PreparedCase], np.ndarray],
    cases: Sequence[PreparedCase],
    *,
    spec: DatasetSpec,
    told: Sequence[str] | None = None,
) -> float:
    """Mean Dice over cases and regions with a reference; NaN if there are none. Steers training, is never reported.

    `predictor` gives a case's labels on the full grid of its own preparation; `told`: the regions they can tell.
    """
    regions = predicted_regions(spec, told)
    values = []
    for case in cases:
        if case.has_lesion:
            prediction, reference = annotated_only(predictor(case), case.label())
            values += [dice(region_mask(prediction, r), region_mask(reference, r)) for r in regions]
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")


def score_cases(
    predicted: Iterable[Predicted],
    references: Mapping[str, PreparedCase],
    *,
    spec: DatasetSpec,
    config: RunConfig,
    run_id: str,
    told: Sequence[str] | None = None,
    split: Split = "test",
    predictions: Path | None = None,
    projections: Projections | None = None,
) -> pd.DataFrame:
    """The rows of `scores.parquet` for one part of a fold, for the regions that are `told` (None: all).

    `references` hold the usual preparation of every case: whatever grid a method works on, it is scored on theirs (or
    on the original files'). `predictions`: a folder that gets the label maps as NIfTI on the original grid, in a
    subfolder a reading where there are several.
    """
    regions = predicted_regions(spec, told)
    rows: list[dict[str, object]] = []
    for case_id, label_maps in predicted:
        case = references[case_id]
        for reading, label_map in label_maps.items():
            if predictions is not None:
                case.write_nifti(predictions / reading / f"{case_id}.nii.gz", label_map.on_native())
            facts = {
                "run_id": run_id,
                "method": config.method,
                "dataset": spec.name,
                "fold": config.fold,
                "seed": config.seed,
                "split": split,
                "checkpoint": config.training.checkpoint,
                "grid": _grid_name(case, config.inference.score_grid),
                "reading": reading,
                "case_id": case_id,
                "patient": case.patient,
            }
            grid = config.inference.score_grid
            on_grid = (
                label_map.on_grid(case.geometry) if projections is not None or grid != "native" else None
            )
            rows += [facts | score for score in _scores(case, label_map, on_grid, regions, grid)]
            if projections is not None and on_grid is not None:
                errors = projected_errors(*annotated_only(on_grid, case.label()), regions)
                for region, codes in errors.items():
                    projections.add(codes, reading=reading, case_id=case_id, region=region)
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def _grid_name(case: PreparedCase, grid: str) -> str:
    """What the table calls the grid; scores on different spacings are not comparable."""
    if grid == "native":
        return grid
    return " x ".join(f"{edge:g}" for edge in case.geometry.spacing_mm) + " mm"


def _scores(
    case: PreparedCase,
    label_map: LabelMap,
    on_grid: np.ndarray | None,
    regions: Sequence[Region],
    grid: str,
) -> Iterator[dict[str, object]]:
    """`on_grid`: the labels on the case's own grid, where they are at hand.

    Where nobody annotated anything, every value is NaN: of such a case nothing is known.
    """
    if grid == "native" or on_grid is None:
        prediction, reference = label_map.on_native(), case.native_label()
        spacing = case.geometry.native_spacing_mm
    else:
        prediction, reference = on_grid, case.label()
        spacing = case.geometry.spacing_mm
    unknown = reference.min() == IGNORED
    prediction, reference = annotated_only(prediction, reference)
    for region in regions:
        masks = region_mask(prediction, region), region_mask(reference, region)
        values = (
            dict.fromkeys(METRICS, np.nan)
            if unknown
            else score_masks(*masks, spacing_mm=spacing, perpendicular=case.geometry.perpendicular)
        )
        for name, value in values.items():
            yield {"region": region.name, "metric": name, "unit": METRICS[name].unit, "value": value}
