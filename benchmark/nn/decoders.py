"""Decoders that see the bottleneck alone, for auxiliary tasks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from benchmark.nn.unet import up_layer


class BottleneckDecoder(nn.Sequential):
    """Mirror U-Net's D_BTL: from both bottlenecks, concatenated, without skips (512 -> 64 -> 32 -> 16 -> out).

    Its last layer ends in normalisation and PReLU like the others, as in the authors' code.
    """

    def __init__(self, channels: Sequence[int], channels_out: int = 1) -> None:
        widths = [2 * channels[-1], *reversed(channels[: len(channels) - 2]), channels_out]
        super().__init__(*(up_layer(a, b) for a, b in pairwise(widths)))


class PlainDecoder(nn.Sequential):
    """From a U-Net's bottleneck to images of the input's size, without skips (256 -> 64 -> 32 -> 16 -> `channels_out`).

    The widths are those of the U-Net's own decoder, and like there no norm or activation follows the last layer.
    """

    def __init__(self, channels: Sequence[int], channels_out: int) -> None:
        widths = [channels[-1], *reversed(channels[:-2]), channels_out]
        last = len(widths) - 2
        super().__init__(*(up_layer(a, b, linear_end=i == last) for i, (a, b) in enumerate(pairwise(widths))))
