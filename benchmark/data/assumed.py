"""What is assumed of a data set that names its channels and labels and says no more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from benchmark.data.nifti import UnreadableError, open_volume
from benchmark.data.prepare import ras_spacing
from benchmark.vocabulary import Branches, DataError, Intensity, Percentiles, Spacing, Window, ZScore

_BY_NAME: dict[str, Intensity | None] = {
    "ct": Window(-100.0, 250.0),
    "pet": Window(0.0, 15.0),
    "suv": Window(0.0, 15.0),
    "pt": Window(0.0, 15.0),
    "nonorm": None,
    "rescale_to_0_1": Percentiles(0.0, 100.0),
    "rgb_to_0_1": Window(0.0, 255.0),
}
"""nnU-Net's names, with AutoPET's windows for CT and PET."""
_PET = ("pet", "suv", "pt")
_DECIMALS = 4
"""Of a mm: headers hold 32-bit numbers."""


def intensity_of(channel: str) -> Intensity | None:
    """The rule that a channel's name asks for; a z-score over voxels that are not zero where it asks for none."""
    return _BY_NAME.get(channel.casefold(), ZScore(nonzero=True))


def branches_of(modalities: Sequence[str]) -> Branches | None:
    """Two modalities make the two branches; PET, or else the second, segments."""
    if len(modalities) != 2:
        return None
    first, second = modalities
    if first.casefold() in _PET and second.casefold() not in _PET:
        first, second = second, first
    return (first,), (second,)


def median_spacing(paths: Iterable[Path]) -> Spacing:
    """Of the voxels' edges in mm, axis by axis (right, anterior, superior); from headers alone.

    Files that cannot be read do not count: `check_cases` reports them. DataError where none can.
    """
    found = [edges for path in paths if (edges := _edges(path)) is not None]
    if not found:
        raise DataError("No image of the data set can be read, so that its voxel size is unknown.")
    x, y, z = np.round(np.median(found, axis=0), _DECIMALS).tolist()
    return x, y, z


def _edges(path: Path) -> Spacing | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return _edges_of(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=10_000)
def _edges_of(path: Path, size: int, mtime_ns: int) -> Spacing | None:
    try:
        return ras_spacing(open_volume(path).affine)
    except UnreadableError:
        return None
