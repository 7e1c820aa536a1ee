"""Blackbean: the network of the reference code, its preparation, and the plan that nnU-Net is asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from drawn import BRAIN, PET_CT, batch, parameters

from baselines.blackbean import Blackbean, BlackbeanReference
from benchmark.nn.losses import dice_ce
from benchmark.protocols import BenchError, Percentiles, ZScore

SMALL = (4, 8, 8, 8, 8)


def reference(**settings: Any) -> BlackbeanReference:
    torch.manual_seed(0)
    return BlackbeanReference(PET_CT, (32, 32, 32), **{"channels": SMALL, **settings})


def test_the_reference_network_has_the_size_of_the_authors_code() -> None:
    with torch.device("meta"):
        assert parameters(BlackbeanReference(PET_CT, (192, 192, 192))) == 7_913_738


def test_pet_is_the_first_channel_and_ct_the_second() -> None:
    method = reference().eval()
    image = batch(size=(32, 32, 32)).image
    with torch.no_grad():
        assert torch.equal(method(image), method.net(torch.cat([image[:, 1:], image[:, :1]], dim=1)))
    assert BlackbeanReference(BRAIN, (32, 32, 32), channels=SMALL).order == [0, 1, 2, 3]


@pytest.mark.parametrize(("ct", "pet"), [("CT", "PET"), ("ct", "PT"), ("CTres", "SUV")])
def test_ct_and_pet_are_known_by_any_of_their_names(ct: str, pet: str) -> None:
    for modalities, order in (((ct, pet), [1, 0]), ((pet, ct), [0, 1])):
        method = BlackbeanReference(replace(PET_CT, modalities=modalities), (32, 32, 32), channels=SMALL)
        assert method.order == order
        rules = method.preparation(PET_CT.preparation).intensities
        assert rules == {ct: Percentiles(0.5, 99.5), pet: ZScore(nonzero=True)}


def test_voxels_stay_as_they_are_and_ct_is_scaled_by_percentiles_and_the_rest_by_z_score() -> None:
    prepared = reference().preparation(PET_CT.preparation)
    assert prepared.spacing_mm is None
    assert prepared.intensities == {"CT": Percentiles(0.5, 99.5), "PET": ZScore(nonzero=True)}
    assert prepared.crop_modality == PET_CT.preparation.crop_modality
    brain = BlackbeanReference(BRAIN, (32, 32, 32), channels=SMALL).preparation(BRAIN.preparation)
    assert set(brain.intensities.values()) == {ZScore(nonzero=True)}
    assert list(brain.intensities) == list(BRAIN.modalities)


def test_training_sees_augmented_patches_and_inference_the_patches_themselves() -> None:
    given = batch(size=(32, 32, 32))
    plain = reference(augment=False)
    expected = dice_ce(plain(given.image), given.label)
    assert torch.equal(plain.losses(given)["seg"], expected)
    assert not torch.equal(reference().losses(given)["seg"], expected)


def test_augmentation_depends_on_the_steps_generator_alone() -> None:
    losses = []
    for seed in (0, 0, 1):
        given = replace(batch(size=(32, 32, 32)), generator=torch.Generator().manual_seed(seed))
        losses.append(float(reference().losses(given)["seg"].detach()))
        torch.rand(3)
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_without_shift_scale_and_contrast_only_orientation_changes() -> None:
    """The sorted values of every channel are those of the patch."""
    method = reference(intensity_range=0.0, shift_std=0.0, contrast_probability=0.0)
    given = batch(size=(32, 32, 32))
    image, label = method._augment(given.image, given.label, given.generator)
    torch.testing.assert_close(image.flatten(2).sort().values, given.image.flatten(2).sort().values)
    assert torch.equal(label.sum(), given.label.sum())
    assert not torch.equal(image, given.image)


def test_gradients_in_bfloat16_are_about_those_in_float32() -> None:
    """The deepest maps of a 32^3 patch are 2 voxels long, where torch's own convolution is wrong on CPUs."""
    given, gradients = batch(size=(32, 32, 32)), []
    for bfloat16 in (False, True):
        method = reference(augment=False, channels=(4, 8, 8, 32, 32))
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = method.losses(given)["seg"]
        loss.backward()
        gradients.append({name: p.grad for name, p in method.named_parameters() if p.ndim == 5})
    for name, exact in gradients[0].items():
        rounded = gradients[1][name]
        assert exact is not None
        assert rounded is not None
        assert float((rounded - exact).norm() / exact.norm()) < 0.5, name


@pytest.mark.parametrize(
    ("patch", "message"), [((24, 32, 32), "multiples of 16"), ((16, 16, 16), "single voxel")]
)
def test_patches_that_the_network_cannot_halve_are_refused(patch: tuple[int, int, int], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        BlackbeanReference(PET_CT, patch, channels=SMALL)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"flip_probability": 3}, "flip_probability is 3; it must lie between 0 and 1"),
        ({"contrast_probability": -2}, "contrast_probability is -2"),
        ({"shift_std": -1}, "shift_std is -1"),
        ({"shift_std": float("nan")}, "shift_std is nan"),
        ({"intensity_range": 1.0}, "intensity_range is 1.0"),
        ({"augment": False, "shift_std": 0.5}, "shift_std would have no effect with augment: false"),
    ],
)
def test_an_augmentation_that_cannot_be_or_turns_nothing_is_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(BenchError, match=message):
        reference(**settings)


def test_augmentation_is_remarked_where_there_is_any() -> None:
    assert reference().remarks == ("trained with augmentation of intensities and flips",)
    assert reference(augment=False).remarks == ()


def test_the_challenge_entry_asks_nnunet_for_five_stages_large_patches_and_fine_voxels() -> None:
    method = Blackbean(PET_CT, (96, 96, 96))
    assert method.channels == ("PET", "CT")
    assert method.plan.features == (32, 64, 128, 256, 512)
    assert method.plan.patch_size == (192, 192, 192)
    assert (method.plan.spacing, method.plan.batch_size, method.initial_lr) == ("finest", 2, 1e-4)
    assert Blackbean(BRAIN, (96, 96, 96)).channels == BRAIN.modalities
