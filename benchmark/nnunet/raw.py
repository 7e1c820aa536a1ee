"""The raw data set as nnU-Net wants it: links to the original files, its description, the one split.

nnU-Net reads a file a channel. Modalities that lie in one file with four axes are written once as files with three,
beside the preprocessed data, where all folds find them; so are files whose further axes have a length of one, and
files of other formats than `.nii.gz`.

nnU-Net's labels are consecutive, and it cuts off what is behind the decimal point. Labels with gaps are renumbered, and
those that are not stored as whole numbers are rounded: then files take the place of the links.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmark.data.channels import is_plain_image, is_plain_label, write_channels, write_label
from benchmark.data.images import UnreadableError
from benchmark.data.numbering import consecutive, is_consecutive
from benchmark.files.writing import write_json
from benchmark.nnunet.plan import Plan
from benchmark.vocabulary import BenchError, Case, DataError, DatasetSpec

FILE_ENDING = ".nii.gz"
SPLIT_IMAGES = "nnunet-images"
"""The folder of the channels of files with four axes, which all preprocessed data share."""


@dataclass(frozen=True)
class ImageFile:
    """An absolute path, links not followed. `index`: which volume along the fourth axis; None: the file has three."""

    path: str
    index: int | None = None

    @property
    def state(self) -> list[str | int]:
        """What changes when the file does."""
        return [*_state(Path(self.path)), *([] if self.index is None else [self.index])]


@dataclass(frozen=True)
class CaseFiles:
    """`images` in the order of the channels; `label` as their paths."""

    images: tuple[ImageFile, ...]
    label: str


@dataclass(frozen=True)
class RawDataset:
    """The cases of one fold that nnU-Net may see, training and validation: test cases leak nothing into its plan.

    `labels` and `ignore` are the values in the label files.
    """

    name: str
    channels: tuple[str, ...]
    labels: Mapping[str, int]
    cases: Mapping[str, CaseFiles]
    train: tuple[str, ...]
    validation: tuple[str, ...]
    ignore: int | None = None

    @property
    def numbering(self) -> dict[int, int]:
        """nnU-Net's value of each value in the label files."""
        return consecutive(self.labels, self.ignore)

    @property
    def description(self) -> dict[str, Any]:
        """The content of `dataset.json`. A channel called CT is normalised as CT, every other one by z-score.

        `dataset` names the files of each case, which spares nnU-Net the search for them.
        """
        files = {
            case_id: {
                "images": [f"./imagesTr/{image_name(case_id, k)}" for k in range(len(case.images))],
                "label": f"./labelsTr/{case_id}{FILE_ENDING}",
            }
            for case_id, case in self.cases.items()
        }
        values = {"background": 0, **self.labels, **({} if self.ignore is None else {"ignore": self.ignore})}
        return {
            "channel_names": {str(k): name for k, name in enumerate(self.channels)},
            "labels": {name: self.numbering[value] for name, value in values.items()},
            "numTraining": len(self.cases),
            "file_ending": FILE_ENDING,
            "dataset": files,
        }

    def identity(self, plan: Plan, version: str) -> str:
        """12 hexadecimal digits: nnU-Net's version, the files (paths, sizes, times), the split and the plan."""
        files = {
            case_id: [*(image.state for image in case.images), _state(Path(case.label))]
            for case_id, case in self.cases.items()
        }
        content = {**asdict(self), "cases": files, "plan": asdict(plan), "nnunetv2": version}
        if self.ignore is None:
            # As it was before there was the label: what was preprocessed then is used.
            del content["ignore"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def raw_dataset(
    spec: DatasetSpec, channels: Sequence[str], *, train: Sequence[Case], validation: Sequence[Case]
) -> RawDataset:
    """Describe the data set; DataError for files or folds that nnU-Net cannot work with."""
    if not train or not validation:
        raise DataError("nnU-Net needs at least one training and one validation case in a fold.")
    if all(case.has_lesion is False for case in train):
        raise DataError(
            "No training case of this fold has a labelled voxel; nnU-Net derives intensities from them."
        )
    return RawDataset(
        name=f"Dataset001_{re.sub('[^A-Za-z0-9]', '', spec.name)}",
        channels=tuple(channels),
        labels=dict(sorted(spec.labels.items(), key=lambda item: item[1])),
        cases={case.case_id: case_files(case, channels) for case in (*train, *validation)},
        train=tuple(sorted(case.case_id for case in train)),
        validation=tuple(sorted(case.case_id for case in validation)),
        ignore=spec.ignore,
    )


def case_files(case: Case, channels: Sequence[str]) -> CaseFiles:
    """The files of a labelled case, checked for what nnU-Net asks of them."""
    images = case_images(case, channels)
    if case.label is None:
        raise DataError(f"{case.case_id} has no label; nnU-Net cannot be trained on it.")
    return CaseFiles(images, str(case.label.absolute()))


def case_images(case: Case, channels: Sequence[str]) -> tuple[ImageFile, ...]:
    """The images of a case, checked likewise."""
    missing = [name for name in channels if name not in case.images]
    if missing:
        raise DataError(f"{case.case_id} has no {' and no '.join(missing)}; nnU-Net needs every channel.")
    # As they are named here: what a link leads to may be called anything.
    images = [ImageFile(str(case.images[name].absolute()), case.channels.get(name)) for name in channels]
    if len({(Path(image.path).resolve(), image.index) for image in images}) < len(images):
        raise DataError(
            f"{case.case_id}: several channels lie in one file; nnU-Net needs a 3D file for each."
        )
    return tuple(images)


def write_raw(dataset: RawDataset, folder: Path, *, split: Path) -> None:
    """`imagesTr`, `labelsTr` (links where the files are as nnU-Net wants them) and `dataset.json`; what was in `folder`
    is removed.

    `split` is the folder for the channels of files with four axes. DataError for files that are damaged.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for case_id, case in dataset.cases.items():
        link_images(case_id, case.images, folder / "imagesTr", split=split)
        with _unreadable_as_data_error():
            _put_label(Path(case.label), folder / "labelsTr" / f"{case_id}{FILE_ENDING}", dataset.numbering)
    write_json(folder / "dataset.json", dataset.description)


def _put_label(source: Path, target: Path, numbering: Mapping[int, int]) -> None:
    if is_consecutive(numbering) and is_plain_label(source):
        target.symlink_to(source)
    else:
        write_label(source, target, numbering)


def write_splits(dataset: RawDataset, folder: Path) -> None:
    """`splits_final.json` with one fold, number 0."""
    write_json(
        folder / "splits_final.json", [{"train": list(dataset.train), "val": list(dataset.validation)}]
    )


def link_images(case_id: str, images: Sequence[ImageFile], folder: Path, *, split: Path) -> list[Path]:
    """Links to a case's images, named as nnU-Net names them; to files in `split` where several share a file."""
    links = [folder / image_name(case_id, k) for k in range(len(images))]
    with _unreadable_as_data_error():
        for link, path in zip(links, _three_axes(images, split), strict=True):
            link.symlink_to(path)
    return links


def _three_axes(images: Sequence[ImageFile], split: Path) -> list[Path]:
    """A file with three axes for each image; those that `split` does not have yet are written there."""
    images = [
        replace(image, index=0) if image.index is None and not is_plain_image(Path(image.path)) else image
        for image in images
    ]
    paths = [Path(image.path) if image.index is None else split / _split_name(image) for image in images]
    missing: dict[Path, dict[int, Path]] = {}
    for image, path in zip(images, paths, strict=True):
        if image.index is not None and not path.exists():
            missing.setdefault(Path(image.path), {})[image.index] = path
    for source, targets in missing.items():
        write_channels(source, targets)
    return paths


@contextlib.contextmanager
def _unreadable_as_data_error() -> Iterator[None]:
    try:
        yield
    except UnreadableError as error:
        raise DataError(str(error)) from error


def _split_name(image: ImageFile) -> str:
    """Named after the source's state: when it changes, another file is written."""
    key = hashlib.sha256(json.dumps(_state(Path(image.path))).encode()).hexdigest()[:12]
    return f"{key}_{image.index:04d}{FILE_ENDING}"


def image_name(case_id: str, channel: int) -> str:
    return f"{case_id}_{channel:04d}{FILE_ENDING}"


def _state(path: Path) -> list[str | int]:
    try:
        status = path.stat()
    except OSError as error:
        raise BenchError(f"Cannot read {path}: {error.strerror}.") from error
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]
