"""The cells of a grid by the levels of each factor: the renderer."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reports.ground.boxes import box_statistics
from reports.ground.drawing import BLUE, draw_box, write_title

CAPTION = (
    "A panel for each factor, a box for each of its levels, a point for each cell with this level: its mean over "
    "cases, folds and seeds."
)
LONGEST_LABEL = 10
"""Characters of a level that stand upright under its box."""


def draw_factors(points: pd.DataFrame, factors: Sequence[str], heading: str, title: str) -> Figure:
    """A panel a factor; `points` have its columns and `value`, a row a cell."""
    n_levels = [points[factor].nunique() for factor in factors]
    figure = Figure(figsize=(sum(0.6 + 0.5 * max(n, 3) for n in n_levels), 2.9), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(
        1,
        len(factors),
        squeeze=False,
        sharey=True,
        gridspec_kw={"width_ratios": [max(n, 3) for n in n_levels]},
    )
    for ax, factor in zip(axes[0], factors, strict=True):
        _draw_factor(ax, points, factor)
    axes[0, 0].set_ylabel(heading)
    write_title(figure, title)
    return figure


def _draw_factor(ax: Axes, points: pd.DataFrame, factor: str) -> None:
    boxes = box_statistics(points, [factor])
    for at, box in enumerate(boxes.to_dict("records")):
        if not box["n"]:
            continue
        draw_box(ax, box, at=at, width=0.6, colour=BLUE)
        members = points.loc[points[factor] == box[factor], "value"].dropna()
        step = 0.42 / max(len(members) - 1, 1)
        places = [at + step * (number - (len(members) - 1) / 2) for number in range(len(members))]
        ax.scatter(places, members, s=7, color="0.2", linewidths=0, zorder=3)
    labels = [
        str(box[factor])
        if box["n"] == box["n_expected"]
        else f"{box[factor]}\n{box['n']}/{box['n_expected']}"
        for box in boxes.to_dict("records")
    ]
    upright = max(map(len, labels), default=0) <= LONGEST_LABEL
    ax.set_xticks(range(len(labels)), labels, rotation=0 if upright else 90)
    ax.set_xlim(-0.55, max(len(labels), 1) - 0.45)
    ax.set_xlabel(factor)
