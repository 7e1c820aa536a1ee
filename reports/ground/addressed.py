"""A table whose numbers have addresses: its cells, and its measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from benchmark.results.manifests import GridManifest
from benchmark.vocabulary import BenchError, did_you_mean
from reports.ground.addresses import Address, Places, address
from reports.ground.measures import DICE, FNV, FPV, HD95, SURFACE_DICE, Measure, Measures, measures_of
from reports.ground.runs import Coordinates

MEASURED = (DICE, FPV, FNV, HD95, SURFACE_DICE)


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


def measured(regions: Sequence[str]) -> Measures:
    """Whatever a report prints of a case, in every region."""
    return measures_of(*(measure.of(region, regions) for region in regions for measure in MEASURED))
