"""The scores of single cases of all cells of a table in one array: what all statistics start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from benchmark.vocabulary import BenchError
from reports.ground.measures import Measure
from reports.ground.score_files import SOURCE, codes_of, sources_of


@dataclass(frozen=True, eq=False)
class CaseScores:
    """A measure of every test case, for every cell and seed of a table.

    `values` are in the measure's printed unit (percent, ml, mm). `cells` has the table's keys as strings, one row
    a cell; `cases` has `case_id`, `patient` and `fold`, one row a test case. NaN in `values`: undefined, or not
    scored; `scored` says where a run has a row for the case, defined or not. A case of two folds (repeated
    cross-validation) is two rows.
    """

    measure: Measure
    cells: pd.DataFrame
    cases: pd.DataFrame
    seeds: tuple[int, ...]
    values: np.ndarray
    scored: np.ndarray

    @property
    def n_cells(self) -> int:
        return len(self.cells)

    @cached_property
    def fold_cases(self) -> list[np.ndarray]:
        """The indices of the cases of each fold, folds in order."""
        folds = self.cases["fold"].to_numpy()
        return [np.flatnonzero(folds == fold) for fold in np.unique(folds)]

    @cached_property
    def patients(self) -> np.ndarray:
        """A number for every case's patient, 0 and up."""
        return pd.factorize(self.cases["patient"])[0]

    def case_values(self) -> np.ndarray:
        """[cell, case]: the mean over the seeds for which the case is defined."""
        return mean_of_defined(self.values, axis=2)

    def means(self) -> np.ndarray:
        """[cell]: the mean over cases within a fold and seed, then over folds, then over seeds.

        What is undefined is left out at each step, as in `cells_frame`, whose `value` this is.
        """
        by_fold = [mean_of_defined(self.values[:, cases], axis=1) for cases in self.fold_cases]
        if not by_fold:
            return np.full(self.n_cells, np.nan)
        by_seed = mean_of_defined(np.stack(by_fold), axis=0)
        return mean_of_defined(by_seed, axis=1)

    def index(self, **coordinates: str) -> int:
        """The row of the one cell that has these coordinates."""
        unknown = [key for key in coordinates if key not in self.cells]
        if unknown:
            raise BenchError(
                f"There is no coordinate {unknown[0]!r}; there are {', '.join(map(str, self.cells))}."
            )
        fits = np.ones(self.n_cells, dtype=bool)
        for key, value in coordinates.items():
            fits &= (self.cells[key] == value).to_numpy()
        found = np.flatnonzero(fits)
        if len(found) != 1:
            said = ", ".join(f"{key} {value!r}" for key, value in coordinates.items())
            raise BenchError(f"{len(found)} cells of the table have {said}; name exactly one.")
        return int(found[0])

    def of_cells(self, chosen: Sequence[int] | np.ndarray) -> CaseScores:
        """The scores of these cells alone, in this order."""
        rows = np.asarray(chosen, dtype=int)
        return replace(
            self,
            cells=self.cells.iloc[rows].reset_index(drop=True),
            values=self.values[rows],
            scored=self.scored[rows],
        )


def mean_of_defined(values: np.ndarray, *, axis: int) -> np.ndarray:
    """The mean over what is not NaN; NaN where nothing is left."""
    defined = ~np.isnan(values)
    counts = defined.sum(axis=axis)
    sums = np.where(defined, values, 0.0).sum(axis=axis)
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def case_scores(
    runs: pd.DataFrame,
    scores: pd.DataFrame,
    cells: pd.DataFrame,
    measure: Measure,
    *,
    region: str | None = None,
) -> CaseScores:
    """The scores of the finished rows of `planned_runs` in a measure, from `reported_scores`.

    `cells` has the table's keys as columns; cells without a finished run have NaN throughout. `region`: of a
    measure that names none; it may be left out where there is only one. Cases are sorted by fold and name.
    Raises `BenchError` where two finished runs claim the same cell, fold and seed.
    """
    measure = measure if measure.region else measure.of(region or "")
    done = _finished(runs, cells)
    seeds = tuple(sorted({int(seed) for seed in done["seed"]}))
    rows = scores.loc[_of_measure(scores, measure), [*SOURCE, "case_id", "patient", "value"]]

    # A source is a training and how its output was read.
    sources, of_row = sources_of(rows)
    places = done.merge(sources.assign(source=sources.index), how="inner", on=SOURCE)
    fold_of = np.full(len(sources), -1)
    fold_of[places["source"]] = places["fold"]
    used = fold_of[of_row] >= 0
    rows, of_row = rows[used], of_row[used]
    cases, case_of_row = _cases(rows, fold_of[of_row])

    values = np.full((len(cells), len(cases), len(seeds)), np.nan)
    scored = np.zeros(values.shape, dtype=bool)
    printed = rows["value"].to_numpy(dtype=float) * measure.scale
    # Cells that are configured alike share a training: each turn serves one cell of every training.
    for _, turn in places.groupby(places.groupby("source").cumcount()):
        cell_of = np.full(len(sources), -1)
        seed_of = np.full(len(sources), -1)
        cell_of[turn["source"]] = turn["cell"]
        seed_of[turn["source"]] = np.searchsorted(seeds, turn["seed"])
        here = cell_of[of_row] >= 0
        at = (cell_of[of_row[here]], case_of_row[here], seed_of[of_row[here]])
        values[at] = printed[here]
        scored[at] = True
    return CaseScores(measure, cells.reset_index(drop=True), cases, seeds, values, scored)


def _finished(runs: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """The finished runs of these cells: `run_id`, `reading`, `fold`, `seed`, and the row of `cells` as `cell`."""
    keys = list(cells.columns)
    numbered = cells.reset_index(drop=True).assign(cell=range(len(cells)))
    done = runs[runs["state"] == "done"].merge(numbered, how="inner", on=keys)
    twice = done[done.duplicated(["cell", "fold", "seed"], keep=False)]
    if not twice.empty:
        first, second = twice.sort_values(["cell", "fold", "seed"]).to_dict("records")[:2]
        named = ", ".join(f"{key} {first[key]}" for key in keys)
        raise BenchError(
            f"The runs {first['run_id']} and {second['run_id']} both claim the cell {named} in fold "
            f"{first['fold']} with seed {first['seed']}. Report grids apart that vary something else."
        )
    return done[["run_id", "reading", "fold", "seed", "cell"]].astype({"run_id": str, "reading": str})


def _of_measure(scores: pd.DataFrame, measure: Measure) -> np.ndarray:
    """Which rows are of the measure; BenchError where it names no region and there are several."""
    fits = (scores["metric"] == measure.metric).to_numpy()
    if measure.region:
        return fits & (scores["region"] == measure.region).to_numpy()
    regions = sorted(map(str, scores.loc[fits, "region"].unique()))
    if len(regions) > 1:
        raise BenchError(f"There are the regions {', '.join(regions)}; say which one the table shows.")
    return fits


def _cases(rows: pd.DataFrame, folds: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
    """The test cases, sorted by fold and name, and for every row the number of its case."""
    names, name_of = _codes(rows["case_id"])
    patients, patient_of = _codes(rows["patient"])
    case_of, keys = pd.factorize(folds * max(len(names), 1) + name_of, sort=True)
    first = np.empty(len(keys), dtype=np.int64)
    # Of several rows the last that is written: the first one.
    first[case_of[::-1]] = np.arange(len(case_of))[::-1]
    cases = pd.DataFrame(
        {
            "case_id": names[keys % max(len(names), 1)],
            "patient": patients[patient_of[first]],
            "fold": folds[first].astype(int),
        }
    )
    mixed = np.flatnonzero(patient_of != patient_of[first][case_of])
    if len(mixed):
        raise BenchError(
            f"Case {names[name_of[mixed[0]]]} belongs to different patients in different runs; statistics over "
            "patients are not possible. Were the runs made from different data?"
        )
    return cases, case_of


def _codes(column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """The names in alphabetical order, and for every row the number of its name."""
    codes, values = codes_of(column)
    names = np.asarray(values, dtype=str)
    order = np.argsort(names, kind="stable")
    rank = np.empty(len(names), dtype=np.int64)
    rank[order] = np.arange(len(names))
    return names[order], rank[codes]
