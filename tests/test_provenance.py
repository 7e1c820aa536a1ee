"""From a printed number to what it stands on, and back."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save_file
from written_runs import (
    NAN,
    V3,
    V4,
    manifest_of,
    methods_manifest,
    write_failure,
    write_readings,
    write_regions,
    write_run,
)

import reports.provenance.trace as trace_module
from benchmark.cli import main
from benchmark.config import RunConfig, run_id
from benchmark.data.splits import Fold, Splits
from benchmark.files.writing import write_json
from benchmark.results.evidence import scores_facts, weights_facts
from benchmark.results.manifests import write_manifest
from benchmark.results.runs import DataPlaces, RunFolder
from benchmark.vocabulary import BenchError
from reports.ground.runs import run_cells
from reports.provenance.trace import Trace, published_trace, trace
from reports.tables.comparison import tables as comparison_tables
from reports.tables.comparison.frames import PLACE as METHODS
from reports.tables.comparison.frames import TABLE3, comparison_frames
from reports.tables.registry import printed_table
from reports.tables.table2 import tables as table2_tables
from reports.tables.table2.frames import PLACE, published_table2, table2_frame

MANIFEST = manifest_of((V3, 0, 0, "a"), (V3, 1, 0, "b"), (V3, 0, 1, "c"), (V3, 1, 1, "d"), (V4, 0, 0, "e"))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two folds and two seeds of one cell of Table 2; another cell has failed."""
    write_run(tmp_path, "a", [0.2, 0.4, NAN], fpv_ml=[1, 2, 6])
    write_run(tmp_path, "b", [0.5], fold=1, fpv_ml=[3])
    write_run(tmp_path, "c", [0.6, 0.8, NAN], seed=1, fpv_ml=[0, 0, 0])
    write_run(tmp_path, "d", [NAN], fold=1, seed=1, fpv_ml=[5])
    write_failure(tmp_path, "e", "memory", error="out of memory")
    return tmp_path


def note(results: Path, name: str, **facts: Any) -> None:
    folder = RunFolder(results, name)
    record = folder.record()
    folder.write_record(replace(record, facts={**record.facts, **facts}))


def test_a_number_is_computed_again_from_the_rows_and_agrees(results: Path) -> None:
    found = trace(results, MANIFEST, "table2:v3/shuffle/5")
    # Seed 0: (0.3 + 0.5) / 2 = 0.4; seed 1: fold 1 has no defined Dice, so 0.7; together 55 %.
    assert found.printed == "55.00"
    assert found.value == pytest.approx(55.0)
    assert found.recomputed == pytest.approx(55.0)
    assert (found.agrees, found.faults) == (True, ())
    assert [(run.run_id, run.mean) for run in found.runs] == [
        ("a", pytest.approx(30.0)),
        ("b", pytest.approx(50.0)),
        ("c", pytest.approx(70.0)),
        ("d", None),
    ]
    assert [case.value for case in found.runs[0].cases] == [pytest.approx(20.0), pytest.approx(40.0), None]


def test_another_measure_is_named_after_the_number_sign(results: Path) -> None:
    found = trace(results, MANIFEST, "table2:v3/shuffle/5#fpv_ml")
    # Seed 0: (3 + 3) / 2 = 3; seed 1: (0 + 5) / 2 = 2.5.
    assert (found.printed, found.recomputed, found.title) == ("2.75", pytest.approx(2.75), "FPV [ml]")
    assert found.address == "table2-k:v3/shuffle/5#fpv_ml"


def test_a_table_that_says_something_else_is_a_fault(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = trace_module.cells_frame

    def broken(*given: Any) -> Any:
        frame = real(*given)
        return frame.assign(value=frame["value"] + 0.001)

    monkeypatch.setattr(trace_module, "cells_frame", broken)
    found = trace(results, MANIFEST, "table2:v3/shuffle/5")
    assert not found.agrees
    assert "The table's number is 55.00" in found.faults[0]


def test_edited_scores_and_other_weights_are_noticed(results: Path) -> None:
    folder = RunFolder(results, "a")
    folder.weights_file.write_bytes(b"weights")
    note(results, "a", **weights_facts(folder, folder.weights_file), **scores_facts(folder))
    (run, *_) = trace(results, MANIFEST, "table2:v3/shuffle/5").runs
    assert (run.scores.state, run.weights.state) == ("unchanged", "unchanged")
    assert run.weights.sha256 == hashlib.sha256(b"weights").hexdigest()

    scores = folder.scores()
    scores.loc[0, "value"] = 0.3
    folder.write_scores(scores)
    folder.weights_file.write_bytes(b"other weights")
    found = trace(results, MANIFEST, "table2:v3/shuffle/5")
    assert found.agrees
    assert [run.scores.state for run in found.runs] == ["changed", *["not recorded"] * 3]
    assert "scores.parquet is not as the run wrote it" in found.faults[0]
    assert "last.safetensors is not the file that was scored" in found.faults[1]


def test_weights_that_are_gone_are_no_fault_and_without_verifying_no_file_is_read(results: Path) -> None:
    note(results, "a", weights_file="best.safetensors", weights_sha256="0" * 64)
    found = trace(results, MANIFEST, "table2:v3/shuffle/5", verify=False)
    assert found.runs[0].weights.path.endswith("best.safetensors")
    assert (found.runs[0].weights.state, found.runs[0].scores.state) == ("missing", "not looked at")
    assert found.faults == ()


def test_scores_of_another_run_fold_or_seed_and_cases_that_stand_twice_are_faults(tmp_path: Path) -> None:
    write_run(tmp_path, "a", [0.5, 0.7], fold=1)
    folder = RunFolder(tmp_path, "a")
    scores = folder.scores()
    scores["case_id"] = "case"
    folder.write_scores(scores)
    faults = trace(tmp_path, manifest_of((V3, 0, 0, "a")), "table2:v3/shuffle/5").faults
    assert faults == (
        "Run a: its scores say fold 1, its grid says 0.",
        "Run a: 1 case scored twice: case.",
    )


def test_every_scored_case_must_be_of_the_folds_test_part(tmp_path: Path) -> None:
    write_run(tmp_path, "a", [0.5, 0.7])
    folder = RunFolder(tmp_path, "a")
    path = tmp_path / "splits" / "phantom" / "splits.json"
    places = DataPlaces(*(Path("/nowhere"),) * 3, splits=Path("/nowhere/phantom/splits.json"))
    folder.write_data(places)
    right = Splits((Fold(("x",), ("y",), ("case00", "case01", "case02")),), 0, "drawn")
    write_json(path, right.to_json())
    note(tmp_path, "a", data={"splits": right.fingerprint})
    found = trace(tmp_path, manifest_of((V3, 0, 0, "a")), "table2:v3/shuffle/5")
    # The file of a run from another machine is found among the results.
    data = found.runs[0].data
    assert (data.splits.path, data.splits.state) == (str(path), "unchanged")
    assert (data.n_test, data.n_fold, found.faults) == (2, 3, ())

    wrong = Splits((Fold(("case00",), ("y",), ("case01", "case02")),), 0, "drawn")
    write_json(path, wrong.to_json())
    found = trace(tmp_path, manifest_of((V3, 0, 0, "a")), "table2:v3/shuffle/5")
    assert "1 scored case not of the test part of fold 0" in found.faults[0]
    assert "it is in train: case00" in found.faults[0]
    assert "holds other folds than run a saw" in found.faults[1]


def test_a_configuration_gives_the_runs_id_unless_it_was_edited(tmp_path: Path) -> None:
    config = RunConfig(dataset="phantom", method="m", loss_weights={"seg": 1.0})
    name = run_id(config, "f1")
    write_run(tmp_path, name, [0.5], data_fingerprint="f1")
    folder = RunFolder(tmp_path, name)
    manifest = manifest_of((V3, 0, 0, name))
    assert trace(tmp_path, manifest, "table2:v3/shuffle/5").runs[0].config_state == "missing"
    folder.write_config(config.model_dump(mode="json"))
    assert trace(tmp_path, manifest, "table2:v3/shuffle/5").runs[0].config_state == "gives the run's id"
    folder.write_config(config.model_copy(update={"seed": 7}).model_dump(mode="json"))
    state = trace(tmp_path, manifest, "table2:v3/shuffle/5").runs[0].config_state
    assert state.startswith("does not give the run's id")


def test_neighbours_differ_in_one_coordinate_and_the_settings_that_differ_are_told(tmp_path: Path) -> None:
    cells = {
        "a": (V3, {"corruption": "shuffle", "layers": [5]}),
        "b": ({**V3, "self_supervision": "noise"}, {"corruption": "noise", "layers": [5]}),
        "c": ({**V3, "shared_layers": "4"}, {"corruption": "shuffle", "layers": [4], "extra": 1}),
        "d": ({**V3, "shared_layers": "4", "self_supervision": "noise"}, {"corruption": "noise"}),
    }
    for name, (_, arguments) in cells.items():
        write_run(tmp_path, name, [0.5])
        training = {"steps": 120, "batch_size": 4}
        RunFolder(tmp_path, name).write_config({"fold": 0, "method_args": arguments, "training": training})
    manifest = manifest_of(*((factors, 0, 0, name) for name, (factors, _) in cells.items()))
    found = trace(tmp_path, manifest, "table2:v3/shuffle/5")
    level, layers = found.neighbours
    assert (level.along, level.cells) == ("level", ("noise",))
    assert [(d.key, d.here, d.there) for d in level.differences] == [
        ("method_args.corruption", "shuffle", ("noise",))
    ]
    assert (layers.along, layers.cells) == ("shared_layers", ("4",))
    assert [(d.key, d.here, d.there) for d in layers.differences] == [
        ("method_args.layers", [5], ([4],)),
        ("method_args.extra", "not set", (1,)),
    ]
    # 4 is the default batch size; the default number of steps follows from the epochs.
    assert [(d.key, d.here, d.there) for d in found.runs[0].unlike_defaults] == [
        ("training.steps", 120, (None,))
    ]


def test_commit_versions_machine_and_protocol_are_those_of_the_record(results: Path) -> None:
    facts = {"git_commit": "abc+changes", "python": "3.11", "versions": {"torch": "2.6"}, "gpu": "H100"}
    note(results, "a", protocol=3, **facts)
    (run, other, *_) = trace(results, MANIFEST, "table2:v3/shuffle/5").runs
    assert (run.commit.commit, run.commit.dirty) == ("abc", True)
    assert run.versions == {"python": "3.11", "torch": "2.6"}
    assert (run.machine, run.protocol) == ({"gpu": "H100"}, 3)
    assert (other.commit.commit, other.commit.dirty, other.protocol) == ("unknown", False, None)


def test_failed_runs_have_their_error_and_what_was_planned_earlier_is_remarked(results: Path) -> None:
    found = trace(results, MANIFEST, "table2:v4/0.2/4-5-6")
    assert (found.printed, found.value, found.recomputed, found.agrees) == ("–", None, None, True)
    (run,) = found.runs
    assert (run.state, run.failure, run.error, run.cases) == ("failed", "memory", "out of memory", ())
    again = replace(MANIFEST, cells=(*MANIFEST.cells, replace(MANIFEST.cells[0], run_id="e")))
    found = trace(results, again, "table2:v3/shuffle/5")
    assert found.remarks == (
        "Planned earlier for this cell, and not shown: a.",
        "Not in the number, since not done: e.",
    )


def test_the_published_number_comes_with_its_row(results: Path) -> None:
    found = trace(results, MANIFEST, "table2:v3/shuffle/5").published
    assert found is not None
    lines = (Path(__file__).parents[1] / found.file).read_text().splitlines()
    assert found.row == lines[found.line - 1] == f"v3,self_supervision,shuffle,5,{found.value}"


@pytest.mark.parametrize(
    ("address", "row"),
    [
        ("table3:PET#fnv_ml", "PET,60.99,5.38,2.15"),
        ("table5:SegResNet#edema_dice", "SegResNet,91.29,77.01,84.22"),
    ],
)
def test_published_numbers_have_addresses_without_own_runs(address: str, row: str) -> None:
    found = published_trace(printed_table(address.partition(":")[0]), address)
    assert found.published is not None
    assert found.published.row == row
    assert found.published.value == {"fnv_ml": 2.15, "edema_dice": 77.01}[found.measure]


def test_readings_and_regions_are_those_of_the_cell(tmp_path: Path) -> None:
    write_readings(tmp_path, "late", {"CT": {"dice": [0.2]}, "PET": {"dice": [0.6]}})
    manifest = methods_manifest("table3", ("CT", 0, 0, "late", "CT"), ("PET", 0, 0, "late", "PET"))
    assert [trace(tmp_path, manifest, f"table3:{name}").printed for name in ("CT", "PET")] == [
        "20.00",
        "60.00",
    ]
    regions = {
        "whole tumor": {"dice": [0.9]},
        "edema": {"dice": [0.5]},
        "tumor core": {"dice": [0.7], "hd95_mm": [3.5]},
    }
    write_regions(tmp_path, "brain", regions)
    manifest = methods_manifest("table5", ("SegResNet", 0, 0, "brain"))
    for measure, printed in {"": "90.00", "tumor_core_dice": "70.00", "tumor_core_hd95_mm": "3.50"}.items():
        found = trace(tmp_path, manifest, f"table5:SegResNet{'#' if measure else ''}{measure}")
        assert (found.printed, found.agrees) == (printed, True)


def test_unknown_cells_measures_and_grids_are_answered_with_the_nearest(results: Path) -> None:
    with pytest.raises(BenchError, match=r"Did you mean 'table2:v3/shuffle/5'\?"):
        trace(results, MANIFEST, "table2:v3/shufle/5")
    with pytest.raises(BenchError, match=r"no measure 'dise'\. Did you mean 'dice'\?"):
        trace(results, MANIFEST, "table2:v3/shuffle/5#dise")
    with pytest.raises(
        BenchError, match=r"named by version/level/shared_layers, for example table2:v1/none/3"
    ):
        trace(results, MANIFEST, "table2:v3")
    with pytest.raises(BenchError, match=r"no table 'table33'.*Did you mean 'table3'\?"):
        printed_table("table33")


def test_a_trace_is_json(results: Path) -> None:
    found: Trace = trace(results, MANIFEST, "table2:v3/shuffle/5")
    text = json.dumps(dataclasses.asdict(found), allow_nan=False)
    assert json.loads(text)["runs"][3]["mean"] is None


def test_own_numbers_in_tables_carry_the_address_that_leads_back_to_them(results: Path) -> None:
    runs = run_cells(results, MANIFEST, PLACE)
    for metric in ("dice", "fpv_ml"):
        table = table2_tables.table2(table2_frame(runs, metric=metric), None, behind=None, metric=metric)
        spans = [cell[0] for row in table.rows for cell in row.cells]
        assert len({span.address for span in spans}) == 105
        (span,) = [span for span in spans if span.text in ("55.00", "2.75")]
        assert trace(results, MANIFEST, span.address).printed == span.text
    write_run(results, "m", [0.25], fpv_ml=[1], fnv_ml=[4])
    manifest = methods_manifest("table3", ("A/B #1", 0, 0, "m"))
    frames = comparison_frames(TABLE3, run_cells(results, manifest, METHODS))
    printed = comparison_tables.comparison_table(TABLE3, frames, None, facts={}, notes=())
    found = [cell[0] for row in printed.rows for cell in row.cells if cell[0].text != "–"]
    assert [span.address for span in found] == [
        "table3:A%2FB %231",
        "table3:A%2FB %231#fpv_ml",
        "table3:A%2FB %231#fnv_ml",
    ]
    assert [trace(results, manifest, span.address).printed for span in found] == [span.text for span in found]


def test_published_numbers_lead_to_where_they_were_published() -> None:
    table = table2_tables.table2(None, published_table2(), behind=None)
    spans = [span for row in table.rows for cell in row.cells for span in cell]
    (best,) = [span for span in spans if span.text == "65.91"]
    found = published_trace(printed_table("table2"), best.address).published
    assert found is not None
    assert found.value == 65.91


def test_a_difference_to_the_published_number_leads_where_both_numbers_lead(results: Path) -> None:
    runs = run_cells(results, MANIFEST, PLACE)
    table = table2_tables.table2(table2_frame(runs), published_table2(), behind=None)
    (cell,) = [cell for row in table.rows for cell in row.cells if cell[0].text == "55.00"]
    assert [(span.text, span.address) for span in cell] == [
        ("55.00", "table2:v3/shuffle/5"),
        (" ± 21.21", ""),
        (" / ", ""),
        ("65.91", "table2:v3/shuffle/5"),
        (" ", ""),
        ("(−10.91)", "table2:v3/shuffle/5"),
    ]


def test_the_command_prints_the_way_back_and_fails_where_files_are_not_as_they_were(
    results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    write_manifest(results, MANIFEST)
    save_file({}, RunFolder(results, "a").weights_file)

    def why(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["why", *arguments, "--results", str(results)])
        return int(ended.value.code or 0), capsys.readouterr().out

    code, text = why("table2:v3/shuffle/5")
    assert code == 0
    assert "table2-k:v3/shuffle/5  Dice [%]: 55.00" in text
    assert "agrees with the table" in text
    code, text = why("table2-k:v3/shuffle/5", "--json")
    assert (code, json.loads(text)["recomputed"]) == (0, pytest.approx(55.0))
    code, text = why("table2:v3/*/5")
    assert code == 0
    assert [line.split()[0] for line in text.splitlines()[1:]] == [
        f"table2-k:v3/{level}/5" for level in ("none", "noise", "shuffle")
    ]
    assert text.splitlines()[3].split()[1:3] == ["55.00", "55.000000"]
    # With the kind of its level, as a cell may be named, too.
    assert why("table2:v3/self_supervision/*/5") == (code, text)
    code, text = why("table2:v3/none/5|v3/shuffle/5", "--json")
    assert [one["printed"] for one in json.loads(text)] == ["–", "55.00"]
    note(results, "a", scores_sha256="0" * 64)
    code, text = why("table2:v3/shuffle/5")
    assert code == 1
    assert "fault: Run a" in text
    code, text = why("table2:v3/*/5")
    assert code == 1
    assert "fault: table2-k:v3/shuffle/5: Run a" in text


def test_a_damaged_configuration_is_a_fault_of_its_own_cell_and_of_no_other(results: Path) -> None:
    manifest = manifest_of((V3, 0, 0, "a"), ({**V3, "version": "v1"}, 0, 0, "e"))
    for name, steps in {"a": 1, "e": 2}.items():
        RunFolder(results, name).write_config({"training": {"steps": steps}})
    before = trace(results, manifest, "table2:v3/shuffle/5")
    assert [near.cells for near in before.neighbours] == [("v1",)]
    RunFolder(results, "e").config_file.write_text("{", encoding="utf-8")
    found = trace(results, manifest, "table2:v3/shuffle/5")
    assert (found.neighbours, found.faults) == ((), before.faults)
    RunFolder(results, "a").config_file.write_text("- not a mapping", encoding="utf-8")
    found = trace(results, manifest, "table2:v3/shuffle/5")
    assert any("is not a run's configuration" in fault for fault in found.faults)
    assert found.recomputed == before.recomputed


def test_a_number_of_runs_that_no_table_would_mix_is_a_fault_and_what_is_flagged_a_remark(
    results: Path,
) -> None:
    note(results, "a", protocol=1, gpu="H100")
    note(results, "b", protocol=1, gpu="A100")
    found = trace(results, MANIFEST, "table2:v3/shuffle/5")
    assert found.faults == ()
    assert found.remarks[0].startswith(
        "Not all runs were made alike (in brackets: how many): protocol version 1 (2) and not recorded (2); "
        "device H100 (1) and A100 (1)."
    )
    note(results, "b", protocol=2)
    found = trace(results, MANIFEST, "table2:v3/shuffle/5")
    assert found.agrees
    (fault,) = found.faults
    assert "would mix runs whose numbers are not comparable: protocol version" in fault
    # The failed cell has no runs to mix.
    assert trace(results, MANIFEST, "table2:v4/0.2/4-5-6").faults == ()


def test_checkpoint_rules_that_differ_within_a_cell_are_remarked(tmp_path: Path) -> None:
    write_run(tmp_path, "a", [0.5])
    write_run(tmp_path, "b", [0.5], fold=1, checkpoint="best")
    found = trace(tmp_path, manifest_of((V3, 0, 0, "a"), (V3, 1, 0, "b")), "table2:v3/shuffle/5")
    assert found.remarks == (
        "Not all runs were made alike (in brackets: how many): checkpoint rule last (1) and best (1).",
    )


def test_of_one_number_only_the_runs_of_its_cell_are_read(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_run(tmp_path, name, [0.5])
    RunFolder(tmp_path, "b").scores_file.write_bytes(b"PAR1")
    two = manifest_of((V3, 0, 0, "a"), (V4, 0, 0, "b"))
    assert trace(tmp_path, two, "table2:v3/shuffle/5").printed == "50.00"
    broken = trace(tmp_path, two, "table2:v4/0.2/4-5-6")
    assert (broken.printed, [run.failure for run in broken.runs]) == ("–", ["damaged"])
    assert [fault.partition(" cannot be read")[0] for fault in broken.faults] == [
        f"Run b: {RunFolder(tmp_path, 'b').scores_file}"
    ]
    RunFolder(tmp_path, "b").record_file.write_text("{")
    assert trace(tmp_path, two, "table2:v3/shuffle/5").printed == "50.00"


def test_a_damaged_run_of_another_method_hides_no_region_of_the_others(tmp_path: Path) -> None:
    regions = {"whole tumor": {"dice": [0.9]}, "edema": {"dice": [0.5]}, "tumor core": {"dice": [0.7]}}
    for name in ("a", "b"):
        write_regions(tmp_path, name, regions)
    RunFolder(tmp_path, "a").scores_file.write_bytes(b"PAR1")
    manifest = methods_manifest("mine", ("A", 0, 0, "a"), ("B", 0, 0, "b"))
    assert trace(tmp_path, manifest, "mine:B#edema_dice").printed == "50.00"


def test_without_a_results_folder_published_numbers_are_shown_but_a_mistyped_one_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments, code in ((["table3:PET"], 0), (["table3:PET", "--results", str(tmp_path / "resluts")], 2)):
        with pytest.raises(SystemExit) as ended:
            main(["why", *arguments])
        assert ended.value.code == code
    told = capsys.readouterr()
    assert told.out.count("own runs") == 1
    assert "resluts. Name that of the runs with --results" in told.err


def test_a_trace_names_its_launch_so_that_its_address_stays_true_when_another_is_started(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_manifest(results, MANIFEST)
    old = trace(results, MANIFEST, "table2:v3/shuffle/5").address
    write_run(results, "z", [0.9])
    write_manifest(results, replace(manifest_of((V3, 0, 0, "z")), key="newer", created=2.0))
    told = {}
    for asked in (old, "table2:v3/shuffle/5"):
        with pytest.raises(SystemExit):
            main(["why", asked, "--results", str(results), "--json"])
        found = json.loads(capsys.readouterr().out)
        told[found["address"]] = found["printed"]
    assert told == {"table2-k:v3/shuffle/5": "55.00", "table2-newer:v3/shuffle/5": "90.00"}
    with pytest.raises(SystemExit):
        main(["why", old, "--manifest", "table2-newer", "--results", str(results)])
    assert "is of the launch table2-k, --manifest asks for table2-newer" in capsys.readouterr().err
