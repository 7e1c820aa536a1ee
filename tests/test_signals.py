"""What signals do to launchers, to the fork server and to workers, with real processes."""

from __future__ import annotations

import operator
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path

import fake_runs
import psutil
import pytest
from slow_tests import slow_after

from benchmark.execution.pool import SERVER_DEATHS, Pool
from benchmark.nnunet.launch import run_process
from benchmark.nnunet.task import STOPPED, Prediction
from benchmark.processes.side_by_side import side_by_side
from benchmark.processes.signals import answered
from benchmark.protocols import ExternalJob
from benchmark.results.runs import RunFolder, state_of
from benchmark.vocabulary import BenchError

SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP]


def eventually(condition: Callable[[], object], seconds: float = 15.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def launcher(
    results: Path, *before: str, seconds: float = 60, count: int = 1, jobs: int = 1
) -> subprocess.Popen[str]:
    command = [sys.executable, fake_runs.__file__, str(results), str(seconds), str(count), str(jobs)]
    process = subprocess.Popen([*before, *command], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert eventually(lambda: len(list(results.glob("runs/*/starts.txt"))) == jobs)
    return process


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    launcher = psutil.Process(process.pid)
    return [launcher, *launcher.children(recursive=True)]


def test_sigterm_to_every_process_of_a_job_lets_the_workers_save(tmp_path: Path) -> None:
    process = launcher(tmp_path, count=2, jobs=2)
    everybody = family(process)
    assert len(everybody) == 4  # The launcher, the fork server, two workers.
    for one in everybody:
        one.send_signal(signal.SIGTERM)
    assert process.wait(20) == 130
    assert len(list(tmp_path.glob("runs/*/checkpoint.txt"))) == 2
    orders = [fake_runs.order(tmp_path, "slow", number=n, seconds=60.0) for n in range(2)]
    records = [RunFolder(tmp_path, order.run_id).record() for order in orders]
    assert [(record.failure, record.error) for record in records] == [("interrupted", "asked to stop")] * 2
    assert eventually(lambda: all(map(gone, everybody)))


@pytest.mark.parametrize("number", slow_after(1, [signal.SIGTERM, signal.SIGHUP, signal.SIGINT]))
def test_the_fork_server_ends_with_its_launcher_alone(tmp_path: Path, number: signal.Signals) -> None:
    with Pool(target=fake_runs.execute, preload=("fake_runs",)) as pool:
        # At once: while it starts it is no more mortal than later.
        os.kill(pool.warm_up().pid, number)
        assert pool.call(fake_runs.add, [1, 2]) == 3
        server = psutil.Process(pool.warm_up().pid)
        server.send_signal(number)
        assert pool.call(fake_runs.add, [3, 4]) == 7
    assert gone(server)


def test_a_signal_that_was_ignored_at_the_start_stays_ignored(tmp_path: Path) -> None:
    process = launcher(tmp_path, "nohup", seconds=1.0)
    everybody = family(process)
    for one in everybody:
        one.send_signal(signal.SIGHUP)
    assert process.wait(20) == 0
    order = fake_runs.order(tmp_path, "slow", seconds=1.0)
    assert state_of(RunFolder(tmp_path, order.run_id)) == ("done", None)


def test_sighup_is_answered_where_nobody_ignores_it(tmp_path: Path) -> None:
    process = launcher(tmp_path)
    process.send_signal(signal.SIGHUP)
    assert process.wait(20) == 130


def test_handlers_are_put_back_and_ignored_signals_left_alone() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    heard = []
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with answered(lambda: heard.append(1)):
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
            assert heard == [1]
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before[2])
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_a_fork_server_that_dies_while_a_launch_is_planned_is_replaced() -> None:
    with Pool(target=fake_runs.execute, preload=("fake_runs",)) as pool:
        for _ in range(SERVER_DEATHS - 1):
            os.kill(pool.warm_up().pid, signal.SIGKILL)
            assert pool.call(fake_runs.add, [1, 2]) == 3
        os.kill(pool.warm_up().pid, signal.SIGKILL)
        with pytest.raises(BenchError, match=f"{SERVER_DEATHS} times: The process that workers are forked"):
            pool.call(fake_runs.add, [1, 2])


def test_a_worker_that_is_killed_before_it_answers_is_replaced(tmp_path: Path) -> None:
    with Pool(target=fake_runs.execute, preload=("fake_runs",)) as pool:
        assert pool.call(fake_runs.add_or_die, (str(tmp_path / "twice"), 2, [1, 2])) == 3
        with pytest.raises(BenchError, match=r"A worker was killed \(SIGKILL\)"):
            pool.call(fake_runs.add_or_die, (str(tmp_path / "always"), 99, [1, 2]))
        assert (tmp_path / "always").read_text() == "x" * SERVER_DEATHS


PREPARING = """
    import sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    import fake_runs
    from benchmark.processes.side_by_side import side_by_side
    list(side_by_side(fake_runs.note_and_wait, {{n: ({folder!r}, n) for n in range(3)}}, jobs=2))
"""


@pytest.mark.parametrize("number", slow_after(1, SIGNALS))
def test_workers_that_prepare_data_end_with_their_launcher(tmp_path: Path, number: signal.Signals) -> None:
    code = textwrap.dedent(PREPARING).format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    assert eventually(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
    everybody = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    assert len(everybody) == 4  # The launcher, the fork server, two workers.
    process.send_signal(number)
    assert process.wait(10) == -number
    assert eventually(lambda: all(map(gone, everybody)), 5.0)


def test_work_side_by_side_is_done_once_each_and_needs_no_semaphores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    # As where /dev/shm is full or read-only.
    monkeypatch.setattr("_multiprocessing.SemLock", full)
    for jobs in (1, 3):
        told = dict(side_by_side(fake_runs.add, {n: [n, 1] for n in range(7)}, jobs=jobs))
        assert told == {n: n + 1 for n in range(7)}


def test_a_worker_that_dies_or_fails_beside_others_is_one_error_with_its_name(tmp_path: Path) -> None:
    killed = {"case_1": (str(tmp_path / "x"), 99, [1]), "case_2": (str(tmp_path / "x"), 99, [1])}
    with pytest.raises(BenchError, match=r"case_\d: A worker was killed \(SIGKILL\), perhaps for want of"):
        list(side_by_side(fake_runs.add_or_die, killed, jobs=2))
    with pytest.raises(BenchError, match=r"The worker failed .*ZeroDivisionError"):
        list(side_by_side(partial(operator.truediv, 1), {1: 0, 2: 0}, jobs=2))


NNUNET = """
    import sys
    import benchmark.nnunet.process as process
    process.read_task = lambda path: None
    process._train = lambda task, channel, stop: channel.tell("train", 1, 9) or not stop.wait(10)
    sys.exit(process.main())
"""


def test_nnunet_s_process_takes_sigterm_for_the_order_to_stop(tmp_path: Path) -> None:
    code = textwrap.dedent(NNUNET)
    process = subprocess.Popen(
        [sys.executable, "-c", code, "task"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert b"train" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == STOPPED


def test_what_nnunet_says_while_it_is_being_stopped_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complaint = (
        'print(\'{"failed": "code", "text": "Some background workers are not alive"}\'); raise SystemExit(1)'
    )
    monkeypatch.setattr("benchmark.nnunet.launch.COMMAND", (sys.executable, "-c", complaint))
    task = Prediction(*[""] * len(fields(Prediction)))
    for asked, expected in ((True, InterruptedError), (False, BenchError)):
        job = ExternalJob(
            train=[], validation=[], work=tmp_path, shared=tmp_path, steps=1, seed=0, checkpoint="last", device="cpu",
            threads=1, checkpoint_seconds=1.0, tell=lambda *_, **__: None, log=lambda text: None,
            asked_to_stop=lambda asked=asked: asked,
        )  # fmt: skip
        with pytest.raises(expected):
            run_process(task, job, name="predict", settings={})


def test_ctrl_c_while_a_command_is_being_read_ends_it_without_a_traceback(tmp_path: Path) -> None:
    words = "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(30)"
    (tmp_path / "typer.py").write_text(words)
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])
    ended = subprocess.run(
        [sys.executable, "-m", "benchmark.cli", "status"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, "")


def test_ctrl_c_is_python_s_again_when_the_command_line_is_there() -> None:
    words = (
        "import signal, benchmark.cli; assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    )
    subprocess.run([sys.executable, "-c", words], check=True, timeout=60)
