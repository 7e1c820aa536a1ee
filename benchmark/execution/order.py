"""What a launcher hands to a worker process. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmark.config import Resources, RunConfig


@dataclass(frozen=True)
class RunOrder:
    """Everything a worker needs to execute one run.

    `store` and `splits` are what `ready_data` returned; `scored_on` is the store of the data set's usual preparation,
    on whose grid all methods are scored.
    """

    results: Path
    run_id: str
    config: RunConfig
    store: Path
    scored_on: Path
    splits: Path
    data_fingerprint: str
    resources: Resources
    excluded_cases: tuple[str, ...] = ()
