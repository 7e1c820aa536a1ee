"""NIfTI files written anew for programs that read one image a file, of three axes, and labels of whole numbers."""

from __future__ import annotations

import gzip
import math
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
from jaxtyping import Shaped, UInt8

from benchmark.data.nifti import CONVERT, UnreadableError, open_volume, read_bytes, read_voxels, shape_text
from benchmark.files import written_whole
from benchmark.vocabulary import Size3

ROUNDING = 1e-4
"""So far a label's values may be from whole numbers: software that resamples stores 0.99999997 for 1."""


def has_axes_of_one(path: Path) -> bool:
    """Whether the file has more than three axes and yet one volume. UnreadableError where it has no sound header."""
    open_volume(path)
    shape = nib.load(path).shape
    return len(shape) > 3 and math.prod(shape[3:]) == 1


def is_plain_label(path: Path) -> bool:
    """Whether the file stores whole numbers along three axes. UnreadableError where it has no sound header."""
    image = open_volume(path)
    return image.dtype.kind in "iu" and not image.is_scaled and len(nib.load(path).shape) == 3


def write_channels(source: Path, targets: Mapping[int, Path]) -> None:
    """Write each volume that `targets` names by its index along the fourth axis, as `.nii.gz`.

    Header, bytes and scaling are the source's, so that what is read is equal bit for bit; equal sources give equal
    files. A source without a fourth axis has volume 0. UnreadableError when it is damaged or has no such volume.
    """
    image = open_volume(source)
    if len(image.shape) < 3 or max(targets) >= math.prod(image.shape[3:4]) or math.prod(image.shape[4:]) > 1:
        raise UnreadableError(
            f"{source.name} has no volume {max(targets)}: its shape is {shape_text(image)}", CONVERT
        )
    content = memoryview(read_bytes(image))
    header = _header_of(source, _size3(image.shape))
    # nibabel forgets the scaling that it has read.
    header.set_slope_inter(image.slope, image.inter)
    length = math.prod(image.shape[:3]) * image.dtype.itemsize
    for index, target in targets.items():
        start = image.offset + index * length
        _write(target, header, content[start : start + length])


def write_label(source: Path, target: Path, values: Mapping[int, int]) -> None:
    """Write a label as whole numbers of one byte along three axes, as `.nii.gz`; `values` says what becomes of each.

    `target` may be the source. UnreadableError when the source is damaged, or holds something else than these values.
    """
    image = open_volume(source)
    size = _size3(image.shape)
    if math.prod(size) != math.prod(image.shape):
        raise UnreadableError(
            f"{source.name} has the shape {shape_text(image)}, and a label three axes", CONVERT
        )
    whole = _whole_numbers(read_voxels(image), source)
    # A look-up table, where `np.unique` would sort all voxels.
    held = np.zeros(256, bool)
    held[whole] = True
    if unknown := sorted(set(np.flatnonzero(held).tolist()) - set(values)):
        raise UnreadableError(
            f"{source.name} holds the values {unknown[:5]}; known are {sorted(values)}",
            "Map the labels to these.",
        )
    table = np.zeros(256, np.uint8)
    table[list(values)] = list(values.values())
    header = _header_of(source, size)
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    _write(target, header, table[whole].tobytes(order="F"))


def _whole_numbers(voxels: Shaped[np.ndarray, "..."], source: Path) -> UInt8[np.ndarray, "..."]:
    rounded = voxels if voxels.dtype.kind in "iu" else np.rint(voxels)
    # NaN is far from everything.
    far = ~(np.abs(voxels - rounded) <= ROUNDING) | (rounded < 0) | (rounded > 255)
    if far.any():
        raise UnreadableError(
            f"{source.name} holds the value {voxels[far][0]:g}; a label has whole numbers from 0 to 255",
            "Map the labels to these.",
        )
    return rounded.astype(np.uint8)


def _size3(shape: tuple[int, ...]) -> Size3:
    return shape[0], shape[1], shape[2]


def _header_of(source: Path, size: Size3) -> nib.Nifti1Header:
    """The source's header for a single file of one volume."""
    header = nib.load(source).header.copy()
    header.set_data_shape(size)
    header["vox_offset"], header["magic"] = header.single_vox_offset, header.single_magic
    # Behind them the voxels would begin elsewhere; they say nothing of the voxels.
    header.extensions.clear()
    return header


def _write(target: Path, header: nib.Nifti1Header, voxels: bytes | memoryview) -> None:
    with (
        written_whole(target) as temporary,
        temporary.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=file, mtime=0) as packed,
    ):
        header.write_to(packed)
        packed.write(bytes(header.single_vox_offset - packed.tell()))
        packed.write(voxels)
