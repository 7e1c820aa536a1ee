"""Folders as strangers bring them: files named otherwise, parts that are missing, names in any encoding; masks."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner
from written_decathlon import AFFINE, BRAIN, SHAPE, save, write_decathlon, write_nnunet
from written_studies import write_study

from benchmark.cli import app
from benchmark.data.check import check_cases
from benchmark.data.facts import CaseFacts, dataset_findings
from benchmark.data.images import open_volume, write_mask
from benchmark.data.readers import autopet, msd, nnunet
from benchmark.data.user_files import read_user_json
from benchmark.datasets.pipeline import ready_data
from benchmark.finished.predicting import mask_name
from benchmark.vocabulary import BenchError, DataError, kind_of

MRI = {"channel_names": {"0": "T2"}, "labels": {"background": 0, "a": 1, "b": 2, "c": 3}}
PET_CT = {"channel_names": {"0": "CT", "1": "PET"}, "labels": {"background": 0, "tumor": 1}}
runner = CliRunner()


# Files that are looked for and not found.


def test_a_channel_that_was_forgotten_is_named_and_no_case_invented(tmp_path: Path) -> None:
    """`BRATS_0001.nii.gz` would be channel 1 of a case `BRATS`."""
    root = write_nnunet(tmp_path, ["BRATS_0001", "BRATS_0002"], MRI)
    for path in (root / "imagesTr").iterdir():
        path.rename(path.with_name(path.name.replace("_0000", "")))
    with pytest.raises(
        DataError, match=r"BRATS_0001.nii.gz.*name of a label.*rename it to BRATS_0001_0000.nii.gz"
    ):
        nnunet.discover(root)
    shutil.move(root / "imagesTr", root / "imagesTs")
    shutil.rmtree(root / "labelsTr")
    with pytest.raises(DataError, match=r"it would be channel 1 of case 'BRATS', and dataset.json names 1"):
        nnunet.unlabelled(root)


@pytest.mark.parametrize(
    ("part", "misspelt", "words"),
    [
        ("labelsTr", "labelTr", r"There is no folder labelsTr in .*\. Is it labelTr\? Rename it to labelsTr"),
        ("imagesTr", "imageTr", r"There is no folder imagesTr in .*\. Is it imageTr\?"),
        ("labelsTr", "masks", r"there are imagesTr, masks\. Put the files into .*labelsTr"),
    ],
)
def test_a_part_that_is_misspelt_is_named(tmp_path: Path, part: str, misspelt: str, words: str) -> None:
    root = write_nnunet(tmp_path, ["a", "b"], MRI)
    (root / part).rename(root / misspelt)
    with pytest.raises(DataError, match=words):
        nnunet.discover(root)


def test_a_case_of_which_a_file_is_missing_tells_what_is_there(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path, ["case_1", "case_2"], MRI)
    (root / "labelsTr" / "case_2.nii.gz").rename(root / "labelsTr" / "case-2.nii.gz")
    cases, spec = nnunet.discover(root), nnunet.spec_of(root)
    dash, underscore = check_cases(cases, spec, thorough=False)
    assert (dash.problem, underscore.problem) == ("case-2_0000.nii.gz is missing", "case_2.nii.gz is missing")
    assert "there are case-2.nii.gz, case_1.nii.gz. Did you mean" in underscore.remedy
    assert "there are case_1_0000.nii.gz, case_2_0000.nii.gz. Did you mean" in dash.remedy


@pytest.mark.parametrize("reader", ["nnunet", "msd"])
def test_labels_that_are_all_truncated_are_listed_one_by_one(tmp_path: Path, reader: str) -> None:
    names = [f"c{i}" for i in range(6)]
    one = {
        **BRAIN,
        "modality": {"0": "CT"},
        "tensorImageSize": "3D",
        "labels": {"0": "background", "1": "spleen"},
    }
    root = (
        write_nnunet(tmp_path, names, MRI)
        if reader == "nnunet"
        else write_decathlon(tmp_path, names, content=one)
    )
    for path in (root / "labelsTr").glob("c*"):
        path.write_bytes(path.read_bytes()[:60])
    outcome = runner.invoke(app, ["data", "check", f"{reader}={root}", "--cheap"])
    assert outcome.exit_code == 1
    for name in names:
        assert f"{name}.nii.gz is truncated" in outcome.output
    for path in (root / "imagesTr").glob("c*"):
        path.write_bytes(path.read_bytes()[:60])
    assert (
        "12 faults in 6 of 6 cases"
        in runner.invoke(app, ["data", "check", f"{reader}={root}", "--cheap"]).output
    )
    with pytest.raises(DataError, match="is truncated"):
        ready_data(reader, root, results=tmp_path / "results")


@pytest.mark.parametrize("size", ["3D", "4D", None])
def test_the_header_counts_above_the_decathlon_s_json(tmp_path: Path, size: str | None) -> None:
    content: dict[str, Any] = {**BRAIN, "modality": {"0": "CT"}, "labels": {"0": "background", "1": "spleen"}}
    content.pop("tensorImageSize")
    root = write_decathlon(tmp_path, ["a"], content=content | ({"tensorImageSize": size} if size else {}))
    image = np.linspace(-200, 200, 720, dtype=np.float32).reshape(SHAPE)
    save(root / "imagesTr" / "a.nii.gz", image)
    spec = msd.spec_of(root)
    assert check_cases(msd.discover(root), spec, thorough=True) == []
    save(root / "imagesTr" / "a.nii.gz", image[..., None])
    (remark,) = check_cases(msd.discover(root), spec, thorough=True)
    assert not remark.is_fault


# Without labels.


def test_a_folder_of_unlabelled_images_is_a_data_set_to_predict(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path / "new", [], MRI, test=["T 2", "b"])
    assert nnunet.discover(root) == []
    assert [case.name for case in nnunet.unlabelled(root)] == ["T 2", "b"]
    assert nnunet.spec_of(root).preparation.spacing_mm == (1, 1, 1)
    with pytest.raises(DataError, match=r"no labelled case.*bench predict RUN --data nnunet="):
        ready_data("nnunet", root, results=tmp_path)
    outcome = runner.invoke(app, ["data", "check", f"nnunet={root}"])
    assert outcome.exit_code == 0, outcome.output
    assert "No faults found in 2 cases" in outcome.output
    assert "No case has a label" in outcome.output


def test_autopet_s_unlabelled_cases_are_found(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path, ["fdg_a_1"], PET_CT, test=["fdg_b_1", "psma_c_1"])
    assert [case.case_id for case in autopet.discover(root)] == ["fdg_a_1"]
    new = autopet.unlabelled(root)
    assert [(case.case_id, case.patient, case.label) for case in new] == [
        ("fdg_b_1", "fdg_b", None),
        ("psma_c_1", "psma_c", None),
    ]
    assert new[0].images["PET"] == root / "imagesTs" / "fdg_b_1_0001.nii.gz"
    shutil.rmtree(root / "imagesTr"), shutil.rmtree(root / "labelsTr")
    assert autopet.discover(root) == []
    assert len(autopet.unlabelled(root)) == 2


# Names.


@pytest.mark.parametrize("name", ["T 2", "Test Müller 01", "Ü+", "a.b", "日本"])
def test_a_mask_is_called_as_the_image_is(tmp_path: Path, name: str) -> None:
    root = write_nnunet(tmp_path, [], MRI, test=[name])
    (case,) = nnunet.unlabelled(root)
    assert mask_name(case) == f"{name}.nii.gz"
    root = write_decathlon(tmp_path / "msd", ["x"], test=[name])
    assert [mask_name(case) for case in msd.unlabelled(root)] == [f"{name}.nii.gz"]


def test_a_mask_of_a_study_in_folders_has_the_case_s_id_and_never_leaves_its_folder(tmp_path: Path) -> None:
    write_study(tmp_path / "PETCT_a" / "one study", seed=0)
    assert mask_name(autopet.discover(tmp_path)[0]) == "PETCT_a_one_study.nii.gz"
    root = write_nnunet(tmp_path / "listed", ["x"], MRI)
    content = json.loads((root / "dataset.json").read_text())
    listed = {"../../x": {"images": ["imagesTr/x_0000.nii.gz"], "label": "labelsTr/x.nii.gz"}}
    (root / "dataset.json").write_text(json.dumps(content | {"dataset": listed}))
    (case,) = nnunet.discover(root)
    assert "/" not in mask_name(case)


@pytest.mark.parametrize("reader", ["nnunet", "autopet", "msd"])
def test_file_names_that_are_no_utf8_are_read(tmp_path: Path, reader: str) -> None:
    """cp1252: `Müller` with the byte FC."""
    odd = os.fsdecode(b"M\xfcller")
    content = {**BRAIN} if reader == "msd" else PET_CT
    if reader == "msd":
        root = write_decathlon(tmp_path, ["a"], test=[odd], content=content)
        (case,) = msd.unlabelled(root)
    else:
        root = write_nnunet(tmp_path, ["a"], content, test=[odd])
        (case,) = (nnunet if reader == "nnunet" else autopet).unlabelled(root)
    assert case.case_id.isascii()
    assert case.case_id.startswith("M_ller_")
    spec = {"msd": msd, "nnunet": nnunet, "autopet": autopet}[reader].spec_of(root)
    assert [f for f in check_cases([case], spec, thorough=False) if f.is_fault] == []
    outcome = runner.invoke(app, ["data", "check", f"{reader}={root}", "--cheap"])
    assert "faults found" in outcome.output
    assert case.patient.isprintable()
    assert case.patient.encode() in (b"M\\xfcller", b"a")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("CT", "CT"),
        ("ct", "CT"),
        ("CT 0", "CT"),
        ("ctres", "CT"),
        ("pt", "PET"),
        ("suv", "PET"),
        ("PET 1", "PET"),
    ]
    + [("T1w", ""), ("CTA", ""), ("petrous", ""), ("", "")],
)
def test_what_a_channel_s_name_promises_is_known_in_one_place(name: str, kind: str) -> None:
    assert kind_of(name) == kind


@pytest.mark.parametrize("pet", ["pt", "suv", "PET", "pet"])
@pytest.mark.parametrize("ct", ["ct", "CT", "ctres"])
def test_values_are_checked_by_the_rule_that_scales_them(tmp_path: Path, ct: str, pet: str) -> None:
    for patient in range(3):
        write_study(tmp_path / "tcia" / f"PETCT_{patient}" / "s", seed=patient)
    root = tmp_path / "raw"
    for patient in range(3):
        folder = tmp_path / "tcia" / f"PETCT_{patient}" / "s"
        for name, target in (
            ("CTres", "imagesTr/{}_0000"),
            ("SUV", "imagesTr/{}_0001"),
            ("SEG", "labelsTr/{}"),
        ):
            path = root / f"{target.format(f'case{patient}')}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / f"{name}.nii.gz", path)
    (root / "dataset.json").write_text(json.dumps(PET_CT | {"channel_names": {"0": ct, "1": pet}}))
    spec = nnunet.spec_of(root)
    assert check_cases(nnunet.discover(root), spec, thorough=True) == []
    for channel, change in ((0, lambda v: v + 1024), (1, lambda v: v * 5000)):
        path = root / "imagesTr" / f"case1_000{channel}.nii.gz"
        image = nib.load(path)
        nib.save(nib.Nifti1Image(change(image.get_fdata().copy()).astype(np.float32), image.affine), path)
    problems = [f.problem for f in check_cases(nnunet.discover(root), spec, thorough=True)]
    assert problems[0].startswith(f"{ct} cannot be in HU")
    assert problems[1].startswith(f"{pet} cannot be SUV")
    with pytest.raises(DataError, match="cannot be in HU"):
        ready_data("nnunet", root, results=tmp_path, n_folds=3)


# JSON.


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_json_is_read_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "dataset.json"
    path.write_bytes(json.dumps({"labels": {"Läsion": 1}}, ensure_ascii=False).encode(encoding))
    assert read_user_json(path, needs="") == {"labels": {"Läsion": 1}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{\n "a": 1,\n}', "line 3, column 1: a comma stands before the closing bracket in '}'"),
        ('{\n "a": [1, 2,]\n}', "line 2, column 13: a comma stands before the closing bracket"),
        ('{"a": 1\n "b": 2}', "line 2, column 2: Expecting ',' delimiter"),
        ("", "line 1, column 1"),
        ("[" * 100_000, "nested too deeply|line 1, column"),
    ],
)
def test_json_that_is_none_is_named_with_line_and_column(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(DataError, match=words):
        read_user_json(tmp_path / "dataset.json", needs="it needs labels")


# Masks that lie where their images lie.


def oblique(path: Path, *, sheared: bool, units: str, classes: type = nib.Nifti1Image) -> Path:
    """An image whose sform is sheared beside a valid qform, or whose codes and units are unusual."""
    qform = np.diag([2.0, 2.0, 3.0, 1.0])
    qform[:3, 3] = (-10, 20, 5)
    sform = qform.copy()
    if sheared:
        sform[1, 2] = 0.6
    image = classes(np.random.default_rng(0).normal(0, 1, (6, 7, 8)).astype(np.float32), sform)
    image.set_sform(sform, 2)
    image.set_qform(qform, 1)
    image.header.set_xyzt_units(units, "sec")
    nib.save(image, path)
    return path


@pytest.mark.parametrize("sheared", [True, False])
@pytest.mark.parametrize("units", ["mm", "meter", "micron", "unknown"])
@pytest.mark.parametrize("classes", [nib.Nifti1Image, nib.Nifti2Image])
def test_a_mask_opens_wherever_its_image_opens(
    tmp_path: Path, sheared: bool, units: str, classes: type
) -> None:
    import SimpleITK as sitk

    volume = open_volume(oblique(tmp_path / "image.nii.gz", sheared=sheared, units=units, classes=classes))
    mask = (np.arange(6 * 7 * 8).reshape(6, 7, 8) % 3).astype(np.uint8)
    write_mask(tmp_path / "mask.nii.gz", mask, affine=volume.affine, header=volume.header)
    image, written = nib.load(tmp_path / "image.nii.gz"), nib.load(tmp_path / "mask.nii.gz")
    for name in ("get_sform", "get_qform"):
        (first, code), (second, other) = (getattr(i.header, name)(coded=True) for i in (image, written))
        assert code == other
        np.testing.assert_array_equal(first, second)
    assert written.header.get_xyzt_units()[0] == image.header.get_xyzt_units()[0]
    assert written.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(written.dataobj), mask)
    if classes is nib.Nifti1Image:
        first, second = (sitk.ReadImage(str(tmp_path / f"{name}.nii.gz")) for name in ("image", "mask"))
        assert first.GetDirection() == second.GetDirection()
        assert first.GetSpacing() == second.GetSpacing()
        assert first.GetOrigin() == second.GetOrigin()


@pytest.mark.parametrize("ending", [".mha", ".nrrd"])
def test_a_mask_of_another_format_lies_on_its_image(tmp_path: Path, ending: str) -> None:
    import SimpleITK as sitk

    save(tmp_path / "image.nii.gz", np.zeros(SHAPE, np.float32), AFFINE)
    sitk.WriteImage(sitk.ReadImage(str(tmp_path / "image.nii.gz")), str(tmp_path / f"image{ending}"))
    volume = open_volume(tmp_path / f"image{ending}")
    np.testing.assert_allclose(volume.affine, AFFINE)
    write_mask(tmp_path / f"mask{ending}", np.ones(SHAPE, np.uint8), affine=volume.affine)
    image, mask = (sitk.ReadImage(str(tmp_path / f"{name}{ending}")) for name in ("image", "mask"))
    assert (mask.GetDirection(), mask.GetSpacing(), mask.GetOrigin()) == (
        image.GetDirection(),
        image.GetSpacing(),
        image.GetOrigin(),
    )
    assert mask.GetSize() == SHAPE


@pytest.mark.parametrize(
    "argument",
    [
        lambda root: [f"autopet={root}"],
        lambda root: [str(root)],
        lambda root: [str(root), "--dataset", "autopet"],
    ],
)
def test_the_check_takes_a_data_set_as_a_run_does_and_ends_with_a_summary(
    tmp_path: Path, argument: Callable[[Path], list[str]]
) -> None:
    for patient in range(3):
        write_study(tmp_path / f"PETCT_{patient}" / "study", seed=patient, lesion=patient < 2)
    outcome = runner.invoke(app, ["data", "check", *argument(tmp_path)])
    assert outcome.exit_code == 0, outcome.output
    assert "No faults found in 3 cases." in outcome.output
    assert "autopet: 3 cases of 3 patients, told by the folders PETCT_<id>" in outcome.output
    # 4 x 4 x 4 voxels of 80 mm^3.
    assert "2 components in 2 cases, 5.12 ml a case (median 5.12); 1 without" in outcome.output
    assert "voxels   4 x 4 x 5 mm" in outcome.output
    assert "shapes   24 x 22 x 20" in outcome.output
    # Air, and a body of 40 HU and 1 to 1.2 SUV with a lesion of 8.
    values = {line.split()[0]: line for line in outcome.output.splitlines() if "99th percentile" in line}
    assert list(values) == ["CT", "PET"]
    assert "-1000 to " in values["CT"]
    assert "extremes are -1000 and " in values["CT"]
    assert "extremes are 0 and 8" in values["PET"]
    with pytest.raises(BenchError, match="names the data set autopet, and --dataset msd another"):
        runner.invoke(
            app, ["data", "check", f"autopet={tmp_path}", "--dataset", "msd"], catch_exceptions=False
        )


def test_a_grid_unlike_the_others_is_named_with_theirs() -> None:
    """Once an edge is more than twice the median, or less than half of it; of two cases neither is usual."""
    edges = {"a": 4.0, "b": 4.0, "c": 7.9, "d": 8.1, "e": 1.9}
    facts = [CaseFacts(name, name, (9, 9, 9), (4.0, 4.0, edge)) for name, edge in edges.items()]
    (found,) = dataset_findings([], facts)
    assert found.severity == "warning"
    assert found.problem == (
        "voxels unlike the others' (4 x 4 x 4 mm in the median): d (4 x 4 x 8.1 mm), e (4 x 4 x 1.9 mm)"
    )
    assert dataset_findings([], facts[-2:]) == []
