"""Table 2 as it is printed and as CSV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from reports.ground.cells import parts_of, side_by_side, titled, unfinished, value_cell
from reports.ground.frames import TableFacts
from reports.ground.measures import MEASURES
from reports.ground.notes import MISSING
from reports.ground.printing import Cell, PrintedTable, Row, Span
from reports.ground.words import layers_label, level_label
from reports.tables.table2.frames import CELL, addresses
from reports.tables.table2.notes import table2_notes


def table2(
    own: pd.DataFrame | None,
    paper: pd.DataFrame | None,
    *,
    behind: TableFacts | None,
    metric: str = "dice",
    standing: Sequence[str] = (),
    apart: str = "",
) -> PrintedTable:
    """Table 2 in the paper's layout, best of each box bold, best of each version underlined.

    `own` is a `table2_frame`, `paper` the `published_table2`; with both, a cell reads
    own / paper (difference). A box is one version and one choice of shared layers. `apart`: why the published numbers
    are a table of their own.
    """
    measure = MEASURES[metric]
    whose = "" if paper is None else ", own / published (difference)"
    if own is None:
        whose = ", as published"
    frame = _side_by_side(own, paper, metric)
    return table2_shape(
        frame.assign(address=addresses(frame, metric=metric)),
        value_cell,
        number=_number(measure.name if metric != "dice" else "published" if apart and own is None else ""),
        title=titled(
            f"Mirror U-Net v1 to v4 by shared layers L: mean {measure.title}{whose}", unfinished(own)
        ),
        notes=tuple(table2_notes(own, paper, behind=behind, measure=measure, standing=standing, apart=apart)),
    )


def _number(part: str) -> str:
    return f"2 ({part})" if part else "2"


def table2_counts(own: pd.DataFrame) -> PrintedTable:
    """What stands behind each number of Table 2: runs done/planned, seeds, folds, cases with a Dice/all."""
    what = "runs done/planned; seeds; folds; test cases with a Dice/all"
    return table2_shape(
        own.assign(address=addresses(own)),
        _counts_cell,
        number="2 (counts)",
        title=titled(f"What stands behind each number of Table 2: {what}", unfinished(own)),
        notes=(),
    )


def table2_shape(
    frame: pd.DataFrame,
    cell: Callable[[dict[Any, Any]], Cell],
    *,
    number: str,
    title: str,
    notes: tuple[str, ...],
) -> PrintedTable:
    """What a `cell` prints of every row of `frame`, in the paper's layout."""
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
    frame = _side_by_side(own, paper, metric)
    layers = list(dict.fromkeys(frame["shared_layers"]))
    rows = []
    for (version, factor, level), group in frame.groupby(CELL[:3], sort=False):
        values = group.set_index("shared_layers")
        stub = {"version": version, "parameters": level_label(str(factor), str(level))}
        for part in parts_of(frame):
            numbers = {layers_label(choice): values[part].get(choice, float("nan")) for choice in layers}
            rows.append({**stub, "source": part, **numbers})
    return pd.DataFrame(rows)


def table2_cells(
    own: pd.DataFrame | None, paper: pd.DataFrame | None, *, metric: str = "dice"
) -> pd.DataFrame:
    """One row per cell with every number, mark and count, unrounded, for further work."""
    frame = _side_by_side(own, paper, metric)
    if own is None:
        return frame
    counts = [column for column in own if str(column).startswith("n_")]
    return frame.merge(own[[*CELL, *counts]], how="left", on=CELL)


def _side_by_side(own: pd.DataFrame | None, paper: pd.DataFrame | None, metric: str) -> pd.DataFrame:
    """Best of each box bold, best of each version underlined."""
    return side_by_side(
        own,
        paper,
        MEASURES[metric],
        keys=CELL,
        bold=["version", "shared_layers"],
        underlined=["version"],
    )


def _counts_cell(cell: dict[Any, Any]) -> Cell:
    if not cell["n_expected"]:
        return (Span(MISSING),)
    if not cell["n_runs"]:
        return (Span(f"0/{cell['n_expected']}"),)
    text = "{n_runs}/{n_expected}; {n_seeds}; {n_folds}; {n_defined}/{n_cases}".format(**cell)
    return (Span(text, address=cell["address"]),)
