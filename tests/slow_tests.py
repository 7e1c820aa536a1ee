"""Of many parameters of one kind, the first stand for all in `make test`; `make test-all` takes every one.

So do a few simulations for many, whose share may then be further off by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

LIST = Path(__file__).with_name("slow_tests.txt")
"""Tests that are slow by measurement: a test's name without its folder, and, where only some are, its parameters."""

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


@cache
def listed() -> frozenset[str]:
    lines = LIST.read_text(encoding="utf-8").splitlines()
    return frozenset(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def is_listed(nodeid: str) -> bool:
    """Whether the list has a test, by its name with or without its parameters."""
    name = nodeid.rpartition("tests/")[2]
    return bool({name, name.partition("[")[0]} & listed())
