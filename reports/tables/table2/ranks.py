"""Rank stability of Table 2: the cells of each version, and the best of each box."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd

from benchmark.vocabulary import BenchError
from reports.ground.cells import titled
from reports.ground.notes import MISSING
from reports.ground.printing import Cell, PrintedTable, Row, Span
from reports.ground.words import layers_label, level_label
from reports.ground.writer import Outputs, ReadyFigure, ReadyTable
from reports.statistics.rank_figure import CAPTION, draw_ranks
from reports.statistics.rank_tables import rank_notes, ranks_frame, shares_frame
from reports.statistics.ranks import Groups, Ranking, rankings
from reports.statistics.scores import CaseScores
from reports.tables.table2.frames import address_of, addresses
from reports.tables.table2.tables import table2_shape

BEST = "best of each box"
READING = (
    "A number is the mean rank over resamples of the patients, in brackets 95 % of the ranks, then the share of "
    "resamples in which it is the first. Bold: the first rank is among the 95 %."
)


def table2_ranks(scores: CaseScores, *, note: str = "") -> Outputs:
    """Ranks of the cells within their version, and of the boxes by their best cell, chosen again in every resample."""
    cells = scores.cells
    names = [cell_name(cell) for cell in cells.to_dict("records")]
    groups = version_groups(cells)
    try:
        found = rankings(scores, names, groups)
    except BenchError as error:
        return Outputs(reasons=(f"Rank stability of Table 2: {error}",))
    best = found.pop(BEST, None)
    tables, figures = [], []
    if found:
        frame = ranks_frame(found, "version", "cell")
        printed = _cells_table(cells, found, note=note)
        tables.append(_ready(printed, frame, "table2_ranks"))
        title = titled("Table 2: stability of the ranks within each version", note)
        panels = {f"({version})": ranking for version, ranking in found.items()}
        points = shares_frame(found, "version", "cell")
        figures.append(
            ReadyFigure(partial(draw_ranks, panels, title), title, CAPTION, points, "table2_rank_figure")
        )
    if best is not None:
        frame = ranks_frame({BEST: best}, "of", "box")
        tables.append(_ready(_boxes_table(cells, best, note=note), frame, "table2_ranks_best"))
        title = titled("Table 2: stability of the ranks of the boxes", note)
        caption = f"{CAPTION} A box is as good as its best cell, chosen again in every resample."
        points = shares_frame({BEST: best}, "of", "box")
        figures.append(
            ReadyFigure(
                partial(draw_ranks, {"": best}, title), title, caption, points, "table2_rank_figure_best"
            )
        )
    return Outputs(tuple(tables), tuple(figures))


def version_groups(cells: pd.DataFrame) -> Groups:
    """The cells of each version, and the boxes (a version and a choice of L) with their cells."""
    groups: dict[str, dict[str, list[int]]] = {}
    boxes: dict[str, list[int]] = {}
    for number, cell in enumerate(cells.to_dict("records")):
        groups.setdefault(str(cell["version"]), {})[within_version(cell)] = [number]
        boxes.setdefault(box_name(cell["version"], cell["shared_layers"]), []).append(number)
    return {**groups, BEST: boxes}


def cell_name(cell: Mapping[Any, Any]) -> str:
    """A cell in print: `v3, L2 + shuffling, L = {5}`."""
    return f"{cell['version']}, {within_version(cell)}"


def within_version(cell: Mapping[Any, Any]) -> str:
    """`L2 + shuffling, L = {5}`."""
    level = level_label(str(cell["factor"]), str(cell["level"]))
    return f"{level}, {layers_label(str(cell['shared_layers']))}"


def box_name(version: str, shared_layers: str) -> str:
    """`v3, L = {5}`."""
    return f"{version}, {layers_label(shared_layers)}"


def _ready(printed: PrintedTable, frame: pd.DataFrame, stem: str) -> ReadyTable:
    return ReadyTable((printed,), frame.drop(columns=["tau", "tau_low", "tau_high"]).round(2), frame, stem)


def _cells_table(cells: pd.DataFrame, found: dict[str, Ranking], *, note: str) -> PrintedTable:
    """In the layout of Table 2."""
    rows = {
        (version, row["name"]): row
        for version, ranking in found.items()
        for row in ranking.frame.to_dict("records")
    }
    measure = next(iter(found.values())).measure
    versions = {f"({version})": ranking for version, ranking in found.items()}
    return table2_shape(
        cells,
        lambda cell: _rank_cell(rows.get((cell["version"], within_version(cell))), _address(cell)),
        number="2 (ranks)",
        title=titled(f"Ranks of the cells of each version by mean {measure.title}", note),
        notes=(READING, *rank_notes(versions)),
    )


def _boxes_table(cells: pd.DataFrame, best: Ranking, *, note: str) -> PrintedTable:
    by_box = {row["name"]: row for row in best.frame.to_dict("records")}
    linked = {
        name: address_of(cells.iloc[list(members)], among=cells) for name, members in best.members.items()
    }
    layers = list(dict.fromkeys(cells["shared_layers"]))
    return PrintedTable(
        number="2 (ranks of the boxes)",
        title=titled(
            f"Ranks of the boxes of Table 2 by the mean {best.measure.title} of their best cell", note
        ),
        stub=("Version",),
        columns=tuple(map(layers_label, layers)),
        rows=tuple(
            Row(
                "",
                f"({version})",
                tuple(
                    _rank_cell(by_box.get(name), linked.get(name, ""))
                    for name in (box_name(version, one) for one in layers)
                ),
            )
            for version in dict.fromkeys(cells["version"])
        ),
        notes=(
            READING,
            "A box (one version, one L) is as good as its best cell, which is chosen again in every "
            "resample; a box of more cells has more to choose from.",
            *rank_notes({"": best}),
        ),
    )


def _rank_cell(row: Mapping[Any, Any] | None, address: str = "") -> Cell:
    if row is None:
        return (Span(MISSING),)
    text = f"{row['mean_rank']:.1f} [{row['low']:.0f}–{row['high']:.0f}] {row['first']:.0f} %"
    return (Span(text, bold=row["low"] <= 1, address=address),)


def _address(cell: Mapping[Any, Any]) -> str:
    (found,) = addresses(pd.DataFrame([dict(cell)]))
    return found
