"""Decoders from the bottleneck alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmark.nn.decoders import BottleneckDecoder, PlainDecoder
from benchmark.nn.unet import CHANNELS, UNet


def test_the_widths_are_those_of_the_u_net_s_decoder() -> None:
    with torch.device("meta"):
        decoder = PlainDecoder(CHANNELS, 2)
    widths = [(up.conv.in_channels, up.conv.out_channels) for up, _ in decoder]
    assert widths == [(256, 64), (64, 32), (32, 16), (16, 2)]
    assert sum(p.numel() for p in decoder.parameters()) == 658_299


@pytest.mark.parametrize("channels", [(4, 8), (4, 8, 16), (4, 8, 8, 8, 8)])
def test_it_leads_from_the_bottleneck_back_to_the_size_of_the_image(channels: tuple[int, ...]) -> None:
    halvings = len(channels) - 1
    image = torch.rand(2, 1, *(n * 2**halvings for n in (1, 2, 3)))
    bottleneck, _ = UNet(1, 2, channels=channels).encode(image)
    assert PlainDecoder(channels, 3)(bottleneck).shape == (2, 3, *image.shape[2:])


def test_no_norm_and_no_activation_follow_the_last_convolution() -> None:
    """So what is reconstructed can have any mean and sign."""
    *before, last = PlainDecoder((4, 8, 8), 1)
    kinds = (nn.BatchNorm3d, nn.PReLU)
    assert not any(isinstance(module, kinds) for module in last[1].modules())
    assert all(any(isinstance(module, kinds) for module in layer[1].modules()) for layer in before)


def test_the_bottleneck_decoder_takes_two_bottlenecks_and_ends_in_normalisation() -> None:
    with torch.device("meta"):
        one, two = BottleneckDecoder(CHANNELS), BottleneckDecoder(CHANNELS, 2)
    widths = [(up.conv.in_channels, up.conv.out_channels) for up, _ in two]
    assert widths == [(512, 64), (64, 32), (32, 16), (16, 2)]
    assert sum(p.numel() for p in one.parameters()) == 1_100_153
    assert any(isinstance(module, nn.BatchNorm3d) for module in two[-1][1].modules())
