"""The printed numbers as a source: one number a cell, and no statistics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reports.claims.findings import EveryCase, Finding, SourceName, held, margin_of
from reports.claims.tables import Table, paper_tables
from reports.claims.tree import Comparison, Operand, value_of

PRINTING = 0.005
"""Numbers with two decimals are equal in print if they differ by less; means of them are compared as closely."""


class PublishedNumbers:
    """Tables 2 to 5 of the Mirror U-Net paper."""

    @property
    def name(self) -> SourceName:
        return "paper"

    def grids(self) -> Sequence[str]:
        return tuple(paper_tables())

    def table(self, grid: str) -> Table | None:
        return paper_tables().get(grid)

    def value(self, table: Table, operand: Operand) -> float:
        values = np.array([table.values.get(cell, np.nan) for cell in operand.cells])
        return float(value_of(operand, values))

    def findings(self, table: Table, comparisons: Sequence[Comparison]) -> list[Finding]:
        return [self._finding(table, comparison) for comparison in comparisons]

    def _finding(self, table: Table, comparison: Comparison) -> Finding:
        left, right = (self.value(table, side) for side in (comparison.left, comparison.right))
        margin = round(margin_of(comparison, left, right), 9)
        missing = {cell: "not printed" for cell in comparison.cells if cell not in table.values}
        reasons = tuple(f"{table.address(cell)}: {why}" for cell, why in missing.items())
        return Finding(
            comparison, left, right, margin, held(comparison, margin, tie=PRINTING), missing=reasons
        )

    def every_case(self, table: Table, comparison: Comparison) -> EveryCase | str | None:
        return None
