"""A function called for many things, in worker processes that end with whoever asked, however that ends.

Nothing but files and a socket is used: no semaphores, which need a /dev/shm with room in it.
"""

from __future__ import annotations

import contextlib
import pickle
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from benchmark.processes.devices import Slot
from benchmark.processes.server import ForkServer
from benchmark.processes.signals import ended_by
from benchmark.vocabulary import BenchError

Key = TypeVar("Key")
Payload = TypeVar("Payload")


def side_by_side(
    target: Callable[[Payload], object], payloads: Mapping[Key, Payload], *, jobs: int
) -> Iterator[tuple[Key, Any]]:
    """What `target(payload)` returns for every payload, as they end, `jobs` at a time; with one job in this process.

    `target` and the payloads must be picklable. Raises the first BenchError, also where a worker died; with several
    jobs any other error is one, too.
    """
    if min(jobs, len(payloads)) <= 1:
        for key, payload in payloads.items():
            yield key, target(payload)
        return
    places = [Slot("cpu", 1)] * min(jobs, len(payloads))
    # What the target needs is imported once.
    module = getattr(target, "func", target).__module__
    with contextlib.closing(ForkServer((module,))) as server:
        calls = {key: (target, payload) for key, payload in payloads.items()}
        for key, told in in_workers(server, _call, calls, places):
            if isinstance(told, BenchError):
                raise BenchError(f"{key}: {told}" if isinstance(key, str) else str(told))
            yield key, told


def _call(asked: tuple[tuple[Callable[[Any], object], object], Slot]) -> object:
    (target, payload), _ = asked
    return target(payload)


def in_workers(
    server: ForkServer,
    target: Callable[[tuple[Payload, Slot]], object],
    payloads: Mapping[Key, Payload],
    slots: Sequence[Slot],
) -> Iterator[tuple[Key, Any]]:
    """What `target((payload, slot))` returns for every payload, as they end, a process each.

    A BenchError is returned, and so is, as one, the end of a worker that could not say why.
    """
    waiting, free = list(payloads.items()), list(slots)
    working: dict[int, tuple[Key, Slot, Path]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-workers-") as folder:
        while waiting or working:
            while waiting and free:
                (key, payload), slot = waiting.pop(0), free.pop(0)
                answer = Path(folder) / f"{len(waiting)}"
                job = server.start(
                    _told, (target, (payload, slot), str(answer)), log=answer.with_suffix(".log")
                )
                working[job] = key, slot, answer
            for end in server.ended(0.5):
                key, slot, answer = working.pop(end.job)
                free.append(slot)
                yield key, _read(answer, end.status)


def _told(order: tuple[Callable[[Any], object], object, str]) -> None:
    target, payload, path = order
    try:
        told = target(payload)
    except BenchError as error:
        # Some kinds of it do not survive pickling.
        told = BenchError(str(error))
    Path(path).write_bytes(pickle.dumps(told))


def _read(answer: Path, status: int) -> Any:
    if status == 0:
        return pickle.loads(answer.read_bytes())  # noqa: S301 (from our own worker, in a folder of our own)
    if status < 0:
        return BenchError(
            f"A worker was killed ({ended_by(status)}), perhaps for want of memory. Free some, or give fewer --jobs, "
            "and start again: what is done is kept."
        )
    words = ""
    with contextlib.suppress(OSError):
        words = answer.with_suffix(".log").read_text(errors="replace").strip()
    return BenchError(
        f"The worker failed ({status}): {words.splitlines()[-1] if words else 'it said nothing'}"
    )
