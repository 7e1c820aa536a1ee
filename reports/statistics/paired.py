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

from reports.statistics.resampling import (
    MIN_PATIENTS,
    Drawn,
    Draws,
    Interval,
    Resampled,
    columns,
    n_different,
    patients_suffice,
    resampled_means,
)
from reports.statistics.scores import CaseScores, mean_of_defined

ZERO_RULES = ("pratt", "zsplit", "wilcox")
"""What a signed-rank test does with patients without a difference, as SciPy calls it: their ranks count for neither
side, half for each, or they are left out. The first is the one that decides."""
ENUMERATED, EXACT = 13, 50
"""Patients up to which p is exact: by enumeration of all signs, and by the distribution without ties."""
EQUAL_DECIMALS = 9
"""Differences, in the printed unit, that agree so far differ by floating-point rounding alone."""


@dataclass(frozen=True)
class Paired:
    """The cell `first` against `second`, rows of `CaseScores.cells`; everything is first - second.

    `difference` and `interval` are in the printed unit: the mean over the `n_cases` cases for which both cells
    are defined (a case's value is its mean over seeds), within folds and then over folds. `p` is two-sided,
    over `n_patients` patients, of which `n_zero` have no difference; NaN with fewer than MIN_PATIENTS.
    `effect` is the matched-pairs rank-biserial correlation, from -1 (second higher in every patient) to 1; `dz` the
    mean over the standard deviation of the patients' differences; both NaN with as few patients, among whom they are
    extreme by chance. `n_undefined` cases were scored in both cells, and are undefined in at least one.
    """

    first: int
    second: int
    difference: float
    interval: Interval
    p: float
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


def compare(
    scores: CaseScores,
    first: int,
    second: int,
    *,
    resampled: Resampled | None = None,
    p: float | None = None,
) -> Paired:
    """Two cells against one another. `resampled` are the `resampled_means` of the same scores; `p` is that of
    `pair_ps`, where it is known already."""
    return _compare(scores, first, second, resampled or resampled_means(scores), p=p)


def _compare(
    scores: CaseScores, first: int, second: int, resampled: Resampled, *, p: float | None = None
) -> Paired:
    values = mean_of_defined(scores.values[[first, second]], axis=2)
    differences = values[0] - values[1]
    paired = ~np.isnan(differences)
    scored = scores.scored[[first, second]].any(axis=2).all(axis=0)
    by_patient = _patient_means(scores, differences)
    return Paired(
        first=first,
        second=second,
        difference=_over_folds(scores, differences),
        interval=_interval(scores, (first, second), paired, resampled=resampled),
        p=signed_rank_p(by_patient) if p is None else p,
        effect=rank_biserial(by_patient) if len(by_patient) >= MIN_PATIENTS else np.nan,
        dz=cohens_dz(by_patient) if len(by_patient) >= MIN_PATIENTS else np.nan,
        n_cases=int(paired.sum()),
        n_patients=len(by_patient),
        n_undefined=int((scored & ~paired).sum()),
        n_zero=int((by_patient == 0).sum()),
    )


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p of those that are not NaN."""
    adjusted = np.full(len(p), np.nan)
    known = ~np.isnan(p)
    # Not statsmodels' multipletests, each call of which collects all garbage of the process.
    order = np.flatnonzero(known)[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def signed_rank_p(differences: np.ndarray) -> float:
    """The two-sided p of Wilcoxon's signed-rank test, zeros after Pratt; NaN with fewer than MIN_PATIENTS."""
    return float(signed_rank_ps(np.asarray(differences, dtype=float)[None])[0])


def signed_rank_ps(differences: np.ndarray, *, zeros: str = "pratt") -> np.ndarray:
    """[pair]: the p of every row of `differences` [pair, patient]; `zeros` is one of ZERO_RULES.

    Exact up to ENUMERATED patients, over all 2^n signs of the ranks, whatever ties and zeros there are; exact by
    SciPy up to 50 without ties and zeros; else the normal approximation with the variances of Cureton (zeros)
    and of ties. SciPy's documentation recommends these, and its `auto` chooses the same.
    """
    n_pairs, n = differences.shape
    if n < MIN_PATIENTS:
        return np.full(n_pairs, np.nan)
    if zeros == "wilcox":
        return _ps_without_zeros(differences)
    if n <= ENUMERATED:
        return _enumerated_ps(differences, zeros=zeros)
    sizes = np.sort(np.abs(differences), axis=1)
    tied = (sizes[:, 0] == 0) | (np.diff(sizes, axis=1) == 0).any(axis=1)
    exact = ~tied & (n <= EXACT)
    p = np.ones(n_pairs)
    for rows, method in ((exact, "exact"), (~exact & differences.any(axis=1), "asymptotic")):
        if rows.any():
            tested = stats.wilcoxon(differences[rows], zero_method=zeros, method=method, axis=1)
            p[rows] = tested.pvalue
    return p


def _ps_without_zeros(differences: np.ndarray) -> np.ndarray:
    """NaN where fewer than MIN_PATIENTS have a difference, but 1 where none has."""
    there = differences != 0
    counts = there.sum(axis=1)
    p = np.where(counts == 0, 1.0, np.nan)
    for n in np.unique(counts[counts >= MIN_PATIENTS]):
        rows = np.flatnonzero(counts == n)
        p[rows] = signed_rank_ps(differences[rows][there[rows]].reshape(len(rows), n))
    return p


def _enumerated_ps(differences: np.ndarray, *, zeros: str) -> np.ndarray:
    n = differences.shape[1]
    ranks = stats.rankdata(np.abs(differences), axis=1)
    if zeros == "pratt":
        ranks = ranks * (differences != 0)
    signs = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    p = np.empty(len(differences))
    for start in range(0, len(differences), 256):
        part = slice(start, start + 256)
        observed = np.abs((np.sign(differences[part]) * ranks[part]).sum(axis=1))
        # Ranks are halves, so that sums are exact.
        p[part] = (np.abs(signs @ ranks[part].T) >= observed).mean(axis=0)
    return p


def pair_ps(scores: CaseScores, pairs: Sequence[tuple[int, int]], *, zeros: str = "pratt") -> np.ndarray:
    """[pair]: the p of `compare` for many pairs of cells at once; `zeros` is one of ZERO_RULES."""
    values = scores.case_values()
    defined = ~np.isnan(values)
    masks, mask_of = np.unique(defined, axis=0, return_inverse=True)
    mask_of = mask_of.reshape(-1)
    p = np.full(len(pairs), np.nan)
    first, second = np.array(pairs, dtype=int).reshape(-1, 2).T
    for number, mask in enumerate(masks):
        rows = np.flatnonzero((mask_of[first] == number) & (mask_of[second] == number))
        if len(rows) and mask.any():
            means = _means_of_patients(scores.patients[mask], values[:, mask])
            p[rows] = signed_rank_ps(_rounded(means[first[rows]] - means[second[rows]]), zeros=zeros)
    for row in np.flatnonzero(mask_of[first] != mask_of[second]):
        differences = _patient_means(scores, values[first[row]] - values[second[row]])
        p[row] = signed_rank_ps(differences[None], zeros=zeros)[0]
    return p


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
    """[patient]: the mean of [case] of every patient who has one."""
    paired = ~np.isnan(differences)
    return _rounded(_means_of_patients(scores.patients[paired], differences[None, paired])[0])


def _means_of_patients(patients: np.ndarray, values: np.ndarray) -> np.ndarray:
    """[row, patient]: the means of `values` [row, case] over each patient's cases."""
    if not len(patients):
        return np.empty((len(values), 0))
    order = np.argsort(patients, kind="stable")
    counts = np.bincount(patients)
    counts = counts[counts > 0]
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return np.add.reduceat(values[:, order], starts, axis=1) / counts


def _rounded(differences: np.ndarray) -> np.ndarray:
    """Without what floating-point rounding adds; -0.0 is 0.0."""
    return differences.round(EQUAL_DECIMALS) + 0.0


def _over_folds(scores: CaseScores, differences: np.ndarray) -> float:
    """The mean of [case] within folds, then over folds."""
    folds = [mean_of_defined(differences[cases], axis=0) for cases in scores.fold_cases]
    return float(mean_of_defined(np.array(folds), axis=0))


def _interval(
    scores: CaseScores, cells: tuple[int, int], paired: np.ndarray, *, resampled: Resampled
) -> Interval:
    drawn = resampled.draws
    if not patients_suffice(scores, paired):
        return Interval(np.nan, np.nan, 0.95, drawn.covers)
    defined = ~np.isnan(scores.values[list(cells)])
    folds = [cases[paired[cases]] for cases in scores.fold_cases if paired[cases].any()]
    freedom = n_different(scores.patients[paired]) - len(folds)
    if (defined == (paired[:, None] & defined.any(axis=(0, 1)))).all():
        # Both have the same cases with the same seeds: the difference of the means is the mean difference.
        apart = resampled.drawn.made(lambda means: means[:, cells[0]] - means[:, cells[1]])
        return resampled.interval(apart, freedom=freedom)

    def differences(drawn: Draws, what: str) -> np.ndarray:
        means = [[of_fold(cell, cases, drawn, what) for cell in cells] for cases in folds]
        return mean_of_defined(np.array([first - second for first, second in means]), axis=0)

    def of_fold(cell: int, cases: np.ndarray, drawn: Draws, what: str) -> np.ndarray:
        # A cell meets many others, and with most of them on the same cases.
        key = (cell, cases.tobytes(), what)
        if key not in resampled.kept:
            weights, totals = weights_of(cases, drawn, what)
            resampled.kept[key] = _of_fold(scores.values[cell, cases], weights, totals, cell, drawn)
        return resampled.kept[key]

    def weights_of(cases: np.ndarray, drawn: Draws, what: str) -> tuple[np.ndarray, np.ndarray]:
        weights, totals = (cases.tobytes(), what, "weights"), (cases.tobytes(), what, "totals")
        if weights not in resampled.kept:
            resampled.kept[weights] = columns(drawn.cases, cases)
            resampled.kept[totals] = resampled.kept[weights].sum(axis=1)
        return resampled.kept[weights], resampled.kept[totals]

    every_seed = differences(replace(drawn, seeds=None), "patients")
    if drawn.seeds is None:
        return resampled.interval(Drawn(every_seed, every_seed, None), freedom=freedom)
    # Where every case is drawn once, all resamples of the cases are one.
    every_case = differences(replace(drawn, cases=np.ones_like(drawn.cases[:1])), "seeds")
    return resampled.interval(Drawn(differences(drawn, "both"), every_seed, every_case), freedom=freedom)


def _of_fold(
    values: np.ndarray, weights: np.ndarray, drawn_cases: np.ndarray, cell: int, drawn: Draws
) -> np.ndarray:
    """[n]: in every resample the mean over a fold's cases, each the mean over its seeds; values [case, seed].

    `weights` [n, case] says how often each case was drawn, `drawn_cases` [n] how many were, with repetition.
    """
    seeds = np.ones((1, values.shape[1])) if drawn.seeds is None else drawn.seeds[drawn.seed_set[cell]]
    defined = ~np.isnan(values)
    known = np.where(defined, values, 0.0)
    if (defined == defined[:1]).all():
        # All cases have the same seeds, as those of whole runs have; then cases may be summed up first.
        sums = (weights @ known * seeds).sum(axis=1)
        totals = drawn_cases * (seeds @ defined[0].astype(float))
    else:
        n_seeds = seeds @ defined.T.astype(float)
        counted = weights * (n_seeds > 0)
        by_case = np.divide(seeds @ known.T, n_seeds, out=np.zeros(n_seeds.shape), where=n_seeds > 0)
        sums, totals = (counted * by_case).sum(axis=1), counted.sum(axis=1)
    return np.divide(sums, totals, out=np.full(sums.shape, np.nan), where=totals > 0)
