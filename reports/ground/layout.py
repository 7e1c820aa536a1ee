"""What there is to know of a table, in one place: an entry of `registry.TABLES`, or made for a grid without one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports.ground.addressed import AddressedTable
from reports.ground.files import ReportFiles
from reports.ground.measures import Measure
from reports.ground.publications import Publication
from reports.ground.published_numbers import PublishedNumber
from reports.ground.runs import Coordinates, Scored


def _unpublished(cell: Mapping[str, str], measure: Measure) -> PublishedNumber | None:
    return None


@dataclass(frozen=True)
class TableLayout:
    """A table of a grid's cells.

    Args:
        grid: The grid it is of.
        place: How the factors of a run give its coordinates.
        report: `report(results, manifest, source=, out=, summary=)` writes all its files; without results, and so
            without a launch, what was published.
        addressed: Its cells and measures, from the rows of `planned_runs` and what they were scored in; both None: as
            they were published.
        label: A cell in words, from its coordinates.
        has_fixed_measures: Whether its measures are the same whatever was scored.
        publication: What was printed of it.
        published_number: What was printed of a cell, from its coordinates and a measure; None where nothing was.
    """

    grid: str
    place: Coordinates
    report: Callable[..., ReportFiles]
    addressed: Callable[[pd.DataFrame | None, Scored | None], AddressedTable]
    label: Callable[[Mapping[Any, Any]], str]
    has_fixed_measures: bool = False
    publication: Publication | None = None
    published_number: Callable[[Mapping[str, str], Measure], PublishedNumber | None] = _unpublished
