"""The pictures of a panel as numbers: one tile a modality, the reference, one an output, and the errors of
the mask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Shaped, UInt8

from reports.panels.reading import Output, Outputs
from reports.panels.views import View

HIT, MISS, FALSE, WRONG = 1, 2, 3, 4
"""The codes of an error map; nothing is 0. WRONG: both masks have a label, of different regions."""
SHOWN_PERCENTILES = (0.5, 99.9)

Kind = Literal["image", "probability", "labels", "errors"]
Picture = Shaped[np.ndarray, "_ _"]
"""Rows from the top, columns from the left."""


@dataclass(frozen=True)
class Tile:
    """One column of a panel: a picture a view. An image is shown from `low` to `high`; labels and errors are
    codes and lie over the pictures in `under`."""

    title: str
    kind: Kind
    pictures: tuple[Picture, ...]
    low: float = 0.0
    high: float = 1.0
    under: Tile | None = None


def tiles_of(read: Outputs, views: Sequence[View]) -> list[Tile]:
    """All tiles from left to right."""
    modalities = [_modality(read, number, views) for number in range(len(read.modalities))]
    ranges = {name: (tile.low, tile.high) for name, tile in zip(read.modalities, modalities, strict=True)}
    reference = tuple(view.picture(read.reference) for view in views)
    found = error_map(read)
    return [
        *modalities,
        Tile("Reference", "labels", reference, under=modalities[0]),
        *(tile for name in read.outputs for tile in _of_output(read, name, views, ranges)),
        Tile(
            "Final mask against\nthe reference",
            "errors",
            tuple(projected_errors(found, view) for view in views),
            under=modalities[0],
        ),
    ]


def _modality(read: Outputs, number: int, views: Sequence[View]) -> Tile:
    """A prepared modality, shown between two percentiles of its voxels that are not zero."""
    name, volume = read.modalities[number], read.image[number]
    values = volume[volume != 0].astype(np.float32)
    low, high = np.percentile(values, SHOWN_PERCENTILES) if values.size else (0.0, 1.0)
    if low >= 0:
        low = 0.0
    said = read.intensities.get(name, "prepared")
    title = f"{name}\n{said},\nshown {low:.2g} to {high:.2g}"
    return Tile(
        title,
        "image",
        tuple(view.picture(volume) for view in views),
        float(low),
        float(max(high, low + 1e-6)),
    )


def _of_output(
    read: Outputs, name: str, views: Sequence[View], ranges: dict[str, tuple[float, float]]
) -> Iterator[Tile]:
    """A tile an output; of images of several modalities, one a channel."""
    output = read.outputs[name]
    label = next(iter(read.labels)) if len(read.labels) == 1 else "any label"
    if output.kind in ("input", "reconstruction"):
        done = {"input": "as shown to the network", "reconstruction": "reconstructed"}[output.kind]
        for modality, volume in zip(output.of.split(" + "), output.values, strict=True):
            low, high = ranges.get(modality, (0.0, 1.0))
            pictures = tuple(view.picture(volume) for view in views)
            yield Tile(f"Output “{name}”:\n{modality} {done}", "image", pictures, low, high)
        return
    volume = foreground(output)
    pictures = tuple(view.picture(volume) for view in views)
    if output.kind == "classification":
        of = output.of or "a lesion"
        said = f"Output “{name}”:\nprobability of {of},\nmean {volume.mean(dtype=np.float32):.2f}"
    else:
        of = output.of or label
        said = f"Output “{name}”:\nprobability of {of}"
    yield Tile(said, "probability", pictures)


def foreground(output: Output) -> Shaped[np.ndarray, "X Y Z"]:
    """The probability of everything but the background, the first of several channels."""
    return output.values[0] if len(output.values) == 1 else 1 - output.values[0]


def error_map(read: Outputs) -> UInt8[np.ndarray, "X Y Z"]:
    """HIT, MISS, FALSE or WRONG for every voxel, of the regions that the method's label maps can tell."""
    told = {
        name: labels
        for name, labels in read.regions.items()
        if read.told_regions is None or name in read.told_regions
    }
    regions = list(told.values()) or [tuple(range(1, 256))]
    # Which regions a label belongs to, one bit a region: two labels that no region tells apart are the same.
    member = np.zeros(256, np.uint32)
    for bit, labels in enumerate(regions):
        member[list(labels)] |= np.uint32(1 << bit)
    predicted, true = member[read.prediction], member[read.reference]
    codes = np.zeros(read.reference.shape, np.uint8)
    codes[(predicted != 0) & (predicted == true)] = HIT
    codes[(predicted != 0) & (true != 0) & (predicted != true)] = WRONG
    codes[(predicted == 0) & (true != 0)] = MISS
    codes[(predicted != 0) & (true == 0)] = FALSE
    return codes


def projected_errors(codes: UInt8[np.ndarray, "X Y Z"], view: View) -> UInt8[np.ndarray, "rows columns"]:
    """What a view shows of an error map; along a ray a hit hides a wrong label, this a miss, and this a false
    positive."""
    if view.index is not None:
        return view.picture(codes)
    inside = codes[view.box]
    plane = np.zeros([n for axis, n in enumerate(inside.shape) if axis != view.axis], np.uint8)
    for code in (FALSE, MISS, WRONG, HIT):
        plane[(inside == code).any(axis=view.axis)] = code
    return view.turned(plane)
