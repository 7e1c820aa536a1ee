"""Two cells of a table, compared case by case.

The question is always whether two cells differ on the same patients. The estimate is the mean difference over the cases
both have, its interval comes from resampled patients, and p from Wilcoxon's signed-rank test over the
patients' mean differences; zeros are ranked and then dropped (Pratt, JASA 1959), since equal scores, of a case both
miss for instance, are evidence for no difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests

from reports.statistics.resampling import (
    MIN_PATIENTS,
    Draws,
    Interval,
    Resampled,
    draw,
    interval,
    patients_suffice,
)
from reports.statistics.scores import CaseScores, mean_of_defined

RESAMPLES = 2000
EQUAL_DECIMALS = 9
"""Differences, in the printed unit, that agree so far differ by floating-point rounding alone."""


@dataclass(frozen=True)
class Paired:
    """The cell `first` against `second`, rows of `CaseScores.cells`; everything is first - second.

    `difference` and `interval` are in the printed unit: the mean over the `n_cases` cases for which both cells
    are defined (a case's value is its mean over seeds), within folds and then over folds. `p` is two-sided,
    over `n_patients` patients, of which `n_zero` have no difference; NaN with fewer than MIN_PATIENTS.
    `p_adjusted` is Holm's, within the comparisons made together. `effect` is the matched-pairs rank-biserial
    correlation, from -1 (second higher in every patient) to 1; `dz` the mean over the standard deviation of the
    patients' differences. `n_undefined` cases were scored in both cells, and are undefined in at least one.
    """

    first: int
    second: int
    difference: float
    interval: Interval
    p: float
    p_adjusted: float
    effect: float
    dz: float
    n_cases: int
    n_patients: int
    n_undefined: int
    n_zero: int

    @property
    def testable(self) -> bool:
        """Whether there are patients enough for a test."""
        return not np.isnan(self.p)


def compare(scores: CaseScores, first: int, second: int, *, resampled: Resampled | None = None) -> Paired:
    """Two cells against one another. `resampled` are the `resampled_means` of the same scores, for its draws."""
    return _compare(scores, first, second, drawn=_drawn(scores, resampled))


def compare_all(
    scores: CaseScores, pairs: Sequence[tuple[int, int]], *, resampled: Resampled | None = None
) -> list[Paired]:
    """All pairs, with p adjusted by Holm over those that have one."""
    drawn = _drawn(scores, resampled)
    compared = [_compare(scores, first, second, drawn=drawn) for first, second in pairs]
    adjusted = holm(np.array([one.p for one in compared]))
    return [replace(one, p_adjusted=float(p)) for one, p in zip(compared, adjusted, strict=True)]


def _drawn(scores: CaseScores, resampled: Resampled | None) -> Draws:
    return draw(scores, n=RESAMPLES, seed=0) if resampled is None else resampled.draws


def _compare(scores: CaseScores, first: int, second: int, *, drawn: Draws) -> Paired:
    values = mean_of_defined(scores.values[[first, second]], axis=2)
    differences = values[0] - values[1]
    paired = ~np.isnan(differences)
    scored = scores.scored[[first, second]].any(axis=2).all(axis=0)
    by_patient = _patient_means(scores, differences)
    difference = _hierarchical(scores, differences, np.ones((1, len(differences))))[0]
    return Paired(
        first=first,
        second=second,
        difference=float(difference),
        interval=_interval(scores, (first, second), paired, drawn),
        p=signed_rank_p(by_patient),
        p_adjusted=np.nan,
        effect=rank_biserial(by_patient),
        dz=cohens_dz(by_patient),
        n_cases=int(paired.sum()),
        n_patients=len(by_patient),
        n_undefined=int((scored & ~paired).sum()),
        n_zero=int((by_patient == 0).sum()),
    )


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p of those that are not NaN."""
    adjusted = np.full(len(p), np.nan)
    known = ~np.isnan(p)
    if known.any():
        adjusted[known] = multipletests(p[known], method="holm")[1]
    return adjusted


def signed_rank_p(differences: np.ndarray) -> float:
    """The two-sided p of Wilcoxon's signed-rank test, zeros after Pratt; NaN with fewer than MIN_PATIENTS.

    SciPy's `auto`: exact up to 50 differences without ties and zeros, all 2^n signs up to 13 with them, else the
    normal approximation with Cureton's variance.
    """
    if len(differences) < MIN_PATIENTS:
        return np.nan
    if not differences.any():
        return 1.0
    return float(stats.wilcoxon(differences, zero_method="pratt", method="auto").pvalue)


def rank_biserial(differences: np.ndarray) -> float:
    """(R+ - R-) / (R+ + R- + R0): Kerby's simple difference (Comprehensive Psychology 2014) with Pratt's ranks.

    The ranks R0 of zeros count for neither side, so that a few non-zeros among many zeros are no large effect.
    """
    if not len(differences):
        return np.nan
    ranks = stats.rankdata(np.abs(differences))
    return float((np.sign(differences) * ranks).sum() / ranks.sum())


def cohens_dz(differences: np.ndarray) -> float:
    """Mean over sample standard deviation of paired differences; NaN where all are the same."""
    if len(differences) < 2 or np.ptp(differences) == 0:
        return np.nan
    return float(differences.mean() / differences.std(ddof=1))


def _patient_means(scores: CaseScores, differences: np.ndarray) -> np.ndarray:
    """[patient]: the mean difference of every patient who has one."""
    paired = ~np.isnan(differences)
    _, patient_of = np.unique(scores.patients[paired], return_inverse=True)
    means = np.bincount(patient_of, differences[paired]) / np.bincount(patient_of)
    return means.round(EQUAL_DECIMALS) + 0.0


def _hierarchical(scores: CaseScores, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """[n]: the weighted mean of `values` [case] or [n, case] within folds, then over folds; weights [n, case]."""
    defined = ~np.isnan(values)
    weights = weights * defined
    weighted = weights * np.where(defined, values, 0.0)
    folds = [(weighted[:, cases].sum(axis=1), weights[:, cases].sum(axis=1)) for cases in scores.fold_cases]
    means = [np.divide(a, b, out=np.full(a.shape, np.nan), where=b > 0) for a, b in folds]
    return mean_of_defined(np.stack(means), axis=0) if means else np.full(len(weights), np.nan)


def _interval(scores: CaseScores, cells: tuple[int, int], paired: np.ndarray, drawn: Draws) -> Interval:
    if not patients_suffice(scores, paired):
        return Interval(np.nan, np.nan, 0.95, drawn.covers)
    n_patients = len(np.unique(scores.patients[paired]))
    n_folds = sum(bool(paired[cases].any()) for cases in scores.fold_cases)
    first, second = (_case_values(scores, cell, drawn) for cell in cells)
    differences = np.where(paired, first - second, np.nan)
    resampled = _hierarchical(scores, differences, drawn.cases)
    return interval(resampled, covers=drawn.covers, freedom=n_patients - n_folds)


def _case_values(scores: CaseScores, cell: int, drawn: Draws) -> np.ndarray:
    """[case], or [n, case] where seeds were drawn: a cell's mean over seeds of every case."""
    values = scores.values[cell]
    if drawn.seeds is None:
        return mean_of_defined(values, axis=1)
    weights = drawn.seeds[drawn.seed_set[cell]]
    defined = ~np.isnan(values)
    totals = weights @ defined.T
    sums = weights @ np.where(defined, values, 0.0).T
    return np.divide(sums, totals, out=np.full(sums.shape, np.nan), where=totals > 0)
