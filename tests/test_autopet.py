"""The reader: both layouts, written with nibabel, with metadata as they are published."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from benchmark.data.naming import case_id_from
from benchmark.data.readers import autopet
from benchmark.data.readers.autopet import SPEC, discover
from benchmark.vocabulary import Case, DataError

FIRST = "03-23-2003-NA-PET-CT Ganzkoerper  primaer mit KM-10445"
SECOND = "11-07-2002-NA-PET-CT Ganzkoerper nativ-75415"
HEADER = "Series UID,Subject ID,Study UID,Study Date,Modality,File Location,diagnosis,age,sex"


def write_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5), np.uint8), np.diag([2.0, 2.0, 3.0, 1.0])), path)


def write_study(folder: Path) -> None:
    for name in ("CTres", "SUV", "SEG"):
        write_image(folder / f"{name}.nii.gz")


def write_nnunet(
    root: Path, names: list[str], channels: dict[str, str] | None = None, labels: dict[str, int] | None = None
) -> None:
    for name in names:
        for file in (f"imagesTr/{name}_0000", f"imagesTr/{name}_0001", f"labelsTr/{name}"):
            write_image(root / f"{file}.nii.gz")
    content = {
        "channel_names": channels or {"0": "CT", "1": "PET"},
        "labels": labels or {"background": 0, "tumor": 1},
        "numTraining": len(names),
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(content), encoding="utf-8")


def only(cases: list[Case]) -> Case:
    assert len(cases) == 1
    return cases[0]


def test_the_tcia_layout_gives_a_case_a_study_with_its_patient_and_files(tmp_path: Path) -> None:
    write_study(tmp_path / "PETCT_b" / SECOND)
    write_study(tmp_path / "PETCT_b" / FIRST)
    write_study(tmp_path / "PETCT_a" / FIRST)
    cases = discover(tmp_path)
    assert [case.patient for case in cases] == ["PETCT_a", "PETCT_b", "PETCT_b"]
    assert cases[0].case_id == "PETCT_a_03-23-2003-NA-PET-CT_Ganzkoerper__primaer_mit_KM-10445"
    assert cases[0].images == {
        "CT": tmp_path / "PETCT_a" / FIRST / "CTres.nii.gz",
        "PET": tmp_path / "PETCT_a" / FIRST / "SUV.nii.gz",
    }
    assert cases[0].label == tmp_path / "PETCT_a" / FIRST / "SEG.nii.gz"
    assert cases[0].has_lesion is None
    assert set(cases[0].images) == set(SPEC.modalities)


def test_a_study_without_its_label_is_still_listed(tmp_path: Path) -> None:
    write_study(tmp_path / "PETCT_a" / "one")
    (tmp_path / "PETCT_a" / "one" / "SEG.nii.gz").unlink()
    (tmp_path / "PETCT_b" / "other").mkdir(parents=True)
    (tmp_path / "PETCT_b" / "other" / "notes.txt").write_text("no image yet")
    assert [case.case_id for case in discover(tmp_path)] == ["PETCT_a_one", "PETCT_b_other"]


def test_an_empty_study_folder_and_what_archivers_leave_are_passed_over_with_a_word(tmp_path: Path) -> None:
    write_study(tmp_path / "PETCT_a" / "one")
    (tmp_path / "PETCT_b" / "empty").mkdir(parents=True)
    (tmp_path / "PETCT_a" / "one" / "._SUV.nii.gz").write_bytes(b"macOS")
    (tmp_path / ".DS_Store").write_bytes(b"macOS")
    write_study(tmp_path / "__MACOSX" / "PETCT_a")
    assert [case.case_id for case in discover(tmp_path)] == ["PETCT_a_one"]
    archivers, empty = autopet.remarks(tmp_path)
    assert archivers.problem.startswith("3 files or folders of archivers passed over")
    assert empty.problem == "empty study folders are passed over: empty"
    assert not archivers.is_fault
    assert not empty.is_fault


def test_the_nnunet_layout_takes_the_channel_order_from_the_data_set(tmp_path: Path) -> None:
    write_nnunet(tmp_path, ["fdg_0011f3deaf_03-23-2003"], {"0": "SUV", "1": "ct"})
    case = only(discover(tmp_path))
    assert case.images["PET"].name == "fdg_0011f3deaf_03-23-2003_0000.nii.gz"
    assert case.images["CT"].name == "fdg_0011f3deaf_03-23-2003_0001.nii.gz"
    assert case.label == tmp_path / "labelsTr" / "fdg_0011f3deaf_03-23-2003.nii.gz"


def test_nnunet_names_give_the_patient_and_unknown_names_a_patient_each(tmp_path: Path) -> None:
    names = [f"fdg_0011f3deaf_{FIRST}", f"fdg_0011f3deaf_{SECOND}", "psma_95b8_2018-04-23", "PETCT_STS_1"]
    write_nnunet(tmp_path, [*names, "PETCT_STS_2"])
    patients = {case.case_id: case.patient for case in discover(tmp_path)}
    assert sorted(patients.values()) == [
        "PETCT_STS_1",
        "PETCT_STS_2",
        "fdg_0011f3deaf",
        "fdg_0011f3deaf",
        "psma_95b8",
    ]
    assert patients["psma_95b8_2018-04-23"] == "psma_95b8"


def test_an_image_without_a_label_and_a_label_without_an_image_are_both_listed(tmp_path: Path) -> None:
    write_nnunet(tmp_path, ["a", "b"])
    (tmp_path / "labelsTr" / "a.nii.gz").unlink()
    for channel in "01":
        (tmp_path / "imagesTr" / f"b_000{channel}.nii.gz").unlink()
    assert [case.case_id for case in discover(tmp_path)] == ["a", "b"]


def test_metadata_are_matched_to_the_study_by_folder(tmp_path: Path) -> None:
    """As published: three rows a study (CT, PT, SEG), with a byte order mark, Windows paths for one study."""
    for study in (FIRST, SECOND):
        write_study(tmp_path / "PETCT_a" / study)
    rows = [HEADER]
    for uid, study, diagnosis, modality in [
        ("1.2.10445", f"./FDG-PET-CT-Lesions/PETCT_a/{FIRST}/1.000-CT", "LYMPHOMA", "CT"),
        ("1.2.10445", f"./FDG-PET-CT-Lesions/PETCT_a/{FIRST}/1.000-SEG", "LYMPHOMA", "SEG"),
        ("1.2.75415", f".\\FDG-PET-CT-Lesions\\PETCT_a\\{SECOND}\\1.000-PT", "NEGATIVE", "PT"),
    ]:
        rows.append(f"9.9,PETCT_a,{uid},1/1/1999,{modality},{study},{diagnosis},063Y,F")
    (tmp_path / "Clinical Metadata FDG PET_CT Lesions.csv").write_text(
        "\r\n".join(rows), encoding="utf-8-sig"
    )
    lesions = {case.metadata["study"]: case.has_lesion for case in discover(tmp_path)}
    assert lesions == {FIRST: True, SECOND: False}
    assert discover(tmp_path)[0].metadata["age"] == "063Y"


@pytest.mark.parametrize(
    "rows",
    [
        ["9,PETCT_a,1.2.10445,,PT,,MELANOMA,,", "9,PETCT_a,1.2.75415,,PT,,NEGATIVE,,"],
        ["9,PETCT_a,1.1,3/23/2003,PT,,MELANOMA,,", "9,PETCT_a,1.2,11/7/2002,PT,,NEGATIVE,,"],
        ["9,PETCT_a,1.1,2003-03-23,PT,,MELANOMA,,", "9,PETCT_a,1.2,2002-11-07,PT,,NEGATIVE,,"],
    ],
    ids=["study uid", "american date", "iso date"],
)
def test_metadata_without_folders_are_matched_by_study(tmp_path: Path, rows: list[str]) -> None:
    for study in (FIRST, SECOND):
        write_study(tmp_path / "cases" / "PETCT_a" / study)
    (tmp_path / "beside.csv").write_text("\n".join([HEADER, *rows]), encoding="utf-8")
    assert {c.metadata["study"]: c.has_lesion for c in discover(tmp_path / "cases")} == {
        FIRST: True,
        SECOND: False,
    }


def test_rows_of_a_patient_count_only_when_they_cannot_mean_another_study(tmp_path: Path) -> None:
    write_study(tmp_path / "PETCT_alone" / "study")
    write_study(tmp_path / "PETCT_two" / "one")
    write_study(tmp_path / "PETCT_two" / "other")
    write_study(tmp_path / "PETCT_torn" / "study")
    write_study(tmp_path / "PETCT_later" / FIRST)
    rows = [
        "9,PETCT_alone,1.1,1/1/2001,PT,,MELANOMA,,",
        "9,PETCT_two,1.2,1/1/2001,PT,,NEGATIVE,,",
        "9,PETCT_torn,1.3,1/1/2001,PT,,NEGATIVE,,",
        "9,PETCT_torn,1.4,1/1/2002,PT,,LYMPHOMA,,",
        "9,PETCT_later,1.5,1/1/2001,PT,,NEGATIVE,,",
    ]
    (tmp_path / "clinical.csv").write_text("\n".join([HEADER, *rows]), encoding="utf-8")
    assert {case.case_id: case.has_lesion for case in discover(tmp_path)} == {
        "PETCT_alone_study": True,
        "PETCT_two_one": None,
        "PETCT_two_other": None,
        "PETCT_torn_study": None,
        f"PETCT_later_{case_id_from(FIRST)}": None,
    }


def test_a_table_with_a_row_a_patient_speaks_of_all_the_studies(tmp_path: Path) -> None:
    for study in (FIRST, SECOND):
        write_study(tmp_path / "PETCT_a" / study)
    (tmp_path / "m.csv").write_text("Subject ID,diagnosis\nPETCT_a,NEGATIVE\n", encoding="utf-8")
    assert [case.has_lesion for case in discover(tmp_path)] == [False, False]


def test_metadata_of_the_tcia_release_serve_the_nnunet_layout(tmp_path: Path) -> None:
    write_nnunet(tmp_path, [f"fdg_0011f3deaf_{FIRST}", "psma_95b8_2018-04-23"])
    location = f"./FDG-PET-CT-Lesions/PETCT_0011f3deaf/{FIRST}/"
    (tmp_path / "fdg_metadata.csv").write_text(f"study_location,diagnosis\n{location},NEGATIVE\n", "utf-8")
    (tmp_path / "psma_metadata.csv").write_text(
        "Subject ID,Study Date,age\nPSMA_95b8,2018-04-23,71\n", "utf-8"
    )
    fdg, psma = discover(tmp_path)
    assert fdg.has_lesion is False
    assert psma.has_lesion is None
    assert psma.metadata["age"] == "71"


def test_other_tables_are_left_alone(tmp_path: Path) -> None:
    write_study(tmp_path / "PETCT_a" / "study")
    (tmp_path / "notes.csv").write_text("a;b\n1;2\n", encoding="utf-8")
    (tmp_path / "empty.csv").touch()
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)))
    assert only(discover(tmp_path)).has_lesion is None


def test_ids_do_not_depend_on_what_else_is_there(tmp_path: Path) -> None:
    write_study(tmp_path / "PETCT_b" / "study")
    before = only(discover(tmp_path)).case_id
    write_study(tmp_path / "PETCT_a" / "study")
    write_study(tmp_path / "PETCT_b" / "later")
    assert before in {case.case_id for case in discover(tmp_path)}


def test_two_studies_that_would_share_an_id_are_refused(tmp_path: Path) -> None:
    write_study(tmp_path / "PETCT_a b" / "study")
    write_study(tmp_path / "PETCT_a_b" / "study")
    with pytest.raises(DataError, match="'PETCT_a b/study' and 'PETCT_a_b/study'"):
        discover(tmp_path)


def test_ids_are_safe_as_file_names_and_different_names_stay_different() -> None:
    names = ["ä", "ö", "a:b", "a?b", "..", "-x", "x" * 300, "x" * 301, f"fdg_0_{FIRST}"]
    ids = [case_id_from(name) for name in names]
    assert len(set(ids)) == len(names)
    for case_id in ids:
        assert case_id.isascii()
        assert len(case_id) <= 120
        assert not set(case_id) & set(' /\\:?"')
        assert case_id[0] not in ".-"


def test_the_folder_that_an_archive_unpacks_to_is_found(tmp_path: Path) -> None:
    write_study(tmp_path / "FDG-PET-CT-Lesions" / "PETCT_a" / "study")
    (tmp_path / "licence").mkdir()
    assert only(discover(tmp_path)).case_id == "PETCT_a_study"
    shutil.copytree(tmp_path / "FDG-PET-CT-Lesions", tmp_path / "copy")
    with pytest.raises(DataError, match=r"several data sets \(FDG-PET-CT-Lesions, copy\)"):
        discover(tmp_path)


def test_a_folder_that_is_no_data_set_is_refused_with_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not exist.*PETCT_<id>.*imagesTr"):
        discover(tmp_path / "missing")
    with pytest.raises(DataError, match=r"PETCT_<id>.*imagesTr.*empty"):
        discover(tmp_path)
    (tmp_path / "scan.dcm").touch()
    with pytest.raises(DataError, match=r"there is only scan\.dcm"):
        discover(tmp_path)
    with pytest.raises(DataError, match="is a file"):
        discover(tmp_path / "scan.dcm")
    write_study(tmp_path / "PETCT_a" / "study")
    with pytest.raises(DataError, match=f"is a single patient. Name the folder above it: {tmp_path}"):
        discover(tmp_path / "PETCT_a")
    with pytest.raises(DataError, match=f"is a single study.*: {tmp_path}"):
        discover(tmp_path / "PETCT_a" / "study")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "is missing"),
        ("{", "cannot be read"),
        ("[]", "must name CT once and PET once"),
        ('{"channel_names": {"0": "CT", "1": "CT"}}', "must name CT once and PET once"),
        ('{"channel_names": {"0": "CT", "1": "PET"}, "file_ending": ".png"}', "'.png' is not read"),
        (
            '{"channel_names": {"0": "CT", "1": "PET"}, "labels": {"background": 0, "a": 1, "b": 2}}',
            "has one, a tumour of value 1",
        ),
    ],
)
def test_a_dataset_json_that_does_not_say_enough_is_refused(
    tmp_path: Path, content: str | None, complaint: str
) -> None:
    write_nnunet(tmp_path, ["a"])
    (tmp_path / "dataset.json").unlink()
    if content is not None:
        (tmp_path / "dataset.json").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=complaint):
        discover(tmp_path)


def test_the_dataset_json_of_nnunet_1_is_understood(tmp_path: Path) -> None:
    write_nnunet(tmp_path, ["a"])
    content = {"modality": {"0": "PET", "1": "CT"}, "labels": {"0": "background", "1": "tumor"}}
    (tmp_path / "dataset.json").write_text(json.dumps(content), encoding="utf-8-sig")
    assert only(discover(tmp_path)).images["CT"].name == "a_0001.nii.gz"
