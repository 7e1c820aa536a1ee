"""Synthetic cases, written as files in the layout of a real data set. What is modelled: docs/phantoms.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmark.vocabulary import Spacing


class WritePhantoms(Protocol):
    """Writes `cases` cases to `out`; what an earlier start finished is kept. The same seed gives the same bytes."""

    def __call__(
        self,
        out: Path,
        *,
        cases: int,
        seed: int,
        spacing_mm: Spacing,
        jobs: int,
        progress: Callable[[int, int], None] | None,
    ) -> None: ...


@dataclass(frozen=True)
class Phantoms:
    """What a reader says whose data set the suite writes itself. `stands_for`: the data set whose place it takes."""

    kind: str
    stands_for: str
    default_spacing_mm: Spacing
    write: WritePhantoms
