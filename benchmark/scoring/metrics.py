"""Scores of one case and one region: two masks on one grid and the spacing of their voxels.

A metric is one function of a `MaskPair`, decorated with what a table needs to know of it. It is called with
the predicted mask, the reference mask and `spacing_mm`, and returns NaN where it is undefined.

    dice               overlap, per case                                    undefined without a reference
    fpv_ml             predicted components that touch no reference voxel   AutoPET 2022 challenge
    fnv_ml             reference components that touch no predicted voxel   AutoPET 2022 challenge
    over_ml            predicted voxels outside the reference
    under_ml           reference voxels that were not predicted
    lesions            reference components, and
    missed_lesions     those of them that touch no predicted voxel          as FNV
    hd95_mm            95th percentile of the surface distance              BraTS's convention, see below
    surface_dice_2mm   share of both surfaces within 2 mm of each other     BraTS's convention, see below
    missed, invented   1 where a whole structure was missed, or invented

Dice alone can be undefined, and whether it is depends on the reference, never on the prediction: means over
cases speak of the same cases for every method. The two metrics of surfaces are defined for every case, as in
the BraTS challenge: both masks empty is perfect (0 mm, 1); a structure that was missed (a reference, no
prediction) or invented (a prediction, no reference) costs the declared penalty, the volume's diagonal and a
surface Dice of 0. Penalties enter every mean; `missed` and `invented` count them.

Voxels that nobody annotated are in neither mask, as in nnU-Net's evaluation (`evaluate.annotated_only`
empties both there): they are in no volume and no count. Components and surfaces are those of what is left. A lesion
that such voxels cut in two counts as two, and where both masks reach them, they have the same surface there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from benchmark.scoring.mask_pair import MaskPair
from benchmark.vocabulary import Spacing

TOLERANCE_MM = 2.0
ROUNDING_MM = 1e-6
"""So much a distance of exactly the tolerance may lie above it, since multiples of a spacing are rounded."""


Column = Literal["every region", "one region", "none"]
"""In which tables of methods a metric is a column: in all, in those of data with a single region, or in none."""


@dataclass(frozen=True)
class Metric:
    """Everything that is known of a score, stated once; called with masks, it scores them.

    `unit` is that of the values, `title` that of a table, whose numbers are `scale * value`. `undefined`: whether a
    case may have none (NaN). `penalty`: what a structure that was missed or invented has instead of a measured value.
    `column`: where it is printed.
    """

    name: str
    title: str
    unit: str
    scale: float
    higher_is_better: bool
    description: str
    undefined: bool
    penalty: str
    column: Column
    function: Callable[[MaskPair], float]

    def __call__(
        self, prediction: ArrayLike, reference: ArrayLike, *, spacing_mm: Spacing | None = None
    ) -> float:
        """The score of one predicted and one reference mask; `spacing_mm` may be left out where no mm
        enter."""
        return self.function(MaskPair(prediction, reference, spacing_mm=spacing_mm))


METRICS: dict[str, Metric] = {}


def differ_in_print(values: Iterable[float], scale: float) -> bool:
    """Whether any two values differ as tables print them, in two decimals of `scale * value`; undefined ones are left
    out. There is no best among equals, or of one alone."""
    return len({f"{scale * value:.2f}" for value in values if value == value}) > 1


def metric(
    title: str,
    unit: str,
    *,
    higher_is_better: bool,
    description: str,
    scale: float = 1.0,
    undefined: bool = False,
    penalty: str = "",
    column: Column = "every region",
) -> Callable[[Callable[[MaskPair], float]], Metric]:
    """Make a function of a pair of masks the metric of its name, and list it in `METRICS`."""

    def listed(function: Callable[[MaskPair], float]) -> Metric:
        name = function.__name__
        METRICS[name] = Metric(
            name, title, unit, scale, higher_is_better, description, undefined, penalty, column, function
        )
        return METRICS[name]

    return listed


def score_masks(
    prediction: ArrayLike, reference: ArrayLike, *, spacing_mm: Spacing, perpendicular: float = 1.0
) -> dict[str, float]:
    """All metrics of one predicted and one reference mask, by name.

    Both masks are boolean or 0/1, of one shape `x y z`; `spacing_mm` is in the order of the axes, `perpendicular` as in
    `MaskPair`. Raises `BenchError` for anything else.
    """
    pair = MaskPair(prediction, reference, spacing_mm=spacing_mm, perpendicular=perpendicular)
    return {name: entry.function(pair) for name, entry in METRICS.items()}


@metric(
    "Dice [%]",
    "1",
    scale=100.0,
    higher_is_better=True,
    undefined=True,
    description="Dice of the foreground; undefined without a reference",
)
def dice(pair: MaskPair) -> float:
    """Dice coefficient of the foreground in [0, 1]; NaN where the reference is empty.

    The convention of the AutoPET challenge: a tumour-free case has no Dice and shows in `fpv_ml`.
    """
    if pair.n_true == 0:
        return float("nan")
    return 2.0 * pair.n_shared / (pair.n_predicted + pair.n_true)


@metric(
    "FPV [ml]",
    "ml",
    higher_is_better=False,
    column="one region",
    description="Volume of predicted components that touch no reference voxel",
)
def fpv_ml(pair: MaskPair) -> float:
    """False positive volume: predicted components that touch no reference voxel, in millilitres.

    AutoPET 2022 challenge, 18-connected components. A component that overlaps a lesion in a single
    voxel counts as a hit with all its volume; what it adds around the lesion shows in `over_ml`.
    """
    return pair.predicted_components.voxels_untouched * pair.voxel_ml


@metric(
    "FNV [ml]",
    "ml",
    higher_is_better=False,
    column="one region",
    description="Volume of reference components that touch no predicted voxel",
)
def fnv_ml(pair: MaskPair) -> float:
    """False negative volume: reference components that touch no predicted voxel, in millilitres.

    AutoPET 2022 challenge, 18-connected components; 0 where the reference is empty.
    """
    return pair.lesions.voxels_untouched * pair.voxel_ml


@metric(
    "Over-segmentation [ml]",
    "ml",
    higher_is_better=False,
    column="none",
    description="Volume of predicted voxels outside the reference",
)
def over_ml(pair: MaskPair) -> float:
    """Over-segmentation: volume of all predicted voxels outside the reference, in millilitres."""
    return (pair.n_predicted - pair.n_shared) * pair.voxel_ml


@metric(
    "Under-segmentation [ml]",
    "ml",
    higher_is_better=False,
    column="none",
    description="Volume of reference voxels that were not predicted",
)
def under_ml(pair: MaskPair) -> float:
    """Under-segmentation: volume of all reference voxels that were not predicted, in millilitres."""
    return (pair.n_true - pair.n_shared) * pair.voxel_ml


@metric("Lesions", "1", higher_is_better=False, column="none", description="Number of reference components")
def lesions(pair: MaskPair) -> float:
    """How many lesions there are: 18-connected components of the reference. It depends on no prediction."""
    return float(pair.lesions.n)


@metric(
    "Missed lesions",
    "1",
    higher_is_better=False,
    column="none",
    description="Number of reference components that touch no predicted voxel",
)
def missed_lesions(pair: MaskPair) -> float:
    """How many lesions were missed entirely: the components whose volume is `fnv_ml`."""
    return float(pair.lesions.n_untouched)


@metric(
    "HD95 [mm]",
    "mm",
    higher_is_better=False,
    penalty="the volume's diagonal",
    description="95 % Hausdorff distance; the volume's diagonal where all is missed or invented",
)
def hd95_mm(pair: MaskPair) -> float:
    """95 % Hausdorff distance in millimetres, defined for every case.

    For either surface (see `MaskPair.distances_mm`) the 95th percentile of the distances to the other one;
    the larger of the two counts. Both masks empty: 0. One of them empty: the diagonal of the volume, which no
    distance inside it can exceed, so that predicting nothing is never better than predicting badly.
    """
    if pair.missed or pair.invented:
        return pair.diagonal_mm
    if pair.n_true == 0:
        return 0.0
    return max(float(np.percentile(distances, 95)) for distances in pair.distances_mm)


@metric(
    "Surface Dice at 2 mm [%]",
    "1",
    scale=100.0,
    higher_is_better=True,
    penalty="0",
    column="none",
    description="Surface Dice at a tolerance of 2 mm; 0 where all is missed or invented",
)
def surface_dice_2mm(pair: MaskPair) -> float:
    """Normalised surface Dice in [0, 1] at a tolerance of 2 mm, defined for every case.

    The voxels of both surfaces that lie within the tolerance of the other one, by all voxels of both. Both
    masks empty: 1. One of them empty: 0. Nikolov et al., Clinically applicable segmentation of head and neck
    anatomy, J Med Internet Res 2021, with voxels in place of their surface elements, as MONAI counts them by
    default.
    """
    if pair.missed or pair.invented:
        return 0.0
    if pair.n_true == 0:
        return 1.0
    near = sum(
        int(np.count_nonzero(distances <= TOLERANCE_MM + ROUNDING_MM)) for distances in pair.distances_mm
    )
    return near / sum(map(len, pair.distances_mm))


@metric(
    "Missed",
    "1",
    higher_is_better=False,
    column="none",
    description="1 where there is a reference and no prediction at all",
)
def missed(pair: MaskPair) -> float:
    """Whether the whole structure was missed: 1 or 0."""
    return float(pair.missed)


@metric(
    "Invented",
    "1",
    higher_is_better=False,
    column="none",
    description="1 where there is a prediction and no reference at all",
)
def invented(pair: MaskPair) -> float:
    """Whether the whole structure was invented: 1 or 0."""
    return float(pair.invented)
