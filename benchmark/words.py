"""Numbers with their nouns, and the ends of commands that are told."""

from __future__ import annotations

import shlex
from pathlib import Path


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 run`, `2 runs`, `3,000 runs`; `plural` where it is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def named_data(name: str, root: Path) -> str:
    """A data set and its folder as `--data` and `bench data check` take them."""
    return shlex.quote(f"{name}={root}")


def in_results(results: Path) -> str:
    """How a command that is told to somebody ends: naming the results folder, where it is not the usual one."""
    return "" if results == Path("results") else f" --results {shlex.quote(str(results))}"
