"""Own and published numbers side by side, and a cell of them in print."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import pandas as pd

from reports.ground.frames import DECIMALS, best_mask, progress
from reports.ground.measures import Measure
from reports.ground.notes import MISSING, PARTIAL, UNDEFINED
from reports.ground.printing import Cell, Span
from reports.ground.words import counted

Source = Literal["runs", "paper", "both"]
PARTS = ("own", "paper", "difference")
STANDING = ("low", "high", "marks")
WITHIN = "≈"
"""Behind a difference: the published number lies within the own number's interval."""


def side_by_side(
    own: pd.DataFrame | None,
    paper: pd.DataFrame | None,
    measure: Measure,
    *,
    keys: Sequence[str],
    bold: Sequence[str],
    underlined: Sequence[str] | None,
) -> pd.DataFrame:
    """`keys` and, where given, `own`, `paper`, `difference` with their `_bold` and `_underlined` marks.

    `own` is a `cells_frame`, perhaps with the columns STANDING of its cells' `standings`, `paper` has `keys` and
    `value`. The best of each group of `bold` columns is bold, of `underlined` columns underlined; None underlines
    nothing.
    """
    keys = list(keys)
    frames = []
    for name, source in (("own", own), ("paper", paper)):
        if source is None:
            continue
        marked = source[keys].copy()
        marked[name] = source["value"]
        up = measure.higher_is_better
        marked[f"{name}_bold"] = best_mask(source, bold, higher_is_better=up)
        marked[f"{name}_underlined"] = underlined is not None and best_mask(
            source, underlined, higher_is_better=up
        )
        if name == "own":
            marked["std"] = source["std"]
            marked["undefined"] = source["n_scored"].gt(0) & source["value"].isna()
            marked["partial"] = source["n_runs"].gt(0) & source["n_runs"].lt(source["n_expected"])
            for column in STANDING:
                if column in source:
                    marked[column] = source[column]
        frames.append(marked)
    if len(frames) == 1:
        return frames[0]
    # `own` holds all cells of the paper, in the paper's order, and perhaps more.
    both = frames[0].merge(frames[1], how="left", on=keys)
    marks = ["paper_bold", "paper_underlined"]
    both[marks] = both[marks].astype("boolean").fillna(False).astype(bool)
    both["difference"] = (both["own"].map(DECIMALS.format).astype(float) - both["paper"]).round(2)
    return both


def parts_of(frame: pd.DataFrame) -> list[str]:
    """Which of own, paper and difference a `side_by_side` frame has."""
    return [part for part in PARTS if part in frame]


def value_cell(cell: Mapping[Any, Any]) -> Cell:
    """A row of `side_by_side` in one cell: own / paper (difference), or what there is of it."""
    spans = [*own_cell(cell)] if "own" in cell else []
    if "own" in cell and "paper" in cell:
        spans.append(Span(" / "))
    if "paper" in cell:
        spans += paper_cell(cell)
    if (difference := difference_text(cell)) is not None:
        text = f"({difference}{WITHIN if is_within(cell) else ''})"
        spans += [Span(" "), _addressed(Span(text), cell)]
    return tuple(spans)


def own_cell(cell: Mapping[Any, Any]) -> Cell:
    """The own value with its marks, and its `address` where the row has one."""
    return tuple(_own_spans(cell))


def paper_cell(cell: Mapping[Any, Any]) -> Cell:
    """The published value, with the `address` of the own one, which tells where it was published."""
    return (_addressed(_number(cell, "paper"), cell),)


def difference_text(cell: Mapping[Any, Any]) -> str | None:
    """The signed difference; None where one of the two values is not there."""
    difference = cell.get("difference", float("nan"))
    if pd.isna(difference):
        return None
    size = DECIMALS.format(abs(difference))
    sign = "" if float(size) == 0 else "−" if difference < 0 else "+"
    return f"{sign}{size}"


def is_within(cell: Mapping[Any, Any]) -> bool:
    """Whether the published value lies within the own one's interval; False where there is none."""
    return bool(cell.get("low", float("nan")) <= cell["paper"] <= cell.get("high", float("nan")))


def difference_cell(cell: Mapping[Any, Any]) -> Cell:
    """The signed difference in a cell of its own."""
    difference = difference_text(cell)
    if difference is None:
        return (Span(MISSING),)
    return (_addressed(Span(f"{difference}{WITHIN if is_within(cell) else ''}"), cell),)


def _own_spans(cell: Mapping[Any, Any]) -> Iterator[Span]:
    number = Span(UNDEFINED) if cell["undefined"] else _number(cell, "own")
    yield _addressed(number, cell, always=True)
    if not pd.isna(cell["std"]):
        yield Span(f" ± {DECIMALS.format(cell['std'])}")
    if marks := cell.get("marks", ""):
        yield Span(f" {marks}")
    if cell["partial"]:
        yield Span(PARTIAL)


def _addressed(span: Span, cell: Mapping[Any, Any], *, always: bool = False) -> Span:
    """Own numbers have their address even where they are not there yet: it leads to the state of their runs."""
    return replace(span, address=cell.get("address", "")) if always or span.text != MISSING else span


def _number(cell: Mapping[Any, Any], name: str) -> Span:
    if pd.isna(cell[name]):
        return Span(MISSING)
    text = DECIMALS.format(cell[name])
    return Span(text, bold=bool(cell[f"{name}_bold"]), underline=bool(cell[f"{name}_underlined"]))


def unfinished(own: pd.DataFrame | None, *, noun: str = "cell") -> str:
    """What a title says where cells lack some of their runs; empty when there is nothing to say."""
    if own is None or (cells := progress(own)).finished:
        return ""
    partial = f", {cells.n_partial} more in part" if cells.n_partial else ""
    unsupported = f", {cells.n_unsupported} unsupported" if cells.n_unsupported else ""
    return f"unfinished: {cells.n_done} of {counted(cells.n_cells, noun)}{partial}{unsupported}"


def titled(title: str, note: str) -> str:
    """The title with a note behind it, if there is one."""
    return f"{title} – {note}" if note else title
