"""Where a foreign results folder may lead: names that stay inside it, no links, regular files of a bounded size."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from benchmark.vocabulary import BenchError

MOST_BYTES = 64 * 2**20
"""Of a file that is read whole; tables and arrays have bounds of their own."""
FOLLOWED = "BENCH_FOLLOW_LINKS"
"""The environment variable that names the parts of results folders which may be links, separated by commas."""
LONGEST_PATH, LONGEST_PART = 4096, 255
"""Bytes of a path, and of a name in it, that systems take."""
_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}")
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class DamagedFileError(BenchError):
    """A file is not what this suite writes, or not where it writes."""


def is_name(text: str) -> bool:
    """Whether a grid, a search or a run may be called so: as a file's name it stays in its folder."""
    return _NAME.fullmatch(text) is not None and text not in (".", "..")


def _named(text: str) -> str:
    if not is_name(text):
        raise ValueError("a name has letters, digits, '.', '_' and '-' alone, and leads to no other folder")
    return text


Name = Annotated[str, AfterValidator(_named)]
"""For schemas: of a grid, a search, a run."""


def _placed(path: Path) -> Path:
    text = os.fsencode(path)
    if (
        b"\0" in text
        or len(text) >= LONGEST_PATH
        or any(len(part) > LONGEST_PART for part in text.split(b"/"))
    ):
        raise ValueError("no file can have such a path")
    return path


Elsewhere = Annotated[Path, AfterValidator(_placed)]
"""For schemas: a place that need not be in the folder, nor on this machine, but that the system can be asked for."""


def is_there(path: Path) -> bool:
    """Whether there is anything of that name, be it a link that leads nowhere."""
    return os.path.lexists(path)


def exists(path: Path, *, as_file: bool = False) -> bool:
    """Whether a path that somebody else wrote leads to something, or to a file, that we may see."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(mode) or not as_file


def is_regular(path: Path) -> bool:
    """Whether it is a file, not a link to one, and nothing that blocks its reader."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def kind_of(path: Path) -> str:
    """What it is instead of a file, in words."""
    try:
        return _KINDS.get(stat.S_IFMT(path.lstat().st_mode), "no file")
    except OSError:
        return "not there"


def refuse_links(path: Path, *, below: Path) -> None:
    """DamagedFileError where `path`, or a folder between it and `below`, is a link."""
    place = str(below)
    try:
        for part in path.relative_to(below).parts:
            place = os.path.join(place, part)  # noqa: PTH118 (asked of every file that is read)
            if part == ".." or _is_link(place):
                raise DamagedFileError(f"{place} is a link, and no link below {below} is followed")
    except OSError as error:
        raise DamagedFileError(f"{place} cannot be read ({_words(error)})") from error


def _is_link(place: str) -> bool:
    try:
        return stat.S_ISLNK(os.lstat(place).st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False


def refuse_links_in(folder: Path) -> None:
    """DamagedFileError where anything in a folder is a link: for folders that other programs write into.

    What lies in hidden folders is passed over: they are emptied before they are used.
    """
    for place, folders, files in os.walk(folder):
        for path in (Path(place, name) for name in (*folders, *files)):
            if path.is_symlink():
                raise DamagedFileError(f"{path} is a link, and no link below {folder} is followed. Remove it")
        folders[:] = [name for name in folders if not name.startswith(".")]


def inside(folder: Path, name: str) -> Path:
    """The file that a foreign text names in a folder; DamagedFileError where it leads out of it."""
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
        raise DamagedFileError(f"{name!r} leads out of {folder}")
    refuse_links(path, below=folder)
    return path


def read_bytes(path: Path, *, below: Path | None = None, most: int = MOST_BYTES) -> bytes:
    """The content of a regular file of at most `most` bytes.

    `below`: the folder under which nothing may be a link; None: the file itself may be one, since the user named it.
    DamagedFileError for everything else, which is told at once: nobody waits for a pipe.
    """
    if below is not None:
        refuse_links(path, below=below)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise DamagedFileError(f"{path} cannot be read ({_words(error)})") from error
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        raise DamagedFileError(f"{path} is {_KINDS.get(stat.S_IFMT(status.st_mode), 'no file')}, no file")
    with open(handle, "rb") as file:  # noqa: PTH123 (a descriptor)
        if status.st_size > most:
            raise DamagedFileError(
                f"{path} has {status.st_size:,} bytes, more than the {most:,} that are read of such a file"
            )
        try:
            # A file that grows while it is read is no larger either.
            return file.read(most)
        except OSError as error:
            raise DamagedFileError(f"{path} cannot be read ({_words(error)})") from error


def _words(error: OSError) -> str:
    return "it is missing" if error.errno == errno.ENOENT else error.strerror or str(error)


def read_text(path: Path, *, below: Path | None = None, most: int = MOST_BYTES) -> str:
    """As `read_bytes`, in UTF-8."""
    try:
        return read_bytes(path, below=below, most=most).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DamagedFileError(f"{path} is no text in UTF-8 ({error.reason})") from error


def regular_files(folder: Path, pattern: str, *, below: Path) -> Iterator[Path]:
    """The files of a folder that the pattern fits, by name, without links and hidden ones; none where the folder
    itself is not one, or a link."""
    try:
        refuse_links(folder, below=below)
        names = sorted(path.name for path in folder.glob(pattern))
    except (DamagedFileError, OSError):
        return
    for name in names:
        if not name.startswith(".") and is_regular(folder / name):
            yield folder / name


def check_layout(results: Path) -> None:
    """BenchError where a part of a results folder is a link that the user did not allow.

    The folder itself may be one: the user named it. What lies in it may have come with it, in an archive, say.
    """
    allowed = {name.strip() for name in os.environ.get(FOLLOWED, "").split(",")}
    try:
        links = sorted(entry.name for entry in os.scandir(results) if entry.is_symlink())
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise BenchError(f"{results} cannot be read ({error.strerror}). Name another --results.") from error
    if refused := [name for name in links if name not in allowed]:
        raise BenchError(
            f"{results / refused[0]} is a link to {(results / refused[0]).readlink()}. Links in a results folder are "
            f"not followed, since they may have come with it. If it is yours: export {FOLLOWED}={','.join(refused)}"
        )
