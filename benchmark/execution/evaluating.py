"""Work on finished runs in worker processes. Importing it needs no torch."""

from __future__ import annotations

import contextlib
import pickle
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from benchmark.execution.devices import Slot
from benchmark.execution.server import ForkServer
from benchmark.vocabulary import BenchError

if TYPE_CHECKING:
    from benchmark.rescoring import Reproduced

Key = TypeVar("Key")
Payload = TypeVar("Payload")


@dataclass(frozen=True)
class Evaluation:
    """A finished run, and the modalities without which it is to be scored."""

    results: Path
    run_id: str
    modalities: tuple[str, ...] = ()


def score_without(asked: tuple[Evaluation, Slot]) -> None:
    """Score a run without modalities, one at a time; what comes of it stands in its folder."""
    from benchmark.reopened import reopen
    from benchmark.without import evaluate_without

    evaluation, slot = asked
    run = reopen(evaluation.results, evaluation.run_id, device=slot.device, threads=slot.threads)
    evaluate_without(run, evaluation.modalities)


def score_again(asked: tuple[Evaluation, Slot]) -> Reproduced:
    """Score a run again from its weights, with as many threads as it had."""
    from benchmark.reopened import reopen
    from benchmark.rescoring import rescore

    evaluation, slot = asked
    return rescore(reopen(evaluation.results, evaluation.run_id, device=slot.device))


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
    words = ""
    with contextlib.suppress(OSError):
        words = answer.with_suffix(".log").read_text(errors="replace").strip()
    return BenchError(
        f"The worker failed ({status}): {words.splitlines()[-1] if words else 'it said nothing'}"
    )
