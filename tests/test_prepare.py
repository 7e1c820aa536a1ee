"""The preparation: what is stored, and that it finds its way back to the original grid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from benchmark.data.prepare import prepare_case
from benchmark.data.readers.autopet import SPEC, discover
from benchmark.vocabulary import Case, DataError, Intensity, Percentiles, ZScore

UNCHANGED = replace(SPEC.preparation, spacing_mm=(4.0, 4.0, 5.0))


def write_case(folder: Path, label: np.ndarray, affine: np.ndarray, *, pet: np.ndarray | None = None) -> Case:
    folder.mkdir(parents=True, exist_ok=True)
    pet = np.ones(label.shape, np.float32) if pet is None else pet
    for name, volume in (("CTres", np.zeros(label.shape, np.float32)), ("SUV", pet), ("SEG", label)):
        nib.save(nib.Nifti1Image(volume, affine), folder / f"{name}.nii.gz")
    files = {"CT": folder / "CTres.nii.gz", "PET": folder / "SUV.nii.gz"}
    return Case("case", "patient", files, folder / "SEG.nii.gz")


def test_intensities_are_clipped_and_scaled_to_the_unit_interval(tmp_path: Path) -> None:
    """CT -100..250 HU and PET 0..15 SUV become 0..1: 75 HU is a half, SUV 3 a fifth."""
    pet = np.full((4, 4, 4), 3.0, np.float32)
    pet[0, 0, 0] = 99
    case = write_case(tmp_path, np.zeros((4, 4, 4), np.uint8), np.diag([4.0, 4.0, 5.0, 1.0]), pet=pet)
    ct = np.full((4, 4, 4), 75.0, np.float32)
    ct[0, 0, 0], ct[1, 0, 0] = -1000, 3000
    nib.save(nib.Nifti1Image(ct, np.diag([4.0, 4.0, 5.0, 1.0])), case.images["CT"])
    image = prepare_case(case, SPEC, UNCHANGED).image.astype(np.float32)
    assert image[0, 2, 2, 2] == pytest.approx(0.5, abs=1e-3)
    assert (image[0, 0, 0, 0], image[0, 1, 0, 0]) == (0.0, 1.0)
    assert image[1, 2, 2, 2] == pytest.approx(0.2, abs=1e-3)
    assert image[1, 0, 0, 0] == 1.0


def test_the_image_is_cropped_to_the_pet_and_the_label_is_not(tmp_path: Path) -> None:
    """A lesion outside the body's box must count as missed, so the label keeps the whole volume."""
    pet = np.zeros((10, 11, 12), np.float32)
    pet[2:7, 3:9, 4:10] = 1
    label = np.zeros((10, 11, 12), np.uint8)
    label[3, 4, 5] = label[9, 10, 11] = 1
    prepared = prepare_case(
        write_case(tmp_path, label, np.diag([4.0, 4.0, 5.0, 1.0]), pet=pet), SPEC, UNCHANGED
    )
    assert prepared.image.shape == (2, 5, 6, 6)
    assert prepared.geometry.crop_start == (2, 3, 4)
    assert prepared.label.shape == (10, 11, 12)
    assert prepared.lesion.tolist() == [[1, 1, 1]]
    assert prepared.lesion_ml == pytest.approx(2 * 0.08)


def prepared_with(folder: Path, **intensities: Intensity | None) -> np.ndarray:
    """PET is 0, 1, ..., 63 in its 64 voxels."""
    pet = np.arange(64, dtype=np.float32).reshape(4, 4, 4)
    case = write_case(folder, np.zeros((4, 4, 4), np.uint8), np.diag([4.0, 4.0, 5.0, 1.0]), pet=pet)
    preparation = replace(UNCHANGED, intensities=intensities, crop_modality=None)
    return prepare_case(case, SPEC, preparation).image.astype(np.float32)


def test_percentiles_are_the_image_s_own(tmp_path: Path) -> None:
    """Of 0 ... 63 the 10th percentile is 6.3 and the 90th 56.7; 31.5 lies half-way."""
    pet = prepared_with(tmp_path, PET=Percentiles(10, 90))[1].ravel()
    assert (pet[:7] == 0).all()
    assert (pet[57:] == 1).all()
    assert pet[31] == pytest.approx((31 - 6.3) / (56.7 - 6.3), abs=1e-3)


def test_a_z_score_of_voxels_that_are_not_zero_leaves_zeros_alone(tmp_path: Path) -> None:
    """1 ... 63 have the mean 32 and the variance (63^2 - 1) / 12."""
    ct, pet = prepared_with(tmp_path, CT=ZScore(), PET=ZScore(nonzero=True))
    assert pet.ravel()[0] == 0
    assert pet.ravel()[32] == 0
    assert pet.ravel()[63] == pytest.approx(31 / ((63**2 - 1) / 12) ** 0.5, abs=2e-3)
    assert (ct == 0).all(), "a constant image has no deviation to divide by"


def test_values_without_a_rule_stay_as_they_are(tmp_path: Path) -> None:
    pet = prepared_with(tmp_path, CT=None, PET=None)[1].ravel()
    np.testing.assert_array_equal(pet, np.arange(64))


def test_values_that_the_store_cannot_hold_as_they_are_are_refused(tmp_path: Path) -> None:
    """float16 ends at 65504."""
    pet = np.full((4, 4, 4), 70_000, np.float32)
    case = write_case(tmp_path, np.zeros((4, 4, 4), np.uint8), np.eye(4), pet=pet)
    with pytest.raises(DataError, match=r"SUV.nii.gz has values beyond 65504.*Give PET a rule"):
        prepare_case(case, SPEC, replace(UNCHANGED, intensities={}))
    prepare_case(case, SPEC, UNCHANGED)


def test_modalities_along_a_fourth_axis_are_prepared_as_files_of_their_own_are(tmp_path: Path) -> None:
    label = np.zeros((9, 10, 11), np.uint8)
    label[2:5, 3:6, 4:8] = 1
    pet = np.random.default_rng(0).gamma(2, 1, label.shape).astype(np.float32)
    alone = write_case(tmp_path, label, np.diag([-4.0, 4.0, 5.0, 1.0]), pet=pet)
    ct = nib.load(alone.images["CT"]).get_fdata(dtype=np.float32)
    both = tmp_path / "both.nii.gz"
    nib.save(nib.Nifti1Image(np.stack([pet, ct], axis=3), np.diag([-4.0, 4.0, 5.0, 1.0])), both)
    shared = replace(alone, images=dict.fromkeys(("CT", "PET"), both), channels={"CT": 1, "PET": 0})
    first, second = (prepare_case(case, SPEC, SPEC.preparation) for case in (alone, shared))
    assert first.image.tobytes() == second.image.tobytes()
    assert first.geometry == second.geometry
    with pytest.raises(
        DataError, match=r"both.nii.gz has shape \(9, 10, 11, 2\), but PET should be number 2"
    ):
        prepare_case(replace(shared, channels={"CT": 1, "PET": 2}), SPEC, SPEC.preparation)
    with pytest.raises(DataError, match="has 4 axes; a volume with three is needed"):
        prepare_case(replace(shared, channels={}), SPEC, SPEC.preparation)


def test_an_unlabelled_case_lies_on_the_grid_of_its_first_image(tmp_path: Path) -> None:
    case = write_case(tmp_path, np.ones((8, 8, 8), np.uint8), np.diag([-4.0, 4.0, 5.0, 1.0]))
    labelled, without = (prepare_case(c, SPEC, SPEC.preparation) for c in (case, replace(case, label=None)))
    assert without.image.tobytes() == labelled.image.tobytes()
    assert without.geometry == labelled.geometry
    assert (without.label, without.lesion.shape, without.lesion_ml) == (None, (0, 3), 0.0)


def test_without_a_spacing_the_voxels_stay_as_they_are(tmp_path: Path) -> None:
    label = np.zeros((9, 10, 11), np.uint8)
    label[2, 3, 4] = 1
    affine = np.diag([-1.5, 2.5, 3.5, 1.0])
    prepared = prepare_case(write_case(tmp_path, label, affine), SPEC, replace(UNCHANGED, spacing_mm=None))
    assert prepared.geometry.spacing_mm == (1.5, 2.5, 3.5)
    assert prepared.label[9 - 1 - 2, 3, 4] == 1
    assert prepared.label.sum() == 1
    assert prepared.lesion_ml == pytest.approx(1.5 * 2.5 * 3.5 / 1000)


def test_a_label_map_goes_from_the_file_to_the_grid_and_from_grid_to_grid(tmp_path: Path) -> None:
    label = np.zeros((8, 8, 8), np.uint8)
    label[2:6, 2:6, 4:6] = 1
    case = write_case(tmp_path, label, np.diag([-4.0, 4.0, 5.0, 1.0]))
    fine, usual = (
        prepare_case(case, SPEC, replace(UNCHANGED, spacing_mm=spacing))
        for spacing in ((2.0, 2.0, 2.5), (4.0, 4.0, 5.0))
    )
    np.testing.assert_array_equal(usual.geometry.from_native(label), usual.label)
    np.testing.assert_array_equal(fine.geometry.from_native(label), fine.label)
    np.testing.assert_array_equal(fine.geometry.to_grid(fine.label, usual.geometry), usual.label)


def test_a_plane_keeps_its_place_when_the_spacing_changes(tmp_path: Path) -> None:
    """PET = the world's x coordinate in mm / 10, which linear interpolation must reproduce at new centres."""
    affine = np.diag([4.0, 4.0, 5.0, 1.0])
    x = np.arange(20) * 4.0
    pet = np.broadcast_to((x / 10)[:, None, None], (20, 6, 6)).astype(np.float32)
    case = write_case(tmp_path, np.zeros((20, 6, 6), np.uint8), affine, pet=pet.copy())
    preparation = replace(SPEC.preparation, spacing_mm=(2.0, 4.0, 5.0), crop_modality=None)
    prepared = prepare_case(case, SPEC, preparation)
    assert prepared.image.shape[1:] == (40, 6, 6)
    # The extent is -2 ... 78 mm, so the new centres lie at -1, 1, 3, ...
    centres = -1 + 2.0 * np.arange(40)
    inner = slice(2, 38)
    np.testing.assert_allclose(prepared.image[1, inner, 3, 3] * 15, centres[inner] / 10, atol=0.01)


@pytest.mark.parametrize("codes", ["LAS", "RPI", "PIR", "ASL"])
def test_a_label_map_returns_to_the_original_grid_in_any_orientation(tmp_path: Path, codes: str) -> None:
    label = np.zeros((9, 10, 11), np.uint8)
    label[1:4, 2:7, 5:6] = 1
    label[8, 0, 10] = 1
    affine = nib.orientations.inv_ornt_aff(nib.orientations.axcodes2ornt(codes), label.shape)
    affine = np.diag([4.0, 4.0, 5.0, 1.0]) @ affine
    case = write_case(tmp_path, label, affine)
    prepared = prepare_case(case, SPEC, replace(SPEC.preparation, spacing_mm=(2.0, 2.0, 2.5)))
    assert prepared.label.sum() == 8 * label.sum()
    np.testing.assert_array_equal(prepared.geometry.to_native(prepared.label), label)


def test_preparing_twice_gives_the_same_arrays(tcia_root: Path) -> None:
    case = discover(tcia_root)[0]
    first, second = (prepare_case(case, SPEC, SPEC.preparation) for _ in range(2))
    assert first.image.tobytes() == second.image.tobytes()
    assert first.geometry == second.geometry


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    case = write_case(tmp_path, np.zeros((4, 4, 4), np.uint8), np.eye(4))
    case.images["PET"].write_bytes(b"no image")
    with pytest.raises(DataError, match=r"case: SUV.nii.gz is not compressed"):
        prepare_case(case, SPEC, UNCHANGED)
