"""Statistics of many comparisons of one measure at once: margins in every resample, intervals, one-sided p."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from reports.claims.tree import Comparison, Mean, Operand, value_of
from reports.statistics.paired import rank_biserial, signed_rank_p
from reports.statistics.resampling import Interval, Resampled
from reports.statistics.scores import CaseScores

ROUNDING = 1e-9
"""Numbers in the printed unit that differ by less are equal."""
EXACT_UP_TO = 50
"""Patients for which `signed_rank_p` may choose an exact distribution, one comparison at a time."""


@dataclass(frozen=True, eq=False)
class Tested:
    """The statistics of one comparison; see `Finding`."""

    interval: Interval
    p_holds: float
    p_fails: float
    resampled: np.ndarray
    n_patients: int


Rows = dict[Operand, list[int]]
"""The cells of every operand, as rows of the scores."""


def tested(
    comparisons: Sequence[Comparison],
    margins: np.ndarray,
    *,
    scores: CaseScores,
    resampled: Resampled,
    rows: Rows,
) -> list[Tested]:
    """The statistics of comparisons with these margins [comparison], all of whose cells have numbers.

    By the mean: Student's t of the margin over its bootstrap standard error, with as many degrees of freedom as
    patients less folds, or Satterthwaite's where seeds are drawn. By the ranks: Wilcoxon's signed-rank test over
    patients. Each p is the larger of the two: the claim is of means, whose test alone trusts a few outlying patients;
    the ranks alone say nothing of the mean. A spread has no value for a patient, and is tested by its bootstrap error
    alone. Where a test cannot be made its p is 1.
    """
    drawn = resampled.drawn.made(lambda means: _margins(comparisons, means, rows))
    errors, freedom = drawn.error(freedom=resampled.freedom, n_seeds=resampled.draws.n_seeds)
    by_mean = t_tests(margins, errors, freedom)
    by_ranks, n_patients = _rank_tests(comparisons, scores, rows)
    n_patients = np.where(n_patients < 0, resampled.draws.n_patients, n_patients)
    return [
        Tested(
            resampled.interval(drawn.column(number)),
            float(max(by_mean[number, 0], by_ranks[number, 0])),
            float(max(by_mean[number, 1], by_ranks[number, 1])),
            drawn.both[:, number],
            int(n_patients[number]),
        )
        for number in range(len(comparisons))
    ]


def _margins(comparisons: Sequence[Comparison], values: np.ndarray, rows: Rows) -> np.ndarray:
    """[n, comparison]: the margins from the numbers of all cells [n, cell]."""
    found = np.empty((len(values), len(comparisons)))
    of_operand: dict[Operand, np.ndarray] = {}
    for number, one in enumerate(comparisons):
        for side in (one.left, one.right):
            if side not in of_operand:
                of_operand[side] = value_of(side, values[:, rows[side]])
        found[:, number] = one.sign * (of_operand[one.left] - of_operand[one.right]) - one.threshold
    return found


def t_tests(margins: np.ndarray, errors: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """[comparison, 2]: one-sided p that the margin is above 0, and below; 1 where the standard error is not known."""
    # Where all resamples agree there is no error, and the margin speaks for itself.
    flat = np.select([margins > ROUNDING, margins < -ROUNDING], [np.inf, -np.inf], 0.0)
    t = np.where(errors > ROUNDING, margins / np.where(errors > ROUNDING, errors, 1.0), flat)
    pairs = np.stack([stats.t.sf(t, freedom), stats.t.cdf(t, freedom)], axis=1)
    return np.where(np.isnan(errors)[:, None], 1.0, pairs)


def _rank_tests(
    comparisons: Sequence[Comparison], scores: CaseScores, rows: Rows
) -> tuple[np.ndarray, np.ndarray]:
    """[comparison, 2] one-sided p, and [comparison] over how many patients; 0 and -1 of spreads."""
    pairs, counts = np.zeros((len(comparisons), 2)), np.full(len(comparisons), -1)
    linear = [
        number
        for number, one in enumerate(comparisons)
        if isinstance(one.left, Mean) and isinstance(one.right, Mean)
    ]
    if not linear:
        return pairs, counts
    by_case = _margins([comparisons[number] for number in linear], scores.case_values().T, rows).T
    for numbers, patients in _by_patient(by_case, scores.patients):
        chosen = [linear[number] for number in numbers]
        counts[chosen] = patients.shape[1]
        pairs[chosen] = signed_ranks(patients)
    return pairs, counts


def _by_patient(by_case: np.ndarray, patients: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The means over every patient's cases [comparison, patient], apart for comparisons on other cases."""
    patterns, pattern_of = np.unique(~np.isnan(by_case), axis=0, return_inverse=True)
    found = []
    for number, pattern in enumerate(patterns):
        chosen = np.flatnonzero(pattern_of.reshape(-1) == number)
        members, patient_of = np.unique(patients[pattern], return_inverse=True)
        sums = np.zeros((len(chosen), len(members)))
        np.add.at(sums.T, patient_of, by_case[chosen][:, pattern].T)
        means = sums / np.maximum(np.bincount(patient_of, minlength=len(members)), 1)
        found.append((chosen, means.round(9) + 0.0))
    return found


def signed_ranks(patients: np.ndarray) -> np.ndarray:
    """[comparison, 2]: one-sided p of the signed-rank test over patients [comparison, patient], by the ranks' side."""
    if patients.shape[1] > EXACT_UP_TO:
        # As `signed_rank_p`, whose normal approximation needs no loop.
        some = patients.any(axis=1)
        p = np.ones(len(patients))
        if some.any():
            p[some] = stats.wilcoxon(patients[some], axis=1, zero_method="pratt", method="asymptotic").pvalue
    else:
        p = np.array([signed_rank_p(row) for row in patients])
    side = np.array([rank_biserial(row) for row in patients])
    above, below = np.where(side > 0, p / 2, 1 - p / 2), np.where(side < 0, p / 2, 1 - p / 2)
    known = ~np.isnan(p) & (side != 0) & ~np.isnan(side)
    return np.where(known[:, None], np.stack([above, below], axis=1), 1.0)
