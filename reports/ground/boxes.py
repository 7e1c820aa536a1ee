"""The numbers of a box plot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd


def box_statistics(points: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Quartiles of `value` in each group, and whiskers to the farthest point within 1.5 interquartile ranges.

    Columns: `by`, `q1`, `median`, `q3`, `low`, `high` (NaN for a group without values), and `n` of
    `n_expected` points.
    """
    rows = []
    for key, group in points.groupby(list(by), sort=False):
        values = group["value"].dropna().to_numpy()
        row = dict(zip(by, key, strict=True)) | {"n": len(values), "n_expected": len(group)}
        if len(values):
            q1, median, q3 = np.percentile(values, [25, 50, 75])
            reach = 1.5 * (q3 - q1)
            # An interpolated quartile may lie beyond the last point within reach.
            low = min(values[values >= q1 - reach].min(), q1)
            high = max(values[values <= q3 + reach].max(), q3)
            row |= {"q1": q1, "median": median, "q3": q3, "low": low, "high": high}
        rows.append(row)
    return pd.DataFrame(rows, columns=[*by, "q1", "median", "q3", "low", "high", "n", "n_expected"])
