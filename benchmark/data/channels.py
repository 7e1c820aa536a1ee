"""Images rewritten for programs that read one image a file, `.nii.gz` of three axes, and labels of whole numbers."""

from __future__ import annotations

import gzip
import math
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np

from benchmark.data.images import CONVERT, UnreadableError, Volume, open_volume, read_voxels, shape_text
from benchmark.data.images.nifti import read_bytes
from benchmark.data.voxel_checks import strange_values, whole_labels
from benchmark.files.writing import written_whole

ENDING = ".nii.gz"


def is_plain_image(path: Path) -> bool:
    """Whether the file is NIfTI, compressed, with three axes. UnreadableError where it has no sound header."""
    return path.name.endswith(ENDING) and open_volume(path).stored_axes == 3


def is_plain_label(path: Path) -> bool:
    """Whether it stores whole numbers, besides. UnreadableError where it has no sound header."""
    return is_plain_image(path) and not form_of_label(path)


def form_of_label(path: Path) -> str:
    """How a label is stored, where that is not as whole numbers; empty where it is. UnreadableError as above."""
    image = open_volume(path)
    if image.dtype.kind not in "iu":
        return f"as {image.dtype}"
    return "with a scale factor" if image.is_scaled else ""


def write_channels(source: Path, targets: Mapping[int, Path]) -> None:
    """Write each volume that `targets` names by its index along the fourth axis, as `.nii.gz`.

    Header, bytes and scaling are the source's (of another format its place and values), so that what is read is equal
    bit for bit; equal sources give equal files. A source without a fourth axis has volume 0. UnreadableError when it is
    damaged or has no such volume.
    """
    image = open_volume(source)
    if len(image.shape) < 3 or max(targets) >= math.prod(image.shape[3:4]) or math.prod(image.shape[4:]) > 1:
        raise UnreadableError(
            f"{source.name} has no volume {max(targets)}: its shape is {shape_text(image)}", CONVERT
        )
    header, size = _header_of(image), math.prod(image.shape[:3])
    if image.header:
        content = memoryview(read_bytes(image))[image.offset :]
        # nibabel forgets the scaling that it has read.
        header.set_slope_inter(image.slope, image.inter)
    else:
        content = memoryview(read_voxels(image).tobytes(order="F"))
    for index, target in targets.items():
        start = index * size * image.dtype.itemsize
        _write(target, header, content[start : start + size * image.dtype.itemsize])


def write_label(source: Path, target: Path, values: Mapping[int, int]) -> None:
    """Write a label as whole numbers of one byte along three axes, as `.nii.gz`; `values` says what becomes of each.

    `target` may be the source. UnreadableError when the source is damaged, or holds something else than these values.
    """
    image = open_volume(source)
    if len(image.shape) != 3:
        raise UnreadableError(
            f"{source.name} has the shape {shape_text(image)}, and a label three axes", CONVERT
        )
    voxels = read_voxels(image)
    if unknown := strange_values(voxels, frozenset(values)):
        some = ", ".join(f"{value:g}" for value in unknown[:5])
        raise UnreadableError(
            f"{source.name} holds the values [{some}]; known are {sorted(values)}",
            "Map the labels to these.",
        )
    whole = whole_labels(voxels)
    table = np.zeros(256, np.uint8)
    table[list(values)] = list(values.values())
    header = _header_of(image)
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    _write(target, header, table[whole].tobytes(order="F"))


def _header_of(image: Volume) -> nib.Nifti1Header:
    """The image's header for a single file of one volume."""
    if image.header:
        header = nib.load(image.path).header.copy()
        header["vox_offset"], header["magic"] = header.single_vox_offset, header.single_magic
        # Behind them the voxels would begin elsewhere; they say nothing of the voxels.
        header.extensions.clear()
    else:
        header = nib.Nifti1Image(np.zeros((1, 1, 1), image.dtype), image.affine).header
        header.set_xyzt_units("mm")
    header.set_data_shape(image.shape[:3])
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
