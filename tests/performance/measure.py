"""What a figure is, how it is timed and how it is printed."""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True)
class Setting:
    """What all figures share. `threads` is what torch, BLAS and OpenMP may use."""

    repeats: int
    threads: int


def measured_alone(name: str, setting: Setting) -> list[Comparison]:
    """All comparisons of a figure; to be called in a process that does nothing else."""
    import torch

    torch.set_num_threads(setting.threads)
    return list(importlib.import_module(f"tests.performance.{name}").measure(setting))


@dataclass(frozen=True)
class Comparison:
    """One figure: the same work by the suite and by its peer, measured in turns.

    `ours[i]` and `peer[i]` were measured right after one another, so that a busy machine slows both.
    `goal`: "faster" compares seconds and "less" sizes (peer / ours), "more" compares rates (ours / peer), and "extra"
    is the difference ours - peer in seconds, which must stay under `target`. `conditions` are facts that
    must hold for the figure to count (the same mask, losses within a tolerance), values in the text.
    """

    figure: str
    what: str
    peer_is: str
    goal: Literal["faster", "less", "more", "extra"]
    unit: str
    target: float
    ours: tuple[float, ...]
    peer: tuple[float, ...]
    conditions: tuple[tuple[str, bool], ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def values(self) -> tuple[float, ...]:
        """Ratio or difference, one a repetition."""
        pairs = zip(self.ours, self.peer, strict=True)
        if self.goal in ("faster", "less"):
            return tuple(peer / ours for ours, peer in pairs)
        if self.goal == "more":
            return tuple(ours / peer for ours, peer in pairs)
        return tuple(ours - peer for ours, peer in pairs)

    @property
    def value(self) -> float:
        return statistics.median(self.values)

    @property
    def met(self) -> bool:
        reached = self.value <= self.target if self.goal == "extra" else self.value >= self.target
        return reached and all(holds for _, holds in self.conditions)

    @property
    def result(self) -> str:
        return f"{self.value:.3g} s" if self.goal == "extra" else f"{self.value:.3g} x"

    @property
    def bound(self) -> str:
        return f"<= {self.target:g} s" if self.goal == "extra" else f">= {self.target:g} x"

    def line(self) -> str:
        ours, peer = (f"{statistics.median(side):.3g} {self.unit}" for side in (self.ours, self.peer))
        kind = "difference" if self.goal == "extra" else "ratio"
        spread = f"{min(self.values):.3g} to {max(self.values):.3g} in {len(self.values)}"
        return (
            f"{self.figure}: ours {ours}, peer {peer}, {kind} {self.result} ({spread}), "
            f"target {self.bound} -> {self.verdict}"
        )

    @property
    def verdict(self) -> str:
        return "met" if self.met else "NOT met"

    def as_dict(self) -> dict[str, Any]:
        return {
            "figure": self.figure,
            "what": self.what,
            "peer": self.peer_is,
            "goal": self.goal,
            "unit": self.unit,
            "target": self.target,
            "ours": list(self.ours),
            "peer_values": list(self.peer),
            "value": self.value,
            "spread": [min(self.values), max(self.values)],
            "met": self.met,
            "conditions": [{"what": text, "holds": holds} for text, holds in self.conditions],
            "remarks": list(self.remarks),
        }


def seconds(work: Callable[[], Result]) -> tuple[float, Result]:
    """How long one call takes, and what it returns."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def in_turns(
    ours: Callable[[], Result],
    peer: Callable[[], Result],
    *,
    repeats: int,
    warm_up: Callable[[], object] | None = None,
) -> tuple[tuple[float, ...], tuple[float, ...], Result, Result]:
    """Seconds of both, `repeats` times alternately, and what the last calls returned.

    `warm_up` is called once before; None: both are, and do not count.
    """
    for call in (ours, peer) if warm_up is None else (warm_up,):
        call()
    pairs = [(seconds(ours), seconds(peer)) for _ in range(repeats)]
    (_, result), (_, peer_result) = pairs[-1]
    return tuple(a for (a, _), _ in pairs), tuple(b for _, (b, _) in pairs), result, peer_result


class NotMeasured(Exception):
    """A figure cannot be measured here; the text says why."""
