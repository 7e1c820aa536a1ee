"""Panels of a case: the renderer. It draws `tiles_of` the `views_of` a case and computes nothing."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke

from reports import drawing
from reports.drawing import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION, YELLOW
from reports.panels.reading import read_outputs
from reports.panels.tiles import FALSE, HIT, MISS, WRONG, Picture, Tile, tiles_of
from reports.panels.views import View, scale_bar_mm, views_of

FORMATS = ("png", "pdf")
ERRORS = {HIT: SKY, MISS: YELLOW, FALSE: VERMILLION, WRONG: PURPLE}
ERROR_NAMES = {HIT: "hit", MISS: "missed", FALSE: "false positive", WRONG: "another label"}
LABEL_COLOURS = (GREEN, ORANGE, BLUE, PURPLE, YELLOW, VERMILLION)
OPACITY = 0.75
PROBABILITIES = "cividis"
TILE_INCHES = 1.75
LINE_LETTERS = 30
OUTLINED = (withStroke(linewidth=1.5, foreground="black"),)
CAPTION = (
    "Radiological convention: the patient's right (R) is on the left. Probabilities: 0 dark blue, 1 yellow. Labels and "
    "errors lie over the first modality."
)
PROJECTED = "In the projection a hit hides what lies before or behind it, and a miss hides false positives."


def write_panel(npz_path: Path, out_folder: Path) -> list[Path]:
    """Draw the arrays of a case, `<case_id>.npz` with its JSON file, as PNG and PDF; returns the paths
    written."""
    read = read_outputs(npz_path)
    views = views_of(read.image, read.reference, read.prediction, spacing_mm=read.spacing_mm)
    tiles = tiles_of(read, views)
    out_folder.mkdir(parents=True, exist_ok=True)
    with drawing.style():
        figure = draw_panel(tiles, views, title=f"{read.case_id}: {read.made_by}", labels=read.labels)
        return drawing.save(figure, out_folder / npz_path.stem, formats=FORMATS)


def draw_panel(
    tiles: Sequence[Tile], views: Sequence[View], *, title: str, labels: Mapping[str, int]
) -> Figure:
    """A column a tile, a row a view; `labels` name the codes of tiles of labels."""
    heights = [view.size_mm[1] / view.size_mm[0] for view in views]
    size = (TILE_INCHES * len(tiles) + 0.6, TILE_INCHES * sum(heights) + 1.7)
    figure = Figure(figsize=size, layout="compressed")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(views), len(tiles), squeeze=False, height_ratios=heights)
    for row, view in enumerate(views):
        for column, tile in enumerate(tiles):
            ax = axes[row, column]
            _draw_tile(ax, tile, row, view, labels)
            if row == 0:
                ax.set_title(_wrapped(tile.title), fontsize=6.5)
        _mark_sides(axes[row, 0], view)
        _draw_scale_bar(axes[row, 0], view)
        axes[row, 0].set_ylabel(view.name, fontsize=6.5)
    figure.suptitle(title, fontsize=9)
    projected = any(view.index is None for view in views)
    figure.legend(
        handles=_legend(tiles, labels),
        loc="outside lower center",
        ncols=8,
        fontsize=7,
        title=f"{CAPTION}\n{PROJECTED}" if projected else CAPTION,
        title_fontsize=6.5,
    )
    return figure


def _draw_tile(ax: Axes, tile: Tile, row: int, view: View, labels: Mapping[str, int]) -> None:
    width, height = view.size_mm
    extent = (0.0, width, height, 0.0)
    shown = tile.under or tile
    ax.imshow(
        shown.pictures[row].astype(np.float32),
        cmap=PROBABILITIES if shown.kind == "probability" else "gray",
        vmin=shown.low,
        vmax=shown.high,
        extent=extent,
        interpolation="nearest",
    )
    if tile.under is not None:
        colours = ERRORS if tile.kind == "errors" else _label_colours(labels, tile)
        ax.imshow(_painted(tile.pictures[row], colours), extent=extent, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(False)
    for side in ax.spines.values():
        side.set_visible(False)


def _wrapped(title: str) -> str:
    return "\n".join(textwrap.fill(line, LINE_LETTERS) for line in title.splitlines())


def _painted(codes: Picture, colours: Mapping[int, str]) -> np.ndarray:
    """Codes as colours; what has none is transparent."""
    painted = np.zeros((*codes.shape, 4), np.float32)
    for code, colour in colours.items():
        painted[codes == code] = to_rgba(colour, OPACITY)
    return painted


def _label_colours(labels: Mapping[str, int], tile: Tile) -> dict[int, str]:
    codes = sorted(
        set(labels.values()) | {int(code) for picture in tile.pictures for code in np.unique(picture)}
    )
    wanted = [code for code in codes if code > 0]
    return {code: LABEL_COLOURS[number % len(LABEL_COLOURS)] for number, code in enumerate(wanted)}


def _mark_sides(ax: Axes, view: View) -> None:
    places = (
        (0.02, 0.5, "left", "center"),
        (0.98, 0.5, "right", "center"),
        (0.5, 0.98, "center", "top"),
        (0.5, 0.02, "center", "bottom"),
    )
    for mark, (x, y, horizontal, vertical) in zip(view.marks, places, strict=True):
        ax.text(
            x,
            y,
            mark,
            transform=ax.transAxes,
            ha=horizontal,
            va=vertical,
            fontsize=6.5,
            color="white",
            fontweight="bold",
            path_effects=OUTLINED,
        )


def _draw_scale_bar(ax: Axes, view: View) -> None:
    width, height = view.size_mm
    length = scale_bar_mm(width)
    left, bottom = 0.04 * width, height - 0.05 * height
    ax.add_patch(Rectangle((left, bottom), length, 0.012 * width, color="white", linewidth=0))
    text_at = (left, bottom - 0.015 * height)
    ax.text(*text_at, f"{length:g} mm", color="white", fontsize=6, va="bottom", path_effects=OUTLINED)


def _legend(tiles: Sequence[Tile], labels: Mapping[str, int]) -> list[Patch]:
    names = {code: name for name, code in labels.items()}
    entries: list[Patch] = []
    for tile in tiles:
        if tile.kind == "labels":
            coloured = _label_colours(labels, tile).items()
            entries += [
                Patch(color=colour, label=f"reference: {names.get(code, f'label {code}')}")
                for code, colour in coloured
            ]
        elif tile.kind == "errors":
            present = {int(code) for picture in tile.pictures for code in np.unique(picture)}
            codes = (HIT, MISS, FALSE, *([WRONG] if WRONG in present else []))
            entries += [Patch(color=ERRORS[code], label=ERROR_NAMES[code]) for code in codes]
    return entries
