"""The voxels of a brain phantom, which stand in the frame of BraTS, and the pieces they are rendered in."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from benchmark.data.phantoms import brain_anatomy as anatomy
from benchmark.data.phantoms.shapes import Array, Point
from benchmark.vocabulary import Spacing

EXTENT_MM = (240.0, 240.0, 155.0)
_CORNER = (120.0, 103.0, -72.5)
"""The volume's right, front and lower face, mm from the anterior commissure."""
_FINEST_PIECE_MM = 2.5
"""Voxels larger than this are rendered in pieces."""


class Grid:
    """The volume's voxels and, within the box that holds the brain, the pieces they are rendered in."""

    def __init__(self, spacing_mm: Spacing, scale: Point) -> None:
        self.spacing_mm = spacing_mm
        nx, ny, nz = (math.ceil(e / s - 1e-6) for e, s in zip(EXTENT_MM, spacing_mm, strict=True))
        self.shape = (nx, ny, nz)
        self.split = tuple(math.ceil(s / _FINEST_PIECE_MM) for s in spacing_mm)
        self.piece_mm = math.prod(s / k for s, k in zip(spacing_mm, self.split, strict=True)) ** (1 / 3)
        box, self._pieces, self._voxels = [], [], []
        for axis, (n, s, k) in enumerate(zip(self.shape, spacing_mm, self.split, strict=True)):
            way = 1 if axis == 2 else -1
            centres = (_CORNER[axis] + way * (np.arange(n) + 0.5) * s) / scale[axis]
            held = np.flatnonzero(
                (centres > anatomy.LOW[axis] - s / 2) & (centres < anatomy.HIGH[axis] + s / 2)
            )
            box.append(slice(int(held[0]), int(held[-1]) + 1))
            inner = way * ((np.arange(k) + 0.5) / k - 0.5) * s / scale[axis]
            self._voxels.append(centres[held].astype(np.float32))
            self._pieces.append((centres[held][:, None] + inner).astype(np.float32).ravel())
        self.box = (box[0], box[1], box[2])

    @property
    def piece_axes(self) -> tuple[Array, Array, Array]:
        """Reference coordinates of the pieces' middles, shaped to broadcast."""
        x, y, z = self._pieces
        return x[:, None, None], y[None, :, None], z[None, None, :]

    @property
    def voxel_axes(self) -> tuple[Array, Array, Array]:
        x, y, z = self._voxels
        return x[:, None, None], y[None, :, None], z[None, None, :]

    def averaged(self, pieces: Array) -> NDArray[np.float32]:
        """The means of each voxel's pieces."""
        if max(self.split) == 1:
            return np.asarray(pieces, np.float32)
        (a, b, c), (nx, ny, nz) = self.split, pieces.shape
        return np.asarray(pieces.reshape(nx // a, a, ny // b, b, nz // c, c).mean((1, 3, 5)), np.float32)

    @property
    def affine(self) -> NDArray[np.float64]:
        """Voxel indices to mm in the frame of BraTS, whose first voxel lies at x 0, y 239, z 0."""
        affine = np.diag([-self.spacing_mm[0], -self.spacing_mm[1], self.spacing_mm[2], 1.0])
        affine[:3, 3] = [
            0.5 - self.spacing_mm[0] / 2,
            239.5 - self.spacing_mm[1] / 2,
            self.spacing_mm[2] / 2 - 0.5,
        ]
        return affine
