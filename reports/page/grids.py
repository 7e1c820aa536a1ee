"""What is shown of a launch: the cells of its table, their numbers, and the scores of single cases behind them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.results.manifests import GridManifest
from reports.evidence.comparable import why_not
from reports.ground.addressed import AddressedTable
from reports.ground.boxes import box_statistics
from reports.ground.frames import cells_frame
from reports.ground.layout import TableLayout
from reports.ground.measures import Measure, Measures, measures_of
from reports.ground.runs import Scored, planned_and_scored, scored_in, with_means
from reports.provenance.trace import Known
from reports.statistics.scores import CaseScores, case_scores
from reports.tables.registry import layout_of

CASE = ["case_id", "fold"]


@dataclass(frozen=True, eq=False)
class ShownGrid:
    """A launch as the page shows it.

    `cells` are the planned ones of the `table`, in its order, with a column `label`; `planned` are the
    `planned_runs`. `frames` are the `cells_frame` and `scores` the values of single cases by measure, all of
    the same `cases` (`case_id`, `patient`, `fold`).
    """

    manifest: GridManifest
    layout: TableLayout
    table: AddressedTable
    planned: pd.DataFrame
    cells: pd.DataFrame
    measures: Measures
    frames: Mapping[str, pd.DataFrame]
    cases: pd.DataFrame
    scores: Mapping[str, CaseScores]
    runs: pd.DataFrame = field(default_factory=pd.DataFrame)
    """The `planned` ones with their means."""
    apart: tuple[str, ...] = ()
    """Why published numbers must not stand beside own ones."""

    @property
    def keys(self) -> list[str]:
        return list(self.table.place.keys)

    @property
    def seeds(self) -> tuple[int, ...]:
        return next(iter(self.scores.values())).seeds if self.scores else ()

    def known(self) -> Known:
        """What was read of its cells already, for their traces."""
        values = {
            (tuple(map(str, coordinates)), key): (float(value), int(n_scored))
            for key, frame in self.frames.items()
            for *coordinates, value, n_scored in frame[[*self.keys, "value", "n_scored"]].itertuples(
                index=False, name=None
            )
        }
        return Known(self.runs, self.keys, values, self.apart)

    def address(self, cell: int) -> str:
        """The address of the cell's first number."""
        return self.table.address({str(k): str(v) for k, v in self.cells.iloc[cell].items()})


def shown_grid(results: Path, manifest: GridManifest) -> ShownGrid:
    """Read what a launch has; BenchError for a grid that has no table. Addresses name the launch."""
    layout = layout_of(manifest)
    planned, scores = planned_and_scored(results, manifest, layout.place)
    scored = scored_in(scores)
    table = layout.addressed(planned, scored).of_launch(manifest)
    keys = list(table.place.keys)
    cells = table.cells.merge(planned[keys].drop_duplicates(), on=keys).reset_index(drop=True)
    measures = scored_measures(table.measures, scored)
    runs = with_means(planned, scores, measures=measures)
    by_case = {key: case_scores(planned, scores, cells, measure) for key, measure in measures.items()}
    cases = all_cases(by_case.values())
    return ShownGrid(
        manifest=manifest,
        layout=layout,
        table=table,
        planned=planned,
        cells=cells.assign(label=[layout.label(cell) for cell in cells.to_dict("records")]),
        measures=measures,
        frames={key: cells_frame(runs, cells, measure) for key, measure in measures.items()},
        cases=cases,
        scores={key: on_cases(of_measure, cases) for key, of_measure in by_case.items()},
        runs=runs,
        apart=why_not(results, manifest, layout.publication),
    )


def scored_measures(measures: Measures, scored: Scored) -> Measures:
    """Of a table's measures those that there are scores of."""
    several = len(scored.regions) > 1
    return measures_of(
        *(
            measure
            for measure in measures.values()
            if measure.metric in scored.metrics
            and (measure.region in scored.regions if measure.region else not several)
        )
    )


def all_cases(scores: Iterable[CaseScores]) -> pd.DataFrame:
    """The cases that have a score in any measure, sorted by fold and name."""
    frames = [of_measure.cases for of_measure in scores]
    if not frames:
        return pd.DataFrame({"case_id": [], "patient": [], "fold": []})
    cases = pd.concat(frames, ignore_index=True).drop_duplicates(CASE)
    return cases.sort_values(["fold", "case_id"], ignore_index=True)


def on_cases(scores: CaseScores, cases: pd.DataFrame) -> CaseScores:
    """The scores with a place for each of these cases, not scored where the measure has none."""
    if scores.cases[CASE].equals(cases[CASE]):
        return scores
    places = pd.MultiIndex.from_frame(cases[CASE]).get_indexer(pd.MultiIndex.from_frame(scores.cases[CASE]))
    shape = (scores.n_cells, len(cases), len(scores.seeds))
    values, scored = np.full(shape, np.nan), np.zeros(shape, dtype=bool)
    values[:, places], scored[:, places] = scores.values, scores.scored
    return CaseScores(scores.measure, scores.cells, cases, scores.seeds, values, scored)


def _published(grid: ShownGrid, cell: Mapping[Any, Any]) -> dict[str, float]:
    """What was printed of a cell and may stand beside its number, by measure."""
    if grid.apart:
        return {}
    place = {key: str(cell[key]) for key in grid.keys}
    found = {key: grid.layout.published_number(place, measure) for key, measure in grid.measures.items()}
    return {key: number.value for key, number in found.items() if number is not None}


def case_boxes(scores: CaseScores) -> list[list[float] | None]:
    """For every cell low whisker, quartiles, high whisker and number of its cases (means over seeds); None
    without a defined one."""
    values = scores.case_values()
    points = pd.DataFrame(
        {"cell": np.repeat(np.arange(scores.n_cells), values.shape[1]), "value": values.ravel()}
    )
    found: list[list[float] | None] = [None] * scores.n_cells
    for box in box_statistics(points, ["cell"]).to_dict("records"):
        if box["n"]:
            found[int(box["cell"])] = [box[name] for name in ("low", "q1", "median", "q3", "high", "n")]
    return found


def described(measure: Measure) -> dict[str, object]:
    """A measure for the page's scripts."""
    return {
        "key": measure.key,
        "name": measure.name,
        "title": measure.title,
        "heading": measure.heading,
        "higher": measure.higher_is_better,
    }


def summary(grid: ShownGrid) -> dict[str, object]:
    """What the page knows of a launch before anything of it is opened: its cells, numbers and boxes."""
    boxes = {key: case_boxes(scores) for key, scores in grid.scores.items()}
    return {
        "name": grid.manifest.name,
        "grid": grid.manifest.grid,
        "table": grid.table.name,
        "seeds": list(grid.seeds),
        "measures": [described(measure) for measure in grid.measures.values()],
        "cells": [
            {
                "address": grid.address(index),
                "label": cell["label"],
                "values": {key: frame["value"].iloc[index] for key, frame in grid.frames.items()},
                "published": _published(grid, cell),
                "boxes": {key: boxes[key][index] for key in boxes},
            }
            for index, cell in enumerate(grid.cells.to_dict("records"))
        ],
    }
