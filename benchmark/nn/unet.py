"""The MONAI U-Net as a numbered row of layers, so that two of them can share some by number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from monai.networks.blocks import Convolution, ResidualUnit
from torch import Tensor, nn

from benchmark.nn.convolution import TinyMapsInFloat32
from benchmark.vocabulary import BenchError, Size3

CHANNELS = (16, 32, 64, 128, 256)
"""The paper's backbone; layers 1-4 are the encoder, 5 the bottleneck, 6-8 the decoder."""


class _ResidualUnit(TinyMapsInFloat32, ResidualUnit):
    """MONAI's, with tiny feature maps in float32 on a CPU."""


def down_layer(channels_in: int, channels_out: int, *, stride: int = 2) -> ResidualUnit:
    """Two residual units with batch normalisation and PReLU, the first with a stride."""
    return _ResidualUnit(
        3, channels_in, channels_out, strides=stride, kernel_size=3, subunits=2, norm="BATCH"
    )


def up_layer(channels_in: int, channels_out: int, *, linear_end: bool = False) -> nn.Sequential:
    """A transposed convolution of stride 2, then one residual unit; `linear_end`: no norm or activation last."""
    settings = {"kernel_size": 3, "norm": "BATCH", "act": "PRELU"}
    up = Convolution(3, channels_in, channels_out, strides=2, is_transposed=True, **settings)
    unit = _ResidualUnit(3, channels_out, channels_out, subunits=1, last_conv_only=linear_end, **settings)
    return nn.Sequential(up, unit)


def check_patch_size(patch_size: Size3, channels: Sequence[int] = CHANNELS) -> None:
    """A U-Net of these channels halves every side of a patch len(channels) - 1 times; refuse what does not halve."""
    stride = 2 ** (len(channels) - 1)
    if any(side % stride for side in patch_size):
        raise BenchError(f"The sides of patch_size {tuple(patch_size)} must be multiples of {stride}.")


def _encoder_layers(channels_in: int, channels: Sequence[int]) -> dict[str, nn.Module]:
    """Layers "1" ... "n" with a stride, and the bottleneck "n + 1"."""
    widths = [channels_in, *channels]
    return {
        str(i + 1): down_layer(before, width, stride=2 if i < len(channels) - 1 else 1)
        for i, (before, width) in enumerate(pairwise(widths))
    }


def _decoder_layers(
    channels_out: int, channels: Sequence[int], *, bottlenecks: int = 1, skips: int = 1
) -> dict[str, nn.Module]:
    """Layers "n + 2" ... "2n" and "output", for so many bottlenecks and skips of every level, concatenated."""
    depth = len(channels) - 1
    layers: dict[str, nn.Module] = {}
    below = bottlenecks * channels[-1]
    for i in range(depth - 1, 0, -1):
        layers[str(2 * depth + 1 - i)] = up_layer(below + skips * channels[i], channels[i - 1])
        below = channels[i - 1]
    layers["output"] = up_layer(below + skips * channels[0], channels_out, linear_end=True)
    return layers


def _encode(layers: nn.ModuleDict, depth: int, image: Tensor) -> tuple[Tensor, list[Tensor]]:
    features, skips = image, []
    for number in range(1, depth + 1):
        features = layers[str(number)](features)
        skips.append(features)
    return layers[str(depth + 1)](features), skips


def _decode(layers: nn.ModuleDict, depth: int, bottleneck: Tensor, skips: Sequence[Tensor]) -> Tensor:
    features = bottleneck
    names = [str(number) for number in range(depth + 2, 2 * depth + 1)] + ["output"]
    for name, skip in zip(names, reversed(skips), strict=True):
        # The order of MONAI's SkipConnection: skip first, then what comes from below.
        features = layers[name](torch.cat([skip, features], dim=1))
    return features


def _shapes(layer: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(parameter.shape) for parameter in layer.parameters()]


class Encoder(nn.Module):
    """A `UNet`'s way down: its layers "1" ... "n + 1"."""

    def __init__(self, channels_in: int, *, channels: Sequence[int] = CHANNELS) -> None:
        super().__init__()
        self.depth = len(channels) - 1
        self.layers = nn.ModuleDict(_encoder_layers(channels_in, channels))

    def forward(self, image: Float[Tensor, "b c x y z"]) -> tuple[Tensor, list[Tensor]]:
        """Bottleneck features, and the skips from fine to coarse."""
        return _encode(self.layers, self.depth, image)


class Decoder(nn.Module):
    """A `UNet`'s way up: its layers "n + 2" ... "2n" and "output".

    `bottlenecks`, `skips`: of how many encoders it takes them, concatenated along channels.
    """

    def __init__(
        self, channels_out: int, *, channels: Sequence[int] = CHANNELS, bottlenecks: int = 1, skips: int = 1
    ) -> None:
        super().__init__()
        self.depth = len(channels) - 1
        self.layers = nn.ModuleDict(
            _decoder_layers(channels_out, channels, bottlenecks=bottlenecks, skips=skips)
        )

    def forward(self, bottleneck: Tensor, skips: Sequence[Tensor]) -> Float[Tensor, "b k x y z"]:
        """`skips` from fine to coarse."""
        return _decode(self.layers, self.depth, bottleneck, skips)


class UNet(nn.Module):
    """Layers "1" ... "n" from the input to the last shareable decoder layer, and "output".

    Equal to `monai.networks.nets.UNet(3, channels_in, channels_out, channels, strides=(2, ...),
    num_res_units=2, norm="batch")`: every side of a patch must be a multiple of `2 ** (len(channels) - 1)`.
    """

    def __init__(self, channels_in: int, channels_out: int, *, channels: Sequence[int] = CHANNELS) -> None:
        super().__init__()
        self.depth = len(channels) - 1
        """Number of encoder layers; the bottleneck is layer depth + 1."""
        self.layers = nn.ModuleDict(
            _encoder_layers(channels_in, channels) | _decoder_layers(channels_out, channels)
        )

    @property
    def numbers(self) -> range:
        """The layers that can be shared."""
        return range(1, 2 * self.depth + 1)

    def share_layers(self, other: UNet, numbers: Iterable[int], *, output: bool = False) -> None:
        """From now on both networks run the same modules at these places, each on its own features.

        `output`: the last layer too, which has no number.
        """
        wanted = sorted(set(numbers))
        unknown = [n for n in wanted if n not in self.numbers]
        if unknown:
            raise BenchError(
                f"There is no layer {unknown} to share; shared_layers takes numbers of {list(self.numbers)}."
            )
        for name in (*map(str, wanted), *(("output",) if output else ())):
            if _shapes(self.layers[name]) != _shapes(other.layers[name]):
                raise BenchError(
                    f"Layer {name} cannot be shared: its weights have other shapes in the two networks, as where one "
                    "takes or gives more channels than the other. Leave it out."
                )
            self.layers[name] = other.layers[name]

    def encode(self, image: Float[Tensor, "b c x y z"]) -> tuple[Tensor, list[Tensor]]:
        """Bottleneck features, and the skips from fine to coarse."""
        return _encode(self.layers, self.depth, image)

    def decode(self, bottleneck: Tensor, skips: Sequence[Tensor]) -> Float[Tensor, "b k x y z"]:
        return _decode(self.layers, self.depth, bottleneck, skips)

    def forward(self, image: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b k x y z"]:
        return self.decode(*self.encode(image))
