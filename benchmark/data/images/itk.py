"""NRRD and MetaImage, through SimpleITK, as nnU-Net reads and writes them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmark.data.images.volume import AGAIN, CONVERT, UnreadableError, Volume, without_ones
from benchmark.files.writing import written_whole

ENDINGS = (".nrrd", ".mha")
_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""ITK's axes point left and posterior."""
_MOST_HEADER = 2**16
"""Bytes, within which a header says where the voxels are."""
_IN_THE_SAME_FILE = (b"LOCAL", b"Local", b"local")
_DTYPES = {
    "8-bit signed integer": np.int8,
    "8-bit unsigned integer": np.uint8,
    "16-bit signed integer": np.int16,
    "16-bit unsigned integer": np.uint16,
    "32-bit signed integer": np.int32,
    "32-bit unsigned integer": np.uint32,
    "64-bit signed integer": np.int64,
    "64-bit unsigned integer": np.uint64,
    "32-bit float": np.float32,
    "64-bit float": np.float64,
}


def opened(path: Path) -> Volume:
    """The header of a file that is there and not empty."""
    import SimpleITK as sitk

    _refuse_voxels_elsewhere(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    with _reading(path):
        reader.ReadImageInformation()
    kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    if kind not in _DTYPES or reader.GetNumberOfComponents() != 1:
        raise UnreadableError(f"{path.name} stores a {kind} instead of one number per voxel", CONVERT)
    shape = tuple(int(length) for length in reader.GetSize())
    return Volume(
        path=path,
        shape=without_ones(shape),
        affine=_affine(reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection(), len(shape)),
        dtype=np.dtype(_DTYPES[kind]),
        stored_axes=len(shape),
    )


def _refuse_voxels_elsewhere(path: Path) -> None:
    """A header may name any file, or pipe, for the voxels; only the header's own file is hashed and looked at."""
    with path.open("rb") as file:
        head = file.read(_MOST_HEADER)
    if path.suffix.lower() == ".mha":
        named = re.search(rb"^[ \t]*ElementDataFile[ \t]*[=:][ \t]*([^\r\n]*?)[ \t]*\r?$", head, re.M)
        elsewhere = len(head) == _MOST_HEADER if named is None else named[1] not in _IN_THE_SAME_FILE
    else:
        header, *_ = re.split(rb"\r?\n\r?\n", head, maxsplit=1)
        elsewhere = len(header) == _MOST_HEADER or bool(re.search(rb"^data ?file:", header, re.M | re.I))
    if elsewhere:
        raise UnreadableError(
            f"{path.name} does not hold its voxels itself, according to its header", CONVERT
        )


def voxels_of(image: Volume) -> np.ndarray:
    """All values, as they are stored."""
    import SimpleITK as sitk

    with _reading(image.path):
        voxels: np.ndarray = sitk.GetArrayFromImage(sitk.ReadImage(str(image.path)))
    # SimpleITK lists the axes the other way round.
    return voxels.T.reshape(image.shape)


def write_mask(path: Path, mask: np.ndarray, *, affine: np.ndarray) -> None:
    """Labels at the place that an affine in mm gives them."""
    import SimpleITK as sitk

    placed = _TO_RAS @ affine
    edges = np.linalg.norm(placed[:3, :3], axis=0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(mask.T))
    image.SetSpacing(edges.tolist())
    image.SetOrigin(placed[:3, 3].tolist())
    image.SetDirection((placed[:3, :3] / edges).ravel().tolist())
    with written_whole(path) as temporary:
        # SimpleITK chooses the format by the name's ending.
        named = temporary.with_name(f"{temporary.name}{path.suffix}")
        try:
            sitk.WriteImage(image, str(named), useCompression=True)
            named.replace(temporary)
        finally:
            named.unlink(missing_ok=True)


def _affine(
    spacing: tuple[float, ...], origin: tuple[float, ...], direction: tuple[float, ...], n: int
) -> np.ndarray:
    """From voxels to mm along right, anterior and superior, of the first three axes."""
    axes, m = np.reshape(direction, (n, n)), min(n, 3)
    affine = np.eye(4)
    affine[:m, :m] = axes[:m, :m] * np.asarray(spacing[:m])
    affine[:m, 3] = origin[:m]
    return _TO_RAS @ affine


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        *_, last = str(error).strip().splitlines()
        raise UnreadableError(
            f"{path.name} is damaged, or none that SimpleITK reads ({last.strip()})", AGAIN
        ) from error
