"""The statistics of a table of methods: which of them is not significantly different from the best of each measure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from reports.ground.cells import titled
from reports.ground.measures import LESIONS, MISSED_LESIONS
from reports.ground.notes import Frames
from reports.ground.printing import PrintedTable
from reports.statistics.scores import case_scores
from reports.statistics.standing import Grouping, Lesions, standings
from reports.statistics.tables import standing_notes, statistics_table, within_note
from reports.tables.comparison.frames import Comparison, addresses, methods

GROUPINGS = (Grouping("measure", (), "∼", "the measure"),)


def comparison_standings(
    comparison: Comparison, runs: pd.DataFrame, scores: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """One frame a measure; the comparisons of all measures are one family of tests."""
    rows = methods(comparison, runs)
    by_case = {key: case_scores(runs, scores, rows, measure) for key, measure in comparison.measures.items()}
    lesions: dict[str, Lesions] = {}
    for region in {measure.region for measure in comparison.measures.values()}:
        counts = (case_scores(runs, scores, rows, one.of(region)) for one in (LESIONS, MISSED_LESIONS))
        of_region = Lesions(*counts)
        lesions |= {key: of_region for key, one in comparison.measures.items() if one.region == region}
    return standings(by_case, GROUPINGS, lesions=lesions)


def comparison_standing_notes(
    comparison: Comparison, stand: Mapping[str, pd.DataFrame], paper: Frames
) -> tuple[str, ...]:
    """What stands under the table: what its signs mean, and what is behind its numbers."""
    where = f"the table of statistics ({comparison.grid}_statistics)"
    notes = standing_notes(stand, GROUPINGS, measures=comparison.measures, where=where)
    within = [
        within_note(stand[key], printed, on=["method"]) for key, printed in paper.items() if key in stand
    ]
    return (*notes, *dict.fromkeys(note for note in within if note))


def statistics(comparison: Comparison, stand: Mapping[str, pd.DataFrame], *, note: str = "") -> PrintedTable:
    """Means, intervals, counts and comparisons in print; `note` comes after the title."""
    shown = {}
    for key, frame in stand.items():
        begun = frame[frame["n_used"].add(frame["n_undefined"]).gt(0)]
        shown[key] = begun.assign(address=addresses(comparison, begun["method"], key))
    return statistics_table(
        shown,
        GROUPINGS,
        measures=comparison.measures,
        label=_label,
        number=f"{comparison.name} (statistics)",
        title=titled(f"What Table {comparison.name} can tell apart", note),
        stub=(comparison.noun.capitalize(),),
    )


def _label(record: Mapping[Any, Any]) -> tuple[str, str]:
    return "", str(record["method"])
