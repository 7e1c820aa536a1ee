"""Table 2's statistics: what is significantly different from the best of its box, and of its version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from reports.ground.cells import titled
from reports.ground.measures import DICE, LESIONS, MEASURES, MISSED_LESIONS
from reports.ground.printing import PrintedTable
from reports.ground.words import layers_label, level_label
from reports.statistics.scores import case_scores
from reports.statistics.standing import Grouping, Lesions, standings
from reports.statistics.tables import standing_notes, statistics_table, within_note
from reports.tables.table2.frames import CELL, addresses, table2_cells

Standings = dict[str, pd.DataFrame]
"""The `standings` of each measure, by its key."""
METRICS = (*MEASURES, LESIONS.metric, MISSED_LESIONS.metric)
GROUPINGS = (
    Grouping("box", ("version", "shared_layers"), "∼", "its box"),
    Grouping("version", ("version",), "≃", "its version"),
)


def table2_standings(runs: pd.DataFrame, scores: pd.DataFrame) -> Standings:
    """One frame a measure, from the rows of `planned_runs` and `reported_scores`.

    Each metric is a table, and so a family of tests, of its own.
    """
    cells = table2_cells(runs)
    by_case = {key: case_scores(runs, scores, cells, measure) for key, measure in MEASURES.items()}
    lesions = Lesions(*(case_scores(runs, scores, cells, measure) for measure in (LESIONS, MISSED_LESIONS)))
    return {
        key: standings({key: one}, GROUPINGS, lesions={key: lesions})[key] for key, one in by_case.items()
    }


def table2_standing_notes(
    stand: Mapping[str, pd.DataFrame], metric: str, paper: pd.DataFrame | None
) -> tuple[str, ...]:
    """What stands under Table 2 of a metric: what its signs mean, and what is behind its numbers."""
    if metric not in stand:
        return ()
    where = f"the table of statistics ({stem(metric)})"
    notes = standing_notes({metric: stand[metric]}, GROUPINGS, measures=MEASURES, where=where)
    within = within_note(stand[metric], paper, on=CELL) if paper is not None else ""
    return (*notes, *([within] if within else []))


def stem(metric: str) -> str:
    """The name of the files of a metric's statistics."""
    return "table2_statistics" if metric == DICE.key else f"table2_{metric}_statistics"


def table2_statistics(frame: pd.DataFrame, *, metric: str, note: str = "") -> PrintedTable:
    """Mean, interval, counts, and the comparisons of every cell in print; `note` comes after the title."""
    measure = MEASURES[metric]
    begun = frame[frame["n_used"].add(frame["n_undefined"]).gt(0)]
    begun = begun.assign(address=addresses(begun, metric=metric))
    number = "2 (statistics)" if metric == DICE.key else f"2 (statistics, {measure.name})"
    return statistics_table(
        {metric: begun},
        GROUPINGS,
        measures=MEASURES,
        label=_label,
        number=number,
        title=titled(f"What Table 2 can tell apart: {measure.title}", note),
        stub=("Version", "Cell"),
    )


def _label(record: Mapping[Any, Any]) -> tuple[str, str]:
    level = level_label(record["factor"], record["level"])
    return f"({record['version']})", f"{level}, {layers_label(record['shared_layers'])}"
