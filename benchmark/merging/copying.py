"""What of a foreign folder is copied: regular files alone, and no checkpoint that holds more than weights."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path

from benchmark.files.pickles import CodeInFileError, is_pickled, refuse_code
from benchmark.files.places import DamagedFileError, is_regular, kind_of


def files_below(folder: Path, *, leaving: Sequence[str] = ()) -> Iterator[Path]:
    """All that lies in a folder and the folders in it, but what these patterns name; no link is followed."""
    for place, folders, files in os.walk(folder):
        kept = [name for name in folders if not _is_left(name, leaving)]
        # A link to a folder is something that is not copied, not a folder.
        folders[:] = sorted(name for name in kept if not (Path(place) / name).is_symlink())
        for name in sorted({*files, *kept} - set(folders)):
            if not _is_left(name, leaving):
                yield Path(place) / name


def _is_left(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


@lru_cache(maxsize=100_000)
def why_not_copied(path: Path) -> str:
    """Why a file of another folder is left there; empty where it may be copied."""
    if not is_regular(path):
        return f"{path} is {kind_of(path)}, no file; it is left out."
    try:
        if is_pickled(path):
            refuse_code(path)
    except CodeInFileError as error:
        return f"{error}. It is left out."
    except DamagedFileError:
        # Nothing that loads it gets far, and who made it may want it back.
        pass
    return ""


def refused_below(folder: Path, *, leaving: Sequence[str] = ()) -> Iterator[str]:
    """A sentence for each file in a folder that is not copied."""
    yield from filter(None, map(why_not_copied, files_below(folder, leaving=leaving)))


def copy_folder(source: Path, target: Path, *, leaving: Sequence[str] = ()) -> None:
    """A new folder with the files that may be copied."""
    target.mkdir(parents=True)
    for path in files_below(source, leaving=leaving):
        if not why_not_copied(path):
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, place, follow_symlinks=False)
