"""Layers as torch's, with gradients that a processor computes faster; for trainings on CPUs.

A layer takes its own way only where gradients are wanted, on shapes where it was measured to be faster; everywhere
else (predictions, GPUs, autocast, compiled graphs, processors that nobody measured) it is torch's, bit for bit.
Parameters and their names stay. Measured with `python -m tests.performance --only gradients` on AVX2: oneDNN has
no vector kernel of that width for gradients of volumes, but AVX-512 and bfloat16 have others.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.nn.matmul_convolution import gradients
from benchmark.vocabulary import Size3

FEW_CHANNELS = 4
"""Of both sides of a convolution, at most."""
MANY_VOXELS = 32**3
"""Of a batch, at least: below, starting the products takes as long as computing them."""


class QuickConv3d(nn.Conv3d):
    """`nn.Conv3d`, with other gradients where few channels meet many voxels."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not (self._is_few_to_few() and _gains(input, weight) and input.requires_grad):
            return super()._conv_forward(input, weight, bias)
        x, y, z = self.padding
        result: Tensor = _FewChannels.apply(input, weight, bias, (x, y, z))
        return result

    def _is_few_to_few(self) -> bool:
        return (
            max(self.in_channels, self.out_channels) <= FEW_CHANNELS
            and set(self.kernel_size) != {1}
            and set(self.stride) == set(self.dilation) == {self.groups} == {1}
            and self.padding_mode == "zeros"
            and not isinstance(self.padding, str)
            and all(p < k for p, k in zip(self.padding, self.kernel_size, strict=True))
        )


class _FewChannels(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor | None, padding: Size3) -> Tensor:
        ctx.save_for_backward(maps, weight)
        ctx.padding, ctx.has_bias = padding, bias is not None
        return nn.functional.conv3d(maps, weight, bias, padding=padding)

    @staticmethod
    def backward(ctx: Any, *results: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
        (gradient,) = results
        maps, weight = ctx.saved_tensors
        to_maps, to_weight = gradients(maps, weight, gradient, padding=ctx.padding)
        return to_maps, to_weight, gradient.sum(dim=(0, 2, 3, 4)) if ctx.has_bias else None, None


class QuickPReLU(nn.PReLU):
    """`nn.PReLU`, its backward pass in vectorised steps where there is one slope."""

    def forward(self, input: Tensor) -> Tensor:
        if input.device.type != "cpu" or self.weight.numel() != 1 or not torch.is_grad_enabled():
            return super().forward(input)
        y: Tensor = _PReLUGradient.apply(input, self.weight)
        return y


class _PReLUGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(x, slope)
        return nn.functional.prelu(x, slope.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (gradient,) = gradients
        x, slope = ctx.saved_tensors
        to_x = torch.ops.aten.leaky_relu_backward(gradient, x, float(slope), False)
        products = x.clamp(max=0).mul_(gradient)
        # In the order of memory, and in parts: a sum into another type would first copy everything.
        in_memory = products.permute(sorted(range(x.ndim), key=products.stride, reverse=True))
        parts = in_memory.flatten(2).flatten(0, 1).sum(dim=1)
        return to_x, parts.sum(dtype=torch.float32).to(slope.dtype).reshape(slope.shape)


QUICK: dict[type[nn.Module], type[nn.Module]] = {nn.Conv3d: QuickConv3d, nn.PReLU: QuickPReLU}


def with_quick_gradients(network: nn.Module) -> None:
    """Let the layers of a network be those of this file, in place; classes derived from torch's stay what they are."""
    for module in network.modules():
        module.__class__ = QUICK.get(type(module), type(module))


def _gains(maps: Tensor, weight: Tensor) -> bool:
    return (
        maps.device.type == "cpu"
        and maps.dtype == weight.dtype == torch.float32
        and torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and _is_measured_here()
        and math.prod(maps.shape) // maps.shape[1] >= MANY_VOXELS
    )


def _is_measured_here() -> bool:
    return torch.backends.cpu.get_cpu_capability() == "AVX2" and torch.get_num_threads() == 1
