"""Scores of one case and one region: two masks on one grid and the spacing of their voxels.

A metric is one function and one entry in `METRICS`. Every function takes the predicted mask first, the
reference mask second and `spacing_mm`, and returns NaN where it is undefined.

    dice       overlap, per case                                    undefined without a reference
    fpv_ml     predicted components that touch no reference voxel   AutoPET 2022 challenge
    fnv_ml     reference components that touch no predicted voxel   AutoPET 2022 challenge
    over_ml    predicted voxels outside the reference
    under_ml   reference voxels that were not predicted
    hd95_mm    95th percentile of the surface distance              undefined without a reference; the
                                                                    volume's diagonal where all is missed

Means over cases therefore speak of the same cases for every method: whether a value is undefined
depends on the reference alone, never on the prediction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import cc3d
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree

from benchmark.vocabulary import BenchError, Spacing

Mask = NDArray[np.bool_]
Box = tuple[slice, slice, slice]

CONNECTIVITY = 18
"""Voxels that share a face or an edge are one lesion; the AutoPET challenge's choice."""


@runtime_checkable
class _Function(Protocol):
    def __call__(self, prediction: ArrayLike, reference: ArrayLike, *, spacing_mm: Spacing) -> float: ...


@dataclass(frozen=True)
class Metric:
    """What a table needs to know of a score, and the function that computes it."""

    name: str
    unit: str
    higher_is_better: bool
    description: str
    function: _Function


def score_masks(prediction: ArrayLike, reference: ArrayLike, *, spacing_mm: Spacing) -> dict[str, float]:
    """All metrics of one predicted and one reference mask, by name.

    Both masks are boolean or 0/1, of one shape `x y z`; `spacing_mm` is in the order of the axes.
    Raises `BenchError` for anything else.
    """
    predicted, true = _checked(prediction, reference, spacing_mm)
    return {name: metric.function(predicted, true, spacing_mm=spacing_mm) for name, metric in METRICS.items()}


def dice(prediction: ArrayLike, reference: ArrayLike, *, spacing_mm: Spacing | None = None) -> float:
    """Dice coefficient of the foreground in [0, 1]; NaN where the reference is empty.

    The convention of the AutoPET challenge: a tumour-free case has no Dice and shows in `fpv_ml`. Needs
    no spacing; it is accepted because all metrics are called alike.
    """
    predicted, true = _checked(prediction, reference, spacing_mm)
    n_true = np.count_nonzero(true)
    if n_true == 0:
        return float("nan")
    return 2.0 * np.count_nonzero(predicted & true) / (np.count_nonzero(predicted) + n_true)


def fpv_ml(prediction: ArrayLike, reference: ArrayLike, *, spacing_mm: Spacing) -> float:
    """False positive volume: predicted components that touch no reference voxel, in millilitres.

    AutoPET 2022 challenge, 18-connected components. A component that overlaps a lesion in a single
    voxel counts as a hit with all its volume; what it adds around the lesion shows in `over_ml`.
    """
    predicted, true = _checked(prediction, reference, spacing_mm)
    return _n_untouched(predicted, true) * _voxel_ml(spacing_mm)


def fnv_ml(prediction: ArrayLike, reference: ArrayLike, *, spacing_mm: Spacing) -> float:
    """False negative volume: reference components that touch no predicted voxel, in millilitres.

    AutoPET 2022 challenge, 18-connected components; 0 where the reference is empty.
    """
    predicted, true = _checked(prediction, reference, spacing_mm)
    return _n_untouched(true, predicted) * _voxel_ml(spacing_mm)


def over_ml(prediction: ArrayLike, reference: ArrayLike, *, spacing_mm: Spacing) -> float:
    """Over-segmentation: volume of all predicted voxels outside the reference, in millilitres."""
    predicted, true = _checked(prediction, reference, spacing_mm)
    return np.count_nonzero(predicted & ~true) * _voxel_ml(spacing_mm)


def under_ml(prediction: ArrayLike, reference: ArrayLike, *, spacing_mm: Spacing) -> float:
    """Under-segmentation: volume of all reference voxels that were not predicted, in millilitres."""
    predicted, true = _checked(prediction, reference, spacing_mm)
    return np.count_nonzero(true & ~predicted) * _voxel_ml(spacing_mm)


def hd95_mm(prediction: ArrayLike, reference: ArrayLike, *, spacing_mm: Spacing) -> float:
    """95 % Hausdorff distance in millimetres, with a penalty where the whole reference was missed.

    The surface of a mask is its voxels with a background voxel (or the volume's border) at one of the
    six faces. For either surface the 95th percentile of the distances to the other one, between
    voxel centres; the larger of the two counts.

    Reference empty: NaN, as for `dice`. Prediction empty, reference not: the diagonal of the volume, which
    no distance inside it can exceed, so that predicting nothing is never better than predicting badly.
    """
    predicted, true = _checked(prediction, reference, spacing_mm)
    if not true.any():
        return float("nan")
    if not predicted.any():
        return float(np.linalg.norm(np.multiply(true.shape, spacing_mm)))
    box = _bounding_box(predicted | true)
    surface_predicted, surface_true = _surface(predicted[box]), _surface(true[box])
    return max(
        _distance_95(surface_predicted, surface_true, spacing_mm),
        _distance_95(surface_true, surface_predicted, spacing_mm),
    )


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("dice", "1", True, "Dice of the foreground; undefined without a reference", dice),
        Metric("fpv_ml", "ml", False, "Volume of predicted components that touch no reference voxel", fpv_ml),
        Metric("fnv_ml", "ml", False, "Volume of reference components that touch no predicted voxel", fnv_ml),
        Metric("over_ml", "ml", False, "Volume of predicted voxels outside the reference", over_ml),
        Metric("under_ml", "ml", False, "Volume of reference voxels that were not predicted", under_ml),
        Metric(
            "hd95_mm",
            "mm",
            False,
            "95 % Hausdorff distance; the volume's diagonal if all is missed, undefined without a reference",
            hd95_mm,
        ),
    )
}


def _checked(prediction: ArrayLike, reference: ArrayLike, spacing_mm: Spacing | None) -> tuple[Mask, Mask]:
    """Both masks as boolean arrays; boolean arrays are passed on as they are."""
    predicted = _boolean(np.asarray(prediction), role="prediction")
    true = _boolean(np.asarray(reference), role="reference")
    if predicted.shape != true.shape:
        raise BenchError(
            f"The prediction has shape {predicted.shape}, the reference {true.shape}. "
            "Resample one onto the grid of the other before scoring."
        )
    if spacing_mm is not None:
        edges = np.asarray(spacing_mm, dtype=float)
        if edges.shape != (3,) or not (np.isfinite(edges).all() and (edges > 0).all()):
            raise BenchError(f"spacing_mm must be three positive lengths in mm, not {spacing_mm!r}.")
    return predicted, true


def _boolean(mask: NDArray[Any], *, role: str) -> Mask:
    if mask.ndim != 3:
        raise BenchError(
            f"The {role} has {mask.ndim} dimensions, shape {mask.shape}; a mask has the three of a volume. "
            "Score one case and one region at a time."
        )
    if mask.dtype == np.bool_:
        return mask
    foreground = mask != 0
    if mask.dtype.kind not in "iuf" or not np.array_equal(mask, foreground):
        raise BenchError(
            f"The {role} (dtype {mask.dtype}) has values other than 0 and 1. "
            "Turn a label map into one mask per region first, probabilities into a decision."
        )
    return foreground


def _voxel_ml(spacing_mm: Spacing) -> float:
    return float(np.prod(spacing_mm)) / 1000.0


def _bounding_box(mask: Mask) -> Box:
    """The smallest box around a mask that is not empty."""
    plane = np.any(mask, axis=0)
    inside: list[Mask] = [np.any(mask, axis=(1, 2)), np.any(plane, axis=1), np.any(plane, axis=0)]
    first = [int(along.argmax()) for along in inside]
    stop = [len(along) - int(along[::-1].argmax()) for along in inside]
    return slice(first[0], stop[0]), slice(first[1], stop[1]), slice(first[2], stop[2])


def _n_untouched(mask: Mask, other: Mask) -> int:
    """Voxels of the connected components of `mask` that share no voxel with `other`.

    One pass over the labelled volume whatever the number of components: which labels occur under
    `other`, then how many voxels carry one of the rest.
    """
    if not mask.any():
        return 0
    box = _bounding_box(mask)
    inside = np.ascontiguousarray(mask[box])
    labels, n_components = cc3d.connected_components(
        inside, connectivity=CONNECTIVITY, binary_image=True, return_N=True
    )
    touched = np.zeros(n_components + 1, dtype=bool)
    touched[labels[inside & other[box]]] = True
    return int(np.count_nonzero(~touched[labels[inside]]))


def _surface(mask: Mask) -> Mask:
    """Voxels of a mask with background or the array's border at a face."""
    interior = mask.copy()
    for axis in range(3):
        line, kept = np.moveaxis(mask, axis, 0), np.moveaxis(interior, axis, 0)
        kept[1:] &= line[:-1]
        kept[:-1] &= line[1:]
        kept[0] = kept[-1] = False
    return mask & ~interior


def _distance_95(origin: Mask, target: Mask, spacing_mm: Spacing) -> float:
    """95th percentile over the voxels of `origin` of the distance to the nearest voxel of `target`, in mm."""
    apart = np.argwhere(origin & ~target) * np.asarray(spacing_mm)
    distances = np.zeros(np.count_nonzero(origin))
    if len(apart):
        # A tree over the surface alone: a distance transform would visit every voxel of the box. It is
        # asked once, so an unbalanced tree, which is built in a third of the time, is the quicker one.
        tree = KDTree(
            np.argwhere(target) * np.asarray(spacing_mm),
            leafsize=32,
            compact_nodes=False,
            balanced_tree=False,
        )
        distances[: len(apart)] = tree.query(apart)[0]
    return float(np.percentile(distances, 95))
