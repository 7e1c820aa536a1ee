"""Folders of data sets: what lies in them, and the file names of nnU-Net's raw data sets."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmark.data.images import ending_of, stem_of
from benchmark.vocabulary import DataError

IMAGES, LABELS, UNLABELLED = "imagesTr", "labelsTr", "imagesTs"
_JUNK = ("__MACOSX",)
"""Besides hidden files: what archivers leave behind."""


def is_junk(name: str) -> bool:
    """Hidden files and folders (`._x.nii.gz`, `.DS_Store`), and what archivers leave behind."""
    return name.startswith(".") or name in _JUNK


def subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not is_junk(path.name) and path.is_dir())
    except OSError as error:
        raise DataError(f"Cannot read {folder}: {error.strerror}. Check its permissions.") from error


def images_in(folder: Path) -> list[Path]:
    """Files whose names end as images' do, sorted; none where there is no folder."""
    if not folder.is_dir():
        return []
    try:
        return sorted(path for path in folder.iterdir() if ending_of(path.name) and not is_junk(path.name))
    except OSError as error:
        raise DataError(f"Cannot read {folder}: {error.strerror}. Check its permissions.") from error


def passed_over(folders: Iterable[Path]) -> list[Path]:
    """What lies in these folders and is taken for none of the data set's files, since archivers left it."""
    return sorted(
        path
        for folder in folders
        for path in _listed(folder)
        if is_junk(path.name) and (path.name in (*_JUNK, ".DS_Store") or path.name.startswith("._"))
    )


def _listed(folder: Path) -> list[Path]:
    """Nothing where there is no folder, or one that cannot be looked into, which is told elsewhere."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def by_stem(folder: Path) -> dict[str, Path]:
    """The images of a folder by their names without ending; DataError for two of one name."""
    found: dict[str, Path] = {}
    for path in images_in(folder):
        other = found.setdefault(stem_of(path.name), path)
        if other != path:
            raise DataError(f"{folder} holds {other.name} and {path.name}. Remove one of them.")
    return found


def refuse_no_folder(root: Path, wanted: str) -> None:
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise DataError(f"{root} {what}. Name the folder that holds {wanted}.")


def unpacked_folder(root: Path, is_dataset: Callable[[Path], bool]) -> Path | None:
    """`root`, or its only subfolder that is a data set: archives unpack to a folder of their own."""
    if is_dataset(root):
        return root
    inside = [folder for folder in subfolders(root) if is_dataset(folder)]
    if len(inside) > 1:
        names = ", ".join(folder.name for folder in inside)
        raise DataError(f"{root} holds several data sets ({names}). Name one of these folders.")
    return inside[0] if inside else None


def what_is_there(root: Path) -> str:
    """Half a sentence for an error about a folder that holds no data set."""
    found = sorted(path.name for path in root.iterdir())
    return (
        f"there is only {', '.join(found[:5])}{', ...' if len(found) > 5 else ''}" if found else "it is empty"
    )


def refuse_equal_ids(sources: Iterable[tuple[str, str]]) -> None:
    """DataError where two names, the second of each pair, give one case id, the first."""
    seen: dict[str, str] = {}
    for case_id, source in sources:
        if case_id in seen:
            both = f"{seen[case_id]!r} and {source!r}"
            raise DataError(f"{both} would both be case {case_id}. Rename one of them.")
        seen[case_id] = source


@dataclass(frozen=True)
class NnunetFolder:
    """The files of a raw data set of nnU-Net: `imagesTr/<case>_0000.nii.gz`, `labelsTr/<case>.nii.gz`, `imagesTs`.

    `ending` is that of files that are missing; files with another ending are found, too. `n_channels` is how many
    images a case has. Raises DataError for files that are named otherwise, with the names that were looked for.
    """

    root: Path
    ending: str
    n_channels: int

    def labelled(self) -> list[str]:
        """The names of the cases that have a label or an image for training, sorted; one may lack the other."""
        images = self._cases(IMAGES)
        labels = set(self._labels)
        if images and not (self.root / LABELS).is_dir():
            self._refuse_no_part(LABELS)
        if labels and not (self.root / IMAGES).is_dir():
            self._refuse_no_part(IMAGES)
        return sorted(labels | images)

    def unlabelled(self) -> list[str]:
        """The names of the cases in `imagesTs`, sorted."""
        return sorted(self._cases(UNLABELLED))

    def images(self, name: str, *, part: str = IMAGES) -> list[Path]:
        """A file for each channel, whether it is there or not."""
        stems = [f"{name}_{channel:04d}" for channel in range(self.n_channels)]
        there = self._listed[part]
        return [there.get(stem, self.root / part / f"{stem}{self.ending}") for stem in stems]

    def label(self, name: str) -> Path:
        return self._labels.get(name, self.root / LABELS / f"{name}{self.ending}")

    @cached_property
    def _labels(self) -> dict[str, Path]:
        return by_stem(self.root / LABELS)

    @cached_property
    def _listed(self) -> dict[str, dict[str, Path]]:
        return {part: by_stem(self.root / part) for part in (IMAGES, UNLABELLED)}

    def _cases(self, part: str) -> set[str]:
        channels: dict[str, set[int]] = defaultdict(set)
        for stem, path in self._listed[part].items():
            if part == IMAGES and stem in self._labels:
                self._refuse_name(path, stem, "it has the name of a label, without a channel")
            name, _, channel = stem.rpartition("_")
            if not name or not re.fullmatch(r"\d{4}", channel):
                self._refuse_name(path, stem, "its name has no channel")
            if int(channel) >= self.n_channels:
                self._refuse_name(
                    path,
                    stem,
                    f"it would be channel {int(channel)} of case {name!r}, and dataset.json names {self.n_channels}, "
                    "counted from 0",
                )
            channels[name].add(int(channel))
        return set(channels)

    def _refuse_name(self, path: Path, stem: str, why: str) -> None:
        raise DataError(
            f"{path}: an image is named <case>_0000{ending_of(path.name)}, with the number of its channel, and {why}. "
            f"If {stem!r} is the case, rename it to {stem}_0000{ending_of(path.name)}; if this is a data set of the "
            f"decathlon, read it with --data msd={self.root}."
        )

    def _refuse_no_part(self, part: str) -> None:
        there = [folder.name for folder in subfolders(self.root)]
        near = difflib.get_close_matches(part, [name for name in there if name not in (IMAGES, LABELS)], 1)
        hint = (
            f" Is it {near[0]}? Rename it to {part}." if near else f" Put the files into {self.root / part}."
        )
        raise DataError(f"There is no folder {part} in {self.root}; there are {', '.join(there)}.{hint}")
