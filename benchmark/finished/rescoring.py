"""A finished run scored once more from its weights: are the stored scores what it says?

The scores themselves are never changed. Where they are given again exactly, the run notes that they are those of the
present protocol, and which file of weights gives them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.finished.reopened import ReopenedRun
from benchmark.protocols import Method
from benchmark.results.evidence import scores_facts, weights_facts, weights_named
from benchmark.scoring.evaluate import new_projections, score_cases
from benchmark.training.in_loop import evaluated_weights

KEYS = ["case_id", "reading", "region", "metric"]
ALIKE = {"dice": 0.01, "over_ml": 1.0, "under_ml": 1.0}
"""Masks whose scores differ by less look the same in a projection."""


@dataclass(frozen=True)
class Reproduced:
    """`differences`: by metric, the largest absolute one over cases, readings and regions, in the metric's unit;
    infinite where a value is defined on one side alone. `only_stored`, `only_new`: rows without a counterpart.
    `projections`: the run had no pictures of its errors, and was given them; None: it had them."""

    rows: int
    differences: dict[str, float]
    only_stored: int
    only_new: int
    projections: bool | None = None

    @property
    def exact(self) -> bool:
        return not (self.only_stored or self.only_new or any(self.differences.values()))

    @property
    def alike(self) -> bool:
        """Whether pictures of the new masks may stand for those of the stored scores."""
        return not self.only_stored and all(
            self.differences.get(metric, 0.0) < most for metric, most in ALIKE.items()
        )


def rescore(run: ReopenedRun) -> Reproduced:
    """Predict and score the test cases again, and compare; no score is written.

    A run of an earlier version of the suite gets its `projections.npz`, if the masks are those that were scored.
    """
    lacking = not run.folder.projections_file.exists()
    projections = new_projections(run.spec, run.method.predicted_regions) if lacking else None
    scores = score_cases(
        run.predicted(run.data.test),
        run.data.references,
        spec=run.spec,
        config=run.config,
        run_id=run.folder.run_id,
        told=run.method.predicted_regions,
        projections=projections,
    )
    found = compared(run.folder.scores(), scores)
    if found.exact:
        _confirm(run)
    if projections is None:
        return found
    if found.alike:
        projections.write(run.folder.projections_file)
    return replace(found, projections=found.alike)


def _confirm(run: ReopenedRun) -> None:
    weights: Path | None = None
    if isinstance(run.method, Method):
        weights = evaluated_weights(run.folder, run.config)
    else:
        weights = weights_named(run.folder, run.record.facts)
    seen = {"precision": run.config.training.precision, "data": dict(run.data.fingerprints)}
    confirmed = seen | weights_facts(run.folder, weights) | scores_facts(run.folder)
    with run.folder.claimed() as held:
        record = run.folder.record()
        facts = {**record.facts, **confirmed}
        if held and record.state == "done" and facts != record.facts:
            run.folder.write_record(replace(record, facts=facts))


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
