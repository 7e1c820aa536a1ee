"""The words of the suite that need no torch: what a data set, a case and a preparation are."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

Size3 = tuple[int, int, int]
Spacing = tuple[float, float, float]
"""Voxel edge lengths in mm, in the order of the array's axes."""
Branches = tuple[tuple[str, ...], tuple[str, ...]]
"""The modalities of the two branches of a network."""


IGNORED = 255
"""In stored labels: a voxel that nobody annotated (nnU-Net's label `ignore`). No loss and no score looks at it."""


class BenchError(Exception):
    """An error the user can act on: says what, where, and what to do next. the command line prints it in one line."""


class DataError(BenchError):
    """Files on disk are missing, damaged or contradict one another."""


class UnsupportedDatasetError(BenchError):
    """A method cannot serve a data set; the message is the reason printed in tables."""


class MissingPackageError(BenchError):
    """A method needs a package that is not installed; the message holds the command that installs it."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The nearest known name, or all of them, as a sentence."""
    names = list(known)
    near = difflib.get_close_matches(name, names, 1)
    return f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(names)}."


_CALLED = (
    ("T1Gd", "T1c", "T1ce", "T1gd", "T1-Gd", "T1CE", "T1C", "T1 contrast"),
    ("T1w", "T1", "T1n"),
    ("T2w", "T2"),
    ("FLAIR", "T2f", "T2-FLAIR", "T2FLAIR"),
    ("PET", "PT", "SUV", "FDG"),
    ("CT", "CTres"),
)
"""Names under which one modality is known in data sets: BraTS of several years, the Decathlon, AutoPET, HECKTOR."""


def same_modality(name: str, known: Iterable[str]) -> str:
    """The known name of a modality that is also called `name`; empty where there is none."""
    alike = next((names for names in _CALLED if name.casefold() in map(str.casefold, names)), ())
    folded = {other.casefold() for other in alike}
    return next((other for other in known if other.casefold() in folded), "")


def lacks_modalities(argument: str, missing: Iterable[str], dataset: DatasetSpec) -> UnsupportedDatasetError:
    """The error of an argument that names modalities which a data set does not have, with what to do."""
    names = list(missing)
    others = {name: other for name in names if (other := same_modality(name, dataset.modalities))}
    remedy = "".join(
        f" {other} is another name of {name}: call the channel {name} in dataset.json, or write {other} in the study."
        for name, other in others.items()
    )
    return UnsupportedDatasetError(
        f"{argument} names {', '.join(names)}, but {dataset.name} has {', '.join(dataset.modalities)}.{remedy}"
    )


_KINDS = {"ct": "CT", "ctres": "CT", "pet": "PET", "pt": "PET", "suv": "PET"}


def kind_of(modality: str) -> str:
    """`CT` or `PET` where a modality's name promises that, as do `ct`, `PT`, `SUV` and `CT 0`; else nothing.

    Values of CT are in HU, of PET in SUV. Whatever depends on it asks here.
    """
    return _KINDS.get(re.sub(r"\s+\d+$", "", modality.strip()).casefold(), "")


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
class Unclipped(Window):
    """As `Window`, but values beyond stay beyond [0, 1]; a trained network is shown them clipped."""


@dataclass(frozen=True)
class Percentiles:
    """Clip to these percentiles of the image's own voxels (the cropped volume), then scale linearly to [0, 1]."""

    low: float
    high: float


@dataclass(frozen=True)
class ZScore:
    """Subtract the image's own mean and divide by its standard deviation.

    `nonzero`: both are those of the voxels that are not zero, and zeros stay zero.
    """

    nonzero: bool = False


Intensity = Window | Percentiles | ZScore
"""What is done to one modality's values; every rule looks at one image alone."""


@dataclass(frozen=True)
class Preparation:
    """Everything that is decided between the files on disk and the stored arrays.

    `spacing_mm` None keeps each file's own voxels. `crop_modality`: the volume is cropped to the bounding box of
    the voxels where this modality, before its values are changed, is above `crop_above` (its own unit). None: no crop.
    Values of a modality without a rule, or with None, stay as they are.
    """

    spacing_mm: Spacing | None
    intensities: Mapping[str, Intensity | None]
    crop_modality: str | None = None
    crop_above: float = 0.0

    def unclipped(self) -> Preparation:
        """The same without clipping to windows."""
        rules = {
            name: Unclipped(rule.low, rule.high) if isinstance(rule, Window) else rule
            for name, rule in self.intensities.items()
        }
        return replace(self, intensities=rules)


@dataclass(frozen=True)
class DatasetSpec:
    """Facts about a data set, and its usual preparation.

    That is the one its literature uses; all methods are scored on its grid, whatever their own. `modalities` is the
    channel order of every image array; `labels` maps names to voxel values. `branches` are the modalities, or groups of
    them, that a method with two branches takes unless a study says otherwise, the one that segments second; None: the
    data set does not say, and a study must. `ignore` is the value of voxels that nobody annotated in the label files;
    stored labels have `IGNORED` there.
    """

    name: str
    modalities: tuple[str, ...]
    labels: Mapping[str, int]
    regions: tuple[Region, ...]
    preparation: Preparation
    branches: Branches | None = None
    ignore: int | None = None

    @property
    def n_classes(self) -> int:
        """Background and all labels."""
        return 1 + max(self.labels.values())

    @property
    def label_values(self) -> frozenset[int]:
        """All values that a label file may hold: background, labels and, where there is one, `ignore`."""
        return frozenset({0, *self.labels.values(), *(() if self.ignore is None else (self.ignore,))})

    def preparation_at(self, spacing_mm: Spacing | None) -> Preparation:
        """The usual preparation, at another spacing where one is given."""
        return replace(self.preparation, spacing_mm=spacing_mm) if spacing_mm else self.preparation


@dataclass(frozen=True)
class Case:
    """One examination on disk, in its original files.

    Several modalities may lie in one file with four axes; `channels` then says which index along the fourth is whose.
    `label` None: nobody has labelled it; it can be predicted, but neither trained on nor scored. `has_lesion` is what
    the data set's metadata says (None: it says nothing); the label decides. `patient_rule` says how the patient is
    known (see `benchmark.data.patients`); empty: nothing tells, and the case counts as a patient of its own. `name` is
    what the data set's files call the case; empty: the id.
    """

    case_id: str
    patient: str
    images: Mapping[str, Path]
    label: Path | None
    has_lesion: bool | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    channels: Mapping[str, int] = field(default_factory=dict)
    patient_rule: str = ""
    name: str = ""

    @property
    def files(self) -> dict[str, Path]:
        """All files of the case by role: the modalities' names and, where there is one, `label`."""
        return {**self.images, **({"label": self.label} if self.label else {})}


@dataclass(frozen=True)
class CaseSummary:
    """What a split needs to know of a case. `lesion_ml` is 0 for a tumour-free case."""

    case_id: str
    patient: str
    lesion_ml: float
