"""The losses, by hand and against MONAI."""

from __future__ import annotations

import math

import pytest
import torch
from monai.losses import DiceCELoss

from benchmark.nn.losses import dice_ce, lesion_presence, reconstruction, reconstructions
from benchmark.vocabulary import IGNORED, BenchError


@pytest.mark.parametrize("classes", [2, 4])
def test_dice_ce_is_monais_with_the_papers_settings(classes: int) -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, classes, 6, 5, 4, requires_grad=True)
    label = torch.randint(0, classes, (3, 1, 6, 5, 4))
    theirs = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)(logits, label)
    ours = dice_ce(logits, label)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(
        torch.autograd.grad(ours, logits, retain_graph=True)[0], torch.autograd.grad(theirs, logits)[0]
    )


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_voxels_that_nobody_annotated_cost_what_they_do_in_nnunet(share: float) -> None:
    """nnU-Net's Dice term is minus the Dice, ours one minus it. Where nothing is annotated, ours costs nothing."""
    nnunet = pytest.importorskip("nnunetv2.training.loss.compound_losses")
    dice = pytest.importorskip("nnunetv2.training.loss.dice").MemoryEfficientSoftDiceLoss
    torch.manual_seed(0)
    logits = torch.randn(3, 4, 6, 5, 4, requires_grad=True)
    label = torch.randint(0, 4, (3, 1, 6, 5, 4))
    label[torch.rand(label.shape) < share] = IGNORED
    theirs = nnunet.DC_and_CE_loss(
        {"batch_dice": True, "do_bg": False, "smooth": 1e-5, "ddp": False},
        {},
        ignore_label=IGNORED,
        dice_class=dice,
    )(logits, label)
    ours = dice_ce(logits, label)
    torch.testing.assert_close(ours, theirs + 1)
    gradient = torch.autograd.grad(ours, logits, retain_graph=True)[0]
    torch.testing.assert_close(gradient, torch.autograd.grad(theirs, logits)[0])
    assert not gradient[(label == IGNORED).expand_as(gradient)].any()


def test_a_certain_and_right_segmentation_costs_nothing() -> None:
    label = torch.zeros(1, 1, 4, 4, 4, dtype=torch.uint8)
    label[..., :2] = 1
    logits = 100.0 * torch.cat([1.0 - label, label.float()], dim=1)
    assert float(dice_ce(logits, label)) == pytest.approx(0.0, abs=1e-5)


def test_the_norm_does_not_depend_on_the_patch_size() -> None:
    """A constant error of 0.1: the norm over 96^3 voxels is 0.1 * sqrt(96^3)."""
    for size in (16, 48, 96):
        image = torch.zeros(2, 1, size, size, size)
        assert float(reconstruction(image + 0.1, image)) == pytest.approx(0.1 * math.sqrt(96**3), rel=1e-3)


def test_the_mean_squared_error_is_that_of_the_authors_code() -> None:
    image = torch.zeros(2, 1, 8, 8, 8)
    assert float(reconstruction(image + 0.1, image, norm="mse")) == pytest.approx(0.01)


def test_a_norm_that_is_not_there_is_refused() -> None:
    image = torch.zeros(1, 1, 4, 4, 4)
    with pytest.raises(BenchError, match=r"no reconstruction norm 'l1'.*l2, mse"):
        reconstruction(image, image, norm="l1")


def test_a_perfect_reconstruction_has_a_finite_gradient() -> None:
    image = torch.rand(1, 1, 8, 8, 8, requires_grad=True)
    reconstruction(image, image.detach()).backward()
    assert image.grad is not None
    assert torch.isfinite(image.grad).all()


def test_a_classifier_that_knows_nothing_pays_log_two() -> None:
    assert float(lesion_presence(torch.zeros(2), torch.tensor([True, False]))) == pytest.approx(math.log(2))


def test_several_modalities_are_reconstructed_at_the_sum_of_their_losses() -> None:
    image = torch.zeros(1, 2, 8, 8, 8)
    off = image + torch.tensor([0.1, 0.3]).reshape(1, 2, 1, 1, 1)
    assert float(reconstructions(off, image)) == pytest.approx(0.4 * math.sqrt(96**3), rel=1e-5)
    assert float(reconstructions(off, image, norm="mse")) == pytest.approx(0.01 + 0.09, rel=1e-5)
