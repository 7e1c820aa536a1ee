"""How far a launch is: its cells and runs by state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from benchmark.results.manifests import GridManifest

STATES = ("done", "running", "pending", "failed", "unsupported")
"""In the order of the bar; what is `trained` or `pruned` by a search is pending in a grid."""


@dataclass(frozen=True)
class Coverage:
    """A launch in numbers: cells with all, with some and with none of their runs, and runs by state."""

    name: str
    grid: str
    dataset: str
    profile: str
    created: float
    n_cells: int
    n_whole: int
    n_partial: int
    states: Mapping[str, int]
    folds: tuple[int, ...]
    seeds: tuple[int, ...]

    @property
    def n_runs(self) -> int:
        return sum(self.states.values())


def coverage(manifest: GridManifest, planned: pd.DataFrame, keys: Sequence[str]) -> Coverage:
    """From the rows of `planned_runs`; a run that several cells are read from is counted once."""
    done = planned["state"].eq("done")
    shares = done.groupby([planned[key] for key in keys]).mean()
    runs = planned.drop_duplicates("run_id")
    states = runs["state"].where(runs["state"].isin(STATES), "pending")
    states = states.mask(runs["failure"] == "unsupported", "unsupported")
    counts = states.value_counts()
    return Coverage(
        name=manifest.name,
        grid=manifest.grid,
        dataset=manifest.dataset,
        profile=manifest.profile,
        created=manifest.created,
        n_cells=len(shares),
        n_whole=int((shares == 1).sum()),
        n_partial=int(((shares > 0) & (shares < 1)).sum()),
        states={state: int(counts.get(state, 0)) for state in STATES if counts.get(state, 0)},
        folds=tuple(sorted({int(fold) for fold in planned["fold"]})),
        seeds=tuple(sorted({int(seed) for seed in planned["seed"]})),
    )


@dataclass(frozen=True)
class Segment:
    """A part of a bar, in thousandths of its length."""

    state: str
    n: int
    start: float
    length: float


def bar(states: Mapping[str, int]) -> list[Segment]:
    """The states one after the other over a length of 1000."""
    total = sum(states.values())
    segments, start = [], 0.0
    for state, n in states.items():
        length = 1000 * n / total
        segments.append(Segment(state, n, start, length))
        start += length
    return segments
