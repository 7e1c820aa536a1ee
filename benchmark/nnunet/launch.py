"""Starts the process in which nnU-Net runs, forwards its progress, and leaves nothing of it behind."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from benchmark.files.places import refuse_links_in
from benchmark.files.writing import open_log
from benchmark.nnunet.lifeline import STOP
from benchmark.nnunet.task import STOPPED, Prediction, Training, write_task
from benchmark.processes.devices import oom_kills
from benchmark.processes.signals import held_back
from benchmark.protocols import ExternalJob
from benchmark.training.progress import DivergedError
from benchmark.vocabulary import BenchError, DataError

COMMAND = (sys.executable, "-P", "-m", "benchmark.nnunet.process")
"""-P: what lies where the user happens to be is imported by nobody."""
POLL_SECONDS = 0.2
_STOPS_ITSELF = ("train", "validate")
"""Phases in which the process asks between any two iterations, saves and ends; in others, what is done is on disk."""


def run_process(
    task: Training | Prediction, job: ExternalJob, *, name: str, settings: Mapping[str, str]
) -> None:
    """Run a task to its end. `name`: of its files in `job.work`; `settings`: environment variables.

    InterruptedError when the job was asked to stop, MemoryError when memory ran out, DivergedError when the loss did,
    DataError or BenchError with its last words and the place of its log for everything else that goes wrong.
    """
    # nnU-Net itself would follow them.
    refuse_links_in(job.work)
    task_file, log_file = job.work / f"{name}.json", job.work / f"{name}.log"
    write_task(task_file, task)
    environment = {**os.environ, **settings, **_visible_device(job.device)}
    kills_before = oom_kills()
    with os.fdopen(open_log(log_file), "ab") as log_stream, held_back():
        started_at = log_stream.tell()
        process = subprocess.Popen(
            [*COMMAND, str(task_file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log_stream,
            env=environment,
            # A group of its own, so that it and all its workers can be killed together.
            start_new_session=True,
        )
    job.log(f"nnU-Net runs as process {process.pid}; what it prints is in {log_file}")
    with _ended(process):
        status, failure = _attend(process, job)
    if status == 0:
        return
    # Of the processes that a scheduler tells to stop, one that nnU-Net waits for may be the first to end.
    if status == STOPPED or failure.get("stopped") or job.asked_to_stop():
        raise InterruptedError("Stopped; the same command continues nnU-Net.")
    kind = failure.get("failed", "code")
    if kind == "code" and (status == -signal.SIGKILL or oom_kills() > kills_before):
        raise MemoryError(
            f"nnU-Net or one of its workers was killed, as happens when memory runs out. Its log is {log_file}."
        )
    words = failure.get("text") or _last_words(log_file, started_at)
    kinds: dict[str, type[Exception]] = {
        "memory": MemoryError,
        "data": DataError,
        "diverged": DivergedError,
    }
    raise kinds.get(kind, BenchError)(f"nnU-Net failed: {words.rstrip('.')}. Its log is {log_file}.")


def _attend(process: subprocess.Popen[bytes], job: ExternalJob) -> tuple[int, dict[str, Any]]:
    """Forward what the process says until it ends; its exit code, and its last message if that was a failure."""
    assert process.stdin is not None
    assert process.stdout is not None
    phase, asked = "prepare", False
    failure: dict[str, Any] = {}
    lines = _Lines(process.stdout)
    while True:
        # Asked first: what it says before it ends must still be read.
        status = process.poll()
        for message in lines.read(timeout=0.0 if status is not None else POLL_SECONDS):
            if "failed" in message:
                failure = message
                continue
            phase = message["phase"]
            numbers = {key: message.get(key) for key in ("loss", "val_dice")}
            job.tell(phase, message["done"], message["total"], **numbers)
        if status is not None:
            return status, failure
        if not asked and job.asked_to_stop():
            asked = True
            if phase not in _STOPS_ITSELF:
                return -signal.SIGKILL, {"stopped": True}
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(STOP)
                process.stdin.flush()


class _Lines:
    """Complete lines of JSON from a pipe, as they come."""

    def __init__(self, stream: Any) -> None:
        self._stream: BinaryIO = stream
        self._rest = b""
        os.set_blocking(stream.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(stream, selectors.EVENT_READ)

    def read(self, timeout: float) -> Iterator[dict[str, Any]]:
        """What arrives within `timeout` seconds."""
        if not self._selector.select(timeout):
            return
        with contextlib.suppress(BlockingIOError):
            while block := os.read(self._stream.fileno(), 1 << 16):
                self._rest += block
            # It is closed, and would from now on be ready at any time.
            self._selector.unregister(self._stream)
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            # Something may print while Python starts, before the process has taken standard output for itself.
            with contextlib.suppress(ValueError):
                yield json.loads(line)


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """However the block ends, the process and its workers have ended with it."""
    try:
        yield
    finally:
        if process.poll() != 0:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


def _visible_device(device: str) -> dict[str, str]:
    """nnU-Net computes on the first CUDA device it sees: show it the right one alone."""
    if not device.startswith("cuda"):
        return {}
    index = int(device.partition(":")[2] or 0)
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return {"CUDA_VISIBLE_DEVICES": visible[index] if index < len(visible) else str(index)}


def _last_words(log_file: Path, start: int) -> str:
    """The last line that a process printed, which for an exception is the exception."""
    with log_file.open("rb") as stream:
        stream.seek(start)
        lines = stream.read()[-100_000:].decode("utf-8", "replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing.")
