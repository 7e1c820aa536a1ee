"""From the cases of any data set to a raw data set of nnU-Net, which the reader `nnunet` reads back without a loss.

nnU-Net's labels are consecutive: where there are gaps, or `ignore` is further above, they are renumbered. Names stay,
and with them regions and scores; `conversion.json` says which value became which.

<out>/Dataset<NNN>_<Name>/
    dataset.json               written last; its block `mirror_bench` holds what nnU-Net has no word for
    imagesTr, labelsTr, imagesTs
    splits_final.json          train and validation as `train`, test as `val`; beside it the suite's own form
    conversion.json            where each file comes from, what became of the labels, and which were mended (whole
                               numbers, stored as floats or scaled); a folder without it is never written to
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.data.bench_block import KEY, block_of
from benchmark.data.channels import (
    ENDING,
    form_of_label,
    is_plain_image,
    is_plain_label,
    write_channels,
    write_label,
)
from benchmark.data.dataset_json import FILE_NAME, IGNORE
from benchmark.data.images import UnreadableError, ending_of
from benchmark.data.numbering import consecutive, is_consecutive, renumbered
from benchmark.data.readers.nnunet import NNUNET_SPLITS, OWN_SPLITS
from benchmark.data.splits import Splits
from benchmark.files.writing import exclusive, write_json, written_whole
from benchmark.vocabulary import BenchError, Case, DataError, DatasetSpec

RECORD = "conversion.json"
_PARTS = ("imagesTr", "labelsTr", "imagesTs")


@dataclass(frozen=True)
class _Source:
    """A file as it is, or (`index`) one volume along its fourth axis, or (`values`) a label and what each becomes."""

    path: Path
    index: int | None = None
    values: Mapping[int, int] | None = None

    @property
    def is_rewritten(self) -> bool:
        return self.index is not None or self.values is not None

    @property
    def mended(self) -> str:
        """What is wrong with a label that is mended on the way: its form, not its values."""
        return "" if self.values is None else form_of_label(self.path)

    def __str__(self) -> str:
        if self.values is not None:
            return f"{self.path} ({', '.join(f'{old} -> {new}' for old, new in self.values.items())})"
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

    Files are linked, or copied with `copy`; files with four axes are split, and other formats written as `.nii.gz`.
    Labels that nnU-Net would not take, or not read as they are meant, are rewritten (see `benchmark.data.channels`).
    What an earlier start finished is kept, what is no longer among `cases` is removed. `progress` is told (cases done,
    cases). Returns the folder.

    DataError for missing or damaged files, and for splits with other cases; BenchError for a folder that holds
    something else.
    """
    _refuse(cases, spec, number, splits)
    folder = out / f"Dataset{number:03d}_{re.sub('[^A-Za-z0-9_-]+', '_', spec.name)}"
    with exclusive(out / f".{folder.name}.lock", wait=True):
        before = _record(folder)
        planned = {case.case_id: _planned(case, spec) for case in cases}
        sources = {name: str(source) for own in planned.values() for name, source in own.items()}
        # What is made again must not be taken for whole.
        (folder / FILE_NAME).unlink(missing_ok=True)
        numbering = {str(old): new for old, new in consecutive(spec.labels, spec.ignore).items()}
        mended = {
            name: form for own in planned.values() for name, source in own.items() if (form := source.mended)
        }
        record = {"data_set": spec.name, "labels": numbering, "files": sources, "mended": mended}
        write_json(folder / RECORD, record)
        for part in _PARTS:
            (folder / part).mkdir(exist_ok=True)
            for path in (folder / part).iterdir():
                name = f"{part}/{path.name}"
                if name not in sources or before.get(name) != sources[name]:
                    path.unlink()
        for done, (case, own) in enumerate(zip(cases, planned.values(), strict=True), 1):
            with _unreadable_as_data_error(case):
                _write_case({folder / name: source for name, source in own.items()}, copy=copy)
            if progress is not None:
                progress(done, len(planned))
        _write_splits(folder, splits)
        write_json(folder / FILE_NAME, _description(cases, spec))
    return folder


def mended_labels(folder: Path) -> Mapping[str, str]:
    """The labels of a converted data set that are not copies, by name, and how the originals are stored."""
    mended: dict[str, str] = json.loads((folder / RECORD).read_text(encoding="utf-8"))["mended"]
    return mended


def _refuse(cases: Sequence[Case], spec: DatasetSpec, number: int, splits: Splits | None) -> None:
    if not 1 <= number <= 999:
        raise BenchError(f"nnU-Net numbers its data sets from 1 to 999; {number} is none of these.")
    labelled = {case.case_id for case in cases if case.label is not None}
    if not labelled:
        raise DataError(f"There is no labelled case of {spec.name} to convert.")
    ids = [case.case_id for case in cases]
    if twice := [case_id for case_id in ids if ids.count(case_id) > 1]:
        raise DataError(
            f"There are two cases {twice[0]}, perhaps one with a label and one without. Rename or remove one of them."
        )
    for case in cases:
        for path in case.files.values():
            if not path.is_file():
                raise DataError(f"{case.case_id}: {path} is missing. Bring it back, or remove the case.")
            if not ending_of(path.name):
                raise DataError(f"{case.case_id}: {path.name} is no image. Convert it to {ENDING}.")
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
    with _unreadable_as_data_error(case):
        planned = {
            f"{part}/{case.case_id}_{k:04d}{ENDING}": _image_source(case, name)
            for k, name in enumerate(spec.modalities)
        }
        if case.label is not None:
            planned[f"labelsTr/{case.case_id}{ENDING}"] = _label_source(case.label, spec)
    return planned


def _image_source(case: Case, modality: str) -> _Source:
    path, index = case.images[modality], case.channels.get(modality)
    return _Source(path, 0 if index is None and not is_plain_image(path) else index)


def _label_source(path: Path, spec: DatasetSpec) -> _Source:
    numbering = consecutive(spec.labels, spec.ignore)
    as_it_is = is_consecutive(numbering) and is_plain_label(path)
    return _Source(path, values=None if as_it_is else numbering)


@contextlib.contextmanager
def _unreadable_as_data_error(case: Case) -> Iterator[None]:
    try:
        yield
    except UnreadableError as error:
        raise DataError(f"{case.case_id}: {error}") from error


def _write_case(targets: Mapping[Path, _Source], *, copy: bool) -> None:
    shared: dict[Path, dict[int, Path]] = {}
    for target, source in targets.items():
        if _is_done(target, source, copy=copy):
            continue
        if source.index is not None:
            shared.setdefault(source.path, {})[source.index] = target
        elif source.values is not None:
            write_label(source.path, target, source.values)
        else:
            _write_file(target, source.path, copy=copy)
    for path, volumes in shared.items():
        write_channels(path, volumes)


def _is_done(target: Path, source: _Source, *, copy: bool) -> bool:
    """Whether an earlier start wrote this file as it is wanted now, and the source has not changed since."""
    linked = not copy and not source.is_rewritten
    if target.is_symlink() or linked or not target.exists():
        return False
    return target.stat().st_mtime_ns >= source.path.stat().st_mtime_ns


def _write_file(target: Path, source: Path, *, copy: bool) -> None:
    if copy:
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
    spec = renumbered(spec)
    labels = dict(sorted(spec.labels.items(), key=lambda item: item[1]))
    return {
        "name": spec.name,
        "channel_names": {str(k): name for k, name in enumerate(spec.modalities)},
        "labels": {"background": 0, **labels, **({} if spec.ignore is None else {IGNORE: spec.ignore})},
        "numTraining": sum(case.label is not None for case in cases),
        "file_ending": ENDING,
        KEY: block_of(spec, patients={case.case_id: case.patient for case in cases}),
    }
