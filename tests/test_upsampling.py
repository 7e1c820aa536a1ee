"""Linear upsampling, against torch's and by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmark.nn.upsampling import LinearUpsample


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 3, 1), (5, 4, 6)])
def test_values_and_gradients_are_those_of_torch(size: tuple[int, int, int]) -> None:
    image = torch.rand((2, 3, *size), dtype=torch.float64)
    weights = torch.rand((2, 3, *(2 * n for n in size)), dtype=torch.float64)
    found = []
    for layer in (LinearUpsample(), nn.Upsample(scale_factor=2, mode="trilinear")):
        asked = image.clone().requires_grad_()
        upsampled = layer(asked)
        (upsampled * weights).sum().backward()
        assert asked.grad is not None
        found.append((upsampled.detach(), asked.grad))
    for ours, torchs in zip(*found, strict=True):
        torch.testing.assert_close(ours, torchs)


def test_new_voxels_lie_a_quarter_of_a_voxel_beside_the_old_ones() -> None:
    line = torch.tensor([0.0, 4.0, 8.0]).reshape(1, 1, 3, 1, 1)
    assert LinearUpsample()(line)[0, 0, :, 0, 0].tolist() == [0, 1, 3, 5, 7, 8]
