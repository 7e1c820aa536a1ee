"""Of which cells and cases the failure browser wants thumbnails, where there are too many to write all."""

from __future__ import annotations

import numpy as np

PER_PAIR = 12
"""As many cases of each pair of cells, if there is room."""


def wanted_thumbnails(
    values: np.ndarray, *, higher_is_better: bool, most: int, per_pair: int = PER_PAIR
) -> list[tuple[int, int]]:
    """Cells and cases, without repetition: where one cell is better than another by most.

    `values` [cell, case] may hold NaN, which is no difference to anything. Every ordered pair of cells has
    its first case before any pair has its second, larger differences first; of a pair both cells are wanted.
    At most `most`.
    """
    n_cells, n_cases = values.shape
    if n_cells * n_cases <= most:
        return [(cell, case) for cell in range(n_cells) for case in range(n_cases)]
    signed = values if higher_is_better else -values
    wanted: dict[tuple[int, int], None] = {}
    ranked = [_ranked(signed, first, per_pair) for first in range(n_cells)]
    for rank in range(min(per_pair, n_cases)):
        found = [
            (float(differences[second, rank]), first, second, int(cases[second, rank]))
            for first, (cases, differences) in enumerate(ranked)
            for second in range(n_cells)
            if differences[second, rank] > 0
        ]
        for _, first, second, case in sorted(found, key=lambda one: (-one[0], *one[1:])):
            pair = [key for key in ((first, case), (second, case)) if key not in wanted]
            if len(wanted) + len(pair) > most:
                return list(wanted)
            wanted |= dict.fromkeys(pair)
    return list(wanted)


def _ranked(signed: np.ndarray, first: int, per_pair: int) -> tuple[np.ndarray, np.ndarray]:
    """[other cell, rank]: the cases in which `first` is ahead of the other by most, and by how much."""
    ahead = np.nan_to_num(signed[first] - signed, nan=-np.inf)
    cases = np.argsort(-ahead, axis=1, kind="stable")[:, :per_pair]
    return cases, np.take_along_axis(ahead, cases, axis=1)
