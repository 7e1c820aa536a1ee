"""Files that are written whole or not at all, and locks between processes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from benchmark.files.places import DamagedFileError, refuse_links
from benchmark.files.schemas import read_mapping
from benchmark.vocabulary import BenchError

LEFT_BEHIND_SECONDS = 3600.0
"""No file takes so long to write; an older temporary one belongs to nobody."""
_guarded: set[Path] = set()
"""Results folders in which this process writes through no link."""


def guard(results: Path) -> None:
    """From now on nothing of the suite is written through a link that lies in this folder.

    What lies directly in it may be a link; `foreign.places.check_layout` asks whether the user allows it.
    """
    if results not in _guarded:
        _guarded.update((results, results.absolute(), results.resolve()))


def guarded() -> frozenset[Path]:
    """The folders of `guard`, for processes that work for this one."""
    return frozenset(_guarded)


def refuse_detour(path: Path) -> None:
    """StorageError where a link below a guarded folder would lead the writer elsewhere."""
    place = path.absolute()
    for root in place.parents:
        if root in _guarded:
            first, *_ = place.relative_to(root).parts
            if place.parent != root:
                try:
                    refuse_links(place.parent, below=root / first)
                except DamagedFileError as error:
                    raise StorageError(
                        f"{path} is not written: {error}. Remove the link, or name another folder with --out."
                    ) from error


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well, and vanishes when not.

    A link at `path` is replaced, not followed.
    """
    refuse_detour(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    except OSError as error:
        raise _cannot_write(path, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # Else a power cut could leave an empty file under the new name.
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        # mkstemp makes files private; results are shared as the user's umask says.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        _keep_names(path.parent)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Remove what writers of the file left that were killed long ago."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - leftover.stat().st_mtime > LEFT_BEHIND_SECONDS:
                leftover.unlink()


def _keep_names(folder: Path) -> None:
    """Let a rename in the folder outlast a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems cannot wait for a folder; others tell here that the disk is broken.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


_NO_DETOUR = os.O_NOFOLLOW | os.O_NONBLOCK
"""For files that are locked, and logs: never by way of a link, never waiting for a pipe."""


def open_log(path: Path) -> int:
    """A descriptor that adds to a file; an OSError where it is a link, or a pipe that nobody reads, a StorageError
    where a guarded folder's link leads to it."""
    refuse_detour(path)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | _NO_DETOUR, 0o666)


class StorageError(BenchError):
    """The disk is full, read-only or gone."""


NO_ROOM = tuple(map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)))
STORAGE_TROUBLE = (*NO_ROOM, *map(os.strerror, (errno.EIO, errno.ESTALE, errno.EREMOTEIO, errno.ENOTCONN)))
"""The system's words for a disk that is full, limited or read-only, and for one that is broken or out of reach."""


def _cannot_write(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"Cannot write {path}: {error.strerror or error}. Free space there or choose another folder."
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: object) -> None:
    write_text(path, json.dumps(content, indent=1) + "\n")


def read_json(path: Path, *, below: Path | None = None) -> dict[str, Any]:
    """The mapping in a JSON file, bounded in size and depth; `below`: the folder under which nothing may be a link."""
    try:
        return read_mapping(path, below=below)
    except DamagedFileError as error:
        raise DamagedFileError(f"{error}. Remove it and start again.") from error


@contextlib.contextmanager
def exclusive(path: Path, *, wait: bool = False, shared: bool = False) -> Iterator[bool]:
    """An advisory lock on a file, between processes; yields whether it was obtained.

    `shared` locks exclude exclusive ones, but not one another; of a file that exists they can be had without the right
    to write.
    """
    refuse_detour(path)
    try:
        file: IO[bytes]
        if shared and path.exists():
            file = os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | _NO_DETOUR), "rb")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Networked file systems ask for a file that can be written, for a shared lock for one that can be read.
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | _NO_DETOUR
            file = os.fdopen(os.open(path, flags, 0o666), "r+b")
    except OSError as error:
        raise _cannot_write(path, error) from error
    with file:
        try:
            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError as error:
            raise BenchError(
                f"{path}: this file system has no locks ({error.strerror}); use another folder."
            ) from error
        yield True


def is_held(path: Path) -> bool:
    """Whether some process holds the lock exclusively. The file is only read: the disk may be read-only."""
    try:
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | _NO_DETOUR), "rb")
    except OSError:
        return False
    with file:
        try:
            # A shared lock: those who only look do not see one another.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return False
