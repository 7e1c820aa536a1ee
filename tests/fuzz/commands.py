"""Every reading command on a results folder, and what none of them may do, whatever is in the folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from written_pages import png

from benchmark.cli import app, evaluate, main
from benchmark.execution.evaluating import score_again
from benchmark.files.places import is_regular
from benchmark.vocabulary import BenchError

from .children import executed, forked, warm
from .folders import GOOD, OTHER, THIRD, move_data, move_database

SECRET = "canary-5f1c"
"""Stands in files beside the results, and as a password in them."""
SECONDS = 120
WRITTEN = ("reports", "logs", "mlflow_artifacts")
"""The parts of a results folder that commands write into."""

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
    """Where a folder is tried: `results` and what is written lie beside `outside`, which nobody may touch, and
    `temporary`, which is empty after every command."""

    root: Path

    @property
    def results(self) -> Path:
        return self.root / "results"

    @property
    def outside(self) -> Path:
        return self.root / "outside"

    @property
    def temporary(self) -> Path:
        return self.root / "temporary"

    def prepare(self, sound: Path) -> None:
        """`sound`: the results folder to copy."""
        shutil.copytree(sound, self.results)
        for run_id in (GOOD, OTHER, THIRD):
            move_data(self.results, run_id)
        # MLflow's database belongs to the folder that it was made in.
        if (self.results / "mlflow.db").exists():
            move_database(self.results, artifacts=(self.results / "mlflow_artifacts").resolve())
        self.temporary.mkdir()
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


def run(place: Place, name: str, *, executable: bool = False) -> Ended:
    """A command on the place's results, and all that it did and must not do.

    It runs in a fork of this process or, where `executable`, as a user would start it.
    """
    if name == "merge":
        arguments = ["merge", str(place.results), "--into", str(place.root / "merged")]
    else:
        arguments = [*READ[name], "--results", str(place.results)]
    before = place.untouched()
    with _temporary_files_in(place.temporary):
        if executable:
            command = [sys.executable, "-P", "-m", "benchmark.cli", *arguments]
            child = executed(command, inside=place.root, seconds=SECONDS)
        else:
            child = forked(lambda: main(arguments), inside=place.root, seconds=SECONDS)
    faults = []
    if child.code is None:
        faults.append(f"nothing came of it in {SECONDS} s")
    elif child.code not in (0, 1, 2):
        faults.append(f"exit code {child.code}")
    if "Traceback" in child.said:
        faults.append("a traceback was printed")
    if SECRET in child.said:
        faults.append("a secret was printed")
    if any(sign in child.said for sign in ("\x1b", "\x07", "\x9b", "\u202e")):
        faults.append("a terminal was commanded")
    if place.untouched() != before:
        faults.append("something outside was written")
    if names := sorted(path.name for path in place.temporary.iterdir()):
        faults.append(f"temporary files are left: {names}")
    if child.left:
        faults.append(f"processes are left: {'; '.join(child.left)}")
    faults += [f"{path} has the secret" for path in _written(place) if SECRET.encode() in path.read_bytes()]
    return Ended(child.code, child.said, tuple(faults))


@contextlib.contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("TMPDIR")
        if before is not None:
            os.environ["TMPDIR"] = before


def _written(place: Place) -> Iterator[Path]:
    """What commands wrote, for others to see; files that are copied whatever their size, only if they are small."""
    for folder in (place.root / "merged", *(place.results / name for name in WRITTEN)):
        if not folder.is_symlink():
            yield from (
                path for path in folder.rglob("*") if is_regular(path) and path.stat().st_size < 2**26
            )


@contextlib.contextmanager
def quick() -> Iterator[None]:
    """Without what takes most of the time and reads nothing: figures are grey, evaluations begin no process, the
    plots' library, which has megabytes, is not copied, nobody waits for the disk, the command line is built once."""
    warm()
    import matplotlib
    import typer.main

    from benchmark.processes import devices
    from reports.ground import drawing
    from reports.page import assets

    matplotlib.use("Agg")
    command = typer.main.get_command(app)

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
        (os, "fsync", lambda descriptor: None),
        (typer.main, "get_command", lambda of: command),
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
