"""What can be told from the numbers of a table of methods: intervals, and each method against the best one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from reports.cells import titled
from reports.comparison.frames import Comparison
from reports.notes import Frames, cases_note
from reports.printing import PrintedTable
from reports.statistics.best import Grouping, against_best
from reports.statistics.best_tables import (
    STATISTICS_NOTE,
    Found,
    best_notes,
    pairs_frame,
    statistics_columns,
    statistics_frame,
    statistics_rows,
)
from reports.statistics.scores import case_scores

GROUPINGS = (Grouping("measure", (), "≈"),)


def best_of_methods(
    comparison: Comparison, planned: pd.DataFrame, scores: pd.DataFrame, own: Frames
) -> Found:
    """By measure: the methods of its `comparison_frames` against the best one."""
    by_case = {
        key: case_scores(planned, scores, own[key][["method"]], measure)
        for key, measure in comparison.measures.items()
    }
    return against_best(by_case, GROUPINGS)


def statistics_tables(
    comparison: Comparison, own: Frames, found: Found, *, note: str
) -> tuple[PrintedTable, ...]:
    """For every measure a table of all methods: interval, counts, and comparison with the best."""
    tables: list[PrintedTable] = []
    for key, frame in own.items():
        measure = comparison.measures[key]
        layout = statistics_layout({key: frame}, found)
        cases = tuple(cases_note({key: frame}, {key: measure.name}))
        said = () if tables else best_notes(found, GROUPINGS, comparison.measures, noun="method")
        title = f"What can be told from the numbers of Table {comparison.name}: {measure.title}"
        tables.append(
            PrintedTable(
                number=f"{comparison.name} (statistics, {measure.name})",
                title=titled(title, note),
                stub=("Method",),
                columns=statistics_columns(GROUPINGS),
                rows=statistics_rows(layout, GROUPINGS, keys=["method"], names=_names),
                notes=cases if tables else (STATISTICS_NOTE, *cases, *said),
            )
        )
    return tuple(tables)


def _names(row: Mapping[Any, Any]) -> tuple[str, str]:
    return "", str(row["method"])


def statistics_layout(own: Frames, found: Found) -> pd.DataFrame:
    """The `statistics_frame` of all measures, for CSV."""
    return statistics_frame(own, found, keys=["method"], label=_label)


def statistics_pairs(own: Frames, found: Found) -> pd.DataFrame:
    """Every pair of methods that was tested, for CSV."""
    return pairs_frame(own, found, label=_label)


def _label(row: Mapping[Any, Any]) -> str:
    return str(row["method"])
