"""torch's layers, which train faster on a processor.

A layer takes its own way only in trainings on a CPU, on shapes where that was measured to be faster; everywhere else
(predictions, GPUs, autocast, compiled graphs, processors and threads that nobody measured) it is torch's, bit for
bit. Parameters and their names stay. The measurements: `python -m tests.performance --only layers`.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.nn.matmul_convolution import gradients
from benchmark.vocabulary import Size3

Way = Literal["products", "channels last"]


class QuickConv3d(nn.Conv3d):
    """`nn.Conv3d` with other gradients; what it computes is torch's own."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        way = self._way(input)
        if way is None:
            return super()._conv_forward(input, weight, bias)
        result: Tensor = _Convolution.apply(input, weight, bias, _three(self.padding), way)
        return result

    def _way(self, maps: Tensor) -> Way | None:
        """Of the gradients: torch's (None), or one that is faster for this layer and these maps."""
        voxels = maps.numel() // maps.shape[1]
        if voxels < 2048 or not maps.requires_grad or not _trains_here(maps):
            return None
        plain = set(self.stride) == set(self.dilation) == {self.groups} == {1} and _pads_with_zeros(self)
        if not plain or set(self.kernel_size) == {1}:
            return None
        least, most = sorted((self.in_channels, self.out_channels))
        if len(maps) == 1 and math.prod(maps.shape[:4]) <= 20480:
            # torch calls no oneDNN then (its `use_mkldnn`), and its own kernels are slower still.
            return "products" if most <= 32 and voxels >= 8192 else None
        if most <= 2:
            return "products" if voxels >= 16384 else None
        if least >= 3 and most <= 64 and len(maps) > 1 and maps.is_contiguous():
            return "channels last"
        return None


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor | None, padding: Size3, way: Way
    ) -> Tensor:
        ctx.save_for_backward(maps, weight)
        ctx.padding, ctx.way, ctx.has_bias = padding, way, bias is not None
        return F.conv3d(maps, weight, bias, padding=padding)

    @staticmethod
    def backward(ctx: Any, *results: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = results
        maps, weight = ctx.saved_tensors
        if ctx.way == "products":
            to_maps, to_weight = gradients(maps, weight, gradient, padding=ctx.padding)
        else:
            # oneDNN's weight gradient of volumes works on this format, and is slow on the other; so is the input's
            # gradient of channels that do not fill a vector.
            copies = tuple(
                tensor.contiguous(memory_format=torch.channels_last_3d) for tensor in (gradient, maps, weight)
            )
            narrow = min(weight.shape[:2]) < 8
            to_maps, to_weight = _torch_s_gradients(copies, ctx.padding, [narrow, True])
            if not narrow:
                to_maps, _ = _torch_s_gradients((gradient, maps, weight), ctx.padding, [True, False])
            to_maps = to_maps.contiguous()
            to_weight = to_weight.contiguous()
        to_bias = gradient.sum(dim=(0, 2, 3, 4)) if ctx.has_bias else None
        return to_maps, to_weight, to_bias, None, None


def _torch_s_gradients(tensors: tuple[Tensor, ...], padding: Size3, wanted: list[bool]) -> tuple[Any, Any]:
    """Those of the input and of the weights, as far as they are wanted, from output's gradient, input and weights."""
    one, none = [1, 1, 1], [0, 0, 0]
    to_maps, to_weight, _ = torch.ops.aten.convolution_backward(
        *tensors, None, one, list(padding), one, False, none, 1, [*wanted, False]
    )
    return to_maps, to_weight


class QuickConvTranspose3d(nn.ConvTranspose3d):
    """`nn.ConvTranspose3d`; where it doubles maps of which few channels are left, by another convolution."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        if output_size is not None or not self._gains(input):
            return super().forward(input, output_size)
        result: Tensor = _Doubling.apply(input, self.weight, self.bias)
        return result

    def _gains(self, maps: Tensor) -> bool:
        doubles = (
            set(self.kernel_size) == {3}
            and set(self.stride) == {2}
            and set(self.dilation) == {self.groups} == set(_three(self.padding)) == {1}
            and set(self.output_padding) == {1}
            and _pads_with_zeros(self)
        )
        voxels = math.prod(maps.shape) // maps.shape[1]
        return doubles and self.out_channels <= 2 and voxels >= 8192 and _trains_here(maps)


class _Doubling(torch.autograd.Function):
    """A transposed convolution of kernel 3 and stride 2 as one of kernel 2, of which every output voxel of a 2^3
    cube is a channel: oneDNN's transposed convolution computes eight channels, however few there are."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(maps, weight)
        ctx.sizes = None if bias is None else list(bias.shape)
        c = weight.shape[1]
        cubes = F.conv3d(maps, cube_weights(weight), None if bias is None else bias.repeat(8), padding=1)
        (x, y, z), b = maps.shape[2:], len(maps)
        places = cubes[:, :, 1:, 1:, 1:].unflatten(1, (2, 2, 2, c)).permute(0, 4, 5, 1, 6, 2, 7, 3)
        memory_format = torch.channels_last_3d if maps.stride(1) == 1 else torch.contiguous_format
        return places.reshape(b, c, 2 * x, 2 * y, 2 * z).contiguous(memory_format=memory_format)

    @staticmethod
    def backward(ctx: Any, *results: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        (gradient,) = results
        maps, weight = ctx.saved_tensors
        one, two = [1, 1, 1], [2, 2, 2]
        wanted = [True, True, ctx.sizes is not None]
        to_maps, to_weight, to_bias = torch.ops.aten.convolution_backward(
            gradient, maps, weight, ctx.sizes, two, one, one, True, one, 1, wanted
        )
        return to_maps, to_weight, to_bias


def cube_weights(weight: Float[Tensor, "c o 3 3 3"]) -> Float[Tensor, "p c 2 2 2"]:
    """Of the convolution that gives the 2^3 places of each output channel, channels last among them.

    Along an axis an even voxel sees one input voxel through the middle of the kernel, and an odd one two.
    """
    with_zero = F.pad(weight.flatten(2), (0, 1))
    taps = with_zero[:, :, _cube_taps()]
    return taps.permute(2, 1, 0, 3, 4, 5).flatten(0, 1)


@lru_cache(maxsize=1)
def _cube_taps() -> Tensor:
    """For every place of a cube and every tap of the smaller kernel the place in the larger one; 27: none."""
    along = torch.tensor([[1, 3], [2, 0]])
    x, y, z = along.view(2, 1, 1, 2, 1, 1), along.view(1, 2, 1, 1, 2, 1), along.view(1, 1, 2, 1, 1, 2)
    inside = (x < 3) & (y < 3) & (z < 3)
    return torch.where(inside, 9 * x + 3 * y + z, 27).flatten(0, 2)


class QuickPReLU(nn.PReLU):
    """`nn.PReLU` of one slope, with a backward pass in vectorised steps."""

    def forward(self, input: Tensor) -> Tensor:
        large = input.device.type == "cpu" and input.numel() >= 32768 and self.weight.numel() == 1
        if not large or not torch.is_grad_enabled() or torch.compiler.is_compiling():
            return super().forward(input)
        y: Tensor = _PReLUGradient.apply(input, self.weight)
        return y


class _PReLUGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(x, slope)
        return F.prelu(x, slope.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *results: Tensor) -> tuple[Tensor, Tensor]:
        (gradient,) = results
        x, slope = ctx.saved_tensors
        to_x = torch.ops.aten.leaky_relu_backward(gradient, x, float(slope), False)
        products = x.clamp(max=0).mul_(gradient)
        # In the order of memory, and in parts: a sum into another type would first copy everything.
        in_memory = products.permute(sorted(range(x.ndim), key=products.stride, reverse=True))
        parts = in_memory.flatten(2).flatten(0, 1).sum(dim=1)
        return to_x, parts.sum(dtype=torch.float32).to(slope.dtype).reshape(slope.shape)


QUICK: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv3d: QuickConv3d,
    nn.ConvTranspose3d: QuickConvTranspose3d,
    nn.PReLU: QuickPReLU,
}


def with_quick_layers(network: nn.Module) -> None:
    """Make torch's layers of a network those of this file, in place; classes derived from torch's stay."""
    for module in network.modules():
        module.__class__ = QUICK.get(type(module), type(module))


def _pads_with_zeros(layer: nn.Conv3d | nn.ConvTranspose3d) -> bool:
    """By numbers, and by less than the kernel's size."""
    if isinstance(layer.padding, str) or layer.padding_mode != "zeros":
        return False
    return all(p < k for p, k in zip(layer.padding, layer.kernel_size, strict=True))


def _trains_here(maps: Tensor) -> bool:
    return (
        maps.device.type == "cpu"
        and maps.dtype == torch.float32
        and torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and _is_measured_here()
    )


def _is_measured_here() -> bool:
    """AVX-512 and bfloat16 have other kernels in oneDNN, and several threads other costs."""
    return torch.backends.cpu.get_cpu_capability() == "AVX2" and torch.get_num_threads() == 1


def _three(numbers: tuple[int | str, ...] | str) -> Size3:
    x, y, z = (int(number) for number in numbers)
    return x, y, z
