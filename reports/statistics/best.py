"""Which cells of a table can be told from the best of their group.

The best is chosen by its value, on the cases it is then compared on. To correct for the comparisons with it alone would
find differences among equal cells far too often, since the best of many is the luckiest; p is therefore adjusted over
all pairs of the groups, any of which might have come to be compared (`tests/test_best.py` counts the false findings).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd

from reports.statistics.paired import Paired, compare, holm, pair_ps
from reports.statistics.resampling import MIN_PATIENTS, Resampled, resampled_means
from reports.statistics.scores import CaseScores

ALPHA = 0.05


@dataclass(frozen=True)
class Grouping:
    """Cells that are equal in the columns `by` are one group; `mark` is set to those like its best.

    `called` is the group in words: "box", "version".
    """

    called: str
    by: tuple[str, ...]
    mark: str


@dataclass(frozen=True, eq=False)
class AgainstBest:
    """The cells of a table against the best of their groups, in one measure.

    `cells` has a row a cell: `low`, `high`, `confidence`, `covers`. `frame` has a row a grouping and cell: `cell`,
    `against` (the grouping), `best` (the cell that is its group's best), and of other cells `difference` (cell
    - best, printed unit), `difference_low`, `difference_high`, `p`, `p_adjusted`, `effect`, `dz`, `n_pairs`
    (cases both have), `n_patients`; `like_best` is p_adjusted >= ALPHA, None where that was not tested. Cells without
    a value, and groups of one, have no rows.

    `pairs` has all pairs within groups: `first`, `second` (cells), `p`, `p_adjusted`. `n_patients` have a
    value, in `n_seeds` seeds; `n_tested` pairs were tested in the whole table.
    """

    measure: str
    cells: pd.DataFrame
    frame: pd.DataFrame
    pairs: pd.DataFrame
    n_patients: int
    n_seeds: int
    n_tested: int

    @property
    def can_tell(self) -> bool:
        """Whether there are patients enough for any difference to be significant: of n with the same sign,
        p is 2 / 2^n."""
        return self.n_patients >= MIN_PATIENTS and self.n_tested * 2.0 ** (1 - self.n_patients) < ALPHA

    def marks(self, groupings: Sequence[Grouping]) -> list[str]:
        """By cell: the marks of the groupings in which it cannot be told from the best."""
        marks = [""] * len(self.cells)
        for grouping in groupings:
            rows = self.frame[(self.frame["against"] == grouping.called) & self.frame["like_best"].eq(True)]
            for cell in rows["cell"]:
                marks[cell] += grouping.mark
        return marks


COLUMNS = [
    "cell",
    "against",
    "best",
    "difference",
    "difference_low",
    "difference_high",
    "p",
    "p_adjusted",
    "effect",
    "dz",
    "n_pairs",
    "n_patients",
    "like_best",
]


def against_best(
    measures: Mapping[str, CaseScores], groupings: Sequence[Grouping], *, confidence: float = 0.95
) -> dict[str, AgainstBest]:
    """The cells of a table, the same in all its measures, against the best of their groups.

    p is adjusted by Holm over all pairs within the groups, in all measures together.
    """
    pairs = {key: _pairs(scores, groupings) for key, scores in measures.items()}
    p = {key: pair_ps(scores, pairs[key]) for key, scores in measures.items()}
    everything = np.concatenate([np.array([]), *p.values()])
    ends = np.cumsum([len(part) for part in p.values()])
    adjusted = dict(zip(p, np.split(holm(everything), ends[:-1]), strict=True)) if p else {}
    n_tested = int((~np.isnan(everything)).sum())
    found = {}
    for key, scores in measures.items():
        resampled = resampled_means(scores)
        bounds = [resampled.cell_interval(cell, confidence) for cell in range(scores.n_cells)]
        plain = AgainstBest(
            measure=key,
            cells=pd.DataFrame(
                [(bound.low, bound.high, bound.level, bound.covers) for bound in bounds],
                columns=["low", "high", "confidence", "covers"],
            ),
            frame=pd.DataFrame(columns=COLUMNS),
            pairs=pd.DataFrame(pairs[key], columns=["first", "second"]).assign(
                p=p[key], p_adjusted=adjusted[key]
            ),
            n_patients=resampled.draws.n_patients,
            n_seeds=len(scores.seeds),
            n_tested=n_tested,
        )
        by_pair = dict(zip(pairs[key], zip(p[key], adjusted[key], strict=True), strict=True))
        rows = _rows(scores, resampled, groupings, by_pair, judged=plain.can_tell)
        found[key] = replace(plain, frame=pd.DataFrame(rows, columns=COLUMNS))
    return found


def _groups(scores: CaseScores, grouping: Grouping) -> list[list[int]]:
    """The groups with two cells or more that have a value."""
    valued = np.flatnonzero(~np.isnan(scores.means()))
    cells = scores.cells.iloc[valued]
    keys = [cells[column] for column in grouping.by] or [pd.Series(0, index=cells.index)]
    groups = [list(map(int, rows.index)) for _, rows in cells.groupby(keys, sort=False)]
    return [group for group in groups if len(group) > 1]


def _pairs(scores: CaseScores, groupings: Sequence[Grouping]) -> list[tuple[int, int]]:
    """Every pair within a group, each once."""
    pairs = {
        pair: None
        for grouping in groupings
        for group in _groups(scores, grouping)
        for pair in combinations(group, 2)
    }
    return list(pairs)


def _rows(
    scores: CaseScores,
    resampled: Resampled,
    groupings: Sequence[Grouping],
    tested: Mapping[tuple[int, int], tuple[float, float]],
    *,
    judged: bool,
) -> Iterator[dict[str, object]]:
    """`tested` has p and the adjusted p of every pair; `judged`: whether any could be small enough."""
    means = scores.means() * (1 if scores.measure.higher_is_better else -1)
    for grouping in groupings:
        for group in _groups(scores, grouping):
            best = max(group, key=lambda cell: means[cell])
            for cell in group:
                row: dict[str, object] = {"cell": cell, "against": grouping.called, "best": best}
                if cell != best:
                    p, p_adjusted = tested[min(cell, best), max(cell, best)]
                    pair = compare(scores, cell, best, resampled=resampled, p=p)
                    row |= _compared(pair, p_adjusted, judged=judged)
                yield row


def _compared(pair: Paired, p_adjusted: float, *, judged: bool) -> dict[str, object]:
    return {
        "difference": pair.difference,
        "difference_low": pair.interval.low,
        "difference_high": pair.interval.high,
        "p": pair.p,
        "p_adjusted": p_adjusted,
        "effect": pair.effect,
        "dz": pair.dz,
        "n_pairs": pair.n_cases,
        "n_patients": pair.n_patients,
        "like_best": bool(p_adjusted >= ALPHA) if judged and not np.isnan(p_adjusted) else None,
    }
