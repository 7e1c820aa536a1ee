"""Factorial designs on the cells of a table: which part of their differences belongs to which term.

Factors are coded sum-to-zero, so that a main effect is an average over the other factors' levels and not a
difference at some reference level. A term's basis is what it adds to all terms that do not contain it (type
II): in a complete design these parts are orthogonal and nothing depends on an order; in an incomplete one
they overlap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from benchmark.vocabulary import BenchError

SMALLEST = 1e-8
"""Singular values below are those of columns that add nothing."""


@dataclass(frozen=True, eq=False)
class Term:
    """A main effect or an interaction; `basis` [cell, df] is orthonormal, with df 0 where nothing can be told."""

    factors: tuple[str, ...]
    basis: np.ndarray

    @property
    def df(self) -> int:
        return self.basis.shape[1]


@dataclass(frozen=True, eq=False)
class Design:
    """The cells' factors as columns of `cells`, all strings, and the levels each has, in order."""

    cells: pd.DataFrame
    levels: Mapping[str, tuple[str, ...]]

    @property
    def factors(self) -> tuple[str, ...]:
        return tuple(self.levels)

    @property
    def n_planned(self) -> int:
        """The cells of the complete design."""
        return int(np.prod([len(levels) for levels in self.levels.values()]))

    @property
    def complete(self) -> bool:
        return len(self.cells) == self.n_planned

    def coded(self, term: Sequence[str]) -> np.ndarray:
        """[cell, df]: the term's columns, products of its factors' sum-to-zero columns."""
        columns = np.ones((len(self.cells), 1))
        for factor in term:
            mine = coding(len(self.levels[factor]))[self._codes(factor)]
            columns = (columns[:, :, None] * mine[:, None, :]).reshape(len(columns), -1)
        return columns

    def terms(self) -> list[Term]:
        """All main effects, then all interactions."""
        every = [
            term for size in range(1, len(self.factors) + 1) for term in combinations(self.factors, size)
        ]
        found = []
        for term in every:
            others = [other for other in every if not set(term) <= set(other)]
            before = np.hstack([np.ones((len(self.cells), 1)), *map(self.coded, others)])
            found.append(Term(term, added_basis(self.coded(term), before)))
        return found

    def level_weights(self) -> dict[str, np.ndarray]:
        """For every factor [level, cell]: with which weights the cells make a level's marginal mean.

        It is that of the model without interactions over the complete design; where no cell is missing, the
        average over the level's cells. BenchError where the factors cannot be told apart.
        """
        main = np.hstack([np.ones((len(self.cells), 1)), *(self.coded([factor]) for factor in self.factors)])
        if np.linalg.matrix_rank(main) < main.shape[1]:
            raise BenchError(
                f"The {len(self.cells)} cells there are do not tell the factors {', '.join(self.factors)} apart."
            )
        inverse = np.linalg.pinv(main)
        weights = {}
        start = 1
        for factor, levels in self.levels.items():
            stop = start + len(levels) - 1
            weights[factor] = inverse[0] + coding(len(levels)) @ inverse[start:stop]
            start = stop
        return weights

    def _codes(self, factor: str) -> np.ndarray:
        return pd.Index(self.levels[factor]).get_indexer(pd.Index(self.cells[factor]))


def design(cells: pd.DataFrame, factors: Sequence[str]) -> Design:
    """The design of these cells; a factor with one level left is dropped. BenchError where none varies."""
    levels = {factor: tuple(dict.fromkeys(cells[factor])) for factor in factors}
    varied = {factor: found for factor, found in levels.items() if len(found) > 1}
    if not varied:
        raise BenchError(f"None of the factors {', '.join(factors)} has two levels with values.")
    if cells[list(varied)].duplicated().any():
        raise BenchError(f"Several cells agree in {', '.join(varied)}; they differ in something else.")
    return Design(cells[list(varied)].reset_index(drop=True), varied)


def coding(n_levels: int) -> np.ndarray:
    """[level, level - 1]: sum-to-zero; the last level is minus all others."""
    return np.vstack([np.eye(n_levels - 1), -np.ones(n_levels - 1)])


def added_basis(columns: np.ndarray, before: np.ndarray) -> np.ndarray:
    """[cell, df]: an orthonormal basis of what `columns` [cell, k] add to the space of `before` [cell, j]."""
    left, singular, _ = np.linalg.svd(before, full_matrices=False)
    known = left[:, singular > SMALLEST * singular[0]]
    rest = columns - known @ (known.T @ columns)
    left, singular, _ = np.linalg.svd(rest, full_matrices=False)
    return left[:, singular > SMALLEST * np.sqrt(len(columns))]
