"""Augmentation: what is drawn stays in its range, and image and label stay together."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from benchmark.nn.augmentation import (
    adjust_contrast,
    flip,
    flip_scale_shift,
    scale_intensity,
    shift_intensity,
)
from benchmark.vocabulary import IGNORED

Change = Callable[[Tensor, torch.Generator], Tensor]


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(n: int = 64, modalities: int = 2) -> Tensor:
    return torch.rand((n, modalities, 4, 3, 2), generator=drawn(1)) + 0.5


def scaled(image: Tensor, generator: torch.Generator) -> Tensor:
    return scale_intensity(image, amount=0.25, generator=generator)


def shifted(image: Tensor, generator: torch.Generator) -> Tensor:
    return shift_intensity(image, std=0.1, generator=generator)


def contrasted(image: Tensor, generator: torch.Generator) -> Tensor:
    return adjust_contrast(image, gamma=(0.5, 2.0), probability=0.5, generator=generator)


def test_a_factor_belongs_to_a_patch_and_modality_and_fills_its_range() -> None:
    image = noise(256)
    ratio = (scaled(image, drawn()) / image).flatten(2)
    assert torch.allclose(ratio, ratio[..., :1].expand_as(ratio))
    factors = ratio[..., 0].flatten()
    assert 0.75 <= factors.min() < 0.77
    assert 1.23 < factors.max() <= 1.25
    assert len(factors.unique()) == 512


def test_a_shift_belongs_to_a_patch_and_modality_and_has_the_deviation_asked_for() -> None:
    image = noise(1024)
    shift = (shifted(image, drawn()) - image).flatten(2)
    assert torch.allclose(shift, shift[..., :1].expand_as(shift), atol=1e-6)
    assert float(shift[..., 0].std()) == pytest.approx(0.1, rel=0.05)
    assert float(shift[..., 0].mean()) == pytest.approx(0.0, abs=0.01)


def test_contrast_keeps_the_extremes_and_raises_what_is_between_to_the_power() -> None:
    """Between 2 and 6, the value 3 is a quarter of the way: squared, a sixteenth, which is 2.25."""
    image = torch.tensor([2.0, 3.0, 6.0, 6.0]).reshape(1, 1, 4, 1, 1)
    changed = adjust_contrast(image, gamma=(2.0, 2.0), probability=1.0, generator=drawn())
    torch.testing.assert_close(changed.flatten(), torch.tensor([2.0, 2.25, 6.0, 6.0]))


def test_contrast_is_changed_as_often_as_asked_for() -> None:
    image = noise(1024)
    kept = (contrasted(image, drawn()) == image).flatten(2).all(dim=2)
    assert float(kept.float().mean()) == pytest.approx(0.5, abs=0.05)
    assert torch.equal(adjust_contrast(image, gamma=(2.0, 2.0), probability=0.0, generator=drawn()), image)


def test_a_constant_patch_has_no_contrast_to_change() -> None:
    image = torch.full((2, 1, 2, 2, 2), 3.0)
    changed = adjust_contrast(image, gamma=(0.5, 2.0), probability=1.0, generator=drawn())
    torch.testing.assert_close(changed, image)


def test_image_and_label_are_flipped_alike_and_each_patch_by_itself() -> None:
    image = noise(64)
    label = (image[:, :1] > 1).to(torch.uint8)
    flipped, flipped_label = flip(image, label, probability=0.5, generator=drawn())
    assert torch.equal((flipped[:, :1] > 1).to(torch.uint8), flipped_label)
    axes = {
        tuple(k for k in range(3) if bits >> k & 1)
        for patch, after in zip(image, flipped, strict=True)
        for bits in range(8)
        if torch.equal(after, patch.flip([k + 1 for k in range(3) if bits >> k & 1]))
    }
    assert len(axes) == 8


def test_a_flip_of_probability_one_turns_every_axis() -> None:
    image, label = noise(2), torch.ones((2, 1, 4, 3, 2), dtype=torch.uint8)
    flipped, _ = flip(image, label, probability=1.0, generator=drawn())
    assert torch.equal(flipped, image.flip([2, 3, 4]))


@pytest.mark.parametrize("change", [scaled, shifted, contrasted])
def test_the_same_generator_gives_the_same_patches_and_the_input_stays(change: Change) -> None:
    image = noise()
    before = image.clone()
    first, again, other = (change(image, drawn(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(image, before)


def test_a_flip_keeps_what_nobody_annotated() -> None:
    label = torch.zeros(8, 1, 4, 3, 2, dtype=torch.uint8)
    label[:, :, 0, 1], label[:, :, 3, 0] = IGNORED, 2
    _, flipped = flip(noise(8), label, probability=0.5, generator=drawn())
    assert torch.equal(flipped.flatten(1).sort().values, label.flatten(1).sort().values)
    assert not torch.equal(flipped, label)


def test_flips_one_factor_and_one_summand_for_all_modalities_of_a_patch() -> None:
    """As MONAI's RandFlipd, RandScaleIntensityd(0.1) and RandShiftIntensityd(0.1), which draw once for all channels."""
    image = torch.arange(24.0).reshape(1, 1, 4, 3, 2).expand(512, 2, -1, -1, -1) / 24
    label = (image[:, :1] > 0.5).to(torch.uint8)
    changed, moved = flip_scale_shift(image, label, generator=drawn())
    assert torch.equal(changed[:, 0], changed[:, 1])
    low, high = (find(changed.flatten(1), dim=1) for find in (torch.amin, torch.amax))
    factors, summands = (high - low) * 24 / 23, low
    assert 0.9 <= factors.min() < 0.901
    assert 1.099 < factors.max() <= 1.1001
    assert -0.1 <= summands.min() < -0.099
    assert 0.099 < summands.max() <= 0.1
    assert abs(float(torch.corrcoef(torch.stack([factors, summands]))[0, 1])) < 0.1
    back = (changed - summands.reshape(-1, 1, 1, 1, 1)) / factors.reshape(-1, 1, 1, 1, 1)
    assert torch.equal((back[:, :1] > 0.51).to(torch.uint8), moved)
    # One patch in eight is mirrored along no axis.
    assert 0.82 < float((moved != label).flatten(1).any(dim=1).float().mean()) < 0.93
