"""Runs without networks, for the tests: they obey the results folder's rules and fail as they are told."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet  # noqa: F401 (preloaded: pandas imports it late, and every worker would again)

from benchmark.config import Resources, run_config, run_id
from benchmark.results import attempts
from benchmark.results.order import RunOrder
from benchmark.results.runs import Heartbeat, RunFolder, RunRecord


def order(results: Path, behaviour: str = "done", *, number: int = 0, seconds: float = 0.0) -> RunOrder:
    """A run that behaves so; `number` tells runs of the same behaviour apart."""
    settings = {
        "dataset": "none",
        "method": "fake",
        "method_args": {"behaviour": behaviour, "number": number, "seconds": seconds},
        "loss_weights": {},
    }
    config = run_config(settings, source="test")
    return RunOrder(results, run_id(config, "f"), config, Path(), Path(), Path(), Path(), "f", Resources())


def execute(order: RunOrder) -> None:
    """What `benchmark.execution.run.execute_run` promises, with a behaviour in place of a training."""
    folder = RunFolder(order.results, order.run_id)
    with folder.claimed() as held:
        if not held or folder.record().state == "done":
            return
        number = folder.record().attempts + 1
        record = RunRecord(order.run_id, "running", attempts=number)
        attempts.begin(folder)
        folder.write_record(record)
        folder.write_heartbeat(
            Heartbeat("train", 1, 2, 0.5, None, os.getpid(), os.uname().nodename, "cpu", time.time())
        )
        with (folder.path / "starts.txt").open("a") as starts:
            starts.write(f"{os.getpid()}\n")
        print(f"attempt {number}")
        record = _behave(order, folder, record)
        folder.write_record(record)
        attempts.end(folder, record.failure or record.state)


def _behave(order: RunOrder, folder: RunFolder, record: RunRecord) -> RunRecord:
    behaviour = str(order.config.method_args["behaviour"])
    if behaviour.endswith("_once") and record.attempts > 1:
        behaviour = "done"
    if behaviour.startswith("killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    elif behaviour == "segfault":
        ctypes.string_at(0)
    elif behaviour == "exit":
        print("last words")
        sys.stdout.flush()
        os._exit(3)
    elif behaviour == "sys_exit":
        sys.exit(4)
    elif behaviour == "raises":
        raise ValueError("nobody caught this")
    elif behaviour.startswith("memory"):
        return replace(record, state="failed", failure="memory", error="CUDA out of memory")
    elif behaviour in ("data", "diverged", "code"):
        return replace(record, state="failed", failure=behaviour, error=f"it is {behaviour}")
    elif behaviour.startswith("disk"):
        words = behaviour.partition(": ")[2] or "No space left on device"
        return replace(record, state="failed", failure="data", error=f"OSError: {words}")
    elif behaviour == "slow":
        stop: list[int] = []
        signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
        end = time.monotonic() + float(order.config.method_args["seconds"])
        while time.monotonic() < end:
            time.sleep(0.01)
            if stop:
                (folder.path / "checkpoint.txt").write_text("saved")
                return replace(record, state="failed", failure="interrupted", error="asked to stop")
    elif behaviour == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(float(order.config.method_args["seconds"]))
    folder.write_scores(_scores(order))
    return replace(record, state="done")


def _scores(order: RunOrder) -> pd.DataFrame:
    place = {
        "run_id": order.run_id,
        "method": "fake",
        "dataset": "none",
        "fold": 0,
        "seed": 0,
        "grid": "dataset",
        "reading": "",
    }
    case = {"split": "test", "checkpoint": "last", "case_id": "a", "patient": "a", "region": "tumor"}
    return pd.DataFrame([{**place, **case, "metric": "dice", "unit": "1", "value": 0.5}])


def lazy(order: RunOrder) -> None:
    """Ends well and leaves nothing."""


def add(numbers: list[int]) -> int:
    """For calls with an answer."""
    return sum(numbers)


def environment(_: object) -> dict[str, str]:
    """What a worker is told of threads."""
    return {name: value for name, value in os.environ.items() if "THREAD" in name or "DYNAMIC" in name}


def add_or_die(asked: tuple[str, int, list[int]]) -> int:
    """For calls whose worker is killed so many times before it answers; the deaths are counted in a file."""
    file, deaths, numbers = asked
    with Path(file).open("a+") as counted:
        counted.seek(0)
        if len(counted.read()) < deaths:
            counted.write("x")
            counted.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    return sum(numbers)


def note_and_wait(asked: tuple[str, int]) -> None:
    """A worker that says who it is, and takes long."""
    folder, number = asked
    Path(folder, f"{number}.pid").write_text(str(os.getpid()))
    time.sleep(60)


def starts(order: RunOrder) -> int:
    """How often the run was begun, by whomever."""
    file = RunFolder(order.results, order.run_id).path / "starts.txt"
    return len(file.read_text().split()) if file.exists() else 0


def main() -> None:
    """A launcher of its own: `python fake_runs.py RESULTS SECONDS COUNT JOBS`."""
    from benchmark.execution.pool import Pool
    from benchmark.processes.devices import Slot
    from benchmark.processes.signals import answered

    results, seconds, count, jobs = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    sys.path.insert(0, str(Path(__file__).parent))
    import fake_runs

    orders = [fake_runs.order(results, "slow", number=n, seconds=seconds) for n in range(count)]
    with Pool(target=fake_runs.execute, preload=("fake_runs",)) as pool, answered(pool.request_stop):
        print(f"server {pool.warm_up().pid}", flush=True)
        pool.run(orders, [Slot("cpu", 1)] * jobs)
    sys.exit(130 if pool.stops else 0)


if __name__ == "__main__":
    main()
