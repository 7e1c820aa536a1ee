"""Of many parameters of one kind, the first stand for all in `make test`; `make test-all` takes every one.

So do a few simulations for many, whose share may then be further off by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

Counts = Callable[[int, int], int]
"""The fixture `counts`: the first number, and the second where all tests were asked for."""


def slow_after(n: int, parameters: Iterable[Any]) -> list[Any]:
    """The parameters, all but the first `n` of them marked slow; a tuple holds the values of several names."""
    return [
        each
        if k < n
        else pytest.param(*(each if isinstance(each, tuple) else (each,)), marks=pytest.mark.slow)
        for k, each in enumerate(parameters)
    ]


def slack(share: float, trials: int, full: int) -> float:
    """By how much three standard errors of a share in so many trials exceed those of the full number; 0 for that."""
    return float(3 * (share * (1 - share)) ** 0.5 * (trials**-0.5 - full**-0.5))
