"""Where the tiles of a figure lie: all lengths in inches, so that every tile of a row has the same size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reports.panels import ink
from reports.panels.tiles import Tile
from reports.panels.views import View

GAP = 0.04
LINE = 0.115
"""A line of text of 6.5 points."""
BAR = 0.07
CAPTION = "Radiological convention: the patient's right (R) is on the left."
PROJECTED = (
    "In a projection a true positive hides what lies before or behind it, and a miss hides false positives."
)


@dataclass(frozen=True)
class Margins:
    """The room around the tiles, and under every row (`below`)."""

    left: float
    top: float
    bottom: float
    right: float
    below: float = 0.0


@dataclass(frozen=True)
class Page:
    """A figure with its tiles' axes, `[row, column]`."""

    figure: Figure
    axes: np.ndarray
    margins: Margins

    @property
    def height(self) -> float:
        return float(self.figure.get_figheight())

    def title(self, lines: Sequence[str]) -> None:
        """Lines at the top; the first is bold."""
        top = self.height - 0.06
        for number, line in enumerate(lines):
            self.figure.text(
                0.5,
                (top - number * 1.2 * LINE) / self.height,
                line,
                ha="center",
                va="top",
                fontsize=7.5 if number == 0 else 6.5,
                fontweight="bold" if number == 0 else "normal",
            )

    def legend(self, tiles: Sequence[Tile], labels: Mapping[str, int], views: Sequence[View]) -> None:
        """What the colours mean, and what must be known to read the pictures."""
        projected = any(view.index is None for view in views)
        self.figure.legend(
            handles=ink.legend_entries(tiles, labels),
            loc="lower center",
            bbox_to_anchor=(0.5, 0.0),
            ncols=8,
            fontsize=6,
            title=f"{CAPTION} {PROJECTED}" if projected else CAPTION,
            title_fontsize=6,
            handlelength=1.4,
            columnspacing=1.4,
            borderaxespad=0.2,
        )

    def probabilities(self) -> None:
        """The scale of probabilities, right of the tiles and in their middle."""
        width = float(self.figure.get_figwidth())
        inside = self.height - self.margins.top - self.margins.bottom
        length = min(1.2, 0.9 * inside)
        bottom = self.margins.bottom + (inside - length) / 2
        left = width - self.margins.right + 2 * GAP
        ink.probability_bar(
            self.figure, (left / width, bottom / self.height, BAR / width, length / self.height)
        )


def page(columns: int, heights: Sequence[float], *, tile: float, margins: Margins) -> Page:
    """A figure for so many tiles a row, `tile` wide, in rows `heights` times as high as wide."""
    width = margins.left + columns * tile + (columns - 1) * GAP + margins.right
    rows = [height * tile for height in heights]
    height = margins.top + sum(rows) + len(rows) * margins.below + (len(rows) - 1) * GAP + margins.bottom
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    axes = np.empty((len(rows), columns), dtype=object)
    top = height - margins.top
    for row, high in enumerate(rows):
        for column in range(columns):
            left = margins.left + column * (tile + GAP)
            place = (left / width, (top - high) / height, tile / width, high / height)
            ax: Axes = figure.add_axes(place)
            axes[row, column] = ax
        top -= high + margins.below + GAP
    return Page(figure, axes, margins)
