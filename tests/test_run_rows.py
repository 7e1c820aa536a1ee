"""Rows of single runs: of the validation part, of the test part, and without a modality."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from written_runs import NAN, methods_manifest, score_rows, write_readings

from benchmark.cli import main
from benchmark.results import RunFolder, WithoutFacts
from benchmark.vocabulary import BenchError
from reports.comparison.frames import PLACE, Comparison
from reports.comparison.modalities import modalities_frame, modalities_table
from reports.provenance.addresses import parse_places
from reports.provenance.run_rows import RunPart, part_rows, parts_of
from reports.runs import planned_runs, reported_scores

DICE = {"": {"dice": [0.2, 0.6, NAN], "fpv_ml": [1.0, 2.0, 3.0]}}


def validated(results: Path, run_id: str = "a") -> Path:
    rows = score_rows(run_id, DICE).assign(split="validation")
    RunFolder(results, run_id).path.mkdir(parents=True)
    RunFolder(results, run_id).write_validation(rows)
    return results


def test_an_address_of_rows_names_run_part_and_reading() -> None:
    assert parts_of(parse_places("run:a/validation|b/without CT/union")) == [
        RunPart("a", "validation"),
        RunPart("b", "without CT", "union"),
    ]
    assert RunPart("b", "without CT", "union").address == "run:b/without CT/union"
    for wrong in ("run:a", "run:*/validation", "table2:v3/shuffle/5", "run:a/b/c/d"):
        with pytest.raises(BenchError, match="run:8924fe8193f4/validation"):
            parts_of(parse_places(wrong))


def test_rows_are_one_a_case_in_the_printed_units(tmp_path: Path) -> None:
    found = part_rows(validated(tmp_path), RunPart("a", "validation"))
    assert [measure.title for measure in found.measures] == ["Dice [%]", "FPV [ml]"]
    assert found.rows["dice"].tolist() == pytest.approx([20.0, 60.0, NAN], nan_ok=True)
    assert found.rows["fpv_ml"].tolist() == [1.0, 2.0, 3.0]


def test_a_part_that_a_run_does_not_have_is_named(tmp_path: Path) -> None:
    validated(tmp_path)
    for part in ("test", "without CT", "elsewhere"):
        with pytest.raises(BenchError, match=f"Run a has no rows '{part}'"):
            part_rows(tmp_path, RunPart("a", part))
    with pytest.raises(BenchError, match="was not read as union"):
        part_rows(tmp_path, RunPart("a", "validation", "union"))


def test_numbers_without_a_modality_lead_to_the_rows_they_are_the_means_of(tmp_path: Path) -> None:
    for run_id in ("a", "b"):
        write_readings(tmp_path, run_id, {"": {"dice": [0.5, 0.7]}})
        rows = score_rows(run_id, {"": {"dice": [0.1, 0.3]}})
        RunFolder(tmp_path, run_id).write_without(rows, WithoutFacts("CT", "zeros", {"": {}}))
    manifest = methods_manifest("mine", ("EF", 0, 0, "a"), ("EF", 0, 1, "b"))
    planned = planned_runs(tmp_path, manifest, PLACE)
    mine = Comparison("mine", "Methods")
    frame = modalities_frame(mine, tmp_path, planned, reported_scores(tmp_path, planned))
    complete, without_ct = modalities_table(mine, frame, note="").rows
    assert complete.cells[0][0].address == "mine:EF#dice"
    number = without_ct.cells[0][0]
    assert number.address == "run:a/without CT|b/without CT"
    each = [part_rows(tmp_path, part).rows["dice"].mean() for part in parts_of(parse_places(number.address))]
    assert number.text == f"{sum(each) / 2:.2f}" == "20.00"


def test_the_command_prints_rows_and_their_means(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    validated(tmp_path)
    for more in ([], ["--json"]):
        with pytest.raises(SystemExit) as ended:
            main(["why", "run:a/validation", "--results", str(tmp_path), *more])
        assert not ended.value.code
    text, _, told = capsys.readouterr().out.partition("[\n")
    (mean,) = [line.split() for line in text.splitlines() if line.split()[:1] == ["mean"]]
    assert mean[1:] == ["40.0000", "2.0000"]
    (part,) = json.loads("[\n" + told)
    assert [case["dice"] for case in part["cases"]] == [20.0, 60.0, None]
