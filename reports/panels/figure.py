"""Panels of a case: the renderer. It draws `tiles_of` the `views_of` a case and computes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reports import drawing
from reports.panels import ink
from reports.panels.reading import Outputs, read_outputs
from reports.panels.tiles import Tile, tiles_of, windows_of
from reports.panels.views import View, views_of

FORMATS = ("png", "pdf")
"""No SVG: pictures within it would make it several times the size of the PDF."""
TILE_INCHES = 1.3
CAPTION = "Radiological convention: the patient's right (R) is on the left."
PROJECTED = (
    "In the projection CT is a slice through the same lesion, a hit hides what lies before or behind it, "
    "and a miss hides false positives."
)


def write_panel(npz_path: Path, out_folder: Path, *, title: str = "", said: Sequence[str] = ()) -> list[Path]:
    """Draw the arrays of a case, `<case_id>.npz` with its JSON file, as PNG and PDF; returns the paths
    written. `title` is the row of the table (else: the method), `said` are lines under it."""
    read = read_outputs(npz_path)
    views, tiles = pictured(read)
    out_folder.mkdir(parents=True, exist_ok=True)
    title = title or read.run.method
    with drawing.style():
        figure = draw_panel(
            tiles, views, title=title, said=[f"Case {read.case_id}", *said], labels=read.labels
        )
        return drawing.save(figure, out_folder / npz_path.stem, formats=FORMATS)


def pictured(read: Outputs) -> tuple[tuple[View, View], list[Tile]]:
    """The views of a case and its tiles in them."""
    windows = windows_of(read)
    projected = any(window.projected for window in windows.values())
    views = views_of(
        read.image, read.reference, read.prediction, spacing_mm=read.spacing_mm, projected=projected
    )
    return views, tiles_of(read, views, windows=windows)


def draw_panel(
    tiles: Sequence[Tile],
    views: Sequence[View],
    *,
    title: str,
    labels: Mapping[str, int],
    said: Sequence[str] = (),
) -> Figure:
    """A column a tile, a row a view; `labels` name the codes of tiles of labels, `said` are lines under the
    title."""
    heights = [view.size_mm[1] / view.size_mm[0] for view in views]
    size = (TILE_INCHES * len(tiles) + 1.0, TILE_INCHES * sum(heights) + 2.1)
    figure = Figure(figsize=size, layout="compressed")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(views), len(tiles), squeeze=False, height_ratios=heights)
    for row, view in enumerate(views):
        for column, tile in enumerate(tiles):
            ax = axes[row, column]
            ink.draw_tile(ax, tile, row, view, labels)
            if row == 0:
                ax.set_title(ink.wrapped(tile.title), fontsize=6.5)
        ink.box(axes[row, -1])
        ink.mark_sides(axes[row, 0], view)
        ink.scale_bar(axes[row, 0], view)
        axes[row, 0].set_ylabel(view.name, fontsize=6.5)
    if any(tile.kind == "probability" for tile in tiles):
        ink.probability_bar(figure, np.ravel(axes).tolist())
    figure.suptitle("\n".join([title, *said]), fontsize=8)
    projected = any(view.index is None for view in views)
    caption(figure, tiles, labels, projected=projected)
    return figure


def caption(figure: Figure, tiles: Sequence[Tile], labels: Mapping[str, int], *, projected: bool) -> None:
    """The legend under a figure, and what must be known to read it."""
    figure.legend(
        handles=ink.legend_entries(tiles, labels),
        loc="outside lower center",
        ncols=8,
        fontsize=6.5,
        title=f"{CAPTION}\n{PROJECTED}" if projected else CAPTION,
        title_fontsize=6.5,
    )
