"""SSIM as a loss: against MONAI's, and against the training step of the network that SF-Net adds it to."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from monai.losses import SSIMLoss
from torch import Tensor

from baselines.sf_net import WINDOW_STD
from benchmark.nn.losses import dice_ce
from benchmark.nn.similarity import ssim
from benchmark.nn.unet import UNet
from benchmark.training.environment import keep_freed_memory
from tests.performance.measure import Comparison, Setting, in_turns

SIDE = 96
FASTER_THAN_MONAI, FASTER_THAN_A_STEP = 5.0, 2.0
Answer = tuple[float, Tensor]
"""A loss and its gradient with respect to the image."""


def measure(setting: Setting) -> Iterator[Comparison]:
    # As in training.
    keep_freed_memory()
    drawn = torch.Generator().manual_seed(0)
    size = (SIDE, SIDE, SIDE)
    references = torch.rand((1, 2, *size), generator=drawn)
    image = references.mean(dim=1, keepdim=True)
    label = (torch.rand((1, 1, *size), generator=drawn) > 0.9).to(torch.uint8)
    yield _against_monai(image, references[:, :1], setting)
    yield _against_a_step(image, references, label, setting)


def _against_monai(image: Tensor, reference: Tensor, setting: Setting) -> Comparison:
    monai = SSIMLoss(3, data_range=1.0, win_size=11, kernel_sigma=WINDOW_STD)
    ours_seconds, peer_seconds, ours, peer = in_turns(
        lambda: _answer(lambda x: 1 - ssim(x, reference, std=WINDOW_STD).mean(), image),
        lambda: _answer(lambda x: monai(x, reference), image),
        repeats=setting.repeats,
    )
    value = abs(ours[0] - peer[0]) / peer[0]
    gradient = float((ours[1] - peer[1]).norm() / peer[1].norm())
    return Comparison(
        figure="ssim",
        what=f"SSIM of one pair of {SIDE}^3 patches, window 11, value and gradient, float32",
        peer_is="monai.losses.SSIMLoss",
        goal="faster",
        unit="s",
        target=FASTER_THAN_MONAI,
        ours=ours_seconds,
        peer=peer_seconds,
        conditions=(
            (f"values differ by {value:.1e}, at most 1e-4", value <= 1e-4),
            (f"gradients differ by {gradient:.1e}, at most 1e-3", gradient <= 1e-3),
        ),
    )


def _against_a_step(image: Tensor, references: Tensor, label: Tensor, setting: Setting) -> Comparison:
    torch.manual_seed(0)
    network = UNet(2, 2)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)

    def step() -> Answer:
        optimiser.zero_grad()
        loss = dice_ce(network(references), label)
        loss.backward()
        optimiser.step()
        return loss.item(), torch.empty(0)

    ours_seconds, peer_seconds, _, _ = in_turns(
        lambda: _answer(lambda x: (1 - ssim(x, references, std=WINDOW_STD)).sum(), image),
        step,
        repeats=setting.repeats,
    )
    return Comparison(
        figure="ssim_in_a_step",
        what=f"SF-Net's two comparisons on one {SIDE}^3 patch, window 11, value and gradient, float32",
        peer_is="a training step of the early-fusion U-Net alone on that patch",
        goal="faster",
        unit="s",
        target=FASTER_THAN_A_STEP,
        ours=ours_seconds,
        peer=peer_seconds,
    )


def _answer(loss: Callable[[Tensor], Tensor], image: Tensor) -> Answer:
    image = image.clone().requires_grad_()
    value = loss(image)
    value.backward()
    assert image.grad is not None
    return value.item(), image.grad
