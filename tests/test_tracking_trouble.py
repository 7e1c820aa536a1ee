"""Tracking stores that are slow, damaged, or lie in folders with odd names."""

from __future__ import annotations

import shlex
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_tracking import client, curve, mlflow_runs, write_grid, write_run
from test_tracking import database as database

from benchmark import tracking
from benchmark.tracking import bulk, deadline, delivery, memory
from benchmark.tracking.deadline import Deadline
from benchmark.tracking.links import run_link
from benchmark.tracking.memory import Delivered, Memory
from benchmark.tracking.store import sqlite_uri
from benchmark.vocabulary import BenchError

ODD_NAMES = ["what?x=1&y", "50%25", "a#b", "two words", "ä:;@é", "it's", 'a"b$(c)']


@pytest.fixture
def own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_address_leads_to_the_file_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    from sqlalchemy import create_engine, text

    folder = tmp_path / name / "inner"
    folder.mkdir(parents=True)
    engine = create_engine(sqlite_uri(folder / f"{name}.db"))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (x)"))
    engine.dispose()
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()] == [
        Path(name, "inner", f"{name}.db")
    ]


@pytest.mark.usefixtures("own_store")
def test_the_database_lies_in_the_results_folder_whatever_that_is_called(tmp_path: Path) -> None:
    name = "what?x=1&y 50%25 a#b"
    results = tmp_path / name / "inner"
    write_run(results, "r1")
    write_grid(results, "r1")
    report = tracking.sync(results)
    assert (report.delivered, dict(report.undelivered)) == (1, {})
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert [path.name for path in (tmp_path / name).iterdir()] == ["inner"]
    assert (results / "mlflow.db").read_bytes().startswith(b"SQLite format 3")
    assert set(mlflow_runs(results)) == {"r1", "table2-k1"}
    assert tracking.sync(results).delivered == 0
    told = run_link(results, "r1").text
    command = shlex.split(told.removeprefix("after `").removesuffix("`"))
    assert command == ["cd", str(results), "&&", "mlflow", "ui", "--backend-store-uri", "sqlite:///mlflow.db"]


def other_program(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")
    connection.close()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text("no database at all, and long enough for a header " * 40),
    "zeros": lambda path: path.write_bytes(b"\0" * 4096),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "another program's": lambda path: (path.unlink(), other_program(path)),
    "a folder": lambda path: (path.unlink(), path.mkdir(), (path / "x").touch()),
}


@pytest.mark.usefixtures("own_store")
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_database_says_at_once_what_to_do(tmp_path: Path, database: str, kind: str) -> None:
    write_run(tmp_path, "r1")
    shutil.copyfile(database.removeprefix("sqlite:///"), tmp_path / "mlflow.db")
    DAMAGE[kind](tmp_path / "mlflow.db")
    began = time.monotonic()
    report = tracking.sync(tmp_path)
    assert time.monotonic() - began < 10
    assert list(report.undelivered) == ["r1"]
    assert "Move it away; the next delivery then brings everything again." in str(report.problem)
    assert f"{tmp_path / 'mlflow.db'} is damaged, or no database of MLflow's" in str(report.problem)


@pytest.mark.usefixtures("own_store")
def test_a_damaged_database_that_was_moved_away_is_delivered_anew(tmp_path: Path) -> None:
    write_run(tmp_path, "r1")
    write_grid(tmp_path, "r1", "r2")
    # What was delivered before the damage is remembered, of a database that is no more.
    told = Memory(tmp_path, tracking.store_uri(tmp_path))
    told.store, told.runs["r1"] = "1@1", Delivered("gone", status="FINISHED", state="done")
    told.save()
    write_run(tmp_path, "r2")
    DAMAGE["text"](tmp_path / "mlflow.db")
    assert tracking.sync(tmp_path).problem
    # What people do: the database alone is moved.
    (tmp_path / "mlflow.db").rename(tmp_path / "mlflow.db.bad")
    (tmp_path / "mlflow.db-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7 of the other database")
    report = tracking.sync(tmp_path)
    assert (report.delivered, dict(report.undelivered)) == (2, {})
    assert set(mlflow_runs(tmp_path)) == {"r1", "r2", "table2-k1"}


@pytest.mark.usefixtures("own_store")
def test_an_empty_database_is_built_anew(tmp_path: Path) -> None:
    write_run(tmp_path, "r1")
    (tmp_path / "mlflow.db").touch()
    assert tracking.sync(tmp_path).delivered == 1


@pytest.fixture
def dripping() -> Iterator[str]:
    """A server that begins every answer at once, sends a byte now and then, and never ends."""
    listening = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def drip(connection: socket.socket) -> None:
        with connection:
            try:
                connection.recv(65536)
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
                )
                while not over.wait(0.1):
                    connection.sendall(b" ")
            except OSError:
                return

    def serve() -> None:
        while not over.is_set():
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=drip, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    over.set()
    listening.close()


OWN_TO_A_RUN = ("run_id", "run_uuid", "run_name", "artifact_uri", "start_time", "end_time")

COMMAND = """
import sys
from pathlib import Path
from benchmark.tracking import deadline
deadline.QUIET_SECONDS = 2.0
from benchmark.cli import main
main(sys.argv[1:])
"""


def test_a_server_that_drips_does_not_hold_sync_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dripping: str
) -> None:
    """In a process of its own, which must end though a request is still going on."""
    write_run(tmp_path, "r1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", dripping)
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COMMAND, "sync", "--results", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode != 0
    assert "the server answers too slowly; given up after" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_server_that_drips_does_not_hold_a_report_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dripping: str
) -> None:
    write_run(tmp_path, "r1")
    write_grid(tmp_path, "r1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", dripping)
    monkeypatch.setattr(deadline, "QUIET_SECONDS", 1.0)
    began = time.monotonic()
    for log in (
        lambda: tracking.log_report(tmp_path, "table2", [tmp_path / "grids" / "table2-k1.json"]),
        lambda: tracking.log_folder(tmp_path, "table2", tmp_path / "grids"),
    ):
        # The second also waits for the lock that the first one's request still holds.
        with pytest.raises(BenchError, match=r"not added to MLflow .*the server answers too slowly"):
            log()
    assert time.monotonic() - began < 15


def test_a_deadline_passes_when_nothing_ends_or_the_whole_takes_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr("benchmark.tracking.deadline.time.monotonic", lambda: now[0])
    quiet, busy = Deadline(1000), Deadline(100)
    for _ in range(4):
        now[0] += 40.0
        busy.step()
    assert quiet.passed
    assert busy._seconds == 160.0
    assert not busy.passed
    now[0] += 1.0
    busy.step()
    assert busy.passed


def test_work_within_its_deadline_is_as_if_there_were_none() -> None:
    assert Deadline().keep(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        Deadline().keep(lambda: 1 // 0)


@pytest.mark.usefixtures("own_store")
def test_points_written_at_once_are_what_mlflow_would_have_made_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for side in ("at-once", "by-MLflow"):
        folder = write_run(tmp_path, side, steps=30)
        rows = [{"step": s, "seconds": 0.5 * s, "seg": 1.0 / s, "val_dice": 0.5} for s in (1, 2, 2, 3, 3)]
        folder.write_history([*rows, {"step": 1, "seconds": 9.0, "seg": 7.0}])
        with monkeypatch.context() as patch:
            if side == "by-MLflow":
                patch.setattr(bulk, "has_known_tables", lambda _: False)
            assert tracking.sync(tmp_path).delivered == 1
    sides: dict[str, dict[str, Any]] = {}
    for side, run in mlflow_runs(tmp_path).items():
        sides[side] = {
            "metrics": run.data.metrics,
            "params": run.data.params,
            "tags": {k: v for k, v in run.data.tags.items() if k not in ("bench.run_id", "mlflow.runName")},
            "curves": {name: curve(tmp_path, run, name) for name in run.data.metrics},
            "info": {
                k: v
                for k, v in dict(run.info).items()
                if k not in ("run_id", "run_uuid", "artifact_uri", "start_time", "end_time")
            },
            "ended": run.info.end_time is not None,
            "files": sorted(f.path for f in client(tmp_path).list_artifacts(run.info.run_id)),
        }
    assert sides["at-once"] == sides["by-MLflow"]
    assert len(sides["at-once"]["curves"]["train/seg"]) == 4  # The doubled points are one.
    assert sides["at-once"]["files"] == ["config.yaml", "log.txt", "run.json", "scores.parquet"]


@pytest.mark.usefixtures("own_store")
def test_many_new_runs_are_delivered_together_and_one_that_is_odd_holds_none_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "TOGETHER", 3)
    written: list[int] = []
    write = bulk.write
    monkeypatch.setattr(bulk, "write", lambda *asked: (written.append(len(asked[2])), write(*asked)))
    for number in range(7):
        folder = write_run(tmp_path, f"r{number}", state="running" if number == 6 else "done")
        if number == 4:
            folder.write_history([{"step": 1, "seconds": 1.0, "seg": float("inf")}])
    write_grid(tmp_path, *(f"r{number}" for number in range(7)))
    report = tracking.sync(tmp_path)
    assert (report.delivered, dict(report.undelivered)) == (7, {})
    assert written == [3, 1]  # The second three were told one by one, for one of them is infinite.
    runs = mlflow_runs(tmp_path)
    assert len(runs) == 8
    assert runs["r0"].info.status == "FINISHED"
    assert {
        run.data.tags.get("mlflow.parentRunId") for name, run in runs.items() if name.startswith("r")
    } == {runs["table2-k1"].info.run_id}
    assert tracking.sync(tmp_path).delivered == 0


@pytest.mark.usefixtures("own_store")
def test_values_or_tables_that_are_not_as_known_are_left_to_mlflow(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "r1")
    folder.write_history([{"step": 1, "seconds": 1.0, "seg": float("inf")}])
    assert tracking.sync(tmp_path).delivered == 1
    assert mlflow_runs(tmp_path)["r1"].data.metrics["train/seg"] > 1e308
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("ALTER TABLE metrics ADD COLUMN more TEXT")
    connection.close()
    assert not bulk.has_known_tables(tmp_path / "mlflow.db")
    write_run(tmp_path, "r2")
    assert tracking.sync(tmp_path).delivered == 1


def test_the_memory_is_saved_as_seldom_as_its_size_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, saved = [100.0], []

    def write(*_: Any) -> None:
        saved.append(now[0])
        now[0] += 1.0  # Eight megabytes take so long.

    monkeypatch.setattr(memory, "write_json", write)
    monkeypatch.setattr("benchmark.tracking.memory.time.monotonic", lambda: now[0])
    remembered = Memory(tmp_path, "uri")
    remembered.runs["r"] = Delivered("x")
    for _ in range(1200):
        remembered.save_now_and_then()
        now[0] += 0.1
    spent = len(saved) / (now[0] - 100.0)
    assert len(saved) > 1
    assert spent < 0.03, "3 % of the time at most"
