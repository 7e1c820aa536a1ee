"""Tables 3 and 4: scores by method, what they cost, and what the printed numbers rule out."""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from written_runs import NAN, methods_manifest, write_failure, write_readings, write_run

from benchmark.results.manifests import CellRun, GridManifest
from benchmark.vocabulary import BenchError
from reports.ground.frames import behind, progress
from reports.ground.latex import latex
from reports.ground.printing import PrintedTable, markdown
from reports.ground.publications import published
from reports.ground.runs import run_cells
from reports.tables.comparison import tables
from reports.tables.comparison.costs import (
    HOURS,
    MINUTES,
    SECONDS,
    costs_frame,
    joint_trainings,
    run_costs,
    time_unit,
)
from reports.tables.comparison.frames import (
    PLACE,
    TABLE3,
    TABLE4,
    Comparison,
    comparison_frames,
    comparison_of,
    methods,
    own_facts,
    published_facts,
    published_frames,
    remarks,
)
from reports.tables.comparison.logic import claim_note, late_fusion_notes, own_fusion_notes, printed_scores
from reports.tables.comparison.notes import comparison_notes, costs_notes
from reports.tables.comparison.report import report

LATE = {"CT": "ct", "PET": "pet", "LF-Union": "union", "LF-Intersection": "intersection"}
FNV = {"ct": [4.0, 2.0], "pet": [1.0, 2.0], "union": [0.5, 1.5], "intersection": [6.0, 2.0]}


def rows_of(table: PrintedTable) -> dict[str, list[str]]:
    """The rows of a Markdown table by their stub; metric and source in one where there are two."""
    rows, group = {}, ""
    for line in markdown(table).splitlines()[4:]:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.removeprefix("|").removesuffix("|").split(" | ")]
        if len(table.stub) == 2:
            group = cells[0] or group
            cells = [f"{group} {cells[1]}", *cells[2:]]
        rows[cells[0]] = cells[1:]
    return rows


def table_of(
    comparison: Comparison, results: Path, manifest: GridManifest, *, paper: bool = False
) -> PrintedTable:
    runs = run_cells(results, manifest, PLACE)
    own = comparison_frames(comparison, runs)
    known = behind(runs, manifest)
    notes = comparison_notes(comparison, own, runs=runs, behind=known, with_paper=paper)
    facts = own_facts(results, runs) | published_facts(comparison)
    return tables.comparison_table(
        comparison, own, published_frames(comparison) if paper else None, facts=facts, notes=tuple(notes)
    )


def published_table(comparison: Comparison) -> PrintedTable:
    notes = comparison_notes(comparison, None, runs=None, behind=None, with_paper=True)
    facts, paper = published_facts(comparison), published_frames(comparison)
    return tables.comparison_table(comparison, None, paper, facts=facts, notes=tuple(notes))


def costs_of(comparison: Comparison, results: Path, manifest: GridManifest) -> PrintedTable:
    runs = run_cells(results, manifest, PLACE)
    costs = run_costs(results, runs)
    joint = [name for group in joint_trainings(runs) for name in group]
    means = costs_frame(costs, methods(comparison, runs))
    return tables.costs_table(comparison, means, joint=joint, notes=tuple(costs_notes(costs, runs)))


def late_fusion(results: Path, *, fnv: dict[str, list[float]] = FNV, run_id: str = "late") -> None:
    """One training read in four ways, Dice 10, 60, 50 and 20 % over one of two cases."""
    dice = {"ct": 0.1, "pet": 0.6, "union": 0.5, "intersection": 0.2}
    readings = {
        reading: {"dice": [dice[reading], NAN], "fpv_ml": [1.0, 3.0], "fnv_ml": fnv[reading]}
        for reading in LATE.values()
    }
    part = {"gflops": 37.5, "patch_size": [96, 96, 96], "timed_cases": 2}
    costs = {
        "ct": part | {"parameters": 4_808_917, "inference_seconds_per_case": 3.0},
        "pet": part | {"parameters": 4_808_917, "inference_seconds_per_case": 3.0},
        "union": part | {"parameters": 9_617_834, "inference_seconds_per_case": 6.0, "gflops": 75.0},
        "intersection": part | {"parameters": 9_617_834, "inference_seconds_per_case": 6.0, "gflops": 75.0},
    }
    gpu = {"device": "cuda:0", "gpu": "H200", "cpu": "Xeon", "threads": 4}
    write_readings(
        results,
        run_id,
        readings,
        costs=costs,
        train_seconds=9000.0,
        peak_memory_mb=6144.0,
        steps=500,
        facts=gpu,
    )


def late_cells(run_id: str = "late") -> Sequence[tuple[str, int, int, str, str]]:
    return [(method, 0, 0, run_id, reading) for method, reading in LATE.items()]


def test_the_published_table_3_has_a_column_a_method_and_a_row_a_metric() -> None:
    table = published_table(TABLE3)
    assert table.columns == tuple(published(3)["method"])
    assert table.columns[4:8] == ("LF-Logit", "LF-Union", "LF-Intersection", "Mirror U-Net v1")
    rows = rows_of(table)
    assert list(rows) == [r"Dice \[%\] ↑", r"FPV \[ml\] ↓", r"FNV \[ml\] ↓"]
    assert rows[r"Dice \[%\] ↑"][-2:] == ["**65.91**", "64.24"]
    assert rows[r"FNV \[ml\] ↓"][6] == "99.74"
    assert markdown(table).count("**") == 2 * 3


def test_the_published_table_4_has_a_row_a_method_and_says_what_each_learns() -> None:
    table = published_table(TABLE4)
    assert table.columns[3:] == ("Tasks", "Multimodal fission", "Multi-task")
    rows = rows_of(table)
    assert list(rows) == list(published(4)["method"])
    assert rows["nnUNet"] == ["62.75", "2.83", "1.59", "Seg", "", ""]
    assert rows["Mirror U-Net v3"] == ["**65.91**", "**1.55**", "**0.76**", "Seg + Rec + Class", "✓", "✓"]
    assert "| :-- | --: | --: | --: | :-- | :-: | :-: |" in markdown(table)


def test_readings_of_one_training_are_rows_of_their_own_and_the_training_counts_once(tmp_path: Path) -> None:
    late_fusion(tmp_path)
    manifest = methods_manifest("table3", *late_cells())
    table = table_of(TABLE3, tmp_path, manifest)
    rows = rows_of(table)
    assert [rows[r"Dice \[%\] ↑"][table.columns.index(method)] for method in LATE] == [
        "10.00",
        "**60.00**",
        "50.00",
        "20.00",
    ]
    assert [rows[r"FNV \[ml\] ↓"][table.columns.index(method)] for method in LATE] == [
        "3.00",
        "1.50",
        "**1.00**",
        "4.00",
    ]
    # Where nothing differs nothing is the best.
    assert rows[r"FPV \[ml\] ↓"].count("2.00") == 4
    notes = " ".join(table.notes)
    assert "4 of 11 methods complete; 1 of 1 planned run done." in notes
    assert "of which 1 with a defined Dice and 2 with a defined FPV and FNV" in notes
    assert "CT, PET, LF-Union and LF-Intersection are read from one joint training" in notes
    assert "by construction the FNV of LF-Union is at most theirs" in notes


def test_means_are_over_cases_then_folds_then_seeds(tmp_path: Path) -> None:
    write_run(tmp_path, "a", [0.2, 0.4, NAN], fold=0, seed=0, fpv_ml=[0.0, 3.0, 6.0])  # 0.3, 3 ml
    write_run(tmp_path, "b", [0.6], fold=1, seed=0, fpv_ml=[1.0])  # seed 0: 0.45, 2 ml
    write_run(tmp_path, "c", [0.1, 0.3, NAN], fold=0, seed=1, fpv_ml=[0.0, 3.0, 9.0])  # 0.2, 4 ml
    write_run(tmp_path, "d", [0.9], fold=1, seed=1, fpv_ml=[4.0])  # seed 1: 0.55, 4 ml
    cells = [("EF", 0, 0, "a"), ("EF", 1, 0, "b"), ("EF", 0, 1, "c"), ("EF", 1, 1, "d")]
    runs = run_cells(tmp_path, methods_manifest("table3", *cells), PLACE)
    frames = comparison_frames(TABLE3, runs)
    dice, fpv = (frames[metric].set_index("method").loc["EF"] for metric in ("dice", "fpv_ml"))
    assert dice["value"] == pytest.approx(50.0)
    assert dice["std"] == pytest.approx(100 * math.sqrt(2) * 0.05)
    assert fpv["value"] == pytest.approx(3.0)
    assert list(dice[["n_runs", "n_expected", "n_seeds", "n_folds", "n_cases", "n_defined"]]) == [
        4,
        4,
        2,
        2,
        4,
        3,
    ]
    assert fpv["n_defined"] == 4


def test_failed_unsupported_and_missing_methods_are_a_dash_and_say_why(tmp_path: Path) -> None:
    write_run(tmp_path, "a", [0.5], fpv_ml=[1.0], fnv_ml=[1.0])
    write_failure(tmp_path, "b", "memory", error="CUDA out of memory")
    write_failure(tmp_path, "c", "unsupported", error="nnunetv2 is not installed; pip install nnunetv2.")
    cells = [("SF-Net", 0, 0, "a"), ("DeepMTS", 0, 0, "b"), ("nnUNet", 0, 0, "c"), ("Blackbean", 0, 0, "c")]
    manifest = methods_manifest("table4", *cells)
    table = table_of(TABLE4, tmp_path, manifest)
    rows = rows_of(table)
    assert rows["SF-Net"][:3] == ["50.00", "1.00", "1.00"]
    for method in ("DeepMTS", "nnUNet", "Blackbean", "Valindria"):
        assert rows[method][:3] == ["–"] * 3
    notes = " ".join(table.notes)
    assert (
        "1 of 11 methods complete, 2 unsupported; 1 of 3 planned runs done (1 failed, 1 unsupported)" in notes
    )
    assert "joint training" not in notes
    assert "Not run: nnUNet and Blackbean. nnunetv2 is not installed; pip install nnunetv2." in notes
    assert table.title.endswith("unfinished: 1 of 11 methods, 2 unsupported")


def test_a_grid_whose_other_methods_cannot_run_is_finished(tmp_path: Path) -> None:
    write_run(tmp_path, "a", [0.5])
    write_failure(tmp_path, "b", "unsupported", error="needs CT")
    cells = [(name, 0, 0, "b" if name == "CT" else "a") for name in published(3)["method"]]
    manifest = methods_manifest("table3", *cells)
    frame = comparison_frames(TABLE3, run_cells(tmp_path, manifest, PLACE))["dice"]
    assert progress(frame).finished
    assert "unfinished" not in table_of(TABLE3, tmp_path, manifest).title


def test_rows_of_users_come_after_the_papers_in_the_order_of_the_grid(tmp_path: Path) -> None:
    write_run(tmp_path, "a", [0.5], fpv_ml=[1.0], fnv_ml=[1.0])
    cells = [("zebra", 0, 0, "a"), ("Valindria (zero CT)", 0, 0, "a"), ("PET", 0, 0, "a"), ("ant", 0, 0, "a")]
    table = table_of(TABLE3, tmp_path, methods_manifest("table3", *cells), paper=True)
    assert table.columns[10:] == ("Mirror U-Net v4", "zebra", "Valindria (zero CT)", "ant")
    assert rows_of(table)[r"Dice \[%\] ↑ published"][-3:] == ["–", "–", "–"]
    assert any(
        note == "Not in the paper's table: zebra, Valindria (zero CT) and ant." for note in table.notes
    )
    rows = rows_of(table_of(TABLE4, tmp_path, methods_manifest("table4", *cells), paper=True))
    assert list(rows)[11:] == ["zebra", "Valindria (zero CT)", "PET", "ant"]
    assert rows["ant"][3:] == ["–", "–", "–"]


def test_own_and_published_numbers_stand_below_or_beside_one_another_with_their_difference(
    tmp_path: Path,
) -> None:
    for seed, dice in enumerate((0.631, 0.651)):  # 64.10 ± 1.41
        write_run(tmp_path, f"s{seed}", [dice], seed=seed, fpv_ml=[2.0], fnv_ml=[0.5])
    cells = [("Mirror U-Net v3", 0, 0, "s0"), ("Mirror U-Net v3", 0, 1, "s1"), ("EF", 0, 0, "never")]
    table = table_of(TABLE3, tmp_path, methods_manifest("table3", *cells), paper=True)
    v3 = table.columns.index("Mirror U-Net v3")
    rows = rows_of(table)
    assert [rows[rf"Dice \[%\] ↑ {part}"][v3] for part in ("own", "published", "difference")] == [
        "64.10 ± 1.41",
        "**65.91**",
        "−1.81",
    ]
    assert [rows[rf"FPV \[ml\] ↓ {part}"][v3] for part in ("own", "published", "difference")] == [
        "2.00 ± 0.00",
        "**1.55**",
        "+0.45",
    ]
    assert rows[r"Dice \[%\] ↑ difference"][table.columns.index("EF")] == "–"
    other = table_of(TABLE4, tmp_path, methods_manifest("table4", *cells), paper=True)
    assert rows_of(other)["Mirror U-Net v3"][0] == "64.10 ± 1.41 / **65.91** (−1.81)"
    assert rows_of(other)["nnUNet"][:3] == ["– / 62.75", "– / 2.83", "– / 1.59"]
    assert "Difference = own − published." in other.notes
    assert not any("not comparable here" in note for note in other.notes)


def test_the_csv_has_the_papers_layout_and_the_cells_every_number(tmp_path: Path) -> None:
    write_run(tmp_path, "a", [0.5, NAN], fpv_ml=[1.0, 2.0], fnv_ml=[0.0, 4.0])
    own = comparison_frames(TABLE3, run_cells(tmp_path, methods_manifest("t", ("PET", 0, 0, "a")), PLACE))
    across = tables.comparison_layout(TABLE3, own, published_frames(TABLE3), facts={}).set_index(
        ["metric", "source"]
    )
    assert across["PET"].loc["dice"].to_dict() == {"own": 50.0, "paper": 60.99, "difference": -10.99}
    assert across["PET"].loc["fnv_ml"].to_dict() == {"own": 2.0, "paper": 2.15, "difference": -0.15}
    down = tables.comparison_layout(
        TABLE4, None, published_frames(TABLE4), facts=published_facts(TABLE4)
    ).set_index("method")
    assert list(down.loc["Valindria"]) == ["paper", 39.84, 7.89, 17.00, "Seg", "yes", "no"]
    cells = tables.comparison_cells(TABLE3, own, published_frames(TABLE3)).set_index(["method", "metric"])
    assert len(cells) == 3 * 11
    assert list(cells.loc[("PET", "dice"), ["own", "paper", "n_cases", "n_defined"]]) == [50.0, 60.99, 2, 1]
    assert list(cells.loc[("PET", "fpv_ml"), ["own", "n_defined"]]) == [1.5, 2]


def test_differing_counts_have_a_table_of_their_own(tmp_path: Path) -> None:
    write_run(tmp_path, "a", [0.5, NAN], fpv_ml=[1.0, 2.0], fnv_ml=[0.0, 4.0])
    cells = [("PET", 0, 0, "a"), ("PET", 0, 1, "never"), ("EF", 0, 0, "never")]
    own = comparison_frames(TABLE3, run_cells(tmp_path, methods_manifest("t", *cells), PLACE))
    rows = rows_of(tables.counts_table(TABLE3, own))
    assert rows["PET"] == ["1/2", "1", "1", "2", "1", "2", "2"]
    assert rows["EF"] == ["0/1", *["0"] * 6]
    assert rows["CT"] == ["–"] * 7


def test_costs_of_a_joint_training_are_marked_and_the_readings_have_their_own(tmp_path: Path) -> None:
    late_fusion(tmp_path)
    facts = {"device": "cuda:0", "gpu": "H200"}
    costs = {
        "": {
            "parameters": 31_195_784,
            "gflops": 1070.49,
            "patch_size": [128, 128, 64],
            "inference_seconds_per_case": 9.0,
            "timed_cases": 2,
        }
    }
    write_run(
        tmp_path, "n", [0.5], costs=costs, train_seconds=27000.0, peak_memory_mb=512.0, steps=900, facts=facts
    )
    table = costs_of(TABLE3, tmp_path, methods_manifest("t", *late_cells(), ("nnUNet", 0, 0, "n")))
    # Seconds: a median of 9000 in hours, of 6 in seconds.
    assert table.columns[1:3] == ("Training [h]", "Inference [s/case]")
    rows = rows_of(table)
    assert rows["PET"] == ["4.809", "2.50‡", "3.00", "6.00‡", "37.5"]
    assert rows["LF-Union"] == ["9.618", "2.50‡", "6.00", "6.00‡", "75.0"]
    assert rows["nnUNet"] == ["31.196", "7.50", "9.00", "0.50", "1070"]
    assert rows["EF"] == ["–"] * 5
    notes = " ".join(table.notes)
    assert "to be counted once: CT, PET, LF-Union and LF-Intersection." in notes
    assert "128 × 128 × 64 voxels for nnUNet; 96 × 96 × 96 for all others. GFLOPs of different" in notes
    assert "Measured on: H200 (2 runs)." in notes
    assert "500 to 900 optimiser steps" in notes
    assert "Peak memory: allocated on the GPU." in notes


def test_costs_are_means_over_runs_exact_in_the_frame(tmp_path: Path) -> None:
    cpu = {"device": "cpu", "cpu": "Xeon", "threads": 2}
    gpu = {"device": "cuda:0", "gpu": "H200", "cpu": "Xeon", "threads": 4}
    record = {"parameters": 4_809_781, "inference_seconds_per_case": 1.5}
    write_run(tmp_path, "a", [0.5], train_seconds=100.0, peak_memory_mb=1024.0, facts=cpu, **record)
    write_run(tmp_path, "b", [0.5], seed=1, train_seconds=140.0, peak_memory_mb=3072.0, facts=gpu, **record)
    manifest = methods_manifest("t", ("EF", 0, 0, "a"), ("EF", 0, 1, "b"), ("MF", 0, 0, "never"))
    runs = run_cells(tmp_path, manifest, PLACE)
    frame = costs_frame(run_costs(tmp_path, runs), methods(TABLE3, runs)).set_index("method")
    assert list(frame.loc["EF"])[:5] == [2, 4_809_781, 120.0, 1.5, 2048.0]
    assert frame["n_runs"]["MF"] == 0
    assert pd.isna(frame["gflops"]["EF"])
    table = costs_of(TABLE3, tmp_path, manifest)
    assert rows_of(table)["EF"] == ["4.810", "2.00", "1.50", "2.00", "–"]
    notes = " ".join(table.notes)
    assert "Measured on: Xeon, 2 threads (1 run); H200 (1 run)." in notes
    assert "Warning: seconds and memory on different devices are not comparable." in notes
    assert "Peak memory: allocated on the GPU or resident memory of the process on the CPU." in notes
    assert "‡" not in markdown(table)


def test_a_method_whose_size_differs_between_runs_is_named(tmp_path: Path) -> None:
    for seed, parameters in enumerate((100, 200)):
        write_run(tmp_path, f"s{seed}", [0.5], seed=seed, parameters=parameters)
    manifest = methods_manifest("t", ("nnUNet", 0, 0, "s0"), ("nnUNet", 0, 1, "s1"))
    notes = costs_of(TABLE4, tmp_path, manifest).notes
    assert "Parameters or operations differ between the runs of nnUNet." in notes


def test_two_trainings_that_are_read_alike_are_not_one_joint_training() -> None:
    runs = pd.DataFrame({"run_id": ["a", "b", "b", "c"], "method": ["x", "y", "z", "x"], "state": "done"})
    assert joint_trainings(runs) == [("y", "z")]
    assert joint_trainings(runs.assign(state="failed")) == []


def test_times_are_printed_in_the_unit_that_fits_the_middle_one() -> None:
    assert time_unit(pd.Series([3.0, 119.0, 9000.0])) == SECONDS
    assert time_unit(pd.Series([3.0, 120.0, 9000.0])) == MINUTES
    assert time_unit(pd.Series([3.0, 7200.0, 9000.0])) == HOURS
    assert time_unit(pd.Series([NAN])) == SECONDS


def test_three_digits_never_become_an_exponent() -> None:
    values = (0.0, 0.00123, 0.0123, 0.5, 12.34, 123.4, 98765.4)
    assert [tables.three_digits(value) for value in values] == [
        "0",
        "0.0012",
        "0.0123",
        "0.500",
        "12.3",
        "123",
        "98765",
    ]


def test_the_published_union_cannot_come_from_the_published_pet_network() -> None:
    notes = list(late_fusion_notes(printed_scores(TABLE3)))
    assert len(notes) == 2
    assert "the FNV of LF-Union (3.01) is above that of PET (2.15)." in notes[0]
    assert "the FPV of LF-Union (3.95) is below that of CT (15.64) and PET (5.38)." in notes[1]
    assert any(note == notes[0] for note in published_table(TABLE3).notes)
    assert list(late_fusion_notes(printed_scores(TABLE4))) == []


def test_contradictions_are_found_in_the_numbers_not_remembered() -> None:
    scores = printed_scores(TABLE3)
    scores.loc["LF-Union"] = [59.89, 20.00, 2.15]
    assert list(late_fusion_notes(scores)) == []
    scores.loc["LF-Intersection", "fnv_ml"] = 44.14
    (note,) = late_fusion_notes(scores)
    assert "the FNV of LF-Intersection (44.14) is below that of CT (44.15)." in note


def test_claims_of_the_text_that_the_table_does_not_carry_are_named() -> None:
    (table3,) = claim_note(TABLE3, printed_scores(TABLE3))
    behind_it = "Mirror U-Net v1 (2.93), Mirror U-Net v2 (2.83) and Mirror U-Net v4 (2.93)"
    assert table3.endswith(f"it is not so: in FPV, LF-Intersection (1.67) before {behind_it}.")
    (table4,) = claim_note(TABLE4, printed_scores(TABLE4))
    assert "in FPV, nnUNet (2.83) and Blackbean (2.55) before Mirror U-Net v4 (2.93);" in table4
    assert "in FNV, nnUNet (1.59), Blackbean (1.76) and Andrearczyk (1.89) before Mirror U-Net v4" in table4
    assert "as printed, read of Mirror U-Net v4 and Mirror U-Net v3 alike, it is not so" in table4
    scores = printed_scores(TABLE3)
    scores.loc["LF-Intersection", "fpv_ml"] = 2.93
    assert "before Mirror U-Net v1" not in " ".join(claim_note(TABLE3, scores))
    scores.loc["LF-Intersection", "fpv_ml"] = 2.94
    assert list(claim_note(TABLE3, scores)) == []


def test_own_unions_that_break_the_logic_of_unions_are_reported(tmp_path: Path) -> None:
    late_fusion(tmp_path)
    late_fusion(tmp_path, run_id="wrong", fnv=FNV | {"union": [2.0, 2.0]})  # 2.0 ml, PET misses 1.5 ml
    good = run_cells(tmp_path, methods_manifest("t", *late_cells()), PLACE)
    assert len(list(own_fusion_notes(good))) == 1
    manifest = methods_manifest("t", *late_cells("wrong"))
    assert list(own_fusion_notes(run_cells(tmp_path, manifest, PLACE)))[1].startswith(
        "Warning: this is not so in the runs wrong;"
    )


def test_unions_of_other_networks_may_miss_what_the_unimodal_ones_hit(tmp_path: Path) -> None:
    late_fusion(tmp_path, fnv=FNV | {"union": [9.0, 9.0], "intersection": [0.0, 0.0]})
    write_run(tmp_path, "ct", [0.1], fnv_ml=[1.0])
    fusions = [cell for cell in late_cells() if cell[0].startswith("LF")]
    manifest = methods_manifest("t", ("CT", 0, 0, "ct"), *fusions)
    assert list(own_fusion_notes(run_cells(tmp_path, manifest, PLACE))) == []


def test_cells_with_other_factors_than_the_method_are_refused() -> None:
    with pytest.raises(BenchError, match="its only factor must be method"):
        PLACE.of({"method": "PET", "version": "v3"})
    with pytest.raises(BenchError, match="no place in a table of methods"):
        PLACE.of({"version": "v3"})


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles_for_both_tables_and_every_source(tmp_path: Path) -> None:
    late_fusion(tmp_path)
    write_run(tmp_path, "a", [0.5])
    cells = [*late_cells(), ("nnUNet", 0, 0, "a"), ("50 % of {my_method} & $x$", 0, 0, "a")]
    manifest = methods_manifest("t", *cells)
    printed = []
    for comparison in (TABLE3, TABLE4):
        own = comparison_frames(comparison, run_cells(tmp_path, manifest, PLACE))
        printed += [
            published_table(comparison),
            table_of(comparison, tmp_path, manifest),
            table_of(comparison, tmp_path, manifest, paper=True),
            tables.counts_table(comparison, own),
            costs_of(comparison, tmp_path, manifest),
        ]
    source = tmp_path / "tables.tex"
    source.write_text(latex(printed), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", source.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=60)
    assert done.returncode == 0, done.stdout[-2000:]
    assert f"({len(printed)} pages" in done.stdout.replace("\n", "")


def test_a_grid_of_the_user_s_own_methods_is_compared_with_what_its_runs_say_of_them(tmp_path: Path) -> None:
    both = {"tasks": ["Seg", "Class"], "fusion": "fission", "remarks": ["trained with flips"]}
    write_run(tmp_path, "a", [0.5, 0.7], fpv_ml=[1, 2], fnv_ml=[0, 0], facts=both)
    write_run(
        tmp_path, "b", [0.5, 0.5], fpv_ml=[1, 1], fnv_ml=[1, 0], facts={"tasks": ["Seg"], "fusion": "early"}
    )
    manifest = methods_manifest("mine", ("my_net", 0, 0, "a"), ("other_net", 0, 0, "b"))
    comparison = comparison_of(manifest)
    assert comparison is not None
    assert rows_of(table_of(comparison, tmp_path, manifest)) == {
        "my\\_net": ["**60.00**", "1.50", "**0.00**", "Seg + Class", "✓", "✓"],
        "other\\_net": ["50.00", "**1.00**", "0.50", "Seg", "", ""],
    }
    assert remarks(tmp_path, run_cells(tmp_path, manifest, PLACE)) == {"trained with flips": ["my_net"]}


def test_remarks_stand_under_the_table_with_the_methods_they_are_of(tmp_path: Path) -> None:
    for run_id in "ab":
        write_run(tmp_path, run_id, [0.5], facts={"remarks": ["trained with flips"]})
    manifest = methods_manifest("table4", ("nnUNet", 0, 0, "a"), ("Blackbean", 0, 0, "b"))
    report(TABLE4, tmp_path, manifest, source="runs", out=tmp_path / "out", summary=[])
    assert "* nnUNet and Blackbean: trained with flips.\n" in (tmp_path / "out" / "table4.md").read_text()


def test_a_grid_of_other_factors_compares_its_cells() -> None:
    cells = (CellRun({"size": "1"}, 0, 0, "a"),)
    other = comparison_of(GridManifest("mine", "k", "demo", "phantom", "", "f", 1.0, cells))
    assert other.title == "All cells of the grid mine, by size"
