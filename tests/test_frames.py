"""Published numbers and the way from scores on disk to the cells of a table, of Table 2 above all."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.cbook import boxplot_stats
from written_runs import NAN, V3, V4, manifest_of, write_failure, write_readings, write_run

from benchmark.results.manifests import CellRun, GridManifest
from benchmark.results.runs import RunFolder
from benchmark.vocabulary import BenchError
from reports.ground.boxes import box_statistics
from reports.ground.frames import behind, best_mask, no_best, progress
from reports.ground.publications import published
from reports.ground.runs import run_cells
from reports.tables.table2.frames import (
    CELL,
    PLACE,
    best_by_sharing,
    dice_by_fusion_weight,
    dice_by_self_supervision,
    published_table2,
    table2_cells,
    table2_frame,
)

table2_runs = partial(run_cells, place=PLACE)


def only_cell(frame: pd.DataFrame, factors: Mapping[str, str]) -> pd.Series:
    level = factors.get("self_supervision", factors.get("fusion_weight"))
    mask = (frame["version"] == factors["version"]) & (frame["level"] == level)
    cells = frame[mask & (frame["shared_layers"] == factors["shared_layers"])]
    assert len(cells) == 1
    return cells.iloc[0]


def test_the_published_table_2_has_its_105_cells_and_the_best_is_v3_with_shuffling_at_the_bottleneck() -> (
    None
):
    frame = published_table2()
    assert len(frame) == 105
    assert frame["value"].notna().all()
    best = frame.loc[frame["value"].idxmax()]
    assert list(best[CELL]) == ["v3", "self_supervision", "shuffle", "5"]
    assert best["value"] == 65.91


def test_published_tables_have_the_printed_rows() -> None:
    assert [len(published(table)) for table in (2, 3, 4, 5)] == [105, 11, 11, 5]
    table3 = published(3).set_index("method")
    assert list(table3.loc["LF-Intersection"]) == [21.60, 1.67, 99.74]
    # Tables 2 and 3 print the same best value of each version.
    best = published_table2().groupby("version")["value"].max()
    assert all(best[version] == table3.loc[f"Mirror U-Net {version}", "dice"] for version in best.index)


def test_an_unknown_published_table_is_refused() -> None:
    with pytest.raises(BenchError, match="2, 3, 4, 5"):
        published(7)


def test_bold_is_the_best_of_a_version_and_a_choice_of_layers() -> None:
    frame = published_table2()
    bold = frame[best_mask(frame, ["version", "shared_layers"])]
    assert len(bold) == 28
    cell = bold[(bold["version"] == "v1") & (bold["shared_layers"] == "4")].iloc[0]
    assert (cell["level"], cell["value"]) == ("shuffle", 63.97)


def test_ties_in_print_are_all_best_and_undefined_is_never() -> None:
    frame = pd.DataFrame({"box": ["a", "a", "a", "a", "b"], "value": [1.001, 1.004, 0.5, NAN, NAN]})
    assert list(best_mask(frame, ["box"])) == [True, True, False, False, False]
    frame = frame[1:].assign(box="a")
    frame["value"] = [1.0, 2.0, 3.0, NAN]
    assert list(best_mask(frame, ["box"], higher_is_better=False)) == [True, False, False, False]
    assert list(best_mask(frame, [])) == [False, False, True, False]


def test_nothing_is_the_best_without_a_difference() -> None:
    frame = pd.DataFrame(
        {"box": ["alone", "equal", "equal", "apart", "apart"], "value": [66.0, 0.0, 0.001, 1.0, 2.0]}
    )
    assert list(best_mask(frame, ["box"])) == [False, False, False, False, True]
    assert no_best(frame["value"][:1], noun="cell") == "none, one cell alone has a number"
    assert no_best(frame["value"][1:3], noun="cell") == "none, all 2 cells are equal in print"
    assert no_best(pd.Series([NAN]), noun="cell") == "none yet"


def test_figure_5_takes_the_bold_numbers() -> None:
    points = best_by_sharing(published_table2()).set_index(["version", "shared_layers"])
    assert points.loc[("v4", "4-5-6"), "value"] == 63.99
    assert points.loc[("v4", "4-5-6"), "level"] == "0.2"
    assert (points["n"] == points["n_expected"]).all()
    assert set(points.xs("v4")["n_expected"]) == {6}


def test_figure_5_says_where_only_a_part_of_a_box_is_there() -> None:
    frame = published_table2()
    box = (frame["version"] == "v1") & (frame["shared_layers"] == "3")
    frame.loc[box & (frame["level"] != "none"), "value"] = NAN
    frame.loc[frame["shared_layers"] == "7", "value"] = NAN
    points = best_by_sharing(frame).set_index(["version", "shared_layers"])
    assert list(points.loc[("v1", "3"), ["value", "level", "n", "n_expected"]]) == [57.39, "none", 1, 3]
    assert list(points.loc[("v2", "7"), ["level", "n"]]) == ["", 0]
    assert math.isnan(points.loc[("v2", "7"), "value"])


def test_figure_4_leaves_out_v4_and_figure_6_the_learnable_weight() -> None:
    figure4 = dice_by_self_supervision(published_table2())
    assert len(figure4) == 3 * 3 * 7
    figure6 = dice_by_fusion_weight(published_table2())
    assert len(figure6) == 5 * 7
    assert 47.42 not in set(figure6["value"])
    boxes = box_statistics(figure6, ["shared_layers"]).set_index("shared_layers")
    # 61.67, 59.86, 59.61, 58.95, 58.65: the best is an outlier, farther than 1.5 * 0.91 above 59.86.
    assert list(boxes.loc["3", ["low", "q1", "median", "q3", "high"]]) == [58.65, 58.95, 59.61, 59.86, 59.86]


def test_box_statistics_equal_those_of_matplotlib() -> None:
    rng = np.random.default_rng(3)
    for size in (1, 2, 3, 4, 5, 7):
        for _ in range(20):
            values = rng.standard_t(2, size)
            ours = box_statistics(pd.DataFrame({"g": "a", "value": values}), ["g"]).iloc[0]
            peer = boxplot_stats(values)[0]
            assert [ours["low"], ours["q1"], ours["median"], ours["q3"], ours["high"]] == pytest.approx(
                [peer["whislo"], peer["q1"], peer["med"], peer["q3"], peer["whishi"]]
            )


def test_an_empty_group_keeps_its_box() -> None:
    points = pd.DataFrame({"g": ["a", "a", "b"], "value": [NAN, NAN, 2.0]})
    boxes = box_statistics(points, ["g"]).set_index("g")
    assert list(boxes["n"]) == [0, 1]
    assert list(boxes["n_expected"]) == [2, 1]
    assert math.isnan(boxes.loc["a", "median"])


def test_means_are_over_cases_then_folds_then_seeds(tmp_path: Path) -> None:
    write_run(tmp_path, "a", [0.2, 0.4, NAN], fold=0, seed=0)  # 0.3 of 2 cases
    write_run(tmp_path, "b", [0.6], fold=1, seed=0)  # seed 0: (0.3 + 0.6) / 2 = 0.45
    write_run(tmp_path, "c", [0.1, 0.3, NAN], fold=0, seed=1)  # 0.2
    write_run(tmp_path, "d", [0.9], fold=1, seed=1)  # seed 1: (0.2 + 0.9) / 2 = 0.55
    manifest = manifest_of((V3, 0, 0, "a"), (V3, 1, 0, "b"), (V3, 0, 1, "c"), (V3, 1, 1, "d"))
    cell = only_cell(table2_frame(table2_runs(tmp_path, manifest)), V3)
    assert cell["value"] == pytest.approx(50.0)  # a mean over all cases would give 41.67
    assert cell["std"] == pytest.approx(100 * math.sqrt(0.05**2 + 0.05**2))
    counts = ["n_runs", "n_expected", "n_seeds", "n_folds", "n_cases", "n_defined", "n_undefined"]
    assert list(cell[counts]) == [4, 4, 2, 2, 4, 3, 0]


def test_an_outlying_seed_of_three_counts_as_much_as_the_others(tmp_path: Path) -> None:
    for seed, dice in enumerate((0.6, 0.6, 0.0)):
        write_run(tmp_path, f"s{seed}", [dice], seed=seed)
    manifest = manifest_of(*((V3, 0, seed, f"s{seed}") for seed in range(3)))
    cell = only_cell(table2_frame(table2_runs(tmp_path, manifest)), V3)
    assert cell["value"] == pytest.approx(40.0)  # the median is 60
    assert cell["std"] == pytest.approx(100 * math.sqrt(3 * 0.04))


def test_volumes_are_means_over_all_cases_in_millilitres(tmp_path: Path) -> None:
    write_run(tmp_path, "a", [0.5, NAN], fpv_ml=[1.0, 4.0])
    runs = table2_runs(tmp_path, manifest_of((V4, 0, 0, "a")))
    cell = only_cell(table2_frame(runs, metric="fpv_ml"), V4)
    assert (cell["value"], cell["n_defined"], cell["n_cases"]) == (2.5, 2, 2)
    assert math.isnan(cell["std"])


def test_missing_and_failed_runs_stay_as_rows_without_a_value(tmp_path: Path) -> None:
    write_run(tmp_path, "a", [0.5])
    write_failure(tmp_path, "b", "diverged")
    manifest = manifest_of((V3, 0, 0, "a"), (V3, 0, 1, "b"), (V4, 0, 0, "never"))
    runs = table2_runs(tmp_path, manifest)
    assert list(runs["state"]) == ["done", "failed", "pending"]
    frame = table2_frame(runs)
    assert len(frame) == 105
    assert list(only_cell(frame, V3)[["value", "n_runs", "n_expected"]]) == [50.0, 1, 2]
    v4 = only_cell(frame, V4)
    assert math.isnan(v4["value"])
    assert list(v4[["n_runs", "n_expected"]]) == [0, 1]
    assert frame["value"].notna().sum() == 1
    assert progress(frame).n_done == 0
    assert progress(frame).n_partial == 1


def test_a_run_without_any_defined_dice_is_done_but_undefined_and_does_not_enter_means(
    tmp_path: Path,
) -> None:
    write_run(tmp_path, "a", [NAN, NAN])
    write_run(tmp_path, "b", [0.4], fold=1)
    write_run(tmp_path, "c", [NAN])
    runs = table2_runs(tmp_path, manifest_of((V3, 0, 0, "a"), (V3, 1, 0, "b"), (V4, 0, 0, "c")))
    frame = table2_frame(runs)
    v3, v4 = only_cell(frame, V3), only_cell(frame, V4)
    assert (v3["value"], v3["n_undefined"], v3["n_defined"], v3["n_cases"]) == (pytest.approx(40.0), 1, 1, 3)
    assert math.isnan(v4["value"])
    assert (v4["n_runs"], v4["n_undefined"]) == (1, 1)
    assert progress(frame).n_done == 2


def test_only_the_test_split_is_reported(tmp_path: Path) -> None:
    write_run(tmp_path, "a", [0.4])
    folder = RunFolder(tmp_path, "a")
    test = folder.scores()
    folder.write_scores(pd.concat([test, test.assign(split="validation", value=1.0)]))
    assert only_cell(table2_frame(table2_runs(tmp_path, manifest_of((V3, 0, 0, "a")))), V3)["value"] == 40.0


def test_several_regions_need_a_choice(tmp_path: Path) -> None:
    write_run(tmp_path, "a", [0.4], region="core")
    folder = RunFolder(tmp_path, "a")
    folder.write_scores(pd.concat([folder.scores(), folder.scores().assign(region="whole", value=0.8)]))
    manifest = manifest_of((V3, 0, 0, "a"))
    with pytest.raises(BenchError, match="core, whole"):
        table2_runs(tmp_path, manifest)
    assert table2_runs(tmp_path, manifest, region="whole")["dice"].tolist() == [0.8]


def readings_manifest(*cells: tuple[Mapping[str, str], str, str]) -> GridManifest:
    runs = tuple(CellRun(factors, 0, 0, run_id, reading) for factors, run_id, reading in cells)
    return GridManifest("table2", "k", "demo", "phantom", "", "f1", 1.0, runs)


def test_every_reading_of_a_run_has_its_own_scores_and_the_run_counts_once(tmp_path: Path) -> None:
    write_readings(tmp_path, "a", {"first": {"dice": [0.2, 0.4]}, "second": {"dice": [0.9]}})
    manifest = readings_manifest((V3, "a", "first"), (V4, "a", "second"))
    runs = table2_runs(tmp_path, manifest)
    frame = table2_frame(runs)
    assert only_cell(frame, V3)["value"] == pytest.approx(30.0)
    assert list(only_cell(frame, V4)[["value", "n_cases"]]) == [90.0, 1]
    assert behind(runs, manifest).states == {"done": 1}


def test_a_reading_that_was_not_scored_is_an_error_that_names_those_that_were(tmp_path: Path) -> None:
    write_readings(tmp_path, "a", {"first": {"dice": [0.2]}, "second": {"dice": [0.9]}})
    (row,) = table2_runs(tmp_path, readings_manifest((V3, "a", "third"))).to_dict("records")
    assert (row["state"], row["failure"]) == ("failed", "damaged")
    assert re.search(r"Run a was not scored with the reading 'third'.*first.*second", row["error"])


def test_a_cell_that_cannot_be_run_is_settled_and_not_failed(tmp_path: Path) -> None:
    write_run(tmp_path, "a", [0.4])
    write_failure(tmp_path, "b", "unsupported", error="needs PET")
    manifest = manifest_of((V3, 0, 0, "a"), (V4, 0, 0, "b"))
    runs = table2_runs(tmp_path, manifest)
    frame = table2_frame(runs)
    assert behind(runs, manifest).states == {"done": 1, "unsupported": 1}
    assert list(runs["error"]) == ["", "needs PET"]
    assert list(only_cell(frame, V4)[["n_expected", "n_unsupported", "n_runs"]]) == [1, 1, 0]
    two = frame[frame["n_expected"] > 0]
    assert (progress(two).n_done, progress(two).n_unsupported, progress(two).finished) == (1, 1, True)
    assert not progress(frame).finished


def test_cells_that_the_paper_lacks_come_after_its_own(tmp_path: Path) -> None:
    other = V3 | {"shared_layers": "2"}
    write_run(tmp_path, "a", [0.4])
    frame = table2_frame(table2_runs(tmp_path, manifest_of((other, 0, 0, "a"))))
    assert len(frame) == 106
    assert frame[CELL].iloc[:105].equals(table2_cells())
    assert frame["value"].iloc[105] == 40.0


def test_a_cell_planned_anew_counts_once_with_its_latest_run(tmp_path: Path) -> None:
    write_run(tmp_path, "old", [0.1])
    write_run(tmp_path, "new", [0.7])
    manifest = manifest_of((V3, 0, 0, "old"), (V3, 0, 0, "new"))
    runs = table2_runs(tmp_path, manifest)
    assert only_cell(table2_frame(runs), V3)["value"] == pytest.approx(70.0)
    assert behind(runs, manifest).n_superseded == 1


def test_what_stands_behind_the_grid_is_counted_over_finished_runs(tmp_path: Path) -> None:
    write_run(tmp_path, "a", [0.1], seed=3, checkpoint="best")
    manifest = manifest_of((V3, 0, 3, "a"), (V3, 1, 4, "never"))
    known = behind(table2_runs(tmp_path, manifest), manifest)
    assert (known.n_runs, known.n_planned, known.seeds, known.folds) == (1, 2, (3,), (0,))
    assert (known.checkpoints, known.grids, known.manifest) == (("best",), ("dataset",), "table2-k")


def test_a_finished_run_with_damaged_scores_is_named(tmp_path: Path) -> None:
    write_run(tmp_path, "a", [0.1])
    write_run(tmp_path, "b", [0.2])
    manifest = manifest_of((V3, 0, 0, "a"), (V4, 0, 0, "b"))
    scores = RunFolder(tmp_path, "a").scores_file
    for spoil in (lambda: scores.write_bytes(b"not parquet"), scores.unlink):
        spoil()
        damaged, sound = table2_runs(tmp_path, manifest).to_dict("records")
        assert (damaged["state"], damaged["failure"]) == ("failed", "damaged")
        assert damaged["error"].startswith("Run a is done")
        assert (sound["state"], sound["dice"]) == ("done", 0.2)


def test_factors_of_another_table_are_refused() -> None:
    with pytest.raises(BenchError, match="no place in Table 2"):
        table2_runs(Path("nowhere"), manifest_of(({"version": "v1", "shared_layers": "5"}, 0, 0, "a")))
