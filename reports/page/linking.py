"""Links from numbers to their cells: to those that the page has, and to no other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from reports.ground.addresses import RUN, parse_address, parse_places
from reports.ground.printing import Span
from reports.page.grids import ShownGrid
from reports.page.model import Page, Section
from reports.page.run_parts import ShownPart


def with_links(page: Page, grids: Sequence[ShownGrid], parts: Sequence[ShownPart] = ()) -> Page:
    """The page without links that lead to nothing, as those from claims about a launch that is not shown; such numbers
    tell the command that looks them up."""
    cells = {
        grid.table.grid: list(grid.cells[list(grid.table.shown)].itertuples(index=False, name=None))
        for grid in grids
    }
    for part in parts:
        cells.setdefault(RUN, []).append(parse_address(part.address).coordinates)

    @cache
    def is_here(address: str) -> bool:
        wanted = parse_places(address)
        return any(map(wanted.fit, cells.get(wanted.grid, ())))

    def marked(span: Span) -> Span:
        return replace(span, linked=is_here(span.address))

    def linked(section: Section) -> Section:
        groups = [
            replace(group, printed=tuple(table.with_addressed(marked) for table in group.printed))
            for group in section.groups
        ]
        return replace(section, groups=tuple(groups))

    return replace(
        page, sections=tuple(map(linked, page.sections)), claims=page.claims and linked(page.claims)
    )
