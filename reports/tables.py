"""Frames as tables: what Table 2 looks like.

A further table is one function that returns a `PrintedTable`; `printing` renders it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import pandas as pd

from reports.frames import CELL, DECIMALS, MEASURES, Behind, Measure, best_mask, progress
from reports.notes import MISSING, PARTIAL, UNDEFINED, table2_notes
from reports.printing import Cell, PrintedTable, Row, Span

Source = Literal["runs", "paper", "both"]

LEVEL_LABELS = {"none": "L2", "noise": "L2 + noise", "shuffle": "L2 + shuffling", "learnable": "Learnable θ"}


def layers_label(shared_layers: str) -> str:
    """`4-5-6` as L = {4, 5, 6}."""
    return f"L = {{{', '.join(shared_layers.split('-'))}}}"


def level_label(factor: str, level: str) -> str:
    """A row of Table 2 in the paper's words."""
    if level in LEVEL_LABELS:
        return LEVEL_LABELS[level]
    return f"θ = {level}" if factor == "fusion_weight" else level


def unfinished(own: pd.DataFrame | None) -> str:
    """What a title says where cells lack some of their runs; empty when there is nothing to say."""
    if own is None or (cells := progress(own)).finished:
        return ""
    partial = f", {cells.n_partial} more in part" if cells.n_partial else ""
    return f"unfinished: {cells.n_done} of {cells.n_cells} cells{partial}"


def titled(title: str, note: str) -> str:
    """The title with a note behind it, if there is one."""
    return f"{title} – {note}" if note else title


def table2(
    own: pd.DataFrame | None, paper: pd.DataFrame | None, *, behind: Behind | None, metric: str = "dice"
) -> PrintedTable:
    """Table 2 in the paper's layout, best of each box bold, best of each version underlined.

    `own` is a `table2_frame`, `paper` the `published_table2`; with both, a cell reads
    own / paper (difference). A box is one version and one choice of shared layers.
    """
    measure = MEASURES[metric]
    whose = "" if paper is None else ", own / published (difference)"
    if own is None:
        whose = ", as published"
    return _table2_shape(
        _side_by_side(own, paper, measure),
        _value_cell,
        number="2" if metric == "dice" else f"2 ({measure.name})",
        title=titled(
            f"Mirror U-Net v1 to v4 by shared layers L: mean {measure.title}{whose}", unfinished(own)
        ),
        notes=tuple(table2_notes(own, paper, behind=behind, measure=measure)),
    )


def table2_counts(own: pd.DataFrame) -> PrintedTable:
    """What stands behind each number of Table 2: runs done/planned, seeds, folds, cases with a Dice/all."""
    what = "runs done/planned; seeds; folds; test cases with a Dice/all"
    return _table2_shape(
        own,
        _counts_cell,
        number="2 (counts)",
        title=titled(f"What stands behind each number of Table 2: {what}", unfinished(own)),
        notes=(),
    )


def _table2_shape(
    frame: pd.DataFrame,
    cell: Callable[[dict[Any, Any]], Cell],
    *,
    number: str,
    title: str,
    notes: tuple[str, ...],
) -> PrintedTable:
    layers = list(dict.fromkeys(frame["shared_layers"]))
    rows = []
    for (version, factor, level), group in frame.groupby(CELL[:3], sort=False):
        printed = {record["shared_layers"]: cell(record) for record in group.to_dict("records")}
        cells = tuple(printed.get(choice, (Span(MISSING),)) for choice in layers)
        rows.append(Row(f"({version})", level_label(str(factor), str(level)), cells))
    return PrintedTable(
        number=number,
        title=title,
        stub=("Version", "Parameters"),
        columns=tuple(map(layers_label, layers)),
        rows=tuple(rows),
        notes=notes,
    )


def table2_layout(
    own: pd.DataFrame | None, paper: pd.DataFrame | None, *, metric: str = "dice"
) -> pd.DataFrame:
    """Table 2 as numbers in the paper's layout, for CSV; cells without a value are NaN.

    Columns: `version`, `parameters`, `source`, and one per choice of shared layers. With both sources
    every row comes three times: own, paper, difference.
    """
    frame = _side_by_side(own, paper, MEASURES[metric])
    layers = list(dict.fromkeys(frame["shared_layers"]))
    parts = [part for part in ("own", "paper", "difference") if part in frame]
    rows = []
    for (version, factor, level), group in frame.groupby(CELL[:3], sort=False):
        values = group.set_index("shared_layers")
        stub = {"version": version, "parameters": level_label(str(factor), str(level))}
        for part in parts:
            numbers = {layers_label(choice): values[part].get(choice, float("nan")) for choice in layers}
            rows.append({**stub, "source": part, **numbers})
    return pd.DataFrame(rows)


def table2_cells(
    own: pd.DataFrame | None, paper: pd.DataFrame | None, *, metric: str = "dice"
) -> pd.DataFrame:
    """One row per cell with every number, mark and count, unrounded, for further work."""
    frame = _side_by_side(own, paper, MEASURES[metric])
    if own is None:
        return frame
    counts = [column for column in own if str(column).startswith("n_")]
    return frame.merge(own[[*CELL, *counts]], how="left", on=CELL)


def _side_by_side(own: pd.DataFrame | None, paper: pd.DataFrame | None, measure: Measure) -> pd.DataFrame:
    """CELL and, where given, `own`, `paper`, `difference` with their `_bold` and `_underlined` marks."""
    frames = []
    for name, source in (("own", own), ("paper", paper)):
        if source is None:
            continue
        marked = source[CELL].copy()
        marked[name] = source["value"]
        up = measure.higher_is_better
        marked[f"{name}_bold"] = best_mask(source, ["version", "shared_layers"], higher_is_better=up)
        marked[f"{name}_underlined"] = best_mask(source, ["version"], higher_is_better=up)
        if name == "own":
            marked["std"] = source["std"]
            marked["undefined"] = source["n_runs"].gt(0) & source["value"].isna()
            marked["partial"] = source["n_runs"].gt(0) & source["n_runs"].lt(source["n_expected"])
        frames.append(marked)
    if len(frames) == 1:
        return frames[0]
    # `own` holds all cells of the paper, in the paper's order, and perhaps more.
    both = frames[0].merge(frames[1], how="left", on=CELL)
    marks = ["paper_bold", "paper_underlined"]
    both[marks] = both[marks].astype("boolean").fillna(False).astype(bool)
    both["difference"] = (both["own"].map(DECIMALS.format).astype(float) - both["paper"]).round(2)
    return both


def _value_cell(cell: dict[Any, Any]) -> Cell:
    spans: list[Span] = []
    if "own" in cell:
        spans += _own_spans(cell)
    if "own" in cell and "paper" in cell:
        spans.append(Span(" / "))
    if "paper" in cell:
        spans.append(_number(cell, "paper"))
    difference = cell.get("difference", float("nan"))
    if not pd.isna(difference):
        size = DECIMALS.format(abs(difference))
        sign = "" if float(size) == 0 else "−" if difference < 0 else "+"
        spans.append(Span(f" ({sign}{size})"))
    return tuple(spans)


def _own_spans(cell: dict[Any, Any]) -> Iterator[Span]:
    yield Span(UNDEFINED) if cell["undefined"] else _number(cell, "own")
    if not pd.isna(cell["std"]):
        yield Span(f" ± {DECIMALS.format(cell['std'])}")
    if cell["partial"]:
        yield Span(PARTIAL)


def _number(cell: dict[Any, Any], name: str) -> Span:
    if pd.isna(cell[name]):
        return Span(MISSING)
    text = DECIMALS.format(cell[name])
    return Span(text, bold=bool(cell[f"{name}_bold"]), underline=bool(cell[f"{name}_underlined"]))


def _counts_cell(cell: dict[Any, Any]) -> Cell:
    if not cell["n_expected"]:
        return (Span(MISSING),)
    if not cell["n_runs"]:
        return (Span(f"0/{cell['n_expected']}"),)
    return (Span("{n_runs}/{n_expected}; {n_seeds}; {n_folds}; {n_defined}/{n_cases}".format(**cell)),)
