"""Means over the rows of `scores.parquet`: over the cases of a region, and then over regions.

What is undefined is left out at each step; where nothing is left the mean is NaN. A region that is made of others
counts as they do. Tables have means of their own over thousands of runs (`reports.ground.runs.with_means`), and what
recomputes them shares nothing with either.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd


def over_cases(scores: pd.DataFrame, by: Sequence[str]) -> pd.Series:
    """By the columns `by` and the region: the mean over its cases."""
    return scores.groupby([*by, "region"])["value"].mean()


def over_cases_then_regions(scores: pd.DataFrame, by: Sequence[str]) -> pd.Series:
    """By the columns `by`: the mean over the regions of the means `over_cases`."""
    return over_cases(scores, by).groupby(list(by)).mean()


def over_regions(scores: pd.DataFrame, by: Sequence[str] = ("case_id",)) -> pd.Series:
    """By the columns `by`, which tell cases apart: each case's mean over the regions in which it has a value."""
    return scores.groupby(list(by))["value"].mean()


def regions_words(regions: Sequence[str]) -> str:
    """What a mean over several regions is a mean of, to go on with behind "mean"; empty for one region."""
    if len(regions) < 2:
        return ""
    return f"over the regions {', '.join(regions)}; one that is made of others counts as they do"
