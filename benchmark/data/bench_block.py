"""The block `mirror_bench` of a `dataset.json`: what the suite knows of a data set and nnU-Net has no word for.

    "mirror_bench": {
      "patients": {"<case>": "<patient>", ...},           or a pattern, "(.+)_[^_]+", whose first group is the patient
      "regions": {"whole tumor": [1, 2, 3], ...},
      "spacing_mm": [1.0, 1.0, 1.0],                      null: each file's own voxels
      "crop_modality": "FLAIR", "crop_above": 0.0,        null: no crop
      "intensities": {"CT": {"rule": "Window", "low": -100, "high": 250}, "T1w": {"rule": "ZScore", "nonzero": true},
                      "ADC": null},                       null: left as it is
      "branches": [["T1Gd"], ["FLAIR"]]
    }

Every entry is optional. Cases are named as in the data set's files or by their ids. nnU-Net leaves the block alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypedDict

from benchmark.vocabulary import (
    Branches,
    DataError,
    DatasetSpec,
    Intensity,
    Percentiles,
    Region,
    Spacing,
    Unclipped,
    Window,
    ZScore,
    did_you_mean,
)

KEY = "mirror_bench"
_RULES: dict[str, type[Intensity]] = {
    rule.__name__: rule for rule in (Window, Unclipped, Percentiles, ZScore)
}


class Block(TypedDict, total=False):
    """The entries that are there."""

    patients: Mapping[str, str] | str
    regions: tuple[Region, ...]
    spacing_mm: Spacing | None
    crop_modality: str | None
    crop_above: float
    intensities: Mapping[str, Intensity | None]
    branches: Branches | None


def block_of(spec: DatasetSpec, *, patients: Mapping[str, str]) -> dict[str, Any]:
    """The block from which `read_block` reads the very same."""
    preparation = spec.preparation
    return {
        "regions": {region.name: list(region.labels) for region in spec.regions},
        "spacing_mm": preparation.spacing_mm and list(preparation.spacing_mm),
        "crop_modality": preparation.crop_modality,
        "crop_above": preparation.crop_above,
        "intensities": {
            name: rule and {"rule": type(rule).__name__, **asdict(rule)}
            for name, rule in preparation.intensities.items()
        },
        "branches": spec.branches and [list(group) for group in spec.branches],
        "patients": dict(patients),
    }


def read_block(
    content: Mapping[str, Any], path: Path, *, modalities: Sequence[str], labels: Mapping[str, int]
) -> Block:
    """The block of a `dataset.json`; DataError for what is not understood, or not in the data set."""
    given = content.get(KEY, {})
    if not isinstance(given, dict):
        raise DataError(f'{path}: "{KEY}" is {given!r}; it must be an object like {{"patients": {{}}}}.')
    known = set(modalities)
    readers: dict[str, Callable[[Any], Any]] = {
        "patients": lambda value: (
            value if isinstance(value, str) else {str(case): str(patient) for case, patient in value.items()}
        ),
        "regions": lambda value: _regions(value, labels),
        "spacing_mm": lambda value: None if value is None else _spacing(value),
        "crop_modality": lambda value: None if value is None else _one_of(value, known),
        "crop_above": float,
        "intensities": lambda value: {_one_of(name, known): _rule(rule) for name, rule in value.items()},
        "branches": lambda value: None if value is None else _branches(value, known),
    }
    block: dict[str, Any] = {}
    for key, value in given.items():
        if key not in readers:
            raise DataError(f'{path}: "{KEY}" has no entry {key!r}. {did_you_mean(str(key), readers)}')
        try:
            block[key] = readers[key](value)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise DataError(
                f'{path}: the entry "{key}" of "{KEY}" cannot be {value!r} ({error}). Correct or remove it.'
            ) from error
    return Block(**block)  # type: ignore[typeddict-item]


def _one_of(name: str, known: set[str]) -> str:
    if name not in known:
        raise ValueError(f"there is no modality {name!r}")
    return name


def _regions(value: Mapping[str, Any], labels: Mapping[str, int]) -> tuple[Region, ...]:
    regions = tuple(Region(name, tuple(int(label) for label in own)) for name, own in value.items())
    unknown = {label for region in regions for label in region.labels} - set(labels.values())
    if not regions or unknown:
        raise ValueError(
            f"no label has the value {min(unknown)}" if unknown else "there must be one at least"
        )
    return regions


def _spacing(value: Sequence[float]) -> Spacing:
    x, y, z = (float(edge) for edge in value)
    if min(x, y, z) <= 0:
        raise ValueError("edges are longer than 0 mm")
    return x, y, z


def _rule(value: Mapping[str, Any] | None) -> Intensity | None:
    if value is None:
        return None
    left = dict(value)
    return _RULES[left.pop("rule")](**left)


def _branches(value: Sequence[Sequence[str]], known: set[str]) -> Branches:
    first, second = (tuple(_one_of(name, known) for name in group) for group in value)
    if not first or not second:
        raise ValueError("both branches need a modality")
    return first, second
