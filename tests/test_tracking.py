"""The MLflow mirror, read back with MLflow's own client."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmark import tracking
from benchmark.cli import main
from benchmark.files.writing import exclusive
from benchmark.results.manifests import CellRun, GridManifest, manifest_file, write_manifest
from benchmark.results.runs import SCORE_COLUMNS, RunFolder, RunRecord
from benchmark.tracking.links import run_link, runs_link
from benchmark.tracking.store import Store
from benchmark.vocabulary import BenchError
from benchmark.words import in_results

AWAY = "http://user:secret@127.0.0.1:9"
"""Nothing listens on the discard port."""


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for all tests, which have an experiment each: to create one takes a second."""
    folder = tmp_path_factory.mktemp("store")
    Store(folder, f"sqlite:///{folder}/mlflow.db")
    return f"sqlite:///{folder}/mlflow.db"


@pytest.fixture
def results(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", str(tmp_path))
    # The blank is there because addresses and paths are quoted differently.
    folder = tmp_path / "my results"
    folder.mkdir()
    return folder


@pytest.fixture
def _own_store(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default: a database in the results folder."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")


def write_run(results: Path, run_id: str, *, state: str = "done", steps: int = 3, **record: Any) -> RunFolder:
    folder = RunFolder(results, run_id)
    training = {"epochs": 2, "patch_size": [8, 8, 8]}
    folder.write_config(
        {"dataset": "phantom", "fold": 1, "seed": 7, "method": "mirror_unet", "training": training}
    )
    rows = [{"step": s, "seconds": 0.5 * s, "seg": 1.0 / s} for s in range(1, steps + 1)]
    folder.write_history([*rows, {"step": 2, "seconds": 1.0, "val_dice": 0.25}])
    folder.log_file.write_text("one line\n")
    if state == "done":
        folder.write_scores(scores(run_id))
    facts = {"git_commit": "abc123", "device": "cpu"}
    folder.write_record(RunRecord(run_id, state, steps=steps, train_seconds=1.5, facts=facts, **record))  # type: ignore[arg-type]
    return folder


def scores(run_id: str, dice: tuple[float, ...] = (0.5, 0.7, float("nan"))) -> pd.DataFrame:
    """Three cases, the third without a lesion: its Dice is undefined."""
    row = dict.fromkeys(SCORE_COLUMNS, "x") | {
        "run_id": run_id,
        "fold": 1,
        "seed": 7,
        "split": "test",
        "reading": "",
    }
    rows = [row | {"region": "tumor", "metric": "dice", "value": value} for value in dice]
    return pd.DataFrame([*rows, row | {"region": "tumor", "metric": "fpv_ml", "value": 2.0}])


def write_grid(results: Path, *run_ids: str, grid: str = "table2", created: float = 1000.0) -> GridManifest:
    cells = tuple(CellRun({"version": "v3", "shared_layers": "5"}, 1, 7, run_id) for run_id in run_ids)
    manifest = GridManifest(grid, "k1", "demo", "phantom", "", "finger", created, cells)
    return write_manifest(results, manifest)


def client(results: Path) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=tracking.store_uri(results))


def all_runs(results: Path) -> list[Any]:
    """The active MLflow runs of the experiment."""
    asked = client(results)
    experiment = asked.get_experiment_by_name(os.environ.get("MLFLOW_EXPERIMENT_NAME", "bench"))
    return list(asked.search_runs([experiment.experiment_id]))


def mlflow_runs(results: Path) -> dict[str, Any]:
    """The same by the suite's run id, or by the grid's name; fails if one is there twice."""
    found: dict[str, Any] = {}
    for run in all_runs(results):
        name = run.data.tags.get("bench.run_id") or run.data.tags["bench.grid"]
        assert name not in found
        found[name] = run
    return found


def curve(results: Path, run: Any, metric: str) -> list[tuple[int, float]]:
    return [(p.step, p.value) for p in client(results).get_metric_history(run.info.run_id, metric)]


def test_a_grid_is_a_parent_and_its_runs_are_children_with_everything_the_folder_says(results: Path) -> None:
    write_run(results, "r1")
    write_run(results, "r2", state="failed", failure="diverged", error="The loss was not finite at step 3.")
    write_grid(results, "r1", "r2", "never-started")
    report = tracking.sync(results)
    assert (report.delivered, report.up_to_date, dict(report.undelivered)) == (2, 0, {})
    runs = mlflow_runs(results)
    parent, done, failed = runs["table2-k1"], runs["r1"], runs["r2"]
    assert len(runs) == 3
    assert (
        done.data.tags["mlflow.parentRunId"] == failed.data.tags["mlflow.parentRunId"] == parent.info.run_id
    )
    assert (done.info.status, failed.info.status) == ("FINISHED", "FAILED")
    assert failed.data.tags["bench.failure"] == "diverged"
    assert "not finite at step 3" in failed.data.tags["mlflow.note.content"]
    assert done.data.tags["factor.version"] == "v3"
    assert done.data.tags["mlflow.source.git.commit"] == "abc123"
    assert done.info.run_name == "version=v3 shared_layers=5 fold=1 seed=7"
    assert done.data.params["training.patch_size"] == "[8, 8, 8]"
    assert done.data.params["seed"] == "7"
    assert curve(results, done, "train/seg") == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    assert curve(results, done, "val/dice") == [(2, 0.25)]
    assert done.data.metrics["test/tumor/dice"] == pytest.approx(0.6)
    assert done.data.metrics["test/tumor/dice_n"] == 2
    assert "test/tumor/dice" not in failed.data.metrics
    names = {file.path for file in client(results).list_artifacts(done.info.run_id)}
    assert names == {"config.yaml", "run.json", "scores.parquet", "log.txt"}
    assert {parent.data.tags[f"runs.{s}"] for s in ("done", "failed", "pending")} == {"1"}
    assert parent.data.tags["profile"] == "demo"
    assert parent.info.status == "KILLED"


def test_a_part_that_was_asked_for_and_is_done_is_finished(results: Path) -> None:
    write_run(results, "r1")
    manifest = write_grid(results, "r1", "never-asked", "nor-this")
    write_manifest(results, replace(manifest, asked=("r1",)))
    # Joined with an earlier launch that asked for everything, which it still does.
    tracking.sync(results)
    assert mlflow_runs(results)["table2-k1"].info.status == "KILLED"
    manifest_file(results, manifest.name).unlink()
    write_manifest(results, replace(manifest, asked=("r1",)))
    tracking.sync(results)
    parent = mlflow_runs(results)["table2-k1"]
    assert (parent.info.status, parent.data.tags["bench.part"]) == ("FINISHED", "1 of 3 runs")
    assert parent.data.tags["mlflow.note.content"].endswith("1 done (asked for: 1 of 3 runs).")


def test_names_that_mlflow_refuses_or_takes_for_one_another_are_delivered_apart(results: Path) -> None:
    folder = write_run(results, "r1")
    row = scores("r1").iloc[:1]
    names = ["PSMA+", "PSMA-", "./x", "a//b", "..", "Liver", "liver", "[0, 50] HU"]
    frames = [row.assign(region=name, value=number / 10) for number, name in enumerate(names)]
    folder.write_scores(pd.concat(frames, ignore_index=True))
    write_grid(results, "r1")
    assert tracking.sync(results).undelivered == {}
    run = mlflow_runs(results)["r1"]
    found = {
        name: value for name, value in run.data.metrics.items() if name.endswith("dice") or "dice_" in name
    }
    told = {run.data.tags.get(f"bench.name.{name}", name): value for name, value in found.items()}
    for number, name in enumerate(names):
        assert told[f"test/{name.replace('/', '%2F')}/dice"] == number / 10


def test_a_run_that_several_cells_share_is_one_run_with_a_metric_for_each_reading(results: Path) -> None:
    folder = write_run(results, "r1")
    both = pd.concat([scores("r1", (0.5,)).assign(reading="CT"), scores("r1", (0.9,)).assign(reading="PET")])
    folder.write_scores(both)
    cells = tuple(CellRun({"method": name}, 1, 7, "r1", name) for name in ("CT", "PET"))
    write_manifest(results, GridManifest("table3", "k1", "demo", "phantom", "", "finger", 1.0, cells))
    tracking.sync(results)
    runs = mlflow_runs(results)
    assert runs["table3-k1"].data.tags["runs.done"] == "1"
    shared = runs["r1"]
    assert shared.info.run_name == "method=CT, PET fold=1 seed=7"
    assert shared.data.tags["factor.method"] == "CT, PET"
    assert shared.data.metrics["test/CT/tumor/dice"] == 0.5
    assert shared.data.metrics["test/PET/tumor/dice"] == 0.9


@pytest.mark.usefixtures("_own_store")
def test_the_default_store_is_a_database_in_the_results_folder(results: Path) -> None:
    write_run(results, "r1")
    assert tracking.sync(results).delivered == 1
    run = mlflow_runs(results)["r1"]
    log = results / "mlflow_artifacts" / run.info.run_id / "artifacts" / "log.txt"
    assert log.read_text() == "one line\n"
    assert not list(results.glob(".mlflow.db*"))


def test_a_second_sync_delivers_nothing_and_changes_nothing(results: Path, database: str) -> None:
    write_run(results, "r1")
    write_grid(results, "r1")
    tracking.sync(results)
    file = Path(database.removeprefix("sqlite:///"))
    before = file.read_bytes()
    report = tracking.sync(results)
    assert (report.delivered, report.up_to_date) == (0, 1)
    assert file.read_bytes() == before


def test_only_new_rows_of_a_running_run_are_delivered(results: Path) -> None:
    folder = write_run(results, "r1", state="running", steps=2)
    write_grid(results, "r1")
    with folder.claimed():
        tracking.sync(results)
        run = mlflow_runs(results)["r1"]
        assert run.info.status == "RUNNING"
        assert client(results).list_artifacts(run.info.run_id) == []
        write_run(results, "r1", state="running", steps=4)
        assert tracking.sync(results).delivered == 1
    again = mlflow_runs(results)["r1"]
    assert again.info.run_id == run.info.run_id
    assert [step for step, _ in curve(results, again, "train/seg")] == [1, 2, 3, 4]


def test_a_run_whose_process_died_is_killed_and_runs_again_when_it_is_continued(results: Path) -> None:
    folder = write_run(results, "r1", state="running")
    write_grid(results, "r1")
    with folder.claimed():
        tracking.sync(results)
    assert tracking.undelivered(results) == ["r1"]
    tracking.sync(results)
    assert mlflow_runs(results)["r1"].info.status == "KILLED"
    assert tracking.undelivered(results) == []
    with folder.claimed():
        tracking.sync(results)
        assert mlflow_runs(results)["r1"].info.status == "RUNNING"
    write_run(results, "r1", steps=5)
    tracking.sync(results)
    run = mlflow_runs(results)["r1"]
    assert run.info.status == "FINISHED"
    assert len(curve(results, run, "train/seg")) == 5


def test_a_run_that_goes_back_to_its_checkpoint_keeps_its_curve(results: Path) -> None:
    folder = write_run(results, "r1", state="running", steps=4)
    with folder.claimed():
        tracking.sync(results)
        write_run(results, "r1", state="running", steps=2)
        tracking.sync(results)
    write_run(results, "r1", steps=4)
    tracking.sync(results)
    assert len(curve(results, mlflow_runs(results)["r1"], "train/seg")) == 4


def test_a_run_trained_anew_with_other_numbers_replaces_what_mlflow_had(results: Path) -> None:
    folder = write_run(results, "r1")
    tracking.sync(results)
    folder.write_history([{"step": 1, "seconds": 1.0, "seg": 9.0}])
    folder.write_scores(scores("r1", dice=(0.9,)))
    tracking.sync(results)
    run = mlflow_runs(results)["r1"]
    assert curve(results, run, "train/seg") == [(1, 9.0)]
    assert curve(results, run, "test/tumor/dice") == [(0, 0.9)]


def test_nothing_is_doubled_when_the_memory_is_lost(results: Path) -> None:
    write_run(results, "r1")
    write_grid(results, "r1")
    tracking.sync(results)
    before = mlflow_runs(results)
    for damage in ("", "{]", "[]", '{"sqlite": 3}'):
        (results / "mlflow_delivered.json").write_text(damage)
        tracking.sync(results)
    after = mlflow_runs(results)
    assert {n: r.info.run_id for n, r in after.items()} == {n: r.info.run_id for n, r in before.items()}
    assert len(curve(results, after["r1"], "train/seg")) == 3
    assert len(curve(results, after["r1"], "test/tumor/dice")) == 1


def test_points_sent_before_a_crash_are_not_doubled(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    write_run(results, "r1")
    send = MlflowClient.log_batch

    def crash(self: Any, run_id: str, metrics: Any = (), params: Any = (), tags: Any = ()) -> None:
        send(self, run_id, metrics[:4], params)
        raise KeyboardInterrupt

    monkeypatch.setattr(MlflowClient, "log_batch", crash)
    with pytest.raises(KeyboardInterrupt):
        tracking.sync(results)
    monkeypatch.undo()
    assert tracking.sync(results).delivered == 1
    assert len(curve(results, mlflow_runs(results)["r1"], "train/seg")) == 3


@pytest.mark.usefixtures("_own_store")
def test_a_deleted_database_is_built_anew(results: Path) -> None:
    write_run(results, "r1")
    tracking.sync(results)
    (results / "mlflow.db").unlink()
    # A process of its own, as `bench sync` is one: this one still has the old file open.
    code = "import sys, pathlib, benchmark.tracking as t; print(t.sync(pathlib.Path(sys.argv[1])).delivered)"
    command = [sys.executable, "-c", code, str(results)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1\n"


def test_a_run_in_two_grids_is_one_child_that_names_both(results: Path) -> None:
    write_run(results, "r1")
    write_grid(results, "r1", grid="table2", created=2.0)
    tracking.sync(results)
    first = mlflow_runs(results)["r1"].data.tags["mlflow.parentRunId"]
    write_grid(results, "r1", grid="earlier", created=1.0)
    tracking.sync(results)
    runs = mlflow_runs(results)
    assert set(runs) == {"r1", "table2-k1", "earlier-k1"}
    assert runs["r1"].data.tags["mlflow.parentRunId"] == first == runs["table2-k1"].info.run_id
    assert runs["r1"].data.tags["bench.grids"] == "earlier-k1 table2-k1"


def test_only_the_named_grid_is_delivered(results: Path) -> None:
    for run_id in ("r1", "r2"):
        write_run(results, run_id)
    write_grid(results, "r1", grid="table2")
    write_grid(results, "r2", grid="other")
    tracking.sync(results, grids=["table2"])
    assert set(mlflow_runs(results)) == {"r1", "table2-k1"}
    with pytest.raises(BenchError, match=r"no grid 'tabel2'.*other, table2"):
        tracking.sync(results, grids=["tabel2"])


def test_a_damaged_folder_is_named_and_stops_no_other(results: Path) -> None:
    write_run(results, "r1").scores_file.write_text("no parquet")
    write_run(results, "r2").record_file.write_text("{")
    write_run(results, "r3")
    write_grid(results, "r1", "r2", "r3")
    manifest_file(results, "broken").write_text("[]")
    report = tracking.sync(results)
    assert report.delivered == 1
    assert set(report.undelivered) == {"r1", "r2", "broken.json"}
    assert "run.json" in report.message
    assert "r3" in mlflow_runs(results)
    assert tracking.undelivered(results) == ["r1", "r2"]


def test_long_values_are_shortened_and_odd_names_replaced(results: Path) -> None:
    folder = write_run(results, "r1", state="failed", error="e" * 9000)
    folder.write_config({"method": "m", "fold": 0, "seed": 0, "method_args": {"a(b)": "x" * 7000}})
    folder.write_history([{"step": 1, "seconds": 1.0, "loss(%)": 0.5, "nan": float("nan")}])
    assert tracking.sync(results).delivered == 1
    run = mlflow_runs(results)["r1"]
    assert run.data.params["method_args.a_b_"] == "x" * 5996 + " ..."
    assert len(run.data.tags["mlflow.note.content"]) == 8000
    assert curve(results, run, "train/loss___") == [(1, 0.5)]
    assert "train/nan" not in run.data.metrics


def test_a_long_curve_arrives_whole(results: Path) -> None:
    write_run(results, "r1", steps=2500)
    tracking.sync(results)
    points = curve(results, mlflow_runs(results)["r1"], "train/seg")
    assert [step for step, _ in points] == list(range(1, 2501))


def test_an_absent_server_is_reported_quickly_and_a_later_sync_delivers(results: Path) -> None:
    for run_id in ("r1", "r2", "r3"):
        write_run(results, run_id)
    write_grid(results, "r1", "r2", "r3")
    began = time.monotonic()
    report = tracking.sync(results, tracking_uri=AWAY)
    assert time.monotonic() - began < 15
    assert set(report.undelivered) == {"r1", "r2", "r3"}
    assert report.problem
    assert "3 not delivered" in report.message
    assert "secret" not in report.message
    assert tracking.undelivered(results, tracking_uri=AWAY) == ["r1", "r2", "r3"]
    assert tracking.sync(results).delivered == 3
    assert tracking.undelivered(results) == []
    assert set(mlflow_runs(results)) == {"r1", "r2", "r3", "table2-k1"}


def test_a_store_that_goes_away_during_a_pass_is_not_asked_for_every_run(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    for run_id in ("r1", "r2", "r3"):
        write_run(results, run_id)
    calls = []

    def gone(self: Any, *_: object, **__: object) -> None:
        calls.append(1)
        raise ConnectionError("server away")

    monkeypatch.setattr(MlflowClient, "create_run", gone)
    find = MlflowClient.get_experiment_by_name
    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", lambda s, n: gone(s) if calls else find(s, n))
    report = tracking.sync(results)
    assert set(report.undelivered.values()) == {"server away"}
    assert len(report.undelivered) == 3
    assert len(calls) == 2  # one attempt, one look whether the store is still there


def test_no_usage_statistics_leave_the_machine(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        monkeypatch.delenv(name, raising=False)
    tracking.sync(results)
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == os.environ["DO_NOT_TRACK"] == "true"


def test_what_a_killed_mirror_left_behind_is_swept_up(results: Path) -> None:
    (results / ".mlflow_delivered.json.x1.tmp").touch()
    tracking.sync(results)
    assert not list(results.glob(".*.tmp"))


def test_a_damaged_heartbeat_stops_no_other_run(results: Path) -> None:
    folder = write_run(results, "r1", state="running")
    tracking.sync(results)
    folder.heartbeat_file.write_text("{")
    write_run(results, "r2")
    report = tracking.sync(results)
    assert report.delivered == 1
    assert set(report.undelivered) == {"r1"}


def test_passwords_stay_out_of_the_memory(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmark.tracking.memory import Memory

    Memory(results, AWAY).save()
    assert "secret" not in (results / "mlflow_delivered.json").read_text()
    assert "http://127.0.0.1:9" in json.loads((results / "mlflow_delivered.json").read_text())


def test_two_results_folders_on_one_server_do_not_touch_each_other(results: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_run(results, "r1")
    write_run(other, "r1", steps=5)
    for folder in (results, other, results):
        tracking.sync(folder)
    assert sorted(run.data.metrics["run/steps"] for run in all_runs(results)) == [3, 5]


def test_a_run_deleted_in_the_user_interface_comes_back_only_when_there_is_news(results: Path) -> None:
    write_run(results, "r1")
    tracking.sync(results)
    client(results).delete_run(mlflow_runs(results)["r1"].info.run_id)
    tracking.sync(results)
    assert mlflow_runs(results) == {}
    write_grid(results, "r1")
    assert not tracking.sync(results).undelivered
    assert set(mlflow_runs(results)) == {"r1", "table2-k1"}


@pytest.mark.usefixtures("_own_store")
def test_two_syncs_at_once_are_one(results: Path) -> None:
    write_run(results, "r1")
    with exclusive(results / "mlflow.lock"):
        report = tracking.sync(results)
    assert report.skipped
    assert report.delivered == 0
    assert not (results / "mlflow.db").exists()


@pytest.mark.usefixtures("_own_store")
@pytest.mark.parametrize("how", ["moved", "copied"])
def test_a_results_folder_at_another_place_keeps_its_artifacts(
    results: Path, how: str, tmp_path: Path
) -> None:
    write_run(results, "r1")
    write_grid(results, "r1")
    tracking.sync(results)
    (tmp_path / "figure.png").write_bytes(b"ink")
    tracking.log_report(results, "table2", [tmp_path / "figure.png"])
    before = {name: run.info.run_id for name, run in mlflow_runs(results).items()}
    at = results.with_name("another place")
    results.rename(at) if how == "moved" else shutil.copytree(results, at)
    if how == "copied":
        # Whoever finds a file now finds the copy's.
        shutil.rmtree(results / "mlflow_artifacts")
    report = tracking.sync(at)
    assert (report.problem, dict(report.undelivered)) == (None, {})
    runs = mlflow_runs(at)
    assert {name: run.info.run_id for name, run in runs.items()} == before
    place = (at / "mlflow_artifacts").as_uri()
    assert all(run.info.artifact_uri.startswith(f"{place}/") for run in runs.values())
    listed = {file.path for file in client(at).list_artifacts(before["r1"])}
    assert listed == {"config.yaml", "log.txt", "run.json", "scores.parquet"}
    assert [file.path for file in client(at).list_artifacts(before["table2-k1"], "report")] == [
        "report/figure.png"
    ]
    write_run(at, "r2")
    assert tracking.sync(at).delivered == 1
    assert mlflow_runs(at)["r2"].info.artifact_uri.startswith(f"{place}/")
    assert results.exists() == (how == "copied")
    assert not (results / "mlflow_artifacts").exists()


@pytest.mark.usefixtures("_own_store")
def test_a_database_whose_artifacts_are_not_a_results_folder_s_is_refused(results: Path) -> None:
    write_run(results, "r1")
    tracking.sync(results)
    with sqlite3.connect(results / "mlflow.db") as connection:
        connection.execute("UPDATE experiments SET artifact_location = 's3://bucket/of/somebody'")
    connection.close()
    write_run(results, "r2")
    report = tracking.sync(results)
    assert "has its artifacts under s3://bucket/of/somebody" in str(report.problem)
    assert f"Remove the file and run `bench sync{in_results(results)}`" in str(report.problem)


def test_final_numbers_stand_at_step_0_where_mlflow_draws_bars(results: Path) -> None:
    write_run(results, "r1")
    tracking.sync(results)
    run = mlflow_runs(results)["r1"]
    final = [name for name in run.data.metrics if name.startswith(("test/", "run/"))]
    assert len(final) >= 4
    assert {step for name in final for step, _ in curve(results, run, name)} == {0}
    assert [step for step, _ in curve(results, run, "train/seg")] == [1, 2, 3]


@pytest.mark.usefixtures("_own_store")
def test_sync_tells_the_page_that_lists_the_runs(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of our own database it is the first experiment after MLflow's, as the README says."""
    assert "no run is in sqlite:" in runs_link(results).text
    write_run(results, "r1")
    with pytest.raises(SystemExit):
        main(["sync", "--results", str(results)])
    page = "http://127.0.0.1:5000/#/experiments/1/runs"
    assert f"The runs: {page} after `mlflow ui --backend-store-uri" in " ".join(
        capsys.readouterr().out.split()
    )
    assert runs_link(results).url == page
    assert run_link(results, "r1").url == f"{page}/{mlflow_runs(results)['r1'].info.run_id}"
    assert page in (Path(__file__).parent.parent / "README.md").read_text()


def test_a_report_is_added_to_the_grid(results: Path, tmp_path: Path) -> None:
    write_run(results, "r1")
    write_grid(results, "r1")
    table = tmp_path / "table2.md"
    table.write_text("| v3 |")
    tracking.log_report(results, "table2", [table])
    tracking.sync(results)
    parent = mlflow_runs(results)["table2-k1"]
    assert [f.path for f in client(results).list_artifacts(parent.info.run_id, "report")] == [
        "report/table2.md"
    ]
    assert parent.info.status == "FINISHED"


def test_a_report_of_another_name_keeps_its_folders(results: Path, tmp_path: Path) -> None:
    write_run(results, "r1")
    write_grid(results, "r1")
    files = [tmp_path / "out" / "report.md", tmp_path / "out" / "claims" / "one.md"]
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    tracking.log_report(results, "table2", files, folder=tmp_path / "out", name="claims")
    parent = mlflow_runs(results)["table2-k1"]
    found = [f.path for f in client(results).list_artifacts(parent.info.run_id, "claims")]
    assert found == ["claims/claims", "claims/report.md"]


def test_importing_the_package_does_not_import_mlflow() -> None:
    code = "import sys, benchmark.tracking; print('mlflow' in sys.modules, 'torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["False", "False"]


@pytest.mark.usefixtures("_own_store")
def test_the_mirror_delivers_while_the_grid_runs_and_once_more_at_the_end(results: Path) -> None:
    write_run(results, "r1")
    write_grid(results, "r1", "r2")
    with tracking.Mirror(results, "table2", interval_seconds=0.2) as mirror:
        until(lambda: tracking.undelivered(results) == [])
        assert mlflow_runs(results)["table2-k1"].info.status == "RUNNING"
        write_run(results, "r2")
    assert mirror.undelivered == 0
    runs = mlflow_runs(results)
    assert set(runs) == {"r1", "r2", "table2-k1"}
    assert runs["table2-k1"].info.status == "FINISHED"
    assert (results / "mlflow.log").read_text() == ""


def test_the_mirror_of_an_absent_server_ends_in_time_and_says_how_many_are_missing(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", AWAY)
    write_run(results, "r1")
    write_grid(results, "r1", "r2")
    began = time.monotonic()
    with tracking.Mirror(results, "table2", interval_seconds=0.2, final_seconds=2.0) as mirror:
        pass
    assert mirror.undelivered == 1
    assert time.monotonic() - began < 8


def test_the_mirror_ignores_ctrl_c_and_ends_with_its_launcher(results: Path, tmp_path: Path) -> None:
    write_run(results, "r1")
    write_grid(results, "r1")
    launcher = tmp_path / "launcher.py"
    launcher.write_text(
        textwrap.dedent(f"""
            import time
            from pathlib import Path
            from benchmark.tracking import Mirror
            with Mirror(Path({str(results)!r}), "table2", interval_seconds=0.2) as mirror:
                print(mirror._process.pid, flush=True)
                time.sleep(60)
        """)
    )
    process = subprocess.Popen([sys.executable, str(launcher)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        mirror = int(process.stdout.readline())
        until(lambda: tracking.undelivered(results) == [])
        os.kill(mirror, signal.SIGINT)
        time.sleep(0.3)
        os.kill(mirror, 0)
    finally:
        process.kill()
        process.wait()
    until(lambda: not Path(f"/proc/{mirror}").exists() or "\nState:\tZ" in status(mirror))
    write_run(results, "r2")
    assert tracking.sync(results).delivered == 1


def status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return "\nState:\tZ"


def test_a_run_that_failed_before_it_had_a_configuration_is_delivered_and_its_parameters_later(
    results: Path,
) -> None:
    folder = RunFolder(results, "r1")
    folder.write_record(RunRecord("r1", "failed", failure="code", error="killed at the start"))
    write_grid(results, "r1", "r2")
    assert tracking.sync(results).undelivered == {}
    run = mlflow_runs(results)["r1"]
    assert (run.info.status, run.data.params) == ("FAILED", {})
    assert run.data.tags["mlflow.note.content"] == "killed at the start"
    write_run(results, "r1", state="failed")
    assert tracking.sync(results).undelivered == {}
    run = mlflow_runs(results)["r1"]
    assert run.data.params["method"] == "mirror_unet"


def until(condition: Any, *, seconds: float = 20.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.1)
