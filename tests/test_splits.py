"""Splits: nobody is torn apart, everybody is tested once, and what was written stays."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.data.splits import (
    Splits,
    load_or_make_splits,
    make_splits,
    read_splits,
    splits_file,
    stored_splits,
)
from benchmark.vocabulary import CaseSummary, DataError


def one_each(volumes: Iterable[float]) -> list[CaseSummary]:
    """A case a patient: case c3 of patient p3 has the fourth volume."""
    return [CaseSummary(f"c{i}", f"p{i}", volume) for i, volume in enumerate(volumes)]


def written(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@st.composite
def data_sets(draw: st.DrawFn) -> list[CaseSummary]:
    patients = draw(st.integers(5, 24))
    studies = draw(st.lists(st.integers(1, 4), min_size=patients, max_size=patients))
    volume = st.one_of(st.just(0.0), st.floats(0.01, 900.0))
    return [
        CaseSummary(f"case {p} {s}", f"patient {p}", draw(volume))
        for p in range(patients)
        for s in range(studies[p])
    ]


@settings(max_examples=120, deadline=None)
@given(cases=data_sets(), n_folds=st.integers(2, 5), fraction=st.floats(0.05, 0.6), seed=st.integers(0, 99))
def test_every_case_is_tested_once_and_no_patient_is_in_two_parts(
    cases: list[CaseSummary], n_folds: int, fraction: float, seed: int
) -> None:
    splits = make_splits(cases, n_folds=n_folds, validation_fraction=fraction, seed=seed)
    patient = {case.case_id: case.patient for case in cases}
    assert len(splits.folds) == n_folds
    assert sorted(i for fold in splits.folds for i in fold.test) == sorted(patient)
    for fold in splits.folds:
        assert sorted(fold.train + fold.validation + fold.test) == sorted(patient)
        parts = [{patient[i] for i in ids} for ids in fold.parts().values()]
        assert all(parts)
        assert sum(len(part) for part in parts) == len(set(patient.values()))


@settings(max_examples=60, deadline=None)
@given(cases=data_sets(), seed=st.integers(0, 99))
def test_folds_differ_by_one_patient_at_most_in_each_stratum(cases: list[CaseSummary], seed: int) -> None:
    splits = make_splits(cases, n_folds=5, seed=seed)
    ill = {case.patient for case in cases if case.lesion_ml > 0}
    patient = {case.case_id: case.patient for case in cases}
    for stratum in (ill, set(patient.values()) - ill):
        sizes = [len({patient[i] for i in fold.test} & stratum) for fold in splits.folds]
        assert max(sizes) - min(sizes) <= 1


@settings(max_examples=60, deadline=None)
@given(cases=data_sets(), seed=st.integers(0, 99), shuffle=st.integers(0, 99))
def test_the_order_of_the_cases_does_not_matter(cases: list[CaseSummary], seed: int, shuffle: int) -> None:
    shuffled = list(cases)
    random.Random(shuffle).shuffle(shuffled)
    assert make_splits(shuffled, seed=seed) == make_splits(cases, seed=seed)


def test_each_fold_tests_one_patient_of_each_fifth_of_the_lesion_volumes() -> None:
    cases = one_each([*range(1, 21), *[0] * 10])
    for fold in make_splits(cases, n_folds=5, seed=3).folds:
        volumes = sorted(case.lesion_ml for case in cases if case.case_id in fold.test)
        # 1-5, 6-10, 11-15 and 16-20 ml: one of each, and two of the ten tumour-free.
        assert [math.ceil(volume / 5) for volume in volumes] == [0, 0, 1, 2, 3, 4]


def test_validation_takes_its_share_of_both_kinds_of_patients() -> None:
    """24 of 30 patients train: a fifth is 5, of which 16/24 (3) have lesions and 2 have none."""
    cases = one_each([*range(1, 21), *[0] * 10])
    ill = {case.case_id for case in cases if case.lesion_ml}
    for fold in make_splits(cases, validation_fraction=0.2).folds:
        assert len(fold.validation) == 5
        assert len(ill & set(fold.validation)) == 3


def test_the_volume_that_counts_is_the_patients_total() -> None:
    """Two studies of 6 ml outweigh one of 10 ml, so that the two largest are `twice` and `once`."""
    cases = [CaseSummary("a1", "twice", 6), CaseSummary("a2", "twice", 6), CaseSummary("b", "once", 10)]
    cases += [CaseSummary("c", "small", 7), CaseSummary("d", "tiny", 1)]
    for seed in range(5):
        first, second = (set(fold.test) for fold in make_splits(cases, n_folds=2, seed=seed).folds)
        assert ("b" in first) != ("a1" in first)
        assert ("c" in second) != ("d" in second)


def test_another_seed_draws_other_splits_and_the_same_seed_the_same() -> None:
    cases = one_each([*range(1, 21), *[0] * 10])
    drawn = [make_splits(cases, seed=seed).fingerprint for seed in (0, 0, 1, 2)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3


def test_what_is_drawn_is_the_same_on_every_machine() -> None:
    """A change of this number would silently redraw the splits of everybody who starts afresh."""
    assert make_splits(one_each([*range(1, 21), *[0] * 10])).fingerprint == "e108a74d5babc07f"


@pytest.mark.parametrize("healthy", range(7))
def test_six_patients_are_enough_for_five_folds(healthy: int) -> None:
    cases = one_each([0.0] * healthy + [5.0] * (6 - healthy))
    for fold in make_splits(cases, n_folds=5).folds:
        assert all(fold.parts().values())
        if healthy <= 3:  # Three patients with lesions: one may be tested, one trains, one validates.
            ill = {case.case_id for case in cases if case.lesion_ml}
            assert ill & set(fold.validation)
            assert ill & set(fold.train)


def test_too_few_patients_are_refused_with_their_number() -> None:
    with pytest.raises(DataError, match=r"5 folds need 5 patients.*there are 4 \(8 cases\)"):
        make_splits([CaseSummary(f"c{i}", f"p{i // 2}", 1.0) for i in range(8)])
    with pytest.raises(DataError, match="2 folds need 3 patients"):
        make_splits(one_each([1.0, 2.0]), n_folds=2)
    with pytest.raises(DataError, match="2 folds at least"):
        make_splits(one_each([1.0] * 6), n_folds=1)


def test_a_repeated_case_and_an_impossible_volume_are_refused() -> None:
    with pytest.raises(DataError, match="'c0'"):
        make_splits([*one_each([1.0] * 6), CaseSummary("c0", "p9", 1.0)])
    with pytest.raises(DataError, match="c2 has a lesion volume of nan"):
        make_splits(one_each([1.0, 1.0, math.nan, 1.0, 1.0]))


def test_nnunet_splits_are_tested_on_their_val_part(tmp_path: Path) -> None:
    cases = one_each([*range(1, 9), 0, 0])
    ids = [case.case_id for case in cases]
    file = written(
        tmp_path / "splits_final.json",
        [{"train": ids[2:], "val": ids[:2]}, {"train": ids[:8], "val": ids[8:]}],
    )
    splits = read_splits(file, cases, validation_fraction=0.25)
    assert [fold.test for fold in splits.folds] == [("c0", "c1"), ("c8", "c9")]
    for fold in splits.folds:
        assert len(fold.validation) == 2
        assert len(fold.train) == 6
        assert not set(fold.train) & set(fold.validation)
    # As nnU-Net sees them, the splits come back unchanged.
    back = [{"train": sorted(fold.train + fold.validation), "val": list(fold.test)} for fold in splits.folds]
    again = read_splits(written(tmp_path / "back.json", back), cases, validation_fraction=0.25)
    assert again.fingerprint == splits.fingerprint


def test_validation_is_carved_out_of_nnunet_splits_by_patient(tmp_path: Path) -> None:
    cases = [CaseSummary(f"c{i}", f"p{i // 2}", float(i)) for i in range(12)]
    file = written(tmp_path / "s.json", [{"train": [f"c{i}" for i in range(10)], "val": ["c10", "c11"]}])
    (fold,) = read_splits(file, cases, validation_fraction=0.4).folds
    assert len(fold.validation) == 4
    assert {int(i[1:]) // 2 for i in fold.validation}.isdisjoint(int(i[1:]) // 2 for i in fold.train)


def test_names_may_be_those_of_the_files(tmp_path: Path) -> None:
    cases = [CaseSummary(f"fdg_{i}_01-02-2003-NA-PET-CT_Ganz", f"fdg_{i}", 1.0) for i in range(3)]
    names = [case.case_id.replace("CT_G", "CT G") for case in cases]
    file = written(tmp_path / "s.json", [{"train": names[:2], "val": names[2:]}])
    assert read_splits(file, cases).folds[0].test == (cases[2].case_id,)


@pytest.mark.parametrize(
    ("folds", "complaint"),
    [
        ([{"train": ["a1", "b"], "val": ["a2"]}], r"patient A is on both sides: a1 in train and a2 in val"),
        (
            [
                {"train": ["a1", "a2"], "validation": ["b"], "test": ["c"]},
                {"train": ["b"], "validation": ["a1"], "test": ["a2"]},
            ],
            r"fold 1: patient A is on both sides: a1 in validation and a2 in test",
        ),
        ([{"train": ["a1", "a2", "b"], "val": ["cc"]}], r"no such case as 'cc'\. Did you mean 'c'"),
        ([{"train": ["a1", "a2", "b"], "val": []}], "no case is left in val"),
        ([{"train": ["a1", "a2", "b"], "val": ["b"]}], "more than once: 'b'"),
        ([{"train": ["a1", "a1", "b"], "val": ["c"]}], "more than once: 'a1'"),
        ([{"train": ["a1", "a2"], "val": ["c"]}], "training needs 2 patients"),
        ([{"train": ["a1"], "val": ["b"], "test": ["c"]}], "needs"),
        ([{"train": "a1", "val": ["b"]}], "must be a list"),
        ([["a1"]], "needs"),
        ([], "no folds"),
        ({"fold": 1}, "holds no splits"),
    ],
)
def test_splits_that_cannot_be_meant_are_refused(tmp_path: Path, folds: object, complaint: str) -> None:
    cases = [CaseSummary("a1", "A", 1.0), CaseSummary("a2", "A", 0.0)]
    cases += [CaseSummary("b", "B", 1.0), CaseSummary("c", "C", 1.0)]
    with pytest.raises(DataError, match=complaint):
        read_splits(written(tmp_path / "s.json", folds), cases)


def test_a_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text("[", encoding="utf-8")
    with pytest.raises(DataError, match="not JSON"):
        read_splits(tmp_path / "s.json", one_each([1.0] * 6))
    with pytest.raises(DataError, match="Cannot read"):
        read_splits(tmp_path / "missing.json", one_each([1.0] * 6))


def test_cases_that_were_left_out_on_purpose_are_not_unknown(tmp_path: Path) -> None:
    file = written(tmp_path / "s.json", [{"train": ["c0", "c1", "broken"], "val": ["c2"]}])
    (fold,) = read_splits(file, one_each([1.0] * 3), left_out=["broken"]).folds
    assert set(fold.train + fold.validation) == {"c0", "c1"}
    with pytest.raises(DataError, match="'broken'"):
        read_splits(file, one_each([1.0] * 3))


def test_our_own_format_can_be_handed_in(tmp_path: Path) -> None:
    cases = one_each([*range(9), 0])
    splits = make_splits(cases, seed=4)
    file = written(tmp_path / "own.json", splits.to_json())
    assert read_splits(file, cases).folds == splits.folds
    assert Splits.from_json(json.loads(file.read_text()), source="own.json") == splits


def test_splits_are_written_once_and_never_redrawn(tmp_path: Path) -> None:
    path = splits_file(tmp_path, n_folds=5)
    cases = one_each([*range(1, 10), 0.0])
    drawn = load_or_make_splits(path, cases)
    before = path.read_bytes()
    # Other volumes would be stratified otherwise, if they were drawn again.
    changed = [CaseSummary(c.case_id, c.patient, 10 - c.lesion_ml) for c in reversed(cases)]
    assert make_splits(changed) != drawn
    for _ in range(3):
        assert load_or_make_splits(path, changed) == drawn
    assert path.read_bytes() == before
    assert stored_splits(path, cases) == drawn


def test_cases_that_are_gone_are_dropped_and_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "splits.json"
    cases = one_each([*range(1, 15), *[0.0] * 6])
    drawn = load_or_make_splits(path, cases)
    before = path.read_bytes()
    gone = drawn.folds[0].test[0]
    fewer = load_or_make_splits(path, [case for case in cases if case.case_id != gone])
    assert fewer.folds[0].test == drawn.folds[0].test[1:]
    assert all(gone not in ids for fold in fewer.folds for ids in fold.parts().values())
    assert fewer.fingerprint != drawn.fingerprint
    assert path.read_bytes() == before
    kept = [case for case in cases if case.case_id not in drawn.folds[0].test]
    assert load_or_make_splits(path, kept).folds[0].test == ()


def test_new_cases_are_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "splits.json"
    load_or_make_splits(path, one_each([1.0] * 6))
    with pytest.raises(DataError, match=r"without 'c6'.*never redrawn.*--results"):
        load_or_make_splits(path, one_each([1.0] * 7))


def test_patients_that_were_renamed_into_one_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "splits.json"
    cases = one_each([1.0] * 6)
    load_or_make_splits(path, cases)
    with pytest.raises(DataError, match="patient same is on both sides"):
        load_or_make_splits(path, [CaseSummary(case.case_id, "same", 1.0) for case in cases])


def test_an_edited_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "splits.json"
    cases = one_each([1.0] * 10)
    load_or_make_splits(path, cases)
    content = json.loads(path.read_text())
    content["folds"][0]["train"].append(content["folds"][0]["test"].pop())
    written(path, content)
    with pytest.raises(DataError, match="was edited"):
        load_or_make_splits(path, cases)


def test_drawn_splits_and_users_splits_live_side_by_side(tmp_path: Path) -> None:
    cases = one_each([1.0] * 10)
    ids = [case.case_id for case in cases]
    user = written(tmp_path / "splits_final.json", [{"train": ids[:7], "val": ids[7:9]}])
    drawn_file = splits_file(tmp_path, n_folds=5)
    users_file = splits_file(tmp_path, n_folds=5, user_file=user)
    drawn = load_or_make_splits(drawn_file, cases)
    users = load_or_make_splits(users_file, cases, user_file=user)
    assert len(users.folds) == 1
    assert load_or_make_splits(drawn_file, cases) == drawn
    # c9 is in no part of the user's splits, which is the user's affair.
    assert load_or_make_splits(users_file, cases, user_file=user) == users

    written(user, [{"train": ids[:7], "val": ids[7:]}])
    assert splits_file(tmp_path, n_folds=5, user_file=user) != users_file
    for wrong in (users_file, drawn_file):
        with pytest.raises(DataError, match="holds other splits"):
            load_or_make_splits(wrong, cases, user_file=user)
    with pytest.raises(DataError, match="holds other splits"):
        load_or_make_splits(users_file, cases)
    with pytest.raises(DataError, match="than the 4 folds"):
        load_or_make_splits(drawn_file, cases, n_folds=4)
