"""From files to a store and splits: done once, noticed when stale or damaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from slow_tests import slow_after
from written_studies import write_study

from benchmark.data.readers.autopet import SPEC
from benchmark.data.store import Store
from benchmark.datasets.pipeline import ReadyData, foreseen_data, ready_data
from benchmark.vocabulary import DataError, Percentiles, ZScore


@pytest.fixture
def root(tmp_path: Path, tcia_root: Path) -> Path:
    copy = tmp_path / "data"
    shutil.copytree(tcia_root, copy)
    return copy


def ready(root: Path, results: Path, **settings: object) -> ReadyData:
    return ready_data("autopet", root, results=results, **settings)  # type: ignore[arg-type]


def test_a_second_call_prepares_nothing_and_gives_the_same_fingerprint(root: Path, tmp_path: Path) -> None:
    first = ready(root, tmp_path)
    second = ready(root, tmp_path)
    assert len(first.rebuilt) == 10
    assert second.rebuilt == {}
    assert (first.fingerprint, first.store, first.splits) == (second.fingerprint, second.store, second.splits)


def test_two_jobs_prepare_what_one_prepares(root: Path, tmp_path: Path) -> None:
    assert ready(root, tmp_path / "a").fingerprint == ready(root, tmp_path / "b", jobs=2).fingerprint
    arrays = [sorted((tmp_path / x / "stores").glob("*/cases/*/image.npy")) for x in "ab"]
    assert [p.read_bytes() for p in arrays[0]] == [p.read_bytes() for p in arrays[1]]


def test_a_changed_file_rebuilds_its_case_and_changes_the_fingerprint(root: Path, tmp_path: Path) -> None:
    before = ready(root, tmp_path)
    write_study(root / "PETCT_03" / "study", seed=99)
    after = ready(root, tmp_path)
    assert list(after.rebuilt) == ["PETCT_03_study"]
    assert "has changed" in next(iter(after.rebuilt.values()))
    assert after.fingerprint != before.fingerprint


def test_a_touched_but_equal_file_rebuilds_nothing(root: Path, tmp_path: Path) -> None:
    before = ready(root, tmp_path)
    suv = root / "PETCT_03" / "study" / "SUV.nii.gz"
    suv.write_bytes(suv.read_bytes())
    after = ready(root, tmp_path)
    assert (after.rebuilt, after.fingerprint) == ({}, before.fingerprint)


@pytest.mark.parametrize("name", slow_after(1, ["image.npy", "label.npy", "lesion.npy", "case.json"]))
def test_a_damaged_store_is_rebuilt_for_the_case_concerned(root: Path, tmp_path: Path, name: str) -> None:
    before = ready(root, tmp_path)
    damaged = before.store / "cases" / "PETCT_04_study" / name
    intact = damaged.read_bytes()
    damaged.write_bytes(intact[:-8] + b"\x01" * 8)
    after = ready(root, tmp_path)
    assert list(after.rebuilt) == ["PETCT_04_study"]
    assert after.fingerprint == before.fingerprint
    if name != "case.json":
        assert damaged.read_bytes() == intact


def test_other_library_versions_rebuild_the_store(root: Path, tmp_path: Path) -> None:
    before = ready(root, tmp_path)
    for path in before.store.glob("cases/*/case.json"):
        content = json.loads(path.read_text())
        content["identity"]["versions"]["scipy"] = "0.1"
        path.write_text(json.dumps(content))
    assert len(ready(root, tmp_path).rebuilt) == 10


def test_another_spacing_is_another_store(root: Path, tmp_path: Path) -> None:
    coarse = ready(root, tmp_path, preparation=SPEC.preparation_at((8.0, 8.0, 10.0)))
    fine = ready(root, tmp_path)
    assert coarse.store != fine.store
    case = Store(coarse.store).cases["PETCT_00_study"]
    assert case.geometry.grid_shape == (12, 11, 10)


def test_every_preparation_of_a_data_set_has_the_same_folds(root: Path, tmp_path: Path) -> None:
    usual = ready(root, tmp_path)
    # So coarse that small lesions fall between the voxels.
    coarse = ready(root, tmp_path, preparation=SPEC.preparation_at((40.0, 40.0, 50.0)))
    assert coarse.splits == usual.splits
    lesions = [{i: case.lesion_ml for i, case in Store(data.store).cases.items()} for data in (usual, coarse)]
    assert lesions[0] == lesions[1]


def test_a_run_s_data_are_named_by_the_grid_it_is_scored_on_too(root: Path, tmp_path: Path) -> None:
    usual = ready(root, tmp_path)
    wanted = SPEC.preparation_at((8.0, 8.0, 10.0))
    alone = ready(root, tmp_path, preparation=wanted)
    scored = ready(root, tmp_path, preparation=wanted, scored_on=usual.store)
    assert len({usual.fingerprint, alone.fingerprint, scored.fingerprint}) == 3
    assert scored.store == alone.store


def test_a_preparation_that_is_not_made_has_the_name_it_will_have(root: Path, tmp_path: Path) -> None:
    usual = ready(root, tmp_path)
    wanted = replace(SPEC.preparation_at(None), intensities={"CT": Percentiles(0.5, 99.5), "PET": ZScore()})
    foreseen = foreseen_data("autopet", root, results=tmp_path, preparation=wanted, scored_on=usual)
    assert not foreseen.store.exists()
    made = ready(root, tmp_path, preparation=wanted, scored_on=usual.store)
    assert (made.store, made.fingerprint) == (foreseen.store, foreseen.fingerprint)


def test_a_broken_case_is_refused_by_name_or_left_out_and_recorded(root: Path, tmp_path: Path) -> None:
    (root / "PETCT_05" / "study" / "CTres.nii.gz").unlink()
    with pytest.raises(DataError, match=r"(?s)PETCT_05_study.*1 of 10 cases.*--skip-bad-cases"):
        ready(root, tmp_path)
    data = ready(root, tmp_path, skip_bad_cases=True)
    assert data.excluded_cases == ("PETCT_05_study",)
    assert data.n_cases == 9
    assert "PETCT_05_study" not in Store(data.store).case_ids


def flip_a_bit(path: Path) -> None:
    """Damage in the middle of a gzip stream that leaves its length as it was."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(bytes(content))


def with_value(path: Path, value: float) -> None:
    image = nib.load(path)
    voxels = np.array(image.dataobj)
    voxels[4, 4, 4] = value
    nib.save(nib.Nifti1Image(voxels, image.affine), path)


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("SUV", flip_a_bit, "damaged"),
        ("SEG", lambda path: with_value(path, 255), "values \\[255\\]"),
        ("CTres", lambda path: with_value(path, np.nan), "NaN"),
    ],
)
def test_what_only_the_voxels_show_is_found_by_the_preparation(
    root: Path, tmp_path: Path, name: str, damage: Callable[[Path], None], message: str
) -> None:
    damage(root / "PETCT_05" / "study" / f"{name}.nii.gz")
    with pytest.raises(DataError, match=rf"(?s)PETCT_05_study: .*{message}.*1 of 10 cases.*--skip-bad-cases"):
        ready(root, tmp_path)
    assert ready(root, tmp_path, skip_bad_cases=True).excluded_cases == ("PETCT_05_study",)


def test_a_user_s_splits_are_used_and_change_the_fingerprint(root: Path, tmp_path: Path) -> None:
    drawn = ready(root, tmp_path)
    names = [f"PETCT_{i:02d}_study" for i in range(10)]
    mine = tmp_path / "splits_final.json"
    mine.write_text(json.dumps([{"train": names[:7], "val": names[7:]}]))
    data = ready(root, tmp_path, splits_file=mine)
    assert data.n_folds == 1
    assert data.fingerprint != drawn.fingerprint
    assert ready(root, tmp_path).fingerprint == drawn.fingerprint


def test_a_prediction_lies_on_the_original_image(root: Path, tmp_path: Path) -> None:
    """The reference, sent through the store and written as NIfTI, equals the label file, affine and all."""
    data = ready(root, tmp_path)
    for case_id in ("PETCT_00_study", "PETCT_01_study"):
        case = Store(data.store).cases[case_id]
        path = tmp_path / f"{case_id}.nii.gz"
        case.write_nifti(path, case.geometry.to_native(np.array(case.label())))
        written = nib.load(path)
        original = nib.load(case.files["label"])
        assert written.shape == original.shape
        np.testing.assert_allclose(written.affine, original.affine)
        np.testing.assert_array_equal(np.asarray(written.dataobj), np.asarray(original.dataobj))


@pytest.mark.real_data
def test_real_cases_are_prepared_and_none_is_refused(real_root: Path, tmp_path: Path) -> None:
    data = ready(real_root, tmp_path, preparation=SPEC.preparation_at((6.0, 6.0, 6.0)))
    assert data.excluded_cases == ()
    assert data.n_cases == 51
    assert all(case.has_lesion for case in Store(data.store).cases.values())
