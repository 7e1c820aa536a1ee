"""Images keep lying on their labels: all orientations, small and large rotations, headers rounded one by one."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from slow_tests import slow_after

from benchmark.data.check import check_cases
from benchmark.data.images import open_volume, same_place
from benchmark.data.prepare import prepare_case
from benchmark.data.readers.autopet import SPEC
from benchmark.scoring.metrics import score_masks
from benchmark.vocabulary import Case, DataError, Preparation

AS_THEY_ARE = Preparation(spacing_mm=None, intensities={"CT": None, "PET": None})
CODES = [
    "".join(codes)
    for axes in itertools.permutations(("RL", "AP", "SI"))
    for codes in itertools.product(*axes)
]
"""All 48 ways in which axes can run."""
SHAPE = (32, 30, 9)
SPACING = np.array([2.0, 2.0, 3.0])


def rotation(axis: int, degrees: float) -> np.ndarray:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    first, second = [k for k in range(3) if k != axis]
    turn = np.eye(3)
    turn[[first, first, second, second], [first, second, first, second]] = cosine, -sine, sine, cosine
    return turn


def affine_of(codes: str, turn: np.ndarray) -> np.ndarray:
    oriented = nib.orientations.inv_ornt_aff(nib.orientations.axcodes2ornt(codes), SHAPE)
    affine = np.eye(4)
    affine[:3, :3] = turn @ (oriented[:3, :3] * SPACING)
    affine[:3, 3] = (-31.7, 12.3, 5.1)
    return affine


def write_case(folder: Path, image: np.ndarray, label: np.ndarray) -> Case:
    """PET is 4.8 in the label and 1 elsewhere, with noise; CT its negative. The label has no symmetry."""
    rng = np.random.default_rng(0)
    mask = np.zeros(SHAPE, np.uint8)
    mask[3:9, 18:28, 2:5] = 1
    mask[9:14, 25:28, 2:7] = 1
    pet = (1 + 3.8 * mask + rng.normal(0, 0.1, SHAPE)).astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(-pet, label), folder / "ct.nii")
    nib.save(nib.Nifti1Image(pet, image), folder / "pet.nii")
    nib.save(nib.Nifti1Image(mask, label), folder / "seg.nii")
    return Case("case", "p", {"CT": folder / "ct.nii", "PET": folder / "pet.nii"}, folder / "seg.nii")


def contrasts(case: Case, preparation: Preparation) -> tuple[float, float]:
    """PET and CT inside the stored label against outside of it."""
    prepared = prepare_case(case, SPEC, preparation)
    assert prepared.label is not None
    inside = prepared.label[prepared.geometry.crop] == 1
    image = prepared.image.astype(np.float64)
    ct, pet = (float(volume[inside].mean() - volume[~inside].mean()) for volume in image)
    return pet, ct


@pytest.mark.parametrize("codes", slow_after(8, CODES))
def test_images_lie_on_their_label_in_every_orientation_and_rotation(tmp_path: Path, codes: str) -> None:
    """The planted contrast is 3.8, before and after; headers are rounded to six digits, each on its own."""
    rng = np.random.default_rng(CODES.index(codes))
    turns = [np.eye(3)] + [rotation(axis, rng.uniform(-60, 60)) for axis in range(3)]
    turns += [
        rotation(0, rng.uniform(-5, 5)) @ rotation(1, rng.uniform(-5, 5)) @ rotation(2, rng.uniform(-5, 5))
    ]
    # Ties between two axes, to be decided by the last digit.
    turns += [rotation(axis, 45) for axis in range(3)]
    for number, turn in enumerate(turns):
        exact = affine_of(codes, turn)
        nudged = exact + rng.choice([-1e-6, 1e-6], exact.shape) * (np.arange(4) < 3)
        nudged[3] = (0, 0, 0, 1)
        case = write_case(tmp_path / str(number), nudged, np.round(exact, 6))
        assert [f for f in check_cases([case], SPEC, thorough=False) if f.is_fault] == []
        pet, ct = contrasts(case, AS_THEY_ARE)
        assert pet == pytest.approx(3.8, abs=0.02)
        assert ct == pytest.approx(-3.8, abs=0.02)
        coarser, _ = contrasts(case, replace(AS_THEY_ARE, spacing_mm=(3.0, 3.0, 3.0)))
        assert coarser > 2.8, "the label lies elsewhere on the resampled grid"


@pytest.mark.parametrize("axis", range(3))
def test_headers_on_either_side_of_a_tie_turn_the_files_alike(tmp_path: Path, axis: int) -> None:
    """By its own header each file would be turned in another way, and the image end up across its label."""
    image = affine_of("RAS", rotation(axis, 45 - 1e-5))
    label = affine_of("RAS", rotation(axis, 45 + 1e-5))
    ways = [nib.orientations.io_orientation(affine).tolist() for affine in (image, label)]
    assert ways[0] != ways[1]
    case = write_case(tmp_path, image, label)
    assert same_place(*(open_volume(path) for path in (case.images["PET"], case.label or Path())))
    assert contrasts(case, AS_THEY_ARE)[0] == pytest.approx(3.8, abs=0.02)
    prepared = prepare_case(case, SPEC, AS_THEY_ARE)
    assert prepared.label is not None
    assert prepared.image.shape[1:] == prepared.label.shape
    np.testing.assert_array_equal(prepared.geometry.to_native(prepared.label), nib.load(case.label).dataobj)


def test_a_case_with_and_without_its_label_is_turned_alike(tmp_path: Path) -> None:
    case = write_case(
        tmp_path, affine_of("RAS", rotation(2, 45 - 1e-5)), affine_of("RAS", rotation(2, 45 + 1e-5))
    )
    with_label, without = (prepare_case(c, SPEC, AS_THEY_ARE) for c in (case, replace(case, label=None)))
    assert with_label.image.tobytes() == without.image.tobytes()


def test_files_at_different_places_are_never_prepared_together(tmp_path: Path) -> None:
    case = write_case(tmp_path, affine_of("RAS", np.eye(3)), affine_of("LAS", np.eye(3)))
    with pytest.raises(DataError, match="lie at different places"):
        prepare_case(case, SPEC, AS_THEY_ARE)


# Axes that are not perpendicular.


def sheared(path: Path, values: np.ndarray) -> None:
    """A gantry tilt in the sform, with a valid qform beside it, as some converters write."""
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    affine[1, 2] = 0.6
    image = nib.Nifti1Image(values, affine)
    image.set_sform(affine, 1)
    image.set_qform(np.diag([2.0, 2.0, 3.0, 1.0]), 1)
    nib.save(image, path)


def test_check_and_preparation_measure_one_volume_on_tilted_axes(tmp_path: Path) -> None:
    """Edges 2, 2 and sqrt(3^2 + 0.6^2) mm, 2 % more than the 12 mm^3 of a voxel; 100 of them are 1.2 ml."""
    case = write_case(tmp_path, np.eye(4), np.eye(4))
    label = np.zeros(SHAPE, np.uint8)
    label[:10, :10, 0] = 1
    for path in case.files.values():
        sheared(path, label if path == case.label else nib.load(path).get_fdata().copy())
    volume = open_volume(case.label or Path())
    assert 100 * volume.voxel_ml == pytest.approx(1.2, rel=1e-6)
    prepared = prepare_case(case, SPEC, AS_THEY_ARE)
    assert prepared.lesion_ml == pytest.approx(1.2, rel=1e-6)
    # What is scored is as large: all is missed, or all invented.
    spacing, part = prepared.geometry.spacing_mm, prepared.geometry.perpendicular
    assert prepared.label is not None
    missed = score_masks(prepared.label * 0, prepared.label, spacing_mm=spacing, perpendicular=part)
    assert missed["fnv_ml"] == pytest.approx(1.2, rel=1e-6)
    upright = prepare_case(write_case(tmp_path / "upright", np.eye(4), np.eye(4)), SPEC, AS_THEY_ARE)
    assert upright.geometry.perpendicular == 1.0
    findings = check_cases([case], SPEC, thorough=False)
    assert not any(f.is_fault for f in findings)
    assert any("its voxels are 2% smaller than their edges say" in f.problem for f in findings)
    assert any("the sform and the qform of pet.nii lie up to" in f.problem for f in findings)
