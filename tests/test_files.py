"""Files that are written whole or not at all, on disks that fail, and locks."""

from __future__ import annotations

import errno
import os
import resource
import time
from pathlib import Path
from typing import Any

import pytest

from benchmark.files.writing import (
    LEFT_BEHIND_SECONDS,
    StorageError,
    exclusive,
    open_log,
    write_text,
    written_whole,
)
from benchmark.results.runs import RunFolder, RunRecord, state_of


def test_a_rename_is_followed_by_a_sync_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    real_sync, real_replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        done.append(Path(f"/proc/self/fd/{descriptor}").readlink().name.partition(".")[0] or "the file")
        real_sync(descriptor)

    def replace(*names: Any) -> None:
        done.append("rename")
        real_replace(*names)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    (tmp_path / "folder").mkdir()
    write_text(tmp_path / "folder" / "a.txt", "x")
    assert done == ["the file", "rename", "folder"]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS, errno.ESTALE])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, call: str
) -> None:
    write_text(tmp_path / "a.txt", "old")

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as failing:
        failing.setattr(os, call, fail)
        with pytest.raises(StorageError, match=rf"a\.txt: {os.strerror(number)}\."):
            write_text(tmp_path / "a.txt", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_file_system_that_cannot_wait_for_a_folder_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().is_dir():
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"


def test_what_killed_writers_left_is_swept_when_it_is_old(tmp_path: Path) -> None:
    names = [
        ".m[1].nii.gz.abc.tmp.nii.gz",
        ".m[1].nii.gz.abc.tmp",
        ".other.nii.gz.abc.tmp",
        ".m[1].nii.gz.new.tmp",
    ]
    old = time.time() - LEFT_BEHIND_SECONDS - 60
    for name in names:
        (tmp_path / name).touch()
        if "new" not in name:
            os.utime(tmp_path / name, (old, old))
    with written_whole(tmp_path / "m[1].nii.gz") as temporary:
        temporary.write_text("mask")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names[2:], "m[1].nii.gz"])


def test_a_run_sweeps_what_was_left_in_all_of_its_folders(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "r")
    left = [
        folder.path / ".run.json.x.tmp",
        folder.predictions / ".case.nii.gz.x.tmp.nii.gz",
        folder.panels / ".c.npz.x.tmp",
    ]
    kept = folder.predictions / "case.nii.gz"
    for path in (*left, kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    folder.remove_leftovers()
    assert [path.exists() for path in (*left, kept)] == [False, False, False, True]


def test_locks_are_asked_for_as_networked_file_systems_want_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFSv4 gives a shared lock on a file open for reading, an exclusive one on a file open for writing."""
    import fcntl

    asked = []

    def flock(file: Any, kind: int) -> None:
        mode = fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE
        asked.append(("shared" if kind & fcntl.LOCK_SH else "exclusive", mode))

    monkeypatch.setattr("benchmark.files.writing.fcntl.flock", flock)
    for shared in (True, False, True):
        with exclusive(tmp_path / ".lock", shared=shared):
            pass
    assert asked == [("shared", os.O_RDWR), ("exclusive", os.O_RDWR), ("shared", os.O_RDONLY)]


def test_a_run_can_be_looked_at_without_the_right_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path, "r")
    folder.write_record(RunRecord("r", "running"))
    with folder.claimed():
        pass
    opened = Path.open

    def for_reading(path: Path, mode: str = "r", **options: Any) -> Any:
        if mode.strip("bt") != "r":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, mode, **options)

    monkeypatch.setattr(Path, "open", for_reading)
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: 1 / 0)
    assert state_of(folder) == ("failed", "interrupted")


def test_a_file_that_would_grow_too_large_is_storage_trouble(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(StorageError, match="File too large"):
            write_text(tmp_path / "a.txt", "x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_log_is_added_to_and_never_by_way_of_a_link_or_a_pipe(tmp_path: Path) -> None:
    for text in (b"a", b"b"):
        with os.fdopen(open_log(tmp_path / "log.txt"), "wb") as file:
            file.write(text)
    assert (tmp_path / "log.txt").read_text() == "ab"
    (tmp_path / "link").symlink_to("log.txt")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(OSError, match=r"symbolic|No such device"):
            open_log(tmp_path / name)
    assert (tmp_path / "log.txt").read_text() == "ab"
