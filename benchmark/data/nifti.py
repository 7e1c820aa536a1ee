"""Reading NIfTI so that damage is noticed: every byte is read, checksums are verified, faults come with a remedy."""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from benchmark.files import written_whole
from benchmark.vocabulary import BenchError

_HEADER_BYTES = 348


class UnreadableError(BenchError):
    """A file that is not a sound NIfTI image: what is wrong, and what to do."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}. {remedy}")
        self.problem = problem
        self.remedy = remedy


AGAIN = "Copy or download the file again."
CONVERT = "Convert the image again, to NIfTI."
CONVERT_TO_3D = "Convert the image again, to a 3D NIfTI file."


@dataclass(frozen=True)
class Volume:
    """What a header says. `nbytes` is the uncompressed file's length, `offset` where the voxels begin."""

    path: Path
    shape: tuple[int, ...]
    affine: np.ndarray
    dtype: np.dtype
    offset: int
    slope: float
    inter: float

    @property
    def nbytes(self) -> int:
        return self.offset + math.prod(self.shape) * self.dtype.itemsize

    @property
    def is_scaled(self) -> bool:
        return (self.slope, self.inter) != (1.0, 0.0)

    @property
    def voxel_ml(self) -> float:
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000


def _open(path: Path) -> io.BufferedIOBase:
    return gzip.GzipFile(path, "rb") if path.name.endswith(".gz") else path.open("rb")


def open_volume(path: Path) -> Volume:
    """The header, after a look at the file's length that costs no decompression unless it is suspicious."""
    with _reading(path):
        if not path.exists():
            raise UnreadableError(f"{path.name} is missing", f"Put the file there: {path}.")
        if not path.is_file():
            raise UnreadableError(f"{path.name} is not a file", f"Put the image there: {path}.")
        if path.stat().st_size == 0:
            raise UnreadableError(f"{path.name} is empty", AGAIN)
        with _open(path) as file:
            # nibabel would call whatever fails here an unknown file type.
            if len(file.read(_HEADER_BYTES)) < _HEADER_BYTES:
                raise EOFError("it ends within the header")
        loaded = nib.load(path)
        proxy = loaded.dataobj
        image = Volume(
            path=path,
            shape=tuple(int(length) for length in loaded.shape),
            affine=loaded.affine,
            dtype=np.dtype(loaded.header.get_data_dtype()),
            offset=int(proxy.offset),
            slope=float(proxy.slope),
            inter=float(proxy.inter),
        )
    if image.dtype.kind not in "iuf":
        raise UnreadableError(f"{path.name} stores {image.dtype} instead of one number per voxel", CONVERT)
    if min(image.shape, default=0) < 1:
        raise UnreadableError(f"{path.name} holds no voxels: its shape is {shape_text(image)}", CONVERT)
    if _length_at_the_end(path) != image.nbytes % 2**32:
        # Several gzip members in one file are sound, and end with the length of the last one only.
        _refuse_short(image, sum(len(block) for block in _blocks(path)))
    return image


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


def _length_at_the_end(path: Path) -> int:
    """The uncompressed length modulo 2^32: what gzip's last four bytes say, or the file's own."""
    if not path.name.endswith(".gz"):
        return path.stat().st_size % 2**32
    with _reading(path), path.open("rb") as file:
        file.seek(-4, 2)
        return int.from_bytes(file.read(4), "little")


def _blocks(path: Path) -> Iterator[bytes]:
    """The uncompressed content in pieces; verifies gzip's checksum at the end."""
    with _reading(path), _open(path) as file:
        while block := file.read(1 << 20):
            yield block


def _refuse_short(image: Volume, length: int) -> None:
    if length < image.nbytes:
        problem = (
            f"{image.path.name} ends after {length:,} of the {image.nbytes:,} bytes that its header promises"
        )
        raise UnreadableError(problem, AGAIN)


def read_bytes(image: Volume) -> bytes:
    """The uncompressed file, header and all; verifies checksums."""
    content = b"".join(_blocks(image.path))
    _refuse_short(image, len(content))
    return content


def read_voxels(image: Volume) -> np.ndarray:
    """All values in the image's unit, as stored if unscaled, else as float32; verifies checksums."""
    content = read_bytes(image)
    with _reading(image.path):
        voxels = np.frombuffer(content, image.dtype, count=math.prod(image.shape), offset=image.offset)
    if image.is_scaled:
        voxels = voxels.astype(np.float32) * np.float32(image.slope) + np.float32(image.inter)
    return voxels.reshape(image.shape, order="F")


def write_nifti(path: Path, voxels: np.ndarray, *, affine: np.ndarray) -> None:
    """Write an image, compressed; the file appears when it is complete."""
    image = nib.Nifti1Image(voxels, affine)
    with written_whole(path) as temporary:
        # nibabel chooses the format by the name's ending.
        named = temporary.with_name(f"{temporary.name}.nii.gz")
        try:
            nib.save(image, named)
            named.replace(temporary)
        finally:
            named.unlink(missing_ok=True)


def shape_text(image: Volume) -> str:
    return " x ".join(map(str, image.shape)) or "empty"
