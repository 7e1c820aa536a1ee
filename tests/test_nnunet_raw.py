"""nnU-Net's raw data sets: read as they come, and written from any data set without a loss."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from written_decathlon import AFFINE, SHAPE, head, save, write_decathlon, write_nnunet
from written_partly import write_partly_annotated
from written_studies import write_study

from benchmark.cli import main
from benchmark.data.bench_block import KEY, block_of, read_block
from benchmark.data.channels import is_plain_label, write_channels, write_label
from benchmark.data.check import check_cases
from benchmark.data.images import UnreadableError, open_volume, read_voxels
from benchmark.data.readers import msd, nnunet
from benchmark.data.splits import make_splits, read_splits
from benchmark.data.store import Store
from benchmark.datasets.convert import convert_to_nnunet, mended_labels
from benchmark.datasets.pipeline import ready_data
from benchmark.datasets.registry import dataset
from benchmark.vocabulary import (
    IGNORED,
    BenchError,
    Case,
    CaseSummary,
    DataError,
    DatasetSpec,
    Percentiles,
    Preparation,
    Region,
    Window,
    ZScore,
)

BRATS = {
    "channel_names": {"0": "T1", "1": "T1ce", "2": "T2", "3": "FLAIR"},
    "labels": {"background": 0, "whole_tumor": [1, 2, 3], "tumor_core": [2, 3], "enhancing_tumor": 3},
    "regions_class_order": [1, 2, 3],
    "file_ending": ".nii.gz",
}
HECKTOR = {
    "channel_names": {"0": "CT", "1": "PET"},
    "labels": {"background": 0, "GTVp": 1, "GTVn": 2, "other": 3},
}


# Reading.


def test_listed_labels_are_the_regions(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path / "Dataset137_BraTS2021", ["BraTS_1", "BraTS_0"], BRATS, test=["BraTS_9"])
    spec = nnunet.spec_of(root)
    assert spec.name == "BraTS2021"
    assert spec.modalities == ("T1", "T1ce", "T2", "FLAIR")
    assert spec.regions == (
        Region("whole tumor", (1, 2, 3)),
        Region("tumor core", (2, 3)),
        Region("enhancing tumor", (3,)),
    )
    assert spec.labels == {"label 1": 1, "label 2": 2, "enhancing tumor": 3}
    assert spec.preparation == Preparation(
        (1.0, 1.0, 1.0), dict.fromkeys(spec.modalities, ZScore(nonzero=True))
    )
    assert spec.branches is None
    cases = nnunet.discover(root)
    assert [(case.case_id, case.patient) for case in cases] == [("BraTS_0",) * 2, ("BraTS_1",) * 2]
    assert cases[0].images["FLAIR"] == root / "imagesTr" / "BraTS_0_0003.nii.gz"
    assert cases[0].label == root / "labelsTr" / "BraTS_0.nii.gz"
    (case,) = nnunet.unlabelled(root)
    assert (case.case_id, case.label) == ("BraTS_9", None)
    assert case.images["T1"] == root / "imagesTs" / "BraTS_9_0000.nii.gz"
    assert check_cases([*cases, case], spec, thorough=True) == []


def test_plain_labels_are_regions_and_so_is_their_union(tmp_path: Path) -> None:
    spec = nnunet.spec_of(write_nnunet(tmp_path / "hecktor", ["a"], HECKTOR))
    assert spec.name == "hecktor"
    assert spec.labels == {"GTVp": 1, "GTVn": 2, "other": 3}
    assert [region.name for region in spec.regions] == ["GTVp", "GTVn", "other", "foreground"]
    assert spec.regions[-1].labels == (1, 2, 3)
    assert spec.branches == (("CT",), ("PET",))


def test_pet_segments_whichever_channel_it_is(tmp_path: Path) -> None:
    content = {**HECKTOR, "channel_names": {"0": "SUV", "1": "ct"}}
    spec = nnunet.spec_of(write_nnunet(tmp_path, ["a"], content))
    assert spec.branches == (("ct",), ("SUV",))
    assert spec.preparation.intensities == {"SUV": Window(0, 15), "ct": Window(-100, 250)}


def test_a_channel_s_name_says_how_its_values_are_scaled(tmp_path: Path) -> None:
    names = ["CT", "PT", "noNorm", "rescale_to_0_1", "rgb_to_0_1", "MRI", "MRI"]
    content = {**HECKTOR, "channel_names": {str(k): name for k, name in enumerate(names)}}
    spec = nnunet.spec_of(write_nnunet(tmp_path, ["a"], content))
    assert spec.preparation.intensities == {
        "CT": Window(-100, 250),
        "PT": Window(0, 15),
        "noNorm": None,
        "rescale_to_0_1": Percentiles(0, 100),
        "rgb_to_0_1": Window(0, 255),
        "MRI 5": ZScore(nonzero=True),
        "MRI 6": ZScore(nonzero=True),
    }


def test_a_channel_without_normalisation_keeps_its_values(tmp_path: Path) -> None:
    """All numbers below 2048 are exact in the store's 16 bits."""
    content = {**HECKTOR, "channel_names": {"0": "noNorm"}}
    root = write_nnunet(tmp_path / "data", ["a", "b", "c"], content)
    data = ready_data("nnunet", root, results=tmp_path, n_folds=3)
    image, _ = head(0, 1)
    stored = Store(data.store).cases["a"].image()[0]
    np.testing.assert_array_equal(stored, image[::-1, ::-1, :, 0])


def test_nnunet_1_is_understood(tmp_path: Path) -> None:
    content = {
        "name": "Prostate158",
        "modality": {"0": "T2", "1": "ADC"},
        "labels": {"0": "background", "1": "PZ", "2": "TZ", "3": "tumor"},
        "training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}],
    }
    root = write_nnunet(tmp_path / "prostate", ["a"], content)
    spec = nnunet.spec_of(root)
    assert (spec.name, spec.modalities) == ("Prostate158", ("T2", "ADC"))
    assert spec.labels == {"PZ": 1, "TZ": 2, "tumor": 3}
    assert nnunet.discover(root)[0].images["ADC"] == root / "imagesTr" / "a_0001.nii.gz"
    renamed = root.rename(tmp_path / "Task024_Promise")
    assert nnunet.spec_of(renamed).name == "Promise"


def test_uncompressed_files_are_read_where_the_data_set_has_them(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path, ["a"], {**HECKTOR, "file_ending": ".nii"}, test=["b"])
    cases = [*nnunet.discover(root), *nnunet.unlabelled(root)]
    assert cases[0].images["CT"].name == "a_0000.nii"
    ct_and_pet_are_random = {"CT cannot be in HU", "PET cannot be SUV"}
    faults = check_cases(cases, nnunet.spec_of(root), thorough=True)
    assert {fault.problem.partition(":")[0] for fault in faults} <= ct_and_pet_are_random


def test_files_may_lie_where_dataset_json_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image, label = head(0, 2)
    for name, values in (("ct", image[..., 0]), ("pet", image[..., 1]), ("mask", label)):
        save(tmp_path / "elsewhere" / f"{name}.nii.gz", values)
    monkeypatch.setenv("SCANS", str(tmp_path / "elsewhere"))
    listed = {"x": {"images": ["../elsewhere/ct.nii.gz", "$SCANS/pet.nii.gz"], "label": "$SCANS/mask.nii.gz"}}
    root = tmp_path / "data"
    root.mkdir()
    (root / "dataset.json").write_text(json.dumps({**HECKTOR, "dataset": listed}))
    (case,) = nnunet.discover(root)
    assert case.images["PET"] == case.label.with_name("pet.nii.gz") == tmp_path / "elsewhere" / "pet.nii.gz"
    assert check_cases([case], nnunet.spec_of(root), thorough=False) == []
    listed["x"]["images"].pop()
    (root / "dataset.json").write_text(json.dumps({**HECKTOR, "dataset": listed}))
    with pytest.raises(DataError, match=r"'x' of \"dataset\" must name 2 \"images\""):
        nnunet.discover(root)


def test_the_block_says_what_nnunet_has_no_word_for(tmp_path: Path) -> None:
    block = {
        "patients": {"a": "p", "b": "p"},
        "regions": {"both": [1, 2]},
        "spacing_mm": [2, 2, 3],
        "crop_modality": "PET",
        "crop_above": 0.5,
        "intensities": {"CT": None, "PET": {"rule": "Percentiles", "low": 1, "high": 99}},
        "branches": [["CT", "PET"], ["PET"]],
    }
    root = write_nnunet(tmp_path, ["a", "b", "c"], {**HECKTOR, KEY: block})
    spec = nnunet.spec_of(root)
    assert [case.patient for case in nnunet.discover(root)] == ["p", "p", "c"]
    assert spec.regions == (Region("both", (1, 2)),)
    assert spec.preparation == Preparation(
        (2, 2, 3), {"CT": None, "PET": Percentiles(1, 99)}, crop_modality="PET", crop_above=0.5
    )
    assert spec.branches == (("CT", "PET"), ("PET",))


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        ({"spacing": [1, 1, 1]}, "no entry 'spacing'. Did you mean 'spacing_mm'"),
        ({"spacing_mm": [1, 0, 1]}, "longer than 0 mm"),
        ({"crop_modality": "MRI"}, "no modality 'MRI'"),
        ({"intensities": {"PET": {"rule": "Window", "low": 1}}}, "missing 1 required"),
        ({"intensities": {"PET": {"rule": "Histogram"}}}, "'Histogram'"),
        ({"regions": {"x": [7]}}, "no label has the value 7"),
        ({"branches": [["CT"]]}, "branches"),
        ([], "must be an object"),
    ],
)
def test_a_block_that_is_not_understood_is_refused(tmp_path: Path, block: Any, complaint: str) -> None:
    root = write_nnunet(tmp_path, ["a"], {**HECKTOR, KEY: block})
    with pytest.raises(DataError, match=complaint):
        nnunet.spec_of(root)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"labels": {"background": 0, "a": 2, "ignore": 1}}, "one value above all others, as in nnU-Net: 3"),
        ({"labels": {"background": 0, "a": 1, "b": 1}}, "two labels have the value 1"),
        ({"labels": {"background": 0, "a": "x"}}, "the value 'x'"),
        ({"channel_names": {"1": "CT"}}, "by number from 0"),
        ({"channel_names": {"0": "label"}}, "called 'label'"),
        ({"file_ending": ".png"}, "'.png' is not read here"),
    ],
)
def test_a_dataset_json_that_does_not_say_enough_is_refused(
    tmp_path: Path, change: Mapping[str, Any], complaint: str
) -> None:
    root = write_nnunet(tmp_path, ["a"], HECKTOR)
    (root / "dataset.json").write_text(json.dumps({**HECKTOR, **change}))
    with pytest.raises(DataError, match=complaint):
        nnunet.discover(root), nnunet.spec_of(root)


def test_what_is_no_raw_data_set_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="--data nnunet=DIR"):
        dataset("nnunet").spec_of(None)
    with pytest.raises(DataError, match="it is empty"):
        nnunet.discover(tmp_path)
    decathlon = write_decathlon(tmp_path / "Task01", ["a"])
    with pytest.raises(DataError, match=f"--data msd={decathlon}"):
        nnunet.discover(tmp_path)
    write_nnunet(tmp_path / "Dataset002_B", ["a"], HECKTOR)
    with pytest.raises(DataError, match=r"several data sets \(Dataset002_B, Task01\)"):
        nnunet.discover(tmp_path)


def test_splits_in_the_folder_are_the_data_set_s_own(tmp_path: Path) -> None:
    names = [f"case_{i}" for i in range(6)]
    root = write_nnunet(tmp_path / "data", names, BRATS)
    assert nnunet.own_splits(root) is None
    (root / "splits_final.json").write_text(json.dumps([{"train": names[:4], "val": names[4:]}]))
    data = ready_data("nnunet", root, results=tmp_path / "results")
    stored = json.loads(data.splits.read_text())
    assert (data.n_folds, stored["folds"][0]["test"]) == (1, names[4:])


# Writing.


def tcia(root: Path) -> Path:
    """Nine patients, the first with two studies, every third without a lesion."""
    for i in range(9):
        write_study(root / f"PETCT_{i}" / "study", seed=i, lesion=i % 3 != 2)
    write_study(root / "PETCT_0" / "again", seed=99)
    return root


def arrays(data: Any) -> dict[str, bytes]:
    return {
        f"{case_id}/{name}": (case.folder / f"{name}.npy").read_bytes()
        for case_id, case in Store(data.store).cases.items()
        for name in ("image", "label", "lesion")
    }


@pytest.mark.parametrize("copy", [False, True])
def test_a_converted_data_set_is_read_back_bit_for_bit(tmp_path: Path, copy: bool) -> None:
    root = tcia(tmp_path / "data")
    spec, cases = dataset("phantom").spec_of(root), dataset("phantom").discover(root)
    before = ready_data("phantom", root, results=tmp_path / "results")
    splits = make_splits([case.summary for case in Store(before.store).cases.values()])
    out = convert_to_nnunet(cases, spec, tmp_path / "raw", number=42, splits=splits, copy=copy)
    assert out == tmp_path / "raw" / "Dataset042_phantom"
    links = [path.is_symlink() for path in (out / "imagesTr").iterdir()]
    assert links == [not copy] * 20
    assert nnunet.spec_of(out) == spec
    again = nnunet.discover(out)
    assert [(case.case_id, case.patient) for case in again] == [
        (case.case_id, case.patient) for case in cases
    ]
    assert len({case.patient for case in again}) == 9
    after = ready_data("nnunet", out, results=tmp_path / "results")
    assert arrays(after) == arrays(before)
    assert json.loads(after.splits.read_text())["folds"] == splits.to_json()["folds"]
    assert after.n_folds == 5


def test_nnunet_s_own_file_gives_the_drawn_validation_part_too(tmp_path: Path) -> None:
    """What is carved out of `train` is drawn as it was: the suite's own form is needed for users' splits only."""
    root = tcia(tmp_path / "data")
    reader = dataset("phantom")
    cases = [CaseSummary(case.case_id, case.patient, 1.0) for case in reader.discover(root)]
    splits = make_splits(cases)
    out = convert_to_nnunet(
        reader.discover(root), reader.spec_of(root), tmp_path / "raw", number=1, splits=splits
    )
    assert read_splits(out / "splits_final.json", cases).folds == splits.folds
    assert nnunet.own_splits(out) == out / "splits_mirror_bench.json"
    final = json.loads((out / "splits_final.json").read_text())
    (out / "splits_final.json").write_text(json.dumps(final[:2]))
    assert nnunet.own_splits(out) == out / "splits_final.json", "an edited file counts"


def test_files_with_four_axes_are_split_and_the_unlabelled_go_to_the_test_folder(tmp_path: Path) -> None:
    root = write_decathlon(tmp_path / "data", [f"case{i}" for i in range(4)], test=["t"])
    cases = [*msd.discover(root), *msd.unlabelled(root)]
    before = ready_data("msd", root, results=tmp_path / "results", n_folds=3)
    out = convert_to_nnunet(cases, msd.SPEC, tmp_path / "raw", number=1)
    assert nnunet.spec_of(out) == msd.SPEC
    names = sorted(path.name for path in (out / "imagesTs").iterdir())
    assert names == [f"t_{k:04d}.nii.gz" for k in range(4)]
    image = nib.load(root / "imagesTr" / "case0.nii.gz")
    third = nib.load(out / "imagesTr" / "case0_0002.nii.gz")
    assert third.shape == SHAPE
    np.testing.assert_array_equal(third.affine, image.affine)
    np.testing.assert_array_equal(third.get_fdata(), image.get_fdata()[..., 2])
    after = ready_data("nnunet", out, results=tmp_path / "results", n_folds=3)
    assert arrays(after) == arrays(before)
    assert [case.label for case in nnunet.unlabelled(out)] == [None]


def test_a_second_conversion_keeps_what_is_whole_and_removes_what_is_gone(tmp_path: Path) -> None:
    root = write_decathlon(tmp_path / "data", ["a", "b"])
    cases, seen = msd.discover(root), []
    out = convert_to_nnunet(cases, msd.SPEC, tmp_path / "raw", number=1)
    before = {path.name: path.stat().st_mtime_ns for path in (out / "imagesTr").iterdir()}
    convert_to_nnunet(
        cases[:1],
        msd.SPEC,
        tmp_path / "raw",
        number=1,
        progress=lambda done, total: seen.append((done, total)),
    )
    after = {path.name: path.stat().st_mtime_ns for path in (out / "imagesTr").iterdir()}
    assert after == {name: time for name, time in before.items() if name.startswith("a")}
    assert seen == [(1, 1)]
    image, _ = head(7, 4)
    save(cases[0].images["FLAIR"], image)
    convert_to_nnunet(cases[:1], msd.SPEC, tmp_path / "raw", number=1)
    np.testing.assert_array_equal(nib.load(out / "imagesTr" / "a_0001.nii.gz").get_fdata(), image[..., 1])


def test_what_was_not_converted_here_is_never_written_to(tmp_path: Path) -> None:
    root = write_decathlon(tmp_path / "data", ["a"])
    other = write_nnunet(tmp_path / "raw" / "Dataset001_msd", ["z"], BRATS)
    with pytest.raises(BenchError, match=r"was not converted here\. Choose another number"):
        convert_to_nnunet(msd.discover(root), msd.SPEC, tmp_path / "raw", number=1)
    assert [case.case_id for case in nnunet.discover(other)] == ["z"]


def test_uncompressed_files_are_compressed(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path / "data", ["a"], {**BRATS, "file_ending": ".nii"})
    spec, cases = nnunet.spec_of(root), nnunet.discover(root)
    out = convert_to_nnunet(cases, spec, tmp_path / "raw", number=3)
    packed = out / "imagesTr" / "a_0003.nii.gz"
    assert gzip.decompress(packed.read_bytes()) == cases[0].images["FLAIR"].read_bytes()
    assert nnunet.spec_of(out) == spec


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [({"number": 0}, "from 1 to 999"), ({"splits": ["x"]}, "The splits name 'x'")],
)
def test_settings_that_cannot_work_are_refused(
    tmp_path: Path, settings: dict[str, Any], complaint: str
) -> None:
    root = write_decathlon(tmp_path / "data", ["a"])
    if "splits" in settings:
        settings = {"splits": make_splits([CaseSummary(name, name, 1.0) for name in "xyz"], n_folds=3)}
    with pytest.raises(BenchError, match=complaint):
        convert_to_nnunet(msd.discover(root), msd.SPEC, tmp_path / "raw", **{"number": 1, **settings})


def test_cases_that_cannot_be_converted_are_refused(tmp_path: Path) -> None:
    root = write_decathlon(tmp_path / "data", ["a"], test=["t"])
    (case,) = msd.discover(root)
    other = replace(msd.SPEC, labels={"edema": 1, "enhancing tumor": 4}, regions=(Region("tumour", (1, 4)),))

    def convert(case: Case, spec: DatasetSpec = msd.SPEC) -> Path:
        return convert_to_nnunet([case], spec, tmp_path / "raw", number=1)

    with pytest.raises(
        DataError, match=r"a: a\.nii\.gz holds the values \[2, 3\]; known are \[0, 1, 4\]\. Map"
    ):
        convert(case, other)
    with pytest.raises(DataError, match="no labelled case"):
        convert(*msd.unlabelled(root))
    with pytest.raises(DataError, match=r"a: .*gone\.nii\.gz is missing"):
        convert(replace(case, label=tmp_path / "gone.nii.gz"))
    with pytest.raises(DataError, match="two cases a, perhaps one with a label"):
        convert_to_nnunet([case, replace(case, label=None)], msd.SPEC, tmp_path / "raw", number=1)


# Labels that nnU-Net does not take as they are, and axes too many.


@pytest.mark.parametrize("copy", [False, True])
def test_gaps_are_closed_and_names_and_voxels_read_back_are_the_same(tmp_path: Path, copy: bool) -> None:
    """Labels 1, 2, 4 and `ignore` 5 become 1, 2, 3 and 4; what nobody annotated is 255 in both stores."""
    root = write_partly_annotated(tmp_path / "data", 3)
    spec, cases = nnunet.spec_of(root), nnunet.discover(root)
    out = convert_to_nnunet(cases, spec, tmp_path / "raw", number=7, copy=copy)
    content = json.loads((out / "dataset.json").read_text())
    assert content["labels"] == {"background": 0, "edema": 1, "core": 2, "enhancing": 3, "ignore": 4}
    record = json.loads((out / "conversion.json").read_text())
    assert record["labels"] == {"0": 0, "1": 1, "2": 2, "4": 3, "5": 4}
    again = nnunet.spec_of(out)
    assert (again.n_classes, again.ignore) == (4, 4)
    assert [(r.name, r.labels) for r in again.regions] == [
        ("edema", (1,)), ("core", (2,)), ("enhancing", (3,)), ("foreground", (1, 2, 3)),
    ]  # fmt: skip
    assert [f for f in check_cases(nnunet.discover(out), again, thorough=True) if f.is_fault] == []
    before = Store(ready_data("nnunet", root, results=tmp_path / "a", n_folds=3).store)
    after = Store(ready_data("nnunet", out, results=tmp_path / "b", n_folds=3).store)
    for case_id, case in before.cases.items():
        other, label = after.cases[case_id], np.array(case.label())
        assert {1, 2, 4, IGNORED} < set(np.unique(label).tolist())
        np.testing.assert_array_equal(other.label(), np.where(label == 4, 3, label))
        np.testing.assert_array_equal(other.image(), case.image())
        assert other.lesion_ml == case.lesion_ml


def test_a_renumbered_label_is_written_once(tmp_path: Path) -> None:
    root = write_partly_annotated(tmp_path / "data", 2)
    spec, cases, written = nnunet.spec_of(root), nnunet.discover(root), []
    for _ in range(2):
        out = convert_to_nnunet(cases, spec, tmp_path / "raw", number=7)
        written.append([path.stat().st_mtime_ns for path in sorted((out / "labelsTr").iterdir())])
    assert written[0] == written[1]
    # Other values, another file.
    convert_to_nnunet(
        cases, replace(spec, ignore=6, labels={**spec.labels, "new": 5}), tmp_path / "raw", number=7
    )
    label = np.asarray(nib.load(out / "labelsTr" / "case_00.nii.gz").dataobj)
    assert set(np.unique(label)) == {0, 1, 2, 3, 4}


WHOLE = [
    ("float32 of whole numbers", lambda label: label.astype(np.float32)),
    ("float64 beside whole numbers", lambda label: label * 0.99999997),
    ("as far as is allowed", lambda label: label + 9e-5),
    ("four axes", lambda label: label[..., None]),
    ("five axes of floats", lambda label: label[..., None, None].astype(np.float64)),
    ("two bytes", lambda label: label.astype(np.int16)),
]


@pytest.mark.parametrize(("name", "stored"), WHOLE, ids=[name for name, _ in WHOLE])
@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
def test_a_label_is_written_as_whole_numbers(tmp_path: Path, name: str, stored: Any, ending: str) -> None:
    _, label = head(0, 1)
    affine = np.diag([-1.0, -2.0, 3.0, 1.0])
    save(tmp_path / f"label{ending}", stored(label), affine)
    assert is_plain_label(tmp_path / f"label{ending}") == (name == "two bytes" and ending == ".nii.gz")
    write_label(tmp_path / f"label{ending}", tmp_path / "out.nii.gz", {0: 0, 1: 7, 2: 2, 3: 3})
    written = nib.load(tmp_path / "out.nii.gz")
    assert written.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(written.dataobj, np.where(label == 1, 7, label))
    np.testing.assert_array_equal(written.affine, affine)
    assert is_plain_label(tmp_path / "out.nii.gz")


def test_scaled_whole_numbers_are_rounded(tmp_path: Path) -> None:
    _, label = head(0, 1)
    image = nib.Nifti1Image(3 * label, np.eye(4))
    image.header.set_slope_inter(1 / 3, 0)
    nib.save(image, tmp_path / "label.nii.gz")
    assert np.unique(nib.load(tmp_path / "label.nii.gz").get_fdata()).tolist() != [0, 1, 2, 3]
    assert not is_plain_label(tmp_path / "label.nii.gz")
    write_label(tmp_path / "label.nii.gz", tmp_path / "label.nii.gz", {k: k for k in range(4)})
    np.testing.assert_array_equal(nib.load(tmp_path / "label.nii.gz").get_fdata(), label)


@pytest.mark.parametrize(
    ("stored", "complaint"),
    [
        (lambda label: label * 0.5, r"holds the values \[0.5, 1.5\]; known are \[0, 1, 2, 3\]"),
        (lambda label: label + 2e-4 * (label == 1), r"holds the values \[1.0002\]"),
        (lambda label: label - 1.0, r"holds the values \[-1\]"),
        (lambda label: label * 100.0, r"holds the values \[100, 200, 300\]"),
        (lambda label: np.where(label == 3, np.nan, label), r"holds the values \[nan\]"),
        (lambda label: label * 2, r"holds the values \[4, 6\]; known are \[0, 1, 2, 3\]"),
        (
            lambda label: np.stack([label] * 2, axis=-1),
            "has the shape 10 x 9 x 8 x 2, and a label three axes",
        ),
    ],
)
def test_a_label_of_other_values_is_refused(tmp_path: Path, stored: Any, complaint: str) -> None:
    _, label = head(0, 1)
    label[label == 1], label[0, 0, 0] = 2, 1
    save(tmp_path / "label.nii.gz", stored(label))
    with pytest.raises(UnreadableError, match=complaint):
        write_label(tmp_path / "label.nii.gz", tmp_path / "out.nii.gz", {k: k for k in range(4)})
    assert not (tmp_path / "out.nii.gz").exists()


def test_axes_of_one_and_floats_are_gone_after_a_conversion(tmp_path: Path) -> None:
    """An image with four axes of which the last is 1, and a label whose ones are 0.99999997."""
    root = write_nnunet(tmp_path / "data", ["a", "b"], HECKTOR)
    spec, cases = nnunet.spec_of(root), nnunet.discover(root)
    paths = cases[0].images["PET"], cases[0].label
    image, label = (np.asarray(nib.load(path).dataobj) for path in paths)
    save(paths[0], image[..., None])
    save(paths[1], label * 0.99999997)
    out = convert_to_nnunet(cases, spec, tmp_path / "raw", number=2)
    rewritten = {path.name for path in out.glob("*Tr/*") if not path.is_symlink()}
    assert rewritten == {"a_0001.nii.gz", "a.nii.gz"}
    for path, before in ((out / "imagesTr" / "a_0001.nii.gz", image), (out / "labelsTr" / "a.nii.gz", label)):
        np.testing.assert_array_equal(nib.load(path).dataobj, before)
        np.testing.assert_array_equal(nib.load(path).affine, AFFINE)
    assert nnunet.spec_of(out) == spec


def test_a_damaged_file_is_named_before_anything_is_written(tmp_path: Path) -> None:
    root = write_nnunet(tmp_path / "data", ["a"], HECKTOR)
    (case,) = nnunet.discover(root)
    case.images["PET"].write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a: a_0001\.nii\.gz .*Copy or download"):
        convert_to_nnunet([case], nnunet.spec_of(root), tmp_path / "raw", number=2)
    assert not (tmp_path / "raw" / "Dataset002_data").exists()


# Its parts.


def test_a_block_that_was_written_is_read_as_it_was() -> None:
    spec = replace(
        msd.SPEC,
        preparation=replace(
            msd.SPEC.preparation,
            spacing_mm=None,
            intensities={
                "FLAIR": None,
                "T1w": ZScore(),
                "T1Gd": Window(-0.1, 1e-7),
                "T2w": Percentiles(1, 99),
            },
            crop_modality=None,
        ),
        branches=None,
    )
    for one in (spec, msd.SPEC):
        content = json.loads(json.dumps({KEY: block_of(one, patients={"a": "p"})}))
        block = read_block(content, Path("dataset.json"), modalities=one.modalities, labels=one.labels)
        assert block == {
            "regions": one.regions,
            "spacing_mm": one.preparation.spacing_mm,
            "crop_modality": one.preparation.crop_modality,
            "crop_above": 0.0,
            "intensities": one.preparation.intensities,
            "branches": one.branches,
            "patients": {"a": "p"},
        }


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_a_channel_keeps_type_scaling_and_place(tmp_path: Path, kind: Any) -> None:
    """Big-endian integers with a slope, as some converters write them."""
    values = np.random.default_rng(0).integers(-999, 999, (3, 4, 5, 2)).astype(">i2")
    image = kind(values, np.diag([-1.5, 2.0, 3.0, 1.0]))
    image.header.set_slope_inter(0.5, 3)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"between header and voxels"))
    nib.save(image, tmp_path / "both.nii")
    write_channels(tmp_path / "both.nii", {1: tmp_path / "one.nii.gz"})
    both, one = open_volume(tmp_path / "both.nii"), open_volume(tmp_path / "one.nii.gz")
    assert (one.shape, one.dtype, one.slope, one.inter) == ((3, 4, 5), both.dtype, 0.5, 3.0)
    np.testing.assert_array_equal(one.affine, both.affine)
    np.testing.assert_array_equal(read_voxels(one), read_voxels(both)[..., 1])


# Voxels that nobody annotated.


def test_the_label_ignore_is_no_region_and_marks_voxels_that_count_for_nothing(tmp_path: Path) -> None:
    """Two of four labelled voxels of 1 ml each are `ignore`: 2 ml of lesion are left."""
    content = {"channel_names": {"0": "noNorm"}, "labels": {"background": 0, "tumor": 1, "ignore": 2}}
    root = write_nnunet(tmp_path / "data", ["a", "b", "c"], content)
    label = np.zeros(SHAPE, np.uint8)
    label[4, 4, 4:6], label[4, 4, 6:8] = 1, 2
    for name in "abc":
        save(root / "labelsTr" / f"{name}.nii.gz", label, np.diag([10.0, 10, 10, 1]))
        image = nib.load(root / "imagesTr" / f"{name}_0000.nii.gz")
        save(root / "imagesTr" / f"{name}_0000.nii.gz", np.asarray(image.dataobj), np.diag([10.0, 10, 10, 1]))
    spec = nnunet.spec_of(root)
    assert (spec.labels, spec.ignore, spec.n_classes) == ({"tumor": 1}, 2, 2)
    assert [region.name for region in spec.regions] == ["tumor"]
    assert check_cases(nnunet.discover(root), spec, thorough=True) == []
    data = ready_data("nnunet", root, results=tmp_path, n_folds=3)
    case = Store(data.store).cases["a"]
    assert case.label()[4, 4, 4:8].tolist() == [1, 1, IGNORED, IGNORED]
    assert case.native_label()[4, 4, 4:8].tolist() == [1, 1, IGNORED, IGNORED]
    assert case.lesion_voxels().tolist() == [[4, 4, 4], [4, 4, 5]]
    assert case.lesion_ml == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("options", "name"),
    [((), "Dataset501_STS-2024"), (("--data-name", "my sarcomas"), "Dataset501_my_sarcomas")],
)
def test_a_converted_data_set_has_the_name_of_its_data_not_of_its_reader(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], name: str
) -> None:
    root = tmp_path / "STS-2024"
    for number in range(2):
        write_study(root / f"PETCT_{number:02d}" / "study", seed=number)
    with pytest.raises(SystemExit) as end:
        main(["data", "convert", f"autopet={root}", "--out", str(tmp_path / "raw"), *options])
    assert end.value.code == 0, capsys.readouterr().err
    folder = tmp_path / "raw" / name
    assert capsys.readouterr().out.endswith(f"{folder}; use it with --data nnunet={folder}\n")
    assert nnunet.spec_of(folder).name != "autopet"


def test_a_configuration_that_nnunet_does_not_plan_is_named_with_those_it_does(tmp_path: Path) -> None:
    """Small images have no `3d_lowres`, flat ones nothing but `2d`."""
    from benchmark.nnunet.plan import Plan
    from benchmark.nnunet.preparing import _write_plans

    class Planner:
        plans_identifier = "nnUNetPlans"

        def __init__(self, *_: object, **__: object) -> None:
            pass

        def plan_experiment(self) -> None:
            content = {"configurations": {"2d": {}, "3d_fullres": {}}}
            (tmp_path / "nnUNetPlans.json").write_text(json.dumps(content))

    plan = replace(Plan(), configuration="3d_lowres")
    with pytest.raises(
        DataError, match=r"nnU-Net plans no 3d_lowres for these images, but only: 2d, 3d_fullres\."
    ):
        _write_plans(Planner, SimpleNamespace(name="D"), plan, tmp_path)  # type: ignore[arg-type]


def test_converting_says_which_labels_it_mended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One of floats, one with a scale factor, one as it should be: the check finds none of it in what was written."""
    root = write_nnunet(tmp_path / "data", ["a", "b", "c"], HECKTOR)
    cases = nnunet.discover(root)
    labels = [case.label for case in cases]
    voxels = [np.asarray(nib.load(path).dataobj) for path in labels]
    save(labels[0], voxels[0].astype(np.float32))
    scaled = nib.Nifti1Image(voxels[1].astype(np.int16) * 2, AFFINE)
    scaled.header.set_slope_inter(0.5, 0)
    nib.save(scaled, labels[1])
    before = check_cases(cases, nnunet.spec_of(root), thorough=True)
    assert {finding.case_id for finding in before if "label is stored" in finding.problem} == {"a", "b"}
    with pytest.raises(SystemExit) as ended:
        main(["data", "convert", f"nnunet={root}", "--out", str(tmp_path / "raw"), "--number", "3"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "2 labels rewritten as whole numbers of one byte" in said
    assert "stored as float32 or with a scale factor" in said
    (out,) = (tmp_path / "raw").glob("Dataset003_*")
    assert mended_labels(out) == {
        "labelsTr/a.nii.gz": "as float32",
        "labelsTr/b.nii.gz": "with a scale factor",
    }
    after = check_cases(nnunet.discover(out), nnunet.spec_of(out), thorough=True)
    assert not [finding for finding in after if "label" in finding.problem]
    for case, expected in zip(nnunet.discover(out), voxels, strict=True):
        np.testing.assert_array_equal(nib.load(case.label).get_fdata(), expected)
