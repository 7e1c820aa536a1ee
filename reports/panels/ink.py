"""How a tile, its marks and the legend are drawn. Nothing is computed here."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke

from benchmark.scoring.projections import FALSE, HIT, MISS
from reports.ground.drawing import BLUE, GREEN, YELLOW
from reports.panels.colours import ERROR_NAMES, ERRORS, WRONG
from reports.panels.tiles import REFERENCE, Picture, Tile
from reports.panels.views import View, scale_bar_mm

LABEL_COLOURS = (GREEN, YELLOW, BLUE, "#882255", "#44AA99", "#999933")
"""Wong's, then Tol's muted ones; none of them is the colour of an error."""
OPACITY = {"labels": 0.75, "errors": 0.9}
PROBABILITIES = "cividis"
LINE_LETTERS = 24
OUTLINED = (withStroke(linewidth=1.5, foreground="black"),)
BOX = "#B00000"


def draw_tile(ax: Axes, tile: Tile, number: int, view: View, labels: Mapping[str, int]) -> None:
    """A tile's picture of a view, in mm."""
    width, height = view.size_mm
    extent = (0.0, width, height, 0.0)
    shown = tile.under or tile
    grey = "gray_r" if shown.inverted else "gray"
    ax.imshow(
        shown.pictures[number].astype(np.float32),
        cmap=PROBABILITIES if shown.kind == "probability" else grey,
        vmin=shown.low,
        vmax=shown.high,
        extent=extent,
        interpolation="nearest",
    )
    if tile.under is not None:
        colours = ERRORS if tile.kind == "errors" else label_colours(labels, [tile])
        painted = _painted(tile.pictures[number], colours, OPACITY[tile.kind])
        ax.imshow(painted, extent=extent, interpolation="nearest")
    if tile.outlines and tile.outlines[number].any():
        mask = tile.outlines[number].astype(float)
        ax.contour(mask, [0.5], colors="white", linewidths=0.5, extent=extent, origin="upper")
    _bare(ax)


def _bare(ax: Axes) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(False)
    for side in ax.spines.values():
        side.set_visible(False)


def box(ax: Axes) -> None:
    """The red box around what a network finally says, as in the paper."""
    for side in ax.spines.values():
        side.set(visible=True, color=BOX, linewidth=1.6)


def nothing(ax: Axes) -> None:
    """A place without a tile."""
    ax.set_axis_off()


def wrapped(title: str, letters: int = LINE_LETTERS) -> str:
    """The title with lines of so many letters at most; its own lines are kept."""
    return "\n".join(textwrap.fill(line, letters) for line in title.splitlines())


def _painted(codes: Picture, colours: Mapping[int, str], opacity: float) -> np.ndarray:
    """Codes as colours; what has none is transparent."""
    painted = np.zeros((*codes.shape, 4), np.float32)
    for code, colour in colours.items():
        painted[codes == code] = to_rgba(colour, opacity)
    return painted


def label_colours(labels: Mapping[str, int], tiles: Iterable[Tile]) -> dict[int, str]:
    """The colours of the labels that are named or seen."""
    seen = {int(code) for tile in tiles for picture in tile.pictures for code in np.unique(picture)}
    wanted = [code for code in sorted(set(labels.values()) | seen) if code > 0]
    return {code: LABEL_COLOURS[number % len(LABEL_COLOURS)] for number, code in enumerate(wanted)}


def mark_sides(ax: Axes, view: View, *, bottom: bool = True) -> None:
    """The patient's sides, at the borders of a picture; in a small one the `bottom` is left to the scale
    bar."""
    places = (
        (0.02, 0.5, "left", "center"),
        (0.98, 0.5, "right", "center"),
        (0.5, 0.98, "center", "top"),
        (0.5, 0.02, "center", "bottom"),
    )
    for mark, (x, y, horizontal, vertical) in list(zip(view.marks, places, strict=True))[
        : 4 if bottom else 3
    ]:
        ax.text(
            x,
            y,
            mark,
            transform=ax.transAxes,
            ha=horizontal,
            va=vertical,
            fontsize=6,
            color="white",
            fontweight="bold",
            path_effects=OUTLINED,
        )


def scale_bar(ax: Axes, view: View, *, fontsize: float = 5.5) -> None:
    """A bar of a round length, and its length."""
    width, height = view.size_mm
    length = scale_bar_mm(width)
    left, thickness = 0.04 * width, 0.015 * width
    bottom = height - 0.03 * width
    ax.add_patch(
        Rectangle(
            (left, bottom - thickness),
            length,
            thickness,
            facecolor="white",
            linewidth=0.5,
            edgecolor="black",
        )
    )
    text_at = (left, bottom - thickness - 0.02 * width)
    ax.text(*text_at, f"{length:g} mm", color="white", fontsize=fontsize, va="bottom", path_effects=OUTLINED)


def legend_entries(tiles: Sequence[Tile], labels: Mapping[str, int]) -> list[Patch | Line2D]:
    """What the colours of labels and errors and the outlines mean."""
    names = {code: name for name, code in labels.items()}
    entries: list[Patch | Line2D] = []
    labelled = [tile for tile in tiles if tile.kind == "labels"]
    if labelled:
        whose = "reference: " if all(tile.role == REFERENCE for tile in labelled) else ""
        entries += [
            Patch(color=colour, label=f"{whose}{names.get(code, f'label {code}')}")
            for code, colour in label_colours(labels, labelled).items()
        ]
    errors = [tile for tile in tiles if tile.kind == "errors"]
    if errors:
        present = {int(code) for tile in errors for picture in tile.pictures for code in np.unique(picture)}
        codes = (HIT, MISS, FALSE, *([WRONG] if WRONG in present else []))
        entries += [Patch(color=ERRORS[code], label=ERROR_NAMES[code]) for code in codes]
    if any(picture.any() for tile in tiles for picture in tile.outlines):
        line = Line2D([], [], color="white", linewidth=1.0, label="border of the reference")
        line.set_path_effects([withStroke(linewidth=2.2, foreground="black")])
        entries.append(line)
    return entries


def probability_bar(figure: Figure, place: tuple[float, float, float, float]) -> None:
    """The scale of probabilities, at a place (left, bottom, width, height) in parts of the figure."""
    scale = ScalarMappable(Normalize(0, 1), cmap=PROBABILITIES)
    bar = figure.colorbar(scale, cax=figure.add_axes(place))
    bar.set_label("probability", fontsize=6)
    bar.set_ticks([0, 0.5, 1], labels=["0", "0.5", "1"])
    bar.ax.tick_params(labelsize=5.5, pad=1)
    bar.outline.set_linewidth(0.4)
