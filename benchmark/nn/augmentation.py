"""Augmentation of patches on the training device.

Each function first draws, from the generator passed in, then applies. Draws are made for each patch of a batch, those
of intensities for each of its modalities too; inputs are never changed in place.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

Image = Float[Tensor, "b m x y z"]


def scale_intensity(image: Image, *, amount: float, generator: torch.Generator) -> Image:
    """Multiply by a factor from 1 - `amount` to 1 + `amount`."""
    factor = 1 + amount * (2 * _uniform(image, generator) - 1)
    return image * factor


def shift_intensity(image: Image, *, std: float, generator: torch.Generator) -> Image:
    """Add a number from a normal distribution around 0, in the image's own unit."""
    b, m = image.shape[:2]
    shift = torch.randn((b, m, 1, 1, 1), generator=generator, device=image.device)
    return image + std * shift.to(image.dtype)


def adjust_contrast(
    image: Image, *, gamma: tuple[float, float], probability: float, generator: torch.Generator
) -> Image:
    """Raise intensities, scaled between the patch's extremes, to a power from the range `gamma`, or leave them."""
    low, high = gamma
    power = low + (high - low) * _uniform(image, generator)
    chosen = _uniform(image, generator) < probability

    minimum = image.amin(dim=(2, 3, 4), keepdim=True)
    width = (image.amax(dim=(2, 3, 4), keepdim=True) - minimum).clamp(min=1e-7)
    changed = ((image - minimum) / width) ** power * width + minimum
    return torch.where(chosen, changed, image)


def flip(
    image: Image,
    label: Integer[Tensor, "b 1 x y z"],
    *,
    probability: float,
    generator: torch.Generator,
) -> tuple[Image, Integer[Tensor, "b 1 x y z"]]:
    """Mirror image and label alike, along each axis with this probability."""
    drawn = torch.rand((3, len(image), 1, 1, 1, 1), generator=generator, device=image.device)
    mirrored: Bool[Tensor, "3 b 1 1 1 1"] = drawn < probability
    for axis in range(3):
        image = torch.where(mirrored[axis], image.flip(axis + 2), image)
        label = torch.where(mirrored[axis], label.flip(axis + 2), label)
    return image, label


def flip_scale_shift(
    image: Image, label: Integer[Tensor, "b 1 x y z"], *, generator: torch.Generator
) -> tuple[Image, Integer[Tensor, "b 1 x y z"]]:
    """MONAI's tutorial of BraTS: mirrored along each axis with probability 1/2, times 0.9 to 1.1, plus -0.1 to 0.1.

    Factor and summand are those of a patch, common to its modalities.
    """
    image, label = flip(image, label, probability=0.5, generator=generator)
    drawn = 2 * torch.rand((2, len(image), 1, 1, 1, 1), generator=generator, device=image.device) - 1
    factor, summand = (0.1 * drawn).to(image.dtype)
    return image * (1 + factor) + summand, label


def _uniform(image: Image, generator: torch.Generator) -> Float[Tensor, "b m 1 1 1"]:
    b, m = image.shape[:2]
    return torch.rand((b, m, 1, 1, 1), generator=generator, device=image.device).to(image.dtype)
