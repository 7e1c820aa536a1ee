"""The one deterministic preparation of a case: orient, resample, crop, scale intensities.

The grid keeps the physical extent of the volume: its first voxel's outer corner is the original's, and
`round(n * spacing / new_spacing)` voxels follow. Images are interpolated linearly, labels by the nearest voxel.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from jaxtyping import Bool, Float, Float16, Int16, UInt8
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from scipy import ndimage

from benchmark.data.images import (
    UnreadableError,
    Volume,
    open_volume,
    read_voxels,
    same_place,
    shape_text,
    voxel_ml,
)
from benchmark.data.voxel_checks import Inspection, Inspector, strange_values, whole_labels
from benchmark.vocabulary import (
    IGNORED,
    BenchError,
    Case,
    DataError,
    DatasetSpec,
    Intensity,
    Percentiles,
    Preparation,
    Size3,
    Spacing,
    Unclipped,
    Window,
    ZScore,
    did_you_mean,
)

FORMAT = 3
"""Raised whenever the same files would be prepared to different arrays."""


_ROUNDED = 1e-4
"""So much of its volume may a voxel lose to the rounding of a header."""


@dataclass(frozen=True)
class Geometry:
    """How the prepared grids lie on the original files.

    `native_*` describe the first image as it is on disk, whose header the others agree with up to rounding;
    `native_header` is that of a NIfTI file. `grid_shape` is the full volume at the new spacing, its axes turned to
    right-anterior-superior; the stored image is the part from `crop_start`, `crop_shape` long.
    """

    native_shape: Size3
    native_affine: tuple[tuple[float, ...], ...]
    grid_shape: Size3
    spacing_mm: Spacing
    crop_start: Size3
    crop_shape: Size3
    native_header: bytes = b""

    @property
    def perpendicular(self) -> float:
        """The volume of a voxel as a part of the product of its edges: 1.0 unless the axes on disk are oblique."""
        part = voxel_ml(np.array(self.native_affine)) * 1000 / float(np.prod(self.native_spacing_mm))
        # What rounding makes of perpendicular axes is not worth other numbers.
        return 1.0 if part > 1 - _ROUNDED else part

    @property
    def native_spacing_mm(self) -> Spacing:
        """Voxel size in the native order of axes."""
        return _spacing_of(np.array(self.native_affine))

    @property
    def crop(self) -> tuple[slice, slice, slice]:
        """The stored image's place in the full grid."""
        x, y, z = (slice(a, a + n) for a, n in zip(self.crop_start, self.crop_shape, strict=True))
        return x, y, z

    def to_native(self, grid: UInt8[np.ndarray, "x y z"]) -> UInt8[np.ndarray, "i j k"]:
        """A label map on the full grid, brought back to the original file's voxels."""
        affine = np.array(self.native_affine)
        turned = _resample(grid, self.grid_shape, _in_ras_order(self.native_shape, affine), order=0)
        back = ornt_transform(axcodes2ornt("RAS"), io_orientation(affine))
        return np.ascontiguousarray(nib.apply_orientation(turned, back))

    def from_native(self, native: UInt8[np.ndarray, "i j k"]) -> UInt8[np.ndarray, "x y z"]:
        """A label map on the original file's voxels, brought to the full grid."""
        turned = _to_ras(native, np.array(self.native_affine))
        return _resample(turned, _size3(turned.shape), self.grid_shape, order=0)

    def to_grid(self, grid: UInt8[np.ndarray, "x y z"], other: Geometry) -> UInt8[np.ndarray, "X Y Z"]:
        """A label map on this full grid, brought to another preparation's full grid of the same case."""
        return _resample(grid, self.grid_shape, other.grid_shape, order=0)


@dataclass(frozen=True)
class PreparedArrays:
    """`image` is the crop; `label` the full grid; `lesion` the foreground voxels of the crop.

    `lesion_ml` is measured in the original voxels, so that it does not depend on the preparation. An unlabelled
    case has no `label` and an empty `lesion`. `inspection` is what the voxels told, where it was asked for.
    """

    image: Float16[np.ndarray, "m x y z"]
    label: UInt8[np.ndarray, "X Y Z"] | None
    lesion: Int16[np.ndarray, "n 3"]
    geometry: Geometry
    lesion_ml: float
    inspection: Inspection | None = None


def prepare_case(
    case: Case, spec: DatasetSpec, preparation: Preparation, *, inspect: bool = False
) -> PreparedArrays:
    """Read and prepare one case.

    All files are turned by one affine, the first image's, once they were found to lie on one grid: headers that are
    equal up to rounding may stand on either side of a tie between two axes. `inspect`: look at the values as
    `bench data check` does.

    Raises:
        DataError: naming case and file that cannot be read, or that lies elsewhere; with `inspect` also for values
            that are a fault.
    """
    frame = _opened(case, case.images[spec.modalities[0]])
    inspector = Inspector(case, spec) if inspect else None
    native_shape, native_spacing = _size3(frame.shape), ras_spacing(frame.affine)
    shape = _in_ras_order(native_shape, frame.affine)
    spacing = preparation.spacing_mm or native_spacing
    grid_shape = _grid_shape(shape, native_spacing, spacing)

    label, lesion_ml = None, 0.0
    if case.label is not None:
        marked = _label_voxels(case, spec, frame, inspector)
        lesion_ml = float(np.count_nonzero(is_lesion(marked))) * frame.voxel_ml
        label = _resample(_to_ras(marked, frame.affine), shape, grid_shape, order=0)

    channels = {}
    for name, voxels, image in _images(case, spec.modalities, frame):
        if inspector is not None:
            inspector.image(name, voxels, image)
        with np.errstate(over="ignore"):
            values = voxels.astype(np.float32)
        if not np.isfinite(values).all():
            what = "NaN or infinity" if not np.isfinite(voxels).all() else "values beyond what 32 bits hold"
            raise DataError(f"{case.case_id}: {case.images[name]} holds {what}. Mend or leave out the case.")
        channels[name] = _resample(_to_ras(values, frame.affine), shape, grid_shape, order=1)
    inspection = None if inspector is None else inspector.done()
    if inspection is not None and (faults := [str(f) for f in inspection.findings if f.is_fault]):
        raise DataError("\n".join(faults))

    start, crop_shape = _crop_box(channels, preparation, grid_shape)
    box = tuple(slice(a, a + n) for a, n in zip(start, crop_shape, strict=True))
    scaled = [_scaled(channels[name][box], preparation.intensities.get(name)) for name in spec.modalities]
    for name, volume in zip(spec.modalities, scaled, strict=True):
        if not np.isfinite(volume).all():
            raise DataError(
                f"{case.case_id}: {case.images[name]} has values beyond {np.finfo(np.float16).max:g}, which cannot be "
                f"stored as they are. Give {name} a rule for its intensities."
            )
    geometry = Geometry(
        native_shape=native_shape,
        native_affine=tuple(tuple(float(v) for v in row) for row in frame.affine),
        grid_shape=grid_shape,
        spacing_mm=spacing,
        crop_start=start,
        crop_shape=crop_shape,
        native_header=frame.header,
    )
    if any(volume.shape != scaled[0].shape for volume in scaled) or (
        label is not None and label.shape != grid_shape
    ):
        raise AssertionError(f"{case.case_id}: images and label were brought to different shapes")
    return PreparedArrays(
        image=np.stack(scaled),
        label=label,
        lesion=np.zeros((0, 3), np.int16)
        if label is None
        else np.argwhere(is_lesion(label[box])).astype(np.int16),
        geometry=geometry,
        lesion_ml=lesion_ml,
        inspection=inspection,
    )


def check_preparation(preparation: Preparation, spec: DatasetSpec) -> None:
    """BenchError for a preparation that names what the data set does not have, or a spacing that is none."""
    named = [*preparation.intensities, *([preparation.crop_modality] if preparation.crop_modality else [])]
    if unknown := [name for name in named if name not in spec.modalities]:
        raise BenchError(
            f"The preparation names the modality {unknown[0]!r}. {did_you_mean(unknown[0], spec.modalities)}"
        )
    if preparation.spacing_mm is not None and not all(0 < edge < np.inf for edge in preparation.spacing_mm):
        raise BenchError(f"The preparation's spacing {preparation.spacing_mm} must be positive, in mm.")


def is_lesion(label: UInt8[np.ndarray, "..."]) -> Bool[np.ndarray, "..."]:
    """Voxels of any label, without those that nobody annotated."""
    return (label != 0) & (label != IGNORED)


def read_native_label(path: Path, *, ignore: int | None = None) -> UInt8[np.ndarray, "i j k"]:
    """The label file's voxels on its own grid, with `IGNORED` where the file has the value `ignore`."""
    return _with_ignored(whole_labels(read_voxels(open_volume(path))), ignore)


def _with_ignored(label: UInt8[np.ndarray, "..."], ignore: int | None) -> UInt8[np.ndarray, "..."]:
    return label if ignore is None else np.where(label == ignore, np.uint8(IGNORED), label)


def ras_spacing(affine: np.ndarray) -> Spacing:
    """Voxel edges in mm along right, anterior and superior."""
    x, y, z = _in_ras_order(_spacing_of(affine), affine)
    return x, y, z


def _opened(case: Case, path: Path) -> Volume:
    try:
        volume = open_volume(path)
    except UnreadableError as error:
        raise DataError(f"{case.case_id}: {error}") from error
    if len(volume.shape) < 3:
        raise DataError(
            f"{case.case_id}: {path} has {len(volume.shape)} axes; a volume with three is needed."
        )
    return volume


def _read(case: Case, path: Path, frame: Volume) -> tuple[np.ndarray, Volume]:
    """A file of the case in its own orientation; every byte is read, so that no damage goes unnoticed."""
    volume = _opened(case, path)
    if volume.shape[:3] != frame.shape[:3]:
        raise DataError(
            f"{case.case_id}: {path} has shape {shape_text(volume)}, {frame.path.name} {shape_text(frame)}. Resample "
            "both to one grid."
        )
    if not same_place(frame, volume):
        raise DataError(
            f"{case.case_id}: {path} and {frame.path.name} lie at different places. "
            "Resample both to one grid, or copy the affine if only the header is wrong."
        )
    try:
        return read_voxels(volume), volume
    except UnreadableError as error:
        raise DataError(f"{case.case_id}: {error}") from error


def _label_voxels(
    case: Case, spec: DatasetSpec, frame: Volume, inspector: Inspector | None
) -> UInt8[np.ndarray, "i j k"]:
    assert case.label is not None
    voxels, volume = _read(case, case.label, frame)
    _refuse_axes(voxels, case, case.label)
    if unknown := strange_values(voxels, spec.label_values):
        some = ", ".join(f"{value:g}" for value in unknown[:5])
        raise DataError(
            f"{case.case_id}: {case.label} holds the values [{some}]; {spec.name} knows {sorted(spec.label_values)}."
        )
    if inspector is not None:
        inspector.label(voxels, volume)
    return _with_ignored(whole_labels(voxels), spec.ignore)


def _images(case: Case, modalities: Sequence[str], frame: Volume) -> Iterator[tuple[str, np.ndarray, Volume]]:
    """Every modality with its voxels and file; a file that holds several is read once."""
    for path, names in modalities_by_file(case, modalities).items():
        voxels, volume = _read(case, path, frame)
        for name in names:
            if name in case.channels:
                yield name, _channel(voxels, case, name), volume
            else:
                _refuse_axes(voxels, case, path)
                yield name, voxels, volume


def modalities_by_file(case: Case, modalities: Iterable[str]) -> dict[Path, list[str]]:
    by_file: dict[Path, list[str]] = {}
    for name in modalities:
        by_file.setdefault(case.images[name], []).append(name)
    return by_file


def _refuse_axes(voxels: np.ndarray, case: Case, path: Path) -> None:
    if voxels.ndim != 3:
        raise DataError(f"{case.case_id}: {path} has {voxels.ndim} axes; a volume with three is needed.")


def _channel(voxels: np.ndarray, case: Case, name: str) -> np.ndarray:
    shape, index = voxels.shape, case.channels[name]
    if len(shape) != 4 or index >= shape[3]:
        raise DataError(
            f"{case.case_id}: {case.images[name]} has shape {shape}, but {name} should be number {index} along its "
            "fourth axis."
        )
    channel: np.ndarray = voxels[..., index]
    return channel


def _from_native(affine: np.ndarray) -> np.ndarray:
    return ornt_transform(io_orientation(affine), axcodes2ornt("RAS"))


def _to_ras(volume: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(nib.apply_orientation(volume, _from_native(affine)))


def _size3(shape: tuple[int, ...]) -> Size3:
    return int(shape[0]), int(shape[1]), int(shape[2])


def _spacing_of(affine: np.ndarray) -> Spacing:
    """Voxel edges in mm, in the file's order of axes."""
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0)
    return float(x), float(y), float(z)


def _in_ras_order(values: tuple[Any, Any, Any], affine: np.ndarray) -> tuple[Any, Any, Any]:
    """A triple that belongs to the file's axes, put into the order right, anterior, superior."""
    ordered = list(values)
    for native_axis, axis in enumerate(_from_native(affine)[:, 0].astype(int)):
        ordered[axis] = values[native_axis]
    return ordered[0], ordered[1], ordered[2]


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


def _scaled(volume: Float[np.ndarray, "x y z"], rule: Intensity | None) -> Float16[np.ndarray, "x y z"]:
    if isinstance(rule, Percentiles):
        low, high = np.percentile(volume, [rule.low, rule.high])
        rule = Window(float(low), float(high))
    if isinstance(rule, Window):
        # A constant image has no width to be scaled to.
        width = max(rule.high - rule.low, float(np.finfo(np.float32).eps))
        if not isinstance(rule, Unclipped):
            volume = np.clip(volume, rule.low, rule.high)
        volume = (volume - rule.low) / width
    elif isinstance(rule, ZScore):
        volume = _standardised(volume, inside=volume != 0 if rule.nonzero else np.ones(volume.shape, bool))
    # What is too large becomes infinite, and is refused by who knows its file.
    with np.errstate(over="ignore"):
        return volume.astype(np.float16)


def _standardised(
    volume: Float[np.ndarray, "x y z"], inside: Bool[np.ndarray, "x y z"]
) -> Float[np.ndarray, "x y z"]:
    values = volume[inside].astype(np.float64)
    standardised = np.zeros_like(volume)
    if len(values) and (deviation := values.std()) > 0:
        standardised[inside] = (values - values.mean()) / deviation
    return standardised
