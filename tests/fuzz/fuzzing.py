"""One mutated folder after the other, each decided by the seed and its number alone."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .commands import HEAVY, READ, Ended, Place, quick, run
from .folders import write_sound
from .mutations import MUTATIONS


@dataclass(frozen=True)
class Found:
    """How a command ended on a folder."""

    mutations: str
    command: str
    ended: Ended


@cache
def _sound() -> Path:
    """A sound folder, made once a process; and a place for MLflow, whose database takes seconds to make."""
    folder = Path(tempfile.mkdtemp(prefix="bench-fuzz-"))
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'mlflow.db'}"
    return write_sound(folder / "results")


def fuzzed(seed: int, number: int, *, every: bool = False) -> Iterator[Found]:
    """Mutate a sound folder, and let the commands read it."""
    chance = random.Random(f"{seed} {number}")
    with tempfile.TemporaryDirectory(prefix="bench-fuzz-") as temporary, quick():
        place = Place(Path(temporary))
        shutil.copytree(_sound(), place.results)
        place.prepare()
        told = []
        for mutate in chance.choices(MUTATIONS, k=chance.choice((1, 1, 2, 3))):
            # A second one may find nothing left of what it would change.
            with suppress(OSError, ValueError, IndexError, KeyError, TypeError, AttributeError):
                mutate(place, chance)
                told.append(mutate.__name__)
        heavy = HEAVY if every else (HEAVY[number % len(HEAVY)],)
        for name in (*(name for name in READ if name not in HEAVY), "merge", *heavy):
            yield Found(", ".join(told), name, run(place, name))
