"""Panels of a case: the renderer. It draws `tiles_of` the `views_of` a case and computes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from reports.evidence.experiments import banner_of_run
from reports.ground import banner, drawing
from reports.panels import ink
from reports.panels.page import LINE, Margins, page
from reports.panels.reading import Outputs, read_outputs
from reports.panels.tiles import Tile, tiles_of, windows_of
from reports.panels.views import View, views_of

FORMATS = ("png", "pdf")
"""No SVG: pictures within it would make it several times the size of the PDF."""
TILE_INCHES = 1.3


def write_panel(npz_path: Path, out_folder: Path, *, title: str = "", said: Sequence[str] = ()) -> list[Path]:
    """Draw the arrays of a case, `<case_id>.npz` with its JSON file, as PNG and PDF; returns the paths
    written. `title` is the row of the table (else: the method), `said` are lines under it. Who knows more of the run
    than its method sets the banner (`reports.evidence.experiments.banner_of_run`)."""
    read = read_outputs(npz_path)
    views, tiles = pictured(read)
    out_folder.mkdir(parents=True, exist_ok=True)
    title = title or read.run.method
    with drawing.style(), banner.under(banner.shown() or banner_of_run("", (), reader=read.run.dataset)):
        figure = draw_panel(
            tiles, views, title=title, said=said or [f"Case {read.case_id}"], labels=read.labels
        )
        return drawing.save(figure, out_folder / npz_path.stem, formats=FORMATS)


def pictured(read: Outputs) -> tuple[tuple[View, View], list[Tile]]:
    """The views of a case and its tiles in them."""
    windows = windows_of(read)
    views = views_of(
        read.image,
        read.reference,
        read.prediction,
        spacing_mm=read.spacing_mm,
        projected=any(window.projected for window in windows.values()),
        cut=" and ".join(name for name, window in windows.items() if not window.projected),
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
    heads = [ink.wrapped(tile.title) for tile in tiles]
    top = (1.2 * (1 + len(said)) + max(head.count("\n") + 1 for head in heads)) * LINE + 0.2
    heights = [view.size_mm[1] / view.size_mm[0] for view in views]
    drawn = page(
        len(tiles), heights, tile=TILE_INCHES, margins=Margins(left=0.5, top=top, bottom=0.5, right=0.5)
    )
    for row, view in enumerate(views):
        for column, tile in enumerate(tiles):
            ink.draw_tile(drawn.axes[row, column], tile, row, view, labels)
        first, last = drawn.axes[row, 0], drawn.axes[row, -1]
        ink.box(last)
        ink.mark_sides(first, view)
        ink.scale_bar(first, view)
        first.set_ylabel(view.name, fontsize=6)
    for ax, head in zip(drawn.axes[0], heads, strict=True):
        ax.set_title(head, fontsize=6.5, pad=3)
    if any(tile.kind == "probability" for tile in tiles):
        drawn.probabilities()
    drawn.title([title, *said])
    drawn.legend(tiles, labels, views)
    return drawn.figure
