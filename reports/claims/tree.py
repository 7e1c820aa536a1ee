"""What a claim comes down to: comparisons of numbers, joined by "at least k of these hold".

"For each" is all of them, "for some" at least one, "with one exception" all but one; the best of a set beats x where
at least one of it does, and x beats the best of a set where it beats each. The opposite of "at least k of n" is "at
least n - k + 1 of the opposites", so that no other word is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from reports.claims.tables import Cell


@dataclass(frozen=True)
class Mean:
    """The mean of cells; of one cell, its number."""

    cells: tuple[Cell, ...]
    name: str


@dataclass(frozen=True)
class Spread:
    """How far the numbers of cells lie apart: their `range`, sample standard deviation (`sd`) or interquartile range
    (`iqr`)."""

    cells: tuple[Cell, ...]
    name: str
    kind: Literal["range", "sd", "iqr"]


Operand = Mean | Spread


def value_of(operand: Operand, values: np.ndarray) -> np.ndarray:
    """The operand's number from those of its cells, along the last axis of `values`."""
    if isinstance(operand, Mean):
        return values.mean(axis=-1)
    if operand.kind == "range":
        return values.max(axis=-1) - values.min(axis=-1)
    if operand.kind == "sd":
        return values.std(axis=-1, ddof=1)
    low, high = np.quantile(values, [0.25, 0.75], axis=-1)
    return np.asarray(high - low)


@dataclass(frozen=True)
class Comparison:
    """`sign` * (`left` - `right`) is above `threshold`, or at it where it is not `strict`; in the printed unit."""

    left: Operand
    right: Operand
    sign: Literal[1, -1]
    threshold: float = 0.0
    strict: bool = True

    @property
    def measure(self) -> str:
        return self.left.cells[0].measure

    @property
    def cells(self) -> tuple[Cell, ...]:
        return (*self.left.cells, *self.right.cells)

    @property
    def relation(self) -> str:
        """What stands between the two names: >, ≤, or > b + 2.00 in full by `text`."""
        return {(1, True): ">", (1, False): "≥", (-1, True): "<", (-1, False): "≤"}[self.sign, self.strict]

    @property
    def text(self) -> str:
        """`v1/noise/4 > v1/none/4`."""
        shift = self.sign * self.threshold
        more = "" if shift == 0 else f" {'+' if shift > 0 else '−'} {abs(shift):.2f}"
        return f"{self.left.name} {self.relation} {self.right.name}{more}"

    def opposite(self) -> Comparison:
        sign: Literal[1, -1] = -1 if self.sign == 1 else 1
        return replace(self, sign=sign, threshold=-self.threshold, strict=not self.strict)


@dataclass(frozen=True)
class Competitor:
    """A value of the axis that a race is over, and its number: the largest or smallest of these operands."""

    name: str
    operands: tuple[Operand, ...]
    largest: bool = True


@dataclass(frozen=True)
class Race:
    """An argmax as it is told: who competes over which axis, who is said to come at which rank, and where (`at`)."""

    over: str
    competitors: tuple[Competitor, ...]
    winners: tuple[str, ...]
    highest: bool
    at: str
    rank: int = 1


@dataclass(frozen=True)
class AtLeast:
    """At least `k` of the `parts` hold. `race`: they are the comparisons of an argmax."""

    k: int
    parts: tuple[Node, ...]
    race: Race | None = None

    def opposite(self) -> AtLeast:
        return AtLeast(len(self.parts) - self.k + 1, tuple(part.opposite() for part in self.parts), self.race)


Node = Comparison | AtLeast
Truth = bool | None


def all_of(parts: Sequence[Node], race: Race | None = None) -> Node:
    return _joined(len(parts), parts, race)


def any_of(parts: Sequence[Node], race: Race | None = None) -> Node:
    return _joined(1, parts, race)


def _joined(k: int, parts: Sequence[Node], race: Race | None) -> Node:
    return parts[0] if len(parts) == 1 and race is None else AtLeast(k, tuple(parts), race)


def comparisons(node: Node) -> Iterator[Comparison]:
    """All comparisons, each once, in their order."""
    seen: dict[Comparison, None] = {}

    def walk(part: Node) -> None:
        if isinstance(part, Comparison):
            seen.setdefault(part)
        else:
            for inner in part.parts:
                walk(inner)

    walk(node)
    yield from seen


def truth(node: Node, of: Callable[[Comparison], Truth]) -> Truth:
    """Whether it holds where some comparisons may be unknown (Kleene): None where these decide."""
    if isinstance(node, Comparison):
        return of(node)
    found = [truth(part, of) for part in node.parts]
    if found.count(True) >= node.k:
        return True
    return False if len(found) - found.count(False) < node.k else None


def p_values(node: Node, of: Callable[[Comparison], tuple[float, float]]) -> tuple[float, float]:
    """One-sided p of (it holds, it does not), from those of its comparisons.

    The partial conjunction test of Benjamini and Heller (Biometrics 2008) with Bonferroni's combination: that at
    least k of n hold has (n - k + 1) times the k-th smallest p. With k = n this is the intersection-union test
    (the largest p), with k = 1 Bonferroni's. It is valid however the comparisons depend on each other.
    """
    if isinstance(node, Comparison):
        return of(node)
    pairs = np.array([p_values(part, of) for part in node.parts])
    n = len(pairs)
    holds, fails = np.sort(pairs[:, 0]), np.sort(pairs[:, 1])
    against = n - node.k + 1
    return min(1.0, against * float(holds[node.k - 1])), min(1.0, node.k * float(fails[against - 1]))


def decisive(node: Node, margin: Callable[[Comparison], float]) -> Comparison | None:
    """The comparison on which it hangs: the k-th best of its parts; None where a margin is not known (NaN).

    It holds exactly if that comparison's margin is above 0.
    """
    if isinstance(node, Comparison):
        return None if np.isnan(margin(node)) else node
    found = [decisive(part, margin) for part in node.parts]
    known = [part for part in found if part is not None]
    if len(known) < len(found):
        return None
    return sorted(known, key=margin, reverse=True)[node.k - 1]


def held_margins(node: Node, margins: Callable[[Comparison], np.ndarray]) -> np.ndarray:
    """[n]: the `decisive` margin in each of n resamples."""
    if isinstance(node, Comparison):
        return margins(node)
    stacked = np.stack([held_margins(part, margins) for part in node.parts])
    # The k-th largest; NaN sorts last, and a resample with one has none.
    found = np.sort(stacked, axis=0)[len(stacked) - node.k]
    return np.where(np.isnan(stacked).any(axis=0), np.nan, found)


def against(
    node: Node, of: Callable[[Comparison], Truth], margin: Callable[[Comparison], float]
) -> list[Node]:
    """What speaks against it, exceptions that it allows included: comparisons, and races that were lost.

    Of alternatives only the nearest miss.
    """
    if isinstance(node, Comparison):
        return [node] if of(node) is False else []
    if truth(node, of) is not False:
        # Of alternatives one suffices, and the others are no exceptions.
        parts = node.parts if node.k > 1 and node.race is None else ()
        return [found for part in parts for found in against(part, of, margin)]
    if node.race is not None:
        return [node]
    if node.k == 1 and len(node.parts) > 1:
        known = [(part, decisive(part, margin)) for part in node.parts]
        nearest = [(margin(one), number) for number, (_, one) in enumerate(known) if one is not None]
        return against(node.parts[max(nearest)[1]], of, margin) if nearest else []
    return [found for part in node.parts for found in against(part, of, margin)]
