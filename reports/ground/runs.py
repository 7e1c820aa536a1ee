"""From a grid's manifest to its runs and their scores: what all tables and figures start from.

    planned_runs(results, manifest, place)   one row per planned run, finished or not
    reported_scores(results, runs)           every score of the finished ones
    planned_and_scored(...)                  both, of whatever can be read: what cannot is a failed run
    with_means(runs, scores)                 the runs with the means over their cases
    run_cells(results, manifest, place)      all of these

A table adds its coordinates (a `Coordinates`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.files.places import DamagedFileError
from benchmark.notices import notice
from benchmark.results.manifests import CellRun, GridManifest
from benchmark.results.runs import DataPlaces, RunFolder, RunRecord
from benchmark.vocabulary import BenchError
from reports.ground.measures import MEASURES, Measure, Measures
from reports.ground.remembering import is_remembering, remembered
from reports.ground.score_files import (
    SCORES,
    SOURCE,
    TEST_SPLIT,
    codes_of,
    readable_scores,
    require_readings,
    sources_of,
)

SCORES_KEPT = "scores"
"""What the scores of many runs are remembered under."""
MISSED = "missed"
"""The metric that is 1 where a whole structure was missed."""


@dataclass(frozen=True)
class Coordinates:
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
    place: Coordinates,
    *,
    measures: Measures = MEASURES,
    region: str | None = None,
) -> pd.DataFrame:
    """The `planned_runs` of a grid `with_means` of their scores."""
    runs, scores = planned_and_scored(results, manifest, place)
    return with_means(runs, scores, measures=measures, region=region)


def current_runs(manifest: GridManifest) -> list[CellRun]:
    """One run per factors, fold and seed; where a grid was planned again, the run planned last."""
    latest = {(tuple(sorted(run.factors.items())), run.fold, run.seed): run for run in manifest.cells}
    return list(latest.values())


def planned_runs(results: Path, manifest: GridManifest, place: Coordinates) -> pd.DataFrame:
    """One row per cell, fold and seed of a grid, finished or not, in the order of the manifest.

    Columns: the coordinates, `fold`, `seed`, `run_id`, `reading`, `state`, and, of a run that failed,
    `failure` and `error` (else empty); one whose record cannot be read has failed, and is `damaged`. Rows with the
    same `run_id` are readings of one training.
    """
    key = ("runs", results, manifest.name, place.keys)
    return remembered(key, lambda: _planned_runs(results, manifest, place)).copy()


def seen(results: Path, run_id: str) -> RunRecord:
    """A run's record as `RunFolder.seen` gives it."""
    return remembered(("record", results, run_id), lambda: RunFolder(results, run_id).seen())


def config_of(results: Path, run_id: str) -> Mapping[str, Any]:
    """A run's configuration as `RunFolder.config` gives it; BenchError where it is damaged."""
    return remembered(("config", results, run_id), lambda: RunFolder(results, run_id).config())


def places_of(results: Path, run_id: str) -> DataPlaces:
    """Where a run's data lie, as `RunFolder.data` says; BenchError where its file is damaged."""
    return remembered(("places", results, run_id), lambda: RunFolder(results, run_id).data())


def _planned_runs(results: Path, manifest: GridManifest, place: Coordinates) -> pd.DataFrame:
    rows = []
    for run in current_runs(manifest):
        record = seen(results, run.run_id)
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


def reported_scores(
    results: Path, runs: pd.DataFrame, *, metrics: Collection[str] | None = None
) -> pd.DataFrame:
    """The columns SCORES of the test part of all finished rows of `planned_runs`, each run and reading once.

    Names are categories. A case has no row for a region that its method cannot tell, nor for a metric that
    came later than the run. `metrics`: only these, which spares memory.
    """
    scores, damaged = _readable(results, _readings(runs), metrics)
    for words in damaged.values():
        raise DamagedFileError(words)
    return scores


def planned_and_scored(
    results: Path, manifest: GridManifest, place: Coordinates, *, metrics: Collection[str] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`planned_runs` and their `reported_scores`. A run whose scores cannot be read or believed is said to be damaged,
    and is among the failed; it stops no other."""
    runs = planned_runs(results, manifest, place)
    readings = _readings(runs)
    scores, damaged = _readable(results, readings, metrics)
    for words in damaged.values():
        notice(words)
    return with_damaged(runs, damaged), scores


def with_damaged(runs: pd.DataFrame, damaged: Mapping[str, str]) -> pd.DataFrame:
    """The rows of `planned_runs` with these runs, by run why, among the failed."""
    rows = runs["run_id"].isin(list(damaged))
    if not rows.any():
        return runs
    changed = runs.copy()
    changed.loc[rows, ["state", "failure"]] = ["failed", "damaged"]
    changed.loc[rows, "error"] = changed.loc[rows, "run_id"].map(damaged)
    return changed


def damaged_runs(runs: pd.DataFrame) -> dict[str, str]:
    """By run why it cannot be read, from the rows of `planned_and_scored`."""
    rows = runs[runs["failure"] == "damaged"]
    return dict(zip(rows["run_id"], rows["error"], strict=True))


def _readings(runs: pd.DataFrame) -> dict[str, list[str]]:
    """Of the finished rows, the readings of each run."""
    done = runs[runs["state"] == "done"]
    readings: dict[str, list[str]] = {}
    for run_id, reading in zip(done["run_id"], done["reading"], strict=True):
        readings.setdefault(str(run_id), []).append(str(reading))
    return readings


def _readable(
    results: Path, readings: Mapping[str, list[str]], metrics: Collection[str] | None
) -> tuple[pd.DataFrame, Mapping[str, str]]:
    """The `readable_scores`. What is remembered has all metrics: a part of a file takes as long to read."""
    if not is_remembering():
        return readable_scores(results, readings, metrics=metrics)
    asked = tuple((run_id, tuple(of_run)) for run_id, of_run in readings.items())
    scores, damaged = remembered((SCORES_KEPT, results, asked), lambda: readable_scores(results, readings))
    if metrics is not None:
        scores = scores[scores["metric"].isin(list(metrics))].reset_index(drop=True)
    return scores, damaged


def of_readings(scores: pd.DataFrame, folder: RunFolder, *, readings: Iterable[str]) -> pd.DataFrame:
    """Of a run's scores those on the test part with these readings; BenchError where one was not scored."""
    scores = scores.loc[scores["split"] == TEST_SPLIT, SCORES]
    wanted = list(dict.fromkeys(readings))
    require_readings(folder, sorted(scores["reading"].unique()), wanted)
    return scores[scores["reading"].isin(wanted)]


def scored_in(scores: pd.DataFrame) -> Scored:
    """The regions and metrics of `reported_scores`.

    Regions in the order of the run that has most of them: a method that cannot tell all of them leaves some
    out.
    """
    runs, _ = codes_of(scores["run_id"])
    met = _distinct(runs, scores["region"])
    by_run = [list(regions) for _, regions in met.groupby("source", sort=False)["value"]]
    in_order = sorted(by_run, key=len, reverse=True)
    regions = dict.fromkeys(region for regions in in_order for region in regions)
    return Scored(tuple(regions), frozenset(map(str, scores["metric"].unique())))


def with_means(
    runs: pd.DataFrame, scores: pd.DataFrame, *, measures: Measures = MEASURES, region: str | None = None
) -> pd.DataFrame:
    """The rows of `planned_runs` with the means over their cases.

    Further columns: `checkpoint`, `grid` and `n_cases`, and for every measure its key (the mean over the test
    cases for which it is defined; Dice as a fraction, volumes in ml, distances in mm), `<key>_defined` (over
    how many), `<key>_scored` (how many have a row, defined or not) and `<key>_missed` (in how many the whole
    structure was missed; NaN where that was not scored). Rows that are not done have NaN and 0.
    `region`: of the measures that name none; it may be left out where there is only one.
    """
    sources, of_row = sources_of(scores)
    n = len(sources)
    means: dict[str, object] = {}
    for name in ("checkpoint", "grid"):
        means[name] = _joined(_distinct(of_row, scores[name]))
    means["n_cases"] = np.bincount(_distinct(of_row, scores["case_id"])["source"], minlength=n)
    for key, measure in measures.items():
        shown = measure if measure.region else measure.of(region or "")
        sums, n_defined, n_scored = _sums(scores, of_row, shown, n=n)
        means[key] = np.divide(sums, n_defined, out=np.full(n, np.nan), where=n_defined > 0)
        means[f"{key}_defined"], means[f"{key}_scored"] = n_defined, n_scored
        missed, _, told = _sums(scores, of_row, replace(shown, metric=MISSED), n=n)
        means[f"{key}_missed"] = np.where(told > 0, missed, np.nan)

    by_source = pd.DataFrame(means).set_index(pd.MultiIndex.from_frame(sources))
    of_run = by_source.reindex(pd.MultiIndex.from_frame(runs[SOURCE])).set_index(runs.index)
    of_run.loc[runs["state"] != "done"] = np.nan
    counts = ["n_cases", *(f"{key}_{kind}" for key in measures for kind in ("defined", "scored"))]
    of_run[counts] = of_run[counts].fillna(0).astype(int)
    of_run[["checkpoint", "grid"]] = of_run[["checkpoint", "grid"]].fillna("")
    return pd.concat([runs, of_run], axis="columns")


def _sums(
    scores: pd.DataFrame, of_row: np.ndarray, measure: Measure, *, n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[source]: the sum of the measure's values, how many are defined, and how many there are."""
    rows = _rows_of(scores, of_row, measure)
    values, source = scores["value"].to_numpy(dtype=float)[rows], of_row[rows]
    defined = ~np.isnan(values)
    return (
        np.bincount(source[defined], values[defined], minlength=n),
        np.bincount(source[defined], minlength=n),
        np.bincount(source, minlength=n),
    )


def _rows_of(scores: pd.DataFrame, of_row: np.ndarray, measure: Measure) -> np.ndarray:
    """Which rows are of a measure; BenchError where it names no region and a run has several."""
    rows = (scores["metric"] == measure.metric).to_numpy()
    if measure.region:
        return rows & (scores["region"] == measure.region).to_numpy()
    regions = _distinct(of_row, scores["region"])
    several = regions[regions["source"].duplicated(keep=False)]
    if not several.empty:
        source = several["source"].iloc[0]
        names = sorted(several.loc[several["source"] == source, "value"])
        run_id = scores["run_id"].iloc[int(np.argmax(of_row == source))]
        raise BenchError(f"Run {run_id} has the regions {', '.join(names)}; say which one the table shows.")
    return rows


def _distinct(of_row: np.ndarray, names: pd.Series) -> pd.DataFrame:
    """Which names each source has: its number as `source`, the name as `value`."""
    codes, values = codes_of(names)
    pairs = pd.unique(of_row * max(len(values), 1) + codes)
    return pd.DataFrame(
        {"source": pairs // max(len(values), 1), "value": values[pairs % max(len(values), 1)].astype(str)}
    )


def _joined(distinct: pd.DataFrame) -> pd.Series:
    """All names of every source, in one text."""
    names = distinct.drop_duplicates("source").set_index("source")["value"]
    several = distinct[distinct["source"].duplicated(keep=False)]
    if not several.empty:
        joined = several.groupby("source")["value"].agg(lambda values: ", ".join(sorted(values)))
        names.loc[joined.index] = joined
    return names.sort_index()
