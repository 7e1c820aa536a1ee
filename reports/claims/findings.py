"""What a source of numbers says of one comparison; the sources are `published.py` and `own.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from reports.claims.tables import Table
from reports.claims.tree import Comparison, Operand, Truth
from reports.ground.frames import DECIMALS
from reports.statistics.resampling import Interval

SourceName = Literal["paper", "runs"]


@dataclass(frozen=True, eq=False)
class Finding:
    """A comparison as a source has it, in the printed unit.

    `margin` is how far the numbers are on the claim's side of the comparison (below 0: on the other), NaN where a
    number is `missing`, each with the reason. `holds` None: unknown, or a tie. Of own runs: the interval of the
    margin, one-sided `p_holds` and `p_fails` (1 where there are too few patients for a test), the margin in every
    resample, and over how many patients.
    """

    comparison: Comparison
    left: float
    right: float
    margin: float
    holds: Truth
    missing: tuple[str, ...] = ()
    interval: Interval | None = None
    p_holds: float = float("nan")
    p_fails: float = float("nan")
    resampled: np.ndarray | None = None
    n_patients: int = 0

    @property
    def text(self) -> str:
        """`v1/noise/4 > v1/none/4: 62.83 against 62.88`."""
        numbers = (DECIMALS.format(number) if number == number else "–" for number in (self.left, self.right))
        return f"{self.comparison.text}: {' against '.join(numbers)}"


def margin_of(comparison: Comparison, left: float, right: float) -> float:
    """How far two numbers are on the comparison's side."""
    return comparison.sign * (left - right) - comparison.threshold


def held(comparison: Comparison, margin: float, *, tie: float) -> Truth:
    """Whether a margin passes; margins within `tie` of 0 are ties, which pass only what is not strict."""
    if np.isnan(margin):
        return None
    if abs(margin) < tie:
        return None if comparison.strict else True
    return margin > 0


OneCase = tuple[int, str, int]
"""Fold, case and seed."""
EveryCase = Mapping[OneCase, bool]
"""Whether a comparison holds, for every case and seed in which both sides are defined."""


class Source(Protocol):
    """Numbers that claims are tested on."""

    @property
    def name(self) -> SourceName: ...

    def grids(self) -> Sequence[str]:
        """The tables that claims can be about."""

    def table(self, grid: str) -> Table | None:
        """One of them; None where there is none of that name."""

    def value(self, table: Table, operand: Operand) -> float:
        """An operand's number; NaN where one of its cells has none."""

    def findings(self, table: Table, comparisons: Sequence[Comparison]) -> list[Finding]:
        """What it says of every comparison."""

    def every_case(self, table: Table, comparison: Comparison) -> EveryCase | str | None:
        """The comparison in every single case; a reason why that cannot be said; None where there are no cases."""
