"""Single layers in training, forward and backward, with one thread, in processor time, against torch's own.

The table that `benchmark/nn/quick_layers.py` chooses by. On a processor or in a shape where a layer is torch's, the
ratio is 1 but for noise: a shape that loses here must not be chosen there.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark.nn.quick_layers import QuickConv3d, QuickConvTranspose3d, with_quick_layers
from benchmark.training.environment import set_up
from tests.performance.measure import Comparison, Setting

VOXELS_A_VALUE = 20 * 2 * 32**3
"""A value is the median of as many passes as have these voxels together, three at least."""


@dataclass(frozen=True)
class Shape:
    channels_in: int
    channels_out: int
    batch: int
    side: int
    doubling: bool = False

    @property
    def voxels(self) -> int:
        return self.batch * self.side**3

    def layer(self) -> nn.Module:
        if self.doubling:
            return nn.ConvTranspose3d(
                self.channels_in, self.channels_out, 3, stride=2, padding=1, output_padding=1
            )
        return nn.Conv3d(self.channels_in, self.channels_out, 3, padding=1)

    def __str__(self) -> str:
        kind = "transposed convolution" if self.doubling else "convolution"
        return f"{kind} {self.channels_in} -> {self.channels_out} at {self.batch} x {self.side}^3"


SHAPES = (
    *(Shape(a, b, 2, side) for a, b in ((1, 1), (2, 2), (1, 2), (4, 4)) for side in (16, 32, 48, 96)),
    *(Shape(a, a, 2, side) for a, side in ((8, 16), (8, 32), (16, 24), (16, 48), (32, 24), (64, 12))),
    *(Shape(a, a, 1, side) for a, side in ((1, 32), (2, 96), (16, 24), (32, 24))),
    *(
        Shape(a, b, 2, side, doubling=True)
        for a, b, side in ((8, 1, 16), (8, 2, 16), (16, 1, 48), (32, 2, 48))
    ),
)


def measure(setting: Setting) -> Iterator[Comparison]:
    set_up(torch.device("cpu"), threads=1, deterministic=True)
    for shape in SHAPES:
        torch.manual_seed(0)
        theirs = shape.layer()
        ours = nn.Sequential(copy.deepcopy(theirs))
        with_quick_layers(ours)
        image = torch.randn(shape.batch, shape.channels_in, *[shape.side] * 3, requires_grad=True)
        for layer in (ours, theirs):
            passed(layer, image)
        passes = max(3, VOXELS_A_VALUE // shape.voxels)
        values = [values_in_turns(ours, theirs, image, passes) for _ in range(setting.repeats)]
        yield Comparison(
            figure="layers",
            what=str(shape),
            peer_is="torch's own layer",
            goal="faster",
            unit="ms",
            target=0.95,
            ours=tuple(a for a, _ in values),
            peer=tuple(b for _, b in values),
            remarks=(f"{shape}: {way_of(ours[0], image)}",),
        )


def values_in_turns(ours: nn.Module, theirs: nn.Module, image: Tensor, passes: int) -> tuple[float, float]:
    pairs = [(passed(ours, image), passed(theirs, image)) for _ in range(passes)]
    a, b = (sorted(side)[passes // 2] for side in zip(*pairs, strict=True))
    return a, b


def passed(layer: nn.Module, image: Tensor) -> float:
    """Milliseconds of processor time of a pass forward and back."""
    layer.zero_grad()
    image.grad = None
    start = time.process_time()
    result = layer(image)
    result.backward(torch.ones_like(result))
    return 1000 * (time.process_time() - start)


def way_of(layer: nn.Module, image: Tensor) -> str:
    if isinstance(layer, QuickConvTranspose3d):
        return "as another convolution" if layer._gains(image) else "torch's"
    assert isinstance(layer, QuickConv3d)
    return layer._way(image) or "torch's"
