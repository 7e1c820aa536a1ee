"""Work on finished runs in worker processes. Importing it needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.processes.devices import Slot

if TYPE_CHECKING:
    from benchmark.finished.rescoring import Reproduced


@dataclass(frozen=True)
class Evaluation:
    """A finished run, and the modalities without which it is to be scored."""

    results: Path
    run_id: str
    modalities: tuple[str, ...] = ()


def score_without(asked: tuple[Evaluation, Slot]) -> None:
    """Score a run without modalities, one at a time; what comes of it stands in its folder."""
    from benchmark.finished.reopened import reopen
    from benchmark.finished.without import evaluate_without

    evaluation, slot = asked
    run = reopen(evaluation.results, evaluation.run_id, device=slot.device)
    evaluate_without(run, evaluation.modalities)


def score_again(asked: tuple[Evaluation, Slot]) -> Reproduced:
    """Score a run again from its weights, with as many threads as it had."""
    from benchmark.finished.reopened import reopen
    from benchmark.finished.rescoring import rescore

    evaluation, slot = asked
    return rescore(reopen(evaluation.results, evaluation.run_id, device=slot.device))
