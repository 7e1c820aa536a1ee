"""The window in which a prepared modality is shown, and the same window in words and physical units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float

from benchmark.vocabulary import DataError, Intensity, Percentiles, Unclipped, Window, ZScore, kind_of

HU, SUV = "HU", "SUV"
_UNITS = {"CT": HU, "PET": SUV}
SHOWN = {HU: (-160.0, 240.0), SUV: (0.0, 7.0)}
"""Soft tissue (400 HU wide about 40 HU), and what nuclear medicine reads FDG in: dark uptake on white."""
SHOWN_PERCENTILES = (0.5, 99.9)
_RULES: dict[str, type[Window] | type[Percentiles] | type[ZScore]] = {
    rule.__name__: rule for rule in (Window, Unclipped, Percentiles, ZScore)
}


Value = TypeVar("Value", float, np.ndarray)


@dataclass(frozen=True)
class DisplayWindow:
    """`low` and `high` in prepared units; `inverted`: high values are dark. `words` are the window in the
    modality's own unit. `projected`: its maximum along a ray means something; others are cut."""

    low: float
    high: float
    words: str
    inverted: bool = False
    projected: bool = False


def unit_of(modality: str, rule: Intensity | None) -> str:
    """HU, SUV, or nothing where prepared values cannot be brought back to a unit that is known."""
    return _UNITS.get(kind_of(modality), "") if isinstance(rule, Window) else ""


def rule_of(content: Mapping[str, Any] | None) -> Intensity | None:
    """An intensity rule from its JSON: `{"rule": "Window", "low": -100, "high": 250}`; DataError else."""
    if content is None:
        return None
    given = {name: value for name, value in content.items() if name != "rule"}
    kind = _RULES.get(str(content.get("rule")))
    if kind is None or set(given) - {field.name for field in fields(kind)}:
        raise DataError(f"{dict(content)} is no rule for intensities.")
    return kind(**given)


def physical(prepared: Value, rule: Window) -> Value:
    """Prepared values, one or an array of any shape, in the modality's own unit."""
    return rule.low + prepared * (rule.high - rule.low)


def shown(modality: str, rule: Intensity | None, volume: Float[np.ndarray, "x y z"]) -> DisplayWindow:
    """How a modality is shown: CT and PET in a fixed window, as far as the prepared values reach; all else
    between two percentiles of its voxels that are not zero."""
    unit = unit_of(modality, rule)
    if unit and isinstance(rule, Window):
        low, high = max(SHOWN[unit][0], rule.low), min(SHOWN[unit][1], rule.high)
        if low < high:
            scale = rule.high - rule.low
            words = f"SUV {_number(low)} to {_number(high)}" if unit == SUV else _hounsfield(low, high)
            suv = unit == SUV
            return DisplayWindow(
                (low - rule.low) / scale, (high - rule.low) / scale, words, inverted=suv, projected=suv
            )
    values = volume[volume != 0].astype(np.float32)
    low, high = map(float, np.percentile(values, SHOWN_PERCENTILES)) if values.size else (0.0, 1.0)
    high = max(high, low + 1e-6)
    return DisplayWindow(low, high, _words(rule, low, high))


def _hounsfield(low: float, high: float) -> str:
    return f"soft tissue,\n{_number(low)} to {_number(high)} HU"


def _words(rule: Intensity | None, low: float, high: float) -> str:
    ends = f"{_number(round(low, 1))} to {_number(round(high, 1))}"
    match rule:
        case Window():
            return f"{_number(physical(low, rule))} to {_number(physical(high, rule))}"
        case Percentiles(lowest, highest):
            return f"{low:.2f} to {high:.2f} between percentiles {_number(lowest)} and {_number(highest)}"
        case ZScore():
            return f"z-score {ends}"
    return f"{ends}, as in the file"


def _number(value: float) -> str:
    """With the sign that is as wide as a plus."""
    return f"{value:.4g}".replace("-", "−")
