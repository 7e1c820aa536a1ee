"""Weninger et al.: its size, what its tasks see, and what its detector may suppress."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from drawn import BRAIN, PET_CT, SMALL, batch, parameters
from monai.inferers import sliding_window_inference
from torch import Tensor, nn

from baselines.weninger import Weninger
from benchmark.nn.unet import UNet
from benchmark.vocabulary import BenchError, DatasetSpec


class Zeros(nn.Module):
    """A decoder that outputs zeros."""

    def __init__(self, shape: torch.Size) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, bottleneck: Tensor) -> Tensor:
        return torch.zeros(self.shape)


def small(spec: DatasetSpec = PET_CT, **settings: Any) -> Weninger:
    torch.manual_seed(0)
    return Weninger(spec, (16, 16, 16), channels=SMALL, **settings)


def test_its_size_is_that_of_early_fusion_and_two_heads() -> None:
    with torch.device("meta"):
        method = Weninger(PET_CT, (96, 96, 96))
    assert parameters(method) == 5_484_593
    assert parameters(method.net) == 4_809_781
    assert parameters(method.reconstruction_decoder) == 658_299
    assert parameters(method.detector) == 256 * 64 + 64 + 64 + 1


@pytest.mark.parametrize("spec", [PET_CT, BRAIN], ids=["PET/CT", "brain"])
def test_the_reconstruction_is_the_sum_over_the_modalities_of_each_ones_norm(spec: DatasetSpec) -> None:
    """A decoder that outputs zeros is off by the image: at 96^3 voxels, the norm of a constant c is c * 96^1.5."""
    method = small(spec)
    asked = batch(spec)
    method.reconstruction_decoder = Zeros(asked.image.shape)  # type: ignore[assignment]
    values = [0.5, 0.25, 1.0, 0.125][: len(spec.modalities)]
    asked.image[:] = torch.tensor(values).reshape(-1, 1, 1, 1)
    assert float(method.losses(asked)["rec"]) == pytest.approx(96**1.5 * sum(values), rel=1e-5)
    method.rec_norm = "mse"
    assert float(method.losses(asked)["rec"]) == pytest.approx(sum(v**2 for v in values), rel=1e-5)


def test_the_detector_averages_in_float32() -> None:
    """Of numbers between 256 and 512 bfloat16 keeps the even ones."""
    method = small().eval()
    bottleneck = torch.full((1, 8, 2, 2, 2), 256.0)
    bottleneck[..., 0] = 258.0
    seen: list[Tensor] = []
    method.detector.dense.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.autocast("cpu", torch.bfloat16):
        method.detector([bottleneck.bfloat16()])
    assert seen[0].dtype == torch.float32
    assert seen[0].tolist() == [[257.0] * 8]


def test_the_segmentation_is_early_fusion_s_network() -> None:
    torch.manual_seed(0)
    backbone = UNet(2, 2, channels=SMALL).eval()
    image = batch().image
    with torch.no_grad():
        assert torch.equal(small().eval()(image), backbone(image))


def test_every_task_reaches_the_shared_encoder_and_no_other_s_decoder() -> None:
    for task in ("seg", "rec", "class"):
        method = small()
        method.losses(batch())[task].backward()
        reached = {name.split(".")[0] for name, p in method.named_parameters() if p.grad is not None}
        decoder = [p.grad for p in method.net.layers["output"].parameters()]
        assert method.net.layers["1"].conv.unit0.conv.weight.grad is not None
        assert ("reconstruction_decoder" in reached) == (task == "rec")
        assert ("detector" in reached) == (task == "class")
        assert all((gradient is not None) == (task == "seg") for gradient in decoder)


def test_the_detector_is_asked_about_the_volume_or_about_the_patch() -> None:
    no_lesion_here = replace(
        batch(),
        label=torch.zeros(2, 1, 16, 16, 16, dtype=torch.uint8),
        has_lesion=torch.ones(2, dtype=torch.bool),
    )
    for class_label, wanted in (("volume", 1), ("patch", 0)):
        method = small(class_label=class_label).eval()
        bottleneck, _ = method.net.encode(no_lesion_here.image)
        probability = method.detector([bottleneck]).sigmoid()
        expected = -(probability if wanted else 1 - probability).log().mean()
        torch.testing.assert_close(method.losses(no_lesion_here)["class"], expected)


def test_the_weights_are_mirror_u_nets() -> None:
    assert small().default_loss_weights() == {"seg": 0.5, "rec": 1e-4, "class": 1e-3}


def found(method: Weninger, probability: Tensor) -> dict[str, Tensor]:
    """Of a patch where every voxel is foreground."""
    logits = torch.tensor([0.0, 1.0]).reshape(1, 2, 1, 1, 1).expand(1, 2, *probability.shape[2:])
    output = torch.cat([logits, probability], dim=1)
    return {reading: method.decode(output, reading) for reading in method.readings}


def test_a_volume_without_lesion_is_emptied_as_a_whole() -> None:
    method = small(suppress_without_lesion=True)
    probability = torch.full((1, 1, 4, 4, 4), 0.4)
    probability[..., 0] = 0.6  # A mean of 0.45.
    labels = found(method, probability)
    assert not labels["suppressed"].any()
    assert labels["unsuppressed"].all()
    probability[..., 1] = 0.9  # A mean of 0.575.
    assert found(method, probability)["suppressed"].all()


def test_patches_without_lesion_are_emptied_where_they_lie() -> None:
    method = small(suppress_without_lesion=True, class_label="patch")
    probability = torch.full((1, 1, 4, 4, 4), 0.4)
    probability[..., 0] = 0.6
    labels = found(method, probability)["suppressed"]
    assert labels[..., 0].all()
    assert not labels[..., 1:].any()


def test_the_probability_is_averaged_over_the_windows_that_cover_a_voxel() -> None:
    method = small(suppress_without_lesion=True).eval()
    plain = small().eval()
    image = torch.rand(1, 2, 16, 16, 24)
    with torch.no_grad():
        # Two windows, of which the eight planes in the middle have both.
        output = sliding_window_inference(image, (16, 16, 16), 1, method, overlap=0.5, mode="constant")
        expected = sliding_window_inference(image, (16, 16, 16), 1, plain, overlap=0.5, mode="constant")
        left, right = (
            float(plain.detector([plain.net.encode(window)[0]]).sigmoid())
            for window in (image[..., :16], image[..., 8:])
        )
    torch.testing.assert_close(output[:, :2], expected)
    for plane, value in ((0, left), (12, (left + right) / 2), (23, right)):
        torch.testing.assert_close(output[0, 2, :, :, plane], torch.full((16, 16), value))
    assert method.decode(output, "unsuppressed").equal(plain.decode(expected))


def test_without_suppression_there_is_one_reading_and_no_detector_at_inference() -> None:
    method = small().eval()
    assert method.readings == ("",)
    method.detector = None  # type: ignore[assignment]
    method.reconstruction_decoder = None  # type: ignore[assignment]
    with torch.no_grad():
        assert method(batch().image).shape == (2, 2, 16, 16, 16)


def test_readings_and_patches_that_are_not_there_are_refused() -> None:
    with pytest.raises(BenchError, match="Did you mean 'suppressed'"):
        small(suppress_without_lesion=True).decode(torch.zeros(1, 3, 2, 2, 2), "supressed")
    with pytest.raises(BenchError, match="no reading 'suppressed'"):
        small().decode(torch.zeros(1, 2, 2, 2, 2), "suppressed")
    with pytest.raises(BenchError, match="multiples of 16"):
        Weninger(PET_CT, (16, 24, 16), channels=SMALL)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rec_norm": "l1"}, "no reconstruction norm 'l1'.*l2, mse"),
        ({"class_label": "slice"}, "volume, patch"),
    ],
)
def test_a_norm_or_a_question_it_does_not_know_is_refused_when_it_is_built(
    settings: dict[str, str], message: str
) -> None:
    with pytest.raises(BenchError, match=message):
        small(**settings)


def test_what_it_rebuilds_and_detects_is_shown_beside_the_segmentation() -> None:
    method, asked = small(BRAIN).eval(), batch(BRAIN)
    with torch.no_grad():
        shown = method.named_outputs(asked.image)
        assert torch.equal(shown["output"], method(asked.image))
    assert {name: tuple(tensor.shape[:2]) for name, tensor in shown.items()} == {
        "output": (2, 4),
        "rebuilt": (2, 4),
        "class": (2,),
    }
    assert method.output_kinds()["rebuilt"] == ("reconstruction", "FLAIR + T1w + T1Gd + T2w")
