"""The tables there are. A further one is an entry; a grid without an entry gets a table of its factors."""

from __future__ import annotations

from benchmark.results.manifests import GridManifest
from benchmark.vocabulary import BenchError, did_you_mean
from reports.ground.addressed import AddressedTable
from reports.ground.layout import TableLayout
from reports.tables import aahn
from reports.tables.comparison.frames import TABLE3, TABLE4, TABLE5
from reports.tables.comparison.layout import of_any_grid, of_methods
from reports.tables.table2.layout import TABLE2

PUBLISHED = {table.grid: table for table in (TABLE2, *map(of_methods, (TABLE3, TABLE4, TABLE5)))}
"""The tables of the Mirror U-Net paper."""
TABLES = {**PUBLISHED, "aahn": aahn.on_data_of(None)}


def layout_of(manifest: GridManifest) -> TableLayout:
    """The table of a launch."""
    entry = TABLES.get(manifest.grid)
    if entry is None or not _fits(entry, manifest):
        return of_any_grid(manifest)
    # What was published of this one depends on the data set.
    return aahn.on_data_of(manifest) if entry.grid == "aahn" else entry


def _fits(layout: TableLayout, manifest: GridManifest) -> bool:
    """Whether every cell has its place: somebody's own grid may have the name of another."""
    try:
        for cell in manifest.cells:
            layout.place.of(cell.factors)
    except BenchError:
        return False
    return True


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
