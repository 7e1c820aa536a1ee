"""How the phantoms are seen: shapes onto voxels, PET blur and count noise, CT noise. See docs/phantoms.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.data.phantoms.anatomy import Lesion, Patient, Study
from benchmark.data.phantoms.blur import blur, grain
from benchmark.data.phantoms.body import Part
from benchmark.data.phantoms.shapes import Array, Grid, Shape

PET_FWHM_MM = 6.0
PET_NOISE_FWHM_MM = 5.0
CT_NOISE_HU = 12.0
CT_NOISE_FWHM_MM = 2.5
REFERENCE_SPACING_MM = (2.04, 2.04, 3.0)
"""Noise levels are stated for these voxels; larger ones average it down."""
_SUV_STEP = 1 / 512
"""PET is stored in steps, as scanners store it as integers. A centimetre off the body air is exactly zero."""


Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Volumes:
    """The three images of a study on one grid."""

    ct: NDArray[np.float32]
    suv: NDArray[np.float32]
    label: NDArray[np.uint8]
    affine: NDArray[np.float64]


def scan(patient: Patient, study: Study, *, spacing_mm: tuple[float, float, float]) -> Volumes:
    """CT in HU, PET in SUV and the lesions' true extent; axes run to left, front and head."""
    grid = Grid.over(*patient.extent, spacing_mm)
    canvas = Canvas(grid, patient, study)
    for part in study.parts:
        canvas.paint(part)
    label = np.zeros(grid.shape, np.uint8)
    for lesion in study.lesions:
        canvas.paint_lesion(lesion, label)
    rng = np.random.default_rng([patient.seed, patient.index, 100 + study.number])
    suv = see_pet(canvas.activity, spacing_mm=spacing_mm, noise=study.noise, rng=rng)
    ct = see_ct(canvas.density, spacing_mm=spacing_mm, rng=rng)
    return Volumes(ct=ct, suv=suv, label=label, affine=grid.affine(study.bed))


class Canvas:
    """HU and activity of the body before any scanner sees them; a voxel on a border is shared."""

    def __init__(self, grid: Grid, patient: Patient, study: Study) -> None:
        self.study = study
        self.patient = patient
        self.density = np.full(grid.shape, -1000, np.float32)
        self.activity = np.zeros(grid.shape, np.float32)
        x, y, z = ((axis / s).astype(np.float32) for axis, s in zip(grid.axes, patient.scale, strict=True))
        self.x, self.y, self.z = x, y, z
        self.voxel_mm = float(np.prod(grid.spacing_mm)) ** (1 / 3)
        self.steps = [s / scale for s, scale in zip(grid.spacing_mm, patient.scale, strict=True)]

    def _box(self, shape: Shape, margin: float) -> Box | None:
        found = []
        for axis, low, high in zip((self.x, self.y, self.z), shape.low, shape.high, strict=True):
            inside = np.flatnonzero((axis.ravel() >= low - margin) & (axis.ravel() <= high + margin))
            if not len(inside):
                return None
            found.append(slice(int(inside[0]), int(inside[-1]) + 1))
        return found[0], found[1], found[2]

    def _points(self, box: Box, split: int = 1) -> tuple[Array, Array, Array]:
        """Voxel centres in the box, or the centres of `split`^3 pieces of each voxel."""
        axes = (self.x[box[0]], self.y[:, box[1]], self.z[:, :, box[2]])
        if split == 1:
            return axes
        inner = (np.arange(split) + 0.5) / split - 0.5
        found = []
        for axis, centres in enumerate(axes):
            pieces = (centres.ravel()[:, None] + inner * self.steps[axis]).astype(np.float32).ravel()
            found.append(np.expand_dims(pieces, tuple({0, 1, 2} - {axis})))
        return found[0], found[1], found[2]

    def paint(self, part: Part) -> None:
        """Lay a part over what is there."""
        hu, suv = self.study.tissues[part.tissue]
        inner = self.study.field if part.daily else self.patient.fine
        outer = inner if part.fine else self.patient.coarse
        for shape in part.shapes:
            box = self._box(shape, 2.5 * part.rough + self.voxel_mm)
            if box is None:
                continue
            split = self._split(min(h - a for a, h in zip(shape.low, shape.high, strict=True)))
            points = self._points(box, split)
            distance = shape.distance(*points)
            if part.rough:
                distance = distance + np.float32(part.rough) * outer.on(*points)
            if part.within is not None:
                distance = np.maximum(distance, part.within.distance(*points))
            share = self._share(distance, split)
            texture = inner.on(*self._points(box)) if part.hu_texture or part.suv_texture else None
            self._blend(self.density[box], share, _varied(hu, part.hu_texture, texture))
            activity = (
                suv if texture is None or not part.suv_texture else suv * np.exp(part.suv_texture * texture)
            )
            self._blend(self.activity[box], share, activity)

    def paint_lesion(self, lesion: Lesion, label: NDArray[np.uint8]) -> None:
        """Lay a lesion over what is there and mark its voxels; at least one, however coarse the grid."""
        shape = lesion.shape(self.patient.scale)
        box = self._box(shape, self.voxel_mm)
        if box is None:
            raise AssertionError(f"a lesion at {lesion.center} lies outside the field of view")
        points = self._points(box)
        split = self._split(lesion.diameter_mm)
        fine = shape.distance(*self._points(box, split))
        share, inside = self._share(fine, split), shape.distance(*points) < 0
        if not inside.any():
            inside[np.unravel_index(share.argmax(), share.shape)] = True
        texture = self.patient.fine.on(*points)
        # A dead core takes up little and is less dense; it belongs to the lesion.
        core: float | Array = 1.0
        if lesion.necrosis:
            core = 1 - 0.8 * self._share(fine + np.float32(0.5 * lesion.necrosis * lesion.diameter_mm), split)
        if lesion.hu is not None:
            self._blend(self.density[box], share, lesion.hu + 6 * texture - 25 * (1 - core))
        self._blend(self.activity[box], share, lesion.suv * np.exp(0.12 * texture) * core)
        label[box][inside] = 1

    def _split(self, extent_mm: float) -> int:
        """Into how many pieces a voxel is cut for a shape that is but few voxels wide."""
        return int(np.clip(np.ceil(3 * self.voxel_mm / max(extent_mm, 1.0)), 1, 8))

    def _share(self, distance: Array, split: int) -> Array:
        """How much of each voxel lies inside, from the distances of its pieces' centres."""
        share = np.clip(np.float32(0.5) - distance * np.float32(split / self.voxel_mm), 0, 1)
        if split > 1:
            nx, ny, nz = (n // split for n in share.shape)
            share = share.reshape(nx, split, ny, split, nz, split).mean((1, 3, 5))
        return share

    @staticmethod
    def _blend(image: Array, share: Array, value: float | Array) -> None:
        image += share * (value - image)


def _varied(mean: float, spread: float, texture: Array | None) -> float | Array:
    return mean if texture is None or not spread else mean + np.float32(spread) * texture


def see_pet(
    activity: Array, *, spacing_mm: Sequence[float], noise: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """What a PET scanner makes of an activity: blurred to `PET_FWHM_MM`, with count noise.

    The noise's variance is proportional to the local mean, as for counts; `noise` is its relative standard
    deviation at SUV 2.2 (a liver) in reference voxels. Neighbouring voxels share it, as after
    reconstruction. Nothing is negative, and where there is no activity there is no noise.
    """
    blurred = blur(activity, PET_FWHM_MM, spacing_mm)
    speckle = grain(activity.shape, PET_NOISE_FWHM_MM, spacing_mm, rng, reference_mm=REFERENCE_SPACING_MM)
    speckle *= np.float32(noise * np.sqrt(2.2))
    image = blurred + speckle * np.sqrt(blurred)
    np.maximum(image, 0, out=image)
    return (np.rint(image / np.float32(_SUV_STEP)) * np.float32(_SUV_STEP)).astype(np.float32)


def see_ct(density: Array, *, spacing_mm: Sequence[float], rng: np.random.Generator) -> NDArray[np.float32]:
    """HU with quantum noise, in whole numbers, not below air; resampled to the PET grid it is mild."""
    speckle = grain(density.shape, CT_NOISE_FWHM_MM, spacing_mm, rng, reference_mm=REFERENCE_SPACING_MM)
    # Less noise in air: nothing attenuates there.
    level = np.where(density < -900, 0.4, 1.0).astype(np.float32) * np.float32(CT_NOISE_HU)
    return np.clip(np.rint(density + speckle * level), -1024, 3071).astype(np.float32)
