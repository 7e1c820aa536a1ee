"""Which runs may stand in one table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from written_runs import V3, V4, manifest_of, methods_manifest, write_failure, write_run

from benchmark.data.splits import Fold, Splits
from benchmark.files.writing import write_json
from benchmark.results.manifests import manifests, write_manifest
from benchmark.results.runs import DataPlaces, RunFolder
from benchmark.vocabulary import BenchError
from reports.evidence.mixing import CONDITIONS, conditions, mixed, mixing_notes, refusal
from reports.evidence.unsound import unsound_of
from reports.ground.runs import run_cells
from reports.provenance.trace import trace
from reports.tables.comparison.frames import TABLE3
from reports.tables.comparison.report import report as comparison_report
from reports.tables.report import write_report
from reports.tables.table2.frames import PLACE

ALIKE = {
    "protocol": "1",
    "data": "f",
    "preparation": "p",
    "store": "s",
    "scored_on": "s",
    "splits": "folds",
    "excluded": "none",
    "checkpoint": "last",
    "grid": "2 mm",
    "commit": "abc",
    "torch": "2.6",
    "device": "H100",
    "precision": "float32",
    "steps": "100",
}


def rows(*changes: Mapping[str, str]) -> pd.DataFrame:
    """Rows of `conditions`: runs r0, r1, ..., alike but for these changes."""
    made = [{"run_id": f"r{number}", **ALIKE, **change} for number, change in enumerate(changes)]
    return pd.DataFrame(made, columns=CONDITIONS)


def found(*changes: Mapping[str, str]) -> dict[str, bool]:
    """By condition that differs, whether it is refused."""
    return {each.condition: each.refused for each in mixed(rows(*changes))}


def test_runs_that_were_made_alike_have_nothing_to_tell() -> None:
    assert found({}, {}) == {}
    assert mixed(rows()) == ()


@pytest.mark.parametrize(
    "condition", ["commit", "torch", "device", "precision", "steps", "checkpoint", "grid"]
)
def test_what_leaves_scores_to_the_readers_judgement_is_flagged(condition: str) -> None:
    assert found({}, {condition: "other"}) == {condition: False}


def test_scores_of_different_protocols_are_refused_and_unknown_ones_flagged() -> None:
    assert found({}, {"protocol": "2"}) == {"protocol": True}
    assert found({}, {"protocol": ""}) == {"protocol": False}


def test_a_method_may_prepare_the_data_in_its_own_way() -> None:
    own = {"preparation": "own", "store": "t", "data": "g"}
    assert found({}, own) == {}
    assert found({}, own, {**own, "store": "u"}) == {"store": True}


def test_other_data_under_the_same_preparation_and_other_folds_are_refused() -> None:
    assert found({}, {"store": "t", "data": "g"}) == {"store": True}
    assert found({}, {"splits": "other folds"}) == {"splits": True}
    assert found({}, {"scored_on": "t"}) == {"scored_on": True}


def test_data_that_are_scored_on_another_grid_are_other_data_by_design() -> None:
    assert found({}, {"scored_on": "t", "store": "t", "preparation": "q", "grid": "4 mm"}) == {"grid": False}


def test_cases_that_were_left_out_make_other_data_which_is_flagged() -> None:
    change = {"excluded": "case7", "store": "t", "scored_on": "t", "splits": "fewer", "data": "g"}
    assert found({}, change) == {"excluded": False}


def test_runs_that_noted_no_preparation_are_compared_by_the_folder_of_their_cases() -> None:
    older = {"store": "", "scored_on": "", "splits": "", "preparation": "/stores/a"}
    assert found(older, {**older, "data": "g"}) == {"data": True}
    assert found(older, {**older, "data": "g", "preparation": "/stores/b"}) == {}
    silent = {**older, "preparation": ""}
    assert found(silent, {**silent, "data": "g"}) == {"data": False}


def test_a_refusal_names_the_runs_and_the_remedy() -> None:
    made = mixed(rows({}, {}, {}, {}, {}, {"protocol": "2"}))
    assert refusal(made, "The report of table2-k") == (
        "The report of table2-k would mix runs whose numbers are not comparable: protocol version 1 (5 runs: r0, r1, "
        "r2, r3 and 1 more) and 2 (1 run: r5). `bench evaluate RUN` scores a run again, and notes the present version "
        "where nothing moved; where something did, remove the run's folder and start the grid again."
    )
    assert refusal(mixed(rows({}, {"commit": "x"})), "") == ""


def test_a_note_counts_the_runs_of_each_condition_and_speaks_of_time_where_devices_differ() -> None:
    assert list(mixing_notes(mixed(rows({}, {}, {"commit": "def+changes"})))) == [
        "Not all runs were made alike (in brackets: how many): commit of the suite abc (2) and def+changes (1)."
    ]
    (note,) = mixing_notes(mixed(rows({}, {"device": "A100", "protocol": ""})))
    assert "protocol version 1 (1) and not recorded (1); device H100 (1) and A100 (1)." in note
    assert note.endswith("Seconds and memory compare on the same device alone.")
    assert list(mixing_notes(mixed(rows({}, {"checkpoint": "best"})))) == []


def test_conditions_are_those_of_the_finished_runs_records(tmp_path: Path) -> None:
    facts: dict[str, Any] = {
        "protocol": 1,
        "git_commit": "0123456789abcdef+changes",
        "versions": {"torch": "2.6"},
        "cpu": "Xeon",
        "precision": "float32",
        "data": {"preparation": "p", "store": "s", "scored_on": "s", "splits": "x"},
    }
    write_run(tmp_path, "a", [0.5], facts=facts, data_fingerprint="f", steps=7, excluded_cases=("c1", "c2"))
    write_run(tmp_path, "b", [0.5], seed=1)
    there = DataPlaces(Path("/d"), Path("/stores/x"), Path("/stores/y"), Path("/splits"))
    RunFolder(tmp_path, "b").write_data(there)
    write_failure(tmp_path, "c", "memory")
    manifest = manifest_of((V3, 0, 0, "a"), (V3, 0, 1, "b"), (V4, 0, 0, "c"))
    one, other = conditions(tmp_path, run_cells(tmp_path, manifest, PLACE)).to_dict("records")
    assert one == {
        "run_id": "a",
        "protocol": "1",
        "data": "f",
        "preparation": "p",
        "store": "s",
        "scored_on": "s",
        "splits": "x",
        "excluded": "c1, c2",
        "checkpoint": "last",
        "grid": "dataset",
        "commit": "0123456789ab+changes",
        "torch": "2.6",
        "device": "Xeon",
        "precision": "float32",
        "steps": "7",
    }
    assert (other["preparation"], other["protocol"]) == ("/stores/x scored on /stores/y", "")


def test_both_reports_refuse_a_mixture_and_say_under_the_table_what_is_flagged(tmp_path: Path) -> None:
    write_run(tmp_path, "a", [0.5], fpv_ml=[1], fnv_ml=[1], facts={"protocol": 1, "git_commit": "aaa"})
    write_run(tmp_path, "b", [0.6], fpv_ml=[1], fnv_ml=[1], facts={"protocol": 1, "git_commit": "bbb"})
    write_manifest(tmp_path, manifest_of((V3, 0, 0, "a"), (V4, 0, 0, "b")))
    methods = methods_manifest("table3", ("CT", 0, 0, "a"), ("PET", 0, 0, "b"))

    def both(out: str) -> list[Path]:
        write_report(tmp_path, source="runs", out=tmp_path / out)
        comparison_report(TABLE3, tmp_path, methods, source="runs", out=tmp_path / out, summary=[])
        return [tmp_path / out / f"{name}.md" for name in ("table2", "table3")]

    for path in both("flagged"):
        assert "commit of the suite aaa (1) and bbb (1)" in path.read_text()
    record = RunFolder(tmp_path, "b").record()
    RunFolder(tmp_path, "b").write_record(record.__class__("b", "done", facts={"protocol": 2}))
    with pytest.raises(BenchError, match=r"report of table2-k would mix .*protocol version 1 \(1 run: a\)"):
        write_report(tmp_path, source="runs", out=tmp_path / "refused")
    with pytest.raises(BenchError, match=r"report of table3-k would mix"):
        comparison_report(TABLE3, tmp_path, methods, source="runs", out=tmp_path / "refused", summary=[])
    assert not (tmp_path / "refused").exists()


@pytest.mark.slow
def test_runs_whose_folds_tore_patients_apart_are_named_by_reports_why_and_claims(tmp_path: Path) -> None:
    """Two of three test cases are of patients with another study in training."""
    splits = tmp_path / "splits" / "autopet-x" / "splits-5-folds-seed-0.json"
    sound = Fold(("PETCT_03cc_x", "PETCT_03cc_y"), ("PETCT_04dd_x",), ("PETCT_05ee_x",))
    torn = Fold(
        ("PETCT_01aa_x", "PETCT_02bb_x"), ("PETCT_03cc_x",), ("PETCT_01aa_y", "PETCT_02bb_y", "PETCT_09ff_x")
    )
    write_json(splits, Splits((sound, torn), 0, "drawn").to_json() | {"format": "splits 1", "patients": {}})
    for fold, run_id in ((0, "sound"), (1, "torn")):
        write_run(tmp_path, run_id, [0.5], fpv_ml=[1], fnv_ml=[1], fold=fold)
        folder = RunFolder(tmp_path, run_id)
        folder.write_config({"dataset": "autopet", "method": "mirror_unet", "fold": fold, "seed": 0})
        folder.write_data(DataPlaces(*(Path("/nowhere"),) * 3, splits=splits))
    write_manifest(tmp_path, manifest_of((V3, 0, 0, "sound"), (V3, 1, 0, "torn")))
    words = (
        "NOT SOUND: 1 run (torn): fold 1 tests what it trained on: 2 patients on both sides, with 2 of 3 test cases "
        "(PETCT_01aa: PETCT_01aa_y is tested, PETCT_01aa_x trained on)."
    )
    written = write_report(tmp_path, source="runs", out=tmp_path / "out")
    assert any(line.startswith(words) for line in written.lines[:3])
    assert f"* {words}" in (tmp_path / "out" / "table2.md").read_text().replace("\\_", "_")
    assert unsound_of(tmp_path, "sound", 0) == ""
    cell = trace(tmp_path, manifests(tmp_path)[0], "table2:v3/shuffle/5")
    assert any(fault.startswith("Run torn: fold 1 tests what it trained on") for fault in cell.faults)


def test_runs_whose_checkpoint_was_chosen_on_the_test_part_are_named_by_reports_and_why(
    tmp_path: Path,
) -> None:
    for run_id, training in (("sound", {}), ("chosen", {"checkpoint": "best", "best_on": "test"})):
        write_run(tmp_path, run_id, [0.5], fpv_ml=[1], fnv_ml=[1])
        content = {"dataset": "autopet", "method": "mirror_unet", "fold": 0, "seed": 0, "training": training}
        RunFolder(tmp_path, run_id).write_config(content)
    write_manifest(tmp_path, manifest_of((V3, 0, 0, "sound"), (V4, 0, 0, "chosen")))
    words = "NOT SOUND: 1 run (chosen): the checkpoint was chosen by the Dice of the test cases"
    written = write_report(tmp_path, source="runs", out=tmp_path / "out")
    assert any(line.startswith(words) for line in written.lines[:3])
    assert words in (tmp_path / "out" / "table2.md").read_text().replace("\\_", "_")
    assert unsound_of(tmp_path, "sound", 0) == ""
    cell = trace(tmp_path, manifests(tmp_path)[0], "table2:v4/0.2/4-5-6")
    assert any(fault.startswith("Run chosen: the checkpoint was chosen") for fault in cell.faults)
