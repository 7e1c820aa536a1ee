"""The folder of a page: a new page takes an older one's place when it is whole, and not before."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from benchmark.files.places import is_regular
from benchmark.files.writing import exclusive
from benchmark.vocabulary import BenchError

INDEX, SINGLE = "index.html", "single.html"
OWN = ("assets", "data", "files", "pictures", SINGLE, INDEX)
"""What a page consists of, its index last: it is the one that names the others."""
MARK = 'name="generator" content="mirror-bench"'
BUILDING, LOCK = ".building", ".building.lock"
"""In the page's own folder, which may be a share of its own, and the only place that may be written to."""


@contextmanager
def new_page(out: Path) -> Iterator[Path]:
    """An empty folder whose content becomes the page in `out` when the block ends well; else an older page stays.

    Files that are no part of a page are left alone. BenchError where `out` is a file, has something else in it than a
    page, or another process writes one to it.
    """
    require_folder(out)
    _require_page(out)
    new = not out.exists()
    with exclusive(out / LOCK) as obtained:
        if not obtained:
            raise BenchError(
                f"Another process writes a page to {out}. Wait for it, or name another folder with --out."
            )
        building = out / BUILDING
        try:
            # Of a process that was killed.
            shutil.rmtree(building, ignore_errors=True)
            building.mkdir()
            with _asked_to_end():
                yield building
                _swap(building, out)
        finally:
            shutil.rmtree(building, ignore_errors=True)
            (out / LOCK).unlink(missing_ok=True)
            if new:
                with suppress(OSError):
                    out.rmdir()


@contextmanager
def _asked_to_end() -> Iterator[None]:
    """SIGTERM and SIGHUP end the process with its half page removed, where they would end it at once; what is ignored
    stays so."""

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    taken = []
    if threading.current_thread() is threading.main_thread():
        asked = (signal.SIGTERM, signal.SIGHUP)
        taken = [number for number in asked if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def require_folder(out: Path) -> None:
    """BenchError where `out`, or what it should lie in, is a file."""
    for path in (out, *out.parents):
        if path.exists():
            if not path.is_dir():
                raise BenchError(f"{path} is a file, not a folder. Name another folder with --out.")
            return


def _require_page(out: Path) -> None:
    """BenchError where something else than a page is in the folder."""
    if not out.exists() or not {path.name for path in out.iterdir()} - {BUILDING, LOCK}:
        return
    index = out / INDEX
    if not (is_regular(index) and _is_page(index)):
        raise BenchError(
            f"{out} is not empty, and no page of an earlier report is in it. Name another folder with --out."
        )


def _is_page(index: Path) -> bool:
    with index.open(encoding="utf-8", errors="replace") as file:
        return MARK in file.read(4000)


def _swap(building: Path, out: Path) -> None:
    """Rename, part by part: an instant, where writing takes minutes."""
    old = building / "old"
    old.mkdir()
    for name in OWN:
        if (out / name).exists():
            (out / name).rename(old / name)
        if (building / name).exists():
            (building / name).rename(out / name)
