"""The numbers of a box plot."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.cbook import boxplot_stats

THEIRS = {"q1": "q1", "median": "med", "q3": "q3", "low": "whislo", "high": "whishi"}
"""Matplotlib's names of our columns."""


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
            (box,) = boxplot_stats(values)
            row |= {name: box[theirs] for name, theirs in THEIRS.items()}
        rows.append(row)
    return pd.DataFrame(rows, columns=[*by, *THEIRS, "n", "n_expected"])
