"""SegResNet: its sizes, that it is MONAI's network, and where the autoencoder's noise comes from."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from drawn import BRAIN, PET_CT, batch, parameters
from monai.networks import nets

from baselines.segresnet import SegResNet
from benchmark.protocols import DatasetSpec
from benchmark.training.costs import forward_gflops
from benchmark.vocabulary import BenchError, Size3


def small(spec: DatasetSpec = PET_CT, patch: Size3 = (16, 16, 16), **settings: Any) -> SegResNet:
    torch.manual_seed(0)
    return SegResNet(spec, patch, **{"init_filters": 8, **settings})


@pytest.mark.parametrize(
    ("filters", "alone", "with_autoencoder"),
    [(8, 1_176_402, 3_863_588), (16, 4_701_346, 7_417_492), (32, 18_796_866, 21_570_932)],
)
def test_it_has_the_sizes_of_monai_s_network(filters: int, alone: int, with_autoencoder: int) -> None:
    with torch.device("meta"):
        sizes = [
            parameters(SegResNet(PET_CT, (96, 96, 96), init_filters=filters, autoencoder=autoencoder))
            for autoencoder in (False, True)
        ]
    assert sizes == [alone, with_autoencoder]


def test_four_modalities_and_three_labels_take_more_filters_at_the_ends_alone() -> None:
    """Two input channels more: 2 * 27 weights a filter; two classes more: 2 * (16 + 1)."""
    with torch.device("meta"):
        assert parameters(SegResNet(BRAIN, (96, 96, 96))) == 4_701_346 + 2 * 27 * 16 + 2 * 17


def test_the_segmentation_is_that_of_monai() -> None:
    method = small(BRAIN).eval()
    theirs = nets.SegResNet(init_filters=8, in_channels=4, out_channels=4, dropout_prob=0.2).eval()
    theirs.load_state_dict(method.net.state_dict())
    image = batch(BRAIN).image
    with torch.no_grad():
        torch.testing.assert_close(method(image), theirs(image))


def test_the_loss_of_the_autoencoder_is_that_of_monai_with_the_batch_s_noise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method = small(autoencoder=True, dropout=0.0)
    theirs = nets.SegResNetVAE((16, 16, 16), init_filters=8, in_channels=2, out_channels=2)
    theirs.load_state_dict(method.net.state_dict())
    asked = batch()
    noise = torch.randn((2, 256), generator=copy.deepcopy(asked.generator).manual_seed(0))
    monkeypatch.setattr(torch, "randn_like", lambda code: noise)
    logits, expected = theirs(asked.image)
    losses = method.losses(asked)
    torch.testing.assert_close(losses["vae"], expected)
    torch.testing.assert_close(method.named_outputs(asked.image)["output"], logits)


def test_the_noise_comes_from_the_batch_s_generator_alone() -> None:
    method = small(autoencoder=True, dropout=0.0)
    found = []
    for seed, global_seed in ((0, 1), (0, 2), (3, 1)):
        asked = batch()
        asked.generator.manual_seed(seed)
        torch.manual_seed(global_seed)
        found.append(float(method.losses(asked)["vae"].detach()))
    assert found[0] == found[1] != found[2]


def test_without_a_generator_the_image_is_rebuilt_without_noise() -> None:
    method = small(autoencoder=True).eval()
    image = batch().image
    with torch.no_grad():
        once, again = (method.named_outputs(image)["rebuilt"] for _ in range(2))
        noisy = method.named_outputs(image, generator=torch.Generator().manual_seed(0))["rebuilt"]
    assert once.shape == image.shape
    assert torch.equal(once, again)
    assert not torch.equal(once, noisy)


def test_inference_costs_the_same_with_and_without_the_autoencoder() -> None:
    with torch.device("meta"):
        alone, regularised = (
            SegResNet(PET_CT, (96, 96, 96), autoencoder=autoencoder) for autoencoder in (False, True)
        )
    assert forward_gflops(alone) == forward_gflops(regularised)


@pytest.mark.parametrize("mode", ["linear", "deconv"])
def test_it_trains_where_torch_refuses_what_is_not_deterministic(mode: str) -> None:
    method, gradients = small(autoencoder=True, upsample_mode=mode), []
    assert not any(isinstance(module, torch.nn.Upsample) for module in method.modules())
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(2):
            torch.manual_seed(0)
            method.zero_grad()
            asked = batch()
            torch.stack(list(method.losses(asked).values())).sum().backward()
            gradients.append([p.grad.clone() for p in method.parameters() if p.grad is not None])
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_a_batch_may_lie_channels_last_in_memory() -> None:
    # Smaller patches end in group norms of two numbers, which magnify rounding.
    size = (32, 32, 32)
    method, asked, rebuilt = small(patch=size, autoencoder=True).eval(), batch(size=size, n=1), []
    for memory_format in (torch.contiguous_format, torch.channels_last_3d):
        image = asked.image.contiguous(memory_format=memory_format)
        torch.nn.Module.to(method, memory_format=memory_format)  # type: ignore[call-overload]
        with torch.no_grad():
            rebuilt.append(method.named_outputs(image)["rebuilt"])
    torch.testing.assert_close(*rebuilt, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"init_filters": 12}, "init_filters is 12; it must be a multiple of 8"),
        ({"dropout": 1.0}, "dropout is 1.0; it must lie from 0 to below 1"),
        ({"upsample_mode": "deconvv"}, "Did you mean 'deconv'"),
        ({"patch": (16, 20, 16)}, "multiples of 8"),
        ({"patch": (16, 24, 16), "autoencoder": True}, "multiples of 16"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        small(**settings)
