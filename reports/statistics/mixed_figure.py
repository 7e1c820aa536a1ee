"""The figure of mixed models: the shares of their terms and the marginal means of their factors. It computes
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reports.ground.drawing import BLUE, VERMILLION, tint, write_title
from reports.statistics.mixed import MixedModel

CAPTION = (
    "Left: the share of each term in the variance between the cells of a model, as it is (light) and beyond "
    "what the residual alone would give (dark). Right: how far each level's marginal mean lies from the "
    "mean of its factor, with 95 % intervals over patients."
)
ROW_INCHES = 0.24


def draw_models(models: Mapping[str, MixedModel], title: str) -> Figure:
    """A row of panels a model: its terms, then its factors."""
    most = [max(len(model.terms), model.levels.groupby("factor").size().max()) for model in models.values()]
    columns = 1 + max(len(model.design.factors) for model in models.values())
    figure = Figure(
        figsize=(3.1 * columns, sum(ROW_INCHES * rows + 0.75 for rows in most) + 0.4), layout="constrained"
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots(
        len(models), columns, squeeze=False, gridspec_kw={"height_ratios": [rows + 2 for rows in most]}
    )
    reach = max(
        float(model.levels[["deviation_low", "deviation_high"]].abs().max().max())
        for model in models.values()
    )
    for row, (part, model) in enumerate(models.items()):
        named = f"({part}) " if part else ""
        _draw_terms(axes[row, 0], model)
        axes[row, 0].set_title(f"{named}share of each term", loc="left")
        for column in range(1, columns):
            ax = axes[row, column]
            if column > len(model.design.factors):
                ax.set_axis_off()
                continue
            factor = model.design.factors[column - 1]
            _draw_levels(ax, model, factor, reach=reach)
            ax.set_title(f"{named}{factor}", loc="left")
    write_title(figure, title)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=2)
    return figure


def _draw_terms(ax: Axes, model: MixedModel) -> None:
    places = range(len(model.terms))
    ax.barh(places, model.terms["share"], height=0.7, color=tint(BLUE), label="share as it is")
    ax.barh(places, model.terms["share_beyond"], height=0.34, color=BLUE, label="share beyond noise")
    _rows(ax, list(model.terms["term"]))
    ax.set_xlim(0, 100)
    ax.set_xlabel("Share [%]")


def _draw_levels(ax: Axes, model: MixedModel, factor: str, *, reach: float) -> None:
    levels = model.levels[model.levels["factor"] == factor]
    places = range(len(levels))
    ax.axvline(0, color="0.6", linewidth=0.8, zorder=1)
    ax.hlines(places, levels["deviation_low"], levels["deviation_high"], color=BLUE, linewidth=1.4, zorder=2)
    ax.scatter(levels["deviation"], places, s=16, color=VERMILLION, linewidths=0, zorder=3)
    _rows(ax, list(levels["level"]))
    ax.set_xlim(-1.08 * reach, 1.08 * reach)
    ax.set_xlabel("From the factor's mean [points]")


def _rows(ax: Axes, names: list[str]) -> None:
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(False)
    ax.grid(True, axis="x")
