"""Blocks of networks with two spatial axes: convolution layers, residual ones, and ways up."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


def conv_layer(
    channels_in: int,
    channels_out: int,
    kernel_size: int,
    *,
    stride: int = 1,
    bias: bool = True,
    activation: type[nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """Convolution, batch normalisation, activation."""
    padding = kernel_size // 2
    conv = nn.Conv2d(channels_in, channels_out, kernel_size, stride=stride, padding=padding, bias=bias)
    return nn.Sequential(conv, nn.BatchNorm2d(channels_out), activation())


def two_layers(channels_in: int, channels_out: int) -> nn.Sequential:
    """Two 3^2 convolution layers."""
    return nn.Sequential(conv_layer(channels_in, channels_out, 3), conv_layer(channels_out, channels_out, 3))


class ResidualStage(nn.Module):
    """Two layers, then residual blocks of two each; a 1^2 convolution of the input is added at the end."""

    def __init__(self, channels_in: int, channels_out: int, n_blocks: int) -> None:
        super().__init__()
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1)
        self.first = two_layers(channels_in, channels_out)
        self.blocks = nn.ModuleList(two_layers(channels_out, channels_out) for _ in range(n_blocks))

    def forward(self, x: Float[Tensor, "b _ _ _"]) -> Float[Tensor, "b _ _ _"]:
        features = self.first(x)
        for block in self.blocks:
            features = features + block(features)
        summed: Tensor = features + self.shortcut(x)
        return summed


class Bottleneck(nn.Module):
    """ResNet's: 1^2, 3^2 with stride 2, 1^2, and a projected shortcut; ReLU after the sum. No biases."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_layer(channels_in, channels_out, 1, bias=False),
            conv_layer(channels_out, channels_out, 3, stride=2, bias=False),
            conv_layer(channels_out, channels_out, 1, bias=False, activation=nn.Identity),
        )
        self.shortcut = conv_layer(channels_in, channels_out, 1, stride=2, bias=False, activation=nn.Identity)

    def forward(self, x: Float[Tensor, "b _ _ _"]) -> Float[Tensor, "b _ _ _"]:
        return torch.relu(self.body(x) + self.shortcut(x))


class UpStage(nn.Module):
    """Transposed convolution, the skip, two layers."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(channels_in, channels_out, 3, stride=2, padding=1, output_padding=1)
        self.layers = two_layers(2 * channels_out, channels_out)

    def forward(
        self, x: Float[Tensor, "b _ _ _"], skip: Float[Tensor, "b c x y"]
    ) -> Float[Tensor, "b c x y"]:
        layered: Tensor = self.layers(torch.cat([self.up(x), skip], dim=1))
        return layered


def last_up(channels_in: int, channels_out: int, *, hidden: int) -> nn.Sequential:
    """LinkNet's way up to full resolution, through `hidden` channels, dropping whole maps."""
    return nn.Sequential(
        *(nn.Conv2d(channels_in, hidden, 1), nn.BatchNorm2d(hidden), nn.Dropout2d(0.3), nn.ReLU()),
        nn.ConvTranspose2d(hidden, hidden, 3, stride=2, padding=1, output_padding=1),
        *(nn.BatchNorm2d(hidden), nn.Dropout2d(0.3), nn.ReLU()),
        *(nn.Conv2d(hidden, channels_out, 1), nn.BatchNorm2d(channels_out), nn.Dropout2d(0.3), nn.ReLU()),
    )
