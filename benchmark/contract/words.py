"""How findings put errors, names and numbers."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import Tensor

from benchmark.vocabulary import BenchError


class NotChecked(Exception):
    """A check that has no answer here, and why."""


def words_of(error: BaseException, file: Path | None = None) -> str:
    """An exception in one line, with the line of `file` that it came through last."""
    text = " ".join(str(error).split()) or "no message"
    text = text if len(text) <= 300 else f"{text[:300]}..."
    text = text if isinstance(error, BenchError) else f"{type(error).__name__}: {text}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == file]
    if frames:
        text += f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno}, in {frames[-1].name})"
    return text


def number(value: Tensor) -> str:
    return f"{float(value.detach()):.6g}"


def size_of(sides: Sequence[int]) -> str:
    return "x".join(map(str, sides))


def listed(names: Iterable[object]) -> str:
    listed = [str(name) for name in names]
    more = f" and {len(listed) - 6} more" if len(listed) > 6 else ""
    return (", ".join(listed[:6]) or "nothing") + more
