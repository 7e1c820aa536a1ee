"""In what two runs differ: settings, data, code and environment, key by key, and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.config import flat
from benchmark.merging.sources import SCORE_KEYS, RunCopy

ABSENT = "not there"
RUN_FACTS = (
    "precision",
    "protocol",
    "python",
    "git_commit",
    "device",
    "gpu",
    "cuda",
    "cudnn",
    "cpu",
    "threads",
)


@dataclass(frozen=True)
class Difference:
    """A key, and its value in each of the copies, in their order."""

    key: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class ScoreDifference:
    """`n` of `total` scores differ; `largest`: by metric, the largest absolute difference in the metric's unit,
    infinite where a value is defined, or there, on one side alone."""

    n: int
    total: int
    largest: Mapping[str, float]


def described(copy: RunCopy) -> dict[str, Any]:
    """Everything that may explain why two runs are not the same, one key a fact."""
    record, facts = copy.record, copy.record.facts
    config = copy.folder.config() if copy.folder.config_file.exists() else {}
    settings = {key: value for key, value in flat(config).items() if key not in ("fold", "seed")}
    data = {"fingerprint": record.data_fingerprint, **facts.get("data", {})}
    return {
        **settings,
        **{f"data.{key}": value for key, value in data.items()},
        "data.excluded_cases": list(record.excluded_cases),
        **{key: facts[key] for key in RUN_FACTS if key in facts},
        **{f"versions.{name}": version for name, version in facts.get("versions", {}).items()},
        **({"steps": record.steps} if record.steps is not None else {}),
    }


def differences(copies: Sequence[RunCopy]) -> tuple[Difference, ...]:
    """The keys of `described` that are not the same in all copies."""
    facts = [described(copy) for copy in copies]
    keys = dict.fromkeys(key for each in facts for key in each)
    values = {key: tuple(each.get(key, ABSENT) for each in facts) for key in keys}
    return tuple(
        Difference(key, found)
        for key, found in values.items()
        if any(value != found[0] for value in found[1:])
    )


def score_difference(one: RunCopy, other: RunCopy) -> ScoreDifference:
    """How far the scores of two copies are from one another."""
    both = one.scores.merge(
        other.scores, on=SCORE_KEYS, how="outer", suffixes=("_one", "_other"), indicator=True
    )
    before, after = both["value_one"].to_numpy(float), both["value_other"].to_numpy(float)
    apart = np.where(np.isnan(before) & np.isnan(after), 0.0, np.abs(before - after))
    apart = np.where(np.isnan(apart) | both["_merge"].ne("both").to_numpy(), np.inf, apart)
    metrics = both["metric"].to_numpy()
    differing = sorted(set(metrics[apart > 0]))
    largest = {str(metric): float(apart[metrics == metric].max()) for metric in differing}
    return ScoreDifference(int((apart > 0).sum()), len(both), largest)
