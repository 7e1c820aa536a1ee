"""The cells of a table that can be compared as a whole: those that were scored on the same cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from reports.ground.words import counted, enumerated
from reports.statistics.resampling import MIN_PATIENTS, enough_patients
from reports.statistics.scores import CaseScores

MOST_NAMED = 6


@dataclass(frozen=True, eq=False)
class SameCases:
    """`scores` are of the rows `kept` of the table's cells, on cases all of them were scored on.

    `left_out` says of every other row why. `n_cases_unused` are cases some cells have and the kept do not
    share.
    """

    scores: CaseScores
    kept: np.ndarray
    left_out: dict[int, str]
    n_cases_unused: int


def same_cases(scores: CaseScores) -> SameCases:
    """Leave out cells without values, and those that lack cases most of the others have, while a grid is unfinished.

    The cases are those of the largest group of cells that were scored on the same ones; of equal groups that with
    more cases.
    """
    covered = np.asarray(scores.scored.any(axis=2))
    valued = np.asarray((~np.isnan(scores.values)).any(axis=(1, 2)))
    left_out = {int(cell): "no value" for cell in np.flatnonzero(~valued)}
    if not valued.any():
        return SameCases(scores.of_cells([]), np.array([], dtype=int), left_out, 0)
    patterns, counts = np.unique(covered[valued], axis=0, return_counts=True)
    largest = max(range(len(patterns)), key=lambda number: (counts[number], patterns[number].sum()))
    shared = patterns[largest]
    complete = valued & covered[:, shared].all(axis=1)
    for cell in np.flatnonzero(valued & ~complete):
        n_shared = int((covered[cell] & shared).sum())
        left_out[int(cell)] = f"scored on {n_shared} of the {int(shared.sum())} cases"
    here = on_cases(scores.of_cells(np.flatnonzero(complete)), shared)
    enough = enough_patients(here)
    kept = np.flatnonzero(complete)
    for cell in kept[~enough]:
        left_out[int(cell)] = f"fewer than {MIN_PATIENTS} patients with a value, or one alone in a fold"
    unused = int((covered[valued].any(axis=0) & ~shared).sum())
    return SameCases(here.of_cells(np.flatnonzero(enough)), kept[enough], left_out, unused)


def on_cases(scores: CaseScores, cases: np.ndarray) -> CaseScores:
    """The scores on the cases for which `cases` [case] holds."""
    return replace(
        scores,
        cases=scores.cases[cases].reset_index(drop=True),
        values=scores.values[:, cases],
        scored=scores.scored[:, cases],
    )


def left_out_note(names: Sequence[str], left_out: dict[int, str]) -> str:
    """`Left out: A and B (no value); C (scored on 2 of the 9 cases).`; empty where nothing is."""
    by_reason: dict[str, list[str]] = {}
    for cell, reason in sorted(left_out.items()):
        by_reason.setdefault(reason, []).append(names[cell])
    parts = []
    for reason, cells in by_reason.items():
        more = len(cells) - MOST_NAMED
        named = [*cells[:MOST_NAMED], counted(more, "other")] if more > 0 else cells
        parts.append(f"{enumerated(named)} ({reason})")
    return f"Left out: {'; '.join(parts)}." if parts else ""
