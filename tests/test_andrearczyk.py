"""Andrearczyk et al.: its sizes, and what its classifier sees and teaches."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from drawn import BRAIN, PET_CT, SMALL, batch, parameters
from torch import Tensor

from baselines.andrearczyk import Andrearczyk, ResidualLayer
from benchmark.protocols import DatasetSpec
from benchmark.vocabulary import BenchError, Size3

VARIANTS = ("transplanted", "native")


def small(spec: DatasetSpec = PET_CT, patch: Size3 = (16, 16, 16), **settings: Any) -> Andrearczyk:
    torch.manual_seed(0)
    return Andrearczyk(spec, patch, **{"channels": SMALL, **settings})


def test_transplanted_it_is_early_fusion_and_a_head_on_496_means() -> None:
    with torch.device("meta"):
        method = Andrearczyk(PET_CT, (96, 96, 96))
    assert parameters(method.classifier) == 496 * 128 + 128 + 128 + 1 == 63_745
    assert parameters(method) == 4_873_526


def test_the_native_network_has_a_million_and_a_half_parameters() -> None:
    """Encoder, decoder, three side outputs, head; and the classifier on 248 means."""
    first = (7**3 * 2 + 1) * 8 + 16 + (2 + 1) * 8 + 16 + (27 * 8 + 1) * 8 + 16
    down = sum(
        (27 * f // 2 + 1) * f + 2 * f + (f // 2 + 1) * f + 2 * f + (27 * f + 1) * f + 2 * f
        for f in (16, 32, 64, 128)
    )
    up = sum((27 * 2 * f + 1) * f + (27 * 2 * f + 1) * f for f in (64, 32, 16, 8))
    side, head = sum((f + 1) * 8 for f in (64, 32, 16)), (27 * 8 + 1) * 8 + 9
    with torch.device("meta"):
        method = Andrearczyk(PET_CT, (96, 96, 96), variant="native")
    assert parameters(method.net) == first + down + up + side + head
    assert parameters(method.classifier) == 248 * 128 + 128 + 128 + 1
    assert parameters(method) == 1_524_050


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_classifier_sees_the_means_of_all_five_encoder_outputs(variant: str) -> None:
    method = small(patch=(32, 16, 48), variant=variant).eval()
    seen: list[list[Tensor]] = []
    method.classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    method.losses(batch(size=(32, 16, 48)))
    assert [maps.shape[1] for maps in seen[0]] == list(SMALL)
    # The first native block works at full resolution, that of the backbone has a stride; its bottleneck has none.
    sides = [32, 16, 8, 4, 2] if variant == "native" else [16, 8, 4, 2, 2]
    assert [maps.shape[2] for maps in seen[0]] == sides


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_class_teaches_the_encoder_and_not_the_decoder(variant: str) -> None:
    method = small(variant=variant)
    method.losses(batch())["class"].backward()
    reached = {name for name, p in method.named_parameters() if p.grad is not None}
    parts = {
        "transplanted": [f"net.layers.{n}." for n in range(1, 6)],
        "native": ["net.first.", *(f"net.down.{n}." for n in range(4))],
    }
    assert all(any(name.startswith(part) for name in reached) for part in parts[variant])
    expected = (*parts[variant], "classifier.")
    assert all(name.startswith(expected) for name in reached)


@pytest.mark.parametrize("variant", VARIANTS)
def test_inference_does_not_run_the_classifier(variant: str) -> None:
    method, image = small(variant=variant).eval(), batch().image
    with torch.no_grad():
        before = method(image)
        for parameter in method.classifier.parameters():
            parameter.fill_(torch.nan)
        assert torch.equal(method(image), before)


def test_the_class_label_speaks_of_the_volume_or_of_the_patch() -> None:
    """Both patches have lesion voxels; of the volumes, says the batch, the first has a lesion."""
    losses = {}
    for class_label in ("volume", "patch"):
        method, asked = small(class_label=class_label).eval(), batch()
        bottleneck, skips = method.net.encode(asked.image)
        probability = method.classifier([*skips, bottleneck]).sigmoid()
        losses[class_label] = (float(method.losses(asked)["class"].detach()), probability)
    value, p = losses["volume"]
    assert value == pytest.approx(float(-(p[0].log() + (1 - p[1]).log()).detach() / 2), rel=1e-5)
    value, p = losses["patch"]
    assert value == pytest.approx(float(-p.log().mean().detach()), rel=1e-5)


def test_a_residual_layer_whose_convolution_is_silent_passes_the_positive_part() -> None:
    layer = ResidualLayer(3, 3).eval()
    torch.nn.init.zeros_(layer.conv[0].weight)  # type: ignore[arg-type]
    torch.nn.init.zeros_(layer.conv[0].bias)  # type: ignore[arg-type]
    x = torch.randn(2, 3, 4, 4, 4)
    torch.testing.assert_close(layer(x), x.clamp(min=0))


def test_every_decoder_stage_speaks_at_full_resolution() -> None:
    """With all but one of the added outputs silenced, that one still moves the result."""
    method = small(variant="native").eval()
    with torch.no_grad():
        for i in range(3):
            method = small(variant="native").eval()
            before = method(batch().image)
            method.net.get_parameter(f"side.{i}.0.bias").add_(1)
            assert not torch.allclose(method(batch().image)[:, 1], before[:, 1])


def test_native_scores_pass_a_sigmoid_and_the_background_is_0() -> None:
    method = small(BRAIN, variant="native").eval()
    with torch.no_grad():
        output = method(batch(BRAIN).image)
    assert output.shape == (2, 4, 16, 16, 16)
    assert torch.equal(output[:, 0], torch.zeros(2, 16, 16, 16))
    assert torch.equal(method.decode(output) > 0, output[:, 1:].amax(dim=1, keepdim=True) > 0)


def test_the_native_loss_is_the_dice_of_sigmoids() -> None:
    """A score of s everywhere is p = sigmoid(s); a quarter of the voxels is lesion: 2 * p/4 / (p + 1/4)."""
    logits = torch.full((1, 2, 4, 4, 4), 2.0)
    logits[:, 0] = 0
    label = torch.zeros(1, 1, 4, 4, 4, dtype=torch.uint8)
    label[..., 0] = 1
    p = 1 / (1 + math.exp(-2))
    loss = small(variant="native").segmentation_loss(logits, label)
    assert float(loss) == pytest.approx(1 - 0.5 * p / (p + 0.25), abs=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variant": "transplant"}, "Did you mean 'transplanted'"),
        ({"class_label": "voxel"}, "volume, patch"),
        ({"patch": (16, 24, 16)}, "multiples of 16"),
        ({"patch": (16, 24, 16), "variant": "native"}, "multiples of 16"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        small(**settings)
