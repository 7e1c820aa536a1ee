"""Marks, notes and tables of statistics, from runs written by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from written_runs import NAN, manifest_of, methods_manifest, score_rows, write_readings, write_scores

from benchmark.results import GridManifest, write_manifest
from reports.printing import PrintedTable, latex, markdown
from reports.report import write_report

N = 12
EASY = np.linspace(0.3, 0.8, N)
"""Twelve cases, of twelve patients."""


@pytest.fixture(autouse=True)
def _no_ink(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.drawing.save", lambda figure, stem, *, formats=(): [Path(f"{stem}.png")])


def write(results: Path, run_id: str, dice: np.ndarray, **where: int) -> None:
    volumes = {"fpv_ml": [0.0] * len(dice), "fnv_ml": list(1 - dice)}
    scores = {"dice": list(dice), **volumes, "missed": [1.0, *[0.0] * (len(dice) - 1)]}
    write_readings(results, run_id, {"": scores}, where=where)


def three_methods(results: Path) -> GridManifest:
    """A and B differ by chance alone, C is worse in every patient, D has not finished."""
    noise = np.random.default_rng(0).normal(0, 0.02, N)
    write(results, "a", EASY + 0.1)
    write(results, "b", EASY + 0.1 - noise)
    write(results, "c", EASY - np.linspace(0.05, 0.06, N))
    cells = [("A", 0, 0, "a"), ("B", 0, 0, "b"), ("C", 0, 0, "c"), ("D", 0, 0, "d")]
    return write_manifest(results, methods_manifest("mine", *cells))


def reported(results: Path, manifest: GridManifest, out: Path) -> list[PrintedTable]:
    written = write_report(results, grid=manifest.grid, source="runs", out=out)
    return [printed for table in written.tables for printed in table.printed]


def table_named(tables: list[PrintedTable], number: str) -> PrintedTable:
    return next(table for table in tables if table.number == number)


def test_methods_that_are_like_the_best_are_marked_and_the_note_says_how(tmp_path: Path) -> None:
    manifest = three_methods(tmp_path)
    tables = reported(tmp_path, manifest, tmp_path / "out")
    scores = table_named(tables, "mine")
    text = markdown(scores)
    dice = {row.label: "".join(span.text for span in row.cells[0]) for row in scores.rows}
    unmarked = {name for name, number in dice.items() if "≈" not in number}
    best = max(("A", "B"), key=lambda name: float(dice[name].rstrip("≈")))
    assert unmarked == {best, "C", "D"}
    assert dice["D"] == "–"
    (note,) = (note for note in scores.notes if note.startswith("≈"))
    # Three pairs of methods in Dice, FPV and FNV.
    assert "p ≥ 0.05, two-sided Wilcoxon signed-rank test" in note
    assert "12 patients" in note
    assert "Holm's over all 9 pairs of methods" in note
    assert "over one seed they do not cover training anew" in text
    assert "Cases: n used 12; n undefined 0; n missed lesions 1 (" in text
    source = latex([scores])
    assert r"$\approx$" in source
    assert r"$\geq$" in source
    assert "≈" in (tmp_path / "out" / "mine.html").read_text(encoding="utf-8")


def test_equal_volumes_are_all_like_the_best(tmp_path: Path) -> None:
    """No method has a false positive: p is 1, and every one but the first of the tie is marked."""
    tables = reported(tmp_path, three_methods(tmp_path), tmp_path / "out")
    scores = table_named(tables, "mine")
    column = scores.columns.index("FPV [ml] ↓")
    assert ["".join(span.text for span in row.cells[column]) for row in scores.rows] == [
        "0.00",
        "0.00≈",
        "0.00≈",
        "–",
    ]


def test_the_table_of_statistics_holds_interval_counts_and_comparison(tmp_path: Path) -> None:
    tables = reported(tmp_path, three_methods(tmp_path), tmp_path / "out")
    for measure in ("Dice", "FPV", "FNV"):
        printed = table_named(tables, f"mine (statistics, {measure})")
        assert [row.label for row in printed.rows] == ["A", "B", "C"], "D has no run"
        assert any(note.startswith("Cases: n used 12;") for note in printed.notes)
    frame = pd.read_csv(tmp_path / "out" / "mine_statistics.csv")
    dice = frame[frame["measure"] == "dice"].set_index("method")
    worst = dice.loc["C"]
    assert worst["mean"] == pytest.approx(100 * (EASY - np.linspace(0.05, 0.06, N)).mean())
    assert worst["low"] < worst["mean"] < worst["high"]
    assert worst[["n_used", "n_undefined", "n_missed", "n_patients"]].tolist() == [12, 0, 1, 12]
    assert worst["covers"] == "patients"
    assert worst["effect"] == -1
    # All twelve of one sign, exactly: 2 / 2^12, and Holm's factor for the smallest of nine (or a tie of it).
    assert worst["p"] == pytest.approx(2 / 2**12)
    assert worst["p"] * 5 <= worst["p_adjusted"] <= worst["p"] * 9
    assert worst["best"] in ("A", "B")
    assert dice.loc[worst["best"], ["difference", "p"]].isna().all()
    pairs = pd.read_csv(tmp_path / "out" / "mine_statistics_cells.csv")
    assert len(pairs) == 9
    cells = pd.read_csv(tmp_path / "out" / "mine_cells.csv").set_index(["method", "metric"])
    assert cells.loc[("C", "dice"), "low"] == pytest.approx(worst["low"])
    assert cells.loc[("C", "dice"), "high"] == pytest.approx(worst["high"])


def test_too_few_patients_mark_nothing_and_the_note_says_why(tmp_path: Path) -> None:
    """Six patients, three methods and three measures: 9 x 2 / 2^6 is not below 0.05."""
    for name, shift in (("a", 0.0), ("b", 0.1), ("c", 0.2)):
        write(tmp_path, name, EASY[:6] - shift)
    cells = [(name.upper(), 0, 0, name) for name in "abc"]
    manifest = write_manifest(tmp_path, methods_manifest("mine", *cells))
    scores = table_named(reported(tmp_path, manifest, tmp_path / "out"), "mine")
    assert "≈" not in markdown(scores).split("\n* ")[0]
    assert (
        "No differences are marked: with 6 patients and 9 pairs no adjusted p can be below 0.05."
        in scores.notes
    )

    for name in "abc":
        write(tmp_path, name, EASY[:5])
    scores = table_named(reported(tmp_path, manifest, tmp_path / "again"), "mine")
    (note,) = (note for note in scores.notes if note.startswith("No differences"))
    assert "a test needs 6 patients with a value, and there are 5" in note


def test_cases_of_one_patient_are_one_patient(tmp_path: Path) -> None:
    for name, shift in (("a", 0.0), ("b", 0.1)):
        rows = score_rows(name, {"": {"dice": list(EASY - shift)}})
        write_scores(tmp_path, name, [rows.assign(patient=[f"p{number // 3}" for number in range(N)])])
    manifest = write_manifest(tmp_path, methods_manifest("mine", ("A", 0, 0, "a"), ("B", 0, 0, "b")))
    scores = table_named(reported(tmp_path, manifest, tmp_path / "out"), "mine")
    assert any("a test needs 6 patients with a value, and there are 4" in note for note in scores.notes)


def test_two_seeds_are_covered_and_said_to_be_few(tmp_path: Path) -> None:
    cells = []
    for method in "AB":
        for seed in (0, 1):
            write(tmp_path, f"{method}{seed}", EASY - 0.1 * (method == "B") + 0.01 * seed, seed=seed)
            cells.append((method, 0, seed, f"{method}{seed}"))
    manifest = write_manifest(tmp_path, methods_manifest("mine", *cells))
    scores = table_named(reported(tmp_path, manifest, tmp_path / "out"), "mine")
    (note,) = (note for note in scores.notes if note.startswith("95 %"))
    assert "cover other patients and training anew; 2 seeds show too little of it" in note
    frame = pd.read_csv(tmp_path / "out" / "mine_statistics.csv")
    assert set(frame["covers"]) == {"patients and seeds"}


def test_cells_of_table_2_are_marked_in_their_box_and_in_their_version(tmp_path: Path) -> None:
    values = {
        ("none", "5"): EASY - 0.1,
        ("noise", "5"): EASY - 0.1 + np.random.default_rng(3).normal(0, 0.004, N),
        ("none", "4"): EASY + np.random.default_rng(1).normal(0, 0.02, N),
        ("noise", "4"): EASY + np.random.default_rng(2).normal(0, 0.02, N),
    }
    cells = []
    for number, ((level, layers), dice) in enumerate(values.items()):
        write(tmp_path, f"r{number}", dice)
        factors = {"version": "v1", "self_supervision": level, "shared_layers": layers}
        cells.append((factors, 0, 0, f"r{number}"))
    manifest = write_manifest(tmp_path, manifest_of(*cells))
    tables = reported(tmp_path, manifest, tmp_path / "out")
    scores = table_named(tables, "2")
    rows = {row.label: row.cells for row in scores.rows if row.group == "(v1)"}
    shown = {
        (label, layers): "".join(span.text for span in rows[label][column])
        for label in ("L2", "L2 + noise")
        for column, layers in ((1, "4"), (2, "5"))
    }
    marks = {key: number.lstrip("0123456789.") for key, number in shown.items()}
    assert sorted(marks[label, "4"] for label in ("L2", "L2 + noise")) == ["", "≈∼"]
    assert sorted(marks[label, "5"] for label in ("L2", "L2 + noise")) == ["", "≈"]
    (note,) = (note for note in scores.notes if note.startswith("≈"))
    assert note.startswith(
        "≈ not told from the best of its box, ∼ not told from the best of its version: p ≥"
    )
    assert "all 6 pairs of cells within a version" in note
    statistics = pd.read_csv(tmp_path / "out" / "table2_statistics.csv")
    assert set(statistics["against"]) == {"box", "version"}
    assert len(statistics) == 8
    printed = table_named(tables, "2 (statistics)")
    assert [row.label for row in printed.rows][:2] == ["L2, L = {4}", "L2, L = {5}"]
    assert "best" in [span.text for row in printed.rows for cell in row.cells for span in cell]


def test_undefined_scores_are_counted_under_the_table(tmp_path: Path) -> None:
    dice = np.where(np.arange(N) < 2, NAN, EASY)
    for name in "ab":
        write(tmp_path, name, dice)
    manifest = write_manifest(tmp_path, methods_manifest("mine", ("A", 0, 0, "a"), ("B", 0, 0, "b")))
    scores = table_named(reported(tmp_path, manifest, tmp_path / "out"), "mine")
    (note,) = (note for note in scores.notes if note.startswith("Cases:"))
    assert note.startswith(
        "Cases: n used 10 (Dice and FNV) and 12 (FPV); n undefined 2 (Dice and FNV) and 0 (FPV);"
    )
