"""What is written down of the attempts at a run, and when a run that takes its machine with it is given up."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fake_runs
import pytest
from test_pool import Diary, launcher

import benchmark.results.attempts as attempts_module
from benchmark.execution.overview import print_run, run_facts
from benchmark.execution.pool import Pool
from benchmark.processes.devices import Slot
from benchmark.results.attempts import DEADLY_ATTEMPTS, Attempt, attempts, begin, deadly, end
from benchmark.results.runs import RunFolder, RunRecord

ONE = [Slot("cpu", 1)]


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(target=fake_runs.execute, preload=("fake_runs",)) as pool:
        yield pool


def test_an_attempt_says_where_when_and_how_it_ended(pool: Pool, tmp_path: Path) -> None:
    began = time.time()
    orders = {kind: fake_runs.order(tmp_path, kind) for kind in ("done", "data", "killed_once", "exit")}
    pool.run(list(orders.values()), ONE)
    known = {kind: attempts(RunFolder(tmp_path, order.run_id)) for kind, order in orders.items()}
    causes = {kind: [attempt.cause for attempt in found] for kind, found in known.items()}
    assert causes == {
        "done": ["done"],
        "data": ["data"],
        "killed_once": ["The worker was killed (SIGKILL).", "done"],
        "exit": ["The worker ended with exit status 3."],
    }
    for attempt in (attempt for found in known.values() for attempt in found):
        assert attempt.node == os.uname().nodename
        assert attempt.end is not None
        assert began - 1 <= attempt.start <= attempt.end <= time.time() + 1


def test_an_attempt_whose_launcher_was_killed_too_has_no_end(tmp_path: Path) -> None:
    process = launcher(tmp_path, seconds=60, count=1, jobs=1)
    folder = RunFolder(tmp_path, fake_runs.order(tmp_path, "slow", seconds=60.0).run_id)
    while not (folder.path / "starts.txt").exists():
        time.sleep(0.02)
    process.kill()
    process.wait()
    (attempt,) = attempts(folder)
    assert (attempt.end, attempt.cause) == (None, None)
    # The machine is still the same one: that was somebody's `kill -9`.
    assert deadly(folder) == []


def lost(folder: RunFolder, number: int, **changes: object) -> None:
    """So many attempts that ended with their machine, which was started again each time."""
    for boot in range(number):
        begin(folder)
        known = attempts(folder)
        known[-1] = replace(known[-1], boot=f"boot {boot}", **changes)  # type: ignore[arg-type]
        attempts_module._write(folder, known)


def interrupted(results: Path) -> RunFolder:
    folder = RunFolder(results, fake_runs.order(results).run_id)
    folder.write_record(RunRecord(folder.run_id, "running", attempts=3))
    return folder


def test_a_run_that_takes_its_machine_with_it_is_given_up_until_asked_for(pool: Pool, tmp_path: Path) -> None:
    folder, order, diary = interrupted(tmp_path), fake_runs.order(tmp_path), Diary()
    lost(folder, DEADLY_ATTEMPTS, node="big-node", start=0.0)
    other = fake_runs.order(tmp_path, number=2)
    pool.run([order, other], ONE, observer=diary)
    assert diary.lines == ["ended failed", "started 1 on cpu", "ended done"]
    record = folder.record()
    assert (record.state, record.failure, fake_runs.starts(order)) == ("failed", "code", 0)
    assert str(record.error).startswith("3 attempts ended with their machine or job, and none came further")
    assert str(record.error).count("big-node at 1970-01-01") == 3
    # A launch with --retry-failed hands it to the pool again.
    pool.run([order], ONE)
    assert (folder.record().state, fake_runs.starts(order)) == ("done", 1)
    assert len(attempts(folder)) == DEADLY_ATTEMPTS + 1


@pytest.mark.parametrize("case", ["fewer", "came further", "ended", "killed by hand"])
def test_a_run_is_not_given_up_for_less(pool: Pool, tmp_path: Path, case: str) -> None:
    folder, order = interrupted(tmp_path), fake_runs.order(tmp_path)
    if case == "killed by hand":
        for _ in range(9):
            begin(folder)
    else:
        lost(folder, DEADLY_ATTEMPTS - (case == "fewer"))
    if case == "came further":
        folder.checkpoint_file.write_text("step 100")
    if case == "ended":
        end(folder, "interrupted")
    pool.run([order], ONE)
    assert (folder.record().state, fake_runs.starts(order)) == ("done", 1)


@pytest.mark.parametrize("job", ["SLURM_JOB_ID", "SLURM_RESTART_COUNT", "PBS_JOBID"])
def test_a_job_that_is_gone_counts_like_a_machine_that_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: str
) -> None:
    folder = interrupted(tmp_path)
    for number in range(DEADLY_ATTEMPTS):
        monkeypatch.setenv(job, str(number))
        begin(folder)
    assert len(deadly(folder)) == DEADLY_ATTEMPTS - 1  # The last belongs to the present job.
    monkeypatch.setenv(job, "next")
    assert len(deadly(folder)) == DEADLY_ATTEMPTS


def test_nnunet_s_checkpoints_count_as_progress(tmp_path: Path) -> None:
    folder = interrupted(tmp_path)
    lost(folder, DEADLY_ATTEMPTS)
    checkpoint = folder.path / "external" / "model" / "checkpoint_latest.pth"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    assert deadly(folder) == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"attempts": [{"x": 1}]}', '{"attempts": 3}'])
def test_a_damaged_list_of_attempts_stops_nothing(pool: Pool, tmp_path: Path, content: str) -> None:
    folder, order = interrupted(tmp_path), fake_runs.order(tmp_path)
    (folder.path / "attempts.json").write_text(content)
    pool.run([order], ONE)
    assert [attempt.cause for attempt in attempts(folder)] == ["done"]


def test_show_tells_the_attempts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    folder = interrupted(tmp_path)
    lost(folder, 1, node="big-node", start=0.0)
    begin(folder)
    end(folder, "The worker was killed (SIGKILL).\nThe log ends with:")
    print_run(Console(width=120), folder, run_facts(tmp_path, folder))
    out = capsys.readouterr().out
    assert "big-node" in out
    assert "nobody saw it end" in out
    assert "The worker was killed (SIGKILL)." in out
    assert Attempt(**run_facts(tmp_path, folder)["attempts"][0]) == attempts(folder)[0]
