"""The arrays of a case and what they are, as `bench panels` writes them into a run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from benchmark.files.arrays import Archive
from benchmark.files.schemas import read_mapping
from benchmark.vocabulary import BenchError, DataError, Intensity, Spacing
from reports.panels.windows import rule_of

ARRAYS = ("image", "reference", "prediction")
MOST_BYTES = 2**32
"""Of one array: four modalities of 600 x 600 x 700 voxels."""


@dataclass(frozen=True)
class Output:
    """A named output of a network: its `kind` (input, reconstruction, segmentation, classification), of what,
    and the values: prepared units of the modalities in `of` (joined by " + "), or probabilities."""

    kind: str
    of: str
    values: Float[np.ndarray, "c X Y Z"]


@dataclass(frozen=True)
class Outputs:
    """A case on the full grid of a preparation, axes to the right, to the front and upwards.

    `intensities` says by modality what was done to its values; `branches` are the modalities of a network with
    two; `labels` the label map's values by name, `regions` the labels of each region; `predicted_regions` are those
    that the method's label maps can tell (None: all).
    """

    case_id: str
    spacing_mm: Spacing
    modalities: tuple[str, ...]
    image: Float[np.ndarray, "m X Y Z"]
    reference: UInt8[np.ndarray, "X Y Z"]
    prediction: UInt8[np.ndarray, "X Y Z"]
    outputs: Mapping[str, Output]
    intensities: Mapping[str, Intensity | None] = field(default_factory=dict)
    branches: tuple[tuple[str, ...], ...] = ()
    labels: Mapping[str, int] = field(default_factory=dict)
    regions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    predicted_regions: tuple[str, ...] | None = None
    run: RunFacts = field(default_factory=lambda: RunFacts())


@dataclass(frozen=True)
class RunFacts:
    """The run that said so, and how its output was read."""

    run_id: str = ""
    reading: str = ""
    fold: int = 0
    seed: int = 0
    method: str = ""
    method_args: Mapping[str, Any] = field(default_factory=dict)
    dataset: str = ""


def read_outputs(npz_path: Path) -> Outputs:
    """The arrays of `npz_path` and the JSON file beside it; DataError where they are not what the suite
    writes."""
    description = npz_path.with_suffix(".json")
    try:
        said = read_mapping(description)
        with Archive(npz_path, most=MOST_BYTES) as arrays:
            values = {name: arrays.array(name) for name in arrays.names}
        misfit = _misfit(values, said)
        if not misfit:
            return outputs_of(values, said)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, BenchError) as error:
        raise DataError(
            f"{npz_path} and {description.name} are not what `bench panels` writes ({error!r}). Write them again."
        ) from error
    raise DataError(f"{npz_path}: {misfit}")


def outputs_of(values: Mapping[str, np.ndarray], said: Mapping[str, Any]) -> Outputs:
    """The arrays of a case with their description; KeyError, TypeError or DataError where something is
    missing."""
    # `told_regions` is how it was once called.
    told = said.get("predicted_regions", said.get("told_regions"))
    x, y, z = said["spacing_mm"]
    return Outputs(
        case_id=said["case_id"],
        spacing_mm=(float(x), float(y), float(z)),
        modalities=tuple(said["modalities"]),
        outputs={
            name: Output(what["kind"], what["of"], values[name]) for name, what in said["outputs"].items()
        },
        **{name: values[name] for name in ARRAYS},
        intensities={name: rule_of(rule) for name, rule in said.get("intensities", {}).items()},
        branches=tuple(map(tuple, said.get("branches", ()))),
        labels=said.get("labels", {}),
        regions={name: tuple(labels) for name, labels in said.get("regions", {}).items()},
        predicted_regions=tuple(told) if told is not None else None,
        run=RunFacts(
            said["run_id"],
            said.get("reading", ""),
            said["fold"],
            said["seed"],
            said["method"],
            said.get("method_args", {}),
            str(said.get("dataset", "")),
        ),
    )


def _misfit(values: Mapping[str, np.ndarray], said: Mapping[str, Any]) -> str:
    """Which arrays are not on the grid of the others, in a sentence; empty for none."""
    grid = values["reference"].shape
    shapes = {"image": values["image"].shape[1:], "prediction": values["prediction"].shape}
    shapes |= {name: values[name].shape[1:] for name in said["outputs"]}
    wrong = [f"{name} {shape}" for name, shape in shapes.items() if shape != grid]
    if len(grid) == 3 and not wrong and len(values["image"]) == len(said["modalities"]):
        return ""
    return f"the arrays are not on one grid {grid}: {', '.join(wrong) or 'image'}."
