"""The table of surface distances: means with their penalties, and what was missed or invented."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from written_runs import NAN, methods_manifest, write_readings, write_regions, write_run

from benchmark.results.manifests import GridManifest, write_manifest
from reports.ground.printing import markdown
from reports.ground.runs import planned_runs, reported_scores, scored_in
from reports.tables.comparison.frames import PLACE, Comparison
from reports.tables.comparison.surfaces import has_surfaces, surfaces_csv, surfaces_frame, surfaces_table
from reports.tables.report import write_report

MINE = Comparison("mine", "Methods")
# A hit of 4 mm, a miss of 96 mm, an invention of 96 mm, and a case without anything.
HARD = {
    "dice": [0.8, 0.0, NAN, NAN],
    "hd95_mm": [4.0, 96.0, 96.0, 0.0],
    "surface_dice_2mm": [0.6, 0.0, 0.0, 1.0],
    "missed": [0, 1, 0, 0],
    "invented": [0, 0, 1, 0],
}
EASY = {
    "dice": [0.9, 0.7, NAN, NAN],
    "hd95_mm": [2.0, 6.0, 0.0, 0.0],
    "surface_dice_2mm": [0.8, 0.6, 1.0, 1.0],
    "missed": [0, 0, 0, 0],
    "invented": [0, 0, 0, 0],
}


def surfaces_of(results: Path, manifest: GridManifest) -> pd.DataFrame:
    planned = planned_runs(results, manifest, PLACE)
    scores = reported_scores(results, planned)
    return surfaces_frame(MINE, planned, scores, regions=scored_in(scores).named_regions)


def test_penalties_are_part_of_the_means_and_counted(tmp_path: Path) -> None:
    write_readings(tmp_path, "a", {"": HARD})
    write_readings(tmp_path, "b", {"": EASY})
    frame = surfaces_of(tmp_path, methods_manifest("mine", ("hard", 0, 0, "a"), ("easy", 0, 0, "b")))
    hard, easy = (frame.set_index("method").loc[name] for name in ("hard", "easy"))
    assert (hard["hd95_mm"], easy["hd95_mm"]) == (49.0, 2.0)  # (4 + 96 + 96 + 0) / 4
    assert hard["surface_dice_2mm"] == pytest.approx(40.0)
    assert list(hard[["n_missed", "n_with", "n_invented", "n_without"]]) == [1, 2, 1, 2]
    assert list(easy[["n_missed", "n_with", "n_invented", "n_without"]]) == [0, 2, 0, 2]
    (first, _) = surfaces_table(MINE, frame, note="").rows
    assert [cell[0].address for cell in first.cells[-2:]] == ["mine:hard", "mine:hard"]
    text = markdown(surfaces_table(MINE, frame, note=""))
    assert "| hard | 49.00 | 40.00 | 1 of 2 | 1 of 2 |" in text
    assert "| easy | **2.00** | **85.00** | 0 of 2 | 0 of 2 |" in text
    assert "the volume's diagonal" in text


def test_counts_are_over_all_runs_and_means_over_folds_then_seeds(tmp_path: Path) -> None:
    write_readings(tmp_path, "a", {"": HARD}, where={"seed": 0})
    write_readings(tmp_path, "b", {"": EASY}, where={"seed": 1})
    cells = [("net", 0, 0, "a"), ("net", 0, 1, "b"), ("net", 0, 2, "never")]
    net = surfaces_of(tmp_path, methods_manifest("mine", *cells)).iloc[0]
    assert net["hd95_mm"] == pytest.approx(25.5)
    assert list(net[["n_missed", "n_with", "n_invented", "n_without"]]) == [1, 4, 1, 4]
    assert bool(net["hd95_mm_partial"])


def test_every_region_has_its_row_and_its_best(tmp_path: Path) -> None:
    write_regions(tmp_path, "a", {"core": HARD, "whole": EASY})
    write_regions(tmp_path, "b", {"whole": HARD})
    frame = surfaces_of(tmp_path, methods_manifest("mine", ("one", 0, 0, "a"), ("two", 0, 0, "b")))
    assert list(zip(frame["method"], frame["region"], strict=True)) == [
        ("one", "core"),
        ("one", "whole"),
        ("two", "core"),
        ("two", "whole"),
    ]
    lines = markdown(surfaces_table(MINE, frame, note="")).splitlines()
    # The second method cannot tell the core, and what stands alone is not best.
    assert "| one | core | 49.00 | 40.00 | 1 of 2 | 1 of 2 |" in lines
    assert "|  | whole | **2.00** | **85.00** | 0 of 2 | 0 of 2 |" in lines
    assert "| two | core | – | – | – | – |" in lines


def test_runs_with_the_older_convention_are_named(tmp_path: Path) -> None:
    write_readings(tmp_path, "a", {"": {"dice": [0.5, NAN], "hd95_mm": [3.0, NAN]}})
    write_readings(tmp_path, "b", {"": EASY})
    frame = surfaces_of(tmp_path, methods_manifest("mine", ("old", 0, 0, "a"), ("new", 0, 0, "b")))
    text = markdown(surfaces_table(MINE, frame, note=""))
    assert "| old | 3.00 | – | – | – |" in text
    assert "Warning: old was scored by an earlier version" in text
    assert surfaces_csv(frame)["n_missed"].isna().tolist() == [True, False]


def test_results_without_distances_have_no_such_table(tmp_path: Path) -> None:
    write_run(tmp_path, "a", [0.5])
    planned = planned_runs(tmp_path, methods_manifest("mine", ("a", 0, 0, "a")), PLACE)
    assert not has_surfaces(scored_in(reported_scores(tmp_path, planned)))


def test_beside_every_mean_of_hd95_stands_what_a_missed_structure_costs(tmp_path: Path) -> None:
    write_readings(tmp_path, "a", {"": HARD})
    write_readings(tmp_path, "b", {"": {name: values for name, values in HARD.items() if name == "dice"}})
    said = "HD95 of a case whose structure was missed or invented is the volume's diagonal"
    for run_id, has_hd95 in (("a", True), ("b", False)):
        write_manifest(tmp_path, methods_manifest(f"grid_{run_id}", ("hard", 0, 0, run_id)))
        report = write_report(tmp_path, grid=f"grid_{run_id}", source="runs", out=tmp_path / run_id)
        text = (tmp_path / run_id / "report.md").read_text(encoding="utf-8")
        assert ("HD95" in report.tables[0].printed[0].title + text.split("Notes")[0]) == has_hd95
        assert (said in text) == has_hd95
