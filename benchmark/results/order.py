"""What a launcher hands to a worker process. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from benchmark.config import Resources, RunConfig
from benchmark.results.runs import FailureClass, RunFolder, State


@dataclass(frozen=True)
class Trial:
    """The trial of a search that a run is executed for: whom its validations are told to, and who may stop it early.

    `validations`: how often the validation part is scored for the search, at equal distances; they are no part of the
    run's configuration, and choose no checkpoint. `storage` is an address as `benchmark.search.storage` takes it.
    """

    study: str
    number: int
    pruner: str
    validations: int
    storage: str = field(repr=False)


@dataclass(frozen=True)
class RunOrder:
    """Everything a worker needs to execute one run.

    `root` is the data set's folder, from which its reader tells what it is. `store` and `splits` are what `ready_data`
    returned; `scored_on` is the store of the data set's usual preparation, on whose grid all methods are scored.
    """

    results: Path
    run_id: str
    config: RunConfig
    root: Path
    store: Path
    scored_on: Path
    splits: Path
    data_fingerprint: str
    resources: Resources
    excluded_cases: tuple[str, ...] = ()
    trial: Trial | None = None
    """With a trial the run ends with the validation part; the test cases stay closed."""


def has_all(order: RunOrder, state: State) -> bool:
    """Whether a run in this state has all that its order asks for."""
    if order.trial is None:
        return state == "done"
    return state in ("done", "trained") and RunFolder(order.results, order.run_id).validation_file.exists()


def is_due(state: State, failure: FailureClass | None, *, retry_failed: bool) -> bool:
    """Whether a launch runs it: what is missing, was interrupted or left by a search, and what failed when asked to.

    What is unsupported is tried each time: it fails at once, or the missing package is there now. A damaged run is not:
    its error says what to remove first.
    """
    return state in ("pending", "running", "trained", "pruned") or (
        state == "failed"
        and failure != "damaged"
        and (retry_failed or failure in ("interrupted", "unsupported"))
    )
