"""A vision transformer on feature maps: pixels to tokens, attention between them, and back to pixels."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from benchmark.vocabulary import BenchError

Size2 = tuple[int, int]


def interleaved_tokens(maps: Float[Tensor, "b c x y"], *, side: int) -> Float[Tensor, "b t d"]:
    """Dilated grids of `side` x `side` pixels, each a token of side^2 * c numbers, channels last.

    With a grid of n x m tokens, token (i, j) has the pixels (i, j), (i, j + m), ..., (i + n, j), ...: each sees the
    whole map coarsely, where the usual contiguous patch sees a part of it.
    """
    b, c, x, y = maps.shape
    grid = maps.reshape(b, c, side, x // side, side, y // side)
    return grid.permute(0, 3, 5, 2, 4, 1).reshape(b, (x // side) * (y // side), side * side * c)


def maps_of_tokens(
    tokens: Float[Tensor, "b t d"], *, side: int, size: Size2
) -> Float[Tensor, "b c {size[0]} {size[1]}"]:
    """The maps of this size; undoes `interleaved_tokens`."""
    x, y = size
    grid = tokens.unflatten(2, (side, side, -1)).unflatten(1, (x // side, y // side))
    return grid.permute(0, 5, 3, 1, 4, 2).flatten(4, 5).flatten(2, 3)


class SelfAttention(nn.Module):
    """Several heads, queries, keys and values without biases."""

    def __init__(self, dim: int, *, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise BenchError(
                f"A transformer of {dim} dimensions cannot have {heads} heads; one must divide the other."
            )
        self.heads = heads
        self.project = nn.Linear(dim, 3 * dim, bias=False)
        self.output = nn.Linear(dim, dim, bias=False)

    def forward(self, tokens: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        # By hand: torch's fused attention has no deterministic backward pass on every device.
        query, key, value = self.project(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        energy = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5
        attended = energy.float().softmax(dim=-1).to(value.dtype) @ value
        return self.output(attended.transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):
    """Self-attention and a perceptron of one hidden layer, each added to its input and normalised after that."""

    def __init__(self, dim: int, *, heads: int, hidden: int) -> None:
        super().__init__()
        self.attention = SelfAttention(dim, heads=heads)
        self.perceptron = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))
        self.norms = nn.ModuleList([nn.LayerNorm(dim), nn.LayerNorm(dim)])

    def forward(self, tokens: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        tokens = self.norms[0](tokens + self.attention(tokens))
        return self.norms[1](tokens + self.perceptron(tokens))


class VisionTransformer(nn.Module):
    """Maps of one size to one vector a token; a class token takes part in the attention and is left out at the end.

    `size`: the sides of the maps, multiples of `side`; positions are learned, one a token.
    """

    def __init__(
        self, channels: int, size: Size2, *, side: int, dim: int, blocks: int, heads: int, hidden: int
    ) -> None:
        super().__init__()
        self.side = side
        n_tokens = (size[0] // side) * (size[1] // side)
        self.embed = nn.Linear(side * side * channels, dim)
        self.class_token = nn.Parameter(torch.randn(1, 1, dim))
        self.positions = nn.Parameter(torch.randn(n_tokens + 1, dim))
        self.blocks = nn.Sequential(
            *(TransformerBlock(dim, heads=heads, hidden=hidden) for _ in range(blocks))
        )

    def forward(self, maps: Float[Tensor, "b c x y"]) -> Float[Tensor, "b t d"]:
        embedded = self.embed(interleaved_tokens(maps, side=self.side))
        first = self.class_token.expand(len(maps), -1, -1)
        tokens: Tensor = self.blocks(torch.cat([first, embedded], dim=1) + self.positions)
        return tokens[:, 1:]
