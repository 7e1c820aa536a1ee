"""SSIM against a direct sum over the full window, against MONAI, and by hand."""

from __future__ import annotations

import pytest
import torch
from monai.losses import SSIMLoss
from torch import Tensor
from torch.nn import functional as F

from benchmark.nn.similarity import largest_window, ssim


def images(*size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two images that are alike, and vary from voxel to voxel."""
    drawn = torch.Generator().manual_seed(seed)
    image = torch.rand(size, generator=drawn)
    return image, 0.7 * image + 0.3 * torch.rand(size, generator=drawn)


def direct_ssim(image: Tensor, reference: Tensor, *, std: float, data_range: float) -> Tensor:
    """One window of 11^3 weights, its five moments as plain convolutions, in float64."""
    offset = torch.arange(-5, 6, dtype=torch.float64)
    x, y, z = torch.meshgrid(offset, offset, offset, indexing="ij")
    weights = torch.exp(-(x**2 + y**2 + z**2) / (2 * std**2))
    window = (weights / weights.sum())[None, None]
    a, b = image.double(), reference.double()
    mean_a, mean_b = F.conv3d(a, window), F.conv3d(b, window)
    var_a = F.conv3d(a * a, window) - mean_a**2
    var_b = F.conv3d(b * b, window) - mean_b**2
    cov = F.conv3d(a * b, window) - mean_a * mean_b
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return (luminance * (2 * cov + c2) / (var_a + var_b + c2)).mean()


def test_an_image_is_like_itself() -> None:
    image, _ = images(2, 3, 12, 14, 16)
    torch.testing.assert_close(ssim(image, image), torch.ones(3))


def test_of_constant_images_the_means_alone_decide() -> None:
    """(2 * 0.2 * 0.6 + 1e-4) / (0.2^2 + 0.6^2 + 1e-4) = 0.2401 / 0.4001."""
    image, reference = torch.full((1, 1, 12, 12, 12), 0.2), torch.full((1, 1, 12, 12, 12), 0.6)
    assert ssim(image, reference).item() == pytest.approx(0.2401 / 0.4001, abs=1e-3)


@pytest.mark.parametrize("std", [1.5, 1.5 * 1.5**0.5])
@pytest.mark.parametrize("data_range", [1.0, 2.0])
def test_separable_sums_are_the_full_window(std: float, data_range: float) -> None:
    image, reference = images(2, 1, 13, 12, 17)
    ours = ssim(image, reference, std=std, data_range=data_range)
    expected = direct_ssim(image, reference, std=std, data_range=data_range)
    torch.testing.assert_close(ours, expected.float().reshape(1))


@pytest.mark.parametrize("window", [11, 7, 3])
def test_values_and_gradients_are_those_of_monai(window: int) -> None:
    image, reference = images(2, 1, 14, 12, 16)
    gradients = []
    for loss in (
        lambda a, b: 1 - ssim(a, b, window=window, data_range=2.0).mean(),
        SSIMLoss(3, data_range=2.0, win_size=window, kernel_sigma=1.5),
    ):
        a, b = image.clone().requires_grad_(), reference.clone().requires_grad_()
        value = loss(a, b)
        value.backward()
        assert a.grad is not None
        assert b.grad is not None
        gradients.append((value.detach(), a.grad, b.grad))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-6)


def test_one_image_and_two_references_are_two_comparisons() -> None:
    image, first = images(2, 1, 12, 12, 12)
    _, second = images(2, 1, 12, 12, 12, seed=1)
    both = ssim(image, torch.cat([first, second], dim=1))
    torch.testing.assert_close(both, torch.cat([ssim(image, first), ssim(image, second)]))


def test_autocast_changes_nothing() -> None:
    image, reference = images(1, 1, 12, 12, 12)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = ssim(image, reference)
    assert torch.equal(rounded, ssim(image, reference))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((96, 96, 96), 11), ((96, 96, 11), 11), ((96, 10, 96), 9), ((8, 8, 8), 7), ((1, 9, 9), 1)],
)
def test_a_window_is_odd_and_fits(size: tuple[int, int, int], expected: int) -> None:
    assert largest_window(size, 11) == expected
