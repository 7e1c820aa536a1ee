"""Own runs as a source: means over cases, folds and seeds, with the patients behind them resampled and paired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.results.manifests import GridManifest, manifests
from benchmark.vocabulary import BenchError
from reports.claims.findings import EveryCase, Finding, SourceName, held, margin_of
from reports.claims.tables import Cell, Table, own_table, paper_tables
from reports.claims.testing import ROUNDING, tested
from reports.claims.tree import Comparison, Operand, value_of
from reports.evidence.mixing import Mixed, conditions, mixed, refusal
from reports.evidence.unsound import unsound_notes
from reports.ground.addressed import measured
from reports.ground.launches import SEARCH, shown_of
from reports.ground.layout import TableLayout
from reports.ground.runs import Scored, planned_and_scored, scored_in, with_means
from reports.statistics.resampling import Resampled, resampled_means
from reports.statistics.scores import CaseScores, case_scores
from reports.tables.registry import layout_of

RESAMPLES = 2000


@dataclass(eq=False)
class Launch:
    """One launch of a grid: its runs, their scores, and the statistics of every measure once they are asked for."""

    results: Path
    manifest: GridManifest
    layout: TableLayout
    resamples: int
    _scores: dict[str, CaseScores | str] = field(default_factory=dict)
    _means: dict[str, np.ndarray] = field(default_factory=dict)
    _resampled: dict[str, Resampled] = field(default_factory=dict)

    @cached_property
    def _read(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        return planned_and_scored(self.results, self.manifest, self.layout.place)

    @property
    def planned(self) -> pd.DataFrame:
        return self._read[0]

    @property
    def all_scores(self) -> pd.DataFrame:
        return self._read[1]

    @cached_property
    def mixed(self) -> tuple[Mixed, ...]:
        """In what its runs were not made alike."""
        return mixed(conditions(self.results, with_means(self.planned, self.all_scores, measures={})))

    @cached_property
    def refusal(self) -> str:
        """Why its runs must not be compared with one another, as its table says; empty where they may."""
        unsound = unsound_notes(self.results, self.planned)
        return refusal(self.mixed, self.manifest.name) or (unsound[0] if unsound else "")

    @cached_property
    def cells(self) -> pd.DataFrame:
        """The coordinates of the planned cells, one row each."""
        return self.planned[list(self.layout.place.keys)].drop_duplicates().reset_index(drop=True)

    @cached_property
    def table(self) -> Table:
        scored: Scored = scored_in(self.all_scores)
        regions = scored.named_regions if scored.regions else ("",)
        return own_table(self.layout, self.cells, measured(regions).values())

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
        axes = list(self.table.axes)
        rows = {tuple(map(str, row)): n for n, row in enumerate(self.cells[axes].itertuples(index=False))}
        return {place: rows[place] for place in self.table.all_places() if place in rows}

    @cached_property
    def _unfinished(self) -> dict[int, str]:
        """Why a planned cell has no number that could be compared, by its row."""
        keys = list(self.layout.place.keys)
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
        """Why a cell has no number that may be compared; empty where it has one."""
        if self.refusal:
            return f"{self.manifest.name} mixes runs that are not comparable"
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
        return (
            ""
            if not np.isnan(self.means(cell.measure)[row])
            else f"no case with a defined {scores.measure.name}"
        )

    def rows(self, operand: Operand) -> list[int]:
        return [self._rows[cell.coordinates] for cell in operand.cells]

    def trainings(self, cell: Cell) -> set[tuple[int, int, str]]:
        """Fold, seed and run of a cell's trainings."""
        named = dict(zip(self.table.axes, cell.coordinates, strict=True))
        fits = (self.planned[list(named)] == pd.Series(named)).all(axis="columns")
        return set(self.planned.loc[fits, ["fold", "seed", "run_id"]].itertuples(index=False, name=None))

    def with_statistics(self, plain: Sequence[Finding]) -> list[Finding]:
        """Findings about one measure, whose cells all have numbers, with intervals and p."""
        measure = plain[0].comparison.measure
        scores = self.scores(measure)
        assert isinstance(scores, CaseScores)
        comparisons = [one.comparison for one in plain]
        sides = dict.fromkeys(side for one in comparisons for side in (one.left, one.right))
        statistics = tested(
            comparisons,
            np.array([one.margin for one in plain]),
            scores=scores,
            resampled=self.resampled(measure),
            rows={side: self.rows(side) for side in sides},
        )
        return [replace(one, **vars(more)) for one, more in zip(plain, statistics, strict=True)]


class OwnNumbers:
    """A launch of every grid in a results folder: of those that `manifest`, `profile` and `dataset` allow the newest
    with a finished run, or, where none has one, the newest."""

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
        fitting: dict[str, list[GridManifest]] = {}
        for found in manifests(results):
            fits = all(getattr(found, key) == value for key, value in asked.items())
            if fits and not found.grid.startswith(SEARCH):
                fitting.setdefault(found.grid, []).append(found)
        for grid, launches in fitting.items():
            shown = shown_of(results, launches)
            self.launches[grid] = Launch(results, shown, layout_of(shown), resamples)

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

    def findings(self, table: Table, comparisons: Sequence[Comparison]) -> list[Finding]:
        plain = [self._plain(table, comparison) for comparison in comparisons]
        launch = self.launches.get(table.grid)
        found: dict[Comparison, Finding] = {}
        for measure in dict.fromkeys(one.comparison.measure for one in plain if not one.missing):
            assert launch is not None
            of_measure = [one for one in plain if not one.missing and one.comparison.measure == measure]
            found |= {one.comparison: one for one in launch.with_statistics(of_measure)}
        return [found.get(one.comparison, one) for one in plain]

    def _plain(self, table: Table, comparison: Comparison) -> Finding:
        left, right = (self.value(table, side) for side in (comparison.left, comparison.right))
        margin = margin_of(comparison, left, right)
        reasons = {cell: self._missing(table, cell) for cell in comparison.cells}
        missing = tuple(f"{table.address(cell)}: {why}" for cell, why in reasons.items() if why)
        return Finding(
            comparison, left, right, margin, held(comparison, margin, tie=ROUNDING), missing=missing
        )

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
        least = ROUNDING if comparison.strict else -ROUNDING
        cases = list(zip(scores.cases["fold"], scores.cases["case_id"].astype(str), strict=True))
        return {
            (int(cases[case][0]), cases[case][1], scores.seeds[seed]): bool(margins[case, seed] >= least)
            for case, seed in np.argwhere(~np.isnan(margins))
        }
