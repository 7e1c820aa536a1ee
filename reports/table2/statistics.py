"""What can be told from the numbers of Table 2: intervals, and each cell against the best of its box and version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from reports.cells import titled, unfinished
from reports.measures import MEASURES
from reports.notes import cases_note
from reports.printing import PrintedTable
from reports.statistics.best import AgainstBest, Grouping, against_best
from reports.statistics.best_tables import (
    STATISTICS_NOTE,
    best_notes,
    pairs_frame,
    statistics_columns,
    statistics_frame,
    statistics_rows,
)
from reports.statistics.scores import case_scores
from reports.table2.frames import CELL
from reports.table2.tables import layers_label, level_label

BOX = Grouping("box", ("version", "shared_layers"), "≈")
VERSION = Grouping("version", ("version",), "∼")
GROUPINGS = (BOX, VERSION)
MOST_ROWS = 21
"""Of a printed table, so that it fits on a page."""


def best_of_table2(
    planned: pd.DataFrame, scores: pd.DataFrame, own: pd.DataFrame, *, metric: str
) -> AgainstBest:
    """The cells of a `table2_frame` against the best, from `planned_runs` and their `reported_scores`."""
    by_case = case_scores(planned, scores, own[CELL], MEASURES[metric])
    return against_best({metric: by_case}, GROUPINGS)[metric]


def table2_statistics(own: pd.DataFrame, found: AgainstBest, *, metric: str) -> tuple[PrintedTable, ...]:
    """Every cell's interval, counts, and comparisons with the best of its box and its version, MOST_ROWS a
    table."""
    measure = MEASURES[metric]
    suffix = "" if metric == "dice" else f", {measure.name}"
    frame = statistics_layout(own, found, metric=metric)
    rows = statistics_rows(frame, GROUPINGS, keys=CELL, names=_names)
    cases = tuple(cases_note({metric: own}, {metric: measure.name}))
    notes = (STATISTICS_NOTE, *cases, *best_notes({metric: found}, GROUPINGS, MEASURES, noun="cell"))
    tables: list[PrintedTable] = []
    for group in dict.fromkeys(row.group for row in rows):
        of_group = [row for row in rows if row.group == group]
        for start in range(0, len(of_group), MOST_ROWS):
            title = f"What can be told from the numbers of Table 2: {measure.title}, {group}"
            title += " (continued)" if start else ""
            tables.append(
                PrintedTable(
                    number=f"2 (statistics{suffix})",
                    title=titled(title, unfinished(own)),
                    stub=("Version", "Cell"),
                    columns=statistics_columns(GROUPINGS),
                    rows=tuple(of_group[start : start + MOST_ROWS]),
                    notes=cases if tables else notes,
                )
            )
    return tuple(tables)


def statistics_layout(own: pd.DataFrame, found: AgainstBest, *, metric: str) -> pd.DataFrame:
    """The `statistics_frame` of one measure, for CSV."""
    return statistics_frame({metric: own}, {metric: found}, keys=CELL, label=_label)


def statistics_pairs(own: pd.DataFrame, found: AgainstBest, *, metric: str) -> pd.DataFrame:
    """Every pair of cells that was tested, for CSV."""
    return pairs_frame({metric: own}, {metric: found}, label=_label)


def _label(cell: Mapping[Any, Any]) -> str:
    return f"{cell['version']}, {_within(cell)}"


def _names(cell: Mapping[Any, Any]) -> tuple[str, str]:
    return f"({cell['version']})", _within(cell)


def _within(cell: Mapping[Any, Any]) -> str:
    return (
        f"{level_label(str(cell['factor']), str(cell['level']))}, {layers_label(str(cell['shared_layers']))}"
    )
