"""Scores of trained networks where a modality is missing: from the files beside a run to the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pytest
from written_runs import methods_manifest, score_rows, write_readings

from benchmark.results.manifests import GridManifest, write_manifest
from benchmark.results.runs import RunFolder, WithoutFacts
from reports.ground.printing import markdown
from reports.ground.runs import planned_runs, reported_scores
from reports.tables.comparison.frames import PLACE, Comparison
from reports.tables.comparison.modalities import modalities_frame, modalities_table
from reports.tables.report import write_report

MINE = Comparison("mine", "Methods")


def write_without(
    results: Path,
    run_id: str,
    modality: str,
    dice: Sequence[float],
    changed: Mapping[str, int],
    *,
    manner: str,
) -> None:
    rows = score_rows(run_id, {"": {"dice": dice}})
    facts = WithoutFacts(modality, manner, {"": changed})  # type: ignore[arg-type]
    RunFolder(results, run_id).write_without(rows, facts)


def frame_of(results: Path, manifest: GridManifest) -> pd.DataFrame:
    planned = planned_runs(results, manifest, PLACE)
    return modalities_frame(MINE, results, planned, reported_scores(results, planned))


@pytest.fixture
def manifest(tmp_path: Path) -> GridManifest:
    """v3 needs no CT and answers itself; EF is shown zeros; MF was not evaluated."""
    for run_id, dice in (("v3", [0.6, 0.8]), ("ef", [0.5, 0.7]), ("mf", [0.5, 0.5])):
        write_readings(tmp_path, run_id, {"": {"dice": dice}})
    write_without(tmp_path, "v3", "CT", [0.6, 0.8], {"c1": 0, "c2": 0}, manner="own answer")
    write_without(tmp_path, "v3", "PET", [0.0, 0.2], {"c1": 9, "c2": 7}, manner="zeros")
    write_without(tmp_path, "ef", "CT", [0.3, 0.3], {"c1": 0, "c2": 40}, manner="zeros")
    return methods_manifest("mine", ("EF", 0, 0, "ef"), ("Mirror U-Net v3", 0, 0, "v3"), ("MF", 0, 0, "mf"))


def test_every_method_has_a_row_with_all_modalities_and_one_without_each(
    tmp_path: Path, manifest: GridManifest
) -> None:
    frame = frame_of(tmp_path, manifest)
    assert list(zip(frame["method"], frame["without"], frame["dice"].round(2), strict=True)) == [
        ("EF", "", 60.0),
        ("EF", "CT", 30.0),
        ("Mirror U-Net v3", "", 70.0),
        ("Mirror U-Net v3", "CT", 70.0),
        ("Mirror U-Net v3", "PET", 10.0),
    ]
    assert frame["n_unchanged"].tolist()[1:2] + frame["n_unchanged"].tolist()[3:] == [1, 2, 0]
    assert frame["changed_voxels"].tolist()[4] == 9


def test_the_table_says_who_answers_and_how_many_masks_are_the_same(
    tmp_path: Path, manifest: GridManifest
) -> None:
    text = markdown(modalities_table(MINE, frame_of(tmp_path, manifest), note=""))
    assert "| EF | all | 60.00 | – | – |  |  |" in text
    assert "|  | without CT | 30.00 | – | – | zeros | 1 of 2 |" in text
    assert "|  | without CT | 70.00 | – | – | own answer | 2 of 2 |" in text
    assert "|  | without PET | 10.00 | – | – | zeros | 0 of 2 |" in text
    assert "* Not needed to predict: CT by Mirror U-Net v3." in text
    assert "†" not in text


def test_complete_scores_are_of_the_runs_that_were_evaluated_without(tmp_path: Path) -> None:
    for seed, dice in enumerate((0.4, 0.8)):
        write_readings(tmp_path, f"s{seed}", {"": {"dice": [dice]}}, where={"seed": seed})
    write_without(tmp_path, "s1", "CT", [0.6], {"c": 1}, manner="zeros")
    manifest = methods_manifest("mine", ("EF", 0, 0, "s0"), ("EF", 0, 1, "s1"))
    frame = frame_of(tmp_path, manifest)
    assert frame["dice"].tolist() == pytest.approx([80.0, 60.0])
    assert frame["n_runs"].tolist() == [1, 1]
    assert frame["n_finished"].tolist() == [2, 2]
    text = markdown(modalities_table(MINE, frame, note=""))
    assert "† not all finished runs of the method were evaluated so." in text


def test_a_reading_has_its_own_masks(tmp_path: Path) -> None:
    readings = {"CT": {"dice": [0.4]}, "PET": {"dice": [0.8]}}
    write_readings(tmp_path, "late", readings)
    facts = WithoutFacts("CT", "own answer", {"CT": {"c": 5}, "PET": {"c": 0}})
    shown = {"CT": {"dice": [0.1]}, "PET": {"dice": [0.8]}}
    RunFolder(tmp_path, "late").write_without(score_rows("late", shown), facts)
    manifest = methods_manifest("mine", ("CT", 0, 0, "late", "CT"), ("PET", 0, 0, "late", "PET"))
    frame = frame_of(tmp_path, manifest).set_index(["method", "without"])
    assert list(frame.loc[("CT", "CT"), ["dice", "n_unchanged"]]) == [10.0, 0]
    assert list(frame.loc[("PET", "CT"), ["dice", "n_unchanged"]]) == [80.0, 1]


def test_the_report_has_the_table_where_there_are_such_files_and_only_there(
    tmp_path: Path, manifest: GridManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reports.ground.drawing.save", lambda figure, stem, *, formats: [])
    write_manifest(tmp_path, manifest)
    report = write_report(tmp_path, grid="mine", source="runs", out=tmp_path / "out")
    text = report.files[0].read_text(encoding="utf-8")
    assert (tmp_path / "out" / "mine_without.md").read_text(encoding="utf-8") in text
    written = pd.read_csv(tmp_path / "out" / "mine_without.csv", keep_default_na=False)
    assert list(written["manner"]) == ["", "zeros", "", "own answer", "zeros"]
    assert frame_of(tmp_path, methods_manifest("other", ("MF", 0, 0, "mf"))).empty
