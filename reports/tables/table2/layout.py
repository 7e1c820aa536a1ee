"""Table 2 as an entry of the registry."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from reports.ground.addressed import AddressedTable, measured
from reports.ground.layout import TableLayout
from reports.ground.measures import MEASURES, Measure
from reports.ground.publications import MIRROR_UNET
from reports.ground.published_numbers import PublishedNumber, of_mirror_unet
from reports.ground.runs import Scored
from reports.tables.table2.frames import ADDRESSED, PLACE, table2_cells
from reports.tables.table2.ranks import cell_name
from reports.tables.table2.report import report


def _addressed(runs: pd.DataFrame | None, scored: Scored | None) -> AddressedTable:
    measures = {**MEASURES, **measured(("",))}
    return AddressedTable("table2", "2", PLACE, ADDRESSED, table2_cells(runs), measures)


def _published(cell: Mapping[str, str], measure: Measure) -> PublishedNumber | None:
    return of_mirror_unet(2, cell, measure.printed_as)


TABLE2 = TableLayout(
    grid="table2",
    place=PLACE,
    report=report,
    addressed=_addressed,
    label=cell_name,
    has_fixed_measures=True,
    publication=MIRROR_UNET[2],
    published_number=_published,
)
