"""From runs to the cells of a table: what all tables share.

    cells_frame(runs, cells, measure)   one row per cell, with its mean over folds and seeds
    behind(runs, manifest)              how many runs there are, and how they were made

Nothing here draws or formats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmark.results.manifests import GridManifest
from benchmark.vocabulary import BenchError
from reports.ground.measures import Measure
from reports.ground.runs import current_runs, damaged_runs
from reports.ground.words import counted

DECIMALS = "{:.2f}"
"""How every score is printed; what is equal in print is a tie."""


@dataclass(frozen=True)
class Progress:
    """How many cells have all their planned runs, some of them, or cannot have any."""

    n_cells: int
    n_done: int
    n_partial: int
    n_unsupported: int

    @property
    def finished(self) -> bool:
        return self.n_done + self.n_unsupported == self.n_cells


@dataclass(frozen=True)
class TableFacts:
    """What stands behind a table: how many runs there are, and how they were made.

    `states` counts the planned runs, each once, however many cells are read from it; those whose method
    cannot serve the data set are `unsupported`, not failed. Seeds, folds, checkpoint rules and scoring grids
    are those of the finished runs. `mixed`: what is to be said of runs that were not made alike; `damaged`: why runs
    cannot be read, which are counted as failed; `unsound`: which runs have scores that flatter, and why.
    """

    manifest: str
    dataset: str
    profile: str
    data_fingerprint: str
    states: Mapping[str, int]
    seeds: tuple[int, ...]
    folds: tuple[int, ...]
    checkpoints: tuple[str, ...]
    grids: tuple[str, ...]
    excluded_cases: tuple[str, ...]
    n_superseded: int
    mixed: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    unsound: tuple[str, ...] = ()

    @property
    def n_runs(self) -> int:
        return self.states.get("done", 0)

    @property
    def n_planned(self) -> int:
        return sum(self.states.values())


def cells_frame(runs: pd.DataFrame, cells: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    """One row per row of `cells`, whose columns are a table's keys, from the rows of `run_cells`.

    `value` is in the printed unit of the measure: the mean over cases within a run, then over folds, then
    over seeds; `std` is the sample standard deviation over the seeds' values (NaN for fewer than two).
    `n_runs` of `n_expected` runs are done, `n_unsupported` cannot be, since the method does not serve the
    data set. `n_undefined` of the finished have no case for which the metric is defined and do not enter the
    mean. `n_cases` counts each fold's test cases once, however many seeds there are; `n_scored` those that
    have a score, defined or not; `n_defined` those with a defined value; `n_missed` those whose whole structure was
    missed, the mean over seeds (NaN where that was not scored). Cells without a finished run have NaN and
    counts of 0.
    """
    keys = list(cells.columns)
    unsupported = runs["failure"].eq("unsupported")
    planned = (
        runs.assign(unsupported=unsupported)
        .groupby(keys, as_index=False)
        .agg(n_expected=("run_id", "size"), n_unsupported=("unsupported", "sum"))
    )
    done = runs[runs["state"] == "done"]
    values = _over_folds_then_seeds(done, keys, measure.key)
    frame = cells.merge(planned, how="left", on=keys).merge(values, how="left", on=keys)
    means = ["value", "std"]
    frame[means] = frame[means].astype(float) * measure.scale
    counts = ["n_runs", "n_expected", "n_unsupported", "n_undefined", "n_folds", "n_seeds"]
    counts += ["n_cases", "n_scored", "n_defined"]
    frame[counts] = frame[counts].astype(float).fillna(0).astype(int)
    return frame[[*keys, *means, *counts, "n_missed"]]


def _over_folds_then_seeds(runs: pd.DataFrame, keys: list[str], key: str) -> pd.DataFrame:
    """One row a cell that has finished runs."""
    by_seed = runs.groupby([*keys, "seed"])[key].mean().groupby(keys)
    counts = {"n_cases": "n_cases", "n_scored": f"{key}_scored", "n_defined": f"{key}_defined"}
    by_fold = runs.groupby([*keys, "fold"])[list(counts.values())].max().groupby(keys).sum()
    by_cell = runs.assign(undefined=runs[key].isna()).groupby(keys)
    columns = {
        "value": by_seed.mean(),
        "std": by_seed.std(ddof=1),
        "n_runs": by_cell.size(),
        "n_undefined": by_cell["undefined"].sum(),
        "n_folds": by_cell["fold"].nunique(),
        "n_seeds": by_cell["seed"].nunique(),
        **{name: by_fold[column] for name, column in counts.items()},
        "n_missed": runs.groupby([*keys, "seed"])[f"{key}_missed"].sum(min_count=1).groupby(keys).mean(),
    }
    return pd.DataFrame(columns).reset_index()


def behind(runs: pd.DataFrame, manifest: GridManifest) -> TableFacts:
    """The counts and conditions of a grid, for the notes under a table."""
    done = runs[runs["state"] == "done"]
    trainings = runs.drop_duplicates("run_id")
    states = trainings["state"].mask(trainings["failure"] == "unsupported", "unsupported")
    return TableFacts(
        manifest=manifest.name,
        dataset=manifest.dataset,
        profile=manifest.profile,
        data_fingerprint=manifest.data_fingerprint,
        states={str(state): int(count) for state, count in states.value_counts().items()},
        seeds=_distinct(done["seed"]),
        folds=_distinct(done["fold"]),
        checkpoints=tuple(sorted(set(done["checkpoint"]))),
        grids=tuple(sorted(set(done["grid"]))),
        excluded_cases=manifest.excluded_cases,
        n_superseded=len(manifest.cells) - len(current_runs(manifest)),
        damaged=tuple(damaged_runs(runs).values()),
    )


def _distinct(values: pd.Series) -> tuple[int, ...]:
    return tuple(sorted({int(value) for value in values}))


def require_finished(behind: TableFacts, *, grid: str, results: Path) -> None:
    """BenchError where there is not a single finished run to show."""
    if behind.n_runs == 0:
        raise BenchError(
            f"None of the {behind.n_planned} runs of {behind.manifest} in {results} has finished. See "
            f"`bench status`, go on with the same `bench run`, or print the published "
            "numbers with --source paper."
        )


def progress(frame: pd.DataFrame) -> Progress:
    """How far the cells of a `cells_frame`, or of a part of it, are done."""
    begun = frame["n_runs"].gt(0)
    whole = begun & frame["n_runs"].eq(frame["n_expected"])
    unsupported = frame["n_unsupported"].gt(0) & frame["n_unsupported"].eq(frame["n_expected"])
    return Progress(
        n_cells=len(frame),
        n_done=int(whole.sum()),
        n_partial=int((begun & ~whole).sum()),
        n_unsupported=int(unsupported.sum()),
    )


def best_mask(frame: pd.DataFrame, within: Sequence[str], *, higher_is_better: bool = True) -> pd.Series:
    """Which rows hold the best `value` of their group, as printed (two decimals): all of a tie, no NaN.

    None of a group without a difference: a number alone, or among its equals, is the best of nothing. Without columns
    in `within` the whole frame is one group.
    """
    shown = frame["value"].map(DECIMALS.format).astype(float)
    groups = [frame[column] for column in within] or [pd.Series(0, index=frame.index)]
    highest, lowest = (shown.groupby(groups).transform(end) for end in ("max", "min"))
    return shown.notna() & (shown == (highest if higher_is_better else lowest)) & (highest > lowest)


def no_best(values: pd.Series, *, noun: str) -> str:
    """Why none of these is the best: `one method alone has a number`."""
    known = values.dropna()
    if known.empty:
        return "none yet"
    if len(known) == 1:
        return f"none, one {noun} alone has a number"
    return f"none, all {counted(len(known), noun)} are equal in print"
