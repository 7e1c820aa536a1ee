"""A predicted and a reference mask on one grid, and what metrics ask of them: counts, components, surfaces.

What several metrics need is found once a pair: the masks are checked and cropped when the pair is made,
counts and distances are computed when they are first asked for.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree

from benchmark.data.lesions import Components, Mask, bounding_box, components
from benchmark.vocabulary import BenchError, Spacing

Distances = NDArray[np.float64]


class MaskPair:
    """Two masks, boolean or 0/1, of one shape `x y z`; `spacing_mm` is in the order of the axes.

    `perpendicular` is the volume of a voxel as a part of the product of its edges, less than 1 where axes are oblique;
    distances take them for perpendicular.

    `prediction` and `reference` are the masks inside the smallest box around both. Raises `BenchError` for
    what is no mask or no spacing; without a spacing only what needs none can be asked for.
    """

    def __init__(
        self,
        prediction: ArrayLike,
        reference: ArrayLike,
        *,
        spacing_mm: Spacing | None,
        perpendicular: float = 1.0,
    ) -> None:
        predicted = _boolean(np.asarray(prediction), role="prediction")
        true = _boolean(np.asarray(reference), role="reference")
        if predicted.shape != true.shape:
            raise BenchError(
                f"The prediction has shape {predicted.shape}, the reference {true.shape}. "
                "Resample one onto the grid of the other before scoring."
            )
        self._spacing_mm = None if spacing_mm is None else _checked(spacing_mm)
        self._perpendicular = perpendicular
        self._shape = true.shape
        box = bounding_box(predicted | true)
        self.prediction: Mask = predicted[box]
        self.reference: Mask = true[box]

    @property
    def edges_mm(self) -> NDArray[np.float64]:
        """The voxels' edges."""
        if self._spacing_mm is None:
            raise BenchError("This metric is in mm or ml: name the voxels' spacing_mm.")
        return self._spacing_mm

    @property
    def voxel_ml(self) -> float:
        return float(np.prod(self.edges_mm)) / 1000.0 * self._perpendicular

    @property
    def diagonal_mm(self) -> float:
        """The diagonal of the whole volume, which no distance inside it can exceed."""
        return float(np.linalg.norm(np.multiply(self._shape, self.edges_mm)))

    @cached_property
    def n_predicted(self) -> int:
        """Voxels of the prediction."""
        return int(np.count_nonzero(self.prediction))

    @cached_property
    def n_true(self) -> int:
        """Voxels of the reference."""
        return int(np.count_nonzero(self.reference))

    @cached_property
    def n_shared(self) -> int:
        """Voxels of both."""
        return int(np.count_nonzero(self.prediction & self.reference))

    @cached_property
    def predicted_components(self) -> Components:
        """Those of the prediction; untouched by the reference."""
        return components(self.prediction, self.reference)

    @cached_property
    def lesions(self) -> Components:
        """Those of the reference; untouched by the prediction."""
        return components(self.reference, self.prediction)

    @property
    def missed(self) -> bool:
        """There is a reference, and nothing at all is predicted."""
        return self.n_true > 0 and self.n_predicted == 0

    @property
    def invented(self) -> bool:
        """There is no reference, and something is predicted."""
        return self.n_true == 0 and self.n_predicted > 0

    @cached_property
    def distances_mm(self) -> tuple[Distances, Distances]:
        """From each surface voxel of the prediction to the reference's surface, and the other way round.

        The surface of a mask is its voxels with a background voxel (or the volume's border) at one of the six
        faces. Distances are between voxel centres. Both masks must have voxels.
        """
        predicted, true = _surface(self.prediction), _surface(self.reference)
        return _distances(predicted, true, self.edges_mm), _distances(true, predicted, self.edges_mm)


def _boolean(mask: NDArray[Any], *, role: str) -> Mask:
    """The mask as a boolean array; one that is boolean is passed on as it is."""
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


def _checked(spacing_mm: Spacing) -> NDArray[np.float64]:
    edges = np.asarray(spacing_mm, dtype=float)
    if edges.shape != (3,) or not (np.isfinite(edges).all() and (edges > 0).all()):
        raise BenchError(f"spacing_mm must be three positive lengths in mm, not {spacing_mm!r}.")
    return edges


def _surface(mask: Mask) -> Mask:
    """Voxels of a mask with background or the array's border at a face."""
    interior = mask.copy()
    for axis in range(3):
        line, kept = np.moveaxis(mask, axis, 0), np.moveaxis(interior, axis, 0)
        kept[1:] &= line[:-1]
        kept[:-1] &= line[1:]
        kept[0] = kept[-1] = False
    return mask & ~interior


def _distances(origin: Mask, target: Mask, edges_mm: NDArray[np.float64]) -> Distances:
    """For every voxel of `origin` the distance to the nearest one of `target`, in mm; those of both come
    last."""
    apart = np.argwhere(origin & ~target) * edges_mm
    distances = np.zeros(np.count_nonzero(origin))
    if len(apart):
        # A tree over the surface alone: a distance transform would visit every voxel of the box. It is
        # asked once, so an unbalanced tree, which is built in a third of the time, is the quicker one.
        tree = KDTree(
            np.argwhere(target) * edges_mm,
            leafsize=32,
            compact_nodes=False,
            balanced_tree=False,
        )
        distances[: len(apart)] = tree.query(apart)[0]
    return distances
