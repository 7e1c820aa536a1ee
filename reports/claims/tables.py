"""What tables a claim can be about: their axes, cells and measures, and the numbers printed in the paper."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import NamedTuple
from urllib.parse import unquote

import pandas as pd

from reports.ground.addresses import address, address_of_cells
from reports.ground.layout import TableLayout
from reports.ground.measures import Measure, Measures, measures_of
from reports.tables.registry import PUBLISHED


class Cell(NamedTuple):
    """A number of a table: its coordinates, one an axis, and the key of its measure."""

    coordinates: tuple[str, ...]
    measure: str


@dataclass(frozen=True)
class Table:
    """A grid as claims see it. `places` are the coordinates of its cells: the paper's where it is a table of the paper,
    and `more` those that own runs have besides; `measures` by their keys, the first is what a claim means that
    names none. `values` are what is printed, in percent, ml and mm."""

    grid: str
    axes: tuple[str, ...]
    places: tuple[tuple[str, ...], ...]
    measures: Measures
    more: tuple[tuple[str, ...], ...] = ()
    values: Mapping[Cell, float] = field(default_factory=dict)

    def all_places(self) -> tuple[tuple[str, ...], ...]:
        return (*self.places, *self.more)

    def levels(self, axis: str) -> tuple[str, ...]:
        """All values of an axis, in the table's order."""
        return self._levels[axis]

    @cached_property
    def _levels(self) -> Mapping[str, tuple[str, ...]]:
        columns = zip(*self.all_places(), strict=True)
        levels = {axis: tuple(dict.fromkeys(column)) for axis, column in zip(self.axes, columns, strict=True)}
        return {**levels, "measure": tuple(self.measures)}

    def address(self, cell: Cell) -> str:
        """`table2:v3/shuffle/5`, `table3:PET#fnv_ml`: what `bench why` understands."""
        return address(self.grid, cell.coordinates, self._written(cell.measure))

    def address_of(self, cells: Sequence[Cell]) -> str:
        """The address of all these cells; it names their measure, where they are of one."""
        measures = {cell.measure for cell in cells}
        measure = self._written(measures.pop()) if len(measures) == 1 else ""
        places = [cell.coordinates for cell in cells]
        return address_of_cells(self.grid, places, among=self.all_places(), measure=measure)

    def _written(self, measure: str) -> str:
        """A measure in an address, where the first need not be said."""
        return "" if measure == next(iter(self.measures)) else measure

    def parse(self, path: str) -> tuple[tuple[str, ...], str]:
        """The coordinates and the measure (empty: not said) of an address without its grid."""
        place, _, measure = path.partition("#")
        return tuple(unquote(part) for part in place.split("/")), unquote(measure)


@cache
def paper_tables() -> Mapping[str, Table]:
    """Tables 2 to 5 of the Mirror U-Net paper, by their grids."""
    return {grid: _published(layout) for grid, layout in PUBLISHED.items()}


def _published(layout: TableLayout) -> Table:
    table = layout.addressed(None, None)
    places = _places(table.cells, table.shown)
    values = {
        Cell(place, key): number.value
        for place, row in zip(places, table.cells.to_dict("records"), strict=True)
        for cell in [{str(key): str(value) for key, value in row.items()}]
        for key, measure in table.measures.items()
        if (number := layout.published_number(cell, measure)) is not None
    }
    return Table(layout.grid, table.shown, places, table.measures, values=values)


def _places(cells: pd.DataFrame, axes: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    return tuple(cells[list(axes)].astype(str).itertuples(index=False, name=None))


def own_table(layout: TableLayout, cells: pd.DataFrame, measures: Iterable[Measure]) -> Table:
    """A grid as own runs have it; one of the paper keeps its places and measures, and gets what runs have besides.

    `cells` are the coordinates of the planned runs.
    """
    axes = layout.addressed(cells, None).shown
    places = tuple(dict.fromkeys(_places(cells, axes)))
    known = paper_tables().get(layout.grid)
    if known is None:
        return Table(layout.grid, axes, places, measures_of(*measures))
    more = tuple(place for place in places if place not in set(known.places))
    return Table(
        layout.grid,
        axes,
        known.places,
        {**known.measures, **{m.key: m for m in measures if m.key not in known.measures}},
        more,
        known.values,
    )
