"""Mirror U-Net for the brain: its sizes, whose voxel is whose, and what is left without a modality."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from drawn import BRAIN, PET_CT, SMALL, batch, parameters
from torch import Tensor

from baselines.mirror_unet_regions import MirrorUNetRegions
from benchmark.nn.losses import dice_ce
from benchmark.protocols import DatasetSpec
from benchmark.training.costs import forward_gflops
from benchmark.vocabulary import BenchError, Region, UnsupportedDatasetError

CORE_AND_EDEMA = ["tumor core", "edema"]
V2 = {"branch_regions": CORE_AND_EDEMA, "bottleneck_region": "whole tumor"}
CODE_S_SIZE, ITS_UNUSED_THETA = 8_029_737, 1
V4_SIZE = 6_929_064


def small(spec: DatasetSpec = BRAIN, **settings: Any) -> MirrorUNetRegions:
    torch.manual_seed(0)
    return MirrorUNetRegions(spec, (16, 16, 16), **{"channels": SMALL, **V2, **settings})


def voxels(*logits: tuple[float, float, float, float]) -> Tensor:
    """One voxel for each four logits: background and core, background and oedema."""
    return torch.tensor(logits, dtype=torch.float32).T.reshape(1, 4, len(logits), 1, 1)


def test_v2_has_the_size_of_the_authors_code_and_v1_that_of_two_segmenting_branches() -> None:
    with torch.device("meta"):
        v2 = MirrorUNetRegions(BRAIN, (96, 96, 96), **V2)  # type: ignore[arg-type]
        v1 = MirrorUNetRegions(BRAIN, (96, 96, 96), branch_regions=CORE_AND_EDEMA)
    assert parameters(v2) == CODE_S_SIZE - ITS_UNUSED_THETA
    assert parameters(v1) == V4_SIZE


def test_each_branch_sees_its_modality_and_the_bottleneck_both() -> None:
    method = small().eval()
    image = batch(BRAIN).image
    with torch.no_grad():
        before = method.named_outputs(image)
        moved = {}
        for channel, name in enumerate(BRAIN.modalities):
            other = image.clone()
            other[:, channel] += 1
            after = method.named_outputs(other)
            moved[name] = {output for output in before if not torch.equal(before[output], after[output])}
    assert moved == {
        "FLAIR": {"edema", "bottleneck"},
        "T1w": set(),
        "T1Gd": {"tumor core", "bottleneck"},
        "T2w": set(),
    }
    assert method.output_kinds()["bottleneck"] == ("segmentation", "whole tumor")


def test_every_task_is_dice_and_cross_entropy_against_its_region_s_mask() -> None:
    method, asked = small().eval(), batch(BRAIN)
    with torch.no_grad():
        outputs, losses = method.named_outputs(asked.image), method.losses(asked)
    label = asked.label
    of = {"seg_tumor_core": label >= 2, "seg_edema": label == 1, "seg_whole_tumor": label >= 1}
    names = {"seg_tumor_core": "tumor core", "seg_edema": "edema", "seg_whole_tumor": "bottleneck"}
    assert set(losses) == set(of) == set(method.loss_names)
    for name, mask in of.items():
        assert torch.equal(losses[name], dice_ce(outputs[names[name]], mask.to(torch.uint8)))
    assert method.default_loss_weights() == dict.fromkeys(of, 0.5)


def test_a_task_can_have_its_dice_twice_and_no_cross_entropy() -> None:
    """As the oedema in the authors' code; by hand: twice one minus the Dice of the softmax, summed over the batch."""
    asked, plain, twice = batch(BRAIN), small().eval(), small(dice_twice=["edema"]).eval()
    with torch.no_grad():
        usual, changed = plain.losses(asked), twice.losses(asked)
        probability = plain.named_outputs(asked.image)["edema"].softmax(dim=1)[:, 1:]
    mask = (asked.label == 1).float()
    dice = 2 * (probability * mask).sum() / (probability.sum() + mask.sum())
    torch.testing.assert_close(changed["seg_edema"], 2 * (1 - dice), rtol=1e-5, atol=1e-6)
    assert all(torch.equal(changed[name], usual[name]) for name in usual if name != "seg_edema")


def test_v1_is_v2_without_the_bottleneck_s_task() -> None:
    v1, v2, asked = small(bottleneck_region=None).eval(), small().eval(), batch(BRAIN)
    v1.load_state_dict({k: v for k, v in v2.state_dict().items() if not k.startswith("bottleneck_decoder.")})
    with torch.no_grad():
        losses = v2.losses(asked)
        assert v1.losses(asked) == {name: losses[name] for name in ("seg_tumor_core", "seg_edema")}
        assert torch.equal(v1(asked.image), v2(asked.image))


def test_a_voxel_that_both_claim_goes_to_the_more_certain_branch_and_to_the_first_of_equals() -> None:
    output = voxels(
        (0, -1, 0, -1),  # nobody's
        (0, 1, 0, -1),  # core
        (0, -1, 0, 1),  # oedema
        (0, 2, 0, 1),  # both claim it, the core more
        (0, 1, 0, 2),  # the oedema more
        (5, 6, 0, 2),  # a margin of 1 against one of 2
        (0, 1, 0, 1),  # equal
        (0, 0, 0, 0),  # no margin is no claim
    )
    assert small().decode(output).flatten().tolist() == [0, 2, 1, 2, 1, 1, 2, 0]


def test_the_whole_tumour_is_the_union_and_no_region_loses_a_voxel_that_only_its_branch_claims() -> None:
    method, output = small(), torch.randn(2, 4, 7, 6, 5)
    label = method.decode(output)
    core, edema = output[:, 1:2] > output[:, :1], output[:, 3:] > output[:, 2:3]
    assert torch.equal(label > 0, core | edema)
    assert bool((label == 2)[core & ~edema].all())
    assert bool((label == 1)[edema & ~core].all())


def test_it_tells_the_regions_that_are_made_of_its_two() -> None:
    assert small().predicted_regions == ("whole tumor", "edema", "tumor core")
    apart = replace(BRAIN, regions=(*BRAIN.regions[:3], Region("necrosis", (2,))))
    assert small(apart).predicted_regions == ("whole tumor", "edema", "tumor core")
    assert small(apart, branch_regions=["necrosis", "edema"]).predicted_regions == ("edema", "necrosis")


def test_inference_does_not_run_the_bottleneck_decoder() -> None:
    method, image = small().eval(), batch(BRAIN).image
    assert method.bottleneck_decoder is not None
    with torch.no_grad():
        before = method(image)
        for parameter in method.bottleneck_decoder.parameters():
            parameter.fill_(torch.nan)
        assert torch.equal(method(image), before)
    with torch.device("meta"):
        costs = [
            forward_gflops(MirrorUNetRegions(BRAIN, (96, 96, 96), **settings))
            for settings in (V2, {"branch_regions": CORE_AND_EDEMA})
        ]
    assert costs[0] == costs[1]


@pytest.mark.parametrize(
    ("missing", "left", "label", "told"),
    [("T1Gd", "edema", 1, ("edema",)), ("FLAIR", "tumor core", 2, ("tumor core",))],
)
def test_without_a_branch_s_modality_the_other_tells_its_region_alone(
    missing: str, left: str, label: int, told: tuple[str, ...]
) -> None:
    method, image = small().eval(), batch(BRAIN).image
    alone = method.without(missing)
    assert isinstance(alone, MirrorUNetRegions)
    with torch.no_grad():
        logits = method.named_outputs(image)[left]
        image[:, BRAIN.modalities.index(missing)] = torch.nan
        labels = alone.decode(alone(image))
        assert list(alone.named_outputs(image)) == list(alone.output_kinds()) == [left]
    assert torch.equal(labels, label * (logits[:, 1:] > logits[:, :1]))
    assert alone.predicted_regions == told
    assert alone.without(missing) is alone
    assert method.without("T1w") is method


def test_a_group_that_has_lost_one_of_its_modalities_has_no_answer() -> None:
    method = small(branches=[["T1Gd", "T1w"], "FLAIR"])
    assert method.without("T1w") is None
    assert isinstance(method.without("FLAIR"), MirrorUNetRegions)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"branch_regions": ["tumor core"]}, "it must be two of whole tumor, edema"),
        ({"branch_regions": ["whole tumor", "edema"]}, r"have the labels \[1\] in common"),
        ({"bottleneck_region": "edema"}, "'edema', the task of a branch"),
        ({"dice_twice": ["enhancing tumor"]}, "dice_twice .* must list some of the tasks tumor core, edema"),
        ({"dice_twice": "edema"}, "dice_twice is 'edema'; it must list"),
        ({"channels": (4, 8, 8, 8, 8, 8)}, "multiples of 32"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        small(**settings)


def test_what_it_must_be_told_is_named_with_what_there_is() -> None:
    with pytest.raises(
        UnsupportedDatasetError, match=r"write branch_regions: \[A, B\].* those of msd: whole"
    ):
        MirrorUNetRegions(BRAIN, (16, 16, 16))
    with pytest.raises(
        UnsupportedDatasetError, match=r"'tumor_core', which is no region of msd\. Did you mean 'tumor core'"
    ):
        small(branch_regions=["tumor_core", "edema"])
    with pytest.raises(UnsupportedDatasetError, match="'tumor core', which is no region of autopet"):
        small(PET_CT)
