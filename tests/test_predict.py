"""Masks of unlabelled cases on their original grids."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import external_method
import nibabel as nib
import numpy as np
import pytest
import threshold_methods
import torch
from finished import finished
from written_decathlon import write_decathlon
from written_studies import write_study

from benchmark.finished import predicting
from benchmark.finished.predicting import cases_to_predict, mask_name, predict_masks
from benchmark.finished.reopened import ReopenedRun
from benchmark.protocols import Case, ExternalJob
from benchmark.registry import METHOD_FILES
from benchmark.vocabulary import BenchError, DataError


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Studies of 4 x 4 x 5 mm whose axes are permuted and flipped, and turned by 10 degrees in their last plane."""
    root = tmp_path_factory.mktemp("turned")
    turn = np.eye(4)
    angle = np.radians(10)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    for i in range(10):
        folder = root / f"PETCT_{i:02d}" / "study"
        write_study(folder, seed=i, lesion=i % 3 != 2)
        for path in folder.glob("*.nii.gz"):
            image = nib.as_closest_canonical(nib.load(path)).as_reoriented(
                np.array([[2, -1], [0, 1], [1, -1]])
            )
            nib.save(nib.Nifti1Image(np.asarray(image.dataobj), turn @ image.affine), path)
    return root


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(METHOD_FILES, json.dumps([threshold_methods.__file__, external_method.__file__]))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def hot(root: Path, tmp_path: Path) -> ReopenedRun:
    return finished(root, tmp_path / "results", "threshold_methods", {"seg": 1.0}, variant="hot")


def unlabelled(run: ReopenedRun) -> list[Case]:
    return [replace(case.original(), label=None) for case in run.data.test]


def test_an_unlabelled_case_gets_the_mask_that_the_same_images_get_with_a_label(
    hot: ReopenedRun, tmp_path: Path
) -> None:
    masks = predict_masks(hot, unlabelled(hot), tmp_path / "masks")
    assert masks.written == 2
    expected = dict(hot.predicted(hot.data.test))
    for case, path in zip(hot.data.test, masks.files, strict=True):
        mask, image = nib.load(path), nib.load(case.files["PET"])
        assert mask.get_data_dtype() == np.uint8
        assert mask.shape == image.shape
        np.testing.assert_array_equal(mask.affine, image.affine)
        np.testing.assert_array_equal(np.asarray(mask.dataobj), expected[case.case_id][""].on_native())
        # Its lesion is 8 SUV, all else below 1.2, and voxels stay voxels at 4 x 4 x 5 mm.
        np.testing.assert_array_equal(np.asarray(mask.dataobj), np.asarray(image.dataobj) > 4.5)


def test_what_is_there_is_kept_and_another_run_s_folder_is_refused(hot: ReopenedRun, tmp_path: Path) -> None:
    out, told = tmp_path / "masks", []
    cases = unlabelled(hot)
    predict_masks(hot, cases[:1], out)
    kept = out / f"{cases[0].case_id}.nii.gz"
    kept.write_bytes(b"kept")
    masks = predict_masks(hot, cases, out, progress=lambda done, total: told.append((done, total)))
    assert (len(masks.files), masks.written, kept.read_bytes()) == (2, 1, b"kept")
    assert told == [(1, 2), (2, 2)]
    assert predict_masks(hot, cases, out, again=True).written == 2
    assert kept.read_bytes() != b"kept"
    (out / predicting.NOTE).write_text(json.dumps({"run": "another", "reading": ""}))
    with pytest.raises(BenchError, match="holds masks of run another"):
        predict_masks(hot, cases, out)


def test_no_prepared_copy_of_a_case_is_left_behind_or_two_at_a_time(
    hot: ReopenedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    folders = tmp_path / "temporary"
    folders.mkdir()
    monkeypatch.setattr(predicting.tempfile, "tempdir", str(folders))
    predict_masks(
        hot,
        unlabelled(hot),
        tmp_path / "masks",
        progress=lambda *_: seen.append(len(list(folders.iterdir()))),
    )
    assert max(seen) <= 1
    assert list(folders.iterdir()) == []


def test_a_method_that_predicts_from_files_goes_on_where_it_was_stopped(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished(root, tmp_path / "results", "external_method", {})
    out = tmp_path / "masks"

    def stops(self: Any, job: ExternalJob, cases: list[Case], folder: Path) -> float:
        """Copies the PET's bright voxels; stops after the first case that is missing."""
        folder.mkdir(parents=True, exist_ok=True)
        for number, case in enumerate(cases):
            assert case.label is None
            path = folder / f"{case.case_id}.nii.gz"
            if path.exists():
                continue
            pet = nib.load(case.images["PET"])
            nib.save(nib.Nifti1Image((np.asarray(pet.dataobj) > 4.5).astype(np.int16), pet.affine), path)
            job.tell("evaluate", number + 1, len(cases))
            if number == 0:
                raise InterruptedError
        return 1.0

    monkeypatch.setattr(type(run.method), "predict", stops)
    with pytest.raises(InterruptedError):
        predict_masks(run, unlabelled(run), out)
    assert not list(out.glob("*.nii.gz"))
    told: list[tuple[int, int]] = []
    masks = predict_masks(run, unlabelled(run), out, progress=lambda *now: told.append(now))
    assert told == [(0, 2), (2, 2), (1, 2), (2, 2)]
    for case, path in zip(run.data.test, masks.files, strict=True):
        image, mask = nib.load(case.files["PET"]), nib.load(path)
        assert mask.get_data_dtype() == np.uint8
        np.testing.assert_array_equal(mask.affine, image.affine)
        np.testing.assert_array_equal(np.asarray(mask.dataobj), np.asarray(image.dataobj) > 4.5)
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [predicting.NOTE, *(p.name for p in masks.files)]
    )


def test_a_mask_of_another_size_than_the_image_is_refused(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished(root, tmp_path / "results", "external_method", {})

    def small(self: Any, job: ExternalJob, cases: list[Case], folder: Path) -> float:
        folder.mkdir(parents=True, exist_ok=True)
        for case in cases:
            nib.save(
                nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)), folder / f"{case.case_id}.nii.gz"
            )
        return 1.0

    monkeypatch.setattr(type(run.method), "predict", small)
    with pytest.raises(DataError, match="wrote a mask of 2 x 2 x 2 voxels"):
        predict_masks(run, unlabelled(run), tmp_path / "masks")


def test_masks_are_named_as_challenges_want_them(tmp_path: Path) -> None:
    four = dict.fromkeys(("FLAIR", "T1w"), tmp_path / "BRATS_485.nii.gz")
    msd = Case("BRATS_485", "BRATS_485", four, None, channels={"FLAIR": 0, "T1w": 1})
    assert mask_name(msd) == "BRATS_485.nii.gz"
    raw = Case("liver_001", "p", {"CT": tmp_path / "liver_001_0000.nii.gz"}, None)
    assert mask_name(raw) == "liver_001.nii.gz"


def test_cases_are_the_unlabelled_ones_or_those_that_are_named(hot: ReopenedRun) -> None:
    with pytest.raises(BenchError, match="no unlabelled case"):
        cases_to_predict(hot)
    (chosen,) = cases_to_predict(hot, wanted=["PETCT_03_study"])
    assert chosen.case_id == "PETCT_03_study"
    with pytest.raises(BenchError, match="Did you mean 'PETCT_03_study'"):
        cases_to_predict(hot, wanted=["PETCT_03_studi"])


@pytest.mark.slow
def test_a_decathlon_case_without_a_label_gets_the_mask_of_its_labelled_twin_under_its_own_name(
    tmp_path: Path,
) -> None:
    root = write_decathlon(tmp_path / "task", [f"BRATS_{i:03d}" for i in range(10)])
    weights = {"rec_ct": 1e-4, "rec_pet": 1e-4, "seg": 0.5}
    arguments = {"version": "v2", "branches": ["FLAIR", "T1Gd"], "channels": [2, 4, 4, 4, 4]}
    run = finished(
        root, tmp_path / "results", "mirror_unet", weights, name="msd", training={"steps": 12}, **arguments
    )
    twin = run.data.test[0]
    (root / "imagesTs").mkdir()
    shutil.copy(root / "imagesTr" / f"{twin.case_id}.nii.gz", root / "imagesTs" / "BRATS_485.nii.gz")
    masks = predict_masks(run, cases_to_predict(run), tmp_path / "masks")
    assert [path.name for path in masks.files] == ["BRATS_485.nii.gz"]
    mask = np.asarray(nib.load(masks.files[0]).dataobj)
    assert mask.ndim == 3
    assert set(np.unique(mask)) <= {0, 1, 2, 3}
    np.testing.assert_array_equal(mask, next(run.predicted([twin]))[1][""].on_native())
    # Another folder of the same kind is as good; one with other modalities is refused.
    other = write_decathlon(tmp_path / "other", ["BRATS_000"], test=["BRATS_600"])
    (case,) = cases_to_predict(run, data=("msd", other))
    assert mask_name(case) == "BRATS_600.nii.gz"
    liver = {"name": "Liver", "modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver"}}
    write_decathlon(tmp_path / "liver", ["liver_0"], content=liver)
    with pytest.raises(BenchError, match="has the modalities CT"):
        cases_to_predict(run, data=("msd", tmp_path / "liver"))


def test_a_reading_that_there_is_not_is_refused(hot: ReopenedRun, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no reading 'union'"):
        predict_masks(hot, unlabelled(hot), tmp_path / "masks", reading="union")


@pytest.mark.parametrize("reader", ["autopet", "nnunet"])
def test_a_folder_of_images_alone_is_predicted_under_the_images_own_names(
    hot: ReopenedRun, root: Path, tmp_path: Path, reader: str
) -> None:
    """`dataset.json` and `imagesTs`, nothing else; a name with a blank and an umlaut."""
    new, name = tmp_path / "new", "fdg_T 2_Müller"
    (new / "imagesTs").mkdir(parents=True)
    for channel, file in enumerate(("CTres", "SUV")):
        shutil.copy(
            root / "PETCT_00" / "study" / f"{file}.nii.gz", new / "imagesTs" / f"{name}_000{channel}.nii.gz"
        )
    described = {"channel_names": {"0": "CT", "1": "PET"}, "labels": {"background": 0, "tumor": 1}}
    (new / "dataset.json").write_text(json.dumps(described))
    (case,) = cases_to_predict(hot, data=(reader, new))
    (path,) = predict_masks(hot, [case], tmp_path / "masks").files
    assert path.name == f"{name}.nii.gz"
    image = nib.load(root / "PETCT_00" / "study" / "SUV.nii.gz")
    np.testing.assert_array_equal(np.asarray(nib.load(path).dataobj), np.asarray(image.dataobj) > 4.5)
