"""What tables a claim can be about: their axes, cells and measures, and the numbers printed in the paper."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import NamedTuple
from urllib.parse import unquote

import pandas as pd

from reports.ground.addresses import address, address_of_cells
from reports.ground.measures import DICE, FNV, FPV, HD95, SURFACE_DICE, Measure, Measures, measures_of
from reports.tables.comparison.frames import TABLE3, TABLE4, TABLE5, Comparison, published_frames
from reports.tables.table2.frames import published_table2, table2_cells

METHOD = ("method",)
TABLE2_AXES = ("version", "level", "shared_layers")
"""Of a cell's coordinates in Table 2 without `factor`, which `level` implies."""
OF_ONE_REGION = (DICE, FPV, FNV, HD95, SURFACE_DICE)


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
    tables = (_table2(), *map(_of_methods, (TABLE3, TABLE4, TABLE5)))
    return {table.grid: table for table in tables}


def _table2() -> Table:
    frame = published_table2()
    places = tuple(frame[list(TABLE2_AXES)].itertuples(index=False, name=None))
    values = {
        Cell(place, DICE.key): float(value) for place, value in zip(places, frame["value"], strict=True)
    }
    return Table("table2", TABLE2_AXES, places, measures_of(*OF_ONE_REGION), values=values)


def _of_methods(comparison: Comparison) -> Table:
    frames = published_frames(comparison)
    places = tuple((str(name),) for name in comparison.printed()["method"])
    values = {
        Cell((str(method),), key): float(value)
        for key, frame in frames.items()
        for method, value in frame[["method", "value"]].itertuples(index=False, name=None)
    }
    named = dict.fromkeys(measure.region for measure in comparison.measures.values())
    more = [measure.of(region, named) for region in named for measure in OF_ONE_REGION]
    measures = {**comparison.measures, **measures_of(*more)}
    return Table(comparison.grid, METHOD, places, measures, values=values)


def own_table(grid: str, cells: pd.DataFrame, measures: Iterable[Measure]) -> Table:
    """A grid as own runs have it; one of the paper keeps its places and measures, and gets what runs have besides.

    `cells` are the coordinates of the planned runs: `method`, those of Table 2, or the factors of another grid.
    """
    axes = TABLE2_AXES if set(TABLE2_AXES) < set(cells.columns) else tuple(map(str, cells.columns))
    places = tuple(dict.fromkeys(cells[list(axes)].astype(str).itertuples(index=False, name=None)))
    known = paper_tables().get(grid)
    if known is None:
        return Table(grid, axes, places, measures_of(*measures))
    more = tuple(place for place in places if place not in set(known.places))
    return Table(
        grid,
        axes,
        known.places,
        {**known.measures, **{m.key: m for m in measures if m.key not in known.measures}},
        more,
        known.values,
    )


def full_coordinates(table: Table, place: tuple[str, ...]) -> dict[str, str]:
    """A place in the keys of the table's frames: with `factor` in Table 2."""
    named = dict(zip(table.axes, place, strict=True))
    if table.axes == TABLE2_AXES:
        named["factor"] = _factors()[named["version"] == "v4"]
    return named


@cache
def _factors() -> Mapping[bool, str]:
    frame = table2_cells()
    return {of_v4: str(rows["factor"].iloc[0]) for of_v4, rows in frame.groupby(frame["version"].eq("v4"))}
