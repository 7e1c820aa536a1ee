"""The variances of a mixed model on a table of cases by cells: patient, case of the patient, residual (REML).

Every case has a score in all K cells. The K - 1 differences between the cells of a case know of nothing but
the residual variance, and are independent of the case's mean over the cells; REML therefore comes apart, into
a mean square for the residual and a one-way layout of case means within patients, whose one unknown ratio is
found on a line. No iteration over the fixed effects is needed, however many cells there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize

MOST = 1e6
"""The largest ratio of variances that is looked for."""


@dataclass(frozen=True)
class Variances:
    """In squared points. `case` is NaN where every patient has one case: `patient` then holds both.

    `at_bound`: the case means vary less than the residual explains, so that a variance is 0. `converged` is
    that of the search on the line.
    """

    patient: float
    case: float
    residual: float
    at_bound: bool
    converged: bool = True

    @property
    def total(self) -> float:
        return float(np.nansum([self.patient, self.case, self.residual]))

    @property
    def icc(self) -> float:
        """The share of the variance around the fixed effects that lies between patients."""
        return self.patient / self.total if self.total > 0 else np.nan


def variances(case_means: np.ndarray, patients: np.ndarray, residual: float, n_cells: int) -> Variances:
    """From the means [case] over `n_cells` cells, the patients' numbers [case], and the mean square of the residual."""
    n = len(case_means)
    noise = residual / n_cells
    sizes = np.bincount(patients)
    if sizes.max() == 1:
        between = float(case_means.var(ddof=1)) - noise
        return Variances(max(between, 0.0), np.nan, residual, between <= 0)
    ratio, within, converged = one_way_reml(case_means, patients)
    if within >= noise:
        return Variances(ratio * within, within - noise, residual, ratio == 0, converged)
    # No case variance: the differences within cases have a say in that of the case means, too.
    ratio, within, converged = one_way_reml(
        case_means, patients, inner=noise * (n - 1) * (n_cells - 1), inner_df=(n - 1) * (n_cells - 1)
    )
    return Variances(ratio * within, 0.0, residual, True, converged)


def one_way_reml(
    values: np.ndarray, groups: np.ndarray, *, inner: float = 0.0, inner_df: int = 0
) -> tuple[float, float, bool]:
    """The ratio of the variance between groups to that within, the one within, and whether the search converged.

    `inner` is a sum of squares with `inner_df` degrees of freedom that has the variance within as its expectation.
    """
    sizes = np.bincount(groups).astype(float)
    means = np.bincount(groups, values) / sizes
    inside = float(((values - means[groups]) ** 2).sum()) + inner
    df = len(values) - 1 + inner_df

    def within(ratio: float) -> float:
        weights = sizes / (1 + sizes * ratio)
        centre = (weights * means).sum() / weights.sum()
        return float((inside + (weights * (means - centre) ** 2).sum()) / df)

    def deviance(ratio: float) -> float:
        weights = sizes / (1 + sizes * ratio)
        return float(
            df * np.log(max(within(ratio), np.finfo(float).tiny))
            + np.log1p(sizes * ratio).sum()
            + np.log(weights.sum())
        )

    found = optimize.minimize_scalar(
        lambda x: deviance(np.expm1(x)),
        bounds=(0.0, np.log1p(MOST)),
        method="bounded",
        options={"xatol": 1e-10},
    )
    ratio = float(np.expm1(found.x))
    if deviance(0.0) <= deviance(ratio):
        ratio = 0.0
    return ratio, within(ratio), bool(found.success) and ratio < 0.99 * MOST
