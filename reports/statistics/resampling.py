"""Bootstrap over patients, and over seeds where there are several: the spread of means and of what is made of them.

The scheme follows the data. Patients are drawn within folds, with all their cases together, since cases of one patient
are not independent; the same patients are drawn for every cell, since all cells are scored on the same
cases and only their differences matter. Seeds are drawn independently of the patients (Owen, The pigeonhole bootstrap,
Annals of Applied Statistics 2007: crossed in this way the variance is slightly overstated, never understated).

Of k patients of a fold, k - 1 are drawn with replacement, and so for seeds: the variance of a mean of k drawn of k is
too small by (k - 1) / k, half in a fold with two patients (McCarthy and Snowden, The bootstrap and finite
population sampling, 1985; Rao and Wu, JASA 1988).

Intervals over patients are percentile intervals. BCa would need a jackknife over patients of everything an interval
is taken of (means of folds, differences, ranks), and corrects a bias and skewness that means over dozens of
patients hardly have. What matters with few patients is that percentiles of the bootstrap lack Student's correction;
they are therefore taken further out, at the normal quantile of Student's (Hesterberg, What teachers should know about
the bootstrap, The American Statistician 2015, Section 4.3).

Where seeds are drawn too, percentiles cannot reach further than the two or three means there are, and the variance
counts what differs by chance from patient to patient and training to training three times (Owen). There, intervals are
the mean plus and minus Student's quantile times the standard error, put together from the variances of patients drawn
alone, of seeds drawn alone, and of both; with degrees of freedom after Satterthwaite (Biometrics Bulletin 1946): many
where the patients make the error, seeds less one where training does. `tests/test_resampling.py` shows the coverage.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

import numpy as np
from scipy import stats

from reports.statistics.scores import CaseScores, mean_of_defined

Covers = Literal["patients", "patients and seeds"]

MIN_PATIENTS = 6
"""With fewer there are neither intervals nor p: with five, the smallest two-sided p of a signed-rank test is 1/16."""
MAX_UNDEFINED = 0.05
"""Of the resamples; where more have no value, there is no interval."""


@dataclass(frozen=True)
class Interval:
    """Bounds in the values' own unit, NaN where they cannot be computed; `covers` says which chance they cover."""

    low: float
    high: float
    level: float
    covers: str

    @property
    def known(self) -> bool:
        return not np.isnan(self.low)


def interval(
    values: np.ndarray, level: float = 0.95, *, covers: str = "patients", freedom: float = np.inf
) -> Interval:
    """The percentile interval of resampled values; `freedom` are Student's degrees of freedom."""
    values = np.asarray(values, dtype=float)
    undefined = np.isnan(values)
    if not len(values) or undefined.mean() > MAX_UNDEFINED:
        return Interval(np.nan, np.nan, level, covers)
    tail = _tail(level, freedom)
    low, high = np.quantile(values[~undefined], [tail, 1 - tail])
    return Interval(float(low), float(high), level, covers)


@cache
def _tail(level: float, freedom: float) -> float:
    """The share of resamples below an interval: that of a normal variable below Student's quantile."""
    tail = (1 - level) / 2
    return float(stats.norm.cdf(stats.t.ppf(tail, max(freedom, 1.0)))) if np.isfinite(freedom) else tail


@dataclass(frozen=True, eq=False)
class Draws:
    """What was drawn: `cases` [n, case] is how often each case is in each resample.

    `seeds` [set, n, seed] is the same of seeds, for every set of seeds that cells have, and `seed_set` [cell]
    says which one a cell has; None where seeds are not drawn. `n_patients` take part, in `n_folds` folds; of seeds
    every cell that was begun has `n_seeds` or more.
    """

    cases: np.ndarray
    seeds: np.ndarray | None
    seed_set: np.ndarray
    n_patients: int
    n_folds: int
    n_seeds: int

    @property
    def covers(self) -> Covers:
        return "patients" if self.seeds is None else "patients and seeds"


@dataclass(frozen=True, eq=False)
class Drawn:
    """The same numbers in every resample: with patients and seeds drawn, with patients alone, and with seeds alone.

    Each is [n, ...]; `seeds` is None, and `patients` the same as `both`, where seeds are not drawn.
    """

    both: np.ndarray
    patients: np.ndarray
    seeds: np.ndarray | None

    def made(self, compute: Callable[[np.ndarray], np.ndarray]) -> Drawn:
        """What `compute` makes of them."""
        return Drawn(
            compute(self.both), compute(self.patients), None if self.seeds is None else compute(self.seeds)
        )

    def column(self, number: int) -> Drawn:
        """One of several numbers [n, number]."""
        return self.made(lambda values: values[:, number])

    def error(self, *, freedom: float, n_seeds: int) -> tuple[np.ndarray, np.ndarray]:
        """[...]: the standard errors, and their degrees of freedom; `freedom` are those among the patients."""
        among = np.full(self.both.shape[1:], float(max(freedom, 1)))
        if self.seeds is None:
            return np.sqrt(_variance(self.both)), among
        whole, patients, seeds = map(_variance, (self.both, self.patients, self.seeds))
        # In expectation P + S + 3 E, P + E and S + E, of patients, seeds and what both make together.
        together = np.clip(whole - patients - seeds, 0.0, np.minimum(patients, seeds))
        training = seeds - together
        variance = patients + training
        uncertain = patients**2 / among + training**2 / max(n_seeds - 1, 1)
        freedoms = np.divide(variance**2, uncertain, out=among, where=uncertain > 0)
        return np.sqrt(variance), freedoms


@dataclass(frozen=True, eq=False)
class Resampled:
    """`drawn` [n, cell], in the printed unit: the means of all cells in every resample.

    A cell's column is NaN where it stands on fewer than MIN_PATIENTS patients, or on one alone in a fold.
    """

    drawn: Drawn
    draws: Draws
    kept: dict[Hashable, np.ndarray] = field(default_factory=dict)
    """What was computed of single cells, for the next pair that has one of them."""

    @property
    def means(self) -> np.ndarray:
        """[n, cell]."""
        return self.drawn.both

    @property
    def covers(self) -> Covers:
        """`patients`, or `patients and seeds` where retraining is covered too."""
        return self.draws.covers

    @property
    def freedom(self) -> int:
        """Degrees of freedom among the patients."""
        return self.draws.n_patients - self.draws.n_folds

    def percentiles(self, values: np.ndarray, level: float = 0.95) -> Interval:
        """The percentile interval of what was computed from `means`, one value a resample, of ranks for instance.

        Where seeds are drawn it is too narrow, the more the fewer there are; for means and differences of
        means there is `interval`.
        """
        return interval(values, level, covers=self.covers, freedom=self.freedom)

    def interval(self, drawn: Drawn, level: float = 0.95, *, freedom: float | None = None) -> Interval:
        """The interval of means, or of differences of means; each of `drawn` is [n].

        `freedom`: among the patients it is of, where those are not all.
        """
        among = self.freedom if freedom is None else freedom
        undefined = np.isnan(drawn.both)
        if drawn.seeds is None or not len(undefined) or undefined.mean() > MAX_UNDEFINED:
            return interval(drawn.both, level, covers=self.covers, freedom=among)
        error, freedoms = drawn.error(freedom=among, n_seeds=self.draws.n_seeds)
        middle = float(np.nanmean(drawn.patients))
        reach = float(stats.t.ppf((1 + level) / 2, freedoms) * error)
        return Interval(middle - reach, middle + reach, level, self.covers)

    def cell_interval(self, cell: int, level: float = 0.95) -> Interval:
        """The interval of a cell's mean."""
        return self.interval(self.drawn.column(cell), level)


def resampled_means(scores: CaseScores, *, n: int = 2000, seed: int = 0) -> Resampled:
    """The means of all cells in `n` resamples of the patients (and seeds, where every cell has two or more).

    The hierarchy is that of `CaseScores.means`: over cases, then folds, then seeds.
    """
    draws = draw(scores, n=n, seed=seed)
    drawn = drawn_means(scores, draws)
    few = ~enough_patients(scores)
    for values in (drawn.both, drawn.patients, drawn.seeds):
        if values is not None:
            values[:, few] = np.nan
    return Resampled(drawn, draws)


def draw(scores: CaseScores, *, n: int, seed: int) -> Draws:
    """Patients within folds, and seeds. Patients without a defined value in any cell take no part."""
    generator = np.random.default_rng(seed)
    patients = scores.patients
    defined = ~np.isnan(scores.values)
    takes_part = defined.any(axis=(0, 2))
    # A case's numbers lie together, since cases are what is chosen of them.
    counts = np.zeros((len(scores.cases), n)).T
    n_patients = n_folds = 0
    for cases in scores.fold_cases:
        cases = cases[takes_part[cases]]
        members, patient_of = np.unique(patients[cases], return_inverse=True)
        if not len(members):
            continue
        n_patients, n_folds = n_patients + len(members), n_folds + 1
        drawn = generator.multinomial(len(members) - 1, np.full(len(members), 1 / len(members)), size=n)
        counts[:, cases] = drawn[:, patient_of]

    has_seed = defined.any(axis=1)
    begun = has_seed.any(axis=1)
    sets, seed_set = np.unique(has_seed, axis=0, return_inverse=True)
    drawn_seeds = None
    n_seeds = int(has_seed[begun].sum(axis=1).min()) if begun.any() else 0
    if n_seeds >= 2:
        drawn_seeds = np.zeros((len(sets), n, len(scores.seeds)))
        for number, members in enumerate(sets):
            k = int(members.sum())
            if k:
                drawn_seeds[number][:, members] = generator.multinomial(k - 1, np.full(k, 1 / k), size=n)
    return Draws(counts, drawn_seeds, seed_set.reshape(-1), n_patients, n_folds, n_seeds)


def drawn_means(scores: CaseScores, draws: Draws) -> Drawn:
    """The means of all cells [n, cell] in every resample; NaN where nothing defined was drawn."""
    by_seed = _by_seed(scores, draws.cases)
    every_seed = mean_of_defined(by_seed, axis=2)
    if draws.seeds is None:
        return Drawn(every_seed, every_seed, None)
    every_case = _by_seed(scores, np.ones((1, len(scores.cases))))
    return Drawn(_over_seeds(by_seed, draws), every_seed, _over_seeds(every_case, draws))


def _by_seed(scores: CaseScores, weights: np.ndarray) -> np.ndarray:
    """[n, cell, seed]: the means over cases, weighted [n, case], then over folds."""
    n_cells, _, n_seeds = scores.values.shape
    n = len(weights)
    sums, folds = np.zeros((n, n_cells * n_seeds)), np.zeros((n, n_cells * n_seeds))
    for cases in scores.fold_cases:
        values = scores.values[:, cases].transpose(1, 0, 2).reshape(len(cases), -1)
        means = _weighted(columns(weights, cases), values)
        known = ~np.isnan(means)
        sums += np.where(known, means, 0.0)
        folds += known
    by_seed = np.divide(sums, folds, out=np.full(sums.shape, np.nan), where=folds > 0)
    return by_seed.reshape(n, n_cells, n_seeds)


def _over_seeds(by_seed: np.ndarray, draws: Draws) -> np.ndarray:
    """[n, cell]: the means over the seeds that were drawn, of [n or 1, cell, seed]."""
    assert draws.seeds is not None
    means = np.empty((len(draws.cases), by_seed.shape[1]))
    for number, drawn in enumerate(draws.seeds):
        cells = draws.seed_set == number
        weights = drawn[:, None, :] * ~np.isnan(by_seed[:, cells])
        total = weights.sum(axis=2)
        summed = (weights * np.nan_to_num(by_seed[:, cells])).sum(axis=2)
        means[:, cells] = np.divide(summed, total, out=np.full(total.shape, np.nan), where=total > 0)
    return means


def _variance(values: np.ndarray) -> np.ndarray:
    """[...]: the variance of what is defined of [n, ...]."""
    return mean_of_defined((values - mean_of_defined(values, axis=0)) ** 2, axis=0)


def columns(array: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """`array[:, chosen]`, without copying where the columns follow one another, as the cases of a fold do.

    `array` has its columns in one piece each.
    """
    if len(chosen) and chosen[-1] - chosen[0] + 1 == len(chosen):
        return array[:, chosen[0] : chosen[-1] + 1]
    return array.T[chosen].T


def _weighted(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """[n, column]: the means of the columns of `values` [case, column], with the weights [n, case]."""
    defined = ~np.isnan(values)
    sums = weights @ np.where(defined, values, 0.0)
    if (defined == defined[:, :1]).all():
        # All columns are defined for the same cases, as those with a lesion are for Dice.
        totals = np.broadcast_to(weights @ defined[:, :1].astype(float), sums.shape)
    else:
        totals = weights @ defined.astype(float)
    return np.divide(sums, totals, out=np.full(sums.shape, np.nan), where=totals > 0)


def enough_patients(scores: CaseScores) -> np.ndarray:
    """[cell]: whether it has MIN_PATIENTS patients with a defined value, and not one alone in a fold."""
    defined = ~np.isnan(scores.values).all(axis=2)
    return np.array([patients_suffice(scores, row) for row in defined], dtype=bool)


def patients_suffice(scores: CaseScores, defined: np.ndarray) -> bool:
    """Whether the cases for which `defined` [case] holds are of patients enough for an interval."""
    counts = [n_different(scores.patients[cases[defined[cases]]]) for cases in scores.fold_cases]
    return sum(counts) >= MIN_PATIENTS and 1 not in counts


def n_different(numbers: np.ndarray) -> int:
    """How many different numbers, 0 and up, there are."""
    return int(np.count_nonzero(np.bincount(numbers)))
