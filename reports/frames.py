"""From finished runs to the cells of a table: what all tables share.

    run_cells(results, manifest, place)   one row per planned run of a grid, with its means over cases
    cells_frame(runs, cells, metric)      one row per cell, with its mean over folds and seeds
    behind(runs, manifest)                how many runs there are, and how they were made
    published(table)                      the numbers the paper prints

Nothing here draws or formats. A table adds its coordinates (a `Place`) and the order of its cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmark.results import CellRun, GridManifest, RunFolder
from benchmark.vocabulary import BenchError

PUBLISHED = Path(__file__).parent / "published"
PUBLISHED_TABLES = (2, 3, 4, 5)
TEST_SPLIT = "test"
DECIMALS = "{:.2f}"
"""How every score is printed; what is equal in print is a tie."""


@dataclass(frozen=True)
class Measure:
    """How a metric of the results is printed: `value * scale`, two decimals, best is highest or lowest.

    `printed_as` is its column in the published tables of methods.
    """

    metric: str
    title: str
    scale: float
    higher_is_better: bool
    printed_as: str

    @property
    def name(self) -> str:
        """The title without its unit."""
        return self.title.split(" [")[0]


MEASURES = {
    "dice": Measure("dice", "Dice [%]", 100.0, True, "dice"),
    "fpv_ml": Measure("fpv_ml", "FPV [ml]", 1.0, False, "fpv"),
    "fnv_ml": Measure("fnv_ml", "FNV [ml]", 1.0, False, "fnv"),
}


@dataclass(frozen=True)
class Place:
    """Where a run stands in a table: the names of its coordinates, and how a cell's factors give them.

    All coordinates are strings; `of` raises `BenchError` for factors that have no place in the table.
    """

    keys: tuple[str, ...]
    of: Callable[[Mapping[str, str]], Mapping[str, str]]


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
class Behind:
    """What stands behind a table: how many runs there are, and how they were made.

    `states` counts the planned runs, each once, however many cells are read from it; those whose method cannot
    serve the data set are `unsupported`, not failed. Seeds, folds, checkpoint rules and scoring grids are those
    of the finished runs.
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

    @property
    def n_runs(self) -> int:
        return self.states.get("done", 0)

    @property
    def n_planned(self) -> int:
        return sum(self.states.values())


def published(table: int) -> pd.DataFrame:
    """A table of the paper as printed (percent, ml); the columns are in `published/README.md`."""
    if table not in PUBLISHED_TABLES:
        known = ", ".join(map(str, PUBLISHED_TABLES))
        raise BenchError(
            f"There are no published numbers of Table {table}; there are those of the tables {known}."
        )
    # Levels such as 0.10 and layers such as 5 are names, not numbers.
    return pd.read_csv(PUBLISHED / f"table{table}.csv", dtype={"level": str, "shared_layers": str})


def current_runs(manifest: GridManifest) -> list[CellRun]:
    """One run per factors, fold and seed; where a grid was planned anew, the run planned last."""
    latest = {(tuple(sorted(run.factors.items())), run.fold, run.seed): run for run in manifest.cells}
    return list(latest.values())


def run_cells(
    results: Path, manifest: GridManifest, place: Place, *, region: str | None = None
) -> pd.DataFrame:
    """One row per cell, fold and seed of a grid, finished or not, in the order of the manifest.

    Columns: the keys of `place`, `fold`, `seed`, `run_id`, `reading`, `state`, `failure`, `error`, `checkpoint`,
    `grid`, `n_cases`, and for every metric m of `MEASURES` the columns `m` (mean over the test cases for which it is
    defined; Dice as a fraction, volumes in ml) and `m_defined` (over how many). Rows that are not done have NaN and
    0. Rows with the same `run_id` are readings of one training. `region` may be left out where there is only one.
    """
    rows = []
    for run in current_runs(manifest):
        folder = RunFolder(results, run.run_id)
        record = folder.record()
        row: dict[str, object] = {
            **place.of(run.factors),
            "fold": run.fold,
            "seed": run.seed,
            "run_id": run.run_id,
            "reading": run.reading,
            "state": record.state,
            "failure": record.failure or "",
            "error": record.error or "",
            "checkpoint": "",
            "grid": "",
            "n_cases": 0,
        }
        for metric in MEASURES:
            row |= {metric: float("nan"), f"{metric}_defined": 0}
        if record.state == "done":
            row |= _means_over_cases(_test_scores(folder, reading=run.reading, region=region))
        rows.append(row)
    facts = [
        "fold",
        "seed",
        "run_id",
        "reading",
        "state",
        "failure",
        "error",
        "checkpoint",
        "grid",
        "n_cases",
    ]
    metrics = [column for metric in MEASURES for column in (metric, f"{metric}_defined")]
    return pd.DataFrame(rows, columns=[*place.keys, *facts, *metrics])


def _test_scores(folder: RunFolder, *, reading: str, region: str | None) -> pd.DataFrame:
    try:
        scores = folder.scores()
    except (OSError, ValueError) as error:
        raise BenchError(
            f"Run {folder.run_id} is done, but {folder.scores_file} cannot be read ({error}). "
            f"Remove {folder.path} and start the grid again."
        ) from error
    scores = scores[scores["split"] == TEST_SPLIT]
    readings = sorted(scores["reading"].unique())
    if readings and reading not in readings:
        raise BenchError(
            f"Run {folder.run_id} was not scored with the reading {reading!r}, only with {readings}. "
            f"Remove {folder.path} and start the grid again."
        )
    scores = scores[scores["reading"] == reading]
    regions = sorted(scores["region"].unique())
    if region is None and len(regions) > 1:
        raise BenchError(
            f"Run {folder.run_id} has the regions {', '.join(regions)}; say which one the table shows."
        )
    return scores if region is None else scores[scores["region"] == region]


def _means_over_cases(scores: pd.DataFrame) -> dict[str, object]:
    means: dict[str, object] = {
        "n_cases": scores["case_id"].nunique(),
        "checkpoint": _joined(scores["checkpoint"]),
        "grid": _joined(scores["grid"]),
    }
    for metric in MEASURES:
        values = scores.loc[scores["metric"] == metric, "value"]
        means |= {metric: float(values.mean()), f"{metric}_defined": int(values.notna().sum())}
    return means


def _joined(values: Iterable[str]) -> str:
    return ", ".join(sorted(set(values)))


def cells_frame(runs: pd.DataFrame, cells: pd.DataFrame, *, metric: str) -> pd.DataFrame:
    """One row per row of `cells`, whose columns are a table's keys, from the rows of `run_cells`.

    `value` is in the printed unit of `MEASURES[metric]`: the mean over cases within a run, then over folds,
    then over seeds; `std` is the sample standard deviation over the seeds' values (NaN for fewer than two).
    `n_runs` of `n_expected` runs are done, `n_unsupported` cannot be, since the method does not serve the data set.
    `n_undefined` of the finished have no case for which the metric is defined and do not enter the mean. `n_cases`
    counts each fold's test cases once, however many seeds there are; `n_defined` those with a defined value. Cells
    without a finished run have NaN and counts of 0.
    """
    keys = list(cells.columns)
    unsupported = runs["failure"].eq("unsupported")
    planned = (
        runs.assign(unsupported=unsupported)
        .groupby(keys, as_index=False)
        .agg(n_expected=("run_id", "size"), n_unsupported=("unsupported", "sum"))
    )
    rows = [
        {**dict(zip(keys, key, strict=True)), **_over_folds_then_seeds(group, metric)}
        for key, group in runs[runs["state"] == "done"].groupby(keys)
    ]
    means = ["value", "std"]
    counts = ["n_runs", "n_undefined", "n_folds", "n_seeds", "n_cases", "n_defined"]
    values = pd.DataFrame(rows, columns=[*keys, *means, *counts]).astype(dict.fromkeys(keys, str))
    frame = cells.merge(planned, how="left", on=keys).merge(values, how="left", on=keys)
    frame[means] = frame[means].astype(float) * MEASURES[metric].scale
    counts = ["n_runs", "n_expected", "n_unsupported", *counts[1:]]
    frame[counts] = frame[counts].astype(float).fillna(0).astype(int)
    return frame[[*keys, *means, *counts]]


def _over_folds_then_seeds(runs: pd.DataFrame, metric: str) -> dict[str, float]:
    by_seed = runs.groupby("seed")[metric].mean()
    by_fold = runs.groupby("fold")[["n_cases", f"{metric}_defined"]].max().sum()
    return {
        "value": float(by_seed.mean()),
        "std": float(by_seed.std(ddof=1)),
        "n_runs": len(runs),
        "n_undefined": int(runs[metric].isna().sum()),
        "n_folds": runs["fold"].nunique(),
        "n_seeds": runs["seed"].nunique(),
        "n_cases": int(by_fold["n_cases"]),
        "n_defined": int(by_fold[f"{metric}_defined"]),
    }


def behind(runs: pd.DataFrame, manifest: GridManifest) -> Behind:
    """The counts and conditions of a grid, for the notes under a table."""
    done = runs[runs["state"] == "done"]
    trainings = runs.drop_duplicates("run_id")
    states = trainings["state"].mask(trainings["failure"] == "unsupported", "unsupported")
    return Behind(
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
    )


def _distinct(values: pd.Series) -> tuple[int, ...]:
    return tuple(sorted({int(value) for value in values}))


def require_finished(behind: Behind, *, grid: str, results: Path) -> None:
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

    Without columns in `within` the whole frame is one group.
    """
    shown = frame["value"].map(DECIMALS.format).astype(float)
    groups = [frame[column] for column in within] or [pd.Series(0, index=frame.index)]
    best = shown.groupby(groups).transform("max" if higher_is_better else "min")
    return shown.notna() & (shown == best)
