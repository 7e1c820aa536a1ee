"""How a run's configuration differs from the defaults and from its neighbours in the table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from benchmark.config import InferenceConfig, TrainingConfig, flat

Flat = Mapping[str, Any]
"""`{"training.steps": 120}`: a configuration with one key a setting."""
NOT_SET = "not set"
OF_A_RUN = ("fold", "seed")
"""Settings in which the runs of a cell differ by design."""


@dataclass(frozen=True)
class Difference:
    """A setting, its value here, and the values it has there."""

    key: str
    here: Any
    there: tuple[Any, ...]


def unlike(
    here: Flat, there: Iterable[Flat], *, except_for: Iterable[str] = OF_A_RUN
) -> tuple[Difference, ...]:
    """The settings that are not the same in all of `there` as here."""
    others, ignored = list(there), set(except_for)
    keys = dict.fromkeys(key for config in (here, *others) for key in config if key not in ignored)
    found = []
    for key in keys:
        own, values = here.get(key, NOT_SET), [config.get(key, NOT_SET) for config in others]
        apart: list[Any] = []
        for value in values:
            if value != own and value not in apart:
                apart.append(value)
        if apart:
            found.append(Difference(key, own, tuple(apart)))
    return tuple(found)


def unlike_defaults(config: Flat) -> tuple[Difference, ...]:
    """The settings of training and inference that are not the suite's defaults, which are the paper's recipe."""
    defaults = _defaults()
    known = {key: value for key, value in config.items() if key in defaults}
    return unlike(known, [{key: defaults[key] for key in known}])


@cache
def _defaults() -> Flat:
    return flat(
        {
            "training": TrainingConfig().model_dump(mode="json"),
            "inference": InferenceConfig().model_dump(mode="json"),
        }
    )


def gives_id(config: Mapping[str, Any], data_fingerprint: str, run_id: str) -> bool:
    """Whether a run's name follows from the configuration, as it stands in its file, and its data."""
    text = json.dumps(config, sort_keys=True, separators=(",", ":")) + data_fingerprint
    return hashlib.sha256(text.encode()).hexdigest()[: len(run_id)] == run_id
