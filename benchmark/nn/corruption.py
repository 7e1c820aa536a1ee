"""The paper's Phi: what is done to the CT before its branch has to reconstruct it (Section 3.1).

Random numbers are drawn from the generator that is passed in; the input is never changed in place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, get_args

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from benchmark.vocabulary import BenchError, Size3

Corruption = Literal["none", "noise", "shuffle"]
CORRUPTIONS: tuple[str, ...] = get_args(Corruption)
CUBE = 16
"""Edge of a shuffled cube in voxels, as in the authors' code."""


def default_cubes(patch_size: Size3) -> int:
    """27 cubes in a 96^3 patch (an eighth of it), in proportion for other patches, at least one."""
    x, y, z = patch_size
    return max(1, round(27 * x * y * z / 96**3))


def lattice(size: Sequence[int], n_cubes: int) -> tuple[list[int], list[int]]:
    """The edges of a cube and the number of cubes along each axis of the lattice that cubes are chosen from."""
    edge = [min(n, CUBE) for n in size]
    # One cell fewer an axis than fits leaves room to move the lattice, unless so many cubes are wanted.
    cells = [max(1, n // e - 1) for n, e in zip(size, edge, strict=True)]
    if n_cubes > math.prod(cells):
        cells = [n // e for n, e in zip(size, edge, strict=True)]
    if not 0 < n_cubes <= math.prod(cells):
        raise BenchError(f"n_cubes = {n_cubes} cubes of {CUBE}^3 do not fit into a patch of {tuple(size)}.")
    return edge, cells


def add_noise(
    image: Float[Tensor, "b m x y z"], *, std: float, generator: torch.Generator, drawn: bool = False
) -> Tensor:
    """Gaussian noise; `std` in prepared units: on the [0, 1] scale of CT, in standard deviations of z-scored MRI.

    `drawn`: the deviation of all patches is drawn from [0, std], as by the authors' code.
    """
    noise = torch.randn(image.shape, generator=generator, device=image.device, dtype=torch.float32)
    part = torch.rand((), generator=generator, device=image.device) if drawn else 1.0
    return image + std * part * noise.to(image.dtype)


def shuffle_cubes(image: Float[Tensor, "b m x y z"], *, n_cubes: int, generator: torch.Generator) -> Tensor:
    """Shuffle the voxels inside `n_cubes` random cubes of every patch; a voxel's modalities stay together.

    The cubes lie on a lattice whose offset is random, so no two overlap; a patch thinner than a cube
    gets cubes as thin as itself.
    """
    b, device = len(image), image.device
    cell_start, inside, slack, strides = _places(tuple(image.shape[2:]), n_cubes, device)
    n_cells, volume = len(cell_start), len(inside)

    # Draw.
    offsets = torch.rand((b, 3), generator=generator, device=device)
    chosen = torch.rand((b, n_cells), generator=generator, device=device).argsort(dim=1)[:, :n_cubes]
    order = torch.rand((b, n_cubes, volume), generator=generator, device=device).argsort(dim=2)

    # Apply.
    # Integers have no matrix product on CUDA.
    moved = ((offsets * (slack + 1)).long() * strides).sum(dim=1, keepdim=True)
    start = (moved + cell_start[chosen]).unsqueeze(2)
    index, source = (start + inside).expand(b, -1, -1).flatten(1), (start + inside[order]).flatten(1)
    return _moved(image.flatten(2), index, source).reshape(image.shape)


def shuffle_common_cubes(
    image: Float[Tensor, "b m x y z"], *, n_cubes: int, generator: torch.Generator
) -> Tensor:
    """Shuffle the voxels inside cubes at the same places in all patches, one cube after the other.

    As the authors' code: a cube may lie anywhere in the patch, also across another; the order of the voxels is each
    patch's own.
    """
    b, size, device = len(image), tuple(image.shape[2:]), image.device
    _, inside, _, strides = _places(size, 1, device)
    edge, _ = lattice(size, 1)

    # Draw.
    room = torch.tensor([n - e + 1 for n, e in zip(size, edge, strict=True)], device=device)
    corners = (torch.rand((n_cubes, 3), generator=generator, device=device) * room).long()
    order = torch.rand((b, n_cubes, len(inside)), generator=generator, device=device).argsort(dim=2)

    # Apply.
    starts, flat = (corners * strides).sum(dim=1), image.flatten(2)
    for number in range(n_cubes):
        here = starts[number] + inside
        flat = _moved(flat, here.expand(b, -1), here[order[:, number]])
    return flat.reshape(image.shape)


def _moved(
    flat: Float[Tensor, "b m voxels"], index: Integer[Tensor, "b n"], source: Integer[Tensor, "b n"]
) -> Tensor:
    """`flat` with the values at `source`, in all modalities alike, where `index` is."""
    index, source = (voxels.unsqueeze(1).expand(-1, flat.shape[1], -1) for voxels in (index, source))
    return flat.scatter(2, index, flat.gather(2, source))


@lru_cache(maxsize=16)
def _places(
    size: tuple[int, ...], n_cubes: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What does not change from step to step, on the device.

    A voxel's flat index is linear in its coordinates, so those of a cell's corner, of a voxel inside a cube and of
    the lattice's offset add up. Returns the first two, the room the lattice has along each axis, and the strides.
    """
    edge, cells = lattice(size, n_cubes)
    strides = torch.tensor([size[1] * size[2], size[2], 1])
    cell = torch.cartesian_prod(*(torch.arange(n) * e for n, e in zip(cells, edge, strict=True))).reshape(
        -1, 3
    )
    voxel = torch.cartesian_prod(*(torch.arange(e) for e in edge)).reshape(-1, 3)
    slack = torch.tensor([n - c * e for n, c, e in zip(size, cells, edge, strict=True)])
    return (cell @ strides).to(device), (voxel @ strides).to(device), slack.to(device), strides.to(device)
