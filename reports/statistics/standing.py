"""How every cell of a table stands: its interval, and whether it can be told from the best of its group.

    standings({measure: scores}, groupings)   one frame a measure, p adjusted over all their comparisons

The best of a group is compared with each of its rivals on the cases that both have (see `paired`). It was chosen by
the very scores it is compared on, which flatters it: that a rival is *not* told from it is safe to say, while of
several cells that are equal in truth the luckiest one is told from the unluckiest more often than in one case of
twenty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from reports.frames import best_mask
from reports.statistics.paired import Paired, compare_all, holm
from reports.statistics.resampling import Resampled, resampled_means
from reports.statistics.scores import CaseScores

LEVEL = 0.05
COUNTS = ["n_used", "n_undefined", "n_missed", "n_with"]


@dataclass(frozen=True)
class Grouping:
    """Cells that compete with one another.

    They have the values of the columns `within` in common. `mark` is printed behind a value that cannot be told
    from the best of its group, `best_of` names the group in print: "its box".
    """

    name: str
    within: tuple[str, ...]
    mark: str
    best_of: str


def standings(
    scores: Mapping[str, CaseScores],
    groupings: Sequence[Grouping],
    *,
    missed: Mapping[str, CaseScores],
    resampled: Mapping[str, Resampled] | None = None,
) -> dict[str, pd.DataFrame]:
    """For every measure one row a cell, in the order of `CaseScores.cells`.

    Columns: the cell's keys; `value` (the table's mean), `low` and `high` (95 %), `covers`; `n_used` cases with a
    defined value, `n_undefined` scored ones without, `n_missed` of `n_with` structures of which nothing was found
    (over all finished runs; NaN where nobody counted); `marks`; and for each grouping, by its name, `_best` (whether
    the cell is the one the others are compared with), `_difference`, `_low`, `_high` (best - cell), `_p`, `_p_adjusted`
    (Holm, over all comparisons of all measures and groupings), `_effect` and `_untold`. `missed` are the scores of the
    metric `missed` by measure, where there are any. `resampled` are the `resampled_means`, where they are known.
    """
    means = {key: (resampled or {}).get(key) or resampled_means(one) for key, one in scores.items()}
    frames = {
        key: _intervals(one, means[key]).join(_counts(one, missed.get(key))) for key, one in scores.items()
    }
    compared = {
        (key, grouping.name): _against_best(one, frames[key], grouping, means[key])
        for key, one in scores.items()
        for grouping in groupings
    }
    adjusted = iter(holm(np.array([pair.p for pairs in compared.values() for pair in pairs])))
    for (key, name), pairs in compared.items():
        p_adjusted = [float(next(adjusted)) for _ in pairs]
        frames[key] = frames[key].join(_columns(frames[key], name, pairs, p_adjusted))
    for frame in frames.values():
        frame["marks"] = _marks(frame, groupings)
    return frames


def _intervals(scores: CaseScores, resampled: Resampled) -> pd.DataFrame:
    intervals = [resampled.cell_interval(cell) for cell in range(scores.n_cells)]
    return scores.cells.assign(
        value=scores.means(),
        low=[one.low for one in intervals],
        high=[one.high for one in intervals],
        covers=resampled.covers,
    )


def _counts(scores: CaseScores, missed: CaseScores | None) -> pd.DataFrame:
    defined = ~np.isnan(scores.values)
    used, scored = defined.any(axis=2), scores.scored.any(axis=2)
    counts = {"n_used": used.sum(axis=1), "n_undefined": (scored & ~used).sum(axis=1)}
    nothing = np.full(scores.n_cells, np.nan)
    n_missed, n_with = nothing, nothing
    if missed is not None:
        known = missed.scored.any(axis=(1, 2))
        n_missed = np.where(known, np.nansum(missed.values, axis=(1, 2)), np.nan)
        n_with = np.where(known, (~np.isnan(missed.values)).sum(axis=(1, 2)), np.nan)
    return pd.DataFrame({**counts, "n_missed": n_missed, "n_with": n_with}, index=scores.cells.index)


def structures(missed: CaseScores, dice: CaseScores) -> CaseScores:
    """The scores of `missed` where there is a structure to miss, which is where Dice is defined.

    Both are of the same runs; the cases are those of `dice`. Runs of earlier versions did not count what they missed.
    """
    keys = ["fold", "case_id"]
    places = pd.MultiIndex.from_frame(dice.cases[keys]).get_indexer(
        pd.MultiIndex.from_frame(missed.cases[keys])
    )
    counted = places >= 0
    values, scored = np.full(dice.values.shape, np.nan), np.zeros(dice.values.shape, dtype=bool)
    values[:, places[counted]], scored[:, places[counted]] = (
        missed.values[:, counted],
        missed.scored[:, counted],
    )
    values[np.isnan(dice.values)] = np.nan
    return replace(dice, measure=missed.measure, values=values, scored=scored)


def _against_best(
    scores: CaseScores, frame: pd.DataFrame, grouping: Grouping, resampled: Resampled
) -> list[Paired]:
    """The best of every group against each of its rivals that has a value."""
    best = best_mask(frame, grouping.within, higher_is_better=scores.measure.higher_is_better)
    keys = [frame[column] for column in grouping.within] or [pd.Series(0, index=frame.index)]
    pairs = []
    for _, group in frame.groupby(keys, sort=False):
        if not best[group.index].any():
            continue
        cells = group.index.to_numpy(dtype=int)
        leader = int(cells[best.to_numpy()[cells].argmax()])
        valued = cells[group["value"].notna().to_numpy()]
        rivals = [int(cell) for cell in valued if cell != leader]
        pairs += [(leader, rival) for rival in rivals]
    return compare_all(scores, pairs, resampled=resampled)


def _columns(
    frame: pd.DataFrame, name: str, pairs: Sequence[Paired], p_adjusted: Sequence[float]
) -> pd.DataFrame:
    numbers = ["difference", "low", "high", "p", "p_adjusted", "effect"]
    columns = pd.DataFrame(np.nan, index=frame.index, columns=[f"{name}_{number}" for number in numbers])
    for pair, p in zip(pairs, p_adjusted, strict=True):
        bounds = (pair.interval.low, pair.interval.high)
        columns.loc[pair.second] = [pair.difference, *bounds, pair.p, p, pair.effect]
    leaders = {pair.first for pair in pairs}
    columns[f"{name}_best"] = [cell in leaders for cell in frame.index]
    columns[f"{name}_untold"] = columns[f"{name}_p_adjusted"].gt(LEVEL)
    return columns


def _marks(frame: pd.DataFrame, groupings: Sequence[Grouping]) -> list[str]:
    return ["".join(g.mark for g in groupings if frame.at[cell, f"{g.name}_untold"]) for cell in frame.index]
