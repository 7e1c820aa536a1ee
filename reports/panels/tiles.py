"""The pictures of a panel as numbers: one tile a modality, the reference, one an output, and the errors of
the mask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Shaped, UInt8

from benchmark.scoring.projections import FALSE, HIDING, HIT, MISS
from reports.panels.colours import WRONG
from reports.panels.reading import Output, Outputs
from reports.panels.views import View
from reports.panels.windows import DisplayWindow, shown

Kind = Literal["image", "probability", "labels", "errors"]
Picture = Shaped[np.ndarray, "_ _"]
"""Rows from the top, columns from the left."""
REFERENCE, MASK, FINAL = "reference", "mask", "final"
"""The roles of tiles that are no modality and no output."""


@dataclass(frozen=True)
class Tile:
    """One column of a panel: a picture a view. An image is shown from `low` to `high`, `inverted` with high
    values dark; labels and errors are codes and lie over the pictures in `under`. `role` is the modality's or
    the output's name, or one of REFERENCE, MASK and FINAL; `outlines` are masks whose borders are drawn."""

    role: str
    title: str
    kind: Kind
    pictures: tuple[Picture, ...]
    low: float = 0.0
    high: float = 1.0
    inverted: bool = False
    under: Tile | None = None
    outlines: tuple[Picture, ...] = ()


def windows_of(read: Outputs) -> dict[str, DisplayWindow]:
    """How every modality is shown."""
    return {
        name: shown(name, read.intensities.get(name), volume)
        for name, volume in zip(read.modalities, read.image, strict=True)
    }


def tiles_of(read: Outputs, views: Sequence[View], *, windows: Mapping[str, DisplayWindow]) -> list[Tile]:
    """All tiles from left to right."""
    modalities = [
        _image(name, f"{name}\n{windows[name].words}", volume, views, windows[name])
        for name, volume in zip(read.modalities, read.image, strict=True)
    ]
    under = backdrop(modalities, views, windows=windows)
    reference = tuple(view.picture(read.reference) for view in views)
    tiles = [*modalities, Tile(REFERENCE, "Reference", "labels", reference, under=under)]
    for name, output in read.outputs.items():
        outlines = _borders(read, output, views)
        tiles += [_outlined(tile, outlines) for tile in _of_output(read, name, views, windows)]
    if len(read.labels) > 1:
        mask = tuple(view.picture(read.prediction) for view in views)
        tiles.append(Tile(MASK, "Final mask", "labels", mask, under=under))
    return [*tiles, errors_tile(error_map(read), "Final mask against\nthe reference", views, under=under)]


def backdrop(
    modalities: Sequence[Tile], views: Sequence[View], *, windows: Mapping[str, DisplayWindow]
) -> Tile:
    """What labels lie over: the first modality, and in a projection the first that is projected."""
    first = modalities[0]
    hot = next((tile for tile in modalities if windows[tile.role].projected), first)
    return replace(
        first,
        pictures=tuple(
            _scaled(hot if view.index is None else first, number) for number, view in enumerate(views)
        ),
        low=0.0,
        high=1.0,
        inverted=False,
    )


def errors_tile(
    codes: UInt8[np.ndarray, "X Y Z"], title: str, views: Sequence[View], *, under: Tile, role: str = FINAL
) -> Tile:
    """The errors of a mask in every view."""
    return Tile(role, title, "errors", tuple(projected_errors(codes, view) for view in views), under=under)


def _scaled(tile: Tile, number: int) -> Picture:
    """A picture as the grey it is shown in, 0 black and 1 white."""
    grey = np.clip((tile.pictures[number].astype(np.float32) - tile.low) / (tile.high - tile.low), 0, 1)
    scaled: Picture = 1 - grey if tile.inverted else grey
    return scaled


def _image(
    role: str, title: str, volume: Shaped[np.ndarray, "X Y Z"], views: Sequence[View], window: DisplayWindow
) -> Tile:
    pictures = tuple(view.picture(volume, projected=window.projected) for view in views)
    if window.low < 0:
        # Around a brain without its skull there is nothing, which is no middle grey.
        pictures = tuple(np.where(picture == 0, window.low, picture) for picture in pictures)
    return Tile(role, title, "image", pictures, window.low, window.high, window.inverted)


def _borders(
    read: Outputs, output: Output, views: Sequence[View]
) -> tuple[Bool[np.ndarray, "rows columns"], ...]:
    """The reference of the region that an output is of; of all labels, where it is of none."""
    labels = read.regions.get(output.of)
    mask = read.reference > 0 if labels is None else np.isin(read.reference, labels)
    return tuple(view.picture(mask) for view in views)


def _outlined(tile: Tile, outlines: tuple[Bool[np.ndarray, "_ _"], ...]) -> Tile:
    return replace(tile, outlines=outlines) if tile.kind == "probability" else tile


def _of_output(
    read: Outputs, name: str, views: Sequence[View], windows: Mapping[str, DisplayWindow]
) -> Iterator[Tile]:
    """A tile an output; of images of several modalities, one a channel."""
    output = read.outputs[name]
    if output.kind in ("input", "reconstruction"):
        done = {"input": "as shown to\nthe network", "reconstruction": "reconstructed"}[output.kind]
        for modality, volume in zip(output.of.split(" + "), output.values, strict=True):
            window = windows.get(modality, DisplayWindow(0.0, 1.0, ""))
            yield _image(name, f"{modality} {done}\n(“{name}”)", volume, views, window)
        return
    volume = foreground(output)
    pictures = tuple(view.picture(volume) for view in views)
    label = next(iter(read.labels)) if len(read.labels) == 1 else "any label"
    if output.kind == "classification":
        of = output.of or "a lesion"
        said = f"Probability of {of},\nmean {classified(output):.2f}\n(“{name}”)"
    else:
        said = f"Probability of\n{output.of or label}\n(“{name}”)"
    yield Tile(name, said, "probability", pictures)


def foreground(output: Output) -> Shaped[np.ndarray, "X Y Z"]:
    """The probability of everything but the background, the first of several channels."""
    return output.values[0] if len(output.values) == 1 else 1 - output.values[0]


def classified(output: Output) -> float:
    """A classifier's mean probability over the volume that it was shown; outside of that nothing is said."""
    values = foreground(output)
    said = values[values > 0]
    return float(said.mean(dtype=np.float64)) if said.size else 0.0


def error_map(read: Outputs, region: str | None = None) -> UInt8[np.ndarray, "X Y Z"]:
    """HIT, MISS, FALSE or WRONG for every voxel, of a region or of all that the method's label maps can
    tell."""
    told = {
        name: labels
        for name, labels in read.regions.items()
        if (read.predicted_regions is None or name in read.predicted_regions) and region in (None, name)
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
    for code in (*HIDING[:-1], WRONG, HIT):
        plane[(inside == code).any(axis=view.axis)] = code
    return view.turned(plane)


def widest_region(regions: Mapping[str, Sequence[int]], told: Sequence[str] | None = None) -> str | None:
    """The told region of most labels: the one that holds all others, where there is one."""
    known = [name for name in regions if told is None or name in told]
    return max(known, key=lambda name: len(regions[name])) if known else None
