"""What is asked of nnU-Net's planner, and how a budget of optimiser steps becomes its epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmark.vocabulary import BenchError, Size3

CONFIGURATIONS = ("3d_fullres", "3d_lowres")
SHRUNK_MULTIPLE, SHRUNK_SMALLEST = 16, 32


@dataclass(frozen=True)
class Plan:
    """What is asked of nnU-Net's planner; None leaves the choice to it. Sizes are in nnU-Net's order of axes.

    `planner` is the name of a planner class of nnU-Net. `spacing`: "planned" is the planner's choice (the median),
    "finest" the smallest voxel edge of all cases, axis by axis. `shrink_patch`: where the images are smaller than
    `patch_size`, all its sides shrink by one factor, to multiples of 16. `features`: channels of each stage, which
    also sets the number of stages.
    """

    planner: str = "ExperimentPlanner"
    configuration: str = "3d_fullres"
    spacing: Literal["planned", "finest"] = "planned"
    patch_size: tuple[int, ...] | None = None
    shrink_patch: bool = False
    batch_size: int | None = None
    features: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.configuration not in CONFIGURATIONS:
            raise BenchError(
                f"configuration is {self.configuration!r}; choose one of {', '.join(CONFIGURATIONS)}."
            )
        if self.patch_size is not None and (len(self.patch_size) != 3 or min(self.patch_size) < 1):
            raise BenchError(
                f"patch_size is {list(self.patch_size)}; it needs three positive sides, or None."
            )
        if self.batch_size is not None and self.batch_size < 1:
            raise BenchError(f"batch_size is {self.batch_size}; it must be positive, or None.")
        # Deep supervision gives the coarsest output no weight: with two stages nothing would be left.
        if self.features is not None and (len(self.features) < 3 or min(self.features) < 1):
            raise BenchError(
                f"features is {list(self.features)}; it needs a positive width for each of at least 3 stages."
            )


def shrunk_patch(patch_size: Sequence[int], image_size: Sequence[float]) -> Size3:
    """The patch, all sides shrunk by one factor so that it fits into the image, to multiples of 16, at least 32."""
    factor = min(1.0, *(image / side for image, side in zip(image_size, patch_size, strict=True)))
    x, y, z = (
        max(SHRUNK_SMALLEST, int(factor * side / SHRUNK_MULTIPLE + 1e-6) * SHRUNK_MULTIPLE)
        if factor < 1
        else side
        for side in patch_size
    )
    return x, y, z


@dataclass(frozen=True)
class Schedule:
    """Exactly `steps` optimiser steps as nnU-Net's epochs: all of one length, the last with what remains."""

    steps: int
    iterations_per_epoch: int

    @classmethod
    def of(cls, steps: int, iterations_per_epoch: int | None = None) -> Schedule:
        """By default nnU-Net's 250 iterations an epoch, but at least some 20 epochs, whose learning rates differ."""
        return cls(steps, min(steps, iterations_per_epoch or min(250, max(1, steps // 20))))

    @property
    def epochs(self) -> int:
        return -(-self.steps // self.iterations_per_epoch)

    def iterations(self, epoch: int) -> int:
        """Training iterations of an epoch, counted from 0."""
        return min(self.iterations_per_epoch, self.steps - epoch * self.iterations_per_epoch)

    @property
    def validation_iterations(self) -> int:
        """After every epoch: nnU-Net's proportion, 50 to 250."""
        return max(1, round(self.iterations_per_epoch / 5))
