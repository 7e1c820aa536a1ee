"""Two configurations on the same cases: the difference per patient, and an interval for its mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmark.results.means import over_regions
from reports.statistics import resampling
from reports.statistics.resampling import MIN_PATIENTS

RESAMPLES = 10_000
LEVEL = 0.95
SEED = 0


@dataclass(frozen=True)
class Paired:
    """Mean Dice of both, on the patients that both have; the mean difference per patient with its interval.

    `low` and `high` are NaN where there are fewer than MIN_PATIENTS patients.
    """

    ours: float
    theirs: float
    difference: float
    low: float
    high: float
    n_patients: int
    n_cases: int
    n_better: int


@dataclass(frozen=True)
class Compared:
    """A pair, and the addresses of the rows on either side."""

    pair: Paired
    ours: str
    theirs: str


def paired(
    ours: Sequence[pd.DataFrame], theirs: Sequence[pd.DataFrame], *, metric: str = "dice"
) -> Paired | None:
    """Compare scores (SCORE_COLUMNS) of the same cases, one frame a seed on either side; None without a common case.

    A patient's value is the mean over regions, then seeds, then the patient's cases; patients are drawn with both
    of their values.
    """
    both = pd.concat(
        [_by_case(ours, metric).rename("ours"), _by_case(theirs, metric).rename("theirs")], axis=1
    ).dropna()
    if both.empty:
        return None
    patients = both.groupby("patient").mean()
    differences = (patients["ours"] - patients["theirs"]).to_numpy()
    low, high = interval(differences)
    return Paired(
        ours=float(patients["ours"].mean()),
        theirs=float(patients["theirs"].mean()),
        difference=float(differences.mean()),
        low=low,
        high=high,
        n_patients=len(patients),
        n_cases=len(both),
        n_better=int((differences > 0).sum()),
    )


def _by_case(frames: Sequence[pd.DataFrame], metric: str) -> pd.Series:
    """By patient and case."""
    parts = []
    for seed, frame in enumerate(frames):
        first = frame[(frame["reading"] == frame["reading"].iloc[0]) & (frame["metric"] == metric)]
        parts.append(first.assign(of=seed))
    rows = pd.concat(parts).dropna(subset="value")
    keys = ["patient", "case_id"]
    return over_regions(rows, [*keys, "of"]).groupby(keys).mean()


def interval(differences: np.ndarray) -> tuple[float, float]:
    """The bootstrap interval of their mean, by the scheme of `reports.statistics.resampling`."""
    n = len(differences)
    if n < MIN_PATIENTS:
        return (float("nan"), float("nan"))
    drawn = np.random.default_rng(SEED).multinomial(n - 1, np.full(n, 1 / n), size=RESAMPLES)
    found = resampling.interval(drawn @ differences / (n - 1), LEVEL, freedom=n - 1)
    return (found.low, found.high)
