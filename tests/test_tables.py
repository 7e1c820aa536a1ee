"""Table 2 as Markdown, CSV and LaTeX."""

from __future__ import annotations

import shutil
import subprocess
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from written_runs import NAN, V3, V4, manifest_of, write_run

from reports.ground.cells import unfinished
from reports.ground.frames import behind
from reports.ground.latex import SIGNS, latex, latex_text
from reports.ground.printing import PrintedTable, Row, Span, markdown, markdown_text
from reports.ground.runs import run_cells
from reports.ground.words import level_label
from reports.tables.table2.frames import PLACE, published_table2, table2_frame
from reports.tables.table2.tables import table2, table2_cells, table2_counts, table2_layout

table2_runs = partial(run_cells, place=PLACE)


def rows_of(text: str) -> dict[tuple[str, str], list[str]]:
    """The rows of a Markdown table by version and parameters; the version is carried down."""
    rows, version = {}, ""
    for line in text.splitlines():
        if line.startswith("|") and not line.startswith(("| Version", "| :--")):
            stub, label, *cells = (cell.strip() for cell in line.strip("|").split(" | "))
            version = stub or version
            rows[version, label] = cells
    return rows


def grid(results: Path, *, metric: str = "dice") -> tuple[pd.DataFrame, PrintedTable, PrintedTable]:
    """v3 at {5} with two seeds (63.10, 65.10) above noise (60.00), v4 at {4, 5, 6} with one of two runs, v1 at {3}
    undefined."""
    v1 = {"version": "v1", "self_supervision": "none", "shared_layers": "3"}
    write_run(results, "a", [0.631, NAN], seed=0, fpv_ml=[2.0, 1.0])
    write_run(results, "b", [0.651, NAN], seed=1, fpv_ml=[4.0, 1.0])
    write_run(results, "c", [0.70], fpv_ml=[0.5])
    write_run(results, "d", [NAN], fpv_ml=[0.25])
    write_run(results, "e", [0.60], fpv_ml=[2.5])
    noise = {**V3, "self_supervision": "noise"}
    manifest = manifest_of(
        *(
            (V3, 0, 0, "a"),
            (V3, 0, 1, "b"),
            (V4, 0, 0, "c"),
            (V4, 0, 1, "x"),
            (v1, 0, 0, "d"),
            (noise, 0, 0, "e"),
        )
    )
    runs = table2_runs(results, manifest)
    known = behind(runs, manifest)
    frame = table2_frame(runs, metric=metric)
    paper = published_table2() if metric == "dice" else None
    own = table2(frame, None, behind=known, metric=metric)
    return frame, own, table2(frame, paper, behind=known, metric=metric)


def test_the_published_table_has_the_papers_layout_with_its_bold_and_underlined_numbers() -> None:
    table = table2(None, published_table2(), behind=None)
    assert table.columns[0] == "L = {3}"
    assert table.columns[-2:] == ("L = {4, 5, 6}", "L = {3, 4, 5, 6, 7}")
    rows = rows_of(markdown(table))
    assert len(rows) == 15
    assert [label for version, label in rows if version == "(v2)"] == ["L2", "L2 + noise", "L2 + shuffling"]
    assert rows["(v1)", "L2 + shuffling"][1] == "**63.97**"
    assert rows["(v3)", "L2 + shuffling"][2] == "<u>**65.91**</u>"
    assert rows["(v4)", "θ = 0.2"][2] == "<u>**64.24**</u>"
    assert rows["(v4)", "Learnable θ"][-1] == "47.42"
    text = markdown(table)
    assert text.count("<u>") == 4
    assert text.count("**") == 2 * 28
    assert "unfinished" not in text


def test_own_numbers_show_deviation_missing_partial_and_undefined_cells(tmp_path: Path) -> None:
    _, own, _ = grid(tmp_path)
    rows = rows_of(markdown(own))
    assert rows["(v3)", "L2 + shuffling"][2] == "<u>**64.10**</u> ± 1.41"  # (63.1 + 65.1) / 2
    assert rows["(v4)", "θ = 0.2"][5] == "70.00†"
    assert rows["(v1)", "L2"][0] == "n/a"
    assert rows["(v2)", "L2"] == ["–"] * 7
    assert own.title.endswith("unfinished: 3 of 105 cells, 1 more in part")


def test_notes_say_over_how_many_runs_cases_seeds_and_folds_and_how_they_were_made(tmp_path: Path) -> None:
    _, own, _ = grid(tmp_path)
    notes = " ".join(own.notes)
    assert "5 of 6 planned runs done (1 pending)" in notes
    assert "runs 1 to 2, seeds 1 to 2 (of 0, 1), folds 1 (of 0), test cases 1 to 2" in notes
    assert "with a defined Dice 0 to 1" in notes
    assert "data set phantom (fingerprint f1), profile demo. Checkpoint rule: last." in notes
    assert "Scored on the grid: dataset." in notes
    assert "n/a: the cell has runs" in notes


def test_equal_counts_are_said_once(tmp_path: Path) -> None:
    write_run(tmp_path, "a", [0.5, NAN, 0.7])
    manifest = manifest_of((V3, 0, 0, "a"))
    runs = table2_runs(tmp_path, manifest)
    notes = " ".join(table2(table2_frame(runs), None, behind=behind(runs, manifest)).notes)
    assert "Behind each number: 1 run of 1, 1 seed (0), 1 fold (0), 3 test cases, of which 2 with" in notes


def test_runs_with_different_checkpoint_rules_are_pointed_out(tmp_path: Path) -> None:
    write_run(tmp_path, "a", [0.5])
    write_run(tmp_path, "b", [0.5], checkpoint="best")
    manifest = manifest_of((V3, 0, 0, "a"), (V4, 0, 0, "b"))
    runs = table2_runs(tmp_path, manifest)
    notes = " ".join(table2(table2_frame(runs), None, behind=behind(runs, manifest)).notes)
    assert "Checkpoint rule: best and last." in notes
    assert "Warning: the runs differ in checkpoint rule" in notes


def test_both_sources_stand_side_by_side_with_their_difference(tmp_path: Path) -> None:
    _, _, both = grid(tmp_path)
    rows = rows_of(markdown(both))
    assert rows["(v3)", "L2 + shuffling"][2] == "<u>**64.10**</u> ± 1.41 / <u>**65.91**</u> (−1.81)"
    assert rows["(v4)", "θ = 0.2"][5] == "70.00† / **63.99** (+6.01)"
    assert rows["(v1)", "L2"][0] == "n/a / 57.39"
    assert rows["(v2)", "L2 + shuffling"][2] == "– / <u>**65.50**</u>"
    assert "Difference = own − published." in both.notes


def test_volumes_are_best_when_lowest(tmp_path: Path) -> None:
    _, own, _ = grid(tmp_path, metric="fpv_ml")
    rows = rows_of(markdown(own))
    assert rows["(v3)", "L2 + shuffling"][2].startswith("<u>**2.00**</u>")  # (1.5 + 2.5) / 2
    assert own.title.startswith("Mirror U-Net v1 to v4 by shared layers L: mean FPV [ml]")
    assert "Best (lowest)" in own.notes[0]


def test_the_table_of_counts_gives_every_cells_own(tmp_path: Path) -> None:
    frame, _, _ = grid(tmp_path)
    rows = rows_of(markdown(table2_counts(frame)))
    assert rows["(v3)", "L2 + shuffling"][2] == "2/2; 2; 1; 1/2"
    assert rows["(v4)", "θ = 0.2"][5] == "1/2; 1; 1; 1/1"
    assert rows["(v1)", "L2"][:2] == ["1/1; 1; 1; 0/1", "–"]


def test_the_csv_has_the_papers_layout_and_the_cells_have_all_counts(tmp_path: Path) -> None:
    frame, _, _ = grid(tmp_path)
    layout = table2_layout(frame, published_table2())
    assert len(layout) == 3 * 15
    v3 = layout[(layout["version"] == "v3") & (layout["parameters"] == "L2 + shuffling")].set_index("source")
    assert v3["L = {5}"].to_dict() == pytest.approx({"own": 64.10, "paper": 65.91, "difference": -1.81})
    cells = table2_cells(frame, published_table2())
    assert len(cells) == 105
    best = cells[(cells["version"] == "v3") & cells["own_underlined"]].iloc[0]
    assert (best["n_runs"], best["n_defined"], best["n_cases"], best["paper"]) == (2, 1, 2, 65.91)
    assert len(table2_layout(None, published_table2())) == 15


def test_the_title_of_a_whole_grid_says_nothing_of_progress() -> None:
    whole = pd.DataFrame({"n_runs": [2, 1], "n_expected": [2, 1], "n_unsupported": [0, 0]})
    assert unfinished(whole) == ""
    assert unfinished(None) == ""
    assert unfinished(whole.assign(n_runs=[2, 0])) == "unfinished: 1 of 2 cells"
    assert unfinished(whole.assign(n_runs=[2, 0], n_unsupported=[0, 1])) == ""
    assert (
        unfinished(whole.assign(n_runs=[0, 0], n_unsupported=[0, 1]), noun="method")
        == "unfinished: 0 of 2 methods, 1 unsupported"
    )


def test_unknown_levels_are_printed_as_they_are() -> None:
    assert level_label("fusion_weight", "0.25") == "θ = 0.25"
    assert level_label("self_supervision", "blur") == "blur"


def test_text_from_outside_is_not_taken_for_markup() -> None:
    assert markdown_text("a|b <b>*x*</b>\n_y_") == r"a\|b &lt;b&gt;\*x\*&lt;/b&gt; \_y\_"
    assert latex_text("50 % of $x_1 & {y} − θ") == r"50 \% of \$x\_1 \& \{y\} $-$ $\theta$"
    assert latex_text("\\input{x}") == r"\textbackslash{}input\{x\}"
    assert latex_text("é ő ß") == r"\'{e} \H{o} \ss{}"
    assert latex_text("0.1 µm² at 5°, λ") == r"0.1 $\mu$m$^2$ at 5$^\circ$, $\lambda$"
    assert latex_text("L = {4, 5, 6}") == r"$L = \{4, 5, 6\}$"


def test_a_table_with_one_stub_column_shows_labels_and_parts_groups_by_a_rule() -> None:
    rows = (Row("x", "one", ((Span("1"),), (Span("yes"),))), Row("y", "two", ((Span("2"),), (Span("no"),))))
    table = PrintedTable("9", "T", ("Method",), ("A", "B"), rows, align="rl")
    assert markdown(table).splitlines()[2:6] == [
        "| Method | A | B |",
        "| :-- | --: | :-- |",
        "| one | 1 | yes |",
        "| two | 2 | no |",
    ]
    text = latex([table])
    assert r"\begin{tabular}{lrl}" in text
    assert text.count(r"\midrule") == 2
    assert "multirow{" not in text.split(r"\toprule")[1]


def test_rows_of_a_group_share_one_multirow_in_latex() -> None:
    text = latex([table2(None, published_table2(), behind=None)])
    assert text.count(r"\multirow{3}{*}") == 3
    assert text.count(r"\multirow{6}{*}{(v4)}") == 1
    assert r"\underline{\textbf{65.91}}" in text
    assert text.count(r"\textbf{") == 28


ROW_NAMES = [
    "[0, 50] HU",
    "*best",
    "病灶",
    "опухоль",
    "--",
    "''",
    "?`",
    "[",
    "\\\\",
    "&",
    "e\u0301\u0301",
    "\u202eright",
    "a\x07",
]
"""What LaTeX takes for an option or a command after a row's end or a rule, joins to one sign, or cannot set."""


def test_every_row_of_latex_begins_with_nothing() -> None:
    rows = tuple(Row(name, name, ((Span(name),),)) for name in ROW_NAMES)
    text = latex([PrintedTable("9", "T", ("[g]", "*"), ("[c]",), rows, align="l")])
    inside = text.split(r"\toprule")[1].split(r"\bottomrule")[0]
    lines = [line for line in inside.splitlines() if line and line != r"\midrule"]
    assert len(lines) == 1 + len(ROW_NAMES)
    assert all(line.startswith("{}") for line in lines)
    assert r"\texttt{U+75C5}\texttt{U+7076}" in text
    assert "Unicode code points" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles_for_every_source_and_for_hostile_text(tmp_path: Path) -> None:
    frame, own, both = grid(tmp_path)
    hostile = "".join(map(chr, range(32, 0x180))) + "病\n\t" + "".join(SIGNS)
    row = Row(hostile, hostile, ((Span(hostile, bold=True, underline=True),),))
    named = [Row(name, name, ((Span(name),),)) for name in ROW_NAMES]
    odd = PrintedTable("9", hostile, (hostile, ""), (hostile,), (row, *named), (hostile,), banner=hostile)
    tables = [table2(None, published_table2(), behind=None), own, both, table2_counts(frame), odd]
    source = tmp_path / "tables.tex"
    source.write_text(latex(tables), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", source.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=60)
    assert done.returncode == 0, done.stdout[-2000:]
    assert f"({len(tables)} pages" in done.stdout.replace("\n", "")
