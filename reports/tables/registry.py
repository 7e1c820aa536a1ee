"""The tables there are. A further one is an entry; a grid without an entry gets a table of its factors."""

from __future__ import annotations

from benchmark.results.manifests import GridManifest
from benchmark.vocabulary import BenchError, did_you_mean
from reports.tables import aahn
from reports.tables.addressed import AddressedTable
from reports.tables.comparison.frames import TABLE3, TABLE4, TABLE5
from reports.tables.comparison.layout import of_any_grid, of_methods
from reports.tables.layout import TableLayout
from reports.tables.table2.layout import TABLE2

PUBLISHED = {table.grid: table for table in (TABLE2, *map(of_methods, (TABLE3, TABLE4, TABLE5)))}
"""The tables of the Mirror U-Net paper."""
TABLES = {**PUBLISHED, "aahn": aahn.on_data_of(None)}


def layout_of(manifest: GridManifest) -> TableLayout:
    """The table of a launch."""
    if manifest.grid == "aahn":
        # What was published depends on the data set.
        return aahn.on_data_of(manifest)
    return TABLES.get(manifest.grid) or of_any_grid(manifest)


def printed_table(grid: str) -> AddressedTable:
    """The table of a grid as it was published; BenchError for a grid that nobody published as a table."""
    if grid in PUBLISHED:
        return PUBLISHED[grid].addressed(None, None)
    if grid in TABLES:
        raise BenchError(
            f"The published numbers of {grid} are of several data sets and have no address; "
            f"`bench report --grid {grid} --source paper` prints them."
        )
    raise BenchError(
        f"There is no table {grid!r}, neither published nor among own runs. {did_you_mean(grid, TABLES)}"
    )
