"""A convolution's gradients as sums of matrix products, for the shapes for which a processor's own kernels are slow.

The padded volume is cut along z into overlapping windows, one a row of a matrix. A banded matrix holds the kernel's
weights once for each voxel of a block, and turns a window with all its channels into a block of output voxels with
all of theirs: few channels make matrices as wide as the processor's vectors all the same. The kernel's other two
axes are shifts of rows: one product for each of its places in x and y, added up without another copy. What has no
neighbour in the volume (the ends of x and y) is computed and left out.

Every output is the sum of the convolution's own products and of zeros, in a fixed order: equal to torch's up to
rounding, and the same bits in every run. (So a value that is not finite reaches its whole block.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from benchmark.vocabulary import Size3

ROWS = 8192
"""Rows of a product: a few hundred of KB, so that the sum stays in the processor's cache."""
WIDTH = 16
"""Columns of a product, at least: two vectors of eight, below which matrix products are slow."""


@dataclass(frozen=True)
class Geometry:
    """How a volume of `size` voxels becomes rows: `block` output voxels along z are a row's columns."""

    size: Size3
    kernel: Size3
    padding: Size3
    block: int

    @property
    def out(self) -> Size3:
        x, y, z = (n + 2 * p - k + 1 for n, k, p in zip(self.size, self.kernel, self.padding, strict=True))
        return x, y, z

    @property
    def blocks(self) -> int:
        return -(-self.out[2] // self.block)

    @property
    def window(self) -> int:
        """Input voxels along z that a block of output voxels sees."""
        return self.block - 1 + self.kernel[2]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows along x and y, with those at the ends that only neighbours look at."""
        x, y = (n + k - 1 for n, k in zip(self.out[:2], self.kernel[:2], strict=True))
        return x, y

    @cached_property
    def shifts(self) -> list[int]:
        """For every place of the kernel in x and y, in its order: how many rows on."""
        _, y = self.grid
        return [(i * y + j) * self.blocks for i in range(self.kernel[0]) for j in range(self.kernel[1])]

    def rows(self, maps: Float[Tensor, "b c x y z"]) -> Float[Tensor, "n w"]:
        """The windows."""
        ends = (*self.grid, self.blocks * self.block - 1 + self.kernel[2])
        pads = [0, 0]
        for n, p, end in reversed(list(zip(self.size, self.padding, ends, strict=True))):
            pads += [p, end - n - p]
        c = maps.shape[1]
        lines = F.pad(maps.permute(0, 2, 3, 4, 1), pads).contiguous().flatten(3)
        return lines.unfold(3, self.window * c, self.block * c).reshape(-1, self.window * c)

    def parts(self, rows: int) -> Iterator[tuple[int, int]]:
        """Ranges of rows, without the last ones, behind which the shifted rows end."""
        last = rows - max(self.shifts)
        for start in range(0, last, ROWS):
            yield start, min(start + ROWS, last)

    def band(self, matrices: Tensor, c_in: int, c_out: int) -> Float[Tensor, "x y z c_in o c_out"]:
        """The places of the kernel's weights in the banded matrices, for each output voxel `o` of a block."""
        kx, ky, kz = self.kernel
        width = self.block * c_out
        matrix = self.window * c_in * width
        strides = (ky * matrix, matrix, c_in * width, width, c_in * width + c_out, 1)
        return matrices.as_strided((kx, ky, kz, c_in, self.block, c_out), strides)


@lru_cache(maxsize=256)
def geometry(size: Size3, kernel: Size3, padding: Size3, channels_out: int) -> Geometry:
    """Blocks that make at least `WIDTH` columns of `channels_out` channels, as far as the volume is long enough."""
    z = size[2] + 2 * padding[2] - kernel[2] + 1
    return Geometry(size, kernel, padding, min(z, -(-WIDTH // channels_out)))


def gradients(
    maps: Float[Tensor, "b c x y z"],
    weight: Float[Tensor, "o c i j k"],
    gradient: Float[Tensor, "b o p q r"],
    *,
    padding: Size3,
) -> tuple[Float[Tensor, "b c x y z"], Float[Tensor, "o c i j k"]]:
    """Those of the input and of the weights of a convolution without stride.

    Both are seen from the output's gradient, so that its windows serve twice: the input's gradient is its convolution
    with the kernel turned round, and the weights' is that of this kernel, turned round.
    """
    x, y, z = (k - 1 - p for k, p in zip(_size(weight), padding, strict=True))
    shape = geometry(_size(gradient), _size(weight), (x, y, z), maps.shape[1])
    rows = shape.rows(gradient)
    lines = _products(shape, rows, _turned(weight))
    to_weight = _turned(_correlation(shape, rows, maps))
    return lines.contiguous(memory_format=_memory_format(maps)), to_weight.contiguous()


def _products(
    shape: Geometry, rows: Float[Tensor, "n w"], weight: Float[Tensor, "o c i j k"]
) -> Float[Tensor, "b o p q r"]:
    """The convolution of the windows with the weights."""
    c_out, c_in, kx, ky, _ = weight.shape
    matrices = rows.new_zeros(kx * ky, shape.window * c_in, shape.block * c_out)
    shape.band(matrices, c_in, c_out).copy_(weight.permute(2, 3, 4, 1, 0).unsqueeze(4))
    result = rows.new_empty(len(rows), shape.block * c_out)
    for start, end in shape.parts(len(rows)):
        part = result[start:end]
        torch.mm(rows[start:end], matrices[0], out=part)
        for matrix, shift in zip(matrices[1:], shape.shifts[1:], strict=True):
            part.addmm_(rows[start + shift : end + shift], matrix)
    x, y, z = shape.out
    lines = result.view(-1, *shape.grid, shape.blocks * shape.block, c_out)
    return lines[:, :x, :y, :z].permute(0, 4, 1, 2, 3)


def _correlation(
    shape: Geometry, rows: Float[Tensor, "n w"], gradient: Float[Tensor, "b o p q r"]
) -> Float[Tensor, "o c i j k"]:
    """The gradient of the weights that give `gradient`'s maps from the windows."""
    c_out, c_in = gradient.shape[1], rows.shape[1] // shape.window
    ends = (*shape.grid, shape.blocks * shape.block)
    pads = [0, 0]
    for n, end in reversed(list(zip(shape.out, ends, strict=True))):
        pads += [0, end - n]
    blocks = F.pad(gradient.permute(0, 2, 3, 4, 1), pads).contiguous().view(len(rows), -1)
    matrices = rows.new_zeros(len(shape.shifts), rows.shape[1], blocks.shape[1])
    # Of wide rows the transposed product is the faster one.
    wide = rows.shape[1] > 2 * blocks.shape[1]
    sums = matrices.new_zeros(len(shape.shifts), blocks.shape[1], rows.shape[1]) if wide else matrices
    for start, end in shape.parts(len(rows)):
        part = blocks[start:end]
        for added, shift in zip(sums, shape.shifts, strict=True):
            shifted = rows[start + shift : end + shift]
            if wide:
                added.addmm_(part.t(), shifted)
            else:
                added.addmm_(shifted.t(), part)
    if wide:
        matrices.copy_(sums.transpose(1, 2))
    return shape.band(matrices, c_in, c_out).sum(dim=4).permute(4, 3, 0, 1, 2)


def _turned(weight: Float[Tensor, "o c i j k"]) -> Float[Tensor, "c o i j k"]:
    return weight.flip(2, 3, 4).transpose(0, 1)


def _size(maps: Tensor) -> Size3:
    x, y, z = maps.shape[2:]
    return x, y, z


def _memory_format(maps: Tensor) -> torch.memory_format:
    return torch.channels_last_3d if maps.stride(1) == 1 else torch.contiguous_format
