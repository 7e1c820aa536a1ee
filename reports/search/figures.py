"""The figures of a search: the renderers. They draw what the functions of `frames` return and compute nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.ground.drawing import BLACK, BLUE, ORANGE, VERMILLION, write_title
from reports.ground.measures import DICE, measure_of
from reports.search.frames import Definition

HOLLOW = "white"
GREY = "0.65"
PANEL = (2.7, 2.5)
CONTOURED = 4
"""So many of the most important parameters have contour plots, each with each."""
FEWEST_POINTS = 6
"""Trials below which points are drawn without contours."""
LEVELS = 10


def draw_history(frames: Mapping[str, pd.DataFrame], pruned: Sequence[int]) -> Figure:
    """The value of every complete trial by its number, and the best so far; a panel an objective. The numbers of the
    trials that were pruned are marked below."""
    figure, axes = _figure(1, len(frames), width=4.8, height=3.0)
    for ax, (objective, frame) in zip(axes[0], frames.items(), strict=True):
        scale = measure_of(objective).scale
        for kept, colour in ((True, BLUE), (False, GREY)):
            part = frame[(frame["feasible"] == kept) & ~frame["reference"]]
            ax.scatter(
                part["trial"],
                scale * part["value"],
                s=16,
                facecolor=colour if kept else HOLLOW,
                edgecolor=colour,
                zorder=3,
            )
        own = frame[frame["reference"]]
        ax.scatter(own["trial"], scale * own["value"], s=26, marker="D", color=BLACK, zorder=3)
        foot = ax.get_xaxis_transform()
        ax.plot(pruned, [0.02] * len(pruned), "x", markersize=4.5, color=VERMILLION, transform=foot, zorder=3)
        if len(frames) == 1:
            ax.step(frame["trial"], scale * frame["best"], where="post", color=BLUE, linewidth=1.2, zorder=2)
        _whole_numbers(ax, max([*frame["trial"], *pruned], default=0))
        ax.set_xlabel("Trial")
        ax.set_ylabel(measure_of(objective).title)
    entries = [_dot(BLUE, "complete")]
    if any((~frame["feasible"]).any() for frame in frames.values()):
        entries.append(_dot(GREY, "breaks a constraint", hollow=True))
    if any(frame["reference"].any() for frame in frames.values()):
        entries.append(_mark("D", BLACK, "the paper's values"))
    if pruned:
        entries.append(_mark("x", VERMILLION, "pruned"))
    if len(frames) == 1:
        entries.append(Line2D([], [], color=BLUE, linewidth=1.2, label="best so far"))
    return _titled(figure, "Optimisation history", entries)


def draw_importances(frame: pd.DataFrame) -> Figure:
    """A bar a parameter, a panel an objective."""
    objectives = list(dict.fromkeys(frame["objective"]))
    names = list(dict.fromkeys(frame["parameter"]))
    figure, axes = _figure(1, len(objectives), width=4.2, height=0.9 + 0.32 * len(names))
    for ax, objective in zip(axes[0], objectives, strict=True):
        own = frame[frame["objective"] == objective].sort_values("importance")
        bars = ax.barh(own["parameter"], own["importance"], color=BLUE, height=0.6)
        ax.bar_label(bars, fmt="%.2f", padding=2, fontsize=7)
        ax.set_xlim(0, max(1.0, 1.1 * float(own["importance"].max())))
        ax.grid(visible=False, axis="y")
        ax.grid(visible=True, axis="x")
        ax.set_xlabel("Importance (PED-ANOVA)")
        if len(objectives) > 1:
            ax.set_title(measure_of(objective).kind)
    return _titled(figure, "How far each parameter tells the best trials from the others", [])


def draw_slices(trials: pd.DataFrame, definition: Definition) -> Figure:
    """A column a parameter, a row an objective: the value of every complete trial; later trials are darker."""
    complete = trials[trials["state"] == "complete"]
    names = [name for name in definition.parameters if complete[name].notna().any()]
    columns = min(4, len(names))
    lines = -(-len(names) // columns)
    objectives = list(definition.objectives)
    figure, axes = _figure(
        lines * len(objectives),
        columns,
        width=PANEL[0] * columns,
        height=PANEL[1] * lines * len(objectives),
        total=True,
    )
    for ax in axes.flat:
        ax.set_visible(False)
    for (row, objective), (place, name) in itertools.product(enumerate(objectives), enumerate(names)):
        ax = axes[row * lines + place // columns, place % columns]
        ax.set_visible(True)
        own = complete.dropna(subset=[name, objective])
        positions = _positions(own[name], name, definition, ax.set_xticks, ax.set_xscale)
        measure = measure_of(objective)
        ax.scatter(
            positions,
            measure.scale * own[objective],
            c=own["trial"],
            cmap="Blues",
            vmin=-len(trials) / 2,
            s=18,
            edgecolors="0.3",
            linewidths=0.4,
            zorder=3,
        )
        _limits(ax.set_xlim, name, definition)
        # One scale for all parameters: a panel holds the trials that have its own.
        ax.set_ylim(*_spread(measure.scale * complete[objective]))
        ax.set_xlabel(name)
        if place % columns == 0:
            ax.set_ylabel(measure.title)
    return _titled(figure, "Each parameter's values and what they gave; later trials are darker", [])


def draw_contours(
    trials: pd.DataFrame, definition: Definition, names: Sequence[str], *, objectives: Sequence[str]
) -> list[tuple[str, Figure]]:
    """A figure an objective, whose values must differ: each pair of parameters, with the objective's contours where
    both are numbers."""
    figures = []
    for objective in objectives:
        shown = [name for name in names if trials[name].notna().any()][:CONTOURED]
        pairs = list(itertools.combinations(shown, 2))
        if not pairs:
            continue
        columns = min(3, len(pairs))
        lines = -(-len(pairs) // columns)
        figure, axes = _figure(lines, columns, width=3.1 * columns + 0.6, height=2.7 * lines, total=True)
        measure = measure_of(objective)
        complete = trials[trials["state"] == "complete"].dropna(subset=[objective])
        values = measure.scale * complete[objective]
        norm = {"vmin": float(values.min()), "vmax": float(values.max())}
        for ax in axes.flat[len(pairs) :]:
            ax.set_visible(False)
        points: Any = None
        for ax, (across, up) in zip(axes.flat, pairs, strict=False):
            own = complete.dropna(subset=[across, up])
            x = _positions(own[across], across, definition, ax.set_xticks, ax.set_xscale)
            y = _positions(own[up], up, definition, ax.set_yticks, ax.set_yscale)
            z = (measure.scale * own[objective]).to_numpy(float)
            if {across, up} <= set(definition.numbers):
                _contour(ax, x, y, z, definition, (across, up), norm)
            points = ax.scatter(
                x, y, c=z, cmap="viridis", s=20, edgecolors="white", linewidths=0.6, zorder=3, **norm
            )
            _limits(ax.set_xlim, across, definition)
            _limits(ax.set_ylim, up, definition)
            ax.set_xlabel(across)
            ax.set_ylabel(up)
            ax.grid(visible=False)
        if points is not None:
            figure.colorbar(points, ax=axes.ravel().tolist(), label=measure.title, shrink=0.9)
        figures.append((objective, _titled(figure, f"{measure.kind} by pairs of parameters", [])))
    return figures


def draw_front(frame: pd.DataFrame, definition: Definition) -> Figure:
    """Two objectives against each other; the front as steps, since nothing is known to lie between its trials."""
    first, second = list(definition.objectives)[:2]
    figure, axes = _figure(1, 1, width=4.8, height=3.4)
    ax = axes[0, 0]
    x, y = measure_of(first), measure_of(second)
    rest, best = frame[~frame["on_front"]], frame[frame["on_front"]].sort_values(first)
    ax.scatter(
        x.scale * rest[first], y.scale * rest[second], s=16, facecolor=HOLLOW, edgecolor=GREY, zorder=2
    )
    ax.plot(
        x.scale * best[first],
        y.scale * best[second],
        drawstyle="steps-pre" if definition.objectives[first] == "maximize" else "steps-post",
        color=VERMILLION,
        marker="o",
        markersize=4.5,
        linewidth=1.0,
        zorder=3,
    )
    for trial in best.to_dict("records"):
        ax.annotate(
            str(trial["trial"]),
            (x.scale * trial[first], y.scale * trial[second]),
            xytext=(4, 3),
            textcoords="offset points",
            fontsize=6.5,
        )
    ax.set_xlabel(f"{x.title} ({definition.objectives[first]})")
    ax.set_ylabel(f"{y.title} ({definition.objectives[second]})")
    entries = [
        Line2D(
            [],
            [],
            color=VERMILLION,
            marker="o",
            markersize=4.5,
            label="Pareto front, with the trials' numbers",
        ),
        _dot(GREY, "beaten", hollow=True),
    ]
    return _titled(figure, "Pareto front", entries)


def draw_curves(frame: pd.DataFrame, best: int | None) -> Figure:
    """Validation Dice by step: complete trials, pruned ones with a cross where they ended, the best one in front."""
    figure, axes = _figure(1, 1, width=5.2, height=3.2)
    ax = axes[0, 0]
    looks: dict[str, dict[str, Any]] = {
        "complete": {"color": BLUE, "alpha": 0.55},
        "pruned": {"color": ORANGE, "alpha": 0.8},
        "failed": {"color": GREY, "linestyle": ":"},
        "running": {"color": GREY, "linestyle": "--"},
    }
    seen = [state for state in looks if (frame["state"] == state).any()]
    for (number, state), line in frame.groupby(["trial", "state"], sort=False):
        look = (
            {"color": BLACK, "linewidth": 1.8, "zorder": 4}
            if number == best
            else {"linewidth": 0.9, **looks[str(state)]}
        )
        marker = "o" if len(line) == 1 else None
        ax.plot(line["step"], DICE.scale * line["value"], marker=marker, markersize=2.5, **look)
        if state == "pruned":
            end = line.iloc[-1]
            ax.plot(
                end["step"], DICE.scale * end["value"], marker="x", markersize=5, color=VERMILLION, zorder=5
            )
    ax.set_xlabel("Optimiser step")
    ax.set_ylabel(f"Validation {DICE.title}")
    entries = [Line2D([], [], label=state, **looks[state]) for state in seen if state != "pruned"]
    if "pruned" in seen:
        entries.append(
            Line2D([], [], label="pruned", marker="x", markeredgecolor=VERMILLION, **looks["pruned"])
        )
    if best is not None and best in set(frame["trial"]):
        entries.append(Line2D([], [], color=BLACK, linewidth=1.8, label=f"best (trial {best})"))
    return _titled(figure, "Validations during training", entries)


def _figure(
    rows: int, columns: int, *, width: float, height: float, total: bool = False
) -> tuple[Figure, Any]:
    """`width` and `height` of one panel in inches, or of the whole figure; axes as an array of rows and columns."""
    size = (width, height + 0.5) if total else (width * columns, height * rows)
    figure = Figure(figsize=(max(size[0], 3.2), size[1]), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _titled(figure: Figure, title: str, entries: Sequence[Any]) -> Figure:
    write_title(figure, title)
    if entries:
        figure.legend(handles=list(entries), loc="outside lower center", ncols=len(entries))
    return figure


def _dot(colour: str, label: str, *, hollow: bool = False) -> Line2D:
    face = HOLLOW if hollow else colour
    return Line2D(
        [], [], linestyle="none", marker="o", markersize=4.5, color=colour, markerfacecolor=face, label=label
    )


def _mark(marker: str, colour: str, label: str) -> Line2D:
    return Line2D([], [], linestyle="none", marker=marker, markersize=4.5, color=colour, label=label)


def _whole_numbers(ax: Axes, last: int) -> None:
    step = max(1, -(-(last + 1) // 8))
    ax.set_xticks(range(0, last + 1, step))


def _positions(
    values: pd.Series,
    name: str,
    definition: Definition,
    set_ticks: Callable[..., object],
    set_scale: Callable[..., object],
) -> np.ndarray:
    """Numbers as they are; choices one beside the other, in the order of the search."""
    if name in definition.choices:
        levels = list(definition.choices[name])
        long = max(map(len, levels)) > 4 or len(levels) > 6
        set_ticks(range(len(levels)), levels, fontsize=6.5, **({"rotation": 30} if long else {}))
        return values.map(levels.index).to_numpy(float)
    if definition.numbers[name]["log"]:
        set_scale("log")
    return values.to_numpy(float)


def _spread(values: pd.Series) -> tuple[float, float]:
    """From the least to the greatest, with a margin."""
    low, high = float(values.min()), float(values.max())
    margin = 0.06 * (high - low) or 0.5
    return (low - margin, high + margin)


def _limits(set_limits: Callable[..., object], name: str, definition: Definition) -> None:
    if name in definition.choices:
        set_limits(-0.5, len(definition.choices[name]) - 0.5)
        return
    number = definition.numbers[name]
    low, high = float(number["low"]), float(number["high"])
    if number["log"]:
        margin = (high / low) ** 0.04
        set_limits(low / margin, high * margin)
    else:
        margin = 0.04 * (high - low)
        set_limits(low - margin, high + margin)


def _contour(
    ax: Axes,
    x: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    definition: Definition,
    names: tuple[str, str],
    norm: Mapping[str, float],
) -> None:
    """Linear between the trials, on the scales of the axes; nothing where they are too few or lie on a line."""
    if len(z) < FEWEST_POINTS:
        return
    u, v = (
        np.log10(values) if definition.numbers[name]["log"] else values
        for values, name in zip((x, y), names, strict=True)
    )
    points = np.column_stack([u, v])
    if np.linalg.matrix_rank(points - points.mean(axis=0), tol=1e-9) < 2:
        return
    # Triangles between points of an axis on a log scale are those of the logarithms.
    from matplotlib.tri import Triangulation

    triangles = Triangulation(u, v).triangles
    levels = np.linspace(norm["vmin"], norm["vmax"], LEVELS)
    ax.tricontourf(x, y, triangles, z, levels=levels, cmap="viridis", alpha=0.6, **norm)
