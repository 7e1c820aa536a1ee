"""What a results folder that is to be joined holds. Reading it changes nothing, also on a read-only disk."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from benchmark.files.places import check_layout, is_name, is_regular, is_there, kind_of
from benchmark.files.writing import is_held
from benchmark.merging.copying import files_below
from benchmark.results.manifests import GridManifest, readable_manifests
from benchmark.results.runs import STALE_AFTER_SECONDS, RunFolder, RunRecord
from benchmark.vocabulary import BenchError

SCORE_KEYS = ["split", "case_id", "reading", "region", "metric"]
"""What tells the scores of a run from one another."""
HIDDEN = (".*",)
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
        if is_held(self.folder.path / ".lock"):
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
        return self.folder.scores()

    @cached_property
    def fault(self) -> str:
        """Why the run is left where it is; empty where all that decides what is taken can be read."""
        try:
            if self.record.state == "done":
                self.folder.check()
            if is_there(self.folder.config_file):
                self.folder.config()
            if is_there(self.folder.data_file):
                self.folder.data()
        except BenchError as error:
            return str(error)
        return ""

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
        """The runs that were started, by id, without those that are damaged."""
        return {run_id: copy for run_id, copy in self._started.items() if not copy.fault}

    @cached_property
    def _started(self) -> dict[str, RunCopy]:
        folders = sorted((self.path / "runs").glob("*"))
        names = [path.name for path in folders if not path.name.startswith(".") and not path.is_symlink()]
        copies = [RunCopy(self, RunFolder(self.path, name)) for name in names if is_name(name)]
        return {copy.folder.run_id: copy for copy in copies if is_there(copy.folder.record_file)}

    @cached_property
    def damaged_runs(self) -> dict[str, str]:
        """Why runs of the folder cannot be read, by id."""
        return {run_id: copy.fault for run_id, copy in self._started.items() if copy.fault}

    @cached_property
    def damaged(self) -> tuple[str, ...]:
        """What of the folder is left where it is, since it cannot be read or leads elsewhere, in sentences."""
        runs = self.path / "runs"
        odd = [
            f"{path} is a link, or no name of a run; it is left out."
            for path in sorted(runs.glob("*"))
            if not path.name.startswith(".") and (path.is_symlink() or not is_name(path.name))
        ]
        return (*self.damaged_runs.values(), *odd, *self._manifests[1].values())

    @cached_property
    def _manifests(self) -> tuple[list[GridManifest], dict[str, str]]:
        return readable_manifests(self.path)

    @cached_property
    def launches(self) -> dict[str, GridManifest]:
        """Its launches by name, the newest first."""
        found = sorted(self._manifests[0], key=lambda manifest: manifest.created, reverse=True)
        return {manifest.name: manifest for manifest in found}

    def files(self, folder: str) -> dict[str, Path]:
        """The files below one of its folders by their place in it, without hidden ones."""
        root = self.path / folder
        found = files_below(root, leaving=HIDDEN)
        return {str(path.relative_to(root)): path for path in found if is_regular(path)}

    def odd_files(self, folder: str) -> list[str]:
        """What lies below one of its folders and is no file, in sentences."""
        found = files_below(self.path / folder, leaving=HIDDEN)
        return [f"{path} is {kind_of(path)}, and left out." for path in found if not is_regular(path)]


def opened(sources: list[Path], into: Path) -> list[Source]:
    """The folders to be joined, `into` first where it exists; BenchError for what is no results folder."""
    for path in sources:
        if not any((path / part).is_dir() for part in ("runs", "grids")):
            raise BenchError(f"{path} is no results folder: it has neither runs nor grids. Name another.")
    for path in (*sources, into):
        check_layout(path)
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
