"""SF-Net: its sizes, its fusion loss by hand, and that the fusion is an auxiliary task only."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from drawn import BRAIN, PET_CT, batch, parameters

from baselines.sf_net import ResidualUNet, SFNet, SumDecoder
from benchmark.contract import THREE_MODALITIES
from benchmark.nn.similarity import ssim
from benchmark.protocols import DatasetSpec
from benchmark.vocabulary import BenchError, Size3, UnsupportedDatasetError, ZScore

SMALL = (8, 8, 8, 8)
ORIGINAL = {"variant": "native", "intensity": ["T2w", "FLAIR"], "structure": "T1Gd"}
VARIANTS = ("transplanted", "native")


def small(spec: DatasetSpec = PET_CT, patch: Size3 = (16, 16, 16), **settings: Any) -> SFNet:
    torch.manual_seed(0)
    return SFNet(spec, patch, **{"channels": SMALL, **settings})


def test_transplanted_it_is_early_fusion_a_decoder_without_skips_and_a() -> None:
    with torch.device("meta"):
        method = SFNet(PET_CT, (96, 96, 96))
    assert parameters(method.net) == 4_809_781
    assert parameters(method) == 5_467_564


def test_the_native_network_has_the_size_of_the_authors() -> None:
    with torch.device("meta"):
        network, fusion = ResidualUNet(3, 4), SumDecoder((32, 64, 128, 256), 2)
        brain = SFNet(BRAIN, (96, 96, 96), **ORIGINAL)  # type: ignore[arg-type]
        pet_ct = SFNet(PET_CT, (96, 96, 96), variant="native")
    assert parameters(network) + parameters(fusion) == 20_007_109
    # One more input modality; and a.
    assert parameters(brain) == 20_007_109 + 27 * 32 + 1
    # One input, two scores and one weight map fewer.
    assert parameters(pet_ct) == 20_007_109 - 27 * 32 - 2 * 33 - 33 + 1


def test_where_the_weights_are_0_the_fused_image_is_the_structure() -> None:
    """Then L_f = 2 MSE(CT, PET) + 0 + 0 + (1 - SSIM(CT, PET)); with weights of 1, MSE(PET, CT) + 2 (1 - SSIM)."""
    asked = batch(n=3)
    ct, pet = asked.modality("CT"), asked.modality("PET")
    mse = float((ct - pet).square().mean())
    unlike = 1 - float(ssim(ct, pet, window=7, std=1.5 * math.sqrt(1.5)))
    for logit, expected in ((-100.0, 2 * mse + unlike), (100.0, mse + 2 * unlike)):
        method = small(variant="native")
        assert isinstance(method.fusion_decoder, SumDecoder)
        method.data_range = 1.0
        torch.nn.init.zeros_(method.fusion_decoder.output.weight)
        assert method.fusion_decoder.output.bias is not None
        torch.nn.init.constant_(method.fusion_decoder.output.bias, logit)
        assert float(method.losses(asked)["fusion"].detach()) == pytest.approx(expected, rel=1e-5)


def test_two_intensities_are_two_fused_images_whose_distances_are_added() -> None:
    asked, together = batch(BRAIN), small(BRAIN, **ORIGINAL).eval()
    both = float(together.losses(asked)["fusion"].detach())
    assert isinstance(together.fusion_decoder, SumDecoder)
    assert together.fusion_decoder.output.out_channels == 2
    one_by_one = 0.0
    for k, name in enumerate(("T2w", "FLAIR")):
        alone = small(BRAIN, variant="native", intensity=name, structure="T1Gd").eval()
        state = {
            key: value[k : k + 1] if key.startswith("fusion_decoder.output") else value
            for key, value in together.state_dict().items()
        }
        alone.load_state_dict(state)
        one_by_one += float(alone.losses(asked)["fusion"].detach())
    assert both == pytest.approx(one_by_one, rel=1e-5)


def test_a_weighs_the_distance_and_is_best_at_its_logarithm() -> None:
    method, asked = small().eval(), batch()
    distance = float(method.losses(asked)["fusion"].detach())
    torch.nn.init.constant_(method.a, math.log(distance))
    loss = method.losses(asked)["fusion"]
    loss.backward()
    assert float(loss.detach()) == pytest.approx(1 + math.log(distance), rel=1e-5)
    assert method.a.grad is not None
    assert float(method.a.grad) == pytest.approx(0, abs=1e-5)
    assert float(method.watched()["a"].detach()) == pytest.approx(math.log(distance))


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_decoder_learns_from_its_own_loss_and_the_encoder_from_both(variant: str) -> None:
    decoder = "net.decoder." if variant == "native" else "net.layers.output."
    encoder = "net.levels.0." if variant == "native" else "net.layers.1."
    for name, reached, left_alone in (
        ("seg", (decoder, encoder), "fusion_decoder."),
        ("fusion", ("fusion_decoder.", encoder, "a"), decoder),
    ):
        method = small(variant=variant)
        method.losses(batch())[name].backward()
        with_gradient = [n for n, p in method.named_parameters() if p.grad is not None]
        assert all(any(n.startswith(part) for n in with_gradient) for part in reached)
        assert not any(n.startswith(left_alone) for n in with_gradient)


@pytest.mark.parametrize("variant", VARIANTS)
def test_inference_does_not_run_the_fusion_decoder(variant: str) -> None:
    method, image = small(variant=variant).eval(), batch().image
    with torch.no_grad():
        before = method(image)
        for parameter in method.fusion_decoder.parameters():
            parameter.fill_(torch.nan)
        assert torch.equal(method(image), before)


def test_native_images_are_z_scored_and_others_as_usual() -> None:
    usual = PET_CT.preparation
    assert small().preparation(usual) is usual
    native = small(variant="native").preparation(usual)
    assert native == replace(usual, intensities={"CT": ZScore(nonzero=True), "PET": ZScore(nonzero=True)})


def test_the_data_range_is_2_for_z_scored_images_and_1_for_others() -> None:
    assert small().data_range == 1
    assert small(variant="native").data_range == 2
    assert small(BRAIN, intensity="FLAIR", structure="T1Gd").data_range == 2
    assert small(data_range=3.5).data_range == 3.5


def test_patches_with_a_side_below_64_get_a_smaller_window() -> None:
    assert small(patch=(64, 96, 64)).window == 11
    assert small(patch=(64, 48, 64)).window == 7


def test_native_scores_of_a_regions_labels_are_added() -> None:
    """Every voxel is label 2, and its sigmoids are 0 (label 1), 1 and 0: all four regions are right.

    With label 1 instead, the whole tumour is still right, and so is the enhancing tumour, of no voxel; the edema is
    missed, and the core, of no voxel, claims all.
    """
    method, asked = small(BRAIN, **ORIGINAL), batch(BRAIN)
    logits = torch.full((2, 4, 16, 16, 16), -100.0)
    logits[:, 2] = 100
    label = torch.full_like(asked.label, 2)
    assert float(method.segmentation_loss(logits, label)) == pytest.approx(0, abs=1e-6)
    assert float(method.segmentation_loss(logits, torch.full_like(label, 1))) == pytest.approx(
        2 / 4, abs=1e-6
    )


def test_a_label_of_no_region_is_learned_too() -> None:
    spec = replace(BRAIN, regions=BRAIN.regions[2:3])
    method = small(spec, **ORIGINAL)
    logits = torch.full((1, 4, 16, 16, 16), -100.0)
    label = torch.zeros(1, 1, 16, 16, 16, dtype=torch.uint8)
    label[..., :8] = 1
    assert float(method.segmentation_loss(logits, label)) == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variant": "nativ"}, "Did you mean 'native'"),
        ({"intensity": "CT"}, "different modalities"),
        ({"intensity": []}, "different modalities"),
        ({"data_range": 0.0}, "positive"),
        ({"channels": None, "patch": (16, 24, 16)}, "multiples of 16"),
        ({"variant": "native", "patch": (16, 24, 12)}, "multiples of 8"),
        ({"variant": "native", "channels": (8, 16, 32)}, "4 channels"),
        ({"variant": "native", "channels": (4, 8, 8, 8)}, "multiples of 8"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        small(**settings)


def test_a_data_set_without_the_modalities_is_refused_with_the_reason() -> None:
    with pytest.raises(UnsupportedDatasetError, match=r"'PET'.*FLAIR.*the modalities of msd"):
        small(BRAIN, intensity="PET", structure="CT")
    with pytest.raises(
        UnsupportedDatasetError, match="declares no pair of branches; write intensity: A and structure: B"
    ):
        small(THREE_MODALITIES)


def test_the_roles_are_those_of_the_data_set_s_branches_where_no_one_says_otherwise() -> None:
    assert (small().intensity, small().structure) == (("PET",), "CT")
    assert (small(BRAIN).intensity, small(BRAIN).structure) == (("FLAIR",), "T1Gd")
    groups = replace(BRAIN, branches=(("T1Gd",), ("T2w", "FLAIR")))
    original = small(BRAIN, **ORIGINAL)
    declared = small(groups, variant="native")
    assert (declared.intensity, declared.structure) == (original.intensity, original.structure)
    with pytest.raises(UnsupportedDatasetError, match=r"declares the group T1Gd \+ T1w"):
        small(replace(BRAIN, branches=(("T1Gd", "T1w"), ("FLAIR",))))


def test_a_fused_image_lies_between_its_two_modalities_and_is_shown_under_its_name() -> None:
    method, image = small(BRAIN, **ORIGINAL).eval(), batch(BRAIN).image
    with torch.no_grad():
        shown = method.named_outputs(image)
    assert list(shown) == ["output", "fused T2w", "fused FLAIR"]
    structure = image[:, 2:3]
    for name, channel in (("T2w", 3), ("FLAIR", 0)):
        salient = image[:, channel : channel + 1]
        low, high = torch.minimum(salient, structure), torch.maximum(salient, structure)
        assert bool(((shown[f"fused {name}"] >= low - 1e-6) & (shown[f"fused {name}"] <= high + 1e-6)).all())
    assert method.output_kinds()["fused FLAIR"] == ("reconstruction", "FLAIR")


def test_only_the_native_variant_remarks_on_the_original_s_training() -> None:
    assert small().remarks == ()
    assert small(variant="native").remarks == ("trained without the original's augmentation",)
