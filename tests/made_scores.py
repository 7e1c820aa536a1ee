"""Scores of single cases as arrays, for the tests of the statistics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from reports.ground.measures import DICE, Measure
from reports.statistics.scores import CaseScores


def scores_from(
    values: np.ndarray | Sequence[Sequence[float]],
    *,
    patients: Sequence[object] | None = None,
    folds: Sequence[int] | None = None,
    scored: np.ndarray | None = None,
    cells: pd.DataFrame | None = None,
    measure: Measure = DICE,
) -> CaseScores:
    """Values [cell, case] or [cell, case, seed] in the printed unit; one patient a case, one fold, if not said."""
    array = np.asarray(values, dtype=float)
    if array.ndim == 2:
        array = array[:, :, None]
    n_cells, n_cases, n_seeds = array.shape
    cases = pd.DataFrame(
        {
            "case_id": [f"case{number:04d}" for number in range(n_cases)],
            "patient": [str(name) for name in (range(n_cases) if patients is None else patients)],
            "fold": np.zeros(n_cases, dtype=int) if folds is None else list(folds),
        }
    )
    if cells is None:
        cells = pd.DataFrame({"method": [f"M{number}" for number in range(n_cells)]})
    if scored is None:
        scored = np.ones(array.shape, dtype=bool)
    return CaseScores(measure, cells, cases, tuple(range(n_seeds)), array, scored)
