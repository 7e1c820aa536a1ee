"""The words of the suite that need no torch: what a data set, a case and a preparation are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

Size3 = tuple[int, int, int]
Spacing = tuple[float, float, float]
"""Voxel edge lengths in mm, in the order of the array's axes."""


class BenchError(Exception):
    """An error the user can act on: says what, where, and what to do next. `cli.py` prints it in one line."""


class DataError(BenchError):
    """Files on disk are missing, damaged or contradict one another."""


class UnsupportedDatasetError(BenchError):
    """A method cannot serve a data set; the message is the reason printed in tables."""


@dataclass(frozen=True)
class Region:
    """A named union of labels that is scored as one mask."""

    name: str
    labels: tuple[int, ...]


@dataclass(frozen=True)
class Window:
    """Clip to [low, high] in the modality's own unit (HU, SUV), then scale linearly to [0, 1]."""

    low: float
    high: float


@dataclass(frozen=True)
class Preparation:
    """Everything that is decided between the files on disk and the stored arrays.

    `crop_modality`: the volume is cropped to the bounding box of the voxels where this modality,
    before windowing, is above `crop_above` (its own unit). None: no crop.
    """

    spacing_mm: Spacing
    windows: Mapping[str, Window]
    crop_modality: str | None = None
    crop_above: float = 0.0


@dataclass(frozen=True)
class DatasetSpec:
    """Facts about a data set, and the preparation its literature uses.

    `modalities` is the channel order of every image array; `labels` maps names to voxel values.
    """

    name: str
    modalities: tuple[str, ...]
    labels: Mapping[str, int]
    regions: tuple[Region, ...]
    preparation: Preparation

    @property
    def n_classes(self) -> int:
        """Background and all labels."""
        return 1 + max(self.labels.values())


@dataclass(frozen=True)
class Case:
    """One examination on disk.

    `has_lesion` is what the data set's metadata says (None: it says nothing); the label decides.
    """

    case_id: str
    patient: str
    images: Mapping[str, Path]
    label: Path
    has_lesion: bool | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def files(self) -> dict[str, Path]:
        """All files of the case by role: the modalities' names and `label`."""
        return {**self.images, "label": self.label}


@dataclass(frozen=True)
class CaseSummary:
    """What a split needs to know of a case. `lesion_ml` is 0 for a tumour-free case."""

    case_id: str
    patient: str
    lesion_ml: float
