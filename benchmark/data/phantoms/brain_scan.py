"""One examination of a brain phantom: four contrasts and a label map on one grid. See docs/phantoms.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.data.phantoms.brain_canvas import Canvas
from benchmark.data.phantoms.brain_contrast import CONTRASTS, see
from benchmark.data.phantoms.brain_grid import Grid
from benchmark.data.phantoms.brain_patient import Patient
from benchmark.data.phantoms.shapes import Array
from benchmark.vocabulary import Spacing


@dataclass(frozen=True)
class Volumes:
    """One examination. `image[x, y, z, contrast]` in the order of `CONTRASTS`; axes run left, back and up."""

    image: NDArray[np.int16]
    label: NDArray[np.uint8]
    affine: NDArray[np.float64]


def scan(patient: Patient, *, spacing_mm: Spacing) -> Volumes:
    """The four contrasts, zero outside the brain, and the labels of the noiseless anatomy."""
    grid = Grid(spacing_mm, patient.brain.scale)
    canvas = Canvas(grid, patient)
    canvas.paint_brain()
    shares = canvas.paint_glioma()
    inside = grid.averaged(canvas.inside) >= 0.5

    image = np.zeros((*grid.shape, len(CONTRASTS)), np.int16, order="F")
    rng = np.random.default_rng([patient.seed, patient.index, 100])
    for at, name in enumerate(CONTRASTS):
        seen = see(
            grid.averaged(canvas.signal[at]),
            white_matter=float(patient.signals["white matter"][at]),
            acquisition=patient.acquisitions[name],
            axes=grid.voxel_axes,
            spacing_mm=spacing_mm,
            rng=rng,
        )
        image[(*grid.box, at)] = np.where(inside, np.maximum(seen, 1), 0)
    label = np.zeros(grid.shape, np.uint8, order="F")
    label[grid.box] = _labels(np.stack([grid.averaged(share) for share in shares]), inside)
    return Volumes(image=image, label=label, affine=grid.affine)


def _labels(shares: Array, inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The label that has most of each voxel of which half is tumour. No label that exists loses all its voxels."""
    tumour = (shares.sum(0) >= 0.5) & inside
    label = np.where(tumour, shares.argmax(0) + 1, 0).astype(np.uint8)
    for value, share in enumerate(shares, start=1):
        if share.any() and not (label == value).any():
            label.flat[int((share * inside).argmax())] = value
    return label
