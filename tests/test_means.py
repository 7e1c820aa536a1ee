"""Means over the cases of a region, and then over regions."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmark.execution.overview import mean_dice
from benchmark.results.means import over_cases, over_cases_then_regions, over_regions, regions_words
from benchmark.search.trials import validation_means

NAN = float("nan")
ROWS = pd.DataFrame(
    {
        "run_id": "r",
        "reading": "",
        "split": "test",
        "metric": "dice",
        "region": ["core", "core", "whole", "whole", "rim"],
        "case_id": ["a", "b", "a", "b", "a"],
        "value": [0.4, 0.6, 0.9, NAN, NAN],
    }
)
"""Core 0.5, whole 0.9 of one case, nothing of the rim: 0.7, where the mean of the three values is 0.633."""


def test_a_mean_is_over_cases_and_then_over_the_regions_that_have_one() -> None:
    assert over_cases(ROWS, ["metric"]).dropna().to_dict() == {("dice", "core"): 0.5, ("dice", "whole"): 0.9}
    assert over_cases_then_regions(ROWS, ["run_id"]).to_dict() == {"r": pytest.approx(0.7)}
    assert over_regions(ROWS).to_dict() == {"a": pytest.approx(0.65), "b": 0.6}


def test_the_terminal_and_a_search_have_the_same_mean() -> None:
    assert mean_dice(ROWS) == {("r", ""): pytest.approx(70.0)}
    means = validation_means(ROWS, ["dice", "fpv_ml"])
    assert means["dice"] == pytest.approx(0.7)
    assert means["fpv_ml"] != means["fpv_ml"], "not scored"
    assert mean_dice(ROWS.assign(value=NAN)) == mean_dice(ROWS.iloc[:0]) == {}


def test_what_several_regions_are_averaged_over_is_said() -> None:
    assert regions_words(["core"]) == regions_words([]) == ""
    assert regions_words(["core", "whole"]).startswith(
        "over the regions core, whole; one that is made of others"
    )
