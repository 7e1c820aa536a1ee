"""The box plots of Dice and HD95: the renderer. It draws what the functions of `boxes` return."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from reports.ground.drawing import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION, draw_box, write_title
from reports.ground.measures import DICE, HD95
from reports.tables.comparison.boxes import SHOWN, boxes

FORMATS = ("png", "pdf")
COLOURS = (BLUE, ORANGE, GREEN, VERMILLION, SKY, PURPLE)
UNDER = {DICE.metric: ("n", "n_missed"), HD95.metric: ("n", "n_missed", "n_invented")}
"""What is counted under each box; an invented structure has no Dice."""
MARKS: dict[str, dict[str, Any]] = {
    "missed": {"marker": "x", "linewidths": 0.9, "color": BLACK},
    "invented": {"marker": "v", "linewidths": 0.7, "facecolor": "white", "edgecolor": BLACK},
}
LEGEND = {
    "missed": "missed: nothing predicted, by one run at least",
    "invented": "invented: predicted though there is none",
}
LINE_POINTS = 8.0
USUAL_NAME = 24
"""Characters of a method's name that a panel has room for."""
CAPTION = (
    "Every point is a test case, its value the mean over seeds; a box holds all cases of a method for which the metric "
    "is defined, with the penalties of structures that were missed or invented. Numbers of cases stand under the boxes."
)


def draw_boxes(cases: pd.DataFrame, title: str) -> Figure:
    """One row of panels a region, one column a metric, one box a method; every case is a point."""
    metrics = [metric for metric in SHOWN if (cases["metric"] == metric).any()]
    regions = list(dict.fromkeys(cases["region"]))
    names = list(dict.fromkeys(cases["method"]))
    longest = max((len(name) for name in names), default=0)
    # A name that is long reaches far to the left of its box.
    width = len(metrics) * (1.0 + 0.5 * max(len(names), 4) + 0.06 * max(longest - USUAL_NAME, 0))
    height = 2.5 * len(regions) + 0.6 + 0.05 * longest
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(regions), len(metrics), squeeze=False)
    statistics = boxes(cases)
    for row, region in enumerate(regions):
        for column, metric in enumerate(metrics):
            ax = axes[row, column]
            here = {"metric": metric, "region": region}
            _draw_panel(ax, _part(statistics, here), _part(cases, here), names=names)
            _name_methods(ax, names if row == len(regions) - 1 else [""] * len(names), metric=metric)
            _scale(ax, metric)
            if len(regions) > 1:
                ax.set_title(region)
    write_title(figure, title)
    present = [mark for mark in MARKS if cases[mark].gt(0).any()]
    if present:
        handles = [_legend(mark) for mark in present]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _part(frame: pd.DataFrame, where: Mapping[str, str]) -> pd.DataFrame:
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame


def _draw_panel(ax: Axes, statistics: pd.DataFrame, cases: pd.DataFrame, *, names: list[str]) -> None:
    colours = dict(zip(names, cycle(COLOURS), strict=False))
    for box in statistics.to_dict("records"):
        at = names.index(box["method"])
        if box["n"]:
            draw_box(ax, box, at=at, width=0.62, colour=colours[box["method"]])
        _draw_points(ax, cases[cases["method"] == box["method"]], at=at)
        for line, count in enumerate(UNDER[box["metric"]]):
            _write_under(ax, "–" if pd.isna(box[count]) else f"{box[count]:.0f}", at=at, line=line)
    for name in names:
        if name not in set(statistics["method"]):
            _write_under(ax, "–", at=names.index(name), line=0)
    if not statistics.empty:
        for line, count in enumerate(UNDER[statistics["metric"].iloc[0]]):
            _write_under(ax, count.removeprefix("n_"), at=None, line=line)


def _draw_points(ax: Axes, cases: pd.DataFrame, *, at: float) -> None:
    """From left to right in the order of the cases, the same for every method."""
    step = 0.5 / max(len(cases) - 1, 1)
    positions = pd.Series(
        [at - step * (len(cases) - 1) / 2 + step * i for i in range(len(cases))], cases.index
    )
    penalised = {mark: cases[mark].gt(0) for mark in MARKS}
    plain = ~(penalised["missed"] | penalised["invented"])
    size = 7.0 if len(cases) <= 60 else 2.5
    ax.scatter(positions[plain], cases.loc[plain, "value"], s=size, color="0.2", linewidths=0, zorder=3)
    for mark, chosen in penalised.items():
        ax.scatter(
            positions[chosen], cases.loc[chosen, "value"], s=14, zorder=4, clip_on=False, **MARKS[mark]
        )


def _write_under(ax: Axes, text: str, *, at: float | None, line: int) -> None:
    """A line of the small table between the axis and the names; without a place, at its head."""
    ax.annotate(
        text,
        (0 if at is None else at, 0),
        xycoords="axes fraction" if at is None else ax.get_xaxis_transform(),
        xytext=(-4 if at is None else 0, -3 - LINE_POINTS * line),
        textcoords="offset points",
        ha="right" if at is None else "center",
        va="top",
        fontsize=6,
        color="0.35",
        annotation_clip=False,
    )


def _name_methods(ax: Axes, names: list[str], *, metric: str) -> None:
    ax.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
    ax.tick_params(axis="x", pad=4 + LINE_POINTS * len(UNDER[metric]))
    ax.set_xlim(-0.6, len(names) - 0.4)


def _scale(ax: Axes, metric: str) -> None:
    if metric == DICE.metric:
        ax.set_ylabel(DICE.title)
        ax.set_ylim(-3, 103)
        return
    # A penalty of a body's diagonal would flatten every box on a linear scale.
    ax.set_yscale("symlog", linthresh=1.0, linscale=0.4)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_ylim(-0.1, 1.5 * max(ax.dataLim.y1, 1.0))
    ax.set_ylabel(f"{HD95.title}, logarithmic above 1")


def _legend(mark: str) -> Any:
    faces = {"missed": BLACK, "invented": "white"}
    return Line2D(
        [],
        [],
        linestyle="none",
        marker=str(MARKS[mark]["marker"]),
        markersize=4,
        markerfacecolor=faces[mark],
        markeredgecolor=BLACK,
        label=LEGEND[mark],
    )
