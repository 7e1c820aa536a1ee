"""The data check: every planted fault is found, with its case; sound cases are left in peace."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from written_decathlon import head, save, write_decathlon

from benchmark.data.check import check_cases
from benchmark.data.findings import Finding, findings_json, report_findings
from benchmark.data.images import open_volume
from benchmark.data.readers import msd
from benchmark.data.readers.autopet import SPEC, discover
from benchmark.data.voxel_checks import label_signature, share_outside
from benchmark.vocabulary import Case

SHAPE = (24, 22, 20)
AFFINE = np.array([[-2.0, 0, 0, 40], [0, 2.0, 0, -30], [0, 0, 3.0, 5], [0, 0, 0, 1]])


def volumes(seed: int) -> dict[str, np.ndarray]:
    """A body of 20 x 18 x 20 voxels in air, with a lesion of 3 x 3 x 3 voxels of 12 mm^3."""
    rng = np.random.default_rng(seed)
    body = np.zeros(SHAPE, bool)
    body[2:22, 2:20] = True
    label = np.zeros(SHAPE, np.uint8)
    label[8:11, 8:11, 8:11] = 1
    ct = np.where(body, rng.normal(20, 60, SHAPE), -1000).astype(np.int16)
    pet = np.where(body, rng.gamma(4, 0.25, SHAPE), 0).astype(np.float32) + 6 * label
    return {"CTres": ct, "SUV": pet.astype(np.float32), "SEG": label}


def write(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, affine), path)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """The folder of one sound study."""
    folder = tmp_path / "data" / "PETCT_a" / "study"
    for name, values in volumes(0).items():
        write(folder / f"{name}.nii.gz", values)
    return folder


def found(study: Path, *, thorough: bool) -> list[Finding]:
    return check_cases(discover(study.parents[1]), SPEC, thorough=thorough)


def only(faults: list[Finding]) -> Finding:
    assert len(faults) == 1, report_findings(faults)
    assert faults[0].remedy
    return faults[0]


@pytest.mark.parametrize("thorough", [False, True])
def test_a_sound_case_has_no_faults(study: Path, thorough: bool) -> None:
    assert found(study, thorough=thorough) == []


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def shorten_content(path: Path) -> None:
    """Sound gzip, but fewer voxels than the header promises."""
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-100]))


CHEAP: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "missing": (lambda s: (s / "SEG.nii.gz").unlink(), "SEG.nii.gz is missing", "SEG"),
    "empty": (lambda s: (s / "SUV.nii.gz").write_bytes(b""), "SUV.nii.gz is empty", "SUV"),
    "truncated": (lambda s: truncate(s / "SUV.nii.gz"), "SUV.nii.gz is truncated", "SUV"),
    "cut in the header": (
        lambda s: (s / "SUV.nii.gz").write_bytes((s / "SUV.nii.gz").read_bytes()[:40]),
        "SUV.nii.gz is truncated",
        "SUV",
    ),
    "too short": (lambda s: shorten_content(s / "CTres.nii.gz"), "of the 21,472 bytes", "CTres"),
    "not gzip": (lambda s: (s / "SUV.nii.gz").write_bytes(b"x" * 900), "not compressed with gzip", "SUV"),
    "not nifti": (
        lambda s: (s / "SUV.nii.gz").write_bytes(gzip.compress(b"x" * 900)),
        "SUV.nii.gz is not a NIfTI image",
        "SUV",
    ),
    "folder": (
        lambda s: ((s / "SUV.nii.gz").unlink(), (s / "SUV.nii.gz").mkdir())[1],
        "SUV.nii.gz is not a file",
        "SUV",
    ),
    "colours": (
        lambda s: write(s / "CTres.nii.gz", np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])),
        "instead of one number per voxel",
        "CTres",
    ),
    "other shape": (
        lambda s: write(s / "SEG.nii.gz", volumes(0)["SEG"][:, :, :-1]),
        "CT 24 x 22 x 20, PET 24 x 22 x 20, label 24 x 22 x 19",
        "SEG",
    ),
    "affine with another origin": (
        lambda s: write(s / "SEG.nii.gz", volumes(0)["SEG"], AFFINE + np.eye(4, k=3) * 7),
        "lie up to 7.0 mm apart",
        "SEG",
    ),
    "label as float": (
        lambda s: write(s / "SEG.nii.gz", volumes(0)["SEG"].astype(np.float32)),
        "the label is stored as float32",
        "SEG",
    ),
}


@pytest.mark.parametrize("fault", CHEAP)
def test_the_cheap_check_finds(study: Path, fault: str) -> None:
    plant, problem, file = CHEAP[fault]
    plant(study)
    faults = found(study, thorough=False)
    assert any(problem in f.problem for f in faults), report_findings(faults)
    assert {f.case_id for f in faults} == {"PETCT_a_study"}
    assert all(study / f"{file}.nii.gz" in f.files for f in faults)
    # The thorough check adds to the cheap one and takes nothing away.
    assert set(faults) <= set(found(study, thorough=True))


def test_a_volume_with_a_fourth_axis_is_found(study: Path) -> None:
    for name, values in volumes(0).items():
        write(study / f"{name}.nii.gz", np.stack([values, values], axis=3))
    assert [f.problem for f in found(study, thorough=True)] == [
        f"{name}.nii.gz is not a volume: its shape is 24 x 22 x 20 x 2" for name in ("CTres", "SUV", "SEG")
    ]


def test_the_remedies_speak_of_the_data_set_at_hand(tmp_path: Path) -> None:
    """Brain MRI has neither a PET to resample to nor a label of 0 and 1."""
    root = write_decathlon(tmp_path, ["a"])
    save(root / "labelsTr" / "a.nii.gz", head(0, 4)[1][..., :-1].astype(np.float32))
    shapes, label = check_cases(msd.discover(root), msd.SPEC, thorough=False)
    assert shapes.problem == "the shapes differ: FLAIR/T1w/T1Gd/T2w 10 x 9 x 8 x 4, label 10 x 9 x 7"
    assert shapes.remedy == "Resample all images to the grid of the label."
    assert shapes.files == (root / "imagesTr" / "a.nii.gz", root / "labelsTr" / "a.nii.gz")
    assert label.remedy == "Store it as 8-bit integers, after rounding to 0, 1, 2 and 3."


@pytest.mark.parametrize("n", [None, 3, 5])
def test_a_file_of_four_modalities_holds_four_volumes(tmp_path: Path, n: int | None) -> None:
    root = write_decathlon(tmp_path, ["a"])
    image = head(0, 5)[0]
    save(root / "imagesTr" / "a.nii.gz", image[..., 0] if n is None else image[..., :n])
    fault = only(check_cases(msd.discover(root), msd.SPEC, thorough=True))
    there = "10 x 9 x 8" if n is None else f"10 x 9 x 8 x {n}"
    assert fault.problem == f"a.nii.gz does not hold 4 volumes along a fourth axis: its shape is {there}"


def test_a_file_with_four_axes_must_lie_on_its_label(tmp_path: Path) -> None:
    root = write_decathlon(tmp_path, ["a"])
    save(root / "labelsTr" / "a.nii.gz", head(0, 4)[1], np.eye(4))
    fault = only(check_cases(msd.discover(root), msd.SPEC, thorough=False))
    assert "FLAIR/T1w/T1Gd/T2w and label lie up to" in fault.problem


def test_the_volumes_of_one_file_are_looked_at_one_by_one(tmp_path: Path) -> None:
    root = write_decathlon(tmp_path, ["a", "b"])
    first, second = head(0, 4)[0], head(1, 4)[0]
    second[..., 2] = first[..., 2]
    second[2, 2, 2, 3] = np.nan
    save(root / "imagesTr" / "b.nii.gz", second)
    problems = [(f.case_id, f.problem) for f in check_cases(msd.discover(root), msd.SPEC, thorough=True)]
    assert problems == [
        ("a", "the T1Gd image is the same as that of b (patient b)"),
        ("b", "T2w is NaN or infinite in 1 of 720 voxels"),
        ("b", "the T1Gd image is the same as that of a (patient a)"),
    ]
    first[..., 1] = first[..., 0]
    save(root / "imagesTr" / "a.nii.gz", first)
    (fault,) = check_cases(msd.discover(root)[:1], msd.SPEC, thorough=True)
    assert fault.problem == "FLAIR and T1w are copies of one image"


def test_a_case_that_nobody_has_labelled_is_checked_by_its_images(tmp_path: Path) -> None:
    root = write_decathlon(tmp_path, ["a"], test=["t", "u"])
    truncate(root / "imagesTs" / "u.nii.gz")
    fault = only(check_cases(msd.unlabelled(root), msd.SPEC, thorough=False))
    assert (fault.case_id, fault.files) == ("u", (root / "imagesTs" / "u.nii.gz",))


def test_flipped_axes_are_found_although_the_shapes_agree(study: Path) -> None:
    """The first axis runs the other way: 23 edges of 2 mm from corner to corner."""
    flipped = AFFINE @ np.array([[-1.0, 0, 0, 23], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    write(study / "CTres.nii.gz", volumes(0)["CTres"][::-1], flipped)
    problems = [f.problem for f in found(study, thorough=False)]
    assert problems == [
        f"the affines differ: CT and {other} lie up to 46.0 mm apart" for other in ("PET", "label")
    ]


def test_half_a_voxel_is_a_fault_and_rounding_is_none(study: Path) -> None:
    rounded = AFFINE.copy()
    rounded[:3] += 0.004
    write(study / "CTres.nii.gz", volumes(0)["CTres"], rounded)
    assert found(study, thorough=False) == []
    write(study / "SEG.nii.gz", volumes(0)["SEG"], AFFINE + np.eye(4, k=3) * 1.0)
    assert "1.0 mm apart" in found(study, thorough=False)[0].problem


@pytest.mark.parametrize(
    ("scale", "size"), [(0.001, "0.002 x 0.002 x 0.003"), (1000, "2e+03 x 2e+03 x 3e+03")]
)
def test_voxels_that_are_not_in_millimetres_are_found(study: Path, scale: float, size: str) -> None:
    for name, values in volumes(0).items():
        write(study / f"{name}.nii.gz", values, np.diag([scale, scale, scale, 1]) @ AFFINE)
    assert all(f"has voxels of {size} mm" in f.problem for f in found(study, thorough=False))
    assert len(found(study, thorough=False)) == 3


def test_several_gzip_members_in_one_file_are_sound(study: Path) -> None:
    """As parallel compressors write them: the last four bytes are then not the length of the whole."""
    path = study / "SUV.nii.gz"
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[:9000]) + gzip.compress(content[9000:]) + gzip.compress(b""))
    assert found(study, thorough=False) == []
    assert found(study, thorough=True) == []


def test_a_flipped_bit_inside_the_file_is_found_by_its_checksum(study: Path) -> None:
    path = study / "SUV.nii.gz"
    content = bytearray(gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=0))
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert found(study, thorough=False) == []
    assert "checksum is wrong" in only(found(study, thorough=True)).problem


def test_damaged_headers_are_faults_and_never_errors(study: Path) -> None:
    """The header's 348 bytes, a few at a time set to chance: whatever comes of it, the check goes on."""
    path, rng = study / "CTres.nii.gz", np.random.default_rng(0)
    sound = gzip.decompress(path.read_bytes())
    noticed = 0
    for _ in range(80):
        content = bytearray(sound)
        for position in rng.integers(40, 124, 2):  # dimensions, type, voxel sizes, offset, scale
            content[position] = rng.integers(256)
        path.write_bytes(gzip.compress(content, compresslevel=1))
        with np.errstate(all="ignore"):
            noticed += bool(found(study, thorough=True))
    assert noticed > 15


THOROUGH: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray], str]] = {
    "nan": (
        "SUV",
        lambda v: np.where(v > 6, np.nan, v).astype("f4"),
        "PET is NaN or infinite in 27 of 10,560",
    ),
    "infinity": ("CTres", lambda v: np.where(v > 150, np.inf, v).astype("f4"), "CT is NaN or infinite"),
    "label of two": ("SEG", lambda v: v * 2, "the label has the values 2, not only 0 and 1"),
    "label of 255": ("SEG", lambda v: v * 255, "the label has the values 255"),
    "negative label": ("SEG", lambda v: v.astype(np.int8) * -1, "the label has the values -1"),
    "Bq/ml": ("SUV", lambda v: v * 5000, "looks like Bq/ml"),
    "scaled PET": ("SUV", lambda v: v / v.max(), "no voxel is above 1 (the highest is 1)"),
    "negative PET": ("SUV", lambda v: v - 1, "of the voxels are negative"),
    "empty PET": ("SUV", lambda v: v * 0, "no voxel is above 1 (the highest is 0)"),
    "unsigned CT": ("CTres", lambda v: (v + 1024).astype(np.uint16), "no voxel is below 24"),
    "scaled CT": ("CTres", lambda v: ((v + 1000.0) / 1400).astype("f4"), "no voxel is below 0"),
    "offset twice": (
        "CTres",
        lambda v: (v - 1024).astype(np.int16),
        "of the voxels lie between -200 and 200",
    ),
    "CT of air": ("CTres", lambda v: v * 0 - 1024, "only 0.0% of the voxels"),
    "absurd CT": ("CTres", lambda v: v.astype("f4") * 1000, "it reaches from -1e+06"),
}


@pytest.mark.parametrize("fault", THOROUGH)
def test_the_thorough_check_finds(study: Path, fault: str) -> None:
    name, spoil, problem = THOROUGH[fault]
    path = study / f"{name}.nii.gz"
    write(path, spoil(volumes(0)[name]))
    assert found(study, thorough=False) == []
    fault_found = only(found(study, thorough=True))
    assert problem in fault_found.problem
    assert fault_found.files == (path,)


def test_a_label_that_is_a_probability_is_reported_as_such(study: Path) -> None:
    write(study / "SEG.nii.gz", (volumes(0)["SEG"] * 0.7).astype(np.float32))
    problems = [f.problem for f in found(study, thorough=True)]
    assert problems == ["the label is stored as float32", "the label has the values 0.7, not only 0 and 1"]


def test_a_value_between_those_of_two_labels_is_found(tmp_path: Path) -> None:
    """BraTS has the labels 1, 2 and 4."""
    spec = replace(msd.SPEC, labels={"necrosis": 1, "edema": 2, "enhancing tumor": 4})
    root = write_decathlon(tmp_path, ["a"])
    fault = only(check_cases(msd.discover(root), spec, thorough=True))
    assert fault.problem == "the label has the values 3, not only 0, 1, 2 and 4"


def test_exchanged_files_are_reported_for_both(study: Path) -> None:
    write(study / "CTres.nii.gz", volumes(0)["SUV"])
    write(study / "SUV.nii.gz", volumes(0)["CTres"])
    faults = found(study, thorough=True)
    assert ["CT cannot be in HU" in faults[0].problem, "PET cannot be SUV" in faults[1].problem] == [
        True,
        True,
    ]
    assert all("exchanged" in f.remedy for f in faults)


def test_scaled_storage_is_read_in_the_images_own_unit(study: Path) -> None:
    """Unsigned with intercept -1024, as DICOM converters store CT: it is HU all the same."""
    image = nib.Nifti1Image((volumes(0)["CTres"] + 1024).astype(np.uint16), AFFINE)
    image.header.set_slope_inter(1, -1024)
    nib.save(image, study / "CTres.nii.gz")
    assert nib.load(study / "CTres.nii.gz").dataobj.inter == -1024
    assert found(study, thorough=True) == []


@pytest.mark.parametrize(
    ("has_lesion", "label", "problem"),
    [
        (True, 0, "the metadata say LYMPHOMA, but the label is empty"),
        (False, 1, "the metadata say NEGATIVE, but the label marks 0.32 ml"),  # 27 voxels of 12 mm^3
        (True, 1, None),
        (False, 0, None),
        (None, 0, None),
    ],
)
def test_metadata_are_held_against_the_label(
    study: Path, has_lesion: bool | None, label: int, problem: str | None
) -> None:
    write(study / "SEG.nii.gz", volumes(0)["SEG"] * label)
    if has_lesion is not None:
        diagnosis = "LYMPHOMA" if has_lesion else "NEGATIVE"
        table = f"Subject ID,diagnosis\nPETCT_a,{diagnosis}\n"
        (study.parents[1] / "metadata.csv").write_text(table, encoding="utf-8")
    assert [f.problem for f in found(study, thorough=True)] == ([problem] if problem else [])


def test_the_same_image_under_two_patients_is_found_by_its_voxels(study: Path) -> None:
    """The copy differs in everything but its values: type, compression and header."""
    root = study.parents[1]
    for name, values in volumes(1).items():
        write(root / "PETCT_b" / "study" / f"{name}.nii.gz", values)
        write(root / "PETCT_b" / "again" / f"{name}.nii.gz", values)
    # One patient twice is no leak.
    twice = found(study, thorough=True)
    assert {(f.case_id, f.severity) for f in twice} == {
        ("PETCT_b_again", "warning"),
        ("PETCT_b_study", "warning"),
    }
    shutil.rmtree(root / "PETCT_b" / "again")
    assert found(study, thorough=True) == []
    shifted = AFFINE + np.eye(4, k=3) * 90
    write(root / "PETCT_c" / "study" / "CTres.nii.gz", volumes(0)["CTres"].astype(np.float64), shifted)
    for name in ("SUV", "SEG"):
        write(root / "PETCT_c" / "study" / f"{name}.nii.gz", volumes(3)[name], shifted)
    first, second = found(study, thorough=True)
    assert first.problem == "the CT image is the same as that of PETCT_c_study (patient PETCT_c)"
    assert second.problem == "the CT image is the same as that of PETCT_a_study (patient PETCT_a)"
    assert set(first.files) == {study / "CTres.nii.gz", root / "PETCT_c" / "study" / "CTres.nii.gz"}
    assert found(study, thorough=False) == []


def test_the_same_label_under_other_images_is_a_warning_that_names_both_cases(study: Path) -> None:
    """Whatever its numbers, type, axes and affine; a study of the same patient too."""
    root = study.parents[1]
    marked = np.zeros(SHAPE, np.uint8)
    marked[8:13, 8:13, 8:13] = 1
    marked[8, 8, 8] = 0
    write(study / "SEG.nii.gz", marked)
    assert found(study, thorough=True) == []
    turn = np.array([[2, -1], [0, 1], [1, -1]])
    for place, number in ((("PETCT_b", "study"), 1), (("PETCT_a", "later"), 2)):
        for name, values in volumes(number).items():
            other = marked if name == "SEG" else values
            image = nib.Nifti1Image(other, AFFINE + np.eye(4, k=3) * 7).as_reoriented(turn)
            write(root.joinpath(*place, f"{name}.nii.gz"), np.asarray(image.dataobj).copy(), image.affine)
    findings = found(study, thorough=True)
    assert {(f.case_id, f.severity) for f in findings} == {
        (case, "warning") for case in ("PETCT_a_study", "PETCT_a_later", "PETCT_b_study")
    }
    (first,) = (f for f in findings if f.case_id == "PETCT_b_study")
    assert first.problem == (
        "the label marks the same voxels as that of PETCT_a_later (patient PETCT_a), PETCT_a_study (patient PETCT_a), "
        "whose images are others"
    )
    assert found(study, thorough=False) == []
    # One voxel less, and it is another one.
    marked[12, 12, 12] = 0
    write(study / "SEG.nii.gz", marked)
    assert {f.case_id for f in found(study, thorough=True)} == {"PETCT_a_later", "PETCT_b_study"}


def test_a_label_goes_unsaid_where_the_images_are_the_same_as_well(study: Path) -> None:
    marked = volumes(0)["SEG"]
    marked[4:12, 4:12, 4:12] = 1
    write(study / "SEG.nii.gz", marked)
    shutil.copytree(study, study.parents[1] / "PETCT_b" / "study")
    assert {f.problem.split()[1] for f in found(study, thorough=True)} == {"CT", "PET"}


@pytest.mark.parametrize(
    ("without", "besides", "known"), [(0, 0, False), (1, 0, False), (1, 1, True), (0, 1, True)]
)
def test_a_label_is_known_again_from_a_hundred_voxels_on_unless_it_is_a_box(
    tmp_path: Path, without: int, besides: int, known: bool
) -> None:
    lesion = np.zeros(SHAPE, bool)
    lesion[4:9, 4:9, 4:8] = True
    lesion[4, 4, 4] = not without
    lesion[12, 12, 12] = besides
    write(tmp_path / "label.nii.gz", lesion.astype(np.uint8))
    volume = open_volume(tmp_path / "label.nii.gz")
    assert (label_signature(lesion, volume) is not None) is known
    assert label_signature(np.zeros(SHAPE, bool), volume) is None


def test_one_image_under_two_modalities_is_found(study: Path) -> None:
    write(study / "SUV.nii.gz", volumes(0)["CTres"])
    assert any("copies of one image" in f.problem for f in found(study, thorough=True))


def test_all_faults_of_all_cases_are_listed_at_once_whatever_the_jobs(study: Path) -> None:
    root = study.parents[1]
    for patient in "bcde":
        for name, values in volumes(ord(patient)).items():
            write(root / f"PETCT_{patient}" / "study" / f"{name}.nii.gz", values)
    truncate(root / "PETCT_b" / "study" / "SUV.nii.gz")
    (root / "PETCT_b" / "study" / "SEG.nii.gz").unlink()
    write(root / "PETCT_d" / "study" / "SUV.nii.gz", volumes(9)["SUV"] * 5000)
    write(root / "PETCT_d" / "study" / "SEG.nii.gz", volumes(9)["SEG"] * 3)
    cases, seen = discover(root), []
    faults = check_cases(cases, SPEC, thorough=True, progress=lambda done, total: seen.append((done, total)))
    assert [f.case_id for f in faults] == ["PETCT_b_study"] * 2 + ["PETCT_d_study"] * 2
    assert seen == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    assert check_cases(cases, SPEC, thorough=True, jobs=3) == faults


def test_the_report_names_case_fault_remedy_and_files(tmp_path: Path) -> None:
    faults = [
        Finding("a", "first", "do this", (tmp_path / "x",)),
        Finding("a", "second", "do that", (tmp_path / "y", tmp_path / "z")),
        Finding("b", "third", "do it", ()),
    ]
    text = report_findings(faults, cases=9)
    assert text.startswith("3 faults in 2 of 9 cases\n")
    for word in ("first", "do this", "second", "third", str(tmp_path / "z")):
        assert text.count(word) == 1
    assert text.count("\na\n") == 1
    assert report_findings([]) == "No faults found."
    assert report_findings(faults[:1], cases=6).startswith("1 fault in 1 of 6 cases\n")
    assert json.loads(findings_json(faults))[1]["files"] == [str(tmp_path / "y"), str(tmp_path / "z")]


def test_an_uncompressed_image_is_read_as_well(study: Path) -> None:
    (case,) = discover(study.parents[1])
    files = {role: study / f"{role}.nii" for role in case.files}
    for role, name in (("CT", "CTres"), ("PET", "SUV"), ("label", "SEG")):
        write(files[role], volumes(0)[name])
    plain = replace(case, images={"CT": files["CT"], "PET": files["PET"]}, label=files["label"])
    assert check_cases([plain], SPEC, thorough=True) == []
    truncate(files["PET"])
    assert "SUV" not in (problem := only(check_cases([plain], SPEC, thorough=False)).problem)
    assert "PET.nii ends after" in problem


def test_a_lesion_outside_of_the_body_is_one_in_air_that_reaches_the_sides() -> None:
    """Of 10 lesion voxels two lie in the air around, and one in a lung that the scan cuts."""
    ct, lesion = np.full((12, 12, 8), -1000.0), np.zeros((12, 12, 8), bool)
    ct[2:10, 2:10] = 40
    ct[5:8, 5:8] = -800  # from the scan's lowest slice to its highest
    lesion[0:10, 3, 4], lesion[0, 3, 4] = True, True
    lesion[9, 3, 4] = False
    lesion[6, 6, 0] = True
    assert lesion.sum() == 10
    assert share_outside(ct, lesion, AFFINE) == pytest.approx(0.2)
    ct[2, 3, 4] = -301
    assert share_outside(ct, lesion, AFFINE) == pytest.approx(0.3)
    ct[2, 3, 4] = -299
    assert share_outside(ct, lesion, AFFINE) == pytest.approx(0.2)
    # With the patient along the first axis the lung reaches the sides.
    assert share_outside(ct, lesion, AFFINE[[2, 1, 0, 3]]) == pytest.approx(0.3)


def test_a_ct_beside_its_label_is_a_warning_from_a_twentieth_on(study: Path) -> None:
    """Of 27 lesion voxels one in air is 4 %, two are 7 %."""
    for n, problems in ((1, []), (2, ["7% of the lesion's voxels lie outside of the body"])):
        ct = volumes(0)["CTres"]
        ct[:9, 8, 8] = -1000
        ct[:9, 8, 9] = -1000 if n == 2 else 20
        write(study / "CTres.nii.gz", ct)
        findings = found(study, thorough=True)
        assert [f.problem.partition(" (")[0] for f in findings] == problems
        assert not any(f.is_fault for f in findings)


def test_voxels_too_coarse_for_a_displacement_raise_no_warning_of_one(study: Path) -> None:
    """What counts as displaced in small voxels is, in large ones, the mixture at a surface."""
    for scale, told in ((1, 1), (6, 0)):
        for name, voxels in volumes(0).items():
            if name == "CTres":
                voxels[:9, 8, 8:10] = -1000
            write(study / f"{name}.nii.gz", voxels, affine=AFFINE * [[scale], [scale], [scale], [1]])
        assert sum("outside of the body" in f.problem for f in found(study, thorough=True)) == told


@pytest.mark.real_data
def test_real_cases_raise_no_false_alarm() -> None:
    if not os.environ.get("BENCH_REAL_DATA"):
        pytest.skip("BENCH_REAL_DATA names no folder of real cases")
    cases: list[Case] = discover(Path(os.environ["BENCH_REAL_DATA"]))
    assert len(cases) > 1
    findings = check_cases(cases, SPEC, thorough=True, jobs=2)
    assert [f for f in findings if f.is_fault] == []
    # Its CT lies 7 mm off its PET.
    assert [(f.case_id.split("_")[2], f.problem[:41]) for f in findings] == [
        ("019", "18% of the lesion's voxels lie outside of")
    ]
