"""The one deterministic preparation of a case: orient, resample, crop, window.

The grid keeps the physical extent of the volume: its first voxel's outer corner is the original's, and
`round(n * spacing / new_spacing)` voxels follow. Images are interpolated linearly, labels by the nearest voxel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from jaxtyping import Float, Float16, Int16, UInt8
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from scipy import ndimage

from benchmark.vocabulary import Case, DataError, DatasetSpec, Preparation, Size3, Spacing, Window

FORMAT = 1
"""Raised whenever the same files would be prepared to different arrays."""


@dataclass(frozen=True)
class Geometry:
    """How the prepared grids lie on the original files.

    `native_*` describe the label file as it is on disk; `grid_shape` is the full volume at the new spacing, its
    axes turned to right-anterior-superior; the stored image is the part from `crop_start`, `crop_shape` long.
    """

    native_shape: Size3
    native_affine: tuple[tuple[float, ...], ...]
    grid_shape: Size3
    spacing_mm: Spacing
    crop_start: Size3
    crop_shape: Size3

    @property
    def _from_native(self) -> np.ndarray:
        return ornt_transform(io_orientation(np.array(self.native_affine)), axcodes2ornt("RAS"))

    @property
    def canonical_shape(self) -> Size3:
        """The native shape with its axes turned to right-anterior-superior."""
        axes = self._from_native[:, 0].astype(int)
        shape = [0, 0, 0]
        for native_axis, axis in enumerate(axes):
            shape[axis] = self.native_shape[native_axis]
        return shape[0], shape[1], shape[2]

    @property
    def native_spacing_mm(self) -> Spacing:
        """Voxel size in the native order of axes."""
        return _column_norms(np.array(self.native_affine))

    @property
    def crop(self) -> tuple[slice, slice, slice]:
        """The stored image's place in the full grid."""
        x, y, z = (slice(a, a + n) for a, n in zip(self.crop_start, self.crop_shape, strict=True))
        return x, y, z

    def to_native(self, grid: UInt8[np.ndarray, "x y z"]) -> UInt8[np.ndarray, "i j k"]:
        """A label map on the full grid, brought back to the original file's voxels."""
        canonical = _resample(grid, self.grid_shape, self.canonical_shape, order=0)
        back = ornt_transform(axcodes2ornt("RAS"), io_orientation(np.array(self.native_affine)))
        return np.ascontiguousarray(nib.apply_orientation(canonical, back))


@dataclass(frozen=True)
class PreparedArrays:
    """`image` is the crop, in [0, 1]; `label` the full grid; `lesion` the foreground voxels of the crop."""

    image: Float16[np.ndarray, "m x y z"]
    label: UInt8[np.ndarray, "X Y Z"]
    lesion: Int16[np.ndarray, "n 3"]
    geometry: Geometry
    lesion_ml: float


def prepare_case(case: Case, spec: DatasetSpec, preparation: Preparation) -> PreparedArrays:
    """Read and prepare one case. Raises DataError naming case and file when it cannot be read."""
    label_image = _load(case.label, case.case_id)
    reference = nib.as_closest_canonical(label_image)
    spacing = _column_norms(reference.affine)
    shape = _size3(reference.shape, case.label)
    grid_shape = _grid_shape(shape, spacing, preparation.spacing_mm)
    label = _resample(_voxels(reference, np.uint8, case.label), shape, grid_shape, order=0)

    channels = {}
    for name in spec.modalities:
        image = nib.as_closest_canonical(_load(case.images[name], case.case_id))
        if image.shape != reference.shape:
            raise DataError(
                f"{case.case_id}: {case.images[name]} has shape {image.shape}, the label {reference.shape}."
            )
        channels[name] = _resample(_voxels(image, np.float32, case.images[name]), shape, grid_shape, order=1)

    start, crop_shape = _crop_box(channels, preparation, grid_shape)
    box = tuple(slice(a, a + n) for a, n in zip(start, crop_shape, strict=True))
    image = np.stack(
        [_windowed(channels[name][box], preparation.windows.get(name)) for name in spec.modalities]
    )
    geometry = Geometry(
        native_shape=_size3(label_image.shape, case.label),
        native_affine=tuple(tuple(float(v) for v in row) for row in label_image.affine),
        grid_shape=grid_shape,
        spacing_mm=preparation.spacing_mm,
        crop_start=start,
        crop_shape=crop_shape,
    )
    return PreparedArrays(
        image=image,
        label=label,
        lesion=np.argwhere(label[box]).astype(np.int16),
        geometry=geometry,
        lesion_ml=float(np.count_nonzero(label)) * float(np.prod(preparation.spacing_mm)) / 1000,
    )


def read_native_label(path: Path, case_id: str) -> UInt8[np.ndarray, "i j k"]:
    """The label file's voxels as they are on disk."""
    return _voxels(_load(path, case_id), np.uint8, path)


def _load(path: Path, case_id: str) -> nib.Nifti1Image:
    try:
        return nib.load(path)
    except (OSError, nib.filebasedimages.ImageFileError) as error:
        raise DataError(
            f"{case_id}: cannot read {path} ({error}). `bench data check` lists all faults."
        ) from error


def _voxels(image: nib.Nifti1Image, dtype: type, path: Path) -> np.ndarray:
    try:
        values = np.asanyarray(image.dataobj)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}). `bench data check` lists all faults.") from error
    if dtype is np.uint8:
        values = np.rint(values)
    return np.ascontiguousarray(values, dtype=dtype)


def _size3(shape: tuple[int, ...], path: Path) -> Size3:
    if len(shape) != 3:
        raise DataError(f"{path} has {len(shape)} axes; a volume with three is needed.")
    return int(shape[0]), int(shape[1]), int(shape[2])


def _column_norms(affine: np.ndarray) -> Spacing:
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0)
    return float(x), float(y), float(z)


def _grid_shape(shape: Size3, spacing: Spacing, new_spacing: Spacing) -> Size3:
    x, y, z = (max(1, round(n * s / t)) for n, s, t in zip(shape, spacing, new_spacing, strict=True))
    return x, y, z


def _resample(volume: np.ndarray, shape: Size3, new_shape: Size3, *, order: int) -> np.ndarray:
    """Voxel centres at equal fractions of the extent; beyond the outermost centres the edge value holds."""
    if shape == new_shape:
        return volume
    ratio = np.array(shape) / np.array(new_shape)
    return ndimage.affine_transform(
        volume,
        ratio,
        offset=0.5 * ratio - 0.5,
        output_shape=new_shape,
        order=order,
        mode="nearest",
        prefilter=False,
    )


def _crop_box(
    channels: Mapping[str, np.ndarray], preparation: Preparation, shape: Size3
) -> tuple[Size3, Size3]:
    if preparation.crop_modality is None:
        return (0, 0, 0), shape
    inside = channels[preparation.crop_modality] > preparation.crop_above
    start, stop = [], []
    for axis in range(3):
        occupied = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))
        start.append(int(occupied[0]) if len(occupied) else 0)
        stop.append(int(occupied[-1]) + 1 if len(occupied) else shape[axis])
    return (start[0], start[1], start[2]), (stop[0] - start[0], stop[1] - start[1], stop[2] - start[2])


def _windowed(volume: Float[np.ndarray, "x y z"], window: Window | None) -> Float16[np.ndarray, "x y z"]:
    if window is None:
        return volume.astype(np.float16)
    return ((np.clip(volume, window.low, window.high) - window.low) / (window.high - window.low)).astype(
        np.float16
    )
