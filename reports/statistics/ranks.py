"""How stable a ranking is: the ranks of a table's cells in resamples of the patients.

A competitor is a cell or, as the bold numbers of Table 2 and the points of Figure 5, the best of several;
which one is best is then decided again in every resample. Rank 1 is the best; equal means share the mean of
their ranks and, if they are the best, the first place.

The shares of resamples are no p values, and a share of first places no probability that a method is truly the
best: resamples vary around what was observed, and where true means are equal the bootstrap tends to be too
sure of the order that was seen (Hall and Miller, Annals of Statistics 2009).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from benchmark.vocabulary import BenchError
from reports.ground.measures import Measure
from reports.statistics.paired import EQUAL_DECIMALS
from reports.statistics.resampling import (
    MAX_UNDEFINED,
    MIN_PATIENTS,
    Covers,
    Interval,
    Resampled,
    resampled_means,
)
from reports.statistics.same_cases import left_out_note, same_cases
from reports.statistics.scores import CaseScores

Groups = Mapping[str, Mapping[str, Sequence[int]]]
"""For every ranking its competitors, and for every competitor the cells whose best it is."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """The ranks of competitors in `n_resamples`.

    `frame` has one row a competitor, best first: `name`, `value` (in the printed unit), `rank` by it,
    `mean_rank`, `low` and `high` (the 95 % interval of ranks, in whole ranks outwards), and `first` (the
    share of resamples in which it is the best, in percent; ties divide it). `shares` has `name`, `rank` and
    `share` (percent) for every rank a competitor takes. `tau` is the median of Kendall's tau-b between the
    resamples' order and that of all patients, `tau_interval` holds 95 % of it; NaN for a single competitor,
    or where all are equal. `members` has for every competitor the cells that take part.
    """

    measure: Measure
    frame: pd.DataFrame
    shares: pd.DataFrame
    tau: float
    tau_interval: Interval
    covers: Covers
    n_resamples: int
    n_cases: int
    n_patients: int
    left_out: str
    members: Mapping[str, Sequence[int]]


def rankings(
    scores: CaseScores,
    names: Sequence[str],
    groups: Groups | None = None,
    *,
    n: int = 2000,
    seed: int = 0,
) -> dict[str, Ranking]:
    """One ranking a group; `names` are the cells'. All see the same resamples.

    `groups`: for every ranking its competitors, and for every competitor the cells whose best it is; left
    out: one ranking of all cells, by their names. A group with fewer than two competitors, or whose competitors all
    have one mean, is not ranked. Raises `BenchError` where none can be.
    """
    groups = groups or {"": {name: [cell] for cell, name in enumerate(names)}}
    same = same_cases(scores)
    if len(same.kept) < 2:
        raise BenchError(
            f"Ranks by {scores.measure.name} need two cells that were scored on the same cases of at least "
            f"{MIN_PATIENTS} patients with a value; there are {len(same.kept)}."
        )
    resampled = resampled_means(same.scores, n=n, seed=seed)
    # The first row is of all patients. A resample without a value of some cell orders nothing.
    means = np.vstack([same.scores.means(), resampled.means])
    means = means[~np.isnan(means).any(axis=1)]
    if len(means) < 1 + (1 - MAX_UNDEFINED) * n:
        raise BenchError(
            f"Too few patients have a value of {scores.measure.name} in every cell for ranks of them."
        )
    place = {int(cell): column for column, cell in enumerate(same.kept)}
    found = {}
    for title, competitors in groups.items():
        columns = {
            name: [place[cell] for cell in cells if cell in place] for name, cells in competitors.items()
        }
        columns = {name: chosen for name, chosen in columns.items() if chosen}
        if len(columns) < 2:
            continue
        asked = {cell for cells in competitors.values() for cell in cells}
        missing = {cell: why for cell, why in same.left_out.items() if cell in asked}
        members = {name: [int(same.kept[column]) for column in chosen] for name, chosen in columns.items()}
        best = np.nanmax if scores.measure.higher_is_better else np.nanmin
        bests = np.column_stack([best(means[:, chosen], axis=1) for chosen in columns.values()])
        if np.ptp(bests[0].round(EQUAL_DECIMALS)) == 0:
            continue
        left_out = left_out_note(names, missing)
        found[title] = _ranking(bests, members, same.scores, resampled, left_out=left_out)
    if not found:
        raise BenchError(
            f"No two of them differ in their mean {scores.measure.name}, so that there are no ranks."
        )
    return found


def _ranking(
    bests: np.ndarray,
    members: Mapping[str, Sequence[int]],
    scores: CaseScores,
    resampled: Resampled,
    *,
    left_out: str,
) -> Ranking:
    """From the values [1 + n, competitor], those of all patients first."""
    names = list(members)
    ranks = ranks_of(bests, higher_is_better=scores.measure.higher_is_better)
    order, drawn = ranks[0], ranks[1:]
    is_first = drawn == drawn.min(axis=1, keepdims=True)
    intervals = [resampled.percentiles(column) for column in drawn.T]
    frame = pd.DataFrame(
        {
            "name": names,
            "value": bests[0],
            "rank": order,
            "mean_rank": drawn.mean(axis=0),
            "low": [np.floor(one.low) for one in intervals],
            "high": [np.ceil(one.high) for one in intervals],
            "first": 100 * (is_first / is_first.sum(axis=1, keepdims=True)).mean(axis=0),
        }
    )
    shares = []
    for name, column in zip(names, drawn.T, strict=True):
        taken, counts = np.unique(column, return_counts=True)
        shares.append(pd.DataFrame({"name": name, "rank": taken, "share": 100 * counts / len(drawn)}))
    taus = kendall(drawn, order)
    taus = taus[~np.isnan(taus)]
    return Ranking(
        measure=scores.measure,
        frame=frame.sort_values(["rank", "mean_rank"], kind="stable", ignore_index=True),
        shares=pd.concat(shares, ignore_index=True),
        tau=float(np.median(taus)) if len(taus) else float("nan"),
        tau_interval=resampled.percentiles(taus),
        covers=resampled.covers,
        n_resamples=len(drawn),
        n_cases=int((~np.isnan(scores.values)).any(axis=(0, 2)).sum()),
        n_patients=resampled.draws.n_patients,
        left_out=left_out,
        members=members,
    )


def ranks_of(values: np.ndarray, *, higher_is_better: bool) -> np.ndarray:
    """Ranks along the last axis, 1 the best; equal values (but for rounding errors) share their mean rank."""
    signed = -values if higher_is_better else values
    return stats.rankdata(np.round(signed, EQUAL_DECIMALS), axis=-1)


def kendall(ranks: np.ndarray, order: np.ndarray) -> np.ndarray:
    """[n]: Kendall's tau-b between each row of `ranks` [n, k] and `order` [k]; NaN where all of a side are equal."""
    agreeing = np.zeros(len(ranks))
    untied = np.zeros(len(ranks))
    untied_in_order = 0
    for first in range(len(order) - 1):
        signs = np.sign(ranks[:, [first]] - ranks[:, first + 1 :])
        expected = np.sign(order[first] - order[first + 1 :])
        agreeing += signs @ expected
        untied += np.abs(signs).sum(axis=1)
        untied_in_order += int(np.abs(expected).sum())
    total = np.sqrt(untied * untied_in_order)
    return np.divide(agreeing, total, out=np.full(len(ranks), np.nan), where=total > 0)
