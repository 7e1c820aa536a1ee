"""Convolutions for networks that bring their own blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmark.nn.quick_layers import QuickConv3d


class TinyMapsInFloat32(nn.Module):
    """Put before a module class, it computes tiny feature maps in float32 on a CPU, whatever the autocast.

    With torch 2.13 the bfloat16 weight gradient of a 3^3 convolution is wrong on CPUs where the first side of
    the map is 2 voxels long (a bottleneck of patches of 32): off by its own size, other values each time.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or x.shape[2] > 4:
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())


class Conv3d(TinyMapsInFloat32, QuickConv3d):
    """torch's, with tiny feature maps in float32 and quicker gradients on a CPU."""
