"""The structural similarity of images, as a loss that costs less than the network it trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

K1, K2 = 0.01, 0.03
"""The constants of Wang et al., Image quality assessment (2004), as shares of the data range."""


def ssim(
    image: Float[Tensor, "b #k x y z"],
    reference: Float[Tensor, "b k x y z"],
    *,
    data_range: float = 1.0,
    window: int = 11,
    std: float = 1.5,
) -> Float[Tensor, "k"]:
    """SSIM of every channel with its reference, averaged over the windows inside the images and over the batch.

    `window`: the odd edge of the Gaussian window in voxels, smaller where a side is. `std`: that of the
    Gaussian, in voxels. `data_range`: the distance between the smallest and the largest value the images can have.
    An image with one channel is compared with every reference at the cost of little more than one comparison.
    Computed in float32, whatever the autocast.
    """
    image, reference = image.float(), reference.float()
    k, own = reference.shape[1], image.shape[1]
    kernel = _gaussian(largest_window(image.shape[2:], window), std)
    products = [image, image.square(), image * reference]
    mean, power, both = _Blur.apply(torch.cat(products, dim=1), kernel).split([own, own, k], dim=1)
    # On their own: where the references are data, no gradient has to go through them.
    blurred = _Blur.apply(torch.cat([reference, reference.square()], dim=1), kernel)
    reference_mean, reference_power = blurred.split(k, dim=1)

    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    means, squares = mean * reference_mean, mean.square() + reference_mean.square()
    variances = power + reference_power - squares
    values = (2 * means + c1) * (2 * (both - means) + c2) / ((squares + c1) * (variances + c2))
    return values.mean(dim=(0, 2, 3, 4))


def largest_window(size: Sequence[int], window: int) -> int:
    """The largest odd number that is neither above `window` nor above a side."""
    fits = min(window, *size)
    return fits - (fits + 1) % 2


def _gaussian(window: int, std: float) -> list[float]:
    offset = torch.arange(window, dtype=torch.float64) - window // 2
    weight = torch.exp(-offset.square() / (2 * std**2))
    values: list[float] = (weight / weight.sum()).tolist()
    return values


def _correlate(maps: Float[Tensor, "b c x y z"], kernel: Sequence[float]) -> Float[Tensor, "b c i j k"]:
    """The 1-D kernel along each axis in turn, inside the maps.

    As sums of shifted maps: convolutions with one channel a group are slower, and like matrix products they round
    to TF32 on GPUs, which a difference of moments does not bear.
    """
    for axis in (2, 3, 4):
        n = maps.shape[axis] - len(kernel) + 1
        total = maps.narrow(axis, 0, n) * kernel[0]
        for i, weight in enumerate(kernel[1:], start=1):
            total.add_(maps.narrow(axis, i, n), alpha=weight)
        maps = total
    return maps


class _Blur(torch.autograd.Function):
    """A separable correlation with a symmetric kernel. Linear: it keeps nothing for its backward pass."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, kernel: Sequence[float]) -> Tensor:
        ctx.kernel = kernel
        return _correlate(maps, kernel)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        return _correlate(F.pad(gradient, [len(ctx.kernel) - 1] * 6), ctx.kernel), None
