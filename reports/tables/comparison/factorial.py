"""A grid of several factors: its cells with the first factor across, and what each factor contributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd

from reports.ground.addresses import address_of_cells
from reports.ground.cells import side_by_side, titled, unfinished, value_cell
from reports.ground.measures import Measure
from reports.ground.notes import MISSING, Frames
from reports.ground.printing import PrintedTable, Row, Span
from reports.ground.words import enumerated
from reports.statistics.factor_tables import Part, factor_tables
from reports.statistics.outputs import Outputs, ReadyFigure, ReadyTable
from reports.statistics.scores import CaseScores
from reports.tables.comparison.factor_figure import CAPTION, draw_factors
from reports.tables.comparison.frames import Comparison, addresses


def varied(comparison: Comparison) -> tuple[str, ...]:
    """The factors that have several levels."""
    columns = zip(*comparison.coordinates.values(), strict=True)
    return tuple(
        name for name, column in zip(comparison.factors, columns, strict=True) if len(set(column)) > 1
    )


def levels_of(comparison: Comparison, rows: Sequence[str]) -> pd.DataFrame:
    """The levels of these rows, a column a factor."""
    return pd.DataFrame([comparison.coordinates[row] for row in rows], columns=list(comparison.factors))


def factorial(comparison: Comparison, frames: Frames) -> Outputs:
    """Every measure with the first factor across and the others down, and a figure of each factor's levels.

    `frames` are the `cells_frame` of every measure. Nothing of measures without a number, nor for a
    grid with fewer than two factors of several levels.
    """
    factors = varied(comparison)
    if len(factors) < 2:
        return Outputs()
    note = unfinished(next(iter(frames.values())), noun="cell")
    there = {key: frame for key, frame in frames.items() if frame["value"].notna().any()}
    if not there:
        return Outputs()
    shown = {key: _with_levels(comparison, frame, key) for key, frame in there.items()}
    printed = tuple(
        _printed(comparison, factors, shown[key], comparison.measures[key], note) for key in shown
    )
    cells = pd.concat([frame.assign(metric=key) for key, frame in shown.items()], ignore_index=True)
    layout = cells.pivot(index=["metric", *factors[1:]], columns=factors[0], values="own")
    columns = dict.fromkeys(cells[factors[0]])
    places = pd.MultiIndex.from_frame(cells[["metric", *factors[1:]]].drop_duplicates())
    layout = layout.reindex(index=places, columns=list(columns)).reset_index().rename_axis(columns=None)
    stem = f"{comparison.grid}_factors"
    table = ReadyTable(printed, layout.round(2), cells.drop(columns=["address"]), stem)
    key = next(iter(shown))
    measure = comparison.measures[key]
    points = shown[key].rename(columns={"own": "value"})[[*factors, "value"]]
    title = titled(f"Table {comparison.name}: {measure.title} by factor", note)
    figure = ReadyFigure(
        partial(draw_factors, points, factors, measure.heading, title),
        title,
        CAPTION,
        points,
        f"{stem}_figure",
    )
    return Outputs((table,), (figure,))


def contributions(
    comparison: Comparison, scores: CaseScores, rows: Sequence[str], *, note: str = ""
) -> Outputs:
    """The mixed model of all factors; `scores` are of these rows, in the table's first measure."""
    factors = varied(comparison)
    if len(factors) < 2:
        return Outputs()
    places = [comparison.coordinates[row] for row in rows]

    def address_of(chosen: Sequence[int]) -> str:
        return address_of_cells(comparison.grid, [places[row] for row in chosen], among=places)

    part = Part(replace(scores, cells=levels_of(comparison, rows)[list(factors)]), factors, rows, address_of)
    return factor_tables({"": part}, number=comparison.name, stem=comparison.grid, note=note)


def _with_levels(comparison: Comparison, frame: pd.DataFrame, key: str) -> pd.DataFrame:
    """The `side_by_side` of a measure, with a column a factor and the address of each number."""
    marked = side_by_side(frame, None, comparison.measures[key], keys=["method"], bold=[], underlined=None)
    named = marked.assign(address=addresses(comparison, marked["method"], key))
    return pd.concat([levels_of(comparison, list(marked["method"])), named], axis="columns")


def _printed(
    comparison: Comparison, factors: Sequence[str], frame: pd.DataFrame, measure: Measure, note: str
) -> PrintedTable:
    across, *down = factors
    columns = list(dict.fromkeys(frame[across]))
    rows = []
    for levels, group in frame.groupby(down, sort=False):
        found: dict[Any, Any] = {record[across]: record for record in group.to_dict("records")}
        cells = tuple(value_cell(found[level]) if level in found else (Span(MISSING),) for level in columns)
        first, *rest = map(str, levels)
        rows.append(Row(first if rest else "", ", ".join(rest) if rest else first, cells))
    stub = tuple(down) if len(down) <= 2 else (down[0], ", ".join(down[1:]))
    constant = [
        f"{name} = {frame[name].iloc[0]}" for name in comparison.factors if name not in factors and len(frame)
    ]
    best = "highest" if measure.higher_is_better else "lowest"
    return PrintedTable(
        number=f"{comparison.name} (by factor, {measure.name})",
        title=titled(
            f"{measure.title} of the grid {comparison.grid}, {across} across, {enumerated(down)} down",
            note,
        ),
        stub=stub,
        columns=tuple(f"{across} = {level}" for level in columns),
        rows=tuple(rows),
        notes=(
            f"The numbers of Table {comparison.name} by their factors, with its signs. Bold: the {best} of all cells. "
            f"{MISSING}: no such cell in the grid, or no number yet.",
            *([f"In all cells {enumerated(constant)}."] if constant else []),
        ),
    )
