"""NIfTI so that damage is noticed: every byte is read, checksums are verified, what headers say oddly is named."""

from __future__ import annotations

import gzip
import io
import math
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.spatialimages import HeaderDataError

from benchmark.data.images.grid import TOLERANCE, corners_apart_mm
from benchmark.data.images.volume import (
    AGAIN,
    CONVERT,
    Remark,
    UnreadableError,
    Volume,
    without_ones,
)
from benchmark.files.writing import written_whole

_CLASSES = {348: nib.Nifti1Image, 540: nib.Nifti2Image}
"""By the length of their headers."""
_UNITS = {1: ("metres", 1000.0), 2: ("mm", 1.0), 3: ("micrometres", 0.001)}
"""Of `xyzt_units`; mm where a header says none."""
_DEFLATE = 1032
"""What gzip packs into a byte at most."""
_PLACES = [f"quatern_{letter}" for letter in "bcd"] + [
    name for letter in "xyz" for name in (f"qoffset_{letter}", f"srow_{letter}")
]
_LOADING = threading.Lock()


def opened(path: Path) -> Volume:
    """The header of a file that is there and not empty."""
    with _reading(path):
        block = _header_block(path)
        # nibabel prints what it repairs in damaged headers, in the middle of a progress bar. Silencing it is global.
        with _LOADING, LoggingOutputSuppressor():
            loaded = nib.load(path)
    header = type(loaded.header)(block, check=False)
    stored = tuple(int(length) for length in loaded.shape)
    shape = without_ones(stored)
    _refuse_edges(path, header, len(shape))
    unit, to_mm = _UNITS.get(int(header["xyzt_units"]) & 7, _UNITS[2])
    proxy = loaded.dataobj
    return Volume(
        path=path,
        shape=shape,
        affine=_in_mm(loaded.affine, to_mm),
        dtype=np.dtype(loaded.header.get_data_dtype()),
        offset=int(proxy.offset),
        slope=float(proxy.slope),
        inter=float(proxy.inter),
        header=_placement(loaded.header, shape),
        stored_axes=len(stored),
        remarks=tuple(_remarks(path, header, stored, shape, unit, to_mm)),
    )


def _header_block(path: Path) -> bytes:
    """The header's bytes; what fails here, nibabel would call an unknown file type."""
    with _open(path) as file:
        block = file.read(min(_CLASSES))
        if len(block) == min(_CLASSES) and 540 in (int.from_bytes(block[:4], o) for o in ("little", "big")):
            block += file.read(540 - 348)
        if len(block) not in _CLASSES:
            raise EOFError("it ends within the header")
    return block


def _refuse_edges(path: Path, header: Any, n: int) -> None:
    """nibabel takes an edge of 0 for 1 mm, and the amount of one below."""
    edges = np.asarray(header["pixdim"][1 : 1 + min(n, 3)], float)
    if not (np.isfinite(edges) & (edges > 0)).all():
        size = " x ".join(f"{edge:g}" for edge in edges)
        raise UnreadableError(
            f"{path.name} has voxels of {size} according to its header (pixdim)", "Correct the header."
        )


def _in_mm(affine: np.ndarray, to_mm: float) -> np.ndarray:
    scaled = np.array(affine, float)
    scaled[:3] *= to_mm
    return scaled


def _placement(header: Any, shape: tuple[int, ...]) -> bytes:
    """A header with what this one says of place and units, in the same words, and nothing of its values."""
    placed = type(header)()
    placed.set_data_shape(shape[:3])
    for name in ("pixdim", "qform_code", "sform_code", "xyzt_units", *_PLACES):
        placed[name] = header[name]
    placed["pixdim"][4:] = 1
    block: bytes = placed.as_byteswapped("<").binaryblock
    return block


def _remarks(
    path: Path, header: Any, stored: tuple[int, ...], shape: tuple[int, ...], unit: str, to_mm: float
) -> Iterator[Remark]:
    if stored != shape:
        yield Remark(
            f"{path.name} has axes of one voxel behind the third: {' x '.join(map(str, stored))}",
            "None needed: it is read without them.",
        )
    if to_mm != 1.0:
        yield Remark(
            f"{path.name} gives its lengths in {unit}",
            "None needed if that is so: they are converted to mm.",
        )
    sform, sform_code = header.get_sform(coded=True)
    qform, qform_code = header.get_qform(coded=True)
    if not sform_code and not qform_code:
        yield Remark(
            f"{path.name} does not say how it is oriented (neither sform nor qform)",
            "Convert it again from the original; voxels keep their places, but left and right are a guess.",
        )
    elif sform_code and qform_code and np.isfinite(qform).all() and np.isfinite(sform).all():
        apart = corners_apart_mm(sform, qform, shape) * to_mm
        if apart > TOLERANCE * float(np.linalg.norm(sform[:3, :3], axis=0).min()) * to_mm:
            yield Remark(
                f"the sform and the qform of {path.name} lie up to {apart:.1f} mm apart",
                "Correct the wrong one: the sform counts here, and other programs may take the qform.",
            )


def _open(path: Path) -> io.BufferedIOBase:
    return gzip.GzipFile(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns what decompression and nibabel raise about a file into UnreadableError."""
    name = path.name
    try:
        yield
    except PermissionError as error:
        raise UnreadableError(f"{name} may not be read", "Change its permissions.") from error
    except (EOFError, zlib.error) as error:
        raise UnreadableError(f"{name} is truncated or damaged ({error})", AGAIN) from error
    except gzip.BadGzipFile as error:
        checksum = "CRC" in str(error) or "length" in str(error)
        what = "is damaged: its checksum is wrong" if checksum else "is not compressed with gzip"
        raise UnreadableError(f"{name} {what}", AGAIN) from error
    except (ImageFileError, HeaderDataError, ValueError, OverflowError) as error:
        raise UnreadableError(f"{name} is not a NIfTI image ({error})", CONVERT) from error
    except OSError as error:
        raise UnreadableError(f"{name} cannot be read ({error.strerror or error})", AGAIN) from error


def refuse_another_length(image: Volume) -> None:
    """UnreadableError for fewer or more bytes than the header promises; decompresses where that is suspicious alone."""
    size = image.path.stat().st_size
    packed = image.path.name.lower().endswith(".gz")
    if packed and size * _DEFLATE < image.nbytes:
        _refuse_length(image, size * _DEFLATE, at_most=True)
    if _length_at_the_end(image.path, packed=packed) != image.nbytes % 2**32:
        # Several gzip members in one file are sound, and end with the length of the last one only.
        length = 0
        for block in _blocks(image.path):
            length += len(block)
            if length > image.nbytes:
                break
        _refuse_length(image, length)


def _length_at_the_end(path: Path, *, packed: bool) -> int:
    """The uncompressed length modulo 2^32: what gzip's last four bytes say, or the file's own."""
    if not packed:
        return path.stat().st_size % 2**32
    with _reading(path), path.open("rb") as file:
        file.seek(-4, 2)
        return int.from_bytes(file.read(4), "little")


def _blocks(path: Path) -> Iterator[bytes]:
    """The uncompressed content in pieces; verifies gzip's checksum at the end."""
    with _reading(path), _open(path) as file:
        while block := file.read(1 << 20):
            yield block


def _refuse_length(image: Volume, length: int, *, at_most: bool = False) -> None:
    promised = f"of the {image.nbytes:,} bytes that its header promises"
    if length < image.nbytes:
        up_to = "at most " if at_most else ""
        raise UnreadableError(f"{image.path.name} ends after {up_to}{length:,} {promised}", AGAIN)
    if length > image.nbytes:
        raise UnreadableError(
            f"{image.path.name} goes on behind the last {promised}, so that its voxels may begin elsewhere or have "
            "more axes",
            "Correct the header (dim, vox_offset), or convert the image again.",
        )


def read_bytes(image: Volume) -> bytes:
    """The uncompressed file, header and all; verifies checksums. Reads no more than the header promises."""
    content = bytearray()
    for block in _blocks(image.path):
        content += block
        if len(content) > image.nbytes:
            break
    _refuse_length(image, len(content))
    return bytes(content)


def voxels_of(image: Volume) -> np.ndarray:
    """All values in the image's unit, as stored if unscaled, else as float32; verifies checksums."""
    content = read_bytes(image)
    with _reading(image.path):
        voxels = np.frombuffer(content, image.dtype, count=math.prod(image.shape), offset=image.offset)
    if image.is_scaled:
        with np.errstate(over="ignore"):
            voxels = voxels.astype(np.float32) * np.float32(image.slope) + np.float32(image.inter)
    return voxels.reshape(image.shape, order="F")


def write_mask(path: Path, mask: np.ndarray, *, affine: np.ndarray, header: bytes = b"") -> None:
    """Labels under an image's own header, or under one made of an affine in mm."""
    if header:
        image_class = _CLASSES[len(header)]
        placed = image_class.header_class(header)
        placed.set_data_dtype(mask.dtype)
        image = image_class(mask, None, placed)
    else:
        image = nib.Nifti1Image(mask, affine)
        image.header.set_xyzt_units("mm")
    with written_whole(path) as temporary:
        # nibabel chooses the format by the name's ending.
        named = temporary.with_name(f"{temporary.name}{'.nii.gz' if path.name.endswith('.gz') else '.nii'}")
        try:
            nib.save(image, named)
            named.replace(temporary)
        finally:
            named.unlink(missing_ok=True)
