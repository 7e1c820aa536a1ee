"""Links from claims to the numbers they are about, as far as the page has them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from reports.page.grids import ShownGrid
from reports.page.model import Section
from reports.printing import Cell, PrintedTable, Span

ABOUT = "Claims about "
"""How the title of a table of claims names their grid."""
AGAINST = "Against it"
"""The column that names cells."""


@dataclass(frozen=True)
class Known:
    """The cells of a grid that the page shows: their addresses by what claims call them, and its measures."""

    addresses: Mapping[str, str]
    measures: frozenset[str]


def with_links(claims: Section, grids: Sequence[ShownGrid]) -> Section:
    """The view with a link for every cell it names.

    Claims are about the newest launches, which go by their grid's name, or about the only one that is shown."""
    known = {
        grid.manifest.grid: _known(grid)
        for grid in grids
        if len(grids) == 1 or grid.table.grid == grid.manifest.grid
    }
    groups = [
        replace(group, printed=tuple(_linked_table(table, known) for table in group.printed))
        for group in claims.groups
    ]
    return replace(claims, groups=tuple(groups))


def _known(grid: ShownGrid) -> Known:
    addresses = map(grid.address, range(len(grid.cells)))
    places = {address.partition(":")[2].partition("#")[0]: address.partition("#")[0] for address in addresses}
    return Known(places, frozenset(grid.measures))


def _linked_table(table: PrintedTable, known: Mapping[str, Known]) -> PrintedTable:
    grid = known.get(table.title.removeprefix(ABOUT))
    if grid is None or not grid.addresses or AGAINST not in table.columns:
        return table
    column = table.columns.index(AGAINST)
    rows = [
        replace(
            row,
            cells=(
                *row.cells[:column],
                tuple(part for span in row.cells[column] for part in linked(span.text, grid)),
                *row.cells[column + 1 :],
            ),
        )
        for row in table.rows
    ]
    return replace(table, rows=tuple(rows))


def linked(text: str, known: Known) -> Cell:
    """The text in pieces, of which the names of cells have their addresses; longer names go before shorter ones."""
    return tuple(_pieces(text, known))


def _pieces(text: str, known: Known) -> Iterator[Span]:
    names = "|".join(map(re.escape, sorted(known.addresses, key=len, reverse=True)))
    # What is longer than the name is another name: v1/noise/4 within v1/noise/4-5-6.
    found = re.finditer(rf"(?<![\w/#.-])({names})(?:#(\w[\w.%-]*))?(?![\w/#-])", text)
    end = 0
    for match in found:
        name, measure = match.groups()
        if measure and measure not in known.measures:
            continue
        if match.start() > end:
            yield Span(text[end : match.start()])
        address = known.addresses[name]
        yield Span(match.group(), address=f"{address}#{measure}" if measure else address)
        end = match.end()
    if end < len(text):
        yield Span(text[end:])
