"""Figures 7 and 8: the renderer. A row a network or a case, its branches across; it computes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reports.panels import ink
from reports.panels.figure import caption
from reports.panels.layout import PicturedCase, columns
from reports.panels.tiles import FINAL

WIDTH_INCHES = 7.2
"""The width of a page's text."""
LABEL_INCHES = 1.15
SMALL = 6.0


@dataclass(frozen=True)
class FigureRow:
    """A case as a network sees it: the label at its left, and what is shown."""

    label: str
    case: PicturedCase


def draw_rows(rows: Sequence[FigureRow], *, title: str, views: Sequence[int]) -> Figure:
    """Each row in these of its views, one below the other."""
    heads = columns([row.case for row in rows])
    lines = [(row, number) for row in rows for number in views]
    heights = [row.case.views[number].size_mm[1] / row.case.views[number].size_mm[0] for row, number in lines]
    tile = (WIDTH_INCHES - LABEL_INCHES) / len(heads)
    figure = Figure(
        figsize=(WIDTH_INCHES, tile * sum(heights) + 0.14 * len(lines) + 1.6), layout="compressed"
    )
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, hspace=0.0, wspace=0.0)  # type: ignore[union-attr]
    axes = figure.subplots(len(lines), len(heads), squeeze=False, height_ratios=heights)
    for line, (row, number) in zip(axes, lines, strict=True):
        _draw_line(line, row, number, list(heads), labelled=number == views[0])
    for ax, heading in zip(axes[0], heads.values(), strict=True):
        ax.set_title(ink.wrapped(heading, 19), fontsize=SMALL)
    tiles = [place.tile for row in rows for place in row.case.places]
    if any(tile.kind == "probability" for tile in tiles):
        ink.probability_bar(figure, np.ravel(axes).tolist())
    figure.suptitle(ink.wrapped(title, 120), fontsize=8)
    projected = any(row.case.views[number].index is None for row, number in lines)
    caption(figure, tiles, rows[0].case.labels, projected=projected)
    return figure


def _draw_line(
    axes: Sequence[Axes], row: FigureRow, number: int, heads: Sequence[str], *, labelled: bool
) -> None:
    view = row.case.views[number]
    places = {place.column: place for place in row.case.places}
    for ax, column in zip(axes, heads, strict=True):
        place = places.get(column)
        if place is None:
            ink.nothing(ax)
            continue
        ink.draw_tile(ax, place.tile, number, view, row.case.labels)
        if place.caption:
            ax.set_xlabel(place.caption, fontsize=5, labelpad=1.5)
        if column == FINAL:
            ink.box(ax)
    ink.mark_sides(axes[0], view)
    ink.scale_bar(axes[0], view)
    words = f"{row.label}\n{_plain(view.name)}" if labelled else _plain(view.name)
    axes[0].text(
        -0.06,
        0.5,
        words,
        transform=axes[0].transAxes,
        ha="right",
        va="center",
        fontsize=SMALL,
        linespacing=1.25,
    )


def _plain(name: str) -> str:
    return ink.wrapped(" ".join(name.split()), 26)
