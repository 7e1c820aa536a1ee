"""What a launcher hands to a worker process. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmark.config import Resources, RunConfig


@dataclass(frozen=True)
class RunOrder:
    """Everything a worker needs to execute one run. `store` and `splits` are what `ready_data` returned."""

    results: Path
    run_id: str
    config: RunConfig
    store: Path
    splits: Path
    data_fingerprint: str
    resources: Resources
    excluded_cases: tuple[str, ...] = ()
