"""Volumes as stacks of slices along z, for networks with two spatial axes."""

from __future__ import annotations

from jaxtyping import Shaped
from torch import Tensor


def slices_of(volumes: Shaped[Tensor, "b c x y z"]) -> Shaped[Tensor, "bz c x y"]:
    """Every slice an image of its own, those of a volume one after the other."""
    return volumes.permute(0, 4, 1, 2, 3).flatten(0, 1)


def volumes_of(slices: Shaped[Tensor, "bz c x y"], *, n: int) -> Shaped[Tensor, "b c x y z"]:
    """`n` volumes of their slices; undoes `slices_of`."""
    return slices.unflatten(0, (n, len(slices) // n)).permute(0, 2, 3, 4, 1)
