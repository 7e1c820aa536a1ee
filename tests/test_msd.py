"""The decathlon's layout: BrainTumour as published, other tasks, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from written_decathlon import AFFINE, BRAIN, head, save, write_decathlon

from benchmark.data import store
from benchmark.data.check import check_cases
from benchmark.data.prepare import prepare_case
from benchmark.data.readers.msd import SPEC, discover, spec_of, unlabelled
from benchmark.data.store import Store, read_case, store_case
from benchmark.datasets.pipeline import ready_data
from benchmark.datasets.registry import dataset
from benchmark.vocabulary import DataError, Region, Window, ZScore

PROSTATE = {
    "name": "PROSTATE",
    "modality": {"0": "T2", "1": "ADC"},
    "labels": {"0": "background", "1": "PZ", "2": "TZ"},
}
SPLEEN = {"name": "Spleen", "modality": {"0": "CT"}, "labels": {"0": "background", "1": "spleen"}}


def test_brain_tumour_is_recognised_by_its_own_dataset_json(tmp_path: Path) -> None:
    root = write_decathlon(tmp_path, ["BRATS_002", "BRATS_001"])
    assert spec_of(root) == SPEC == dataset("msd").spec_of(None)
    cases = discover(root)
    assert [case.case_id for case in cases] == ["BRATS_001", "BRATS_002"]
    assert [case.patient for case in cases] == ["BRATS_001", "BRATS_002"]
    assert set(cases[0].images.values()) == {root / "imagesTr" / "BRATS_001.nii.gz"}
    assert list(cases[0].images) == list(SPEC.modalities)
    assert cases[0].label == root / "labelsTr" / "BRATS_001.nii.gz"
    assert cases[0].channels == {"FLAIR": 0, "T1w": 1, "T1Gd": 2, "T2w": 3}
    assert check_cases(cases, SPEC, thorough=True) == []


def test_the_regions_of_brain_tumour_are_unions_of_its_labels() -> None:
    values = SPEC.labels
    core = (values["non-enhancing tumor"], values["enhancing tumor"])
    assert {region.name: region.labels for region in SPEC.regions} == {
        "whole tumor": (1, 2, 3),
        "edema": (values["edema"],),
        "tumor core": core,
        "enhancing tumor": (values["enhancing tumor"],),
    }


def test_the_contrasts_are_found_in_any_order_and_spelling(tmp_path: Path) -> None:
    content = {
        **BRAIN,
        "modality": {"0": "T2", "1": "T1", "2": "flair", "3": "T1ce"},
        "labels": {
            "background": 0,
            "Oedema": 1,
            "non_enhancing_tumour": 2,
            "Enhancing Tumor": 3,
        },
    }
    root = write_decathlon(tmp_path, ["a"], content=content)
    assert spec_of(root) == SPEC
    (case,) = discover(root)
    assert case.channels == {"FLAIR": 2, "T1w": 1, "T1Gd": 3, "T2w": 0}
    image, _ = head(0, 4)
    prepared = prepare_case(case, SPEC, SPEC.preparation)
    volume = nib.as_closest_canonical(nib.Nifti1Image(image, AFFINE)).get_fdata()[..., 3]
    box = prepared.geometry.crop
    inside = volume[box][volume[box] != 0]
    expected = np.where(volume[box] != 0, (volume[box] - inside.mean()) / inside.std(), 0)
    np.testing.assert_allclose(prepared.image[2], expected, atol=2e-3)


def test_other_labels_make_it_another_task(tmp_path: Path) -> None:
    content = {**BRAIN, "labels": {**BRAIN["labels"], "1": "enhancing tumour", "3": "edema"}}
    assert spec_of(write_decathlon(tmp_path, ["a"], content=content)).labels["edema"] == 3


def test_another_task_is_what_its_dataset_json_says(tmp_path: Path) -> None:
    """Spacing: the median of 1, 2 and 4 mm left to right; the third file's axes run back to front first."""
    root = write_decathlon(tmp_path, ["a", "b", "c"], content=PROSTATE)
    _, label = head(1, 1)
    save(root / "labelsTr" / "b.nii.gz", label, np.diag([2.0, 1.0, 3.0, 1.0]))
    turned = np.array([[0, 4.0, 0, 0], [1.0, 0, 0, 0], [0, 0, 3.0, 0], [0, 0, 0, 1]])
    save(root / "labelsTr" / "c.nii.gz", label, turned)
    spec = spec_of(root)
    assert (spec.name, spec.modalities) == ("PROSTATE", ("T2", "ADC"))
    assert spec.labels == {"PZ": 1, "TZ": 2}
    assert spec.regions == (Region("PZ", (1,)), Region("TZ", (2,)), Region("foreground", (1, 2)))
    assert spec.preparation.spacing_mm == (2.0, 1.0, 3.0)
    assert spec.preparation.intensities == dict.fromkeys(("T2", "ADC"), ZScore(nonzero=True))
    assert spec.branches == (("T2",), ("ADC",))
    assert discover(root)[0].channels == {"T2": 0, "ADC": 1}


def test_a_task_with_one_modality_has_files_of_three_axes(tmp_path: Path) -> None:
    root = write_decathlon(tmp_path, ["a"], content=SPLEEN)
    spec, (case,) = spec_of(root), discover(root)
    assert spec.regions == (Region("spleen", (1,)),)
    assert spec.preparation.intensities == {"CT": Window(-100, 250)}
    assert (spec.branches, case.channels) == (None, {})
    assert check_cases([case], spec, thorough=False) == []


def test_the_folder_that_the_archive_unpacks_to_is_found(tmp_path: Path) -> None:
    write_decathlon(tmp_path / "Task01_BrainTumour", ["a"])
    (tmp_path / "._Task01_BrainTumour").touch()
    assert [case.case_id for case in discover(tmp_path)] == ["a"]
    shutil.copytree(tmp_path / "Task01_BrainTumour", tmp_path / "copy")
    with pytest.raises(DataError, match=r"several data sets \(Task01_BrainTumour, copy\)"):
        discover(tmp_path)


def test_a_listed_case_whose_files_are_missing_is_reported_and_not_forgotten(tmp_path: Path) -> None:
    root = write_decathlon(tmp_path, ["a", "b"])
    (root / "imagesTr" / "b.nii.gz").unlink()
    (fault,) = check_cases(discover(root), SPEC, thorough=False)
    assert (fault.case_id, fault.problem) == ("b", "b.nii.gz is missing")
    assert fault.files == (root / "imagesTr" / "b.nii.gz",)


def test_the_images_without_labels_are_prepared_for_prediction(tmp_path: Path) -> None:
    """An unlabelled copy of a labelled case has the same image and geometry."""
    root = write_decathlon(tmp_path / "data", ["a"], test=["t2", "t1"])
    shutil.copy(root / "imagesTr" / "a.nii.gz", root / "imagesTs" / "t1.nii.gz")
    cases = unlabelled(root)
    assert [(case.case_id, case.label) for case in cases] == [("t1", None), ("t2", None)]
    assert check_cases(cases, SPEC, thorough=True) == []
    folder = tmp_path / "t1"
    store_case(cases[0], folder, spec=SPEC, preparation=SPEC.preparation)
    stored, labelled = read_case(folder), prepare_case(discover(root)[0], SPEC, SPEC.preparation)
    assert stored.image().tobytes() == labelled.image.tobytes()
    assert stored.geometry == labelled.geometry
    assert stored.lesion_voxels().shape == (0, 3)
    assert not (folder / "label.npy").exists()
    assert not stored.has_lesion
    with pytest.raises(DataError, match="Nobody has labelled t1"):
        stored.label()
    again = stored.original()
    assert (again.images, again.label, again.channels) == (cases[0].images, None, cases[0].channels)


def test_the_whole_way_to_a_store_and_back(tmp_path: Path) -> None:
    root = write_decathlon(tmp_path / "data", [f"case{i}" for i in range(5)])
    data = ready_data("msd", root, results=tmp_path / "results", n_folds=3)
    stored = Store(data.store).cases["case3"]
    original = discover(root)[3]
    assert stored.original().channels == original.channels
    assert stored.original().images == original.images
    np.testing.assert_array_equal(stored.geometry.to_native(np.array(stored.label())), stored.native_label())
    assert ready_data("msd", root, results=tmp_path / "results", n_folds=3).rebuilt == {}


def test_a_file_that_modalities_share_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (case,) = discover(write_decathlon(tmp_path / "data", ["a"]))
    hashed: list[Path] = []
    real = store._file_hash
    monkeypatch.setattr(store, "_file_hash", lambda path: hashed.append(path) or real(path))
    store_case(case, tmp_path / "store", spec=SPEC, preparation=SPEC.preparation)
    assert hashed.count(case.images["FLAIR"]) == 1


def test_another_order_of_contrasts_is_prepared_again(tmp_path: Path) -> None:
    """The files are the same; only `dataset.json` was corrected."""
    root = write_decathlon(tmp_path / "data", [f"case{i}" for i in range(5)])
    before = ready_data("msd", root, results=tmp_path / "results", n_folds=3)
    content = json.loads((root / "dataset.json").read_text())
    content["modality"] |= {"0": "T2w", "3": "FLAIR"}
    (root / "dataset.json").write_text(json.dumps(content))
    after = ready_data("msd", root, results=tmp_path / "results", n_folds=3)
    assert len(after.rebuilt) == 5
    assert after.fingerprint != before.fingerprint


def test_a_folder_that_is_no_decathlon_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not exist.*dataset\.json"):
        discover(tmp_path / "missing")
    with pytest.raises(DataError, match=r"looked for dataset\.json.*it is empty"):
        discover(tmp_path)
    (tmp_path / "imagesTr").mkdir()
    with pytest.raises(DataError, match=r"dataset\.json is missing; it says what is in the images"):
        discover(tmp_path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"modality": {}}, "its channels are {}"),
        ({"modality": {"0": "T1w", "2": "T2w"}}, "by number from 0"),
        ({"labels": {"0": "background"}}, "names no labels"),
        ({"labels": {"0": "background", "300": "a"}}, "whole numbers from 1 to 254"),
        ({"training": []}, r"\"training\" is \[\]"),
        ({"training": ["./imagesTr/a.nii.gz"]}, 'must name an "image" and a "label"'),
    ],
)
def test_a_dataset_json_that_does_not_say_enough_is_refused(
    tmp_path: Path, change: dict[str, Any], complaint: str
) -> None:
    root = write_decathlon(tmp_path, ["a"], content=PROSTATE)
    content = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(json.dumps({**content, **change}))
    with pytest.raises(DataError, match=complaint):
        spec_of(root), discover(root)


def test_nnunet_s_raw_data_are_sent_to_their_own_reader(tmp_path: Path) -> None:
    root = write_decathlon(tmp_path, ["a"])
    (root / "imagesTr" / "a.nii.gz").rename(root / "imagesTr" / "a_0000.nii.gz")
    with pytest.raises(DataError, match=f"--data nnunet={root}"):
        discover(root)
