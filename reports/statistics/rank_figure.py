"""The figure of ranks: how often every competitor takes every rank. It draws `Ranking`s and computes nothing."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.ground.drawing import BLUE, VERMILLION, write_title
from reports.statistics.ranks import Ranking

CAPTION = (
    "The area of a disc is the share of the resamples of the patients in which a row takes that rank; the line is "
    "the 95 % interval of its ranks, the diamond its mean rank. Rows are in the order of all patients; 1 is the "
    "best. Where discs spread over many ranks, the order is not settled."
)
ROW_INCHES = 0.17
GAP_ROWS = 3
"""Between the panels of a column, in rows."""
PANEL_INCHES = 2.3
LARGEST_DISC = 90.0
"""Area in square points of a rank that is always taken."""


def draw_ranks(rankings: Mapping[str, Ranking], title: str) -> Figure:
    """One panel a ranking, side by side, their rows of one height and the best on top."""
    columns = packed({name: len(ranking.frame) for name, ranking in rankings.items()})
    most = max(sum(len(rankings[name].frame) + GAP_ROWS for name in names) for names in columns)
    longest = max(len(name) for ranking in rankings.values() for name in ranking.frame["name"])
    width = len(columns) * (PANEL_INCHES + 0.062 * longest)
    figure = Figure(figsize=(max(width, 4.8), ROW_INCHES * most + 1.0), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(1, len(columns))
    for column, names in enumerate(columns):
        rows = [len(rankings[name].frame) + GAP_ROWS for name in names]
        # What is left at the foot of a shorter column, so that all rows are of one height.
        rest = [most - sum(rows)] if most > sum(rows) else []
        inner = grid[0, column].subgridspec(len(rows) + len(rest), 1, height_ratios=[*rows, *rest])
        for place, name in enumerate(names):
            ax = figure.add_subplot(inner[place, 0])
            _draw_panel(ax, rankings[name])
            ax.set_title(name)
    write_title(figure, title)
    figure.legend(handles=_legend(), loc="outside lower center", ncols=3)
    return figure


def packed(rows: Mapping[str, int]) -> list[list[str]]:
    """Panels with so many rows in columns, in order, none taller than two rows more than the tallest panel."""
    columns: list[list[str]] = []
    for name, count in rows.items():
        if columns and sum(rows[other] for other in columns[-1]) + count <= max(rows.values()) + 2:
            columns[-1].append(name)
        else:
            columns.append([name])
    return columns


def _draw_panel(ax: Axes, ranking: Ranking) -> None:
    rows = {name: row for row, name in enumerate(ranking.frame["name"])}
    ax.hlines(
        list(rows.values()),
        ranking.frame["low"],
        ranking.frame["high"],
        color="0.65",
        linewidth=0.9,
        zorder=1,
    )
    ax.scatter(
        ranking.shares["rank"],
        [rows[name] for name in ranking.shares["name"]],
        s=ranking.shares["share"] * (LARGEST_DISC / 100),
        color=BLUE,
        linewidths=0,
        zorder=2,
    )
    ax.scatter(
        ranking.frame["mean_rank"],
        list(rows.values()),
        s=11,
        marker="D",
        color=VERMILLION,
        edgecolors="white",
        linewidths=0.5,
        zorder=3,
    )
    ax.set_yticks(list(rows.values()), list(rows))
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlim(0.3, len(rows) + 0.7)
    step = next(step for step in (1, 2, 5, 10, 20, 50) if len(rows) / step <= 9 or step == 50)
    ax.set_xticks([1, *range(step, len(rows) + 1, step)] if step > 1 else range(1, len(rows) + 1))
    ax.xaxis.tick_top()
    ax.tick_params(axis="y", length=0, labelsize=7)
    ax.spines["bottom"].set_visible(False)
    ax.spines["left"].set_visible(False)
    ax.grid(False)
    for row in rows.values():
        ax.axhline(row, color="0.93", linewidth=0.5, zorder=0)


def _legend() -> list[Line2D]:
    disc = Line2D([], [], linestyle="none", marker="o", color=BLUE, markeredgewidth=0)
    disc.set_markersize((LARGEST_DISC / 2) ** 0.5)
    disc.set_label("half of the resamples")
    line = Line2D([], [], color="0.65", linewidth=0.9, label="95 % of the ranks")
    diamond = Line2D([], [], linestyle="none", marker="D", markersize=4, color=VERMILLION)
    diamond.set_markeredgecolor("white")
    diamond.set_label("mean rank")
    return [disc, line, diamond]
