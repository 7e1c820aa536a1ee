"""The scores of single cases in one array: which case, cell and seed a value belongs to, and the means over them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from written_runs import NAN, V3, V4, manifest_of, methods_manifest, write_readings, write_regions, write_run

from benchmark.results.manifests import GridManifest
from benchmark.vocabulary import BenchError
from reports.ground.frames import cells_frame
from reports.ground.measures import DICE, FNV, MEASURES, Measure
from reports.ground.runs import Coordinates, planned_runs, reported_scores, with_means
from reports.statistics.scores import CaseScores, case_scores
from reports.tables.comparison.frames import PLACE as METHODS
from reports.tables.table2.frames import PLACE as TABLE2
from reports.tables.table2.frames import table2_cells


def scores_of(
    results: Path,
    manifest: GridManifest,
    place: Coordinates,
    measure: Measure,
    cells: pd.DataFrame | None = None,
) -> CaseScores:
    runs = planned_runs(results, manifest, place)
    cells = runs[list(place.keys)].drop_duplicates() if cells is None else cells
    return case_scores(runs, reported_scores(results, runs), cells, measure)


def test_values_stand_at_their_cell_case_and_seed_in_the_printed_unit(tmp_path: Path) -> None:
    write_run(tmp_path, "a0", [0.5, NAN], fold=0, seed=0, fnv_ml=[1.5, 2.5])
    write_run(tmp_path, "a1", [0.25], fold=1, seed=0)
    write_run(tmp_path, "a2", [0.75, 0.125], fold=0, seed=7)
    manifest = manifest_of((V3, 0, 0, "a0"), (V3, 1, 0, "a1"), (V3, 0, 7, "a2"), (V4, 0, 0, "b"))
    scores = scores_of(tmp_path, manifest, TABLE2, DICE)
    assert scores.cells["version"].tolist() == ["v3", "v4"]
    assert scores.seeds == (0, 7)
    assert scores.cases.to_dict("list") == {
        "case_id": ["case00", "case01", "case10"],
        "patient": ["patient00", "patient01", "patient10"],
        "fold": [0, 0, 1],
    }
    expected = [[[50.0, 75.0], [NAN, 12.5], [25.0, NAN]], np.full((3, 2), NAN)]
    np.testing.assert_array_equal(scores.values, expected)
    # The undefined Dice was scored, fold 1 was not with seed 7.
    assert scores.scored[0].tolist() == [[True, True], [True, True], [True, False]]
    assert not scores.scored[1].any()
    np.testing.assert_array_equal(scores.case_values()[0], [62.5, 12.5, 25.0])
    volumes = scores_of(tmp_path, manifest, TABLE2, FNV)
    np.testing.assert_array_equal(volumes.values[0, :, 0], [1.5, 2.5])


def test_means_are_over_cases_then_folds_then_seeds(tmp_path: Path) -> None:
    write_run(tmp_path, "a0", [0.2, 0.4, NAN], fold=0, seed=0)  # 30
    write_run(tmp_path, "a1", [0.9], fold=1, seed=0)  # 90
    write_run(tmp_path, "a2", [0.1, 0.1, NAN], fold=0, seed=1)  # 10
    manifest = methods_manifest("m", ("A", 0, 0, "a0"), ("A", 1, 0, "a1"), ("A", 0, 1, "a2"))
    scores = scores_of(tmp_path, manifest, METHODS, DICE)
    assert scores.means() == pytest.approx([(60 + 10) / 2])


def test_means_are_the_values_of_the_printed_tables(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    cells = []
    for method in "ABC":
        for fold in range(3):
            for seed in range(2):
                dice = np.where(generator.random(5) < 0.3, NAN, generator.random(5))
                run = f"{method}{fold}{seed}"
                write_run(tmp_path, run, list(dice), fold=fold, seed=seed, fnv_ml=list(generator.random(5)))
                cells.append((method, fold, seed, run))
    manifest = methods_manifest("m", *cells[:-2])
    runs = planned_runs(tmp_path, manifest, METHODS)
    rows = runs[["method"]].drop_duplicates()
    means = with_means(runs, reported_scores(tmp_path, runs))
    for key in ("dice", "fnv_ml"):
        scores = scores_of(tmp_path, manifest, METHODS, MEASURES[key])
        assert scores.means() == pytest.approx(cells_frame(means, rows, MEASURES[key])["value"].to_numpy())


def test_readings_of_one_training_and_cells_that_share_a_training_are_cells_of_their_own(
    tmp_path: Path,
) -> None:
    write_readings(tmp_path, "a", {"ct": {"dice": [0.1, 0.2]}, "pet": {"dice": [0.3, 0.4]}})
    manifest = methods_manifest(
        "m", ("CT", 0, 0, "a", "ct"), ("PET", 0, 0, "a", "pet"), ("Twin", 0, 0, "a", "pet")
    )
    scores = scores_of(tmp_path, manifest, METHODS, DICE)
    np.testing.assert_allclose(scores.values[:, :, 0], [[10, 20], [30, 40], [30, 40]])


def test_a_region_is_asked_for_where_there_are_several(tmp_path: Path) -> None:
    write_regions(tmp_path, "a", {"core": {"dice": [0.1]}, "whole": {"dice": [0.3]}})
    manifest = methods_manifest("m", ("A", 0, 0, "a"))
    with pytest.raises(BenchError, match="core, whole; say which"):
        scores_of(tmp_path, manifest, METHODS, DICE)
    assert scores_of(tmp_path, manifest, METHODS, DICE.of("whole")).means() == pytest.approx([30])
    runs = planned_runs(tmp_path, manifest, METHODS)
    named = case_scores(runs, reported_scores(tmp_path, runs), runs[["method"]], DICE, region="core")
    assert named.means() == pytest.approx([10])
    assert named.measure.key == "core_dice"


def test_two_runs_in_one_place_are_refused(tmp_path: Path) -> None:
    write_run(tmp_path, "a", [0.1])
    write_run(tmp_path, "b", [0.2])
    manifest = manifest_of((V3, 0, 0, "a"), ({**V3, "width": "2"}, 0, 0, "b"))
    with pytest.raises(BenchError, match="runs a and b both claim the cell version v3"):
        scores_of(tmp_path, manifest, TABLE2, DICE)


def test_a_case_of_two_patients_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path, "a", [0.1])
    runs = planned_runs(tmp_path, methods_manifest("m", ("A", 0, 0, "a"), ("B", 0, 0, "b")), METHODS)
    scores = reported_scores(tmp_path, runs)
    other = scores.assign(run_id="b", patient="someone else")
    with pytest.raises(BenchError, match="case00 belongs to different patients"):
        case_scores(runs.assign(state="done"), pd.concat([scores, other]), runs[["method"]], DICE)


def test_a_table_without_finished_runs_has_cells_without_cases() -> None:
    runs = planned_runs(Path("nowhere"), manifest_of((V3, 0, 0, "a")), TABLE2)
    scores = case_scores(runs, reported_scores(Path("nowhere"), runs), table2_cells(), DICE)
    assert scores.values.shape == (105, 0, 0)
    assert np.isnan(scores.means()).all()


def test_a_cell_is_found_by_its_coordinates(tmp_path: Path) -> None:
    write_run(tmp_path, "a", [0.1])
    scores = scores_of(tmp_path, manifest_of((V3, 0, 0, "a"), (V4, 0, 0, "b")), TABLE2, DICE)
    assert scores.index(version="v4", shared_layers="4-5-6") == 1
    with pytest.raises(BenchError, match="0 cells of the table have version 'v2'"):
        scores.index(version="v2")
    with pytest.raises(BenchError, match="no coordinate 'theta'"):
        scores.index(theta="0.1")
