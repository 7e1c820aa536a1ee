"""Own runs as a source: means over cases, folds and seeds, with the patients behind them resampled and paired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from benchmark.results import GridManifest, manifests
from benchmark.vocabulary import BenchError
from reports.claims.findings import EveryCase, Finding, SourceName, held, margin_of
from reports.claims.tables import OF_ONE_REGION, Cell, Table, full_coordinates, own_table, paper_tables
from reports.claims.tree import Comparison, Mean, Operand, value_of
from reports.comparison.frames import PLACE as METHODS
from reports.runs import Place, Scored, planned_runs, reported_scores, scored_in
from reports.statistics.paired import rank_biserial, signed_rank_p
from reports.statistics.resampling import Resampled, resampled_means
from reports.statistics.scores import CaseScores, case_scores
from reports.table2.frames import PLACE as TABLE2

ROUNDING = 1e-9
"""Means that differ by less are equal."""
RESAMPLES = 2000


@dataclass(eq=False)
class Launch:
    """One launch of a grid: its runs, their scores, and the statistics of every measure once they are asked for."""

    results: Path
    manifest: GridManifest
    place: Place
    resamples: int
    _scores: dict[str, CaseScores | str] = field(default_factory=dict)
    _means: dict[str, np.ndarray] = field(default_factory=dict)
    _resampled: dict[str, Resampled] = field(default_factory=dict)

    @cached_property
    def planned(self) -> pd.DataFrame:
        return planned_runs(self.results, self.manifest, self.place)

    @cached_property
    def all_scores(self) -> pd.DataFrame:
        return reported_scores(self.results, self.planned)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """The coordinates of the planned cells, one row each."""
        return self.planned[list(self.place.keys)].drop_duplicates().reset_index(drop=True)

    @cached_property
    def table(self) -> Table:
        scored: Scored = scored_in(self.all_scores)
        regions = scored.named_regions if scored.regions else ("",)
        measures = [measure.of(region) for region in regions for measure in OF_ONE_REGION]
        return own_table(self.manifest.grid, self.cells, measures)

    def scores(self, measure: str) -> CaseScores | str:
        """The scores of a measure, or why there are none."""
        if measure not in self._scores:
            try:
                found: CaseScores | str = case_scores(
                    self.planned, self.all_scores, self.cells, self.table.measures[measure]
                )
            except BenchError as error:
                found = str(error)
            self._scores[measure] = found
        return self._scores[measure]

    def means(self, measure: str) -> np.ndarray:
        """[cell]: what the table prints."""
        if measure not in self._means:
            scores = self.scores(measure)
            assert isinstance(scores, CaseScores)
            self._means[measure] = scores.means()
        return self._means[measure]

    def resampled(self, measure: str) -> Resampled:
        if measure not in self._resampled:
            scores = self.scores(measure)
            assert isinstance(scores, CaseScores)
            self._resampled[measure] = resampled_means(scores, n=self.resamples)
        return self._resampled[measure]

    @cached_property
    def _rows(self) -> dict[tuple[str, ...], int]:
        """The row of `cells` of every place of the table."""
        keys = list(self.place.keys)
        rows = {tuple(map(str, row)): n for n, row in enumerate(self.cells[keys].itertuples(index=False))}
        found = {}
        for place in self.table.all_places():
            named = full_coordinates(self.table, place)
            row = rows.get(tuple(named[key] for key in keys))
            if row is not None:
                found[place] = row
        return found

    @cached_property
    def _unfinished(self) -> dict[int, str]:
        """Why a planned cell has no number that could be compared, by its row."""
        keys = list(self.place.keys)
        numbered = self.planned.merge(self.cells.assign(row=range(len(self.cells))), on=keys)
        reasons = {}
        for row, runs in numbered.groupby("row"):
            done = int((runs["state"] == "done").sum())
            if done < len(runs):
                states = runs.loc[runs["state"] != "done", "state"]
                states = states.mask(runs["failure"] == "unsupported", "unsupported")
                counts = ", ".join(f"{count} {state}" for state, count in states.value_counts().items())
                reasons[int(str(row))] = f"{done} of {len(runs)} runs done ({counts})"
        return reasons

    def missing(self, cell: Cell) -> str:
        """Why a cell has no number; empty where it has one."""
        row = self._rows.get(cell.coordinates)
        if row is None:
            return f"not a cell of {self.manifest.name}"
        if row in self._unfinished:
            return self._unfinished[row]
        scores = self.scores(cell.measure)
        if isinstance(scores, str):
            return scores
        if not scores.scored[row].any():
            return f"not scored in {scores.measure.name}"
        return "" if not np.isnan(self.means(cell.measure)[row]) else f"no case with a defined {scores.measure.name}"

    def rows(self, operand: Operand) -> list[int]:
        return [self._rows[cell.coordinates] for cell in operand.cells]

    def trainings(self, cell: Cell) -> set[tuple[int, int, str]]:
        """Fold, seed and run of a cell's trainings."""
        named = full_coordinates(self.table, cell.coordinates)
        fits = (self.planned[list(named)] == pd.Series(named)).all(axis="columns")
        return set(self.planned.loc[fits, ["fold", "seed", "run_id"]].itertuples(index=False, name=None))


class OwnNumbers:
    """The newest launches of all grids in a results folder that `manifest`, `profile` and `dataset` allow."""

    def __init__(
        self,
        results: Path,
        *,
        manifest: str | None = None,
        profile: str | None = None,
        dataset: str | None = None,
        resamples: int = RESAMPLES,
    ) -> None:
        wanted = {"name": manifest, "profile": profile, "dataset": dataset}
        asked = {key: value for key, value in wanted.items() if value is not None}
        self.launches: dict[str, Launch] = {}
        for found in manifests(results):
            fits = all(getattr(found, key) == value for key, value in asked.items())
            place = _place_of(found)
            if fits and place is not None and found.grid not in self.launches:
                self.launches[found.grid] = Launch(results, found, place, resamples)

    @property
    def name(self) -> SourceName:
        return "runs"

    def grids(self) -> Sequence[str]:
        return tuple(dict.fromkeys((*paper_tables(), *self.launches)))

    def table(self, grid: str) -> Table | None:
        """The grid as it was launched, or the paper's table where it was not."""
        return self.launches[grid].table if grid in self.launches else paper_tables().get(grid)

    def value(self, table: Table, operand: Operand) -> float:
        launch = self.launches.get(table.grid)
        if launch is None or any(launch.missing(cell) for cell in operand.cells):
            return float("nan")
        return float(value_of(operand, launch.means(operand.cells[0].measure)[launch.rows(operand)]))

    def finding(self, table: Table, comparison: Comparison) -> Finding:
        left, right = (self.value(table, side) for side in (comparison.left, comparison.right))
        margin = margin_of(comparison, left, right)
        reasons = {cell: self._missing(table, cell) for cell in comparison.cells}
        missing = tuple(f"{table.address(cell)}: {why}" for cell, why in reasons.items() if why)
        plain = Finding(
            comparison, left, right, margin, held(comparison, margin, tie=ROUNDING), missing=missing
        )
        return plain if missing else _with_statistics(plain, self.launches[table.grid])

    def _missing(self, table: Table, cell: Cell) -> str:
        launch = self.launches.get(table.grid)
        return f"no runs of {table.grid}" if launch is None else launch.missing(cell)

    def every_case(self, table: Table, comparison: Comparison) -> EveryCase | str | None:
        missing = [why for cell in comparison.cells if (why := self._missing(table, cell))]
        if missing:
            return missing[0]
        launch = self.launches[table.grid]
        trainings = {frozenset(launch.trainings(cell)) for cell in comparison.cells}
        if len(trainings) > 1:
            return "the rows are not read from the same trainings"
        scores = launch.scores(comparison.measure)
        assert isinstance(scores, CaseScores)
        left, right = (
            value_of(side, np.moveaxis(scores.values[launch.rows(side)], 0, -1))
            for side in (comparison.left, comparison.right)
        )
        margins = comparison.sign * (left - right) - comparison.threshold
        broken = margins < (ROUNDING if comparison.strict else -ROUNDING)
        first = str(scores.cases["case_id"].iloc[np.argwhere(broken)[0][0]]) if broken.any() else ""
        return EveryCase(int((~np.isnan(margins)).sum()), int(broken.sum()), first)


def _place_of(manifest: GridManifest) -> Place | None:
    """How its cells stand in a table; None where claims cannot speak of them."""
    for place in (METHODS, TABLE2):
        try:
            for cell in manifest.cells:
                place.of(cell.factors)
        except BenchError:
            continue
        return place
    return None


def _with_statistics(plain: Finding, launch: Launch) -> Finding:
    """The finding with interval and p.

    By the mean: Student's t of the margin over its bootstrap standard error, as many degrees of freedom as patients
    less folds. By the ranks: Wilcoxon's signed-rank test over patients. Each p is the larger of the two, since the
    claim is of means, whose test alone trusts a few outlying patients; the ranks alone say nothing of the mean.
    A spread has no value for a patient, and is tested by its bootstrap error alone.
    """
    comparison = plain.comparison
    scores, resampled = launch.scores(comparison.measure), launch.resampled(comparison.measure)
    assert isinstance(scores, CaseScores)
    left, right = (
        value_of(side, resampled.means[:, launch.rows(side)]) for side in (comparison.left, comparison.right)
    )
    margins = comparison.sign * (left - right) - comparison.threshold
    freedom = resampled.draws.n_patients - resampled.draws.n_folds
    by_mean = _t_test(plain.margin, margins, freedom)
    by_ranks, n_patients = (0.0, 0.0), resampled.draws.n_patients
    if isinstance(comparison.left, Mean) and isinstance(comparison.right, Mean):
        patients = _patient_margins(comparison, launch, scores)
        by_ranks, n_patients = _signed_ranks(patients), len(patients)
    return Finding(
        comparison,
        plain.left,
        plain.right,
        plain.margin,
        plain.holds,
        interval=resampled.interval(margins),
        p_holds=max(by_mean[0], by_ranks[0]),
        p_fails=max(by_mean[1], by_ranks[1]),
        resampled=margins,
        n_patients=n_patients,
    )


def _t_test(margin: float, resampled: np.ndarray, freedom: int) -> tuple[float, float]:
    """One-sided p that the margin is above 0, and below; 1 and 1 where it cannot be said."""
    if np.isnan(resampled).any() or freedom < 1:
        return 1.0, 1.0
    error = float(resampled.std(ddof=1))
    if error <= ROUNDING:
        return (0.0, 1.0) if margin > ROUNDING else (1.0, 0.0) if margin < -ROUNDING else (1.0, 1.0)
    return float(stats.t.sf(margin / error, freedom)), float(stats.t.cdf(margin / error, freedom))


def _signed_ranks(patients: np.ndarray) -> tuple[float, float]:
    """One-sided p of the signed-rank test, by the side on which the ranks are."""
    p = signed_rank_p(patients)
    if np.isnan(p):
        return 1.0, 1.0
    side = rank_biserial(patients)
    if side == 0 or np.isnan(side):
        return 1.0, 1.0
    return (p / 2, 1 - p / 2) if side > 0 else (1 - p / 2, p / 2)


def _patient_margins(comparison: Comparison, launch: Launch, scores: CaseScores) -> np.ndarray:
    """[patient]: the mean margin over a patient's cases, each of them the mean over seeds."""
    by_case = scores.case_values()
    left, right = (
        value_of(side, by_case[launch.rows(side)].T) for side in (comparison.left, comparison.right)
    )
    margins = comparison.sign * (left - right) - comparison.threshold
    known = ~np.isnan(margins)
    _, patient_of = np.unique(scores.patients[known], return_inverse=True)
    means = np.bincount(patient_of, margins[known]) / np.bincount(patient_of)
    return np.asarray(means.round(9) + 0.0)
