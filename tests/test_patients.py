"""Whose a case is: rules that are said, statements that are checked, and no patient on two sides of a fold."""

from __future__ import annotations

import itertools
import json
import string
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from written_decathlon import BRAIN, write_decathlon, write_nnunet
from written_studies import write_study

from benchmark.data.facts import patient_findings
from benchmark.data.patients import alike_patients, patients_words, shared_beginnings
from benchmark.data.readers import autopet, msd, nnunet
from benchmark.data.splits import Fold, Splits, load_or_make_splits, make_splits, read_splits
from benchmark.datasets.pipeline import ready_data
from benchmark.datasets.torn import known_patients, torn_patients, torn_words
from benchmark.files.writing import write_json
from benchmark.vocabulary import BenchError, Case, CaseSummary, DataError

PET_CT = {"channel_names": {"0": "CT", "1": "PET"}, "labels": {"background": 0, "tumor": 1}}


def touched(root: Path, names: list[str], content: dict[str, object], *, channels: int = 2) -> Path:
    """A raw data set of empty files: who reads names needs no more."""
    for name in names:
        for file in (*(f"imagesTr/{name}_{k:04d}" for k in range(channels)), f"labelsTr/{name}"):
            path = root / f"{file}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    (root / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    return root


def patients(cases: list[Case]) -> dict[str, str]:
    return {case.name: case.patient for case in cases}


@pytest.mark.parametrize("reader", [autopet, nnunet])
def test_two_studies_of_a_patient_in_the_names_of_nnunet_s_own_conversion_are_one_patient_s(
    tmp_path: Path, reader: object
) -> None:
    names = [f"PETCT_{i:02d}f3deaf_{study}" for i in range(6) for study in ("03-23-2003-NA", "11-07-2002-NA")]
    root = touched(tmp_path, names, PET_CT)
    cases = reader.discover(root)  # type: ignore[attr-defined]
    assert patients(cases) == {name: name[:14] for name in names}
    assert {case.patient_rule for case in cases} == {"names PETCT_<id>_<study> of AutoPET"}
    assert patients_words(cases) == "12 cases of 6 patients, told by names PETCT_<id>_<study> of AutoPET"
    for fold in make_splits([CaseSummary(c.case_id, c.patient, 1.0) for c in cases]).folds:
        assert torn_patients(fold, {c.case_id: c.name[:14] for c in cases}) == []


def test_times_of_a_brats_patient_are_one_patient_s(tmp_path: Path) -> None:
    root = touched(tmp_path, ["BraTS-GLI-00000-000", "BraTS-GLI-00000-001", "BraTS-GLI-00002-000"], PET_CT)
    assert set(patients(nnunet.discover(root)).values()) == {"BraTS-GLI-00000", "BraTS-GLI-00002"}


@pytest.mark.parametrize("keys", [["p_1_a", "p_1_b"], ["p 1_a", "p 1_b"], ["p 1_a", "p_1_b"]])
@pytest.mark.parametrize("reader", [autopet, nnunet])
def test_a_statement_about_patients_names_cases_by_their_names_or_ids(
    tmp_path: Path, keys: list[str], reader: object
) -> None:
    """`p 1_a` is the file, `p_1_a` the id that is printed."""
    content = PET_CT | {"mirror_bench": {"patients": dict.fromkeys(keys, "Anna")}}
    cases = reader.discover(touched(tmp_path, ["p 1_a", "p 1_b", "q"], content))  # type: ignore[attr-defined]
    assert patients(cases) == {"p 1_a": "Anna", "p 1_b": "Anna", "q": "q"}


def test_a_statement_about_patients_works_for_the_decathlon_too(tmp_path: Path) -> None:
    root = write_decathlon(
        tmp_path, ["a", "b"], content={**BRAIN, "mirror_bench": {"patients": "([a-z])"}}, test=["c"]
    )
    assert patients(msd.discover(root)) == {"a": "a", "b": "b"}
    content = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(
        json.dumps(content | {"mirror_bench": {"patients": {"a": "x", "b": "x", "c": "x"}}})
    )
    assert patients([*msd.discover(root), *msd.unlabelled(root)]) == {"a": "x", "b": "x", "c": "x"}
    (root / "dataset.json").write_text(json.dumps(content | {"mirror_bench": {"crop_above": 0}}))
    with pytest.raises(
        DataError, match="'crop_above' of \"mirror_bench\" has no effect on a data set of the decathlon"
    ):
        msd.discover(root)


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"p_1_c": "Anna"}, r"no such case as 'p_1_c'\. Did you mean 'p_1_[ab]'\?"),
        ({"p 1_a": "Anna", "p_1_a": "Berta"}, "case p_1_a is named twice, with 'Anna' and 'Berta'"),
        ("(p 1)_a", "finds no patient in the case 'p 1_b'"),
        ("p 1", "finds no patient|is none with a group"),
        ("(p", "is none with a group"),
    ],
)
def test_a_statement_about_patients_that_cannot_be_meant_is_refused(
    tmp_path: Path, stated: object, words: str
) -> None:
    root = touched(tmp_path, ["p 1_a", "p 1_b"], PET_CT | {"mirror_bench": {"patients": stated}})
    with pytest.raises(DataError, match=words):
        nnunet.discover(root)


def test_a_pattern_tells_the_patients_of_all_cases(tmp_path: Path) -> None:
    root = touched(
        tmp_path, ["p 1_a", "p 1_b", "p 2_a"], PET_CT | {"mirror_bench": {"patients": "(.+)_[^_]+"}}
    )
    cases = nnunet.discover(root)
    assert patients(cases) == {"p 1_a": "p 1", "p 1_b": "p 1", "p 2_a": "p 2"}
    assert patient_findings(cases) == []


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (["p 1_a", "p 1_b", "p 2_a"], {"p 1": ["p 1_a", "p 1_b"]}),
        (["001A", "001B", "002A"], {"001": ["001A", "001B"]}),
        (["site1-7-base", "site1-7-follow", "site1-8-base"], {"site1-7": ["site1-7-base", "site1-7-follow"]}),
        (["p1", "p1_2", "p2"], {"p1": ["p1", "p1_2"]}),
        (["BRATS_001", "BRATS_002", "BRATS_003"], {}),
        (["case_0a1b", "case_0a2c", "case_9f00"], {}),
        ([f"{centre}-{i:03d}" for centre in ("CHUM", "CHUS") for i in range(20)], {}),
        (["a"], {}),
        ([], {}),
    ],
)
def test_names_that_share_a_beginning_as_studies_of_a_patient_do_are_told_from_others(
    names: list[str], groups: dict[str, list[str]]
) -> None:
    assert shared_beginnings(names) == groups


def test_a_shared_beginning_that_no_rule_explains_is_a_warning_in_the_check_and_before_a_run(
    tmp_path: Path,
) -> None:
    names = [f"p{i}_{study}" for i in range(3) for study in "ab"]
    root = write_nnunet(tmp_path / "data", names, PET_CT)
    (warning,) = patient_findings(nnunet.discover(root))
    assert "p0_a and p0_b ('p0')" in warning.problem
    assert '"patients": {"<case>": "<patient>", ...}' in warning.remedy
    assert not warning.is_fault
    content = {"channel_names": {"0": "x", "1": "y"}, "labels": {"background": 0, "a": [1, 2, 3]}}
    root = write_nnunet(tmp_path / "mri", names, content)
    ready = ready_data("nnunet", root, results=tmp_path, n_folds=3)
    assert any("share beginnings" in finding.problem for finding in ready.warnings)
    assert ready.patients == (
        "mri: 6 cases of 6 patients, told by each case as a patient of its own, since nothing tells"
    )


def test_patients_that_differ_in_case_or_blanks_alone_are_named() -> None:
    assert alike_patients(["Anna", "anna", "Be rta", "Berta", "Carla"]) == [
        ("Anna", "anna"),
        ("Be rta", "Berta"),
    ]


# Folds of earlier versions.


def test_folds_that_tore_patients_apart_are_refused_and_named(tmp_path: Path) -> None:
    """Written as `splits 1` were: every case a patient of its own."""
    names = [f"PETCT_{i:02d}aa_{study}" for i in range(6) for study in "xy"]
    earlier = make_splits([CaseSummary(name, name, 1.0) for name in names])
    content = earlier.to_json() | {"format": "splits 1"}
    del content["patients"]
    write_json(tmp_path / "splits.json", content)
    now = [CaseSummary(name, name[:10], 1.0) for name in names]
    with pytest.raises(DataError, match=r"patient PETCT_0\daa is on both sides.*must not be published"):
        load_or_make_splits(tmp_path / "splits.json", now)
    stored = Splits.from_json(content, source="")
    assert stored.patients == {}
    told = known_patients(stored, reader="autopet", root=tmp_path / "gone")
    assert told == {name: name[:10] for name in names}
    for number, fold in enumerate(stored.folds):
        torn = torn_patients(fold, told)
        assert torn
        assert f"fold {number} tests what it trained on: {len(torn)} patient" in torn_words(
            fold, number, told
        )


def test_sound_folds_of_an_earlier_version_are_read_on(tmp_path: Path) -> None:
    cases = [CaseSummary(f"c{i}", f"p{i // 2}", 1.0) for i in range(12)]
    sound = make_splits(cases)
    content = sound.to_json() | {"format": "splits 1"}
    del content["patients"]
    write_json(tmp_path / "splits.json", content)
    assert load_or_make_splits(tmp_path / "splits.json", cases).fingerprint == sound.fingerprint


def test_what_the_data_set_says_now_counts_above_what_was_written_down(tmp_path: Path) -> None:
    root = touched(tmp_path, ["a", "b"], PET_CT | {"mirror_bench": {"patients": {"a": "x", "b": "x"}}})
    splits = Splits((Fold(("a",), (), ("b",)),), 0, "", {"a": "a", "b": "b"})
    assert known_patients(splits, reader="nnunet", root=root) == {"a": "x", "b": "x"}
    assert torn_words(splits.folds[0], 0, {"a": "x", "b": "x"}).startswith("fold 0 tests what it trained on")
    assert torn_words(splits.folds[0], 0, {"a": "a", "b": "b"}) == ""


# Any layout.

WORDS = (
    st.text(string.ascii_lowercase + string.digits + " -", min_size=1, max_size=6).map(str.strip).filter(bool)
)
STUDIES_OF = st.dictionaries(WORDS, st.integers(1, 3), min_size=5, max_size=9)


def _tcia(root: Path, names: dict[tuple[str, int], str]) -> Callable[[], list[Case]]:
    for patient, number in names:
        folder = root / f"PETCT_{patient}" / f"study {number}"
        folder.mkdir(parents=True)
        (folder / "SUV.nii.gz").touch()
    return lambda: autopet.discover(root)


LAYOUTS: dict[str, tuple[Callable[[str, int], str], object]] = {
    "autopet TCIA": (lambda patient, study: f"PETCT_{patient}/study {study}", None),
    "autopet names": (lambda patient, study: f"PETCT_{patient.replace('_', '')}_{study}", None),
    "autopet tracers": (lambda patient, study: f"fdg_{patient}_{study}", None),
    "nnunet names": (lambda patient, study: f"PSMA_{patient}_2018 {study}", None),
    "nnunet mapping": (lambda patient, study: f"{patient}_{study}", "mapping"),
    "nnunet mapping by id": (lambda patient, study: f"ü{patient}_{study}", "ids"),
    "nnunet pattern": (lambda patient, study: f"{patient}_{study}", "(.+)_[^_]+"),
    "msd mapping": (lambda patient, study: f"{patient}_{study}", "mapping"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_patient_is_on_two_sides_whatever_the_layout(
    tmp_path_factory: pytest.TempPathFactory, layout: str
) -> None:
    """Random patients, studies and names for every reader; drawn folds and a user's, which may tear and is refused."""
    from benchmark.data.naming import case_id_from

    name_of, stated = LAYOUTS[layout]
    looked_at = 0

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(studies=STUDIES_OF, seed=st.integers(0, 10), data=st.data())
    def check(studies: dict[str, int], seed: int, data: st.DataObject) -> None:
        nonlocal looked_at
        # What a file system or an id could not tell apart would be refused.
        owners = {
            p: n
            for p, n in studies.items()
            if sum(q.replace(" ", "") == p.replace(" ", "") for q in studies) == 1
        }
        if len(owners) < 5:
            return
        root = tmp_path_factory.mktemp("any")
        truth = {name_of(p, k): p for p, n in owners.items() for k in range(n)}
        block: object = stated
        if stated == "mapping":
            block = dict(truth)
        elif stated == "ids":
            block = {case_id_from(name): patient for name, patient in truth.items()}
        described = {"mirror_bench": {"patients": block}} if block else {}
        if layout == "autopet TCIA":
            _tcia(root, {(p, k): p for p, n in owners.items() for k in range(n)})
            reader: object = autopet
        elif layout.startswith("msd"):
            listed = [{"image": f"imagesTr/{n}.nii.gz", "label": f"labelsTr/{n}.nii.gz"} for n in truth]
            (root / "imagesTr").mkdir()
            (root / "dataset.json").write_text(json.dumps({**BRAIN, "training": listed, **described}))
            reader = msd
        else:
            touched(root, list(truth), PET_CT | described)
            reader = autopet if layout.startswith("autopet") else nnunet
        cases = reader.discover(root)  # type: ignore[attr-defined]
        true_of = {case_id_from(name): patient for name, patient in truth.items()}
        assert {case.case_id for case in cases} == set(true_of)
        volume = np.random.default_rng(seed)
        summaries = [CaseSummary(c.case_id, c.patient, float(volume.integers(0, 9))) for c in cases]
        for fold in make_splits(summaries, seed=seed).folds:
            sides = [{true_of[c] for c in part} for part in fold.parts().values()]
            assert all(not a & b for a, b in itertools.combinations(sides, 2))
            looked_at += 1
        # A user's folds by case: they are read where they keep patients together, and refused where not.
        order = data.draw(st.permutations(sorted(true_of)))
        cut = data.draw(st.integers(2, len(order) - 1))
        own = root / "own.json"
        write_json(own, [{"train": order[:cut], "val": order[cut:]}])
        tears = {true_of[c] for c in order[:cut]} & {true_of[c] for c in order[cut:]}
        torn = ""
        try:
            read_splits(own, summaries)
        except DataError as error:
            torn = str(error)
        assert ("on both sides" in torn) == bool(tears), torn

    check()
    assert looked_at >= 100, "the property was hardly tried"


def test_studies_in_folders_of_one_patient_are_one_patient_s(tmp_path: Path) -> None:
    for study in ("one", "two"):
        write_study(tmp_path / "PETCT_a" / study, seed=1)
    assert {case.patient for case in autopet.discover(tmp_path)} == {"PETCT_a"}


def test_a_data_set_of_one_patient_s_copies_is_refused_before_it_tears_anything(tmp_path: Path) -> None:
    for patient in "abcdef":
        write_study(tmp_path / "data" / f"PETCT_{patient}" / "one", seed=1)
    with pytest.raises(BenchError, match="is the same as that of PETCT_b_one"):
        ready_data("autopet", tmp_path / "data", results=tmp_path / "results")
