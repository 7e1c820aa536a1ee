"""Grids of a user's own factors: their table, addresses, page and claims."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from written_runs import write_run

from benchmark.cli import main
from benchmark.results.manifests import CellRun, GridManifest, manifests, write_manifest
from reports.claims.report import claims_report
from reports.everything import write_html
from reports.provenance.trace import Traces
from reports.tables.comparison.frames import comparison_of
from reports.tables.report import write_report

STUDY = """
name: sizes
dataset: phantom
blocks:
  - set: {method: mirror_unet}
    over:
      depth: {path: method_args.depth, values: [3, 4]}
      rate: {path: training.learning_rate, values: [0.1, 0.01]}
"""
CLAIMS = """
name: mine
paper: none
claims:
  - id: deeper-is-better
    place: by hand
    says: Four layers are better than three, whatever the rate.
    table: sizes
    test: {for_each: {rate: all}, holds: {better: {depth: "4"}, than: {depth: "3"}}}
"""
LEVELS = [("3", "0.1"), ("3", "0.01"), ("4", "0.1"), ("4", "0.01")]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Four cells of twelve patients; every layer is worth ten points."""
    noise = np.random.default_rng(0).normal(0, 0.01, (4, 12))
    cells = []
    for number, (depth, rate) in enumerate(LEVELS):
        dice = [0.5 + 0.1 * (depth == "4") + 0.02 * (rate == "0.1") + error for error in noise[number]]
        write_run(tmp_path / "results", f"run{number}", dice, fpv_ml=[1.0] * 12)
        cells.append(CellRun({"depth": depth, "rate": rate}, 0, 0, f"run{number}"))
    manifest = GridManifest("sizes", "k", "small", "mine", "", "f1", 1.0, tuple(cells))
    write_manifest(tmp_path / "results", manifest)
    return tmp_path / "results"


def test_every_cell_of_two_factors_is_listed_with_its_scores(tmp_path: Path, results: Path) -> None:
    report = write_report(results, grid="sizes", source="runs", out=tmp_path / "out")
    table = report.tables[0].printed[0]
    assert table.title == "All cells of the grid sizes, by depth and rate"
    assert [row.label for row in table.rows] == [f"depth={depth}, rate={rate}" for depth, rate in LEVELS]
    values = [row.cells[0][0] for row in table.rows]
    assert [span.address for span in values] == [f"sizes-k:{depth}/{rate}" for depth, rate in LEVELS]
    assert [span.bold for span in values] == [False, False, True, False]
    assert (
        "Own best: Dice [%] 61.90 (depth=4, rate=0.1); FPV [ml] none, all 4 cells are equal in print"
        in " ".join(report.summary)
    )
    traced = Traces(results, manifests(results, "sizes")[0]).of("sizes:4/0.01")
    assert (traced.printed, traced.agrees) == (values[3].text, True)


def test_two_factors_stand_across_and_down_with_the_numbers_of_the_list(
    tmp_path: Path, results: Path
) -> None:
    report = write_report(results, grid="sizes", source="runs", out=tmp_path / "out")
    listed = {row.label: row.cells[0][0] for row in report.tables[0].printed[0].rows}
    table = next(
        one
        for written in report.tables
        for one in written.printed
        if one.number.endswith("(by factor, Dice)")
    )
    assert (table.stub, table.columns) == (("rate",), ("depth = 3", "depth = 4"))
    assert [row.label for row in table.rows] == ["0.1", "0.01"]
    for row in table.rows:
        for depth, cell in zip(("3", "4"), row.cells, strict=True):
            assert cell[0] == listed[f"depth={depth}, rate={row.label}"]
    layout = pd.read_csv(tmp_path / "out" / "sizes_factors.csv")
    assert list(layout) == ["metric", "rate", "3", "4"]
    assert layout.loc[layout["metric"] == "fpv_ml", "4"].tolist() == [1.0, 1.0]


def test_what_each_of_three_factors_contributes_is_estimated_and_drawn(tmp_path: Path) -> None:
    """Depth is worth ten points, rate two, and momentum none; nothing interacts."""
    noise, cells = np.random.default_rng(1).normal(0, 0.005, (8, 12)), []
    patients = np.linspace(0, 0.2, 12)
    for number, (depth, rate, momentum) in enumerate(product(("3", "4"), ("0.1", "0.01"), ("0.9", "0.99"))):
        dice = 0.4 + patients + 0.1 * (depth == "4") + 0.02 * (rate == "0.1") + noise[number]
        write_run(tmp_path / "results", f"run{number}", list(dice), fpv_ml=[1.0] * 12)
        factors = {"depth": depth, "rate": rate, "momentum": momentum, "batch": "2"}
        cells.append(CellRun(factors, 0, 0, f"run{number}"))
    manifest = GridManifest("mine", "k", "small", "mine", "", "f1", 1.0, tuple(cells))
    write_manifest(tmp_path / "results", manifest)
    report = write_report(tmp_path / "results", grid="mine", source="runs", out=tmp_path / "out")
    printed = {one.number: one for written in report.tables for one in written.printed}
    table = printed["mine (by factor, Dice)"]
    assert (table.stub, table.columns) == (("rate", "momentum"), ("depth = 3", "depth = 4"))
    assert [(row.group, row.label) for row in table.rows] == [
        ("0.1", "0.9"), ("0.1", "0.99"), ("0.01", "0.9"), ("0.01", "0.99"),
    ]  # fmt: skip
    assert "In all cells batch = 2." in table.notes
    terms = pd.read_csv(tmp_path / "out" / "mine_mixed.csv").set_index("term")
    assert terms.loc["depth", "value"] == pytest.approx(10, abs=0.5)
    assert terms.loc["rate", "value"] == pytest.approx(2, abs=0.5)
    assert (terms["p_holm"] < 0.05).to_dict() == {term: term in ("depth", "rate") for term in terms.index}
    links = {
        span.address for row in printed["mine (marginal means)"].rows for cell in row.cells for span in cell
    }
    assert "mine-k:4/*/*/2" in links
    figures = {path.stem for figure in report.figures for path in figure.files}
    assert {"mine_factors_figure", "mine_mixed_figure"} <= figures
    page = write_html(tmp_path / "results", tmp_path / "html", source="runs", thumbnail=None)
    assert "by factor, Dice" in page.files[0].read_text(encoding="utf-8")


def test_a_grid_of_one_factor_needs_no_table_across(tmp_path: Path) -> None:
    cells = []
    for number, depth in enumerate(("3", "4")):
        write_run(tmp_path / "results", f"run{number}", [0.5] * 6)
        cells.append(CellRun({"depth": depth, "rate": "0.1"}, 0, 0, f"run{number}"))
    manifest = GridManifest("mine", "k", "small", "mine", "", "f1", 1.0, tuple(cells))
    write_manifest(tmp_path / "results", manifest)
    report = write_report(tmp_path / "results", grid="mine", source="runs", out=tmp_path / "out")
    assert not [one.number for written in report.tables for one in written.printed if "factor" in one.number]


def test_an_own_grid_with_the_name_of_a_table_is_no_such_table(tmp_path: Path, results: Path) -> None:
    (own,) = manifests(results, "sizes")
    write_manifest(results, replace(own, grid="table2"))
    report = write_report(results, grid="table2", source="both", out=tmp_path / "out")
    assert report.tables[0].printed[0].rows[0].label == "depth=3, rate=0.1"


def test_cells_of_blocks_with_other_factors_have_rows_of_their_own() -> None:
    factors: list[dict[str, str]] = [{"a": "1", "b": "2"}, {"a": "1", "c": "2"}, {}]
    cells = tuple(CellRun(each, 0, 0, str(number)) for number, each in enumerate(factors))
    found = comparison_of(GridManifest("g", "k", "demo", "d", "", "f", 1.0, cells))
    rows = [found.place.of(each)["method"] for each in factors]
    assert rows[:2] == ["a=1, b=2", "a=1, c=2"]
    assert len(set(rows)) == 3
    assert found.coordinates[rows[0]] == ("1", "2", "–")


def test_own_claims_find_own_runs_of_an_own_grid(tmp_path: Path, results: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(CLAIMS, encoding="utf-8")
    report = claims_report(results, [file], source="runs", out=tmp_path / "out")
    assert report.summary[0] == "Own runs: 1 claim, 1 supported."
    frame = pd.read_csv(tmp_path / "out" / "claims.csv")
    assert frame["cells"][0].split("; ") == ["sizes:4/0.1", "sizes:3/0.1", "sizes:4/0.01", "sizes:3/0.01"]
    assert frame["effect"][0] == pytest.approx(10, abs=1.0)


def test_the_page_shows_an_own_grid_with_its_claims(tmp_path: Path, results: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(CLAIMS, encoding="utf-8")
    written = write_html(results, tmp_path / "html", source="runs", thumbnail=None, claims=[file])
    assert [part.reason for part in written.parts] == ["", ""]
    text = written.files[0].read_text(encoding="utf-8")
    assert "depth=4, rate=0.01" in text
    assert "deeper-is-better" in text


def test_commands_take_the_file_that_run_takes(
    tmp_path: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "my_grid.yaml"
    study.write_text(STUDY, encoding="utf-8")
    for command in (
        ["report", "--grid", str(study), "--no-mlflow", "--out", str(tmp_path / "out")],
        ["status", "--grid", str(study)],
    ):
        with pytest.raises(SystemExit) as ended:
            main([*command, "--results", str(results)])
        assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "Table sizes: own runs" in said
    assert "sizes-k  profile small, data set mine" in said
