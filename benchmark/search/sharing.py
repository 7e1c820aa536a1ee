"""Which launcher has which trial, and whether that launcher is alive.

A launcher holds a lock on a file of its own as long as it lives. A trial says which launcher has it, and in which
results folder its run lies; of trials whose runs lie elsewhere (another machine, a database in common) only the last
sign of life is known.
"""

from __future__ import annotations

import time
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from benchmark.files.writing import exclusive
from benchmark.processes.watch import Watch
from benchmark.search.attributes import BEAT, FOLDER, LAUNCHER
from benchmark.tracking.store import folder_id

STALE_SECONDS = 600.0
"""A trial on another machine that gave no sign of life for so long is given back."""
ASKING_SECONDS = 120.0
"""So long another machine may take between creating a trial and saying that it is its own."""


class Launcher:
    """This process, as one of those that share a search. A context manager: the end of the block is its death."""

    def __init__(self, results: Path) -> None:
        self.name = uuid.uuid4().hex[:12]
        self.folder = folder_id(results)
        self._alive = results / "searches" / ".launchers"
        self._held = ExitStack()
        self._watch = Watch()

    def __enter__(self) -> Launcher:
        self._held.enter_context(exclusive(self._alive / self.name, wait=True))
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()
        (self._alive / self.name).unlink(missing_ok=True)

    def claim(self) -> dict[str, Any]:
        """What a trial is to say while this launcher has it."""
        # The launcher's name last: with it the trial is taken.
        return {FOLDER: self.folder, BEAT: time.time(), LAUNCHER: self.name}

    def has(self, trial: FrozenTrial) -> bool:
        return trial.user_attrs.get(LAUNCHER) == self.name

    def is_orphan(self, trial: FrozenTrial, *, one_machine: bool) -> bool:
        """Whether a running trial with its run in this results folder has nobody any more.

        To be asked while no other launcher on this machine can be asking for trials. `one_machine`: all launchers of
        the search are on this one.
        """
        attributes = trial.user_attrs
        if LAUNCHER not in attributes:
            return one_machine or self._silence(trial) > ASKING_SECONDS
        return attributes[FOLDER] == self.folder and not self._lives(attributes[LAUNCHER])

    def is_lost(self, trial: FrozenTrial) -> bool:
        """Whether a running trial on another machine has given no sign of life for long."""
        attributes = trial.user_attrs
        # Attributes are written one after the other: a trial may have a folder and no sign of life yet.
        elsewhere = attributes.get(FOLDER, self.folder) != self.folder and BEAT in attributes
        return elsewhere and self._silence(trial) > STALE_SECONDS

    def _silence(self, trial: FrozenTrial) -> float:
        """For how many seconds a trial has told nothing new, as seen from here."""
        begun = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
        beat = trial.user_attrs.get(BEAT)
        return self._watch.silent_for(trial.number, beat, told_at=begun if beat is None else float(beat))

    def _lives(self, name: str) -> bool:
        file = self._alive / name
        if name == self.name:
            return True
        if not file.exists():
            return False
        with exclusive(file, shared=True) as free:
            if free:
                file.unlink(missing_ok=True)
            return not free
