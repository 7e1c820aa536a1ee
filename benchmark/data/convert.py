"""From the cases of any data set to a raw data set of nnU-Net, which the reader `nnunet` reads back without a loss.

<out>/Dataset<NNN>_<Name>/
    dataset.json               written last; its block `mirror_bench` holds what nnU-Net has no word for
    imagesTr, labelsTr, imagesTs
    splits_final.json          train and validation as `train`, test as `val`; beside it the suite's own form
    conversion.json            where each file comes from; a folder without it is never written to
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.data.bench_block import KEY, block_of
from benchmark.data.channels import write_channels
from benchmark.data.dataset_json import ENDINGS, FILE_NAME
from benchmark.data.images import UnreadableError
from benchmark.data.readers.nnunet import NNUNET_SPLITS, OWN_SPLITS
from benchmark.data.splits import Splits
from benchmark.files import exclusive, write_json, written_whole
from benchmark.vocabulary import BenchError, Case, DataError, DatasetSpec

ENDING = ENDINGS[0]
RECORD = "conversion.json"
_PARTS = ("imagesTr", "labelsTr", "imagesTs")


@dataclass(frozen=True)
class _Source:
    """A file, or (`index`) one volume along its fourth axis."""

    path: Path
    index: int | None

    def __str__(self) -> str:
        return str(self.path) if self.index is None else f"{self.path}#{self.index}"


def convert_to_nnunet(
    cases: Sequence[Case],
    spec: DatasetSpec,
    out: Path,
    *,
    number: int,
    splits: Splits | None = None,
    copy: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write `out`/Dataset<number>_<name>, with the labelled cases in `imagesTr` and the others in `imagesTs`.

    Files are linked, or copied with `copy`; files with four axes are split, and uncompressed ones compressed. What an
    earlier start finished is kept, what is no longer among `cases` is removed. `progress` is told (cases done, cases).
    Returns the folder.

    DataError for labels that nnU-Net cannot take, for missing or damaged files, and for splits with other cases;
    BenchError for a folder that holds something else.
    """
    _refuse(cases, spec, number, splits)
    folder = out / f"Dataset{number:03d}_{re.sub('[^A-Za-z0-9_-]+', '_', spec.name)}"
    with exclusive(out / f".{folder.name}.lock", wait=True):
        before = _record(folder)
        planned = {case.case_id: _planned(case, spec) for case in cases}
        sources = {name: str(source) for own in planned.values() for name, source in own.items()}
        # What is made anew must not be taken for whole.
        (folder / FILE_NAME).unlink(missing_ok=True)
        write_json(folder / RECORD, {"data_set": spec.name, "files": sources})
        for part in _PARTS:
            (folder / part).mkdir(exist_ok=True)
            for path in (folder / part).iterdir():
                name = f"{part}/{path.name}"
                if name not in sources or before.get(name) != sources[name]:
                    path.unlink()
        for done, own in enumerate(planned.values(), 1):
            _write_case({folder / name: source for name, source in own.items()}, copy=copy)
            if progress is not None:
                progress(done, len(planned))
        _write_splits(folder, splits)
        write_json(folder / FILE_NAME, _description(cases, spec))
    return folder


def _refuse(cases: Sequence[Case], spec: DatasetSpec, number: int, splits: Splits | None) -> None:
    if not 1 <= number <= 999:
        raise BenchError(f"nnU-Net numbers its data sets from 1 to 999; {number} is none of these.")
    labelled = {case.case_id for case in cases if case.label is not None}
    if not labelled:
        raise DataError(f"There is no labelled case of {spec.name} to convert.")
    if sorted(spec.labels.values()) != list(range(1, len(spec.labels) + 1)):
        raise DataError(
            f"nnU-Net needs consecutive labels from 1; {spec.name} has {dict(spec.labels)}. Map them in its files."
        )
    ids = [case.case_id for case in cases]
    if twice := [case_id for case_id in ids if ids.count(case_id) > 1]:
        raise DataError(
            f"There are two cases {twice[0]}, perhaps one with a label and one without. Rename or remove one of them."
        )
    for case in cases:
        for path in case.files.values():
            if not path.is_file():
                raise DataError(f"{case.case_id}: {path} is missing. `bench data check` lists all faults.")
            if not path.name.endswith(ENDINGS):
                raise DataError(f"{case.case_id}: {path.name} is no NIfTI file. Convert it to {ENDING}.")
    named = (
        {case_id for fold in splits.folds for ids in fold.parts().values() for case_id in ids}
        if splits
        else set()
    )
    if unknown := sorted(named - labelled):
        raise DataError(f"The splits name {unknown[0]!r}, which is no labelled case of {spec.name}.")


def _record(folder: Path) -> Mapping[str, str]:
    """Where the files of an earlier conversion came from; BenchError if the folder holds something else."""
    if not folder.exists() or not any(folder.iterdir()):
        return {}
    try:
        record: dict[str, str] = json.loads((folder / RECORD).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchError(
            f"{folder} holds something that was not converted here. Choose another number or folder."
        ) from error
    return record


def _planned(case: Case, spec: DatasetSpec) -> dict[str, _Source]:
    """The source of every file of a case by its name in the data set."""
    part = "imagesTs" if case.label is None else "imagesTr"
    planned = {
        f"{part}/{case.case_id}_{k:04d}{ENDING}": _Source(case.images[name], case.channels.get(name))
        for k, name in enumerate(spec.modalities)
    }
    if case.label is not None:
        planned[f"labelsTr/{case.case_id}{ENDING}"] = _Source(case.label, None)
    return planned


def _write_case(targets: Mapping[Path, _Source], *, copy: bool) -> None:
    shared: dict[Path, dict[int, Path]] = {}
    for target, source in targets.items():
        if _is_done(target, source, copy=copy):
            continue
        if source.index is not None:
            shared.setdefault(source.path, {})[source.index] = target
        else:
            _write_file(target, source.path, copy=copy)
    for path, volumes in shared.items():
        try:
            write_channels(path, volumes)
        except UnreadableError as error:
            raise DataError(f"{path}: {error}") from error


def _is_done(target: Path, source: _Source, *, copy: bool) -> bool:
    """Whether an earlier start wrote this file as it is wanted now, and the source has not changed since."""
    linked = not copy and source.index is None and source.path.name.endswith(ENDING)
    if target.is_symlink() or linked or not target.exists():
        return False
    return target.stat().st_mtime_ns >= source.path.stat().st_mtime_ns


def _write_file(target: Path, source: Path, *, copy: bool) -> None:
    if not source.name.endswith(ENDING):
        with (
            source.open("rb") as plain,
            written_whole(target) as temporary,
            temporary.open("wb") as file,
            gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=file, mtime=0) as packed,
        ):
            shutil.copyfileobj(plain, packed)
    elif copy:
        with written_whole(target) as temporary:
            shutil.copyfile(source, temporary)
    else:
        target.unlink(missing_ok=True)
        target.symlink_to(source.absolute())


def _write_splits(folder: Path, splits: Splits | None) -> None:
    if splits is None:
        for name in (NNUNET_SPLITS, OWN_SPLITS):
            (folder / name).unlink(missing_ok=True)
        return
    final = [
        {"train": sorted((*fold.train, *fold.validation)), "val": sorted(fold.test)} for fold in splits.folds
    ]
    write_json(folder / OWN_SPLITS, splits.to_json())
    write_json(folder / NNUNET_SPLITS, final)


def _description(cases: Sequence[Case], spec: DatasetSpec) -> dict[str, Any]:
    labels = dict(sorted(spec.labels.items(), key=lambda item: item[1]))
    return {
        "name": spec.name,
        "channel_names": {str(k): name for k, name in enumerate(spec.modalities)},
        "labels": {"background": 0, **labels},
        "numTraining": sum(case.label is not None for case in cases),
        "file_ending": ENDING,
        KEY: block_of(spec, patients={case.case_id: case.patient for case in cases}),
    }
