"""Where a training is: its step, its history, and how it may end early."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from benchmark.vocabulary import BenchError


class DivergedError(BenchError):
    """A loss that is not finite."""


class InterruptedRunError(BenchError):
    """The run was asked to stop; its checkpoint is written."""


class PrunedRunError(BenchError):
    """A search has seen enough of the run; its checkpoint is written."""


@dataclass
class Progress:
    """All of a training that is not in the network or the optimiser."""

    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    loss_sums: dict[str, float] = field(default_factory=dict)
    summed_steps: int = 0
    best_dice: float = -math.inf
    best_step: int = 0
    peak_memory_mb: float = 0.0
    """Over all processes that worked on the training so far."""

    @property
    def val_dice(self) -> float | None:
        """The latest validation Dice."""
        return next((row["val_dice"] for row in reversed(self.history) if "val_dice" in row), None)

    @property
    def loss(self) -> float | None:
        """The mean weighted loss since the last row of the history, or in it."""
        if self.summed_steps:
            return self.loss_sums["loss"] / self.summed_steps
        return self.history[-1].get("loss") if self.history else None

    def add_losses(self, losses: Mapping[str, float]) -> None:
        """Add the losses of one step to the next row of the history."""
        for name, value in losses.items():
            self.loss_sums[name] = self.loss_sums.get(name, 0.0) + value
        self.summed_steps += 1

    def add_row(self, steps_per_epoch: int, watched: Mapping[str, Tensor], val_dice: float | None) -> None:
        """End a row of the history: the mean losses since the last one, watched values, and the validation's Dice."""
        row: dict[str, float] = {
            "step": self.step,
            "epoch": self.step / steps_per_epoch,
            "seconds": round(self.seconds, 3),
        }
        if self.summed_steps:
            row |= {name: total / self.summed_steps for name, total in self.loss_sums.items()}
        row |= {name: float(value.detach()) for name, value in watched.items()}
        if val_dice is not None:
            row["val_dice"] = val_dice
        self.history.append(row)
        self.loss_sums, self.summed_steps = {}, 0
