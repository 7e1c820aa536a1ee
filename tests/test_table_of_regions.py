"""Tables of data sets with several regions: Table 5, and comparisons whose columns follow from the scores."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from written_runs import NAN, methods_manifest, write_readings, write_regions, write_run

from benchmark.results.manifests import GridManifest, write_manifest
from reports.evidence.comparable import why_not
from reports.ground.frames import behind
from reports.ground.measures import DICE, HD95, best_words, measures_of, usual_measures
from reports.ground.printing import PrintedTable
from reports.ground.publications import published
from reports.ground.runs import Scored, planned_runs, reported_scores, scored_in, with_means
from reports.tables.comparison import tables
from reports.tables.comparison.frames import (
    PLACE,
    TABLE3,
    TABLE5,
    Comparison,
    comparison_frames,
    comparison_of,
    on_data,
    published_frames,
)
from reports.tables.comparison.logic import claim_note, printed_scores
from reports.tables.comparison.notes import comparison_notes
from reports.tables.report import write_report

BRAIN = ("whole tumor", "edema", "tumor core", "enhancing tumor")
WHOLE, EDEMA, CORE, ENHANCING = BRAIN


def table_of(
    comparison: Comparison, results: Path, manifest: GridManifest, *, paper: bool = True
) -> tuple[pd.DataFrame, PrintedTable, str]:
    """The numbers of a table as they go into its CSV, the table in print, and its notes in one text."""
    planned = planned_runs(results, manifest, PLACE)
    scores = reported_scores(results, planned)
    comparison = on_data(comparison, scored_in(scores))
    runs = with_means(planned, scores, measures=comparison.measures)
    own = comparison_frames(comparison, runs)
    printed = published_frames(comparison) if paper else None
    layout = tables.comparison_layout(comparison, own, printed, facts={})
    known = behind(runs, manifest)
    notes = tuple(comparison_notes(comparison, own, runs=runs, behind=known, with_paper=paper))
    table = tables.comparison_table(comparison, own, printed, facts={}, notes=notes)
    return layout.set_index(["method", "source"]), table, " ".join(notes)


@pytest.fixture
def brains(tmp_path: Path) -> GridManifest:
    """v2 with four regions, and a method that cannot tell enhancing tumor; one case of two has none."""
    v2 = {WHOLE: [0.9, 0.8], EDEMA: [0.7, 0.9], CORE: [0.6, 0.8], ENHANCING: [0.5, NAN]}
    two = {region: {"dice": values} for region, values in v2.items()}
    write_regions(tmp_path, "v2", two)
    write_regions(tmp_path, "v1", {region: two[region] for region in (EDEMA, WHOLE, CORE)})
    return methods_manifest("table5", ("Mirror U-Net v2", 0, 0, "v2"), ("Mirror U-Net v1", 0, 0, "v1"))


def test_table_5_has_the_papers_regions_and_after_them_those_of_the_data(
    tmp_path: Path, brains: GridManifest
) -> None:
    layout, table, _ = table_of(TABLE5, tmp_path, brains)
    assert table.columns == (
        "Whole tumor Dice [%] ↑",
        "Edema Dice [%] ↑",
        "Tumor core Dice [%] ↑",
        "Enhancing tumor Dice [%] ↑",
    )
    assert [row.label for row in table.rows] == list(published(5)["method"])
    own, difference = (layout.loc[("Mirror U-Net v2", part)] for part in ("own", "difference"))
    assert own.to_dict() == pytest.approx(
        {"whole_tumor_dice": 85, "edema_dice": 80, "tumor_core_dice": 70, "enhancing_tumor_dice": 50}
    )
    # 85 - 92.52, 80 - 78.12, 70 - 85.84; the paper prints no enhancing tumor.
    assert list(difference)[:3] == pytest.approx([-7.52, 1.88, -15.84])
    assert pd.isna(difference["enhancing_tumor_dice"])
    v2 = dict(zip(table.columns, table.rows[4].cells, strict=True))
    assert "".join(span.text for span in v2["Edema Dice [%] ↑"]) == "80.00 / 78.12 (+1.88)"
    assert "".join(span.text for span in v2["Enhancing tumor Dice [%] ↑"]) == "50.00"


def test_a_region_that_a_method_cannot_tell_is_a_dash_with_its_reason(
    tmp_path: Path, brains: GridManifest
) -> None:
    _, table, notes = table_of(TABLE5, tmp_path, brains)
    v1 = table.rows[0]
    assert v1.label == "Mirror U-Net v1"
    assert [span.text for span in v1.cells[3]] == ["–"]
    assert "label maps that cannot tell enhancing tumor (Mirror U-Net v1)" in notes
    assert "n/a" not in notes


def test_table_5_speaks_of_its_own_data(tmp_path: Path, brains: GridManifest) -> None:
    manifest = replace(brains, dataset="msd", profile="paper")
    _, _, notes = table_of(TABLE5, tmp_path, manifest)
    assert "484 cases for training and 266 for test, whose labels are not public" in notes
    assert "AutoPET" not in notes
    assert "mm³" not in notes
    (reason,) = why_not(tmp_path, manifest, TABLE5.publication)[:1]
    assert reason.startswith("the published numbers are of 266 test cases whose labels are not public")
    (reason,) = why_not(tmp_path, replace(brains, dataset="brain_phantom"), TABLE5.publication)
    assert reason == "own numbers are of phantoms, not of MSD BrainTumour"


def test_the_claim_of_table_5_is_of_v2_and_holds_as_printed() -> None:
    scores = printed_scores(TABLE5)
    assert list(scores) == ["whole_tumor_dice", "edema_dice", "tumor_core_dice"]
    assert list(claim_note(TABLE5, scores)) == []
    scores.loc["SegResNet", "edema_dice"] = 78.13
    (note,) = claim_note(TABLE5, scores)
    assert note.endswith("in edema Dice, SegResNet (78.13) before Mirror U-Net v2 (78.12).")


def test_the_columns_of_a_grid_of_ones_own_follow_from_the_scores(tmp_path: Path) -> None:
    lesion = {"dice": [0.5], "hd95_mm": [8.0]}
    write_regions(tmp_path, "a", {"liver": lesion, "spleen": lesion | {"hd95_mm": [4.0]}})
    manifest = methods_manifest("mine", ("my_net", 0, 0, "a"))
    comparison = comparison_of(manifest)
    assert comparison is not None
    layout, table, _ = table_of(comparison, tmp_path, manifest, paper=False)
    assert table.columns[:4] == (
        "Liver Dice [%] ↑",
        "Spleen Dice [%] ↑",
        "Liver HD95 [mm] ↓",
        "Spleen HD95 [mm] ↓",
    )
    assert layout.loc[("my_net", "own"), "spleen_hd95_mm"] == 4.0


def test_one_region_has_dice_volumes_and_the_distance_where_there_is_one() -> None:
    old = usual_measures(("tumor",), {"dice", "fpv_ml", "fnv_ml"})
    new = usual_measures(("tumor",), {"dice", "fpv_ml", "fnv_ml", "hd95_mm"})
    assert list(old) == ["dice", "fpv_ml", "fnv_ml"]
    assert list(new) == ["dice", "fpv_ml", "fnv_ml", "hd95_mm"]
    assert best_words(new) == "Dice: highest, FPV, FNV and HD95: lowest"


def test_a_published_table_shows_other_data_in_their_own_columns() -> None:
    scored = Scored(("a", "b"), frozenset({"dice"}))
    assert list(on_data(TABLE3, scored).measures) == ["a_dice", "b_dice"]
    assert published_frames(on_data(TABLE3, scored)) == {}
    assert on_data(TABLE3, Scored(("tumor",), frozenset({"dice", "hd95_mm"}))) == TABLE3
    assert list(on_data(TABLE5, Scored(("tumor",), frozenset({"dice"}))).measures) == [
        "dice",
        "fpv_ml",
        "fnv_ml",
    ]
    assert on_data(TABLE5, Scored((), frozenset())) == TABLE5


def test_a_region_names_its_column_and_its_heading() -> None:
    measure = HD95.of("Left kidney (cortex)")
    assert measure.key == "left_kidney_cortex_hd95_mm"
    assert measure.title == "Left kidney (cortex) HD95 [mm]"
    assert (measure.kind, measure.name) == ("HD95", "Left kidney (cortex) HD95")
    assert DICE.of("") is DICE
    assert list(measures_of(DICE, DICE.of("edema"))) == ["dice", "edema_dice"]


def test_regions_stand_in_the_data_sets_order_whoever_leaves_one_out(tmp_path: Path) -> None:
    write_regions(tmp_path, "few", {CORE: {"dice": [1.0]}, EDEMA: {"dice": [1.0]}})
    write_regions(tmp_path, "all", {region: {"dice": [1.0]} for region in BRAIN})
    planned = planned_runs(tmp_path, methods_manifest("t", ("a", 0, 0, "few"), ("b", 0, 0, "all")), PLACE)
    assert scored_in(reported_scores(tmp_path, planned)).regions == BRAIN


def test_runs_from_before_a_metric_have_a_dash_and_say_so(tmp_path: Path) -> None:
    write_run(tmp_path, "old", [0.5], fpv_ml=[1.0], fnv_ml=[0.0])
    new = {"dice": [0.6], "fpv_ml": [1.0], "fnv_ml": [0.0], "hd95_mm": [3.0]}
    write_readings(tmp_path, "new", {"": new})
    manifest = methods_manifest("mine", ("old_net", 0, 0, "old"), ("new_net", 0, 0, "new"))
    comparison = comparison_of(manifest)
    assert comparison is not None
    layout, table, notes = table_of(comparison, tmp_path, manifest, paper=False)
    assert layout["hd95_mm"].to_list()[1] == 3.0
    assert [span.text for span in table.rows[0].cells[3]] == ["–"]
    assert "not scored in HD95 (old_net)" in notes


def test_every_table_of_a_brain_grid_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.ground.drawing.save", lambda figure, stem, *, formats: [])
    scores = {"dice": [0.8], "hd95_mm": [3.0], "surface_dice_2mm": [0.9], "missed": [0], "invented": [0]}
    results = tmp_path / "results"
    write_regions(results, "a", dict.fromkeys(BRAIN, scores))
    manifest = methods_manifest("table5", ("SegResNet", 0, 0, "a"))
    write_manifest(results, replace(manifest, dataset="brain_phantom"))
    report = partial(write_report, results, grid="table5")
    stems = {path.name.partition(".")[0] for path in report(source="both", out=tmp_path / "out").files}
    parts = (
        "",
        "_cells",
        "_statistics",
        "_statistics_cells",
        "_surfaces",
        "_surfaces_cells",
        "_costs",
        "_costs_cells",
        "_boxes",
    )
    assert stems == {
        "report",
        "table5_published",
        "table5_published_cells",
        *(f"table5{part}" for part in parts),
    }
    paper = write_report(None, grid="table5", source="paper", out=tmp_path / "paper")
    assert "Whole tumor Dice [%] 92.52 (Mirror U-Net v2)" in paper.summary[1]


def test_published_numbers_of_other_regions_are_not_set_beside_own_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reports.ground.drawing.save", lambda figure, stem, *, formats: [])
    results = tmp_path / "results"
    write_regions(results, "a", {"liver": {"dice": [0.8]}, "spleen": {"dice": [0.7]}})
    write_manifest(results, methods_manifest("table4", ("nnUNet", 0, 0, "a")))
    report = write_report(results, grid="table4", source="both", out=tmp_path / "out")
    assert any(line.startswith("None of the published numbers is of what") for line in report.summary)
    assert "62.75" not in report.files[0].read_text(encoding="utf-8")
