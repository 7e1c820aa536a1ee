"""What a results folder that is to be joined holds. Reading it changes nothing, also on a read-only disk."""

from __future__ import annotations

import fcntl
import os
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from benchmark.manifests import GridManifest, manifests
from benchmark.results import STALE_AFTER_SECONDS, RunFolder, RunRecord
from benchmark.vocabulary import BenchError

SCORE_KEYS = ["split", "case_id", "reading", "region", "metric"]
"""What tells the scores of a run from one another."""
RANK = ("done", "trained", "pruned", "interrupted", "failed", "pending")
"""Of states: which of several copies of a run is taken."""


@dataclass(frozen=True, eq=False)
class RunCopy:
    """A run as one of the folders has it."""

    source: Source
    folder: RunFolder

    @cached_property
    def record(self) -> RunRecord:
        return self.folder.record()

    @cached_property
    def written(self) -> bytes:
        """run.json as it is."""
        return self.folder.record_file.read_bytes()

    @cached_property
    def state(self) -> str:
        """As it really is: `running` where a process has it, `interrupted` where that is gone."""
        if self.record.state != "running":
            return self.record.state
        if _is_held(self.folder.path / ".lock"):
            return "running"
        beat = self.folder.heartbeat()
        fresh = beat is not None and time.time() - beat.time < STALE_AFTER_SECONDS
        # On a file system that several machines share only the heartbeat tells.
        if fresh and beat is not None and beat.host != os.uname().nodename:
            return "running"
        return "interrupted"

    @cached_property
    def scores(self) -> pd.DataFrame:
        """BenchError where they cannot be read."""
        try:
            return self.folder.scores()
        except (OSError, ValueError) as error:
            raise BenchError(
                f"Run {self.folder.run_id} is done, but {self.folder.scores_file} cannot be read ({error}). Remove "
                f"{self.folder.path}, or join without {self.source.path}."
            ) from error

    def is_copy_of(self, other: RunCopy) -> bool:
        """Whether it is another copy of the same attempt at a run, finished or not."""
        return self is not other and self.written == other.written

    def same_scores(self, other: RunCopy) -> bool:
        """Whether two finished copies are one run: every score is the same, in whatever order they were written."""
        if self.folder.scores_file.read_bytes() == other.folder.scores_file.read_bytes():
            return True
        one, two = (
            copy.scores.sort_values(SCORE_KEYS, kind="stable", ignore_index=True) for copy in (self, other)
        )
        return one.equals(two)


@dataclass(frozen=True)
class Source:
    """A results folder. `is_target`: the others are joined into it."""

    path: Path
    is_target: bool = False

    @property
    def name(self) -> str:
        """As the user wrote it."""
        return str(self.path)

    @cached_property
    def runs(self) -> dict[str, RunCopy]:
        """The runs that were started, by id."""
        found = sorted(path.parent for path in (self.path / "runs").glob("*/run.json"))
        return {
            path.name: RunCopy(self, RunFolder(self.path, path.name))
            for path in found
            if not path.name.startswith(".")
        }

    @cached_property
    def launches(self) -> dict[str, GridManifest]:
        """Its launches by name, the newest first."""
        return {manifest.name: manifest for manifest in manifests(self.path)}

    def files(self, folder: str) -> dict[str, Path]:
        """The files below one of its folders by their place in it, without hidden ones."""
        root = self.path / folder
        found = sorted(path for path in root.rglob("*") if path.is_file())
        names = {str(path.relative_to(root)): path for path in found}
        return {
            name: path
            for name, path in names.items()
            if not any(part.startswith(".") for part in Path(name).parts)
        }


def opened(sources: list[Path], into: Path) -> list[Source]:
    """The folders to be joined, `into` first where it exists; BenchError for what is no results folder."""
    for path in sources:
        if not any((path / part).is_dir() for part in ("runs", "grids")):
            raise BenchError(f"{path} is no results folder: it has neither runs nor grids. Name another.")
    if into.exists() and not into.is_dir():
        raise BenchError(f"--into {into} is a file; name a folder.")
    target = into.resolve()
    others = {path.resolve(): Source(path) for path in sources if path.resolve() != target}
    if not others:
        raise BenchError(f"There is nothing to join: {into} is the only folder that was named.")
    for path in others:
        if target.is_relative_to(path):
            raise BenchError(f"--into {into} lies in {others[path].path}, which is not to be changed.")
    own = [Source(into, is_target=True)] if into.is_dir() else []
    return [*own, *others.values()]


def _is_held(lock: Path) -> bool:
    """Whether some process holds the lock; the file is opened for reading alone."""
    try:
        file = lock.open("rb")
    except OSError:
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return False
