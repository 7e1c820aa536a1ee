"""Figures 7 and 8: the renderer. A row a network or a case, its branches across; only places are computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.panels import ink
from reports.panels.layout import PicturedCase, columns
from reports.panels.page import GAP, LINE, Margins, page
from reports.panels.tiles import FINAL

WIDTH_INCHES = 7.2
"""The width of a page's text."""
LEFT, RIGHT, BELOW = 1.2, 0.5, 0.11
LETTER = 0.046
"""The width of a letter of 6 points."""
SMALL = 6.0
LABEL_LINE = 0.108
"""The height of a line of a label."""


@dataclass(frozen=True)
class FigureRow:
    """A case as a network sees it: the label at its left, and what is shown."""

    label: str
    case: PicturedCase


def draw_rows(rows: Sequence[FigureRow], *, title: str, views: Sequence[int]) -> Figure:
    """Each row in these of its views, one below the other."""
    lines = [(row, number) for row in rows for number in views]
    shown = [row.case.views[number] for row, number in lines]
    tiles = [place.tile for row in rows for place in row.case.places]
    heads = columns([row.case for row in rows])
    tile = (WIDTH_INCHES - LEFT - RIGHT + GAP) / len(heads) - GAP
    headings = [ink.wrapped(heading, max(int(tile / LETTER), 8)) for heading in heads.values()]
    # What all rows share is said once, above them.
    common = {_plain(view.name) for view in shown}
    said = ink.wrapped(title, 110).splitlines() + (list(common) if len(common) == 1 else [])
    top = (1.2 * len(said) + max(heading.count("\n") + 1 for heading in headings)) * LINE + 0.12
    heights = [view.size_mm[1] / view.size_mm[0] for view in shown]
    labels = [_label(row, number, first=number == views[0], named=len(common) > 1) for row, number in lines]
    # A label of many lines beside a flat picture makes room for itself.
    lacking = [
        LABEL_LINE * (label.count("\n") + 1.5) - tile * height
        for label, height in zip(labels, heights, strict=True)
    ]
    margins = Margins(left=LEFT, top=top, bottom=0.45, right=RIGHT, below=max(BELOW, *lacking))
    drawn = page(len(heads), heights, tile=tile, margins=margins)
    for axes, (row, number), label in zip(drawn.axes, lines, labels, strict=True):
        _draw_line(axes, row.case, number, list(heads), label=label)
    for ax, heading in zip(drawn.axes[0], headings, strict=True):
        ax.set_title(heading, fontsize=SMALL, pad=3)
    if any(tile.kind == "probability" for tile in tiles):
        drawn.probabilities()
    drawn.title(said)
    drawn.legend(tiles, rows[0].case.labels, shown)
    return drawn.figure


def _label(row: FigureRow, number: int, *, first: bool, named: bool) -> str:
    """What stands at the left of a line: the row's label at its first view, the view's name where they differ."""
    name = [ink.wrapped(_plain(row.case.views[number].name), 26)] if named else []
    return "\n".join([*([row.label] if first else []), *name])


def _draw_line(
    axes: Sequence[Axes], case: PicturedCase, number: int, heads: Sequence[str], *, label: str
) -> None:
    view = case.views[number]
    places = {place.column: place for place in case.places}
    for ax, column in zip(axes, heads, strict=True):
        place = places.get(column)
        if place is None:
            ink.nothing(ax)
            continue
        ink.draw_tile(ax, place.tile, number, view, case.labels)
        if place.caption:
            ax.set_xlabel(place.caption, fontsize=5, labelpad=1.5)
        if column == FINAL:
            ink.box(ax)
    ink.mark_sides(axes[0], view, bottom=False)
    ink.scale_bar(axes[0], view, fontsize=4.5)
    axes[0].text(
        -0.06,
        0.5,
        label,
        transform=axes[0].transAxes,
        ha="right",
        va="center",
        fontsize=SMALL,
        linespacing=1.15,
    )


def _plain(name: str) -> str:
    return " ".join(name.split())
