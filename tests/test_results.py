"""The results on disk: whole files or none, honest states, locks that end with their process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from benchmark.files.writing import StorageError, write_text, written_whole
from benchmark.results.manifests import CellRun, GridManifest, manifests, write_manifest
from benchmark.results.runs import SCORE_COLUMNS, Heartbeat, RunFolder, RunRecord, load_scores, state_of
from benchmark.vocabulary import BenchError

HOLD = """
import sys, time
from pathlib import Path
from benchmark.results.runs import RunFolder
with RunFolder(Path(sys.argv[1]), "r").claimed() as held:
    print(held, flush=True)
    time.sleep(60)
"""


def row(**values: object) -> dict[str, object]:
    plain = {"string": "x", "int64": 0, "float64": 0.5}
    return {name: plain[kind] for name, kind in SCORE_COLUMNS.items()} | values


def test_a_file_whose_writing_fails_stays_as_it_was_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")

    def fail_half_way() -> None:
        with written_whole(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    def write_to_a_full_disk() -> None:
        with written_whole(tmp_path / "a"), Path("/dev/full").open("wb", buffering=0) as full:
            full.write(b"x")

    with pytest.raises(StorageError, match=r"No space left on device"):
        write_to_a_full_disk()


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="Cannot write"):
        write_text(tmp_path / "file" / "a", "x")


def test_a_record_returns_as_it_was_written(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "r")
    record = RunRecord("r", state="failed", failure="memory", warnings=("a", "b"), facts={"threads": 2})
    folder.write_record(record)
    assert folder.record() == record
    assert RunFolder(tmp_path, "other").record().state == "pending"


def test_a_damaged_record_names_its_file(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "r")
    folder.write_record(RunRecord("r"))
    folder.record_file.write_text("{")
    with pytest.raises(BenchError, match=r"run\.json is damaged"):
        folder.record()


def test_a_claim_ends_with_its_process_however_it_ends(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "r")
    folder.write_record(RunRecord("r", state="running"))
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True\n"
    with folder.claimed() as held:
        assert not held
    assert state_of(folder) == ("running", None)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert state_of(folder) == ("failed", "interrupted")
    with folder.claimed() as held:
        assert held


def test_a_run_of_another_machine_is_believed_while_its_heart_beats(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "r")
    folder.write_record(RunRecord("r", state="running"))
    folder.write_heartbeat(Heartbeat("train", 1, 2, host=f"not-{os.uname().nodename}", time=time.time()))
    assert state_of(folder)[0] == "running"
    assert state_of(folder, now=time.time() + 3600) == ("failed", "interrupted")


def test_scores_with_a_wrong_column_are_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "r")
    with pytest.raises(BenchError, match=r"missing columns \['value'\], unknown columns \['dice'\]"):
        folder.write_scores(pd.DataFrame([row()]).rename(columns={"value": "dice"}))
    assert not folder.scores_file.exists()


def test_only_finished_runs_have_scores(tmp_path: Path) -> None:
    for run_id, state in (("a", "done"), ("b", "running")):
        folder = RunFolder(tmp_path, run_id)
        folder.write_scores(pd.DataFrame([row(run_id=run_id)]))
        folder.write_record(RunRecord(run_id, state=state))  # type: ignore[arg-type]
    assert load_scores(tmp_path, ["a", "b", "c", "a"])["run_id"].tolist() == ["a"]
    assert list(load_scores(tmp_path, []).columns) == list(SCORE_COLUMNS)


def test_a_second_launch_adds_its_seeds_to_the_manifest(tmp_path: Path) -> None:
    first = GridManifest(
        "g", "k", "demo", "phantom", "/d", "f", 1.0, (CellRun({"version": "v1"}, 0, 0, "a"),)
    )
    write_manifest(tmp_path, first)
    write_manifest(tmp_path, replace(first, created=2.0, cells=(CellRun({"version": "v1"}, 0, 1, "b"),)))
    write_manifest(tmp_path, replace(first, grid="other", created=3.0))
    (only,) = manifests(tmp_path, "g")
    assert [cell.run_id for cell in only.cells] == ["a", "b"]
    assert [manifest.grid for manifest in manifests(tmp_path)] == ["other", "g"]
