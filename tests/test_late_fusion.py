"""Late fusion: what its readings contain of one another, and that its members train as if they were alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from drawn import BRAIN, PET_CT, SMALL, batch, parameters
from torch import Tensor

from baselines.late_fusion import LateFusion
from benchmark.nn.unet import UNet
from benchmark.scoring.metrics import fnv_ml
from benchmark.training.costs import forward_gflops
from benchmark.vocabulary import BenchError, DatasetSpec, UnsupportedDatasetError

SETS = pytest.mark.parametrize("spec", [PET_CT, BRAIN], ids=["PET/CT", "brain"])


def small(spec: DatasetSpec = PET_CT, members: tuple[str, ...] | None = None, *, seed: int = 0) -> LateFusion:
    torch.manual_seed(seed)
    return LateFusion(spec, (16, 16, 16), members=members, channels=SMALL)


def readings(method: LateFusion, output: Tensor) -> dict[str, Tensor]:
    return {reading: method.decode(output, reading) for reading in method.readings}


def test_a_member_is_the_backbone_and_all_of_them_are_as_many() -> None:
    with torch.device("meta"):
        assert parameters(LateFusion(PET_CT, (96, 96, 96))) == 2 * 4_808_917
        assert parameters(LateFusion(PET_CT, (96, 96, 96), members=["CT"])) == 4_808_917


@SETS
def test_the_union_contains_every_member_and_each_member_the_intersection(spec: DatasetSpec) -> None:
    method = small(spec)
    drawn = torch.Generator().manual_seed(0)
    for kind in ("continuous", "ties", "extreme"):
        output = torch.randn(2, len(spec.modalities) * spec.n_classes, 12, 13, 14, generator=drawn)
        # Ties make the order of comparisons matter; large values make the mean lose the small ones.
        output = {"continuous": output, "ties": output.round(), "extreme": 1e30 * output**9}[kind]
        foreground = {reading: labels > 0 for reading, labels in readings(method, output).items()}
        members = torch.stack([foreground[name] for name in spec.modalities])
        assert torch.equal(foreground["union"], members.any(dim=0))
        assert torch.equal(foreground["intersection"], members.all(dim=0))
        assert foreground["intersection"].any()
        assert (foreground["union"] > members).any()


def test_the_readings_of_five_voxels_done_by_hand() -> None:
    ct = [(0, 1), (0, 1), (1, 0), (9, 0), (0, 1)]
    pet = [(0, 1), (2, 0), (0, 2), (0, 1), (1, 0)]
    output = torch.tensor([[*a, *b] for a, b in zip(ct, pet, strict=True)]).float().T.reshape(1, 4, 5, 1, 1)
    found = {reading: labels.flatten().tolist() for reading, labels in readings(small(), output).items()}
    assert found == {
        "CT": [1, 1, 0, 0, 1],
        "PET": [1, 0, 1, 1, 0],
        "union": [1, 1, 1, 1, 1],
        "intersection": [1, 0, 0, 0, 0],
        # Means (0, 1), (1, 0.5), (0.5, 1), (4.5, 0.5), and a tie, which is background.
        "logit": [1, 0, 1, 0, 0],
    }


def test_of_several_classes_the_one_with_the_largest_mean_wins_inside_the_union() -> None:
    method = small(BRAIN, ("FLAIR", "T2w"))
    # FLAIR says class 2; T2w says background, and would rather have class 3.
    output = torch.tensor([0.0, 0, 2, 1, 5, 0, 1, 4]).reshape(1, 8, 1, 1, 1)
    found = {reading: int(labels) for reading, labels in readings(method, output).items()}
    # Means: background 2.5, then 0, 1.5 and 2.5.
    assert found == {"FLAIR": 2, "T2w": 0, "logit": 0, "union": 3, "intersection": 0}


def test_a_lesion_that_the_pet_net_hits_cannot_be_missed_by_the_union() -> None:
    """Table 3 of the paper prints 3.01 for the union and 2.15 for PET, which these readings exclude."""
    reference = np.zeros((12, 12, 12), bool)
    reference[1:3, 1:3, 1:3] = True
    reference[8:11, 8:11, 8:11] = True
    output = torch.zeros(1, 4, 12, 12, 12)
    output[:, 0] = output[:, 2] = 1
    output[:, 1, 5:7, 5:7, 5:7] = 2  # CT: a false lesion, and none of the true ones.
    output[:, 3, 8, 8, 8] = 2  # PET: one voxel of the larger lesion.
    fnv = {
        reading: fnv_ml(labels[0, 0].numpy(), reference, spacing_mm=(2.0, 2.0, 3.0))
        for reading, labels in readings(small(), output).items()
    }
    assert fnv["PET"] == fnv["union"] == pytest.approx(8 * 0.012)
    assert fnv["CT"] == fnv["intersection"] == pytest.approx((8 + 27) * 0.012)


def trained(method: LateFusion, steps: int = 5) -> LateFusion:
    optimiser = torch.optim.Adam(method.parameters(), lr=1e-3, weight_decay=1e-5, fused=True)
    for step in range(steps):
        optimiser.zero_grad(set_to_none=True)
        torch.stack(list(method.losses(batch(method.dataset, step=step)).values())).sum().backward()
        optimiser.step()
    return method.eval()


@SETS
def test_training_together_is_training_apart_bit_for_bit(spec: DatasetSpec) -> None:
    """From the same seed: a member is the network that a run of it alone ends with."""
    together = trained(small(spec))
    image = batch(spec, step=99).image
    for name in spec.modalities:
        alone = trained(small(spec, (name,)))
        ours = together.nets[name].state_dict()
        assert all(torch.equal(ours[key], value) for key, value in alone.nets[name].state_dict().items())
        with torch.no_grad():
            assert torch.equal(together.decode(together(image), name), alone.decode(alone(image)))


def test_members_start_alike_and_share_nothing() -> None:
    method = small()
    ct, pet = method.nets["CT"], method.nets["PET"]
    backbone = UNet(1, 2, channels=SMALL)
    torch.manual_seed(0)
    fresh = UNet(1, 2, channels=SMALL)
    assert backbone.state_dict().keys() == ct.state_dict().keys()
    for one, other, drawn in zip(ct.parameters(), pet.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, drawn)
        assert one.data_ptr() != other.data_ptr()


def test_a_member_only_looks_at_its_modality() -> None:
    method = small().eval()
    image, other = batch().image, batch().image
    other[:, 0] = 0
    with torch.no_grad():
        ours, theirs = method(image), method(other)
    assert torch.equal(ours[:, 2:], theirs[:, 2:])
    assert not torch.equal(ours[:, :2], theirs[:, :2])


def test_a_member_read_alone_is_one_trained_net_at_its_costs() -> None:
    method = small().eval()
    image = batch().image
    alone = method.only("PET")
    assert isinstance(alone, LateFusion)
    assert alone.nets["PET"] is method.nets["PET"]
    assert alone.fusion == "single"
    assert not alone.training
    with torch.no_grad():
        assert torch.equal(alone.decode(alone(image)), method.decode(method(image), "PET"))
    assert 2 * parameters(alone) == parameters(method) == parameters(method.only("union"))
    with torch.device("meta"):
        full = LateFusion(PET_CT, (32, 32, 32))
    assert forward_gflops(full) == pytest.approx(2 * forward_gflops(full.only("CT")))


def test_what_there_is_to_read_and_to_minimise_is_named_after_the_members() -> None:
    assert small().readings == ("logit", "union", "intersection", "CT", "PET")
    assert small().loss_names == ("seg_ct", "seg_pet")
    assert small().fusion == "late"
    assert small(members=("CT",)).readings == ("",)
    assert small(members=("CT",)).loss_names == ("seg_ct",)
    assert small(members=("CT",)).fusion == "single"


def test_members_and_readings_that_are_not_there_are_refused() -> None:
    with pytest.raises(UnsupportedDatasetError, match="members names PET, but msd has FLAIR"):
        small(BRAIN, ("FLAIR", "PET"))
    with pytest.raises(BenchError, match="each once"):
        small(members=("CT", "CT"))
    with pytest.raises(BenchError, match="at least one"):
        small(members=())
    with pytest.raises(BenchError, match="Did you mean 'union'"):
        small().decode(torch.zeros(1, 4, 2, 2, 2), "unions")
    with pytest.raises(BenchError, match="multiples of 16"):
        LateFusion(PET_CT, (16, 24, 16), channels=SMALL)


def test_without_a_modality_the_other_member_gives_every_reading() -> None:
    method, image = small().eval(), batch().image
    with torch.no_grad():
        whole = method(image)
        for missing, left in (("CT", "PET"), ("PET", "CT")):
            alone = method.without(missing)
            assert isinstance(alone, LateFusion)
            other = image.clone()
            other[:, ("CT", "PET").index(missing)] = torch.nan
            for reading in method.readings:
                assert torch.equal(alone.decode(alone(other), reading), method.decode(whole, left))
    assert small(members=("PET",)).without("PET") is None
    unimodal = small(members=("PET",))
    assert unimodal.without("CT") is unimodal


def test_of_several_members_the_others_are_joined_and_stand_in_for_the_one_that_is_missing() -> None:
    method, image = small(BRAIN).eval(), batch(BRAIN).image
    alone = method.without("T1w")
    assert isinstance(alone, LateFusion)
    three = small(BRAIN, ("FLAIR", "T1Gd", "T2w")).eval()
    three.load_state_dict({k: v for k, v in method.state_dict().items() if "T1w" not in k})
    with torch.no_grad():
        logits = three(image)
        for reading in method.readings:
            same = "logit" if reading == "T1w" else reading
            assert torch.equal(alone.decode(alone(image), reading), three.decode(logits, same))


def test_the_members_are_shown_by_name() -> None:
    method, image = small().eval(), batch().image
    with torch.no_grad():
        shown = method.named_outputs(image)
        assert torch.equal(torch.cat([shown["CT"], shown["PET"]], dim=1), method(image))
