"""Of many parameters of one kind, the first stand for all in `make test`; `make test-all` takes every one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def slow_after(n: int, parameters: Iterable[Any]) -> list[Any]:
    """The parameters, all but the first `n` of them marked slow; a tuple holds the values of several names."""
    return [
        each
        if k < n
        else pytest.param(*(each if isinstance(each, tuple) else (each,)), marks=pytest.mark.slow)
        for k, each in enumerate(parameters)
    ]
