"""The numbers of the page: coverage, boxes, thumbnails, curves; and the folder it is written to."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from written_pages import DICE, HOSTILE_METHODS, thumbnail, without_ink, write_results
from written_runs import V3, V4, manifest_of, methods_manifest, score_rows, write_failure

from benchmark.cli.common import mlflow_links
from benchmark.results.manifests import manifests, write_manifest
from benchmark.results.runs import RunFolder, RunRecord
from benchmark.tracking.memory import Memory
from benchmark.vocabulary import BenchError
from reports import everything
from reports.everything import write_everything, write_html
from reports.ground import score_files
from reports.ground.printing import PrintedTable, Row, Span
from reports.ground.remembering import remembering
from reports.ground.runs import planned_and_scored, reported_scores
from reports.page.cells import curves, thinned
from reports.page.checking import Checked, checked
from reports.page.coverage import bar, coverage
from reports.page.failures import wanted_thumbnails
from reports.page.grids import ShownGrid, case_boxes, shown_grid, summary
from reports.page.linking import with_links
from reports.page.model import Group, Page, Section, cells_table, png_size
from reports.page.run_parts import shown_parts
from reports.provenance.trace import Traces
from reports.tables.table2.frames import PLACE

NAN = float("nan")


def planned(*rows: tuple[str, str, str, str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["method", "run_id", "state", "failure"])
    return frame.assign(fold=range(len(frame)), seed=0)


def test_coverage_counts_cells_by_their_runs_and_every_training_once() -> None:
    rows = planned(
        ("CT", "a", "done", ""),
        ("PET", "a", "done", ""),
        ("v3", "b", "done", ""),
        ("v3", "c", "failed", "memory"),
        ("EF", "d", "trained", ""),
        ("nnU-Net", "e", "failed", "unsupported"),
    )
    found = coverage(manifest_of((V3, 0, 0, "x")), rows, ["method"])
    assert (found.n_cells, found.n_whole, found.n_partial) == (5, 2, 1)
    assert found.states == {"done": 2, "pending": 1, "failed": 1, "unsupported": 1}
    assert found.n_runs == 5
    assert found.folds == (0, 1, 2, 3, 4, 5)


def test_the_bar_of_states_has_their_shares() -> None:
    assert [(part.start, part.length) for part in bar({"done": 3, "failed": 1})] == [(0, 750), (750, 250)]


def test_a_curve_is_thinned_to_its_ends_and_what_lies_evenly_between() -> None:
    assert list(thinned(5)) == [0, 1, 2, 3, 4]
    assert list(thinned(101, most=5)) == [0, 25, 50, 75, 100]
    assert len(thinned(100_000)) == 250


def test_curves_have_all_columns_with_a_value_and_null_where_there_is_none() -> None:
    history = {
        "step": np.array([1, 2, 3]),
        "epoch": np.full(3, 0.1),
        "seconds": np.ones(3),
        "seg": np.array([0.1234567, 0.5, NAN]),
        "val_dice": np.full(3, NAN),
    }
    assert curves(history) == {"steps": [1, 2, 3], "series": {"seg": [0.12346, 0.5, None]}}
    assert curves({}) == curves({"step": np.empty(0)}) == {"steps": [], "series": {}}


def test_all_thumbnails_are_wanted_where_there_is_room() -> None:
    values = np.array([[1.0, NAN], [2.0, 3.0]])
    assert wanted_thumbnails(values, higher_is_better=True, most=4) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_each_pair_has_its_largest_difference_before_any_has_its_second() -> None:
    #                   case  0     1     2     3
    values = np.array([[90.0, 50.0, 20.0, 10.0], [40.0, 60.0, 19.0, NAN]])
    # Cell 0 is ahead by 50 in case 0 and by 1 in case 2, cell 1 by 10 in case 1.
    wanted = wanted_thumbnails(values, higher_is_better=True, most=6)
    assert wanted == [(0, 0), (1, 0), (1, 1), (0, 1), (0, 2), (1, 2)]
    assert wanted_thumbnails(values, higher_is_better=True, most=4) == wanted[:4]
    assert wanted_thumbnails(values, higher_is_better=False, most=3) == [(1, 0), (0, 0)]


def test_a_shown_cell_has_the_number_of_the_table_and_the_box_of_its_cases(tmp_path: Path) -> None:
    results = write_results(tmp_path / "results")
    (manifest,) = manifests(results, "table2")
    grid = shown_grid(results, manifest)
    assert list(grid.cells["label"]) == [
        "v3, L2 + shuffling, L = {5}",
        "v4, θ = 0.2, L = {4, 5, 6}",
        "v4, θ = 0.3, L = {4, 5, 6}",
    ]
    assert list(grid.measures) == ["dice", "fpv_ml", "fnv_ml"]
    first, _, failed = summary(grid)["cells"]  # type: ignore[misc]
    assert first["address"] == f"{grid.manifest.name}:v3/shuffle/5"  # type: ignore[index]
    assert first["values"]["dice"] == pytest.approx(100 * np.nanmean(DICE))  # type: ignore[index]
    assert np.isnan(failed["values"]["dice"])  # type: ignore[index]
    box, _, nothing = case_boxes(grid.scores["dice"])
    # Of 25, 50 and 90: quartiles at 37.5 and 70.
    assert box == pytest.approx([25, 37.5, 50, 70, 90, 3])
    assert nothing is None
    printed = cells_table(grid)
    assert [span.text for cell in printed.rows[0].cells for span in cell] == [
        *("shuffle", "5", "55.00", "2.50", "0.50", "1/1", "4", "3")
    ]
    assert printed.rows[0].cells[3][0].address == f"{grid.manifest.name}:v3/shuffle/5#fpv_ml"
    assert printed.rows[0].cells[5][0].address == f"{grid.manifest.name}:v3/shuffle/5"


def test_links_lead_to_cells_of_the_page_and_nowhere_else(tmp_path: Path) -> None:
    grid = shown_table2(write_results(tmp_path / "results"))
    addresses = [
        *("table2-k:v3/shuffle/5", "table2-k:v3/*/5#fpv_ml", "table2-k:v4/*/*|v9/none/3"),
        *("table2-k:v9/*/*", "table2-k:v3/shuffle/7", "table2-other:v3/shuffle/5", "table4:PET|EF"),
    ]
    row = Row("", "row", tuple((Span(address, address=address),) for address in addresses))
    table = PrintedTable("C1", "Claims", ("Claim",), tuple(addresses), (row,))
    section = Section("claims", "", "Claims", "Claims", "", (), (Group(0, (table,), ()),), ())
    page = with_links(Page("", (section,), (), (), section, "", (), ()), [grid])
    assert page.claims == page.sections[0]
    (linked,) = page.sections[0].groups[0].printed[0].rows
    assert [cell[0].linked for cell in linked.cells] == [True] * 3 + [False] * 4
    assert [cell[0].address for cell in linked.cells] == addresses


def test_a_damaged_file_of_a_trial_costs_its_link_and_no_page(tmp_path: Path) -> None:
    for name in ("whole", "rows", "record"):
        folder = RunFolder(tmp_path, name)
        folder.path.mkdir(parents=True)
        folder.write_validation(score_rows(name, {"": {"dice": [0.5, 0.7]}}).assign(split="validation"))
        folder.write_record(RunRecord(name, state="trained"))
    RunFolder(tmp_path, "rows").validation_file.write_bytes(b"no parquet")
    RunFolder(tmp_path, "record").record_file.write_text("{", encoding="utf-8")
    addresses = [f"run:{name}/validation" for name in ("whole", "rows", "record", "gone")]
    row = Row("", "row", tuple((Span("1", address=address),) for address in [*addresses, "run:whole"]))
    table = PrintedTable("S1", "Trials", ("Trial",), tuple("abcde"), (row,))
    section = Section("search", "", "", "", "", (), (Group(0, (table,), ()),), ())
    page = Page("", (section,), (), (), None, "", (), ())
    (part,) = shown_parts(page, tmp_path)
    assert (part.address, part.content["means"][0][0]) == ("run:whole/validation", "Mean")  # type: ignore[index]
    (linked,) = with_links(page, [], [part]).sections[0].groups[0].printed[0].rows
    assert [cell[0].linked for cell in linked.cells] == [True, False, False, False, False]


def test_the_page_has_every_file_its_text_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_ink(monkeypatch)
    results = write_results(tmp_path / "results")
    written = write_html(results, tmp_path / "html", source="both", thumbnail=thumbnail)
    assert written.files[0] == tmp_path / "html" / "index.html"
    assert all(path.is_file() for path in written.files)
    present = {path for path in (tmp_path / "html").rglob("*") if path.is_file()}
    assert present == set(written.files)
    assert {path.name for path in present if "-thumbnails" in path.name} == {
        "0-thumbnails.js",
        "1-thumbnails.js",
    }
    text = written.files[0].read_text(encoding="utf-8")
    assert not any(name in text for name in HOSTILE_METHODS)
    assert [part.name for part in written.parts] == ["table2", "table3"]


def shown_table2(results: Path) -> ShownGrid:
    (manifest,) = manifests(results, "table2")
    return shown_grid(results, manifest)


def checked_cell(results: Path, grid: ShownGrid, cell: int = 0) -> Checked:
    trace = Traces(results, grid.manifest, verify=False).of(grid.address(cell))
    return checked(grid, cell, trace, results=results)


def test_every_measure_of_a_cell_is_computed_again_from_its_files(tmp_path: Path) -> None:
    results = write_results(tmp_path / "results")
    grid = shown_table2(results)
    found = checked_cell(results, grid)
    assert found.recomputed == pytest.approx({"dice": 55.0, "fpv_ml": 2.5, "fnv_ml": 0.5})
    assert found.faults == ()
    assert checked_cell(results, grid, 2).recomputed == {"dice": None, "fpv_ml": None, "fnv_ml": None}
    wrong = grid.frames["fpv_ml"].assign(value=lambda frame: frame["value"] + 0.01)
    told = checked_cell(results, replace(grid, frames={**grid.frames, "fpv_ml": wrong}))
    assert told.faults == ("FPV [ml]: the table's number is 2.51, but the rows on disk give 2.5.",)


@pytest.mark.slow
def test_scores_are_digested_and_weights_are_said_not_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_ink(monkeypatch)
    results = write_results(tmp_path / "results")
    folder = RunFolder(results, "run3")
    digest = sha256(folder.scores_file.read_bytes()).hexdigest()
    record = folder.record()
    facts = {**record.facts, "scores_sha256": digest, "weights_sha256": "0" * 64}
    folder.write_record(replace(record, facts=facts))
    assert checked_cell(results, shown_table2(results)).scores["run3"].state == "unchanged"
    facts["scores_sha256"] = "1" * 64
    folder.write_record(replace(record, facts=facts))
    written = write_html(results, tmp_path / "html", source="runs")
    content = next(path for path in written.files if path.match("data/0/0.js")).read_text(encoding="utf-8")
    assert "Run run3: its scores are not as the run wrote them" in content
    assert "NOT the file's" in content
    assert "Weights, sha256 (recorded, not checked)" in content


def test_no_text_of_the_page_names_a_folder_or_a_host_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_ink(monkeypatch)
    results = write_results(tmp_path / "results")
    write_failure(results, "run9", "code", error=f"[Errno 2] No such file: '{tmp_path}/data/CT.nii.gz'")
    write_manifest(results, methods_manifest("table4", ("nnUNet", 0, 0, "never")))
    folder = RunFolder(results, "run3")
    folder.data_file.write_text(
        json.dumps(dict.fromkeys(("root", "store", "scored_on", "splits"), f"{tmp_path}/x"))
    )
    written = write_html(results, tmp_path / "html", source="runs", thumbnail=thumbnail)
    texts = {
        path.name: path.read_text(encoding="utf-8")
        for path in written.files
        if path.suffix in (".html", ".js")
    }
    assert [name for name, text in texts.items() if str(tmp_path) in text or "secret-host" in text] == []
    assert "None of the 1 runs of table4-k in results has finished" in texts["index.html"].replace("…/", "")


def test_what_could_not_be_shown_is_said_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_ink(monkeypatch)
    results = write_results(tmp_path / "results")
    text = write_html(results, tmp_path / "html", source="runs").files[0].read_text(encoding="utf-8")
    assert "<li>Rank stability of Table 2: Ranks by Dice need two cells" in text


def test_all_reports_every_grid_and_says_why_one_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_ink(monkeypatch)
    results = write_results(tmp_path / "results")
    write_manifest(results, methods_manifest("table4", ("nnUNet", 0, 0, "never")))
    parts = write_everything(results, tmp_path / "out", source="runs")
    assert [(part.name, part.report is not None) for part in parts] == [
        ("table2", True),
        ("table3", True),
        ("table4", False),
    ]
    assert "None of the 1 runs of table4-k" in parts[2].line
    assert (tmp_path / "out" / "table3" / "table3.html").is_file()
    with pytest.raises(BenchError, match="There are no runs in"):
        write_everything(tmp_path / "nothing", tmp_path / "out", source="runs")


def test_the_size_of_a_picture_is_read_from_its_head(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("L", (400, 200)).save(tmp_path / "x.png")
    assert png_size(tmp_path / "x.png") == (192, 96)
    (tmp_path / "y.png").write_bytes(b"nothing of the kind")
    assert png_size(tmp_path / "y.png") is None


def test_unknown_factors_are_coverage_enough() -> None:
    rows = planned(("a", "1", "pending", ""))
    assert coverage(manifest_of((V4, 0, 0, "1")), rows, ["method"]).states == {"pending": 1}


def test_a_run_that_cannot_be_read_is_counted_as_failed_by_page_and_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_ink(monkeypatch)
    results = write_results(tmp_path / "results")
    (grid,) = manifests(results, "table2")
    before = everything._coverage(results, grid).states
    first = next(run for run in grid.cells if RunFolder(results, run.run_id).seen().state == "done")
    RunFolder(results, first.run_id).scores_file.write_bytes(b"no parquet")
    after = everything._coverage(results, grid).states
    assert after["done"] == before["done"] - 1
    assert after["failed"] == before.get("failed", 0) + 1


def test_a_page_decodes_the_scores_of_every_run_of_a_table_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_ink(monkeypatch)
    results = write_results(tmp_path / "results")
    decoded: list[str] = []
    real = score_files._decoded
    monkeypatch.setattr(score_files, "_decoded", lambda folder: decoded.append(folder.run_id) or real(folder))
    write_html(results, tmp_path / "html", source="runs")
    planned = [run.run_id for run in manifests(results, "table2")[0].cells]
    assert [decoded.count(run_id) for run_id in planned if run_id in decoded] == [1, 1]


def test_a_page_reads_configuration_record_and_mlflow_s_answers_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_ink(monkeypatch)
    results = write_results(tmp_path / "results")
    (results / "mlflow.db").touch()
    asked: Counter[str] = Counter()

    def counting(kind: type, name: str, what: str) -> None:
        real = getattr(kind, name)

        def told(self: RunFolder, *arguments: object) -> object:
            asked[f"{what} {getattr(self, 'run_id', '')}".strip()] += 1
            return real(self, *arguments)

        monkeypatch.setattr(kind, name, told)

    counting(RunFolder, "config", "config")
    counting(RunFolder, "record", "record")
    counting(RunFolder, "curves", "history")
    counting(Memory, "__init__", "memory")
    write_html(results, tmp_path / "html", source="runs", links=mlflow_links(results))
    planned = {run.run_id for run in manifests(results, "table2")[0].cells}
    assert {f"record {run_id}" for run_id in planned} < set(asked)
    assert set(asked.values()) == {1}, asked


def test_a_part_of_remembered_scores_is_what_would_have_been_read(tmp_path: Path) -> None:
    results = write_results(tmp_path / "results")
    (grid,) = manifests(results, "table2")
    for metrics in (["dice"], ["fnv_ml", "dice"], ["nothing"], None):
        planned, read = planned_and_scored(results, grid, PLACE, metrics=metrics)
        with remembering():
            for _ in range(2):
                same, kept = planned_and_scored(results, grid, PLACE, metrics=metrics)
                pd.testing.assert_frame_equal(planned, same)
                pd.testing.assert_frame_equal(read, kept)
                pd.testing.assert_frame_equal(reported_scores(results, planned, metrics=metrics), read)
