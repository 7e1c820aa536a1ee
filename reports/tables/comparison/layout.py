"""Tables of methods as entries of the registry, and the table of a grid that has no entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd

from benchmark.results.manifests import GridManifest
from reports.ground.addressed import AddressedTable, measured
from reports.ground.layout import TableLayout
from reports.ground.measures import Measure
from reports.ground.published_numbers import PublishedNumber, of_mirror_unet
from reports.ground.runs import Scored
from reports.tables.comparison import frames
from reports.tables.comparison.frames import Comparison
from reports.tables.comparison.report import report


def of_methods(comparison: Comparison) -> TableLayout:
    """A table with a row a method."""
    return TableLayout(
        grid=comparison.grid,
        place=comparison.place,
        report=partial(report, comparison),
        addressed=partial(_addressed, comparison),
        label=_method,
        publication=comparison.publication,
        published_number=partial(_published, comparison),
    )


def of_any_grid(manifest: GridManifest) -> TableLayout:
    """The table of a grid that has no entry: of its methods or, where its cells have other factors, of these."""
    comparison = frames.comparison_of(manifest)
    layout = of_methods(comparison)
    if frames.is_of_methods(manifest):
        return layout
    place = frames.factor_place(manifest)
    cells = pd.DataFrame(list(comparison.coordinates.values()), columns=list(place.keys))

    def addressed(runs: pd.DataFrame | None, scored: Scored | None) -> AddressedTable:
        found = _addressed(comparison, runs, scored)
        return replace(found, place=place, shown=place.keys, cells=cells)

    return replace(layout, place=place, addressed=addressed, label=_factors)


def _addressed(comparison: Comparison, runs: pd.DataFrame | None, scored: Scored | None) -> AddressedTable:
    if scored is not None:
        comparison = frames.on_data(comparison, scored)
    regions = scored.named_regions if scored is not None and scored.regions else _regions(comparison)
    return AddressedTable(
        grid=comparison.grid,
        name=comparison.name,
        place=frames.PLACE,
        shown=("method",),
        cells=frames.methods(comparison, None if comparison.coordinates else runs),
        measures={**comparison.measures, **measured(regions)},
    )


def _regions(comparison: Comparison) -> tuple[str, ...]:
    return tuple(dict.fromkeys(measure.region for measure in comparison.measures.values()))


def _published(comparison: Comparison, cell: Mapping[str, str], measure: Measure) -> PublishedNumber | None:
    if comparison.number is None:
        return None
    return of_mirror_unet(comparison.number, cell, measure.printed_as)


def _method(cell: Mapping[Any, Any]) -> str:
    return str(cell["method"])


def _factors(cell: Mapping[Any, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in cell.items())
