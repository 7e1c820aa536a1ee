"""Run orders on prepared data, as a launcher makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmark.config import Resources, run_config, run_id
from benchmark.datasets.pipeline import ReadyData
from benchmark.results.order import RunOrder


def order_of(
    settings: dict[str, Any], data: ReadyData, results: Path, *, root: Path = Path(), **resources: Any
) -> RunOrder:
    """An order for these settings, scored on the grid of the data, with one thread. `root`: the data set's folder."""
    config = run_config(settings, source="test")
    return RunOrder(
        results=results,
        run_id=run_id(config, data.fingerprint),
        config=config,
        root=root,
        store=data.store,
        scored_on=data.store,
        splits=data.splits,
        data_fingerprint=data.fingerprint,
        resources=Resources(threads=1, **resources),
    )
