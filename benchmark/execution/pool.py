"""Runs on one machine: one process a run, several at a time, each with its device and its threads.

The folders are the truth. A worker claims its run's folder and writes what came of it; the pool starts
workers, looks at the folders when they end, and writes the record of a worker that could not. Another
launcher on the same results is noticed by its claims: its runs are left to it, and taken over when it stops
without finishing them.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import shutil
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmark.config import Resources
from benchmark.execution.worker import PRELOAD, run_order
from benchmark.files.writing import NO_ROOM, STORAGE_TROUBLE, refuse_detour, written_whole
from benchmark.processes.devices import Slot, oom_kills
from benchmark.processes.server import Ended, ForkServer, ServerDiedError, WorkerKilledError
from benchmark.processes.signals import ended_by
from benchmark.processes.watch import Watch
from benchmark.results import attempts
from benchmark.results.order import RunOrder, has_all
from benchmark.results.runs import STALE_AFTER_SECONDS, FailureClass, RunFolder, RunRecord, State, state_of
from benchmark.vocabulary import BenchError

RETRIES = 1
"""How often a run is repeated in one launch when the cause of its failure may pass."""
RECHECK_SECONDS = 0.5
"""How often runs of another launcher are looked at while nothing else is to do."""
VAIN_ATTEMPTS = 5
"""After so many workers that ended well but left no result, a run has failed."""
LOG_TAIL_LINES = 20
SERVER_DEATHS = 5
SMALLEST_DISK = 50e6


class Observer:
    """Is told what happens to the runs. Does nothing by itself; see `benchmark.execution.monitor`."""

    def started(self, order: RunOrder, *, attempt: int) -> None:
        """A worker was started."""

    def ended(self, order: RunOrder, record: RunRecord, *, elsewhere: bool) -> None:
        """The run is done or failed for good; `elsewhere`: another launcher did it."""

    def retried(self, order: RunOrder, record: RunRecord) -> None:
        """The run failed, but the cause may pass: it runs again."""

    def waiting(self, orders: Sequence[RunOrder]) -> None:
        """Nothing is left to start here; these runs belong to another launcher."""

    def stopping(self, count: int, *, killed: bool) -> None:
        """The runs that are in progress are being stopped."""

    def tick(self) -> None:
        """Called several times a second."""


@dataclass
class _Worker:
    order: RunOrder
    slot: Slot
    signature: tuple[int, int]
    log_size: int
    oom_kills: int


@dataclass
class _Waiting:
    order: RunOrder
    look_again: float


@dataclass
class _State:
    """One call of `Pool.run`."""

    queue: deque[RunOrder]
    at_launch: dict[str, tuple[int, int]]
    free: list[Slot]
    more: Callable[[], RunOrder | None]
    workers: dict[int, _Worker] = field(default_factory=dict)
    waiting: list[_Waiting] = field(default_factory=list)
    retries: dict[str, int] = field(default_factory=dict)
    vain: dict[str, int] = field(default_factory=dict)
    stops_sent: int = 0
    idle_since: float | None = None


class Pool:
    """Executes orders on a machine's slots. A context manager: the end of the block ends all workers."""

    def __init__(
        self,
        *,
        target: Callable[[RunOrder], object] = run_order,
        preload: Sequence[str] = PRELOAD,
        stop_on_error: bool = False,
    ) -> None:
        """`target` runs in a worker process; it claims the run's folder and writes the record."""
        self._target = target
        self._preload = preload
        self._stop_on_error = stop_on_error
        self._server: ForkServer | None = None
        self._server_deaths = 0
        self._watch = Watch()
        self.stops = 0
        self.stopped_by_error = False

    def __enter__(self) -> Pool:
        self.warm_up()
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def warm_up(self) -> ForkServer:
        """The fork server, started if it is not there; it imports the libraries in the meantime."""
        while self._server is None:
            try:
                self._server = ForkServer(self._preload)
            except ServerDiedError as error:
                self._count_server_death(error)
        return self._server

    def call(self, target: Callable[[Any], object], payload: object) -> Any:
        """What `target(payload)` returns in a worker; one that is killed is replaced, a few times.

        Errors: the target's BenchError; else RuntimeError with the worker's output.
        """
        for _ in range(SERVER_DEATHS - 1):
            try:
                return self.warm_up().call(target, payload)
            except ServerDiedError as error:
                self._count_server_death(error)
            except WorkerKilledError:
                continue
        return self.warm_up().call(target, payload)

    def request_stop(self) -> None:
        """Once: workers save their checkpoints and end. Twice: they are killed. Fit for signal handlers."""
        self.stops += 1

    def run(
        self,
        orders: Sequence[RunOrder],
        slots: Sequence[Slot],
        *,
        observer: Observer | None = None,
        more: Callable[[], RunOrder | None] = lambda: None,
        patience: float = math.inf,
    ) -> None:
        """Execute all orders, whatever becomes of each, or stop when asked to.

        `more` is asked for a further order whenever a place is free and no order waits for it; None: not now.
        `patience`: seconds to wait for runs that other launchers have, once there is nothing else to do.
        Errors: BenchError when nothing can be written to the results any more.
        """
        observer = observer or Observer()
        signatures = {order.run_id: _signature(_folder(order)) for order in orders}
        state = _State(deque(orders), signatures, list(slots), more)
        try:
            while True:
                if not self.stops:
                    self._start_workers(state, observer)
                elif state.workers:
                    self._stop_workers(state, observer)
                if not state.workers and (self.stops or not (state.queue or state.waiting)):
                    break
                if not state.workers and not state.queue and state.waiting and not self.stops:
                    observer.waiting([w.order for w in state.waiting])
                    state.idle_since = state.idle_since or time.monotonic()
                    if time.monotonic() - state.idle_since > patience:
                        break
                else:
                    state.idle_since = None
                for worker, status in self._ended(state):
                    state.free.append(worker.slot)
                    self._settle(state, worker, status, observer)
                observer.tick()
        except BaseException:
            self._abandon(state)
            raise

    def _start_workers(self, state: _State, observer: Observer) -> None:
        while state.free and (order := self._next(state, observer)) is not None:
            slot = state.free.pop(0)
            resources = _resources(order.resources, slot)
            order = replace(order, resources=resources)
            folder = _folder(order)
            _make_folder(folder)
            worker = _Worker(order, slot, _signature(folder), _size(folder.log_file), oom_kills())
            try:
                job = self.warm_up().start(self._target, order, log=folder.log_file)
            except ServerDiedError as error:
                self._count_server_death(error)
                state.free.append(slot)
                state.queue.appendleft(order)
                return
            state.workers[job] = worker
            observer.started(order, attempt=1 + state.retries.get(order.run_id, 0))

    def _next(self, state: _State, observer: Observer) -> RunOrder | None:
        """The next run that is to be started here, passing over those that others did or do."""
        now = time.monotonic()
        while True:
            due = [waiting for waiting in state.waiting if waiting.look_again <= now]
            if state.queue:
                order = state.queue.popleft()
            elif due:
                state.waiting.remove(due[0])
                order = due[0].order
            elif (further := state.more()) is not None:
                order = further
                state.at_launch[order.run_id] = _signature(_folder(order))
            else:
                return None
            folder = _folder(order)
            condition, failure = self._state_of(folder)
            if condition == "running":
                state.waiting.append(_Waiting(order, now + RECHECK_SECONDS))
            elif has_all(order, condition) or self._ended_elsewhere(state, folder, condition, failure):
                observer.ended(order, folder.record(), elsewhere=True)
            elif failure == "interrupted" and (record := _given_up(folder)) is not None:
                observer.ended(order, record, elsewhere=False)
            else:
                return order

    def _state_of(self, folder: RunFolder) -> tuple[State, FailureClass | None]:
        """As `results.runs.state_of`, but a run that another machine has is not taken over because of a clock: its
        heartbeat must have been seen standing still."""
        condition, failure = state_of(folder)
        record = folder.record()
        if record.state != "running" or folder.is_claimed():
            return condition, failure
        beat = folder.heartbeat()
        if beat is None or beat.host == os.uname().nodename:
            return condition, failure
        silent = self._watch.silent_for(folder.run_id, beat, told_at=beat.time)
        return ("running", None) if silent < STALE_AFTER_SECONDS else ("failed", "interrupted")

    def _ended_elsewhere(
        self, state: _State, folder: RunFolder, condition: str, failure: FailureClass | None
    ) -> bool:
        """Failed or pruned since this launch began, and not by our own attempts."""
        run_id = folder.run_id
        ours = run_id in state.retries or run_id in state.vain
        news = _signature(folder) != state.at_launch[run_id]
        return condition in ("failed", "pruned") and failure != "interrupted" and news and not ours

    def _ended(self, state: _State) -> Iterator[tuple[_Worker, int | None]]:
        # Without workers nothing ends; the wait is then only for other launchers.
        timeout = 0.1 if self.stops or state.workers else RECHECK_SECONDS / 2
        try:
            ended: list[Ended] = self.warm_up().ended(timeout)
        except ServerDiedError as error:
            self._count_server_death(error)
            lost, state.workers = state.workers, {}
            for worker in lost.values():
                yield worker, None
            return
        for end in ended:
            if (worker_ended := state.workers.pop(end.job, None)) is not None:
                yield worker_ended, end.status

    def _settle(self, state: _State, worker: _Worker, status: int | None, observer: Observer) -> None:
        """Decide what a worker's end means for its run."""
        order, folder = worker.order, _folder(worker.order)
        run_id = order.run_id
        record = folder.record()
        news = _signature(folder) != worker.signature
        if has_all(order, record.state) or (news and record.state == "pruned"):
            observer.ended(order, record, elsewhere=False)
            return
        if record.state == "done":
            # Its validation part is not scored: another process is at it, or this one could not.
            if folder.is_claimed():
                state.waiting.append(_Waiting(order, time.monotonic() + 0.1))
            else:
                observer.ended(order, record, elsewhere=False)
            return
        crashed = False
        if not (news and record.state == "failed"):
            if status == 0:
                if self._claimed_or_vain(state, worker):
                    return
                record = folder.record()
            else:
                written = self._record_death(folder, worker, status)
                if written is None:
                    state.waiting.append(_Waiting(order, 0.0))
                    return
                record, crashed = written, status is None or status < 0
        self._refuse_broken_disk(folder, record)
        may_pass = crashed or record.failure in ("memory", "interrupted")
        if self.stops:
            observer.ended(order, record, elsewhere=False)
        elif may_pass and state.retries.get(run_id, 0) < RETRIES:
            state.retries[run_id] = state.retries.get(run_id, 0) + 1
            state.queue.appendleft(order)
            observer.retried(order, record)
        else:
            observer.ended(order, record, elsewhere=False)
            if self._stop_on_error:
                self.stopped_by_error = True
                self.request_stop()

    def _claimed_or_vain(self, state: _State, worker: _Worker) -> bool:
        """A worker left no result: another process held the run, if only for a look at its state."""
        run_id = worker.order.run_id
        folder = _folder(worker.order)
        if state_of(folder)[0] != "running":
            state.vain[run_id] = state.vain.get(run_id, 0) + 1
            if state.vain[run_id] >= VAIN_ATTEMPTS:
                error = "The worker ended without a result." + _tail(folder.log_file, worker.log_size)
                folder.write_record(replace(folder.record(), state="failed", failure="code", error=error))
                return False
        state.waiting.append(_Waiting(worker.order, time.monotonic() + 0.1))
        return True

    def _record_death(self, folder: RunFolder, worker: _Worker, status: int | None) -> RunRecord | None:
        """Write down that a worker died; None if another process has the run by now."""
        failure, cause = self._cause(worker, status)
        deadline = time.monotonic() + 2.0  # The kernel frees a dead worker's claim, but not at once.
        while True:
            with folder.claimed() as held:
                if held:
                    if folder.record().state == "done":
                        return folder.record()
                    error = cause + _tail(folder.log_file, worker.log_size)
                    record = replace(folder.record(), state="failed", failure=failure, error=error)
                    record = replace(record, data_fingerprint=worker.order.data_fingerprint)
                    if not folder.config_file.exists():
                        folder.write_config(worker.order.config.model_dump(mode="json"))
                    folder.write_record(record)
                    attempts.end(folder, cause)
                    return record
            if time.monotonic() > deadline:
                return None
            time.sleep(0.02)

    def _cause(self, worker: _Worker, status: int | None) -> tuple[FailureClass, str]:
        if status is None:
            return "interrupted", "The process that workers are forked from died, and the worker with it."
        if status >= 0:
            return "code", f"The worker ended with exit status {status}."
        name = ended_by(status)
        if -status == signal.SIGKILL and oom_kills() > worker.oom_kills:
            return "memory", f"The system ran out of memory and killed the worker ({name}). Use fewer --jobs."
        if -status in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            return "interrupted", f"The worker was killed ({name})."
        if -status == signal.SIGBUS:
            # Arrays of the store are mapped into memory; what the disk does not give ends so.
            return (
                "interrupted",
                f"The worker crashed ({name}): {os.strerror(errno.EIO)}, or a file was cut short.",
            )
        return "code", f"The worker crashed ({name})."

    def _refuse_broken_disk(self, folder: RunFolder, record: RunRecord) -> None:
        trouble = [text for text in STORAGE_TROUBLE if text in (record.error or "")]
        if trouble and record.failure != "interrupted":
            # The run is not to blame: the next start continues it.
            with contextlib.suppress(BenchError):
                folder.write_record(replace(record, failure="interrupted"))
            raise BenchError(
                f"Run {record.run_id} could not {'write' if trouble[0] in NO_ROOM else 'read or write'}: {trouble[0]}. "
                "All runs were stopped; free space, or see to the disk, then start again: what is done is kept and the "
                "rest continues."
            )

    def _stop_workers(self, state: _State, observer: Observer) -> None:
        level = min(self.stops, 2)
        if state.stops_sent >= level:
            return
        state.stops_sent = level
        observer.stopping(len(state.workers), killed=level == 2)
        self._signal_all(state, signal.SIGTERM if level == 1 else signal.SIGKILL)

    def _signal_all(self, state: _State, number: signal.Signals) -> None:
        with contextlib.suppress(ServerDiedError):
            for job in state.workers:
                self.warm_up().signal(job, number)

    def _abandon(self, state: _State) -> None:
        """Give the workers a moment to save their checkpoints before the error ends the launcher."""
        self._signal_all(state, signal.SIGTERM)
        deadline = time.monotonic() + 10.0
        with contextlib.suppress(Exception):
            while state.workers and time.monotonic() < deadline:
                for _ in self._ended(state):
                    pass

    def _count_server_death(self, error: ServerDiedError) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self._server_deaths += 1
        if self._server_deaths >= SERVER_DEATHS:
            raise BenchError(f"{SERVER_DEATHS} times: {error}") from error


def check_writable(results: Path) -> None:
    """Errors: BenchError when the results folder cannot be written or its disk is full."""
    with written_whole(results / ".writable") as temporary:
        temporary.write_bytes(b"\0" * 65536)
    (results / ".writable").unlink(missing_ok=True)
    free = shutil.disk_usage(results).free
    if free < SMALLEST_DISK:
        raise BenchError(
            f"The disk of {results} is full ({free / 1e6:.0f} MB left). Free space or choose --results."
        )


def _folder(order: RunOrder) -> RunFolder:
    return RunFolder(order.results, order.run_id)


def _make_folder(folder: RunFolder) -> None:
    # The fork server, which opens the log for the worker, guards no folder.
    refuse_detour(folder.log_file)
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchError(
            f"Cannot write {folder.path}: {error.strerror}. Free space or choose --results."
        ) from error


def _given_up(folder: RunFolder) -> RunRecord | None:
    """The record of a run that has taken its machine with it too often, now failed; None for any other."""
    deadly = attempts.deadly(folder)
    if len(deadly) < attempts.DEADLY_ATTEMPTS:
        return None
    with folder.claimed() as held:
        if not held:
            return None
        record = replace(folder.record(), state="failed", failure="code", error=attempts.told(deadly))
        folder.write_record(record)
        return record


def _resources(resources: Resources, slot: Slot) -> Resources:
    return resources.model_copy(update={"device": slot.device, "threads": slot.threads})


def _signature(folder: RunFolder) -> tuple[int, int]:
    """Changes whenever the run's record is written, even with the same content."""
    try:
        status = folder.record_file.stat()
    except OSError:
        return (0, 0)
    return (status.st_ino, status.st_mtime_ns)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _tail(log: Path, start: int) -> str:
    """The last lines that were written to a log after `start` bytes, as an appendix to an error."""
    try:
        with log.open("rb") as file:
            file.seek(max(start, _size(log) - 20_000))
            lines = file.read().decode(errors="replace").splitlines()[-LOG_TAIL_LINES:]
    except OSError:
        return ""
    return "".join(f"\n{line}" for line in ["The log ends with:", *lines]) if lines else ""
