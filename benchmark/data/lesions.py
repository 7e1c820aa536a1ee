"""Lesions as connected components of a mask."""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Box = tuple[slice, slice, slice]

CONNECTIVITY = 18
"""Voxels that share a face or an edge are one lesion; the AutoPET challenge's choice."""


@dataclass(frozen=True)
class Components:
    """Connected components of a mask: all, those that share no voxel with the other mask, and the voxels of these."""

    n: int
    n_untouched: int
    voxels_untouched: int


def components(mask: Mask, other: Mask) -> Components:
    """The connected components of `mask`, and which of them share no voxel with `other`.

    One pass over the labelled volume whatever the number of components: which labels occur under
    `other`, then how many voxels carry one of the rest.
    """
    if not mask.any():
        return Components(0, 0, 0)
    box = bounding_box(mask)
    inside = np.ascontiguousarray(mask[box])
    labels, n_components = cc3d.connected_components(
        inside, connectivity=CONNECTIVITY, binary_image=True, return_N=True
    )
    touched = np.zeros(n_components + 1, dtype=bool)
    touched[labels[inside & other[box]]] = True
    n_untouched = n_components - int(np.count_nonzero(touched[1:]))
    voxels = int(np.count_nonzero(~touched[labels[inside]])) if n_untouched else 0
    return Components(int(n_components), n_untouched, voxels)


def bounding_box(mask: Mask) -> Box:
    """The smallest box around a mask; nothing of an empty one."""
    plane = np.any(mask, axis=0)
    inside: list[Mask] = [np.any(mask, axis=(1, 2)), np.any(plane, axis=1), np.any(plane, axis=0)]
    if not inside[0].any():
        return slice(0, 0), slice(0, 0), slice(0, 0)
    first = [int(along.argmax()) for along in inside]
    stop = [len(along) - int(along[::-1].argmax()) for along in inside]
    return slice(first[0], stop[0]), slice(first[1], stop[1]), slice(first[2], stop[2])
