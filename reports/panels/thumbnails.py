"""Small pictures of single cases for pages: where a run is right and wrong, over the patient seen from the front.

They are made of a run's `projections.npz` and of the prepared image alone: no network is asked, and nothing is
trained. The image's projection is kept in `<results>/reports/.cache`, which may be removed at any time.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageColor

from benchmark.data.naming import case_id_from
from benchmark.data.store import PreparedCase, Store, read_case
from benchmark.files.arrays import UNREADABLE, Archive
from benchmark.files.places import DamagedFileError, is_regular
from benchmark.files.writing import StorageError, written_whole
from benchmark.results.runs import RunFolder
from benchmark.scoring.projections import (
    FALSE,
    FRONT,
    HIT,
    MISS,
    MOST_BYTES,
    ProjectionReader,
    open_projections,
)
from benchmark.vocabulary import BenchError, Intensity, Percentiles, Unclipped, Window
from reports.panels.colours import ERRORS
from reports.panels.tiles import widest_region
from reports.panels.windows import SUV, physical, rule_of, shown, unit_of

HEIGHT = 160
GREYS = 48
"""More could not be told apart in so small a picture, and would double its bytes."""
CODES = (HIT, MISS, FALSE)
MARGIN_MM = 12.0
AIR_SUV = 0.3
"""Below it lies no part of a body, in a projection."""
_FORMAT = "1"
"""Raised when the same image would be kept otherwise."""

Case = tuple[str, str, str]
"""A run, a reading and a case."""


@dataclass(frozen=True)
class _Backdrop:
    """The image's projection as greys, `inside` the box of the body, columns then rows in voxels."""

    greys: UInt8[np.ndarray, "X Z"]
    inside: tuple[slice, slice]
    spacing_mm: tuple[float, float]


def thumbnail_png(
    results: Path, run_id: str, reading: str, case_id: str, *, region: str | None = None
) -> bytes | None:
    """A PNG of a case, 160 pixels high; of several regions the one that holds all others.

    None where the run has no projections (`bench evaluate` adds them) or the case is no longer prepared.
    BenchError for damaged files.
    """
    return next(iter(thumbnails(results, [(run_id, reading, case_id)], region=region).values()))


def thumbnails(
    results: Path, cases: Iterable[Case], *, region: str | None = None
) -> dict[Case, bytes | None]:
    """The PNG of every case, as `thumbnail_png`; a run's files are opened once."""
    asked = list(dict.fromkeys(cases))
    made: dict[Case, bytes | None] = dict.fromkeys(asked)
    for run_id, own in groupby(sorted(asked), key=lambda case: case[0]):
        made |= _of_run(results, run_id, own, region)
    return made


def _of_run(
    results: Path, run_id: str, cases: Iterable[Case], region: str | None
) -> Iterator[tuple[Case, bytes | None]]:
    folder = RunFolder(results, run_id)
    with open_projections(folder.projections_file) as projections:
        if projections is None or not folder.data_file.exists():
            return
        store = folder.data().scored_on
        if not is_regular(store / "store.json"):
            return
        with _readable(store):
            yield from _of_store(results, store, projections, cases, region)


@contextmanager
def _readable(store: Path) -> Iterator[None]:
    """BenchError for prepared cases that are not what the suite writes: the place is the run's word."""
    try:
        yield
    except UNREADABLE as error:
        raise BenchError(
            f"The prepared cases in {store} cannot be read ({error!r}). Prepare them again."
        ) from error


def _of_store(
    results: Path, store: Path, projections: ProjectionReader, cases: Iterable[Case], region: str | None
) -> Iterator[tuple[Case, bytes | None]]:
    identity = Store(store).identity
    chosen = region or _widest(projections, identity["regions"])
    rule = rule_of(identity["preparation"]["intensities"].get(projections.modality))
    for case in cases:
        codes = projections.codes(case[1], case[2], chosen)
        prepared = store / "cases" / case_id_from(case[2])
        if codes is not None and all(is_regular(prepared / name) for name in ("case.json", "image.npy")):
            channel = identity["modalities"].index(projections.modality)
            backdrop = _backdrop(results, prepared, projections.modality, channel, rule)
            yield case, _png(backdrop, codes)


def _widest(projections: ProjectionReader, regions: dict[str, list[int]]) -> str:
    return widest_region(regions, projections.regions) or projections.regions[0]


def _backdrop(results: Path, folder: Path, modality: str, channel: int, rule: Intensity | None) -> _Backdrop:
    """From the cache, or made and kept there. A file of half a projection can never be read: it is written
    whole, under a name that tells of all that it is made from."""
    case = read_case(folder)
    made_of = [_FORMAT, str(folder.parent.parent), case.case_id, modality, case.inputs.get(modality, "")]
    key = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:24]
    path = results / "reports" / ".cache" / "projections" / f"{key}.npz"
    spacing = case.geometry.spacing_mm[0], case.geometry.spacing_mm[2]
    with suppress(*UNREADABLE, DamagedFileError), Archive(path, most=MOST_BYTES, below=path.parent) as kept:
        x, z = (slice(int(first), int(stop)) for first, stop in kept.array("inside"))
        return _Backdrop(kept.array("greys"), (x, z), spacing)
    made = _projected(case, modality, channel, rule)
    inside = np.array([[part.start, part.stop] for part in made.inside])
    # Results may be read-only, and the page be written elsewhere.
    with suppress(StorageError), written_whole(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, greys=made.greys, inside=inside)
    return made


def _projected(case: PreparedCase, modality: str, channel: int, rule: Intensity | None) -> _Backdrop:
    image, geometry = case.image()[channel], case.geometry
    if isinstance(rule, (Window, Percentiles)) and not isinstance(rule, Unclipped):
        # Scaled values are not negative, and such halves are ordered as their bits are: ten times as quick.
        highest = np.ascontiguousarray(image).view(np.int16).max(axis=FRONT).view(np.float16)
    else:
        highest = image.max(axis=FRONT)
    highest = highest.astype(np.float32)
    window = shown(modality, rule, highest[:, None, :])
    if window.low < 0:
        inside, highest = highest != 0, np.where(highest == 0, window.low, highest)
    else:
        inside = highest > 0
    grey = np.clip((highest - window.low) / (window.high - window.low), 0, 1)
    x, _, z = geometry.crop
    width, _, height = geometry.grid_shape
    greys = np.full((width, height), GREYS - 1 if window.inverted else 0, np.uint8)
    greys[x, z] = np.rint((GREYS - 1) * (1 - grey if window.inverted else grey))
    body = np.zeros(greys.shape, bool)
    if isinstance(rule, Window) and unit_of(modality, rule) == SUV:
        body[x, z] = physical(highest, rule) > AIR_SUV
    else:
        body[x, z] = inside
    spacing = geometry.spacing_mm[0], geometry.spacing_mm[2]
    return _Backdrop(greys, _box(body) or (slice(0, width), slice(0, height)), spacing)


def _box(mask: np.ndarray) -> tuple[slice, slice] | None:
    """The smallest box around a mask; None for an empty one."""
    if not mask.any():
        return None
    lines = [np.flatnonzero(mask.any(axis=1 - axis)) for axis in (0, 1)]
    columns, rows = (slice(int(line[0]), int(line[-1]) + 1) for line in lines)
    return columns, rows


def _png(backdrop: _Backdrop, codes: UInt8[np.ndarray, "X Z"]) -> bytes:
    """The codes over the greys, cropped to the body and all codes."""
    greys = backdrop.greys
    around = [part for part in (backdrop.inside, _box(codes > 0)) if part is not None]
    box = []
    for axis, (length, edge) in enumerate(zip(greys.shape, backdrop.spacing_mm, strict=True)):
        margin = round(MARGIN_MM / edge)
        first = min(part[axis].start for part in around) - margin
        stop = max(part[axis].stop for part in around) + margin
        box.append(slice(max(first, 0), min(stop, length)))
    size = _size(box[0], box[1], backdrop.spacing_mm)
    shown_greys = Image.fromarray(_turned(greys[box[0], box[1]])).resize(size, Image.Resampling.BOX)
    indices = np.array(shown_greys)
    shares = np.stack([_share(codes[box[0], box[1]] == code, size) for code in CODES])
    painted = shares.max(axis=0) > 0
    # A single voxel of an error must not vanish where the picture has fewer pixels than the patient.
    indices[painted] = (GREYS + shares.argmax(axis=0))[painted]
    picture = Image.fromarray(indices, mode="P")
    picture.putpalette(_PALETTE)
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def _size(columns: slice, rows: slice, spacing_mm: tuple[float, float]) -> tuple[int, int]:
    """Width and height in pixels, true to the patient."""
    width, height = (
        (part.stop - part.start) * edge for part, edge in zip((columns, rows), spacing_mm, strict=True)
    )
    return max(round(HEIGHT * width / height), 1), HEIGHT


def _share(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """How much of every pixel a mask covers, 0 to 255; never 0 where it covers some."""
    whole = Image.fromarray(_turned(mask.astype(np.float32)))
    share = np.array(whole.resize(size, Image.Resampling.BOX))
    covered: np.ndarray = np.where(share > 0, 1 + 254 * share, 0)
    return covered


def _turned(plane: np.ndarray) -> np.ndarray:
    """Right and up as a picture's columns and rows: the patient's right on the left, the head at the top."""
    return np.ascontiguousarray(plane[::-1, ::-1].T)


def _palette() -> list[int]:
    greys = [round(255 * level / (GREYS - 1)) for level in range(GREYS)]
    colours = [ImageColor.getrgb(ERRORS[code]) for code in CODES]
    return [
        *(value for grey in greys for value in (grey,) * 3),
        *(value for colour in colours for value in colour),
    ]


_PALETTE = _palette()
