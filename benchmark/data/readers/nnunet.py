"""Any raw data set of nnU-Net, 2 or 1, with any number of channels and labels.

    <root>/dataset.json                      channels, labels or regions, and optionally `mirror_bench`
    <root>/imagesTr/<case>_0000.nii.gz, <case>_0001.nii.gz, ...
    <root>/labelsTr/<case>.nii.gz
    <root>/imagesTs/<case>_0000.nii.gz, ...  without labels, optional
    <root>/splits_final.json                 optional: nnU-Net itself keeps it with its preprocessed data (--splits)

The files of each case may lie elsewhere, where "dataset" of `dataset.json` names them. What nnU-Net has no word for
(patients, spacing, crop, ...) can be said in `mirror_bench`, see `benchmark.data.bench_block`. Without it the cases'
names tell the patients (`benchmark.data.patients`), the spacing is the median over the cases, nothing is cropped, and a
channel's name says how its values are scaled, as in nnU-Net: see `benchmark.data.assumed`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmark.data.assumed import branches_of, intensity_of, median_spacing
from benchmark.data.bench_block import read_block
from benchmark.data.dataset_json import (
    FILE_NAME,
    channel_names,
    distinct,
    file_ending,
    ignored_value,
    labels_and_regions,
    opened_folder,
)
from benchmark.data.findings import Finding, passed_over_finding
from benchmark.data.folders import IMAGES, LABELS, UNLABELLED, NnunetFolder, refuse_equal_ids
from benchmark.data.naming import case_id_from
from benchmark.data.patients import IdentifiedPatient, patients_of
from benchmark.data.user_files import read_user_json
from benchmark.vocabulary import BenchError, Case, DataError, DatasetSpec, Preparation

WANTED = "dataset.json, imagesTr/ and labelsTr/ of an nnU-Net raw data set"
OWN_SPLITS = "splits_mirror_bench.json"
"""The splits of a converted data set in the suite's form, with their validation part."""
NNUNET_SPLITS = "splits_final.json"
_EXAMPLE = (
    '"channel_names": {"0": "CT"}, "labels": {"background": 0, "tumor": 1} and "file_ending": ".nii.gz"'
)


def spec_of(root: Path | None) -> DatasetSpec:
    """What `dataset.json` says. The name is the folder's, without `DatasetNNN_`."""
    if root is None:
        raise BenchError("The data set nnunet is whatever lies in a folder; name it with --data nnunet=DIR.")
    folder, content = _opened(root)
    path = folder / FILE_NAME
    names = channel_names(content, path)
    modalities = distinct(names)
    labels, regions = labels_and_regions(content, path)
    block = read_block(content, path, modalities=modalities, labels=labels)
    spacing = block.get("spacing_mm")
    if "spacing_mm" not in block:
        spacing = median_spacing(discover(root) or unlabelled(root))
    intensities = {m: intensity_of(name) for m, name in zip(modalities, names, strict=True)}
    return DatasetSpec(
        name=_name(folder, content),
        modalities=modalities,
        labels=labels,
        regions=block.get("regions", regions),
        preparation=Preparation(
            spacing_mm=spacing,
            intensities={**intensities, **block.get("intensities", {})},
            crop_modality=block.get("crop_modality"),
            crop_above=block.get("crop_above", 0.0),
        ),
        branches=block["branches"] if "branches" in block else branches_of(modalities),
        ignore=ignored_value(content, path),
    )


def discover(root: Path) -> list[Case]:
    """The labelled cases, sorted by id; no image is opened. None of a data set with `imagesTs` alone.

    A case of which a file is missing is among them: `check_cases` reports it. DataError when the folder is no raw data
    set, or its `dataset.json` does not say what is in the files.
    """
    folder, content = _opened(root)
    if "dataset" in content:
        return _cases(_listed(folder, content), folder, content)
    files = _files(folder, content)
    return _cases(
        ((name, files.images(name), files.label(name)) for name in files.labelled()), folder, content
    )


def unlabelled(root: Path) -> list[Case]:
    """The cases of `imagesTs`, sorted by id."""
    folder, content = _opened(root)
    files = _files(folder, content)
    found = ((name, files.images(name, part=UNLABELLED), None) for name in files.unlabelled())
    return _cases(found, folder, content)


def remarks(root: Path) -> list[Finding]:
    """Files of archivers, which are passed over."""
    folder, _ = _opened(root)
    return passed_over_finding([folder, *(folder / part for part in (IMAGES, LABELS, UNLABELLED))])


def own_splits(root: Path) -> Path | None:
    """`splits_final.json`; or what tells the same and the validation parts too, where the data set was converted."""
    folder, _ = _opened(root)
    final, own = folder / NNUNET_SPLITS, folder / OWN_SPLITS
    if not final.is_file():
        return None
    return own if own.is_file() and _tell_the_same(own, final) else final


def _tell_the_same(own: Path, final: Path) -> bool:
    """False as well for files that cannot be read: whoever reads the splits says so."""
    try:
        folds = read_user_json(own, needs="")["folds"]
        mine = [(sorted(fold["train"] + fold["validation"]), sorted(fold["test"])) for fold in folds]
        theirs = read_user_json(final, needs="")
        return mine == [(sorted(fold["train"]), sorted(fold["val"])) for fold in theirs]
    except (DataError, KeyError, TypeError):
        return False


def _opened(root: Path) -> tuple[Path, dict[str, Any]]:
    return opened_folder(root, wanted=WANTED, example=_EXAMPLE)


def _name(folder: Path, content: Mapping[str, Any]) -> str:
    match = re.fullmatch(r"(?:Dataset|Task)\d+_(.+)", folder.resolve().name)
    return case_id_from(match[1] if match else str(content.get("name") or folder.resolve().name))


def _files(folder: Path, content: Mapping[str, Any]) -> NnunetFolder:
    path = folder / FILE_NAME
    return NnunetFolder(folder, file_ending(content, path), len(channel_names(content, path)))


def _listed(folder: Path, content: Mapping[str, Any]) -> Iterable[tuple[str, list[Path], Path]]:
    """The cases that `dataset.json` names itself, with variables of the environment, as nnU-Net allows them."""
    path, listed = folder / FILE_NAME, content["dataset"]
    wanted = len(channel_names(content, path))
    if not isinstance(listed, dict) or not listed:
        raise DataError(f'{path}: "dataset" lists no cases. List them, or remove the entry.')
    for name, entry in listed.items():
        images, label = (entry.get("images"), entry.get("label")) if isinstance(entry, dict) else (None, None)
        if not isinstance(images, list) or len(images) != wanted or not isinstance(label, str):
            raise DataError(f'{path}: {name!r} of "dataset" must name {wanted} "images" and a "label".')
        yield (
            name,
            [folder / os.path.expandvars(image) for image in images],
            folder / os.path.expandvars(label),
        )


def _cases(
    found: Iterable[tuple[str, list[Path], Path | None]], folder: Path, content: Mapping[str, Any]
) -> list[Case]:
    modalities = distinct(channel_names(content, folder / FILE_NAME))
    patients = _patients(folder, content)
    cases = [
        Case(
            case_id=case_id_from(name),
            patient=patients[name].patient,
            images=dict(zip(modalities, images, strict=True)),
            label=label,
            metadata={"source": name},
            patient_rule=patients[name].rule,
            name=name,
        )
        for name, images, label in found
    ]
    refuse_equal_ids((case.case_id, case.name) for case in cases)
    return sorted(cases, key=lambda case: case.case_id)


def _patients(folder: Path, content: Mapping[str, Any]) -> dict[str, IdentifiedPatient]:
    """Of all cases, labelled or not, by name."""
    path, files = folder / FILE_NAME, _files(folder, content)
    labels, _ = labels_and_regions(content, path)
    block = read_block(content, path, modalities=distinct(channel_names(content, path)), labels=labels)
    labelled = content["dataset"] if "dataset" in content else files.labelled()
    return patients_of(sorted({*labelled, *files.unlabelled()}), block.get("patients"), path=path)
