"""FPV + FNV of a whole-body case with some 200 components, against one mask per component."""

from __future__ import annotations

from collections.abc import Iterator

import cc3d
import numpy as np
from numpy.typing import NDArray

from benchmark.scoring.metrics import fnv_ml, fpv_ml
from tests.performance.measure import Comparison, Setting, in_turns, seconds

SHAPE = (400, 400, 326)
SPACING = (2.0, 2.0, 3.0)
N_COMPONENTS = 200

Mask = NDArray[np.bool_]


def measure(setting: Setting) -> Iterator[Comparison]:
    prediction, reference = whole_body_masks(np.random.default_rng(0))
    counts = [
        cc3d.connected_components(m, connectivity=18, return_N=True)[1] for m in (prediction, reference)
    ]

    def ours() -> tuple[float, float]:
        return fpv_ml(prediction, reference, spacing_mm=SPACING), fnv_ml(
            prediction, reference, spacing_mm=SPACING
        )

    def peer() -> tuple[float, float]:
        return missed_ml_one_mask_each(prediction, reference), missed_ml_one_mask_each(reference, prediction)

    ours_seconds, peer_seconds, values, peer_values = in_turns(
        ours, peer, repeats=setting.repeats, warm_up=ours
    )
    lean_seconds, lean = seconds(
        lambda: (missed_ml_lean(prediction, reference), missed_ml_lean(reference, prediction))
    )
    yield Comparison(
        figure="false_volumes",
        what=f"FPV + FNV of {SHAPE} voxels, {counts[0]} predicted and {counts[1]} reference components",
        peer_is="one mask per component with the AutoPET script's operations, on boolean masks "
        "(the script's are float64, which is slower still)",
        goal="faster",
        unit="s",
        target=25.0,
        ours=ours_seconds,
        peer=peer_seconds,
        conditions=(
            (f"the same volumes: {values[0]:.3f} and {values[1]:.3f} ml", np.allclose(values, peer_values)),
        ),
        remarks=(
            f"the leanest loop over components we could write takes {lean_seconds:.3g} s "
            f"({'the same volumes' if np.allclose(values, lean) else 'OTHER volumes'})",
        ),
    )


def whole_body_masks(generator: np.random.Generator) -> tuple[Mask, Mask]:
    """Reference: balls of 2 to 9 voxels' radius all over the volume. Prediction: two thirds of them, moved
    by a voxel or two, and as many false ones as are missing."""
    prediction, reference = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    for _ in range(N_COMPONENTS):
        radius = int(generator.integers(2, 10))
        centre = np.array([generator.integers(radius + 2, side - radius - 2) for side in SHAPE])
        _add_ball(reference, centre, radius)
        if generator.random() < 2 / 3:
            _add_ball(prediction, centre + generator.integers(-1, 2, size=3), radius)
        else:
            elsewhere = np.array([generator.integers(radius, side - radius) for side in SHAPE])
            _add_ball(prediction, elsewhere, radius)
    return prediction, reference


def _add_ball(mask: Mask, centre: NDArray[np.int64], radius: int) -> None:
    x, y, z = np.ogrid[-radius : radius + 1, -radius : radius + 1, -radius : radius + 1]
    box = tuple(slice(int(c) - radius, int(c) + radius + 1) for c in centre)
    mask[box] |= x * x + y * y + z * z <= radius * radius


def missed_ml_one_mask_each(mask: Mask, other: Mask) -> float:
    """The way of the challenge's `val_script.py`: isin, product and sum over the volume per component."""
    labels = cc3d.connected_components(mask, connectivity=18)
    voxels = 0
    for index in range(1, int(labels.max()) + 1):
        component = np.isin(labels, index)
        if (component * other).sum() == 0:
            voxels += int(component.sum())
    return voxels * float(np.prod(SPACING)) / 1000


def missed_ml_lean(mask: Mask, other: Mask) -> float:
    """The same loop with a comparison, a conjunction and an early end: what a careful loop would cost."""
    labels, n_components = cc3d.connected_components(mask, connectivity=18, return_N=True)
    voxels = 0
    for index in range(1, n_components + 1):
        component = labels == index
        if not (component & other).any():
            voxels += int(np.count_nonzero(component))
    return voxels * float(np.prod(SPACING)) / 1000
