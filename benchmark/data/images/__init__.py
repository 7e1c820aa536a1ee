"""Images on disk: headers, voxels, and masks on the grid of an image.

NIfTI is read byte by byte, other formats by SimpleITK.
"""

from __future__ import annotations

import difflib
from pathlib import Path

import numpy as np
import psutil

from benchmark.data.images import itk, nifti
from benchmark.data.images.grid import same_place
from benchmark.data.images.volume import (
    AGAIN,
    CONVERT,
    CONVERT_TO_3D,
    ENDINGS,
    Remark,
    UnreadableError,
    Volume,
    ending_of,
    shape_text,
    stem_of,
    voxel_ml,
)

__all__ = [
    "AGAIN",
    "CONVERT",
    "CONVERT_TO_3D",
    "ENDINGS",
    "Remark",
    "UnreadableError",
    "Volume",
    "ending_of",
    "open_volume",
    "read_voxels",
    "same_place",
    "shape_text",
    "stem_of",
    "voxel_ml",
    "write_mask",
]


def open_volume(path: Path) -> Volume:
    """The header of an image, after a look at the file's length.

    Raises:
        UnreadableError: for a file that is missing, damaged, no image, or larger than this machine's memory.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise UnreadableError(f"{path.name} is missing", _where_to_put(path))
        if not path.is_file():
            raise UnreadableError(f"{path.name} is not a file", f"Put the image there: {path}.")
        if path.stat().st_size == 0:
            raise UnreadableError(f"{path.name} is empty", AGAIN)
    except OSError as error:
        raise UnreadableError(
            f"{path.name} cannot be read ({error.strerror})", "Change its permissions."
        ) from error
    image = nifti.opened(path) if _is_nifti(path) else itk.opened(path)
    if image.dtype.kind not in "iuf":
        raise UnreadableError(f"{path.name} stores {image.dtype} instead of one number per voxel", CONVERT)
    if min(image.shape, default=0) < 1:
        raise UnreadableError(f"{path.name} holds no voxels: its shape is {shape_text(image)}", CONVERT)
    if _is_nifti(path):
        nifti.refuse_another_length(image)
    if image.nbytes > psutil.virtual_memory().total:
        raise UnreadableError(
            f"{path.name} holds {image.nbytes / 2**30:,.0f} GiB according to its header ({shape_text(image)}), more "
            "than this machine's memory",
            "Correct the header, or use a larger machine.",
        )
    return image


def read_voxels(image: Volume) -> np.ndarray:
    """All values in the image's unit, as stored if unscaled, else as float32; every byte is read.

    Raises:
        UnreadableError: for a file that is damaged.
    """
    return nifti.voxels_of(image) if _is_nifti(image.path) else itk.voxels_of(image)


def write_mask(path: Path, mask: np.ndarray, *, affine: np.ndarray, header: bytes = b"") -> None:
    """Write labels on the grid of an image; the file appears when it is complete, in the format of its ending.

    `header` is the image's (`Volume.header`): where it is given, the mask lies where the image lies in every program,
    since both say the same in the same words. `affine` (in mm) says it where there is none.
    """
    if _is_nifti(path):
        nifti.write_mask(path, mask, affine=affine, header=header)
    else:
        itk.write_mask(path, mask, affine=affine)


def _is_nifti(path: Path) -> bool:
    return ending_of(path.name).lower() not in itk.ENDINGS


def _where_to_put(path: Path) -> str:
    """What there is instead of a missing file, so that a misspelt name is seen."""
    folder = path.parent
    while not folder.is_dir():
        path, folder = folder, folder.parent
    found = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    near = difflib.get_close_matches(path.name, found, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"Put it there: {path}; in {folder} there {_listed(found)}.{hint}"


def _listed(names: list[str], most: int = 4) -> str:
    if not names:
        return "is nothing"
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{'are' if len(names) > 1 else 'is'} {', '.join(names[:most])}{more}"
