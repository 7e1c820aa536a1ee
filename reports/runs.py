"""From a grid's manifest to its runs and their scores: what all tables and figures start from.

    planned_runs(results, manifest, place)   one row per planned run, finished or not
    reported_scores(results, runs)           every score of the finished ones
    with_means(runs, scores)                 the runs with the means over their cases
    run_cells(results, manifest, place)      all three

A table adds its coordinates (a `Place`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmark.results import CellRun, GridManifest, RunFolder
from benchmark.vocabulary import BenchError
from reports.measures import MEASURES, Measure, Measures

TEST_SPLIT = "test"
SCORES = [
    "run_id",
    "fold",
    "seed",
    "reading",
    "case_id",
    "patient",
    "region",
    "metric",
    "value",
    "checkpoint",
    "grid",
]


@dataclass(frozen=True)
class Place:
    """Where a run stands in a table: the names of its coordinates, and how a cell's factors give them.

    All coordinates are strings; `of` raises `BenchError` for factors that have no place in the table.
    """

    keys: tuple[str, ...]
    of: Callable[[Mapping[str, str]], Mapping[str, str]]


@dataclass(frozen=True)
class Scored:
    """What there are scores of: regions in the data set's order, and metrics."""

    regions: tuple[str, ...]
    metrics: frozenset[str]

    @property
    def named_regions(self) -> tuple[str, ...]:
        """The regions as measures name them: an empty name for the only one."""
        return self.regions if len(self.regions) > 1 else ("",)


def run_cells(
    results: Path,
    manifest: GridManifest,
    place: Place,
    *,
    measures: Measures = MEASURES,
    region: str | None = None,
) -> pd.DataFrame:
    """The `planned_runs` of a grid `with_means` of their scores."""
    runs = planned_runs(results, manifest, place)
    return with_means(runs, reported_scores(results, runs), measures=measures, region=region)


def current_runs(manifest: GridManifest) -> list[CellRun]:
    """One run per factors, fold and seed; where a grid was planned anew, the run planned last."""
    latest = {(tuple(sorted(run.factors.items())), run.fold, run.seed): run for run in manifest.cells}
    return list(latest.values())


def planned_runs(results: Path, manifest: GridManifest, place: Place) -> pd.DataFrame:
    """One row per cell, fold and seed of a grid, finished or not, in the order of the manifest.

    Columns: the coordinates, `fold`, `seed`, `run_id`, `reading`, `state`, and, of a run that failed,
    `failure` and `error` (else empty). Rows with the same `run_id` are readings of one training.
    """
    rows = []
    for run in current_runs(manifest):
        record = RunFolder(results, run.run_id).record()
        rows.append(
            {
                **place.of(run.factors),
                "fold": run.fold,
                "seed": run.seed,
                "run_id": run.run_id,
                "reading": run.reading,
                "state": record.state,
                "failure": record.failure or "",
                "error": record.error or "",
            }
        )
    facts = ["fold", "seed", "run_id", "reading", "state", "failure", "error"]
    return pd.DataFrame(rows, columns=[*place.keys, *facts])


def reported_scores(results: Path, runs: pd.DataFrame) -> pd.DataFrame:
    """The columns SCORES of the test part of all finished rows of `planned_runs`, each run and reading once.

    A case has no row for a region that its method cannot tell, nor for a metric that came later than the run.
    """
    frames = []
    for run_id, rows in runs[runs["state"] == "done"].groupby("run_id", sort=False):
        folder = RunFolder(results, str(run_id))
        frames.append(of_readings(_finished(folder), folder, readings=rows["reading"]))
    if not frames:
        return pd.DataFrame(columns=SCORES).astype({"value": "float64"})
    return pd.concat(frames, ignore_index=True)


def _finished(folder: RunFolder) -> pd.DataFrame:
    try:
        return folder.scores()
    except (OSError, ValueError) as error:
        raise BenchError(
            f"Run {folder.run_id} is done, but {folder.scores_file} cannot be read ({error}). "
            f"Remove {folder.path} and start the grid again."
        ) from error


def of_readings(scores: pd.DataFrame, folder: RunFolder, *, readings: Iterable[str]) -> pd.DataFrame:
    """Of a run's scores those on the test part with these readings; BenchError where one was not scored."""
    scores = scores.loc[scores["split"] == TEST_SPLIT, SCORES]
    known = sorted(scores["reading"].unique())
    wanted = list(dict.fromkeys(readings))
    if known and (unknown := [reading for reading in wanted if reading not in known]):
        raise BenchError(
            f"Run {folder.run_id} was not scored with the reading {unknown[0]!r}, only with {known}. "
            f"Remove {folder.path} and start the grid again."
        )
    return scores[scores["reading"].isin(wanted)]


def scored_in(scores: pd.DataFrame) -> Scored:
    """The regions and metrics of `reported_scores`.

    Regions in the order of the run that has most of them: a method that cannot tell all of them leaves some
    out.
    """
    by_run = [list(regions.unique()) for _, regions in scores.groupby("run_id", sort=False)["region"]]
    in_order = sorted(by_run, key=len, reverse=True)
    regions = dict.fromkeys(str(region) for regions in in_order for region in regions)
    return Scored(tuple(regions), frozenset(map(str, scores["metric"].unique())))


def with_means(
    runs: pd.DataFrame, scores: pd.DataFrame, *, measures: Measures = MEASURES, region: str | None = None
) -> pd.DataFrame:
    """The rows of `planned_runs` with the means over their cases.

    Further columns: `checkpoint`, `grid` and `n_cases`, and for every measure its key (the mean over the test
    cases for which it is defined; Dice as a fraction, volumes in ml, distances in mm), `<key>_defined` (over
    how many) and `<key>_scored` (how many have a row, defined or not). Rows that are not done have NaN and 0.
    `region`: of the measures that name none; it may be left out where there is only one.
    """
    means = {
        key: _means_over_cases(group, measures, region=region)
        for key, group in scores.groupby(["run_id", "reading"], sort=False)
    }
    empty: dict[str, object] = {"checkpoint": "", "grid": "", "n_cases": 0}
    for key in measures:
        empty |= {key: float("nan"), f"{key}_defined": 0, f"{key}_scored": 0}
    names = zip(runs["run_id"], runs["reading"], runs["state"], strict=True)
    rows = [
        means.get((run_id, reading), empty) if state == "done" else empty for run_id, reading, state in names
    ]
    return pd.concat([runs, pd.DataFrame(rows, columns=list(empty), index=runs.index)], axis="columns")


def _means_over_cases(scores: pd.DataFrame, measures: Measures, *, region: str | None) -> dict[str, object]:
    means: dict[str, object] = {
        "checkpoint": _joined(scores["checkpoint"]),
        "grid": _joined(scores["grid"]),
        "n_cases": scores["case_id"].nunique(),
    }
    for key, measure in measures.items():
        values = values_of(scores, measure if measure.region else measure.of(region or ""))
        means |= {key: float(values.mean())}
        means |= {f"{key}_defined": int(values.notna().sum()), f"{key}_scored": len(values)}
    return means


def values_of(scores: pd.DataFrame, measure: Measure) -> pd.Series:
    """A measure's values over the cases of one run and reading, as in the results."""
    if measure.region:
        scores = scores[scores["region"] == measure.region]
    elif len(regions := sorted(scores["region"].unique())) > 1:
        raise BenchError(
            f"Run {scores['run_id'].iloc[0]} has the regions {', '.join(regions)}; say which one the table shows."
        )
    return scores.loc[scores["metric"] == measure.metric, "value"]


def _joined(values: Iterable[str]) -> str:
    return ", ".join(sorted(set(values)))
