"""Figures 4, 5 and 6: the renderers. They draw what the functions of `frames` return and compute nothing.

A figure has one panel per frame, by the panel's title. The same numbers give the same bytes, in every format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from reports.ground.boxes import box_statistics
from reports.ground.drawing import BLACK, BLUE, GREEN, ORANGE, SKY, VERMILLION, draw_box, tint, write_title
from reports.ground.words import level_label
from reports.tables.table2.frames import best_by_sharing, dice_by_fusion_weight, dice_by_self_supervision

LEVEL_COLOURS = {"none": ORANGE, "noise": SKY, "shuffle": GREEN}
VERSION_STYLES = {"v1": (SKY, "o"), "v2": (GREEN, "s"), "v3": (VERMILLION, "D"), "v4": (BLACK, "^")}
PANEL_INCHES = (4.9, 3.2)
DICE = "Dice [%]"


@dataclass(frozen=True)
class FigureText:
    """A figure's number, what it shows, and what must be known to read it."""

    number: int
    title: str
    caption: str


FIGURES = {
    4: FigureText(
        4,
        "Self-supervision methods in versions 1 to 3",
        "Every box holds the values of all choices of shared layers, drawn as points from left to right in "
        "the order of Table 2.",
    ),
    5: FigureText(
        5,
        "Versions by shared layers",
        "Every point is the best value of one version and one choice of shared layers, a bold number of "
        "Table 2.",
    ),
    6: FigureText(
        6,
        "Decision fusion (v4): influence of θ by shared layers",
        "Every box holds the values of the fixed θ from 0.1 to 0.5, drawn as points from left to right; the "
        "learnable θ is left out.",
    ),
}


def draw(number: int, panels: Mapping[str, pd.DataFrame], *, note: str = "") -> Figure:
    """Figure 4, 5 or 6 with one panel per frame of Table 2 (CELL and `value`), all on one scale of y."""
    draw_panel = {4: _draw_self_supervision, 5: _draw_sharing, 6: _draw_fusion_weight}[number]
    width, height = PANEL_INCHES
    figure = Figure(figsize=(width * len(panels), height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    legend: dict[str, Any] = {}
    for ax, (title, frame) in zip(axes, panels.items(), strict=True):
        legend |= {entry.get_label(): entry for entry in draw_panel(frame, ax)}
        if len(panels) > 1:
            ax.set_title(title)
    axes[0].set_ylabel(DICE)
    # On a line of its own: a single panel has no room beside the title.
    lines = [f"Figure {number}. {FIGURES[number].title}", *([note] if note else [])]
    write_title(figure, "\n".join(lines))
    if legend:
        figure.legend(handles=list(legend.values()), loc="outside lower center", ncols=len(legend))
    return figure


def _draw_self_supervision(frame: pd.DataFrame, ax: Axes) -> list[Any]:
    points = dice_by_self_supervision(frame)
    boxes = box_statistics(points, ["version", "level"])
    versions = list(dict.fromkeys(boxes["version"]))
    levels = list(dict.fromkeys(boxes["level"]))
    width = 0.8 / len(levels)
    colours = {level: LEVEL_COLOURS.get(level, BLUE) for level in levels}
    for box in boxes.to_dict("records"):
        offset = (levels.index(box["level"]) - (len(levels) - 1) / 2) * width
        members = points[(points["version"] == box["version"]) & (points["level"] == box["level"])]
        position = versions.index(box["version"]) + offset
        _draw_box(ax, box, members["value"], at=position, width=width * 0.86, colour=colours[box["level"]])
    ax.set_xticks(range(len(versions)), [f"({version})" for version in versions])
    ax.set_xlim(-0.55, len(versions) - 0.45)
    ax.set_xlabel("Version")
    return [
        Patch(facecolor=tint(colour), edgecolor=colour, label=level_label("self_supervision", level))
        for level, colour in colours.items()
    ]


def _draw_fusion_weight(frame: pd.DataFrame, ax: Axes) -> list[Any]:
    points = dice_by_fusion_weight(frame)
    boxes = box_statistics(points, ["shared_layers"])
    for position, box in enumerate(boxes.to_dict("records")):
        members = points.loc[points["shared_layers"] == box["shared_layers"], "value"]
        _draw_box(ax, box, members, at=position, width=0.6, colour=BLUE)
    _name_layers(ax, list(boxes["shared_layers"]))
    return []


def _draw_sharing(frame: pd.DataFrame, ax: Axes) -> list[Any]:
    points = best_by_sharing(frame)
    layers = list(dict.fromkeys(points["shared_layers"]))
    legend: list[Any] = []
    for version, line in points.groupby("version", sort=False):
        colour, marker = VERSION_STYLES.get(str(version), (BLUE, "v"))
        values = line.set_index("shared_layers")["value"].reindex(layers)
        ax.plot(range(len(layers)), values, color=colour, linewidth=1.2, zorder=2)
        for point in line.dropna(subset="value").to_dict("records"):
            whole = point["n"] == point["n_expected"]
            ax.plot(
                layers.index(point["shared_layers"]),
                point["value"],
                marker=marker,
                markersize=5,
                color=colour,
                markerfacecolor=colour if whole else "white",
                linestyle="none",
                zorder=3,
            )
        legend.append(Line2D([], [], color=colour, marker=marker, markersize=5, label=f"({version})"))
    present = points.dropna(subset="value")
    if (present["n"] < present["n_expected"]).any():
        hollow = Line2D([], [], color="0.4", marker="o", markerfacecolor="white", linestyle="none")
        hollow.set_label("hollow: best of a part of its box")
        legend.append(hollow)
    empty = points.groupby("shared_layers", sort=False)["n"].sum()
    for position, choice in enumerate(layers):
        if empty[choice] == 0:
            _note_count(ax, position, "no value")
    _name_layers(ax, layers)
    return legend


def _name_layers(ax: Axes, layers: Sequence[str]) -> None:
    ax.set_xticks(range(len(layers)), [f"{{{choice.replace('-', ',')}}}" for choice in layers])
    ax.set_xlim(-0.55, len(layers) - 0.45)
    ax.set_xlabel("Shared layers L")


def _draw_box(
    ax: Axes, box: Mapping[Any, Any], members: pd.Series, *, at: float, width: float, colour: str
) -> None:
    """A box with its points; a group that lacks values says how many it has, an empty one too."""
    if box["n"]:
        draw_box(ax, box, at=at, width=width, colour=colour)
        step = width * 0.7 / max(len(members) - 1, 1)
        start = at - step * (len(members) - 1) / 2
        positions = [start + step * index for index in range(len(members))]
        ax.scatter(positions, members, s=7, color="0.2", linewidths=0, zorder=3)
    if box["n"] < box["n_expected"]:
        _note_count(ax, at, f"{box['n']}/{box['n_expected']}")


def _note_count(ax: Axes, at: float, text: str) -> None:
    # Between the axis and its tick labels, where no data can be; all panels keep one height.
    figure = ax.get_figure()
    for panel in figure.axes if figure else []:
        panel.tick_params(axis="x", pad=10)
    ax.annotate(
        text,
        (at, 0),
        xycoords=ax.get_xaxis_transform(),
        xytext=(0, -2),
        textcoords="offset points",
        ha="center",
        va="top",
        fontsize=6,
        color="0.4",
        annotation_clip=False,
    )
