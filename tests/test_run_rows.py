"""Rows of single runs: of the validation part, of the test part, and without a modality."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from written_runs import NAN, methods_manifest, score_rows, write_readings

from benchmark.cli import main
from benchmark.results.evidence import scores_facts
from benchmark.results.runs import RunFolder, WithoutFacts
from benchmark.vocabulary import BenchError
from reports.evidence.run_rows import RunPart, part_rows, parts_of
from reports.ground.addresses import parse_places
from reports.ground.runs import planned_runs, reported_scores
from reports.tables.comparison.frames import PLACE, Comparison
from reports.tables.comparison.modalities import modalities_frame, modalities_table

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
    with pytest.raises(BenchError, match="as it is read by union"):
        part_rows(tmp_path, RunPart("a", "validation", "union"))


def test_numbers_without_a_modality_lead_to_the_rows_they_are_the_means_of(tmp_path: Path) -> None:
    for run_id in ("a", "b"):
        write_readings(tmp_path, run_id, {"": {"dice": [0.5, 0.7]}})
        rows = score_rows(run_id, {"": {"dice": [0.1, 0.3]}})
        RunFolder(tmp_path, run_id).write_without(rows, WithoutFacts("CT", "zeros", {"": {}}))
    # A third run was not evaluated without CT, and is in neither of the rows.
    write_readings(tmp_path, "c", {"": {"dice": [0.0, 0.0]}})
    manifest = methods_manifest("mine", ("EF", 0, 0, "a"), ("EF", 0, 1, "b"), ("EF", 0, 2, "c"))
    planned = planned_runs(tmp_path, manifest, PLACE)
    mine = Comparison("mine", "Methods")
    frame = modalities_frame(mine, tmp_path, planned, reported_scores(tmp_path, planned))
    for row, part, mean in zip(
        modalities_table(mine, frame, note="").rows, ("test", "without CT"), ("60.00", "20.00"), strict=True
    ):
        number = row.cells[0][0]
        assert number.address == f"run:a/{part}|b/{part}"
        each = [
            part_rows(tmp_path, one).means["dice"].item() for one in parts_of(parse_places(number.address))
        ]
        assert number.text == f"{sum(each) / 2:.2f}" == mean


def test_means_are_over_the_cases_of_a_region_then_over_regions(tmp_path: Path) -> None:
    rows = [
        score_rows("a", {"": {"dice": dice}}).assign(split="validation", region=region)
        for region, dice in {"core": [0.2, 0.6], "edema": [NAN, 0.9]}.items()
    ]
    RunFolder(tmp_path, "a").path.mkdir(parents=True)
    RunFolder(tmp_path, "a").write_validation(pd.concat(rows))
    means = part_rows(tmp_path, RunPart("a", "validation")).means
    assert dict(zip(means["region"], means["dice"], strict=True)) == pytest.approx(
        {"core": 40.0, "edema": 90.0, "": 65.0}
    )


def test_options_that_reach_nobody_and_measures_that_were_not_scored_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    validated(tmp_path)
    for asked in (["run:a/validation", "--manifest", "x"], ["run:a/validation#hd95_mm"]):
        with pytest.raises(SystemExit) as ended:
            main(["why", *asked, "--results", str(tmp_path)])
        assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "leave --manifest, --profile and --dataset out" in told
    assert "was not scored in 'hd95_mm'" in told
    with pytest.raises(SystemExit):
        main(["why", "run:a/validation#fpv_ml", "--results", str(tmp_path)])
    text = capsys.readouterr().out
    assert "FPV [ml]" in text
    assert "Dice" not in text


def test_scores_that_were_changed_are_a_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_readings(tmp_path, "a", {"": {"dice": [0.5, 0.7]}})
    folder = RunFolder(tmp_path, "a")
    folder.write_record(replace(folder.record(), facts=scores_facts(folder)))
    codes = []
    for value in (0.5, 0.9):
        folder.write_scores(
            folder.scores().assign(value=lambda rows, to=value: rows["value"].replace(0.5, to))
        )
        with pytest.raises(SystemExit) as ended:
            main(["why", "run:a/test", "--results", str(tmp_path)])
        codes.append(ended.value.code)
    assert codes == [0, 1]
    assert "fault: The scores of run a are not as the run wrote them." in capsys.readouterr().out


def test_damaged_rows_are_named(tmp_path: Path) -> None:
    validated(tmp_path)
    RunFolder(tmp_path, "a").validation_file.write_bytes(b"no parquet")
    with pytest.raises(BenchError, match=r"Run a: .*validation\.parquet cannot be read"):
        part_rows(tmp_path, RunPart("a", "validation"))


def test_the_command_prints_rows_and_their_means(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    validated(tmp_path)
    for more in ([], ["--json"]):
        with pytest.raises(SystemExit) as ended:
            main(["why", "run:a/validation", "--results", str(tmp_path), *more])
        assert not ended.value.code
    text, _, told = capsys.readouterr().out.partition("[\n")
    (mean,) = [line.split() for line in text.splitlines() if line.split()[:1] == ["Mean"]]
    assert mean[1:] == ["40.0000", "2.0000"]
    spread = {
        line.split()[0]: line.split()[1:]
        for line in text.splitlines()
        if line.split()[:1] in (["SD"], ["Median"])
    }
    assert spread == {"SD": ["28.2843", "1.0000"], "Median": ["40.0000", "2.0000"]}
    (part,) = json.loads("[\n" + told)
    assert [case["dice"] for case in part["cases"]] == [20.0, 60.0, None]
    assert {row["title"]: row["fpv_ml"] for row in part["summary"]} == {"Mean": 2.0, "SD": 1.0, "Median": 2.0}
