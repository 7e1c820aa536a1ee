"""Many files of scores as one frame: the same rows as a plain loop over the files, and the same errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from written_runs import NAN, methods_manifest, score_rows, write_readings, write_run, write_scores

from benchmark.results.runs import SCORE_COLUMNS, RunFolder, load_scores
from benchmark.vocabulary import BenchError
from reports.evidence.recomputing import stored_rows
from reports.ground import score_files
from reports.ground.runs import of_readings, planned_runs, reported_scores
from reports.ground.score_files import SCORES, codes_of, read_scores, sources_of
from reports.tables.comparison.frames import PLACE


def plainly(results: Path, readings: dict[str, list[str]]) -> pd.DataFrame:
    """The same by pandas, run by run."""
    frames = []
    for run_id, wanted in readings.items():
        folder = RunFolder(results, run_id)
        frames.append(of_readings(load_scores(results, [run_id]), folder, readings=wanted))
    return pd.concat(frames, ignore_index=True).astype(dict.fromkeys(score_files.NAMES, str))


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Runs with one and several regions, readings, folds, splits and grids, and with different cases."""
    write_run(tmp_path, "a", [0.1, NAN], fnv_ml=[1.0, 2.0], fold=3, seed=1)
    write_readings(tmp_path, "b", {"ct": {"dice": [0.3]}, "pet": {"dice": [0.4], "missed": [1.0]}})
    test, validation = (
        score_rows("c", {"": {"dice": [0.5, 0.6]}}, where={"split": split, "grid": grid, "region": split})
        for split, grid in (("test", "native"), ("validation", "dataset"))
    )
    write_scores(tmp_path, "c", [test, validation, test.assign(region="other", grid="dataset")])
    return tmp_path


def test_the_frame_has_the_rows_of_a_plain_loop(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = {"a": [""], "b": ["pet", "ct"], "c": [""]}
    expected = plainly(mixed, readings)
    for batch in (1, 2, 256):
        monkeypatch.setattr(score_files, "BATCH", batch)
        found = read_scores(mixed, readings)
        assert list(found) == SCORES
        pd.testing.assert_frame_equal(found.astype(dict.fromkeys(score_files.NAMES, str)), expected)
    some = read_scores(mixed, {"b": ["pet"], "a": [""]}, metrics=["dice"])
    assert some[["run_id", "reading", "value"]].astype({"run_id": str, "reading": str}).to_dict("list") == {
        "run_id": ["b", "a", "a"],
        "reading": ["pet", "", ""],
        "value": [0.4, 0.1, pytest.approx(NAN, nan_ok=True)],
    }


def test_several_processes_read_the_same(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = {"c": [""], "b": ["pet", "ct"], "a": [""]}
    alone = read_scores(mixed, readings, metrics=["dice", "missed"])
    monkeypatch.setattr(score_files, "WORTH_A_PROCESS", 1)
    monkeypatch.setattr(score_files, "BATCH", 1)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    pd.testing.assert_frame_equal(read_scores(mixed, readings, metrics=["dice", "missed"]), alone)
    RunFolder(mixed, "a").scores_file.write_bytes(b"")
    with pytest.raises(BenchError, match=r"Run a is done, but .*scores.parquet cannot be read"):
        read_scores(mixed, readings)


def test_files_without_statistics_and_with_several_row_groups_are_read_alike(mixed: Path) -> None:
    readings = {"a": [""], "b": ["ct"], "c": [""]}
    before = read_scores(mixed, readings)
    for run in readings:
        file = RunFolder(mixed, run).scores_file
        pq.write_table(pq.read_table(file), file, row_group_size=1, write_statistics=run == "a")
    pd.testing.assert_frame_equal(read_scores(mixed, readings), before)


def test_no_runs_are_no_rows_of_the_same_kinds(mixed: Path) -> None:
    none, some = read_scores(mixed, {}), read_scores(mixed, {"a": [""]})
    assert none.empty
    assert [kind.name for kind in none.dtypes] == [kind.name for kind in some.dtypes]


def test_a_file_that_cannot_be_read_is_named(mixed: Path) -> None:
    runs = planned_runs(mixed, methods_manifest("m", ("A", 0, 0, "a"), ("C", 0, 0, "c")), PLACE)
    file = RunFolder(mixed, "c").scores_file
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(
        BenchError, match=r"Run c is done, but .*scores.parquet cannot be read .*start the grid"
    ):
        reported_scores(mixed, runs)
    file.unlink()
    with pytest.raises(BenchError, match=r"Run c is done, but .*scores.parquet cannot be read"):
        reported_scores(mixed, runs)


def test_a_file_with_other_columns_is_refused(mixed: Path) -> None:
    file = RunFolder(mixed, "a").scores_file
    pd.read_parquet(file).drop(columns="unit").to_parquet(file)
    with pytest.raises(BenchError, match=r"missing columns \['unit'\]"):
        read_scores(mixed, {"a": [""]})
    frame = pd.DataFrame({name: ["x"] for name in SCORE_COLUMNS}).assign(fold=0, seed=0, value="much")
    frame.to_parquet(file)
    with pytest.raises(BenchError, match="Run a is done, but"):
        read_scores(mixed, {"a": [""]})


def test_the_recomputation_refuses_other_columns_too(mixed: Path) -> None:
    file = RunFolder(mixed, "a").scores_file
    pd.read_parquet(file).drop(columns="run_id").to_parquet(file)
    with pytest.raises(BenchError, match=r"Run a: .*missing column.*run_id"):
        stored_rows(RunFolder(mixed, "a"))


def test_a_reading_that_was_not_scored_is_refused(mixed: Path) -> None:
    with pytest.raises(
        BenchError, match=r"Run b was not scored with the reading 'mri', only with \['ct', 'pet'\]"
    ):
        read_scores(mixed, {"b": ["ct", "mri"]})


def test_sources_are_numbered_in_the_order_of_their_rows(mixed: Path) -> None:
    scores = read_scores(mixed, {"b": ["pet", "ct"], "a": [""]})
    sources, of_row = sources_of(scores)
    assert sources.to_dict("list") == {"run_id": ["b", "b", "a"], "reading": ["ct", "pet", ""]}
    assert of_row.tolist() == [0, 1, 1, 2, 2, 2, 2]
    plain, same = sources_of(scores.astype({"run_id": str, "reading": str}))
    pd.testing.assert_frame_equal(plain, sources)
    np.testing.assert_array_equal(same, of_row)
    codes, names = codes_of(scores["metric"])
    assert [names[code] for code in codes] == scores["metric"].tolist()
