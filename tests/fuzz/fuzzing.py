"""One mutated folder after the other, each decided by the seed and its number alone."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmark.tracking.syncing import sync

from .children import forked
from .commands import HEAVY, READ, SECONDS, Ended, Place, quick, run
from .folders import write_sound
from .mutations import MUTATIONS

EXECUTED_EVERY = 100
"""One of so many folders meets the commands as users start them, so that start-up and end are covered."""


@dataclass(frozen=True)
class Found:
    """How a command ended on a folder."""

    mutations: str
    command: str
    ended: Ended


@contextmanager
def sound() -> Iterator[Path]:
    """A sound folder of which MLflow knows a part; within the block commands are quick."""
    with tempfile.TemporaryDirectory(prefix="bench-fuzz-") as temporary, quick():
        results = Path(temporary) / "results"

        def make() -> None:
            write_sound(results)
            assert sync(results, grids=["mine"]).problem is None

        made = forked(make, inside=Path(temporary), seconds=SECONDS)
        assert made.code == 0, made.said
        yield results


def fuzzed(sound: Path, seed: int, number: int, *, every: bool = False) -> Iterator[Found]:
    """Mutate a sound folder, and let the commands read it."""
    chance = random.Random(f"{seed} {number}")
    with tempfile.TemporaryDirectory(prefix="bench-fuzz-") as temporary:
        place = Place(Path(temporary))
        place.prepare(sound)
        mutations = chance.choices(MUTATIONS, k=chance.choice((1, 1, 2, 3)))

        def mutate() -> None:
            for mutation in mutations:
                # A second one may find nothing left of what it would change.
                with suppress(OSError, ValueError, IndexError, KeyError, TypeError, AttributeError):
                    mutation(place, chance)

        # This process must not start the threads of the libraries that mutations use.
        # Making a file of millions of rows is not what is timed.
        made = forked(mutate, inside=place.root, seconds=10 * SECONDS)
        assert made.code == 0, f"{number}: {made.said or made.code}"
        told = ", ".join(mutation.__name__ for mutation in mutations)
        heavy = HEAVY if every else (HEAVY[number % len(HEAVY)],)
        for name in (*(name for name in READ if name not in HEAVY), "merge", *heavy):
            executable = number % EXECUTED_EVERY == EXECUTED_EVERY - 1
            yield Found(told, name, run(place, name, executable=executable))
