"""The volumes of a NIfTI file with four axes, as files with three: what programs want that read one image a file."""

from __future__ import annotations

import gzip
import math
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib

from benchmark.data.images import CONVERT, UnreadableError, open_volume, shape_text
from benchmark.data.images.nifti import read_bytes
from benchmark.files import written_whole


def write_channels(source: Path, targets: Mapping[int, Path]) -> None:
    """Write each volume that `targets` names by its index along the fourth axis, as `.nii.gz`.

    Header, bytes and scaling are the source's, so that what is read is equal bit for bit; equal sources give equal
    files. UnreadableError when the source is damaged or has no such volume.
    """
    image = open_volume(source)
    if len(image.shape) != 4 or max(targets) >= image.shape[3]:
        raise UnreadableError(
            f"{source.name} has no volume {max(targets)}: its shape is {shape_text(image)}", CONVERT
        )
    content = memoryview(read_bytes(image))
    header = nib.load(source).header.copy()
    header.set_data_shape(image.shape[:3])
    header["vox_offset"], header["magic"] = header.single_vox_offset, header.single_magic
    # Behind them the voxels would begin elsewhere; they say nothing of the voxels.
    header.extensions.clear()
    # nibabel forgets the scaling that it has read.
    header.set_slope_inter(image.slope, image.inter)
    length = math.prod(image.shape[:3]) * image.dtype.itemsize
    for index, target in targets.items():
        start = image.offset + index * length
        with (
            written_whole(target) as temporary,
            temporary.open("wb") as file,
            gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=file, mtime=0) as packed,
        ):
            header.write_to(packed)
            packed.write(bytes(header.single_vox_offset - packed.tell()))
            packed.write(content[start : start + length])
