"""The validation part of a run that a grid has trained: what a search needs to take it over."""

from __future__ import annotations

from benchmark.finished.reopened import reopen
from benchmark.results.order import RunOrder
from benchmark.results.runs import RunFolder
from benchmark.scoring.evaluate import score_cases


def score_validation_part(order: RunOrder) -> None:
    """Score the validation cases with the weights of a finished run; only for who holds its claim.

    BenchError where the weights are gone or the method's source has changed.
    """
    run = reopen(order.results, order.run_id, device=order.resources.device)
    data = run.data.without_test()
    scores = score_cases(
        run.predicted(data.validation),
        data.references,
        spec=data.spec,
        config=order.config,
        run_id=order.run_id,
        told=run.method.predicted_regions,
        split="validation",
    )
    RunFolder(order.results, order.run_id).write_validation(scores)
