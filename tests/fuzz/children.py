"""Commands in processes of their own, forked from one that has imported all that they need: no start-up, no state of
the command before, and nothing of what one leaves behind escapes."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import pkgutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

import psutil

PR_SET_CHILD_SUBREAPER = 36
POLL_SECONDS = 0.02
GRACE_SECONDS = 3.0
"""So long a helper may take to see that its command has ended."""
BROKE = 99
"""The exit code of a child whose work raised an error."""

LAZY = (
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.tracking",
    "optuna.storages.journal",
    "seaborn",
    "statsmodels.api",
)
"""What commands import when they need it, beside our own modules."""


@dataclass(frozen=True)
class Child:
    """How a child ended (negative: by which signal; None: it did not in time), what it said, what it left running."""

    code: int | None
    said: str
    left: tuple[str, ...]


def warm() -> None:
    """Import what commands import, once, so that children need not."""
    for name in ("benchmark", "baselines", "studies", "reports"):
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    for name in LAZY:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # Children then do not copy the imported objects' pages when they collect garbage.


def forked(work: Callable[[], object], *, inside: Path, seconds: float) -> Child:
    """Let a child do this, in that folder."""

    def begin(output: BinaryIO) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            _live(work, inside, output)
        return pid

    return _watched(begin, seconds)


def executed(command: list[str], *, inside: Path, seconds: float) -> Child:
    """Let a new process run this command, in that folder."""

    def begin(output: BinaryIO) -> int:
        def exchange() -> NoReturn:
            os.execv(command[0], command)

        pid = os.fork()
        if pid == 0:
            _live(exchange, inside, output)
        return pid

    return _watched(begin, seconds)


def _live(work: Callable[[], object], inside: Path, output: BinaryIO) -> NoReturn:
    """A child's life; what it says goes into a file."""
    code = BROKE
    try:
        os.setsid()
        os.chdir(inside)
        nowhere = os.open(os.devnull, os.O_RDONLY)
        for descriptor, target in ((nowhere, 0), (output.fileno(), 1), (output.fileno(), 2)):
            os.dup2(descriptor, target)
        sys.stdin = os.fdopen(0, closefd=False)
        sys.stdout = os.fdopen(1, "w", errors="backslashreplace", closefd=False)
        sys.stderr = os.fdopen(2, "w", errors="backslashreplace", buffering=1, closefd=False)
        # Where temporary files are to lie is known to those who asked once.
        tempfile.tempdir = None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        os._exit(code)


def _watched(begin: Callable[[BinaryIO], int], seconds: float) -> Child:
    with tempfile.TemporaryFile() as output, _adopting():
        before = {child.pid for child in psutil.Process().children(recursive=True)}
        pid = begin(output)
        code = _end_of(pid, seconds)
        left = _left(before)
        output.seek(0)
        return Child(code, output.read().decode(errors="replace"), left)


def _end_of(pid: int, seconds: float) -> int | None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(POLL_SECONDS)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


@contextlib.contextmanager
def _adopting() -> Iterator[None]:
    """Within the block, whoever loses its parent becomes our child, however it detached itself."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _left(before: set[int]) -> tuple[str, ...]:
    """The command lines of processes that are still there; none of them is afterwards."""
    end = time.monotonic() + GRACE_SECONDS
    while True:
        running = []
        for child in psutil.Process().children(recursive=True):
            if child.pid not in before:
                with contextlib.suppress(psutil.NoSuchProcess, ChildProcessError):
                    if child.status() == psutil.STATUS_ZOMBIE:
                        os.waitpid(child.pid, os.WNOHANG)
                    else:
                        running.append(child)
        if not running or time.monotonic() > end:
            break
        time.sleep(POLL_SECONDS)
    names = []
    for child in running:
        with contextlib.suppress(psutil.NoSuchProcess, ChildProcessError):
            names.append(" ".join(child.cmdline()) or child.name())
            child.kill()
            os.waitpid(child.pid, 0)
    return tuple(names)
