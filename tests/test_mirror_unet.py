"""Mirror U-Net: its published sizes, and which branch depends on what."""

from __future__ import annotations

import itertools
from dataclasses import replace

import drawn
import pytest
import torch
from torch import Tensor

from baselines.mirror_unet import MirrorUNet
from benchmark.contract import BRAIN_MRI, THREE_MODALITIES
from benchmark.data.readers.autopet import SPEC
from benchmark.nn.corruption import add_noise
from benchmark.nn.unet import UNet
from benchmark.protocols import Batch
from benchmark.vocabulary import BenchError, DatasetSpec, UnsupportedDatasetError

SHARINGS = ((3,), (4,), (5,), (6,), (7,), (4, 5, 6), (3, 4, 5, 6, 7))
V1 = (9_395_251, 8_731_251, 6_928_115, 8_842_355, 9_478_451, 5_267_951, 4_907_883)
V4 = (9_396_200, 8_732_200, 6_929_064, 8_843_304, 9_479_400, 5_268_900, 4_908_832)
BOTTLENECK_DECODER = 1_100_153
CLASSIFIER = 512 + 1 + 2 + 1 + 216 * 256 + 256 + 256 + 1
SMALL = (4, 8, 8, 8, 8)


def parameters(method: MirrorUNet) -> int:
    return sum(p.numel() for p in method.parameters())


def small(
    patch: tuple[int, int, int] = (16, 16, 16), *, spec: DatasetSpec = SPEC, **settings: object
) -> MirrorUNet:
    torch.manual_seed(0)
    return MirrorUNet(spec, patch, channels=SMALL, **settings)  # type: ignore[arg-type]


def batch(size: tuple[int, int, int] = (16, 16, 16), *, n: int = 2, step: int = 0) -> Batch:
    drawn = torch.Generator().manual_seed(step)
    image = torch.rand((n, 2, *size), generator=drawn)
    label = (torch.rand((n, 1, *size), generator=drawn) > 0.8).to(torch.uint8)
    present = torch.arange(n) % 2 == 0
    ids = tuple(f"case{i}" for i in range(n))
    return Batch(image, label, present, ("CT", "PET"), ids, step, torch.Generator().manual_seed(step))


@pytest.mark.parametrize(("shared", "expected"), list(zip(SHARINGS, V1, strict=True)))
def test_v1_to_v3_have_the_published_sizes(shared: tuple[int, ...], expected: int) -> None:
    with torch.device("meta"):
        sizes = {
            v: parameters(MirrorUNet(SPEC, (96, 96, 96), version=v, shared_layers=shared))
            for v in ("v1", "v2", "v3")
        }
    assert sizes["v1"] == expected
    assert sizes["v2"] == expected + BOTTLENECK_DECODER
    assert sizes["v3"] == expected + BOTTLENECK_DECODER + CLASSIFIER


@pytest.mark.parametrize(("shared", "expected"), list(zip(SHARINGS, V4, strict=True)))
def test_v4_has_the_published_size_and_a_learnable_theta_is_one_more(
    shared: tuple[int, ...], expected: int
) -> None:
    with torch.device("meta"):
        assert parameters(MirrorUNet(SPEC, (96, 96, 96), version="v4", shared_layers=shared)) == expected
        learnable = MirrorUNet(SPEC, (96, 96, 96), version="v4", shared_layers=shared, theta="learnable")
    assert parameters(learnable) == expected + 1


def test_any_subset_of_the_eight_layers_can_be_shared() -> None:
    ct, pet = UNet(1, 1, channels=SMALL), UNet(1, 2, channels=SMALL)
    own = dict(pet.layers.items())
    for n in range(9):
        for shared in itertools.combinations(range(1, 9), n):
            pet.layers.update(own)
            pet.share_layers(ct, shared)
            same = {k for k in range(1, 9) if ct.layers[str(k)] is pet.layers[str(k)]}
            assert same == set(shared)


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_the_segmentation_of_v1_to_v3_is_the_pet_branch_whatever_the_ct(version: str) -> None:
    method = small(version=version).eval()
    image = batch().image
    other = image.clone()
    other[:, 0] = torch.rand_like(other[:, 0])
    with torch.no_grad():
        assert torch.equal(method(image), method(other))
        assert torch.equal(method(image), method.named_outputs(image)["pet"])


def test_v4_weighs_the_branches_by_theta() -> None:
    image = batch().image
    at = {}
    for theta in (0.0, 0.25, 1.0):
        with torch.no_grad():
            at[theta] = small(version="v4", theta=theta).eval()(image)
    torch.testing.assert_close(at[0.25], 0.75 * at[0.0] + 0.25 * at[1.0])
    with torch.no_grad():
        method = small(version="v4", theta=0.0).eval()
        assert torch.equal(at[0.0], method.pet(image[:, 1:]))


def test_a_learnable_theta_starts_in_the_middle_and_learns() -> None:
    method = small(version="v4", theta="learnable")
    assert torch.as_tensor(method.theta).item() == 0.5
    method.losses(batch())["seg"].backward()
    assert method.theta_logit is not None
    assert method.theta_logit.grad is not None
    assert method.theta_logit.grad.abs() > 0


def test_the_reconstruction_target_is_the_clean_ct() -> None:
    """With a CT branch that outputs its input, the loss is the distance between corrupted and clean CT."""
    method = small(version="v1", corruption="noise", noise_std=0.5)
    asked = batch()

    def repeat(image: Tensor, *, generator: torch.Generator) -> dict[str, Tensor]:
        seen = add_noise(image[:, :1], std=0.5, generator=generator)
        return {"ct": seen, "pet": torch.zeros(len(image), 2, *image.shape[2:])}

    method.named_outputs = repeat  # type: ignore[assignment, method-assign]
    distance = method.losses(asked)["rec_ct"]
    # The norm at 96^3 voxels of Gaussian noise with deviation 0.5, whatever the patch.
    assert float(distance) == pytest.approx(0.5 * 96**1.5, rel=0.05)


def test_the_class_label_speaks_of_the_volume_or_of_the_patch() -> None:
    empty = replace(
        batch(),
        label=torch.zeros(2, 1, 16, 16, 16, dtype=torch.uint8),
        has_lesion=torch.ones(2, dtype=torch.bool),
    )
    method = small(version="v3", corruption="none").eval()
    logit = method.named_outputs(empty.image)["class"]
    torch.testing.assert_close(method.losses(empty)["class"], -logit.sigmoid().log().mean())
    method.class_label = "patch"
    torch.testing.assert_close(method.losses(empty)["class"], -(1 - logit.sigmoid()).log().mean())


@pytest.mark.parametrize(("version", "parts"), [("v1", 1), ("v2", 2), ("v3", 2)])
def test_the_codes_mean_over_both_reconstructions_is_the_mean_over_all_their_voxels(
    version: str, parts: int
) -> None:
    asked = batch()
    losses = {}
    for norm in ("mse", "joint_mse"):
        torch.manual_seed(0)
        losses[norm] = small(version=version, corruption="none", rec_norm=norm).losses(asked)
    outputs = small(version=version, corruption="none").named_outputs(asked.image)
    rebuilt = torch.cat([outputs[name] for name in ("ct", "bottleneck") if name in outputs], dim=1)
    mean = (rebuilt - asked.image[:, :parts]).square().mean()
    names = [name for name in ("rec_ct", "rec_pet") if name in losses["mse"]]
    torch.testing.assert_close(torch.stack([losses["joint_mse"][name] for name in names]).sum(), mean)
    for name in names:
        torch.testing.assert_close(parts * losses["joint_mse"][name], losses["mse"][name])


def test_the_joint_mean_of_groups_is_over_all_their_modalities() -> None:
    method, asked = small(spec=BRAIN_MRI, branches=GROUPS, version="v2", corruption="none"), brains()
    outputs = method.named_outputs(asked.image)
    clean = torch.cat([asked.modality(name) for group in GROUPS for name in group], dim=1)
    mean = (torch.cat([outputs["ct"], outputs["bottleneck"]], dim=1) - clean).square().mean()
    method.rec_norm = "joint_mse"
    losses = method.losses(asked)
    torch.testing.assert_close(losses["rec_ct"] + losses["rec_pet"], mean)


@pytest.mark.parametrize(
    ("seen", "moves"), [(None, {"CT", "PET"}), ("both", {"CT", "PET"}), ("second", {"PET"})]
)
def test_the_classifier_sees_both_bottlenecks_or_that_of_the_segmenting_branch(
    seen: str | None, moves: set[str]
) -> None:
    method, image = small(version="v3", class_input=seen).eval(), batch().image
    moved = set()
    for channel, name in enumerate(("CT", "PET")):
        other = image.clone()
        other[:, channel] = torch.rand_like(other[:, channel])
        with torch.no_grad():
            before, after = method.named_outputs(image)["class"], method.named_outputs(other)["class"]
        moved |= set() if torch.equal(before, after) else {name}
    assert moved == moves


def test_a_clamped_theta_starts_in_the_middle_with_four_times_the_gradient_of_a_sigmoid_s() -> None:
    gradients = {}
    for bounds in ("sigmoid", "clamp"):
        method = small(version="v4", theta="learnable", theta_bounds=bounds)
        assert torch.as_tensor(method.theta).item() == method.watched()["theta"].item() == 0.5
        method.losses(batch())["seg"].backward()
        (learned,) = (p for name, p in method.named_parameters() if name.startswith("theta"))
        assert learned.grad is not None
        gradients[bounds] = learned.grad.item()
    assert gradients["clamp"] == pytest.approx(4 * gradients["sigmoid"], rel=1e-4)
    for value, kept in ((1.7, 1.0), (-0.2, 0.0), (0.3, 0.3)):
        torch.nn.init.constant_(learned, value)
        assert torch.as_tensor(method.theta).item() == pytest.approx(kept)


def test_the_codes_corruptions_share_places_and_draw_how_strong_the_noise_is() -> None:
    """Two equal patches: whose voxels move, and how far they are moved, tells what they have in common."""
    image = batch(size=(32, 32, 32)).image[:1].repeat(2, 1, 1, 1, 1)

    def moved(seed: int, **settings: object) -> Tensor:
        method = small((32, 32, 32), version="v1", **settings)
        corrupted = method.named_outputs(image, generator=torch.Generator().manual_seed(seed))["ct input"]
        return corrupted - image[:, :1]

    def box(changed: Tensor) -> list[tuple[int, int]]:
        places = changed.nonzero()[:, 1:]
        return list(zip(places.amin(dim=0).tolist(), places.amax(dim=0).tolist(), strict=True))

    common = [moved(seed, n_cubes=1, cube_places="common") != 0 for seed in range(5)]
    own = [moved(seed, n_cubes=1) != 0 for seed in range(5)]
    assert all(box(one[0]) == box(one[1]) and not torch.equal(one[0], one[1]) for one in common)
    assert sum(box(one[0]) != box(one[1]) for one in own) >= 3
    fixed = [float(moved(seed, corruption="noise").std()) for seed in range(8)]
    drawn = [float(moved(seed, corruption="noise", noise_level="drawn").std()) for seed in range(8)]
    assert all(deviation == pytest.approx(0.3, rel=0.02) for deviation in fixed)
    assert max(drawn) < 0.3 * 1.02
    assert max(drawn) - min(drawn) > 0.1


def test_the_pet_only_ablation_never_looks_at_the_ct() -> None:
    with_ct, without_ct = batch(), batch()
    without_ct.image[:, 0] = 0
    losses = []
    for asked in (with_ct, without_ct):
        method = small(version="v3", branches=("PET", "PET"))
        torch.manual_seed(0)
        losses.append(method.losses(asked))
    assert all(
        torch.equal(losses[0][name], losses[1][name]) for name in ("rec_ct", "rec_pet", "seg", "class")
    )


def test_ct_only_shown_pet_learns_from_the_ct_and_predicts_from_the_pet() -> None:
    settings = {"version": "v3", "branches": ("CT", "CT")}
    image = batch().image
    changed = {name: image.clone() for name in ("CT", "PET")}
    for channel, other in enumerate(changed.values()):
        other[:, channel] = torch.rand_like(other[:, channel])
    for shown, seen in ((None, "CT"), ("PET", "PET")):
        method = small(**settings, shown_at_inference=shown).eval()
        with torch.no_grad():
            moved = {name for name, other in changed.items() if not torch.equal(method(image), method(other))}
        assert moved == {seen}

    asked, without_pet = batch(), batch()
    without_pet.image[:, 1] = 0
    losses = []
    for patches in (asked, without_pet):
        torch.manual_seed(0)
        losses.append(small(**settings, shown_at_inference="PET").losses(patches))
    assert all(torch.equal(losses[0][name], losses[1][name]) for name in losses[0])


def test_tables_are_told_what_a_network_is_shown_that_it_was_not_trained_on() -> None:
    assert small().remarks == small(branches=("CT", "CT")).remarks == ()
    assert small(branches=("CT", "CT"), shown_at_inference="PET").remarks == (
        "trained on CT alone, shown PET when it predicts, as the authors' code evaluates it",
    )
    assert small(shown_at_inference="CT").remarks == (
        "the segmenting branch is trained on PET and shown CT when it predicts",
    )


def test_the_losses_weigh_what_the_paper_says() -> None:
    assert small(version="v1").default_loss_weights() == {"rec_ct": 1e-4, "seg": 0.5}
    assert small(version="v3").default_loss_weights() == {
        "rec_ct": 1e-4,
        "rec_pet": 1e-4,
        "seg": 0.5,
        "class": 1e-3,
    }
    assert small(version="v4").default_loss_weights() == {"seg": 1.0}


def test_a_version_says_its_tasks_and_one_modality_is_no_fission() -> None:
    assert {version: small(version=version).tasks for version in ("v1", "v2", "v3", "v4")} == {
        "v1": ("Seg", "Rec"),
        "v2": ("Seg", "Rec"),
        "v3": ("Seg", "Rec", "Class"),
        "v4": ("Seg",),
    }
    assert small().fusion == "fission"
    assert small(branches=("CT", "CT")).fusion == "single"


def test_a_learnable_theta_is_watched_and_a_fixed_one_is_not() -> None:
    watched = small(version="v4", theta="learnable").watched()
    assert {name: float(value.detach()) for name, value in watched.items()} == {"theta": 0.5}
    assert small(version="v4", theta=0.2).watched() == {}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"version": "v5"}, "v1, v2, v3, v4"),
        ({"corruption": "blur"}, "none, noise, shuffle"),
        ({"theta": 1.5, "version": "v4"}, r"\[0, 1\]"),
        ({"theta": 0.2, "version": "v1"}, "theta has no effect in v1"),
        ({"corruption": "noise", "version": "v4"}, "corruption has no effect in v4"),
        ({"corruption": "shuffle", "noise_std": 0.1}, "noise_std has no effect"),
        ({"rec_norm": "l1"}, "no reconstruction norm 'l1'"),
        ({"class_input": "first"}, "both, second"),
        ({"class_input": "second", "version": "v1"}, "class_input has no effect in v1"),
        ({"cube_places": "common", "corruption": "noise"}, "cube_places has no effect"),
        ({"noise_level": "drawn", "corruption": "shuffle"}, "noise_level has no effect"),
        ({"theta_bounds": "clamp", "version": "v4"}, "theta_bounds has no effect in v4 .* not learnable"),
        ({"theta_bounds": "tanh", "version": "v4", "theta": "learnable"}, "sigmoid, clamp"),
        ({"shown_at_inference": "CT", "version": "v4"}, "shown_at_inference has no effect in v4"),
        ({"shown_at_inference": "PET"}, "'PET' has no effect: the segmenting branch was trained on it"),
        ({"shown_at_inference": "CT", "branches": ("CT", "CT")}, "'CT' has no effect"),
        ({"shared_layers": [9]}, "no layer"),
        ({"n_cubes": 10_000, "version": "v1"}, "do not fit"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        small(**settings)


def test_a_data_set_without_the_modality_is_refused_with_the_reason() -> None:
    with pytest.raises(UnsupportedDatasetError, match="branches names FLAIR, but autopet has CT, PET"):
        small(branches=("CT", "FLAIR"))
    with pytest.raises(UnsupportedDatasetError, match="shown_at_inference names FLAIR"):
        small(branches=("CT", "CT"), shown_at_inference="FLAIR")


def test_a_patch_that_does_not_halve_four_times_is_refused() -> None:
    with pytest.raises(BenchError, match="multiples of 16"):
        small(patch=(16, 24, 16))


GROUPS = [["T1Gd", "T1w"], ["FLAIR", "T2w"]]


def shown(branches: object, *, changed: str, **settings: object) -> set[str]:
    """Which named outputs move in training mode where a modality of a brain changes."""
    method = small(spec=BRAIN_MRI, branches=branches, corruption="none", **settings).eval()
    image = brains().image
    other = image.clone()
    other[:, BRAIN_MRI.modalities.index(changed)] += 1
    with torch.no_grad():
        before, after = method.named_outputs(image), method.named_outputs(other)
    return {name for name in before if not torch.equal(before[name], after[name])}


def brains() -> Batch:
    return drawn.batch(BRAIN_MRI)


def test_the_branches_are_those_of_the_data_set_where_no_one_says_otherwise() -> None:
    assert (small().first, small().second) == (("CT",), ("PET",))
    brain = small(spec=BRAIN_MRI)
    assert (brain.first, brain.second) == (("T1Gd",), ("FLAIR",))
    with pytest.raises(
        UnsupportedDatasetError,
        match=r"declares no pair of branches; write branches: \[A, B\], with .* A, B, C",
    ):
        small(spec=THREE_MODALITIES)
    assert small(spec=THREE_MODALITIES, branches=("A", "C")).second == ("C",)


def test_a_group_of_modalities_is_what_its_branch_takes_and_reconstructs() -> None:
    one, two = (small(spec=BRAIN_MRI, branches=b, version="v2") for b in (("T1Gd", "FLAIR"), GROUPS))
    assert one.ct.layers["1"].conv.unit0.conv.in_channels == 1
    assert two.ct.layers["1"].conv.unit0.conv.in_channels == two.pet.layers["1"].residual.in_channels == 2
    outputs = two.named_outputs(brains().image)
    assert {name: tensor.shape[1] for name, tensor in outputs.items()} == {"ct": 2, "pet": 4, "bottleneck": 2}
    assert two.output_kinds() == {
        "ct input": ("input", "T1Gd + T1w"),
        "ct": ("reconstruction", "T1Gd + T1w"),
        "pet": ("segmentation", ""),
        "bottleneck": ("reconstruction", "FLAIR + T2w"),
    }
    assert shown(GROUPS, changed="T1w", version="v3") == {"ct", "bottleneck", "class"}
    assert shown(GROUPS, changed="T2w", version="v3") == {"pet", "bottleneck", "class"}
    assert shown([["T1Gd", "T1w"], "FLAIR"], changed="T2w", version="v3") == set()


def test_a_group_s_reconstruction_loss_is_the_sum_over_its_modalities() -> None:
    method, asked = small(spec=BRAIN_MRI, branches=GROUPS, version="v1", corruption="none").eval(), brains()
    with torch.no_grad():
        rebuilt = method.named_outputs(asked.image)["ct"]
        loss = float(method.losses(asked)["rec_ct"])
    clean = torch.cat([asked.modality("T1Gd"), asked.modality("T1w")], dim=1)
    norms = (rebuilt - clean).flatten(2).norm(dim=2)
    assert loss == pytest.approx(float(norms.sum(dim=1).mean()) * (96**3 / 16**3) ** 0.5, rel=1e-5)


def test_branches_of_different_width_share_any_layer_but_the_first() -> None:
    branches = ["T1Gd", ["FLAIR", "T2w"]]
    method = small(spec=BRAIN_MRI, branches=branches, shared_layers=[2, 5, 8])
    shared = {name for name, layer in method.ct.layers.items() if layer is method.pet.layers[name]}
    assert shared == {"2", "5", "8"}
    with pytest.raises(BenchError, match="Layer 1 cannot be shared: its weights have other shapes"):
        small(spec=BRAIN_MRI, branches=branches, shared_layers=[1])


def test_v2_rec_of_table_5_rebuilds_flair_in_its_branch_and_segments_in_the_other() -> None:
    method = small(spec=BRAIN_MRI, version="v2", branches=["FLAIR", "T1Gd"])
    assert method.output_kinds() == {
        "ct input": ("input", "FLAIR"),
        "ct": ("reconstruction", "FLAIR"),
        "pet": ("segmentation", ""),
        "bottleneck": ("reconstruction", "T1Gd"),
    }
    assert method(brains().image).shape[1] == 4


def test_with_a_generator_the_corrupted_input_is_among_what_is_shown() -> None:
    image = batch().image
    for corruption, names in (("shuffle", {"ct input"}), ("none", set())):
        method = small(version="v3", corruption=corruption).eval()
        with torch.no_grad():
            clean = method.named_outputs(image)
            seen = method.named_outputs(image, generator=torch.Generator().manual_seed(0))
        assert set(clean) == {"ct", "pet", "bottleneck", "class"}
        assert set(seen) == set(clean) | names
        assert torch.equal(seen["pet"], clean["pet"])
        if names:
            values = [tensor.flatten(1).sort().values for tensor in (seen["ct input"], image[:, :1])]
            assert torch.equal(*values)
            assert not torch.equal(seen["ct input"], image[:, :1])
            assert not torch.equal(seen["ct"], clean["ct"])


def test_v4_shows_both_branches_and_what_they_are_fused_into() -> None:
    method = small(version="v4", theta=0.25).eval()
    with torch.no_grad():
        shown = method.named_outputs(batch().image)
    assert set(shown) == set(method.output_kinds()) == {"ct", "pet", "output"}
    torch.testing.assert_close(shown["output"], 0.75 * shown["pet"] + 0.25 * shown["ct"])


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_v1_to_v3_need_no_ct_and_have_no_answer_without_pet(version: str) -> None:
    method = small(version=version)
    assert method.without("CT") is method
    assert method.without("PET") is None
    brain = small(spec=BRAIN_MRI, version=version)
    assert [name for name in BRAIN_MRI.modalities if brain.without(name) is None] == ["FLAIR"]
    shown = small(version=version, branches=("CT", "CT"), shown_at_inference="PET")
    assert (shown.without("CT"), shown.without("PET")) == (shown, None)


@pytest.mark.parametrize(("missing", "theta"), [("CT", 0.0), ("PET", 1.0)])
def test_v4_without_a_modality_is_the_other_branch(missing: str, theta: float) -> None:
    method = small(version="v4", theta=0.25).eval()
    image = batch().image
    alone = method.without(missing)
    assert isinstance(alone, MirrorUNet)
    assert alone.pet is method.pet
    image[:, ("CT", "PET").index(missing)] = torch.nan
    with torch.no_grad():
        assert torch.equal(alone(image), small(version="v4", theta=theta).eval()(batch().image))
        assert set(alone.named_outputs(image)) == set(alone.output_kinds())
    assert alone.without(missing) is alone
    assert alone.without({"CT": "PET", "PET": "CT"}[missing]) is None
    assert small(version="v4", theta="learnable").without(missing) is not None


def test_v4_s_groups_have_an_answer_only_where_a_whole_group_is_missing() -> None:
    method = small(spec=BRAIN_MRI, version="v4", branches=["T1Gd", ["FLAIR", "T2w"]])
    assert method.without("T1w") is method
    assert method.without("T1Gd") is not method
    assert (method.without("FLAIR"), method.without("T2w")) == (None, None)
    assert small(version="v4", branches=("PET", "PET")).without("PET") is None


@pytest.mark.parametrize(
    ("branches", "message"),
    [
        ("PET", "it must be two modalities"),
        (["PET"], "it must be two modalities"),
        (["CT", []], "must name a modality, and each once"),
        (["CT", ["PET", "PET"]], "must name a modality, and each once"),
    ],
)
def test_branches_that_are_no_pair_are_refused(branches: object, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        small(branches=branches)


def test_a_group_is_shown_at_inference_in_the_place_of_one_as_large() -> None:
    method = small(spec=BRAIN_MRI, branches=GROUPS, shown_at_inference=["T1w", "T1Gd"])
    assert method.shown == ("T1w", "T1Gd")
    with pytest.raises(BenchError, match="shown_at_inference is T1w, but the segmenting branch takes 2"):
        small(spec=BRAIN_MRI, branches=GROUPS, shown_at_inference="T1w")
