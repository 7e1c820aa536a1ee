"""Synthetic cases, written as files in the layout of a real data set. What is modelled: docs/phantoms.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

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
    """What a reader says whose data set the suite writes itself.

    `stands_for`: the data set whose place it takes. `unusual`: what `write` takes besides, as a profile may say it.
    """

    kind: str
    stands_for: str
    default_spacing_mm: Spacing
    write: WritePhantoms
    unusual: frozenset[str] = frozenset()

    def writer(self, unusual: Mapping[str, Any]) -> WritePhantoms:
        """`write`, of phantoms that are unusual in these ways."""
        return partial(self.write, **unusual)
