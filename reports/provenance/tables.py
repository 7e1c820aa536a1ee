"""What an address names: the tables that have addresses, their cells and their measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from benchmark.results.manifests import GridManifest
from benchmark.vocabulary import BenchError, did_you_mean
from reports.ground.addresses import Address, Places, address
from reports.ground.measures import (
    DICE,
    FNV,
    FPV,
    HD95,
    MEASURES,
    SURFACE_DICE,
    Measure,
    Measures,
    measures_of,
)
from reports.ground.runs import Coordinates, Scored
from reports.tables import aahn
from reports.tables.comparison import frames as comparisons
from reports.tables.comparison.frames import TABLE3, TABLE4, TABLE5, Comparison, comparison_of, on_data
from reports.tables.table2 import frames as table2

PRINTED_TABLES = {table.grid: table for table in (TABLE3, TABLE4, TABLE5)}
MEASURED = (DICE, FPV, FNV, HD95, SURFACE_DICE)
GRIDS = ("table2", *PRINTED_TABLES, "aahn")
"""The grids that have a table of their own."""


@dataclass(frozen=True)
class AddressedTable:
    """A table whose numbers have addresses.

    Addresses begin with `grid`: the name of a grid stands for its newest launch with a finished run, a launch's name
    for that launch whatever is started later. `name` follows "Table" in print. `cells` has the columns `place.keys`;
    an address gives those of `shown`, in this order. The first of `measures` is that of addresses without one.
    """

    grid: str
    name: str
    place: Coordinates
    shown: tuple[str, ...]
    cells: pd.DataFrame
    measures: Measures

    def address(self, cell: Mapping[Any, Any], measure: str = "") -> str:
        """The address of a cell's number."""
        first = next(iter(self.measures))
        coordinates = [str(cell[key]) for key in self.shown]
        return address(self.grid, coordinates, "" if measure == first else measure)

    def of_launch(self, manifest: GridManifest) -> AddressedTable:
        """The same table, whose addresses name the launch."""
        return replace(self, grid=manifest.name)

    def cell(self, wanted: Address) -> dict[str, str]:
        """The coordinates of the cell an address names; BenchError, with the nearest one, where there is none."""
        keys = self.place.keys if len(wanted.coordinates) == len(self.place.keys) else self.shown
        if len(wanted.coordinates) != len(keys):
            raise BenchError(
                f"{wanted}: a cell of {self.grid} is named by {'/'.join(self.shown)}, for example "
                f"{self.address(self.cells.iloc[0].to_dict())}."
            )
        found = self.cells[(self.cells[list(keys)] == list(wanted.coordinates)).all(axis="columns")]
        if found.empty:
            known = [self.address(cell) for cell in self.cells.to_dict("records")]
            asked = address(self.grid, wanted.coordinates)
            raise BenchError(f"{asked}: there is no such cell in {self.grid}. {did_you_mean(asked, known)}")
        return {str(key): str(value) for key, value in found.iloc[0].items()}

    def among(self, wanted: Places) -> list[Address]:
        """The addresses of the cells that fit the address of several; BenchError where none does."""
        named, full = (
            list(self.cells[list(keys)].astype(str).itertuples(index=False, name=None))
            for keys in (self.shown, self.place.keys)
        )
        found = [
            Address(self.grid, coordinates, wanted.measure)
            for coordinates, whole in zip(named, full, strict=True)
            if wanted.fit(coordinates) or wanted.fit(whole)
        ]
        if not found:
            raise BenchError(
                f"{wanted}: no cell of {self.grid} is so. One is named by {'/'.join(self.shown)}, for example "
                f"{self.address(self.cells.iloc[0].to_dict())}; * stands for every value."
            )
        return found

    def measure(self, wanted: Address) -> Measure:
        """The measure an address names; BenchError where the table's numbers have no such measure."""
        if not wanted.measure:
            return next(iter(self.measures.values()))
        if wanted.measure not in self.measures:
            raise BenchError(
                f"{wanted}: {self.grid} has no measure {wanted.measure!r}. "
                f"{did_you_mean(wanted.measure, self.measures)}"
            )
        return self.measures[wanted.measure]


def table_of(
    manifest: GridManifest, runs: pd.DataFrame | None = None, scored: Scored | None = None
) -> AddressedTable:
    """The table of a launch, from its `planned_runs` and what they were scored in."""
    if manifest.grid == "table2":
        return _table2(runs)
    if manifest.grid == "aahn":
        comparison = aahn.comparison_on(manifest.dataset, source="both")
    else:
        comparison = PRINTED_TABLES.get(manifest.grid) or comparison_of(manifest)
    found = _comparison(comparison, runs, scored)
    if not comparison.coordinates:
        return found
    place = comparisons.factor_place(manifest)
    cells = pd.DataFrame(list(comparison.coordinates.values()), columns=list(place.keys))
    return replace(found, place=place, shown=place.keys, cells=cells)


def printed_table(grid: str) -> AddressedTable:
    """The table of a grid as it was published; BenchError for a grid that nobody published as a table."""
    if grid == "table2":
        return _table2(None)
    if grid in PRINTED_TABLES:
        return _comparison(PRINTED_TABLES[grid], None, None)
    if grid == "aahn":
        raise BenchError(
            "The published numbers of aahn are of several data sets and have no address; "
            "`bench report --grid aahn --source paper` prints them."
        )
    raise BenchError(
        f"There is no table {grid!r}, neither published nor among own runs. {did_you_mean(grid, GRIDS)}"
    )


def place_of(manifest: GridManifest) -> Coordinates:
    """How the factors of a launch give its cells."""
    if manifest.grid == "table2":
        return table2.PLACE
    known = manifest.grid in GRIDS or comparisons.is_of_methods(manifest)
    return comparisons.PLACE if known else comparisons.factor_place(manifest)


def _table2(runs: pd.DataFrame | None) -> AddressedTable:
    measures = {**MEASURES, **_measured(("",))}
    return AddressedTable("table2", "2", table2.PLACE, table2.ADDRESSED, table2.table2_cells(runs), measures)


def _comparison(comparison: Comparison, runs: pd.DataFrame | None, scored: Scored | None) -> AddressedTable:
    if scored is not None:
        comparison = on_data(comparison, scored)
    regions = scored.named_regions if scored is not None and scored.regions else _regions(comparison)
    return AddressedTable(
        grid=comparison.grid,
        name=comparison.name,
        place=comparisons.PLACE,
        shown=("method",),
        cells=comparisons.methods(comparison, None if comparison.coordinates else runs),
        measures={**comparison.measures, **_measured(regions)},
    )


def _regions(comparison: Comparison) -> tuple[str, ...]:
    return tuple(dict.fromkeys(measure.region for measure in comparison.measures.values()))


def _measured(regions: Sequence[str]) -> dict[str, Measure]:
    """Whatever a report prints of a case, in every region."""
    return dict(measures_of(*(measure.of(region, regions) for region in regions for measure in MEASURED)))
