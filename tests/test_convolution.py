"""Tiny feature maps, which bfloat16 on a CPU gets wrong, and all others, which it may have."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmark.nn.convolution import Conv3d, TinyMapsInFloat32
from benchmark.nn.unet import down_layer, up_layer


@pytest.mark.parametrize(("side", "dtype"), [(2, torch.float32), (4, torch.float32), (5, torch.bfloat16)])
def test_under_autocast_maps_of_up_to_four_voxels_stay_in_float32(side: int, dtype: torch.dtype) -> None:
    conv = Conv3d(3, 4, 3, padding=1)
    x = torch.randn(2, 3, side, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert conv(x.bfloat16()).dtype == dtype
        # Its own autocast does not leak.
        assert torch.is_autocast_enabled("cpu")
    assert conv(x).dtype == torch.float32


def test_it_computes_what_torch_computes() -> None:
    torch.manual_seed(0)
    ours, theirs = Conv3d(3, 4, 3, padding=1), nn.Conv3d(3, 4, 3, padding=1)
    theirs.load_state_dict(ours.state_dict())
    for side in (2, 6):
        x = torch.randn(2, 3, side, 8, 8)
        assert torch.equal(ours(x), theirs(x))


def test_bfloat16_weight_gradients_of_a_map_two_voxels_long_are_those_of_float32() -> None:
    torch.manual_seed(0)
    conv = Conv3d(16, 16, 3, padding=1).to(memory_format=torch.channels_last_3d)
    x = torch.randn(2, 16, 2, 2, 2).contiguous(memory_format=torch.channels_last_3d)
    gradients = []
    for enabled in (False, True):
        conv.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            conv(x).float().square().mean().backward()
        assert conv.weight.grad is not None
        gradients.append(conv.weight.grad.clone())
    assert (gradients[0] - gradients[1]).norm() < 0.05 * gradients[0].norm()


def test_the_backbone_s_residual_units_are_guarded_by_the_same_class() -> None:
    assert isinstance(down_layer(1, 4), TinyMapsInFloat32)
    assert isinstance(up_layer(4, 4)[1], TinyMapsInFloat32)
