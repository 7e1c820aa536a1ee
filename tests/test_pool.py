from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import fake_runs
import pytest

from benchmark.execution.pool import Observer, Pool, check_writable
from benchmark.files.writing import STORAGE_TROUBLE
from benchmark.processes.devices import Slot
from benchmark.processes.server import ForkServer
from benchmark.results.order import RunOrder
from benchmark.results.runs import RunFolder, RunRecord, state_of
from benchmark.vocabulary import BenchError

ONE = [Slot("cpu", 1)]


class Diary(Observer):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.on_tick: Callable[[], None] = lambda: None

    def started(self, order: RunOrder, *, attempt: int) -> None:
        self.lines.append(f"started {attempt} on {order.resources.device}")

    def retried(self, order: RunOrder, record: RunRecord) -> None:
        self.lines.append(f"retried {record.failure}")

    def ended(self, order: RunOrder, record: RunRecord, *, elsewhere: bool) -> None:
        self.lines.append(f"ended {record.state}{' elsewhere' if elsewhere else ''}")

    def waiting(self, orders: Sequence[RunOrder]) -> None:
        if self.lines[-1:] != ["waiting"]:
            self.lines.append("waiting")

    def stopping(self, count: int, *, killed: bool) -> None:
        self.lines.append(f"stopping {count}{' by force' if killed else ''}")

    def tick(self) -> None:
        self.on_tick()


@pytest.fixture(scope="module")
def warm_pool() -> Iterator[Pool]:
    with Pool(target=fake_runs.execute, preload=("fake_runs",)) as pool:
        yield pool


@pytest.fixture
def pool(warm_pool: Pool) -> Pool:
    warm_pool.stops = 0
    return warm_pool


def record_of(order: RunOrder) -> RunRecord:
    return RunFolder(order.results, order.run_id).record()


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def worker_pids(results: Path) -> set[int]:
    return {int(pid) for file in results.glob("runs/*/starts.txt") for pid in file.read_text().split()}


def test_every_run_is_executed_once_and_a_second_start_executes_none(pool: Pool, tmp_path: Path) -> None:
    orders = [fake_runs.order(tmp_path, number=n) for n in range(7)]
    pool.run(orders, ONE * 2)
    pool.run(orders, ONE * 2)
    assert [record_of(order).state for order in orders] == ["done"] * 7
    assert [fake_runs.starts(order) for order in orders] == [1] * 7


@pytest.mark.parametrize("failure", ["data", "diverged", "code"])
def test_a_run_that_fails_by_its_own_fault_is_not_retried(pool: Pool, tmp_path: Path, failure: str) -> None:
    order, diary = fake_runs.order(tmp_path, failure), Diary()
    pool.run([order], ONE, observer=diary)
    assert diary.lines == ["started 1 on cpu", "ended failed"]
    assert (record_of(order).failure, record_of(order).error) == (failure, f"it is {failure}")


def test_a_run_out_of_memory_is_retried_once(pool: Pool, tmp_path: Path) -> None:
    passes, stays = fake_runs.order(tmp_path, "memory_once"), fake_runs.order(tmp_path, "memory")
    pool.run([passes, stays], ONE)
    assert (record_of(passes).state, fake_runs.starts(passes)) == ("done", 2)
    assert (record_of(stays).failure, fake_runs.starts(stays)) == ("memory", 2)


def test_a_killed_worker_is_one_retried_run_and_not_a_dead_grid(pool: Pool, tmp_path: Path) -> None:
    orders = [fake_runs.order(tmp_path, kind) for kind in ("killed_once", "killed", "done")]
    diary = Diary()
    pool.run(orders, ONE, observer=diary)
    assert [record_of(order).state for order in orders] == ["done", "failed", "done"]
    assert record_of(orders[1]).failure == "interrupted"
    assert "killed (SIGKILL)" in str(record_of(orders[1]).error)
    assert diary.lines.count("retried interrupted") == 2


def test_a_segfault_is_retried_once_and_leaves_its_traceback(pool: Pool, tmp_path: Path) -> None:
    order = fake_runs.order(tmp_path, "segfault")
    pool.run([order], ONE)
    record = record_of(order)
    assert (record.state, record.failure, fake_runs.starts(order)) == ("failed", "code", 2)
    assert "SIGSEGV" in str(record.error)
    assert "in _behave" in str(record.error)


@pytest.mark.parametrize(("behaviour", "status"), [("exit", 3), ("sys_exit", 4), ("raises", 1)])
def test_a_worker_that_leaves_early_is_a_failed_run_with_its_log(
    pool: Pool, tmp_path: Path, behaviour: str, status: int
) -> None:
    order = fake_runs.order(tmp_path, behaviour)
    pool.run([order], ONE)
    record = record_of(order)
    assert (record.state, record.failure, fake_runs.starts(order)) == ("failed", "code", 1)
    assert f"exit status {status}" in str(record.error)
    expected = {"exit": "last words", "sys_exit": "attempt 1", "raises": "ValueError: nobody caught this"}[
        behaviour
    ]
    assert expected in str(record.error)
    assert RunFolder(tmp_path, order.run_id).config()["method"] == "fake"


def test_a_worker_that_never_writes_a_result_has_failed(tmp_path: Path) -> None:
    order = fake_runs.order(tmp_path)
    with Pool(target=fake_runs.lazy, preload=("fake_runs",)) as pool:
        pool.run([order], ONE)
    assert "without a result" in str(record_of(order).error)


def test_the_output_of_a_worker_is_in_the_log_of_its_run(pool: Pool, tmp_path: Path) -> None:
    order = fake_runs.order(tmp_path)
    pool.run([order], ONE)
    assert RunFolder(tmp_path, order.run_id).log_file.read_text() == "attempt 1\n"


def test_an_order_carries_the_device_and_the_threads_of_its_slot(pool: Pool, tmp_path: Path) -> None:
    diary = Diary()
    orders = [fake_runs.order(tmp_path, "slow", number=n, seconds=0.3) for n in range(2)]
    pool.run(orders, [Slot("cuda:0", 3), Slot("cuda:1", 3)], observer=diary)
    assert {line for line in diary.lines if "started" in line} == {
        "started 1 on cuda:0",
        "started 1 on cuda:1",
    }


def test_runs_execute_at_the_same_time_as_many_as_there_are_slots(pool: Pool, tmp_path: Path) -> None:
    orders = [fake_runs.order(tmp_path, "slow", number=n, seconds=0.5) for n in range(4)]
    pool.run(orders[:1], ONE)  # The libraries are imported now.
    begin = time.monotonic()
    pool.run(orders[1:], ONE * 3)
    assert time.monotonic() - begin < 1.0


def test_the_first_stop_lets_runs_save_and_a_second_start_continues(pool: Pool, tmp_path: Path) -> None:
    orders = [fake_runs.order(tmp_path, "slow", number=n, seconds=30) for n in range(3)]
    diary = Diary()
    diary.on_tick = lambda: (
        pool.request_stop() if len(worker_pids(tmp_path)) == 2 and not pool.stops else None
    )
    pool.run(orders, ONE * 2, observer=diary)
    states = [state_of(RunFolder(tmp_path, order.run_id)) for order in orders]
    assert states == [("failed", "interrupted"), ("failed", "interrupted"), ("pending", None)]
    assert len(list(tmp_path.glob("runs/*/checkpoint.txt"))) == 2
    assert "stopping 2" in diary.lines
    assert not any("retried" in line for line in diary.lines)


def test_the_second_stop_kills(pool: Pool, tmp_path: Path) -> None:
    order, diary = fake_runs.order(tmp_path, "stubborn", seconds=60), Diary()

    def stop_twice() -> None:
        if worker_pids(tmp_path) and pool.stops < 2:
            time.sleep(0.2)
            pool.request_stop()

    diary.on_tick = stop_twice
    pool.run([order], ONE, observer=diary)
    assert diary.lines == ["started 1 on cpu", "stopping 1", "stopping 1 by force", "ended failed"]
    assert record_of(order).failure == "interrupted"


def test_on_error_stop_starts_nothing_after_a_failure(tmp_path: Path) -> None:
    orders = [fake_runs.order(tmp_path, kind) for kind in ("done", "code", "data")]
    with Pool(target=fake_runs.execute, preload=("fake_runs",), stop_on_error=True) as pool:
        pool.run(orders, ONE)
    assert [record_of(order).state for order in orders] == ["done", "failed", "pending"]


def test_a_full_disk_stops_the_launcher_with_one_error_and_the_run_continues_later(
    pool: Pool, tmp_path: Path
) -> None:
    order = fake_runs.order(tmp_path, "disk")
    with pytest.raises(BenchError, match=r"could not write: No space left on device\. .*free space"):
        pool.run([order, fake_runs.order(tmp_path)], ONE)
    assert state_of(RunFolder(tmp_path, order.run_id)) == ("failed", "interrupted")


@pytest.mark.parametrize("words", STORAGE_TROUBLE)
def test_a_disk_that_fails_is_never_the_run_s_fault(pool: Pool, tmp_path: Path, words: str) -> None:
    order = fake_runs.order(tmp_path, f"disk: {words}")
    with pytest.raises(BenchError, match=rf"could not (read or )?write: {words}\."):
        pool.run([order], ONE)
    assert state_of(RunFolder(tmp_path, order.run_id)) == ("failed", "interrupted")


def test_results_that_cannot_be_written_are_noticed_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BenchError, match="Cannot write"):
        check_writable(tmp_path / "file")


def test_a_dead_fork_server_is_replaced_and_its_runs_are_retried(pool: Pool, tmp_path: Path) -> None:
    orders = [fake_runs.order(tmp_path, "slow", number=n, seconds=1.0) for n in range(2)]
    diary, killed = Diary(), []

    def kill_server() -> None:
        if worker_pids(tmp_path) and not killed:
            killed.append(pool.warm_up().pid)
            os.kill(killed[0], signal.SIGKILL)

    diary.on_tick = kill_server
    pool.run(orders, ONE, observer=diary)
    assert [record_of(order).state for order in orders] == ["done", "done"]
    assert "retried interrupted" in diary.lines


def test_libraries_that_cannot_be_imported_are_reported_with_their_traceback(tmp_path: Path) -> None:
    with Pool(preload=("no_such_library",)) as pool, pytest.raises(RuntimeError, match="no_such_library"):
        pool.run([fake_runs.order(tmp_path)], ONE)


def test_a_run_claimed_elsewhere_is_waited_for_and_not_run_twice(pool: Pool, tmp_path: Path) -> None:
    theirs, ours = fake_runs.order(tmp_path, "done", number=1), fake_runs.order(tmp_path, "done", number=2)
    folder, diary = RunFolder(tmp_path, theirs.run_id), Diary()

    def other_launcher() -> None:
        with folder.claimed():
            folder.write_record(RunRecord(theirs.run_id, "running"))
            claimed.set()
            eventually(lambda: "waiting" in diary.lines)
            folder.write_record(RunRecord(theirs.run_id, "done"))

    claimed = threading.Event()
    thread = threading.Thread(target=other_launcher)
    thread.start()
    claimed.wait()
    pool.run([theirs, ours], ONE, observer=diary)
    thread.join()
    assert diary.lines == ["started 1 on cpu", "ended done", "waiting", "ended done elsewhere"]
    assert fake_runs.starts(theirs) == 0


def test_a_run_that_another_launcher_leaves_unfinished_is_taken_over(pool: Pool, tmp_path: Path) -> None:
    order, diary = fake_runs.order(tmp_path), Diary()
    folder = RunFolder(tmp_path, order.run_id)

    def other_launcher() -> None:
        with folder.claimed():
            folder.write_record(RunRecord(order.run_id, "running"))
            claimed.set()
            eventually(lambda: "waiting" in diary.lines)

    claimed = threading.Event()
    thread = threading.Thread(target=other_launcher)
    thread.start()
    claimed.wait()
    pool.run([order], ONE, observer=diary)
    thread.join()
    assert (record_of(order).state, fake_runs.starts(order)) == ("done", 1)


def launcher(results: Path, *, seconds: float, count: int, jobs: int) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        str(Path(fake_runs.__file__)),
        str(results),
        str(seconds),
        str(count),
        str(jobs),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def test_two_launchers_share_a_grid_and_nothing_runs_twice(tmp_path: Path) -> None:
    launchers = [launcher(tmp_path, seconds=0.1, count=12, jobs=2) for _ in range(2)]
    assert [process.wait(60) for process in launchers] == [0, 0]
    orders = [fake_runs.order(tmp_path, "slow", number=n, seconds=0.1) for n in range(12)]
    assert [fake_runs.starts(order) for order in orders] == [1] * 12
    assert [record_of(order).state for order in orders] == ["done"] * 12


def test_a_launcher_killed_with_9_leaves_no_orphans_and_a_restart_continues(
    pool: Pool, tmp_path: Path
) -> None:
    process = launcher(tmp_path, seconds=60, count=2, jobs=2)
    assert process.stdout is not None
    server = int(process.stdout.readline().split()[1])
    assert eventually(lambda: len(worker_pids(tmp_path)) == 2)
    process.kill()
    process.wait()
    assert eventually(lambda: not any(map(is_alive, {server, *worker_pids(tmp_path)})))
    orders = [fake_runs.order(tmp_path, "slow", number=n, seconds=60.0) for n in range(2)]
    states = [state_of(RunFolder(tmp_path, order.run_id)) for order in orders]
    assert states == [("failed", "interrupted")] * 2
    diary = Diary()
    diary.on_tick = lambda: (
        pool.request_stop() if len(worker_pids(tmp_path)) == 4 and not pool.stops else None
    )
    pool.run(orders, ONE * 2, observer=diary)
    assert [fake_runs.starts(order) for order in orders] == [2, 2]


def test_ctrl_c_asks_the_workers_to_save_and_exits_with_130(tmp_path: Path) -> None:
    process = launcher(tmp_path, seconds=60, count=1, jobs=1)
    assert eventually(lambda: len(worker_pids(tmp_path)) == 1)
    os.killpg(process.pid, signal.SIGINT)  # As a terminal does: the whole foreground group.
    assert process.wait(20) == 130
    assert len(list(tmp_path.glob("runs/*/checkpoint.txt"))) == 1
    order = fake_runs.order(tmp_path, "slow", seconds=60.0)
    assert record_of(order).error == "asked to stop"


def test_a_call_to_the_fork_server_returns_the_answer_or_raises_with_the_traceback() -> None:
    server = ForkServer(("fake_runs",))
    try:
        assert server.call(fake_runs.add, [1, 2, 3]) == 6
        with pytest.raises(RuntimeError, match="TypeError"):
            server.call(fake_runs.add, ["x"])
    finally:
        server.close()
