"""Every reading command on a results folder, and what none of them may do, whatever is in the folder."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from written_pages import png

from benchmark.cli import evaluate, main
from benchmark.execution.evaluating import score_again
from benchmark.vocabulary import BenchError

from .folders import GOOD, OTHER

SECRET = "canary-5f1c"
"""Stands in files beside the results, and as a password in them."""
SECONDS = 120

READ = {
    "status": ("status",),
    "status json": ("status", "--json"),
    "show": ("show", GOOD),
    "show other": ("show", OTHER),
    "why": ("why", "mine:A"),
    "why other": ("why", "mine:B"),
    "why rows": ("why", f"run:{GOOD}/without CT"),
    "report": ("report", "--grid", "mine", "--no-mlflow"),
    "html": ("report", "--html", "--no-mlflow"),
    "all": ("report", "--all", "--no-mlflow"),
    "claims": ("report", "--claims", "--no-mlflow"),
    "search": ("report", "--search", "theta", "--no-mlflow"),
    "sync": ("sync",),
    "evaluate": ("evaluate", GOOD, OTHER),
    "panels": ("panels", "--grid", "mine"),
    "predict": ("predict", GOOD, "--out", "masks", "--device", "cpu"),
}
HEAVY = ("report", "html", "all", "claims", "search", "sync")


@dataclass(frozen=True)
class Ended:
    """A command's exit code, and all that it printed."""

    code: int | None
    out: str
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """Where a folder is tried: `results` and what is written lie beside `outside`, which nobody may touch."""

    root: Path

    @property
    def results(self) -> Path:
        return self.root / "results"

    @property
    def outside(self) -> Path:
        return self.root / "outside"

    def prepare(self) -> None:
        (self.outside / "folder").mkdir(parents=True)
        (self.outside / "secret").write_text(f"{SECRET}\n")
        (self.outside / "folder" / "report.md").write_text(f"mine, {SECRET}\n")

    def untouched(self) -> dict[str, tuple[int, int]]:
        """What lies outside: sizes and times."""
        return {
            str(path.relative_to(self.root)): (path.lstat().st_size, path.lstat().st_mtime_ns)
            for path in (*self.outside.rglob("*"), *self.root.glob("*"))
            if path.is_file()
        }


def run(place: Place, name: str) -> Ended:
    """A command on the place's results, and all that it did and must not do."""
    if name == "merge":
        arguments = ["merge", str(place.results), "--into", str(place.root / "merged")]
    else:
        arguments = [*READ[name], "--results", str(place.results)]
    before = place.untouched()
    children = {child.pid for child in psutil.Process().children(recursive=True)}
    out = io.StringIO()
    faults, code = [], None
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(out),
            _deadline(),
            _inside(place.root),
        ):
            main(arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        faults.append(f"traceback: {traceback.format_exc()}")
    said = out.getvalue()
    if code not in (0, 1, 2):
        faults.append(f"exit code {code}")
    if "Traceback" in said:
        faults.append("a traceback was printed")
    if SECRET in said:
        faults.append("a secret was printed")
    if any(sign in said for sign in ("\x1b", "\x07", "\x9b", "\u202e")):
        faults.append("a terminal was commanded")
    if place.untouched() != before:
        faults.append("something outside was written")
    if left := {child.pid for child in psutil.Process().children(recursive=True)} - children:
        faults.append(f"processes are left: {left}")
    faults += [f"{path} has the secret" for path in _written(place) if SECRET.encode() in path.read_bytes()]
    return Ended(code, said, tuple(faults))


def _written(place: Place) -> Iterator[Path]:
    """What commands wrote, for others to see."""
    for folder in (place.root / "merged", place.results / "reports"):
        if not folder.is_symlink():
            yield from (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


@contextlib.contextmanager
def _deadline() -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError(f"nothing came of it in {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def quick() -> Iterator[None]:
    """Without what takes most of the time and reads nothing: figures are grey, evaluations begin no process, and the
    plots' library, which has megabytes, is not copied."""
    import matplotlib

    from benchmark.processes import devices
    from reports.ground import drawing
    from reports.page import assets

    matplotlib.use("Agg")

    def grey(figure: object, stem: Path, *, formats: tuple[str, ...] = drawing.FORMATS) -> list[Path]:
        paths = [stem.with_name(f"{stem.name}.{kind}") for kind in formats]
        for path in paths:
            path.write_bytes(png() if path.suffix == ".png" else b"")
        return paths

    def here(self: object, target: Callable[[object], object], due: dict[str, object]) -> Iterator[object]:
        for run_id, evaluation in due.items():
            try:
                yield run_id, score_again((evaluation, devices.Slot("cpu", 1)))
            except BenchError as error:
                yield run_id, error

    small = assets.plotly()
    replaced = [
        (drawing, "save", grey),
        (evaluate._Where, "done", here),
        (assets, "plotly", lambda: type(small)(small.name, "")),
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in replaced]
    users = [module for module in list(sys.modules.values()) if getattr(module, "save", None) is drawing.save]
    try:
        for owner, name, new in replaced:
            setattr(owner, name, new)
        for module in users:
            module.save = grey
        yield
    finally:
        for owner, name, old in before:
            setattr(owner, name, old)
        for module in users:
            module.save = before[0][2]
