"""What the factors of a table contribute: a linear mixed model of the scores of single cases, in closed form.

    score[case, cell] = fixed effects of the cell's factors and all their interactions
                        + patient + case of the patient + residual

Patient and case are random intercepts (the case's only where patients have several). Every cell is scored on
the same cases. Then the generalised least-squares estimate of every difference between cells is the
difference of their means, whatever the random intercepts' variances, and the F test of a term against the
residual mean square of cases x cells is exact, where Wald's chi2 (df x F) is asymptotic.
`tests/test_mixed.py` shows that this equals statsmodels' MixedLM, which would take minutes for 63 cells of
1000 cases.

The model supposes that patients differ by a constant. Where patients respond differently to a factor, the
residual is no yardstick for it; so each term is also tested against its own interaction with the patient, as
repeated-measures ANOVA does, with the correction of Box, Geisser and Greenhouse (Greenhouse and Geisser,
Psychometrika 1959).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from benchmark.vocabulary import BenchError
from reports.statistics.design import Design, Term, design
from reports.statistics.paired import holm
from reports.statistics.resampling import MIN_PATIENTS
from reports.statistics.same_cases import left_out_note, on_cases, same_cases
from reports.statistics.scores import CaseScores
from reports.statistics.variances import Variances, variances

LEVEL = 0.95
TIMES = " × "


@dataclass(frozen=True, eq=False)
class MixedModel:
    """A fitted model.

    `terms`: `term`, `df`, `df_error`, `F`, `p`, `p_holm` (over the terms); `F_own`, `epsilon`, `df_own`,
    `df_error_own`, `p_own`, `p_own_holm` against the patients' own responses; `share`, the term's sum of
    squares in percent of that between all cells, `share_beyond` the same after taking off what the
    residual alone would give (df x its mean square; negative is 0); `size`, the root mean square of the
    term's effects after that, in points.

    `levels`: `factor`, `level`, `n_cells`, the marginal `mean` with `low` and `high`, and its `deviation`
    from the mean of the factor's levels with `deviation_low` and `deviation_high`. `largest`: for every
    `term` its largest contrast, the `levels` it is of (a factor's: higher, lower), `value`, `low`, `high`,
    and `n_compared`. `residuals` describes what the model leaves.

    `n_undefined` cases have no value in any cell, `n_dropped` in some, `n_unused` were not scored in all
    cells; `left_out` says which cells are not in the model, `kept` has the rows of those that are.
    """

    design: Design
    kept: np.ndarray
    terms: pd.DataFrame
    levels: pd.DataFrame
    largest: pd.DataFrame
    variances: Variances
    residuals: Residuals
    n_cases: int
    n_patients: int
    n_undefined: int
    n_dropped: int
    n_unused: int
    left_out: str
    folds: tuple[int, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Residuals:
    """How far the residuals are from normal ones, whose skewness and excess kurtosis are 0, of which 0.27 %
    lie `beyond` three standard deviations. `spread` is the cells' largest standard deviation of residuals
    over the smallest. `lowest` and `highest`: percent of the scores that are 0, and 100.
    """

    skewness: float
    kurtosis: float
    beyond: float
    spread: float
    lowest: float
    highest: float


def mixed_model(scores: CaseScores, factors: Sequence[str], *, names: Sequence[str]) -> MixedModel:
    """The model of the cells of `scores`, whose columns `factors` are crossed.

    A case's value is its mean over seeds; `names` are the cells'.

    Raises `BenchError` where there are too few patients or cells, or the cells there are do not tell the
    factors apart.
    """
    same = same_cases(scores)
    if len(same.kept) < 2:
        raise BenchError(
            f"A model of {scores.measure.name} needs two cells that were scored on the same cases of at least "
            f"{MIN_PATIENTS} patients with a value; there {_are(len(same.kept))}."
        )
    values = same.scores.case_values().T
    defined = ~np.isnan(values)
    whole = defined.all(axis=1)
    here = on_cases(same.scores, whole)
    values, patients = values[whole], here.patients
    n_patients = len(np.unique(patients))
    if n_patients < MIN_PATIENTS:
        raise BenchError(
            f"A model of {scores.measure.name} needs {MIN_PATIENTS} patients with a value in every cell; there "
            f"{_are(n_patients)}."
        )
    plan = design(here.cells, factors)
    residual, mean_square = residuals_of(values)
    return MixedModel(
        design=plan,
        kept=same.kept,
        terms=term_tests(values, patients, plan.terms(), mean_square=mean_square),
        levels=marginal_means(values, patients, plan),
        largest=largest_contrasts(values, patients, plan),
        variances=variances(values.mean(axis=1), patients, mean_square, values.shape[1]),
        residuals=_described(values, residual),
        n_cases=len(values),
        n_patients=n_patients,
        n_undefined=int((~defined.any(axis=1)).sum()),
        n_dropped=int((defined.any(axis=1) & ~whole).sum()),
        n_unused=same.n_cases_unused,
        left_out=left_out_note(names, same.left_out),
        folds=tuple(sorted(map(int, here.cases["fold"].unique()))),
        seeds=here.seeds,
    )


def _are(number: int) -> str:
    return f"is {number}" if number == 1 else f"are {number or 'none'}"


def residuals_of(values: np.ndarray) -> tuple[np.ndarray, float]:
    """What the means of cases and cells leave of scores [case, cell], and its mean square."""
    residual = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
    df = (len(values) - 1) * (values.shape[1] - 1)
    return residual, float((residual**2).sum() / df)


def term_tests(
    values: np.ndarray, patients: np.ndarray, terms: Sequence[Term], *, mean_square: float
) -> pd.DataFrame:
    """The `terms` of a `MixedModel`, from scores [case, cell]; `mean_square` is the residual's."""
    n_cases, n_cells = values.shape
    means = values.mean(axis=0)
    between = n_cases * float(((means - means.mean()) ** 2).sum())
    df_error = (n_cases - 1) * (n_cells - 1)
    rows = []
    for term in terms:
        squares = n_cases * float(((term.basis.T @ means) ** 2).sum())
        excess = max(squares - term.df * mean_square, 0.0)
        f = squares / term.df / mean_square if term.df and mean_square > 0 else np.nan
        rows.append(
            {
                "term": TIMES.join(term.factors),
                "df": term.df,
                "df_error": df_error,
                "F": f,
                "p": float(stats.f.sf(f, term.df, df_error)) if term.df else np.nan,
                **_own_error(values @ term.basis, patients),
                "share": 100 * squares / between if between > 0 else np.nan,
                "share_beyond": 100 * excess / between if between > 0 else np.nan,
                "size": np.sqrt(excess / (n_cases * n_cells)),
            }
        )
    frame = pd.DataFrame(rows)
    frame.insert(5, "p_holm", holm(frame["p"].to_numpy()))
    frame.insert(11, "p_own_holm", holm(frame["p_own"].to_numpy()))
    return frame


def _own_error(contrasts: np.ndarray, patients: np.ndarray) -> dict[str, float]:
    """A term's test against the patients' own responses; contrasts [case, df] are the cases' on the term's basis."""
    names = ("F_own", "epsilon", "df_own", "df_error_own", "p_own")
    df = contrasts.shape[1]
    mean, covariance, n_patients = clustered(contrasts, patients)
    trace = float(np.trace(covariance))
    if not df or trace <= 0:
        return dict.fromkeys(names, np.nan)
    f = float(mean @ mean) / trace
    epsilon = trace**2 / (df * float((covariance**2).sum()))
    df_own, df_error = epsilon * df, epsilon * df * (n_patients - 1)
    p = float(stats.f.sf(f, df_own, df_error))
    return dict(zip(names, (f, epsilon, df_own, df_error, p), strict=True))


def clustered(values: np.ndarray, patients: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """The mean over cases of values [case, k], its covariance, which allows for cases of one patient, and how many
    patients."""
    mean = values.mean(axis=0)
    n_patients = int(patients.max()) + 1
    sums = np.zeros((n_patients, values.shape[1]))
    np.add.at(sums, patients, values - mean)
    covariance = sums.T @ sums / len(values) ** 2 * (n_patients / (n_patients - 1))
    return mean, covariance, n_patients


def _bounds(values: np.ndarray, patients: np.ndarray, *, comparisons: int = 1) -> tuple[np.ndarray, ...]:
    """Mean, low and high of every column [case, k]: Student's over patients, Bonferroni over `comparisons`."""
    mean, covariance, n_patients = clustered(values, patients)
    reach = float(stats.t.ppf(1 - (1 - LEVEL) / 2 / comparisons, n_patients - 1))
    half = reach * np.sqrt(np.diag(covariance))
    return mean, mean - half, mean + half


def marginal_means(values: np.ndarray, patients: np.ndarray, plan: Design) -> pd.DataFrame:
    """The `levels` of a `MixedModel`."""
    frames = []
    for factor, weights in plan.level_weights().items():
        mean, low, high = _bounds(values @ weights.T, patients)
        deviation, below, above = _bounds(values @ (weights - weights.mean(axis=0)).T, patients)
        counts = plan.cells[factor].value_counts()
        frames.append(
            pd.DataFrame(
                {
                    "factor": factor,
                    "level": plan.levels[factor],
                    "n_cells": [int(counts[level]) for level in plan.levels[factor]],
                    "mean": mean,
                    "low": low,
                    "high": high,
                    "deviation": deviation,
                    "deviation_low": below,
                    "deviation_high": above,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def largest_contrasts(values: np.ndarray, patients: np.ndarray, plan: Design) -> pd.DataFrame:
    """For a main effect the two levels farthest apart, for an interaction the combination of levels that deviates most
    from what its parts add up to; intervals are simultaneous over all pairs, or all combinations, of the term.

    Interactions only in a complete design: elsewhere no combination has a deviation of its own.
    """
    rows = []
    for factor, weights in plan.level_weights().items():
        pairs = list(combinations(range(len(weights)), 2))
        contrasts = np.array([weights[second] - weights[first] for first, second in pairs])
        mean, low, high = _bounds(values @ contrasts.T, patients, comparisons=len(pairs))
        at = int(np.abs(mean).argmax())
        first, second = pairs[at]
        sign = 1.0 if mean[at] >= 0 else -1.0
        upper, lower = (second, first) if sign > 0 else (first, second)
        ends = sorted((sign * low[at], sign * high[at]))
        levels = (plan.levels[factor][upper], plan.levels[factor][lower])
        rows.append((factor, levels, sign * mean[at], *ends, len(pairs)))
    interactions = [term for term in plan.terms() if len(term.factors) > 1] if plan.complete else []
    for term in interactions:
        combined = plan.cells[list(term.factors)].drop_duplicates()
        contrasts = (term.basis @ term.basis.T)[combined.index]
        mean, low, high = _bounds(values @ contrasts.T, patients, comparisons=len(combined))
        at = int(np.abs(mean).argmax())
        levels = tuple(combined.iloc[at])
        rows.append((TIMES.join(term.factors), levels, mean[at], low[at], high[at], len(combined)))
    return pd.DataFrame(rows, columns=["term", "levels", "value", "low", "high", "n_compared"])


def _described(values: np.ndarray, residual: np.ndarray) -> Residuals:
    spreads = residual.std(axis=0)
    flat = residual.ravel()
    spread = flat.std()
    varies = spread > 0
    return Residuals(
        skewness=float(stats.skew(flat)) if varies else np.nan,
        kurtosis=float(stats.kurtosis(flat)) if varies else np.nan,
        beyond=100 * float((np.abs(flat) > 3 * spread).mean()) if varies else np.nan,
        spread=float(spreads.max() / spreads.min()) if spreads.min() > 0 else np.nan,
        lowest=100 * float((values <= 0).mean()),
        highest=100 * float((values >= 100).mean()),
    )
