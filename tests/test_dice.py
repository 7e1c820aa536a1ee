"""Soft Dice by hand, and what a background logit of 0 means."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from benchmark.nn.dice import masks, sigmoid_dice, soft_dice, softmax_dice, with_background
from benchmark.vocabulary import IGNORED


def test_dice_of_constant_probabilities_by_hand() -> None:
    """Two of eight voxels are lesion, all have p = 0.5: 2 * 1 / (4 + 2), and with squares 2 * 1 / (2 + 2)."""
    probability = torch.full((1, 1, 2, 2, 2), 0.5)
    mask = torch.zeros(1, 1, 2, 2, 2, dtype=torch.bool)
    mask[..., 0, 0] = True
    assert soft_dice(probability, mask).item() == pytest.approx(1 - 2 / 6, abs=1e-5)
    assert soft_dice(probability, mask, squared=True).item() == pytest.approx(1 - 2 / 4, abs=1e-5)


def test_patches_are_summed_before_they_are_divided_and_classes_are_averaged() -> None:
    """Class 1 is right in a patch of lesion and in one without; class 2 claims 8 voxels of which it has none."""
    mask = torch.zeros(2, 2, 2, 2, 2, dtype=torch.bool)
    mask[0, 0] = True
    probability = mask.float()
    probability[1, 1] = 1
    assert soft_dice(probability, mask).item() == pytest.approx(0.5, abs=1e-5)


def test_neither_dice_of_classes_counts_the_background() -> None:
    """Logits of 0 are p = 1/2 with sigmoids and 1/3 with a softmax over three classes; half is of class 1."""
    logits = torch.zeros(1, 3, 2, 2, 2)
    label = torch.zeros(1, 1, 2, 2, 2, dtype=torch.uint8)
    label[..., 0] = 1
    for dice, p in ((sigmoid_dice, 1 / 2), (softmax_dice, 1 / 3)):
        of_class_1 = 2 * p / 2 / (p + 1 / 2)
        assert dice(logits, label).item() == pytest.approx(1 - of_class_1 / 2, abs=1e-5)
    logits[:, 0] = 5
    assert sigmoid_dice(logits, label).item() == pytest.approx(1 - 1 / 4, abs=1e-5)
    assert softmax_dice(logits, label).item() > 0.95


def test_a_region_is_the_union_of_its_labels() -> None:
    label = torch.tensor([0, 1, 2, 3], dtype=torch.uint8).reshape(1, 1, 4, 1, 1)
    assert masks(label, [[1, 2, 3], [2, 3], [3]])[0, :, :, 0, 0].int().tolist() == [
        [0, 1, 1, 1],
        [0, 0, 1, 1],
        [0, 0, 0, 1],
    ]


def test_dice_is_that_of_the_annotated_half() -> None:
    """Two of four annotated voxels are lesion, all have p = 0.5: 2 * 1 / (2 + 2), and with squares 2 * 1 / (1 + 2)."""
    probability = torch.full((1, 1, 2, 2, 2), 0.5, requires_grad=True)
    label = torch.zeros(1, 1, 2, 2, 2, dtype=torch.uint8)
    label[..., 0, 0], label[..., 1] = 3, IGNORED
    mask = masks(label, [[3]])
    assert soft_dice(probability, mask).item() == pytest.approx(1 - 2 / 4, abs=1e-5)
    squared = soft_dice(probability, mask, squared=True)
    assert squared.item() == pytest.approx(1 - 2 / 3, abs=1e-5)
    (gradient,) = torch.autograd.grad(squared, probability)
    assert (gradient[..., 0] != 0).all()
    assert not gradient[..., 1].any()


@pytest.mark.parametrize("dice", [sigmoid_dice, softmax_dice])
def test_dice_of_classes_does_not_look_where_nobody_annotated(dice: Callable[..., torch.Tensor]) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, 4, 4, requires_grad=True)
    label = torch.randint(0, 3, (2, 1, 4, 4, 4), dtype=torch.uint8)
    half = dice(logits[..., :2], label[..., :2])
    label[..., 2:] = IGNORED
    whole = dice(logits, label)
    torch.testing.assert_close(whole, half)
    assert not torch.autograd.grad(whole, logits)[0][..., 2:].any()
    assert dice(logits, torch.full_like(label, IGNORED)).item() == 0


def test_a_mask_of_a_region_keeps_what_nobody_annotated() -> None:
    label = torch.tensor([0, 1, 2, IGNORED], dtype=torch.uint8).reshape(1, 1, 4, 1, 1)
    assert masks(label, [[1, 2], [2]])[0, :, :, 0, 0].tolist() == [[0, 1, 1, IGNORED], [0, 0, 1, IGNORED]]


def test_a_voxel_has_the_largest_score_if_that_is_above_one_half() -> None:
    scores = torch.tensor([[-1.0, 0.5, 2.0, -3.0], [-2.0, 0.7, 1.0, 0.1]]).reshape(1, 2, 4, 1, 1)
    assert with_background(scores).argmax(dim=1).flatten().tolist() == [0, 2, 1, 2]
