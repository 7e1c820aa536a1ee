"""Any raw data set of nnU-Net, 2 or 1, with any number of channels and labels.

    <root>/dataset.json                      channels, labels or regions, and optionally `mirror_bench`
    <root>/imagesTr/<case>_0000.nii.gz, <case>_0001.nii.gz, ...
    <root>/labelsTr/<case>.nii.gz
    <root>/imagesTs/<case>_0000.nii.gz, ...  without labels, optional
    <root>/splits_final.json                 optional: nnU-Net itself keeps it with its preprocessed data (--splits)

The files of each case may lie elsewhere, where "dataset" of `dataset.json` names them. What nnU-Net has no word for
(patients, spacing, crop, ...) can be said in `mirror_bench`, see `benchmark.data.bench_block`. Without it every case
is a patient, the spacing is the median over the cases, nothing is cropped, and a channel's name says how its values
are scaled, as in nnU-Net: see `benchmark.data.assumed`.
"""

from __future__ import annotations

import json
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
    files_in,
    ignored_value,
    labels_and_regions,
    nnunet_images,
    nnunet_names,
    opened_folder,
    refuse_equal_ids,
)
from benchmark.data.naming import case_id_from
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
    if "spacing_mm" in block:
        spacing = block["spacing_mm"]
    else:
        spacing = median_spacing(case.label for case in discover(root) if case.label)
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
    """The labelled cases, sorted by id; no image is opened.

    A case of which a file is missing is among them: `check_cases` reports it. DataError when the folder is no raw data
    set, or its `dataset.json` does not say what is in the files.
    """
    folder, content = _opened(root)
    if "dataset" in content:
        return _cases(_listed(folder, content), folder, content)
    ending = file_ending(content, folder / FILE_NAME)
    _refuse_other_names(folder, ending)
    labels = {name: folder / "labelsTr" / f"{name}{ending}" for name in nnunet_names(folder, ending)}
    found = ((name, _channels(folder / "imagesTr", name, content), label) for name, label in labels.items())
    return _cases(found, folder, content)


def unlabelled(root: Path) -> list[Case]:
    """The cases of `imagesTs`, sorted by id."""
    folder, content = _opened(root)
    images = folder / "imagesTs"
    names = nnunet_images(images, file_ending(content, folder / FILE_NAME))
    return _cases(((name, _channels(images, name, content), None) for name in names), folder, content)


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
        folds = json.loads(own.read_text(encoding="utf-8"))["folds"]
        mine = [(sorted(fold["train"] + fold["validation"]), sorted(fold["test"])) for fold in folds]
        theirs = json.loads(final.read_text(encoding="utf-8-sig"))
        return mine == [(sorted(fold["train"]), sorted(fold["val"])) for fold in theirs]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _opened(root: Path) -> tuple[Path, dict[str, Any]]:
    return opened_folder(root, wanted=WANTED, example=_EXAMPLE)


def _name(folder: Path, content: Mapping[str, Any]) -> str:
    match = re.fullmatch(r"(?:Dataset|Task)\d+_(.+)", folder.resolve().name)
    return case_id_from(match[1] if match else str(content.get("name") or folder.resolve().name))


def _channels(images: Path, name: str, content: Mapping[str, Any]) -> list[Path]:
    path = images.parent / FILE_NAME
    ending = file_ending(content, path)
    return [images / f"{name}_{k:04d}{ending}" for k in range(len(channel_names(content, path)))]


def _refuse_other_names(folder: Path, ending: str) -> None:
    images = files_in(folder / "imagesTr", ending)
    if images and not any(re.search(r"_\d{4}$", path.name.removesuffix(ending)) for path in images):
        raise DataError(
            f"{folder}: no file in imagesTr is named <case>_0000{ending}, as nnU-Net wants it. If this is a data set "
            f"of the decathlon, read it with --data msd={folder}."
        )


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
    path = folder / FILE_NAME
    modalities = distinct(channel_names(content, path))
    labels, _ = labels_and_regions(content, path)
    patients = read_block(content, path, modalities=modalities, labels=labels).get("patients", {})
    cases = [
        Case(
            case_id=case_id_from(name),
            patient=patients.get(name, name),
            images=dict(zip(modalities, images, strict=True)),
            label=label,
            metadata={"source": name},
        )
        for name, images, label in found
    ]
    refuse_equal_ids((case.case_id, case.metadata["source"]) for case in cases)
    return sorted(cases, key=lambda case: case.case_id)
