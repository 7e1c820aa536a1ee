"""What is assumed of a data set that names its channels and labels and says no more."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from benchmark.data.images import UnreadableError, open_volume
from benchmark.data.prepare import ras_spacing
from benchmark.vocabulary import Branches, Case, Intensity, Percentiles, Spacing, Window, ZScore, kind_of

_BY_KIND = {"CT": Window(-100.0, 250.0), "PET": Window(0.0, 15.0)}
"""AutoPET's windows."""
_BY_NAME: dict[str, Intensity | None] = {
    "nonorm": None,
    "rescale_to_0_1": Percentiles(0.0, 100.0),
    "rgb_to_0_1": Window(0.0, 255.0),
}
"""nnU-Net's names."""
_DECIMALS = 4
"""Of a mm: headers hold 32-bit numbers."""


def intensity_of(channel: str) -> Intensity | None:
    """The rule that a channel's name asks for; a z-score over voxels that are not zero where it asks for none."""
    if kind := kind_of(channel):
        return _BY_KIND[kind]
    return _BY_NAME.get(channel.casefold(), ZScore(nonzero=True))


def branches_of(modalities: Sequence[str]) -> Branches | None:
    """Two modalities make the two branches; PET, or else the second, segments."""
    if len(modalities) != 2:
        return None
    first, second = modalities
    if kind_of(first) == "PET" != kind_of(second):
        first, second = second, first
    return (first,), (second,)


def median_spacing(cases: Sequence[Case]) -> Spacing | None:
    """Of the voxels' edges in mm, axis by axis (right, anterior, superior); from headers alone.

    A case counts with its label, or with the first image where that cannot be read; None where no case can be read:
    `check_cases` says why, file by file.
    """
    found = [edges for case in cases if (edges := _edges_of_case(case)) is not None]
    if not found:
        return None
    x, y, z = np.round(np.median(found, axis=0), _DECIMALS).tolist()
    return x, y, z


def _edges_of_case(case: Case) -> Spacing | None:
    paths = [*([case.label] if case.label else []), *dict.fromkeys(case.images.values())]
    return next((edges for path in paths if (edges := _edges(path)) is not None), None)


def _edges(path: Path) -> Spacing | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return _edges_of(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=10_000)
def _edges_of(path: Path, size: int, mtime_ns: int) -> Spacing | None:
    try:
        image = open_volume(path)
        return ras_spacing(image.affine) if len(image.shape) >= 3 else None
    except UnreadableError:
        return None
