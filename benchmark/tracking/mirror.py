"""The process that keeps MLflow up to date while a grid runs, and the launcher's hold on it."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

from benchmark.files.writing import open_log
from benchmark.processes import signals
from benchmark.tracking.syncing import sync_once, undelivered
from benchmark.vocabulary import BenchError

PASS_SECONDS = 60.0
"""A pass over the grid ends after this time; the next goes on from there."""


class Mirror:
    """Keeps MLflow up to date with one grid while the `with` block runs, from a process of its own.

    Never raises, and blocks for at most `final_seconds` at the end. Afterwards `undelivered` is the number of
    runs that MLflow does not know in their present state. What goes wrong is in `results/mlflow.log`.
    """

    undelivered: int = 0

    def __init__(
        self, results: Path, grid_name: str, *, interval_seconds: float = 5.0, final_seconds: float = 20.0
    ) -> None:
        self.results = results.resolve()
        self.grid_name = grid_name
        self.interval_seconds = interval_seconds
        self.final_seconds = final_seconds
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Mirror:
        # -P: a folder named `benchmark` where the user happens to be is not this package.
        command = [sys.executable, "-P", "-m", "benchmark.tracking", str(self.results), self.grid_name]
        command += [str(self.interval_seconds), str(os.getpid())]
        with contextlib.suppress(OSError), os.fdopen(open_log(self.results / "mlflow.log"), "ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                # Ctrl-C in the terminal is meant for the launcher; it tells the mirror when to finish.
                start_new_session=True,
            )
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self._finish()
        finally:
            with contextlib.suppress(BenchError, OSError):
                self.undelivered = len(undelivered(self.results, grids=[self.grid_name]))

    def _finish(self) -> None:
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        try:
            with contextlib.suppress(OSError), process.stdin as orders:
                orders.write(b"finish\n")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(self.final_seconds)
        finally:
            # Also when a second Ctrl-C ends the waiting.
            if process.poll() is None:
                process.kill()
                process.wait()


class _Orders:
    """What the launcher wants of the mirror process: that it finishes, or, being dead, nothing any more."""

    def __init__(self, launcher: int) -> None:
        self.launcher = launcher
        self.finish = threading.Event()
        self.orphaned = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def abandon(self, deadline: float) -> bool:
        """Whether to leave the present pass, which has until `deadline`."""
        return self.orphaned.is_set() or time.monotonic() > deadline

    def _watch(self) -> None:
        inputs = [sys.stdin.fileno()]
        while os.getppid() == self.launcher:
            ready, _, _ = select.select(inputs, [], [], 0.5)
            if ready and os.read(ready[0], 64).startswith(b"finish"):
                inputs = []
                self.finish.set()
            elif ready:
                break
        self.orphaned.set()
        self.finish.set()
        # A call to an absent server may last; nobody waits for it now.
        time.sleep(2.0)
        os._exit(1)


def mirror(results: Path, grid_name: str, *, interval_seconds: float, launcher: int) -> None:
    """The life of the mirror process."""
    signals.ignore()
    os.nice(10)
    orders = _Orders(launcher)
    pause, said = interval_seconds, ""
    while not orders.orphaned.is_set():
        last = orders.finish.is_set()
        stop = partial(orders.abandon, time.monotonic() + PASS_SECONDS)
        try:
            report = sync_once(results, grids=[grid_name], active=not last, stop=stop)
        except Exception as error:
            # Nobody reads a traceback of this process; the log and the launcher's count tell.
            said, failed, skipped, seconds = _say(f"{type(error).__name__}: {error}", said), True, False, 0.0
        else:
            said = _say(report.message if report.undelivered else "", said)
            failed, skipped, seconds = report.problem is not None, report.skipped, report.seconds
        if last and not skipped:
            return
        # Longer and longer while the store is away; at most a third of a core, however many runs there are.
        pause = min(2.0 * pause, 60.0) if failed else max(interval_seconds, 2.0 * seconds)
        if last:
            time.sleep(0.5)
        else:
            orders.finish.wait(pause)


def _say(text: str, said: str) -> str:
    """Into the log, once."""
    if text and text != said:
        print(time.strftime("%Y-%m-%d %H:%M:%S"), text, flush=True)
    return text
