"""Whether two images lie on one grid: their voxels are compared one by one, so it must be the same."""

from __future__ import annotations

import itertools

import numpy as np

from benchmark.data.images.volume import Volume

TOLERANCE = 0.25
"""Of the smallest voxel edge, at the volume's corners. Rounded headers differ by less, and a mix-up of voxel
centres and corners, the smallest fault that matters, by half an edge."""


def same_place(first: Volume, second: Volume) -> bool:
    """Whether images of equal shape lie at the same place, up to the rounding of headers."""
    edge = float(np.linalg.norm(first.affine[:3, :3], axis=0).min())
    return corners_apart_mm(first.affine, second.affine, first.shape) <= TOLERANCE * edge


def corners_apart_mm(first: np.ndarray, second: np.ndarray, shape: tuple[int, ...]) -> float:
    """The largest distance between the places that two affines give a corner voxel."""
    corners = np.array(list(itertools.product(*((0, length - 1) for length in shape[:3]), (1,))), float)
    difference = corners @ (first - second).T
    return float(np.linalg.norm(difference[:, :3], axis=1).max())
