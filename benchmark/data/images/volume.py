"""What is known of an image file once its header was read, and how a file that cannot be used is refused."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.vocabulary import BenchError

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")
"""Of the files that are read: NIfTI, NRRD and MetaImage, as nnU-Net reads them."""
AGAIN = "Copy or download the file again."
CONVERT = "Convert the image again, to NIfTI."
_FLAT = 1e-9
"""A voxel of a smaller part of what its edges say has no volume."""
CONVERT_TO_3D = "Convert the image again, to a 3D NIfTI file."


class UnreadableError(BenchError):
    """A file that is no sound image: what is wrong, and what to do."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}. {remedy}")
        self.problem = problem
        self.remedy = remedy


@dataclass(frozen=True)
class Remark:
    """What is odd about a file that can be used all the same, and what its owner may want to do."""

    problem: str
    remedy: str


@dataclass(frozen=True)
class Volume:
    """What a header says.

    `shape` is without axes of one voxel behind the third, which `stored_axes` counts. `affine` goes from voxels to mm
    (right, anterior, superior), whatever unit the file has. `dtype`, `slope` and `inter` say how values are stored;
    `offset` is where they begin.
    `header` is a NIfTI header that says of place and units what the file's says; empty for other formats.
    """

    path: Path
    shape: tuple[int, ...]
    affine: np.ndarray
    dtype: np.dtype
    offset: int = 0
    slope: float = 1.0
    inter: float = 0.0
    header: bytes = b""
    remarks: tuple[Remark, ...] = ()
    stored_axes: int = 3

    @property
    def nbytes(self) -> int:
        """The length of the uncompressed file."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize

    @property
    def is_scaled(self) -> bool:
        return (self.slope, self.inter) != (1.0, 0.0)

    @property
    def is_placed(self) -> bool:
        """Whether the affine gives every voxel a place of its own."""
        if not np.isfinite(self.affine).all():
            return False
        edges = np.linalg.norm(self.affine[:3, :3], axis=0)
        return bool(edges.all() and abs(np.linalg.det(self.affine[:3, :3])) >= _FLAT * np.prod(edges))

    @property
    def voxel_ml(self) -> float:
        return voxel_ml(self.affine)


def voxel_ml(affine: np.ndarray) -> float:
    """The volume of a voxel in ml; of a parallelepiped where the axes are not perpendicular."""
    return float(abs(np.linalg.det(affine[:3, :3]))) / 1000


def shape_text(image: Volume) -> str:
    return " x ".join(map(str, image.shape)) or "empty"


def without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without axes of one behind the third: they hold nothing."""
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def ending_of(name: str) -> str:
    """The ending, as it is written, of a file's name that is read as an image; empty for another."""
    lower = name.lower()
    found = next((ending for ending in ENDINGS if lower.endswith(ending)), "")
    return name[len(name) - len(found) :] if found else ""


def stem_of(name: str) -> str:
    """A file's name without its ending."""
    return name.removesuffix(ending_of(name))
