"""Data as text that a page can hold, whatever names files and runs have."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import yaml

_DUMPER = yaml.CSafeDumper if yaml.__with_libyaml__ else yaml.SafeDumper
NOT_SCORED = math.inf
"""Stands in an array for a case that a run has no score of; NaN: scored and undefined."""


def script_json(value: object) -> str:
    """JSON that cannot end the script element it stands in, nor begin a comment or another element.

    ASCII alone; undefined numbers are null.
    """
    try:
        text = _encoded(value)
    except (ValueError, TypeError):
        # NaN, or keys that are no texts: rare, and looking at every number takes most of the time.
        text = _encoded(_plain(value))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _encoded(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False, default=_plain)


def packed(values: np.ndarray, scored: np.ndarray) -> str:
    """float64, little-endian, in base64: NaN where undefined, NOT_SCORED where there is no score."""
    return base64.b64encode(np.where(scored, values, NOT_SCORED).astype("<f8").tobytes()).decode("ascii")


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (str, bool)) or value is None:
        return value
    if isinstance(value, Sequence):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return [_plain(inner) for inner in value.tolist()]
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return str(value)


def yaml_text(content: Mapping[str, Any]) -> str:
    """A configuration as YAML; by libyaml where it is there, which takes a tenth of the time."""
    return str(yaml.dump(dict(content), Dumper=_DUMPER, sort_keys=False))
