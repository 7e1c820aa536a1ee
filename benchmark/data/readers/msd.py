"""Medical Segmentation Decathlon (http://medicaldecathlon.com): BrainTumour above all, and its other tasks.

    <root>/dataset.json                      modalities, labels, and the files of each case
    <root>/imagesTr/<case>.nii.gz            3D, or 4D with the modalities along the fourth axis
    <root>/labelsTr/<case>.nii.gz
    <root>/imagesTs/<case>.nii.gz            without labels, optional

BrainTumour (Task01: 484 labelled cases and 266 others) has facts of its own, `SPEC`; the index of each contrast in the
files is read from `dataset.json`. Of any other task, modalities and labels are those of its `dataset.json`, intensities
follow from the modalities' names, and the spacing is the median over the cases. Every case is a patient, unless the
block `mirror_bench` of `dataset.json` says whose it is (`benchmark.data.bench_block`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.data.assumed import branches_of, intensity_of, median_spacing
from benchmark.data.bench_block import KEY, read_block
from benchmark.data.dataset_json import (
    FILE_NAME,
    channel_names,
    distinct,
    ignored_value,
    label_entries,
    labels_and_regions,
    opened_folder,
)
from benchmark.data.findings import Finding, passed_over_finding
from benchmark.data.folders import IMAGES, LABELS, UNLABELLED, images_in, is_junk, refuse_equal_ids
from benchmark.data.images import UnreadableError, open_volume, stem_of
from benchmark.data.naming import case_id_from
from benchmark.data.patients import IdentifiedPatient, patients_of
from benchmark.vocabulary import Case, DataError, DatasetSpec, Preparation, Region, ZScore

MODALITIES = ("FLAIR", "T1w", "T1Gd", "T2w")
SPEC = DatasetSpec(
    name="msd",
    modalities=MODALITIES,
    labels={"edema": 1, "non-enhancing tumor": 2, "enhancing tumor": 3},
    regions=(
        Region("whole tumor", (1, 2, 3)),
        Region("edema", (1,)),
        Region("tumor core", (2, 3)),
        Region("enhancing tumor", (3,)),
    ),
    preparation=Preparation(
        spacing_mm=(1.0, 1.0, 1.0),
        intensities={name: ZScore(nonzero=True) for name in MODALITIES},
        crop_modality="FLAIR",
        crop_above=0.0,
    ),
    branches=(("T1Gd",), ("FLAIR",)),
)
"""Of Task01, BrainTumour. Its images are skull-stripped: what is not brain is zero."""

WANTED = "dataset.json, imagesTr/ and labelsTr/ of the Medical Segmentation Decathlon"
_EXAMPLE = '"modality": {"0": "CT"}, "labels": {"0": "background", "1": "tumor"} and "training": [...]'
_SPELLINGS = {"t1": "t1w", "t1ce": "t1gd", "t1c": "t1gd", "t2": "t2w"}


def spec_of(root: Path | None) -> DatasetSpec:
    """BrainTumour's facts for its own folder (and for none), else those that `dataset.json` gives."""
    if root is None:
        return SPEC
    folder, content = _opened(root)
    if _brain_channels(content, folder) is not None:
        return SPEC
    names = channel_names(content, folder / FILE_NAME)
    modalities = distinct(names)
    labels, regions = labels_and_regions(content, folder / FILE_NAME)
    return DatasetSpec(
        name=case_id_from(str(content.get("name") or folder.name)),
        modalities=modalities,
        labels=labels,
        regions=regions,
        preparation=Preparation(
            spacing_mm=median_spacing(discover(root)),
            intensities={m: intensity_of(name) for m, name in zip(modalities, names, strict=True)},
        ),
        branches=branches_of(modalities),
        ignore=ignored_value(content, folder / FILE_NAME),
    )


def discover(root: Path) -> list[Case]:
    """The cases that `dataset.json` lists for training, sorted by id; no image is opened.

    A case of which a file is missing is among them: `check_cases` reports it. DataError when the folder is none of the
    decathlon's.
    """
    folder, content = _opened(root)
    return _cases(_entries(content, folder), content, folder)


def unlabelled(root: Path) -> list[Case]:
    """The cases of `imagesTs`, sorted by id; the challenge keeps their labels."""
    folder, content = _opened(root)
    return _cases([(image, None) for image in images_in(folder / UNLABELLED)], content, folder)


def remarks(root: Path) -> list[Finding]:
    """Files of archivers, which are passed over."""
    folder, _ = _opened(root)
    return passed_over_finding([folder, *(folder / part for part in (IMAGES, LABELS, UNLABELLED))])


def _opened(root: Path) -> tuple[Path, dict[str, Any]]:
    return opened_folder(root, wanted=WANTED, example=_EXAMPLE)


def _brain_channels(content: Mapping[str, Any], folder: Path) -> Mapping[str, int] | None:
    """Where BrainTumour's contrasts lie in its files; None if this is another task."""
    names = [_plain(name) for name in channel_names(content, folder / FILE_NAME)]
    found = [_SPELLINGS.get(name, name) for name in names]
    labels = {_plain(name): str(value) for name, value in label_entries(content).items()}
    wanted = {_plain(name): str(value) for name, value in SPEC.labels.items()}
    if sorted(found) != sorted(map(_plain, MODALITIES)) or labels != wanted:
        return None
    return {modality: found.index(_plain(modality)) for modality in MODALITIES}


def _plain(name: str) -> str:
    """A name without what differs between spellings: enhancing tumour, Enhancing_tumor, enhancing-tumor."""
    plain = name.casefold().replace("tumour", "tumor").replace("oedema", "edema")
    return "".join(letter for letter in plain if letter.isalnum())


def _entries(content: Mapping[str, Any], folder: Path) -> Sequence[tuple[Path, Path]]:
    """Image and label of every training case."""
    listed = content.get("training")
    path = folder / FILE_NAME
    if listed in (None, []) and images_in(folder / UNLABELLED) and not images_in(folder / IMAGES):
        return []
    if not isinstance(listed, list) or not listed:
        raise DataError(f'{path} lists no cases: "training" is {listed!r}. Unpack the data set again.')
    entries = []
    for entry in listed:
        image, label = (entry.get("image"), entry.get("label")) if isinstance(entry, dict) else (None, None)
        if not (isinstance(image, str) and image and isinstance(label, str) and label):
            raise DataError(f'{path}: the entry {entry!r} of "training" must name an "image" and a "label".')
        if not is_junk(Path(image).name):
            entries.append((folder / image, folder / label))
    first = entries[0][0] if entries else folder
    channel = first.with_name(f"{stem_of(first.name)}_0000{first.name.removeprefix(stem_of(first.name))}")
    if not first.exists() and channel.exists():
        raise DataError(
            f"{folder} has a file for each channel, as nnU-Net's data sets: --data nnunet={folder}."
        )
    return entries


def _cases(
    entries: Iterable[tuple[Path, Path | None]], content: Mapping[str, Any], folder: Path
) -> list[Case]:
    places = _brain_channels(content, folder)
    if places is None:
        names = distinct(channel_names(content, folder / FILE_NAME))
        places = {name: k for k, name in enumerate(names)}
    patients = _patients(content, folder)
    cases = []
    for image, label in entries:
        name = stem_of(image.name)
        cases.append(
            Case(
                case_id=case_id_from(name),
                patient=patients[name].patient,
                images=dict.fromkeys(places, image),
                label=label,
                metadata={"source": name},
                channels=places if _has_four_axes(image, places, content) else {},
                patient_rule=patients[name].rule,
                name=name,
            )
        )
    refuse_equal_ids((case.case_id, case.name) for case in cases)
    return sorted(cases, key=lambda case: case.case_id)


def _has_four_axes(image: Path, places: Mapping[str, int], content: Mapping[str, Any]) -> bool:
    """Of a single modality `dataset.json` may say so, and the file's header decides."""
    if len(places) > 1:
        return True
    if content.get("tensorImageSize") != "4D":
        return False
    try:
        return len(open_volume(image).shape) > 3
    except UnreadableError:
        return False


def _patients(content: Mapping[str, Any], folder: Path) -> dict[str, IdentifiedPatient]:
    """Of all cases, labelled or not, by name; the only entry that is taken from the block `mirror_bench`."""
    path = folder / FILE_NAME
    labels, _ = labels_and_regions(content, path)
    block = read_block(content, path, modalities=distinct(channel_names(content, path)), labels=labels)
    if others := sorted(set(block) - {"patients"}):
        raise DataError(
            f'{path}: the entry {others[0]!r} of "{KEY}" has no effect on a data set of the decathlon. Remove it; or '
            "convert the data set (bench data convert) and set it there."
        )
    images = [*(image for image, _ in _entries(content, folder)), *images_in(folder / UNLABELLED)]
    return patients_of(sorted({stem_of(image.name) for image in images}), block.get("patients"), path=path)
