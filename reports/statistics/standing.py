"""How every cell of a table stands: its interval, and whether it is significantly different from the best of its group.

    standings({measure: scores}, groupings)   one frame a measure, p adjusted over all pairs within their groups

A rival differs significantly from the best where p is small, the interval of their mean difference does not hold 0,
and both speak for the best: the best is best by its mean, p is of ranks over patients and of the trainings at hand,
and the interval covers retraining where there are seeds enough.

The best of a group is compared with each of its rivals on the cases that both have (see `paired`). It was chosen by
the very scores it is compared on. To correct for the comparisons with it alone would find differences among equal
cells far too often, since the best of many is the luckiest one; p is therefore adjusted over all pairs within the
groups, any of which might have come to be compared (`tests/test_standing.py` counts the false findings).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from reports.ground.frames import best_mask
from reports.statistics.paired import ZERO_RULES, compare, holm, pair_ps
from reports.statistics.resampling import MIN_PATIENTS, Resampled, resampled_means
from reports.statistics.scores import CaseScores

LEVEL = 0.05


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


@dataclass(frozen=True, eq=False)
class Lesions:
    """How many lesions every case has, and how many were missed, for the cells of a table."""

    all: CaseScores
    missed: CaseScores


def standings(
    scores: Mapping[str, CaseScores],
    groupings: Sequence[Grouping],
    *,
    lesions: Mapping[str, Lesions],
) -> dict[str, pd.DataFrame]:
    """For every measure one row a cell, in the order of `CaseScores.cells`.

    Columns: the cell's keys; `value` (the table's mean), `low` and `high` (95 %), `covers`; `sd` (over
    cases, n - 1; NaN for one) and `median` of the cases' values, each a mean over seeds; `n_used` cases with
    a defined value, `n_undefined` scored ones without, `n_missed` of `n_lesions` components of the reference of which
    no voxel was found (over all finished runs; NaN where nobody counted); `marks`; and for each grouping, by its name,
    `_best` and `_rival` (whether the cell is the one the others are compared with, or one of those), `_difference`,
    `_low`, `_high` (best - cell), `_p`, `_p_adjusted` (Holm, over the `_n_pairs` pairs within the grouping's groups,
    in all measures together), `_effect`, `_judged` (whether the measure has patients enough for any difference to
    be significant) and, where they are, `_untold` (compared, and not significantly different from the
    best). `_n_zero` of `_n_patients` patients have no difference from the best; `_p_zsplit` and `_p_wilcox` are the
    adjusted p of the other rules for them (see `paired.ZERO_RULES`; NaN where nobody has a zero), and `_disputed` says
    where one of these would set another mark. `lesions` are those of a measure's region, where they were counted.
    """
    means = {key: resampled_means(one) for key, one in scores.items()}
    frames = {
        key: _intervals(one, means[key]).join(_counts(one, lesions.get(key))) for key, one in scores.items()
    }
    for grouping in groupings:
        pairs = {key: _pairs(frame, grouping) for key, frame in frames.items()}
        p = {key: pair_ps(scores[key], own) for key, own in pairs.items()}
        adjusted, judged = _adjusted(p, means)
        n_pairs = sum(int((~np.isnan(part)).sum()) for part in p.values())
        for key, own in pairs.items():
            tested = dict(zip(own, zip(p[key], adjusted[key], strict=True), strict=True))
            frames[key] = frames[key].join(
                _against_best(scores[key], frames[key], grouping, means[key], tested, judged=judged[key])
            )
            frames[key][f"{grouping.name}_n_pairs"] = n_pairs
        _add_other_rules(frames, scores, grouping, pairs, means)
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
        **_spread(scores.case_values()),
    )


def _spread(values: np.ndarray) -> dict[str, list[float]]:
    """[cell]: the standard deviation (n - 1) and the median of what is defined of `values` [cell, case]."""
    defined = [row[~np.isnan(row)] for row in values]
    return {
        "sd": [float(row.std(ddof=1)) if len(row) > 1 else np.nan for row in defined],
        "median": [float(np.median(row)) if len(row) else np.nan for row in defined],
    }


def _add_other_rules(
    frames: dict[str, pd.DataFrame],
    scores: Mapping[str, CaseScores],
    grouping: Grouping,
    pairs: Mapping[str, Sequence[tuple[int, int]]],
    means: Mapping[str, Resampled],
) -> None:
    """What other rules for patients without a difference make of p and of the marks."""
    name, others = grouping.name, ZERO_RULES[1:]
    any_zero = any(frame[f"{name}_n_zero"].gt(0).any() for frame in frames.values())
    by_rule = {}
    for rule in others if any_zero else ():
        p = {key: pair_ps(scores[key], own, zeros=rule) for key, own in pairs.items()}
        by_rule[rule], _ = _adjusted(p, means)
    for key, frame in frames.items():
        zeros = frame[f"{name}_n_zero"].gt(0)
        leaders = _leaders(frame, grouping)
        frame[f"{name}_disputed"] = False
        for rule in others:
            column = f"{name}_p_{rule}"
            frame[column] = np.nan
            if rule not in by_rule:
                continue
            adjusted = dict(zip(pairs[key], by_rule[rule][key], strict=True))
            for rival in map(int, np.flatnonzero(zeros)):
                leader = leaders[rival]
                frame.loc[rival, column] = adjusted[min(leader, rival), max(leader, rival)]
            other = _told(frame, name, frame[column], scores[key])
            differs = other != _told(frame, name, frame[f"{name}_p_adjusted"], scores[key])
            frame[f"{name}_disputed"] |= zeros & frame[f"{name}_judged"] & differs


def _leaders(frame: pd.DataFrame, grouping: Grouping) -> dict[int, int]:
    """Of every cell that was compared, the best of its group."""
    best = frame[f"{grouping.name}_best"].to_numpy()
    groups = [group for group in _groups(frame, grouping) if best[group].any()]
    return {int(cell): int(group[best[group].argmax()]) for group in groups for cell in group}


def _told(frame: pd.DataFrame, name: str, p: pd.Series, scores: CaseScores) -> pd.Series:
    """Which cells are told from the best: by p, by the interval and by the sign of the ranks alike."""
    sign = 1 if scores.measure.higher_is_better else -1
    nearest = frame[f"{name}_low"] if sign > 0 else -frame[f"{name}_high"]
    return p.le(LEVEL) & nearest.gt(0) & frame[f"{name}_effect"].mul(sign).gt(0)


def _counts(scores: CaseScores, lesions: Lesions | None) -> pd.DataFrame:
    defined = ~np.isnan(scores.values)
    used, scored = defined.any(axis=2), scores.scored.any(axis=2)
    counts = {"n_used": used.sum(axis=1), "n_undefined": (scored & ~used).sum(axis=1)}
    counts |= {
        name: np.full(scores.n_cells, np.nan) if counted is None else _total(counted)
        for name, counted in (
            ("n_missed", lesions.missed if lesions else None),
            ("n_lesions", lesions.all if lesions else None),
        )
    }
    return pd.DataFrame(counts, index=scores.cells.index)


def _total(scores: CaseScores) -> np.ndarray:
    """[cell]: the sum over cases and seeds; NaN where nobody counted, as in runs of earlier versions."""
    counted = scores.scored.any(axis=(1, 2))
    return np.where(counted, np.nansum(scores.values, axis=(1, 2)), np.nan)


def _groups(frame: pd.DataFrame, grouping: Grouping) -> list[np.ndarray]:
    """The cells of each group that have a value, where there are two or more."""
    valued = frame[frame["value"].notna()]
    keys = [valued[column] for column in grouping.within] or [pd.Series(0, index=valued.index)]
    groups = [rows.index.to_numpy(dtype=int) for _, rows in valued.groupby(keys, sort=False)]
    return [group for group in groups if len(group) > 1]


def _pairs(frame: pd.DataFrame, grouping: Grouping) -> list[tuple[int, int]]:
    return [
        (int(first), int(second))
        for group in _groups(frame, grouping)
        for first, second in combinations(group, 2)
    ]


def _adjusted(
    p: Mapping[str, np.ndarray], means: Mapping[str, Resampled]
) -> tuple[dict[str, np.ndarray], dict[str, bool]]:
    """Holm's p of every measure, and whether any of its differences could be significant.

    Of n patients whose differences have one sign, p is 2 / 2^n; it must bear the correction for all pairs.
    """
    everything = np.concatenate([np.array([]), *p.values()])
    ends = np.cumsum([len(part) for part in p.values()])[:-1]
    n_tested = int((~np.isnan(everything)).sum())
    n_patients = {key: one.draws.n_patients for key, one in means.items()}
    possible = {
        key: n >= MIN_PATIENTS and n_tested * 2.0 ** (1 - n) <= LEVEL for key, n in n_patients.items()
    }
    return dict(zip(p, np.split(holm(everything), ends), strict=True)), possible


def _against_best(
    scores: CaseScores,
    frame: pd.DataFrame,
    grouping: Grouping,
    resampled: Resampled,
    tested: Mapping[tuple[int, int], tuple[float, float]],
    *,
    judged: bool,
) -> pd.DataFrame:
    """The best of every group against each of its rivals; `tested` has p and the adjusted p of every pair."""
    name = grouping.name
    numbers = ["difference", "low", "high", "p", "p_adjusted", "effect", "n_zero", "n_patients"]
    columns = pd.DataFrame(np.nan, index=frame.index, columns=[f"{name}_{number}" for number in numbers])
    best = best_mask(frame, grouping.within, higher_is_better=scores.measure.higher_is_better).to_numpy()
    leaders, rivals = set(), set()
    for group in _groups(frame, grouping):
        if not best[group].any():
            # Without a difference none is the best.
            continue
        leader = int(group[best[group].argmax()])
        leaders.add(leader)
        rivals |= {int(cell) for cell in group if cell != leader}
        for rival in map(int, group[group != leader]):
            p, adjusted = tested[min(leader, rival), max(leader, rival)]
            pair = compare(scores, leader, rival, resampled=resampled, p=p)
            bounds = (pair.interval.low, pair.interval.high)
            counted = (pair.n_zero, pair.n_patients)
            columns.loc[rival] = [pair.difference, *bounds, p, adjusted, pair.effect, *counted]
    columns[f"{name}_best"] = [cell in leaders for cell in frame.index]
    columns[f"{name}_rival"] = [cell in rivals for cell in frame.index]
    columns[f"{name}_judged"] = judged
    told = _told(columns, name, columns[f"{name}_p_adjusted"], scores)
    # A pair with too few patients in common has no p, and no mark.
    columns[f"{name}_untold"] = columns[f"{name}_p_adjusted"].notna() & ~told & judged
    return columns


def _marks(frame: pd.DataFrame, groupings: Sequence[Grouping]) -> list[str]:
    return ["".join(g.mark for g in groupings if frame.at[cell, f"{g.name}_untold"]) for cell in frame.index]
