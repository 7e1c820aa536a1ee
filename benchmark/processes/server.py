"""A process that has imported the heavy libraries once and forks a worker for every run.

`ForkServer` is the launcher's side. Server and workers live in a session of their own, so that Ctrl-C in a
terminal reaches the launcher alone, and they end with the launcher, however it ends: the server notices the
closed connection, and the kernel (or a watching thread) ends the workers with the server. No other signal than KILL
ends the server, so that workers outlive a scheduler's SIGTERM to all of a job until they have saved what they have.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import importlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NoReturn

from benchmark.files.writing import guard, guarded, open_log
from benchmark.processes import signals
from benchmark.vocabulary import BenchError

PR_SET_PDEATHSIG = 1


class ServerDiedError(BenchError):
    """The fork server is gone, and its workers with it."""


class WorkerKilledError(BenchError):
    """A worker was killed while it had a question to answer."""


@dataclass(frozen=True)
class Ended:
    """A worker's end. `status` is the exit status, negative for the signal that killed it."""

    job: int
    status: int


class ForkServer:
    """Starts workers, signals them, tells when they end. Not for use by several threads."""

    def __init__(self, preload: Sequence[str]) -> None:
        """Starts the server, which imports the modules of `preload` while the launcher does other things."""
        mine, theirs = socket.socketpair()
        self._connection = Connection(mine.detach())
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the server)
        self._jobs = 0
        self._ended: list[Ended] = []
        with theirs, signals.held_back():
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "benchmark.processes.server", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._errors,
                stderr=self._errors,
                start_new_session=True,
                env=_environment(),
            )
        self._send(("preload", tuple(preload)))

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    def start(self, target: Callable[[Any], object], payload: object, *, log: Path) -> int:
        """Fork a worker that calls `target(payload)`, with its output in `log`; returns the job's number.

        It writes through no link that this process would not write through.
        """
        self._jobs += 1
        self._send(("start", self._jobs, pickle.dumps((target, payload, guarded())), str(log)))
        return self._jobs

    def signal(self, job: int, number: signal.Signals) -> None:
        """Send a signal to a worker; nothing happens if it has ended."""
        self._send(("signal", job, int(number)))

    def ended(self, timeout: float) -> list[Ended]:
        """Workers that ended, waiting up to `timeout` seconds for the first."""
        self._receive(0.0 if self._ended else timeout)
        ended, self._ended = self._ended, []
        return ended

    def call(self, target: Callable[[Any], object], payload: object) -> Any:
        """What `target(payload)` returns.

        Errors: its BenchError; WorkerKilledError; else RuntimeError with the worker's output.
        """
        with tempfile.TemporaryDirectory() as folder:
            answer, log = Path(folder) / "answer", Path(folder) / "log.txt"
            job = self.start(_answer, (target, payload, str(answer)), log=log)
            while not (own := [end for end in self._ended if end.job == job]):
                self._receive(1.0)
            self._ended.remove(own[0])
            if own[0].status < 0:
                raise WorkerKilledError(
                    f"A worker was killed ({signals.ended_by(own[0].status)}) before it could answer. Start again."
                )
            if own[0].status != 0:
                raise RuntimeError(f"A worker failed ({own[0].status}):\n{log.read_text(errors='replace')}")
            told = pickle.loads(answer.read_bytes())  # noqa: S301 (from our own worker, in a folder of our own)
            if isinstance(told, BenchError):
                raise told
            return told

    def close(self) -> None:
        """End the server and whatever workers are left."""
        self._connection.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _send(self, message: object) -> None:
        try:
            self._connection.send(message)
        except OSError as error:
            raise self._death() from error

    def _receive(self, timeout: float) -> None:
        try:
            while self._connection.poll(timeout):
                message = self._connection.recv()
                if message[0] == "broken":
                    raise RuntimeError(f"The workers' libraries cannot be imported:\n{message[1]}")
                self._ended.append(Ended(message[1], message[2]))
                timeout = 0.0
        except (EOFError, OSError) as error:
            raise self._death() from error

    def _death(self) -> ServerDiedError:
        self._errors.seek(0)
        words = self._errors.read().decode(errors="replace")[-2000:].strip()
        said = f" It said: {words}" if words else ""
        return ServerDiedError(f"The process that workers are forked from died. Start again.{said}")


def _environment() -> dict[str, str]:
    """The server's environment: it finds the same modules as the launcher, and stays fit for forking.

    How many threads add up a sum decides its last bits. Torch is told by every run; what a shell or a scheduler says of
    threads reaches no worker.
    """
    return {
        # A library that asks for GPUs when imported must not touch the driver: forks do not survive that.
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
        **{name: value for name, value in os.environ.items() if name != "OMP_THREAD_LIMIT"},
        **_ONE_THREAD,
        "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
    }


_ONE_THREAD = {
    **{f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "BLIS")},
    "OMP_DYNAMIC": "false",
    "MKL_DYNAMIC": "false",
}


def _answer(order: tuple[Callable[[Any], object], object, str]) -> None:
    target, payload, path = order
    try:
        told = target(payload)
    except BenchError as error:
        told = error
    Path(path).write_bytes(pickle.dumps(told))


def serve(descriptor: int) -> None:
    """The server's life: import, then fork a worker for every order until the launcher hangs up."""
    signals.ignore()
    signals.let_in()
    launcher = Connection(descriptor)
    _, preload = launcher.recv()
    try:
        for module in preload:
            importlib.import_module(module)
    except Exception:
        launcher.send(("broken", traceback.format_exc()))
        return
    gc.collect()
    gc.freeze()  # Workers then do not copy the imported objects' pages when they collect garbage.
    libc = ctypes.CDLL(None)
    workers: dict[int, int] = {}
    with _child_ends() as bell:
        while True:
            ready = wait([launcher, bell])
            if bell in ready:
                bell.recv(4096)
                for pid, status in _reap():
                    if pid in workers:
                        launcher.send(("ended", workers.pop(pid), os.waitstatus_to_exitcode(status)))
            if launcher not in ready:
                continue
            try:
                order = launcher.recv()
            except (EOFError, OSError):
                break
            if order[0] == "start":
                _, job, call, log = order
                parent = os.getpid()
                with signals.held_back():
                    pid = os.fork()
                    if pid == 0:
                        signal.set_wakeup_fd(-1)
                        bell.close()
                        launcher.close()
                        _work(call, log, parent=parent, libc=libc)
                workers[pid] = job
            else:
                _, job, number = order
                # An ended worker is not reaped before it leaves `workers`, so its id names nobody else.
                for pid in [pid for pid, its_job in workers.items() if its_job == job]:
                    os.kill(pid, number)
    for pid in workers:
        os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def _child_ends() -> Iterator[socket.socket]:
    """A socket that becomes readable when a child ends."""
    ear, mouth = socket.socketpair()
    with ear, mouth:
        ear.setblocking(False)
        mouth.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
        yield ear


def _reap() -> Iterator[tuple[int, int]]:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            yield pid, status


def _work(call: bytes, log: str, *, parent: int, libc: ctypes.CDLL) -> NoReturn:
    """A forked worker's life. Never returns into the server's loop."""
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # Until its run takes the signal to save a checkpoint, a worker has nothing to save.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signals.let_in()
        _die_with(parent, libc)
        output = open_log(Path(log))
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        sys.stdout = os.fdopen(1, "w", buffering=1, errors="replace", closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, errors="replace", closefd=False)
        faulthandler.enable(sys.stderr)
        target, payload, folders = pickle.loads(call)  # noqa: S301 (from our own launcher, over a private socket)
        for folder in folders:
            guard(folder)
        target(payload)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)  # The server's exit handlers are not the worker's.


def _die_with(parent: int, libc: ctypes.CDLL) -> None:
    if sys.platform == "linux":
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
