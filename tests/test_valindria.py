"""Valindria et al.: the four sharings, and whose turn it is."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from drawn import BRAIN, PET_CT, SMALL, batch, parameters
from torch import Tensor

from baselines.valindria import Valindria
from benchmark.contract import THREE_MODALITIES
from benchmark.nn.losses import dice_ce
from benchmark.training.costs import forward_gflops
from benchmark.vocabulary import BenchError, DatasetSpec, UnsupportedDatasetError

SIZES = {
    "bottleneck": 6_929_064,
    "decoder": 8_668_367,
    "all_but_first": 4_816_807,
    "encoder": 5_758_384,
}
SHARED = {
    "bottleneck": {"5"},
    "decoder": {"6", "7", "8", "output"},
    "all_but_first": {"2", "3", "4", "5", "6", "7", "8", "output"},
    "encoder": {"1", "2", "3", "4", "5"},
}


def small(spec: DatasetSpec = PET_CT, **settings: Any) -> Valindria:
    torch.manual_seed(0)
    return Valindria(spec, (16, 16, 16), channels=SMALL, **settings)


def adam(method: Valindria) -> torch.optim.Optimizer:
    return torch.optim.Adam(method.parameters(), lr=1e-3, weight_decay=1e-2, fused=True)


def take_step(method: Valindria, optimiser: torch.optim.Optimizer, step: int) -> None:
    optimiser.zero_grad(set_to_none=True)
    method.losses(batch(step=step))["seg"].backward()
    optimiser.step()


def tensors(method: Valindria) -> dict[str, Tensor]:
    """Weights and batch statistics, under all their names."""
    return {name: tensor.clone() for name, tensor in method.state_dict().items()}


@pytest.mark.parametrize("sharing", SIZES)
def test_a_sharing_is_these_layers_at_this_size(sharing: str) -> None:
    with torch.device("meta"):
        method = Valindria(PET_CT, (96, 96, 96), sharing=sharing)
    assert parameters(method) == SIZES[sharing]
    ct, pet = method.branches["CT"].layers, method.branches["PET"].layers
    assert {name for name in ct if ct[name] is pet[name]} == SHARED[sharing]


@pytest.mark.parametrize("sharing", SIZES)
@pytest.mark.parametrize(("step", "idle"), [(2, "PET"), (3, "CT")])
def test_a_step_moves_the_branch_whose_turn_it_is_and_what_it_shares(
    sharing: str, step: int, idle: str
) -> None:
    """After a step of either branch, so that momentum and weight decay would move the idle one if they could."""
    method = small(sharing=sharing)
    optimiser = adam(method)
    take_step(method, optimiser, 0)
    take_step(method, optimiser, 1)
    before = tensors(method)
    take_step(method, optimiser, step)
    after = tensors(method)
    for name, value in after.items():
        _, branch, _, layer, *_ = name.split(".")
        untouched = branch == idle and layer not in SHARED[sharing]
        assert torch.equal(value, before[name]) == untouched, name


def test_even_steps_show_the_ct_and_odd_steps_the_pet_with_the_same_mask() -> None:
    for step, channel, branch in ((0, 0, "CT"), (1, 1, "PET"), (2, 0, "CT")):
        method, asked = small(), batch(step=step)
        logits = small().branches[branch](asked.image[:, channel : channel + 1])
        assert torch.equal(method.losses(asked)["seg"], dice_ce(logits, asked.label))


def test_a_coin_says_whose_turn_it_is_and_all_parts_of_a_batch_get_its_answer() -> None:
    method = small(turns="coin")
    turns = [tuple(method._turn(batch(step=step)) for _ in range(2)) for step in range(200)]
    assert all(first == second for first, second in turns)
    heads = [first == "PET" for first, _ in turns]
    assert 70 < sum(heads) < 130
    # Strict turns never run twice; of 199 pairs of a coin's about half do.
    assert 70 < sum(a == b for a, b in itertools.pairwise(heads)) < 130
    whole = batch(n=2, step=5)
    halves = [whole.part(k, k + 1) for k in range(2)]
    whole.generator.manual_seed(5)
    first = method._turn(halves[0])
    torch.rand(7, generator=whole.generator)
    assert method._turn(halves[1]) == first
    with pytest.raises(BenchError, match="turns is 'fair'; choose one of strict, coin"):
        small(turns="fair")


def test_a_training_goes_on_from_a_checkpoint_in_which_one_branch_has_no_moments_yet() -> None:
    through, stopped, resumed = small(), small(), small()
    straight, first, second = adam(through), adam(stopped), adam(resumed)
    for step in range(3):
        take_step(through, straight, step)
    take_step(stopped, first, 0)
    resumed.load_state_dict(stopped.state_dict())
    second.load_state_dict(first.state_dict())
    take_step(resumed, second, 1)
    take_step(resumed, second, 2)
    ours = tensors(resumed)
    assert all(torch.equal(value, ours[name]) for name, value in tensors(through).items())


def test_it_is_read_by_either_branch_or_by_their_mean() -> None:
    method = small().eval()
    image = batch().image
    with torch.no_grad():
        output = method(image)
        ct, pet = method.branches["CT"](image[:, :1]), method.branches["PET"](image[:, 1:])
    assert method.readings == ("PET", "CT", "logit")
    for reading, logits in {"PET": pet, "CT": ct, "logit": ct + pet, "": pet}.items():
        expected = logits.argmax(dim=1, keepdim=True)
        assert torch.equal(method.decode(output, reading).long(), expected)


def test_a_branch_read_alone_is_one_net_at_its_costs() -> None:
    method = small().eval()
    image = batch().image
    for reading in ("CT", "PET"):
        alone = method.only(reading)
        assert isinstance(alone, Valindria)
        assert alone.branches[reading] is method.branches[reading]
        with torch.no_grad():
            assert torch.equal(alone.decode(alone(image), reading), method.decode(method(image), reading))
    assert method.only("logit") is method
    with torch.device("meta"):
        full = Valindria(PET_CT, (96, 96, 96))
    assert parameters(full.only("PET")) == 4_808_917
    assert forward_gflops(full) == pytest.approx(2 * forward_gflops(full.only("PET")))


def test_any_two_modalities_can_be_the_streams() -> None:
    method = small(BRAIN, modalities=("T1Gd", "FLAIR")).eval()
    assert method.readings == ("FLAIR", "T1Gd", "logit")
    image, other = batch(BRAIN).image, batch(BRAIN).image
    other[:, [1, 3]] = 0
    with torch.no_grad():
        assert torch.equal(method(image), method(other))
        assert method(image).shape == (2, 8, 16, 16, 16)


def test_with_the_slip_the_ct_is_never_seen_in_training() -> None:
    for step in (0, 1):
        with_ct, without_ct = batch(step=step), batch(step=step)
        without_ct.image[:, 0] = 0
        losses = [small(zero_ct=True).losses(asked)["seg"] for asked in (with_ct, without_ct)]
        assert torch.equal(*losses)
    assert not torch.equal(small().losses(batch())["seg"], small(zero_ct=True).losses(batch())["seg"])


@pytest.mark.parametrize("empty", [(), (1,), (0, 2), (0, 1, 2)])
def test_with_the_slip_windows_of_air_go_to_the_ct_branch(empty: tuple[int, ...]) -> None:
    method = small(zero_ct=True).eval()
    image = batch(n=3).image
    image[list(empty), 0] = 0
    with torch.no_grad():
        output = method(image)
        for i in range(3):
            branch, channel = ("CT", 0) if i in empty else ("PET", 1)
            expected = method.branches[branch](image[i : i + 1, channel : channel + 1])
            torch.testing.assert_close(output[i : i + 1], expected)
    assert method.readings == ("",)
    assert torch.equal(method.decode(output).long(), output.argmax(dim=1, keepdim=True))


def test_the_slip_costs_one_branch_a_window() -> None:
    with torch.device("meta"):
        full, slip = (Valindria(PET_CT, (96, 96, 96), zero_ct=zero) for zero in (False, True))
    assert forward_gflops(slip.only("")) == forward_gflops(full.only("PET"))


@pytest.mark.parametrize("sharing", SIZES)
def test_filters_that_see_zeros_alone_are_listed_as_unused(sharing: str) -> None:
    torch.manual_seed(0)
    # In smaller patches the bottleneck of a constant image is constant, too.
    size = (32, 32, 32)
    method = Valindria(PET_CT, size, sharing=sharing, channels=SMALL, zero_ct=True)
    for step in (0, 1):
        method.losses(batch(size=size, step=step))["seg"].backward()
    without = {name for name, p in method.named_parameters() if p.grad is None or not p.grad.any()}
    assert without == set(method.unused_parameters())
    assert bool(without) == (sharing != "encoder")


def test_tables_are_told_how_often_a_branch_learns_and_of_the_slip() -> None:
    turns = "each branch learns in every second step, the shared layers in every step"
    assert small().remarks == (turns,)
    slip = small(zero_ct=True)
    assert slip.remarks == (turns, "the CT branch is fed zeros in training, as in Mirror U-Net's code")
    assert slip.only("").remarks == slip.remarks


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(BenchError, match="Did you mean 'bottleneck'"):
        small(sharing="botleneck")
    with pytest.raises(BenchError, match="two different ones"):
        small(modalities=("PET", "PET"))
    with pytest.raises(BenchError, match="Did you mean 'logit'"):
        small().decode(torch.zeros(1, 4, 2, 2, 2), "logits")
    with pytest.raises(BenchError, match="multiples of 16"):
        Valindria(PET_CT, (16, 24, 16), channels=SMALL)


def test_a_data_set_without_the_modalities_is_refused_with_what_it_has() -> None:
    with pytest.raises(UnsupportedDatasetError, match="CT, PET, but msd has FLAIR, T1w, T1Gd, T2w"):
        small(BRAIN, modalities=("CT", "PET"))
    with pytest.raises(
        UnsupportedDatasetError, match=r"declares no pair of branches; write modalities: \[A, B\]"
    ):
        small(THREE_MODALITIES)
    groups = replace(BRAIN, branches=(("T1Gd", "T1w"), ("FLAIR",)))
    with pytest.raises(UnsupportedDatasetError, match=r"declares the group T1Gd \+ T1w, where one modality"):
        small(groups)


def test_the_streams_are_those_of_the_data_set_where_no_one_says_otherwise() -> None:
    assert (small().first, small().second) == ("CT", "PET")
    assert (small(BRAIN).first, small(BRAIN).second) == ("T1Gd", "FLAIR")


def test_without_a_modality_the_other_branch_decides_in_every_reading() -> None:
    method, image = small().eval(), batch().image
    with torch.no_grad():
        whole = method(image)
        for missing, left in (("CT", "PET"), ("PET", "CT")):
            alone = method.without(missing)
            assert isinstance(alone, Valindria)
            other = image.clone()
            other[:, ("CT", "PET").index(missing)] = torch.nan
            for reading in method.readings:
                assert torch.equal(alone.decode(alone(other), reading), method.decode(whole, left))
            assert (alone.without(missing), alone.without(left)) == (alone, None)
    assert small(BRAIN).without("T1w") is not None


def test_with_the_slip_the_branch_that_never_saw_an_image_is_no_answer() -> None:
    method = small(zero_ct=True)
    assert method.without("PET") is None
    assert isinstance(method.without("CT"), Valindria)
    image = batch().image
    assert set(method.named_outputs(image)) == {"CT", "PET"}
    shown = method.named_outputs(image, generator=torch.Generator())
    assert set(shown) == set(method.output_kinds()) == {"CT input", "CT", "PET"}
    assert not shown["CT input"].any()


def test_a_step_runs_one_branch_and_learns_from_what_it_shows() -> None:
    for step, name in ((0, "CT"), (1, "PET")):
        method, asked = small().eval(), batch(step=step)
        assert set(method.named_outputs(asked.image, streams=[name])) == {name}
        logits = method.named_outputs(asked.image)[name]
        assert torch.equal(method.losses(asked)["seg"], dice_ce(logits, asked.label))
