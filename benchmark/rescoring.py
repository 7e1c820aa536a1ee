"""A finished run scored once more from its weights: are the stored scores what it says?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmark.evaluate import score_cases
from benchmark.reopened import ReopenedRun

KEYS = ["case_id", "reading", "region", "metric"]


@dataclass(frozen=True)
class Reproduced:
    """`differences`: by metric, the largest absolute one over cases, readings and regions, in the metric's unit;
    infinite where a value is defined on one side alone. `only_stored`, `only_new`: rows without a counterpart."""

    rows: int
    differences: dict[str, float]
    only_stored: int
    only_new: int

    @property
    def exact(self) -> bool:
        return not (self.only_stored or self.only_new or any(self.differences.values()))


def rescore(run: ReopenedRun) -> Reproduced:
    """Predict and score the test cases again, and compare; nothing is written."""
    scores = score_cases(
        run.predicted(run.data.test),
        run.data.references,
        spec=run.spec,
        config=run.config,
        run_id=run.folder.run_id,
        told=run.method.told_regions,
    )
    return compared(run.folder.scores(), scores)


def compared(stored: pd.DataFrame, new: pd.DataFrame) -> Reproduced:
    """The differences between two sets of scores of one run."""
    both = stored.merge(new, on=KEYS, how="outer", suffixes=("_stored", "_new"), indicator=True)
    matched = both[both["_merge"] == "both"]
    before, after = matched["value_stored"].to_numpy(float), matched["value_new"].to_numpy(float)
    apart = np.where(np.isnan(before) & np.isnan(after), 0.0, np.abs(before - after))
    largest = pd.Series(np.where(np.isnan(apart), np.inf, apart)).groupby(matched["metric"].to_numpy()).max()
    return Reproduced(
        rows=len(matched),
        differences={str(metric): float(value) for metric, value in largest.items()},
        only_stored=int((both["_merge"] == "left_only").sum()),
        only_new=int((both["_merge"] == "right_only").sum()),
    )
