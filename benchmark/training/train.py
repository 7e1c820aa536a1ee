"""The training loop. It reads top to bottom; `Hooks` are where it asks and tells its caller.

Everything random in step s (patches, corruption, dropout) is drawn from a hash of the run's seed and s, and
the learning rate is a function of s. A checkpoint therefore needs the weights, the optimiser's moments and the
step, and a training that goes on from it does what it would have done anyway.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmark.config import TrainingConfig
from benchmark.data.patches import PatchSampler
from benchmark.protocols import Method
from benchmark.results.runs import RunFolder
from benchmark.training.checkpoint import resume, save_checkpoint, save_weights
from benchmark.training.environment import peak_memory_mb
from benchmark.training.norm_statistics import recompute_norm_statistics
from benchmark.training.progress import DivergedError, InterruptedRunError, Progress, PrunedRunError
from benchmark.training.step import HostBatch, LossCheck, OptimiserStep

log = logging.getLogger(__name__)

HISTORY_SECONDS = 1.0
"""Rows of the history that come sooner than this after the last ones are written together."""
CUDA_CHECK_EVERY = 25
"""Losses are looked at this often on a GPU: reading one makes the processor wait for the device."""


@dataclass(frozen=True)
class Hooks:
    """Where a training asks and tells its caller, between two steps.

    `validate` gives the mean Dice of the validation part. After every step, `asked_to_stop` says whether to end with
    a checkpoint, and `on_step` is told how far the training is, of how many steps. After every validation `pruned` is
    told its step and Dice, and says whether a search wants the training to end there.
    """

    validate: Callable[[], float]
    asked_to_stop: Callable[[], bool] = lambda: False
    on_step: Callable[[Progress, int], None] = lambda progress, steps: None
    pruned: Callable[[int, float], bool] = lambda step, val_dice: False


def total_steps(config: TrainingConfig, sampler: PatchSampler) -> int:
    """Optimiser steps of the whole training."""
    return config.steps if config.steps is not None else config.epochs * sampler.steps_per_epoch


def train(
    method: Method,
    sampler: PatchSampler,
    *,
    config: TrainingConfig,
    loss_weights: dict[str, float],
    device: torch.device,
    folder: RunFolder,
    hooks: Hooks,
    accumulation: int = 1,
    loader_threads: int = 2,
    checkpoint_seconds: float = 120.0,
    further_validations: int = 0,
) -> Progress:
    """Train `method` on `device` until its last step, from the folder's checkpoint if there is one.

    Leaves `last.safetensors` (and `best.safetensors` where the configuration asks for it), `history.csv` and the
    checkpoint.

    Args:
        method: On any device; it is moved.
        sampler: Gives the batch of each step.
        config: Steps, batch size, optimiser, schedule, precision, validations.
        loss_weights: By the names of the method's losses.
        device: Where it trains.
        folder: Where history, weights and checkpoints go.
        hooks: The caller's functions.
        accumulation: Parts of a batch whose gradients are added up, where memory is short.
        loader_threads: Threads that prepare batches ahead.
        checkpoint_seconds: Seconds between two checkpoints: what a kill costs at most.
        further_validations: Of a search: validations, at equal distances, that choose no checkpoint.

    Raises:
        DivergedError: With the step and its cases, when a loss is not finite.
        InterruptedRunError: After a checkpoint, when `asked_to_stop`.
        PrunedRunError: After a checkpoint, when `pruned`.
    """
    steps, seed = total_steps(config, sampler), sampler.seed
    step = OptimiserStep(
        method,
        config,
        loss_weights=loss_weights,
        device=device,
        seed=seed,
        steps=steps,
        accumulation=accumulation,
    )
    progress = Progress()
    if folder.checkpoint_file.exists():
        progress = resume(folder.checkpoint_file, method, step.optimiser, step.scaler, device)
        log.info("continuing at step %d of %d", progress.step, steps)
    due = _Due(config, steps, sampler.steps_per_epoch, further_validations)
    losses = LossCheck((*method.loss_names, "loss"), progress)

    started, saved_at = time.monotonic() - progress.seconds, time.monotonic()
    written_at = saved_at
    method.train()
    pin = device.type == "cuda"
    for patches in sampler.prefetched(
        progress.step, steps, threads=loader_threads, finish=lambda patches: HostBatch.of(patches, pin=pin)
    ):
        losses.add(patches, step(patches))
        progress.step = patches.step + 1
        last = progress.step == steps
        save = last or time.monotonic() - saved_at >= checkpoint_seconds
        stop = hooks.asked_to_stop()
        if device.type == "cpu" or len(losses) >= CUDA_CHECK_EVERY or due.row(progress.step) or save or stop:
            losses.fetch()
        progress.seconds = time.monotonic() - started
        if last and config.norm_batches:
            following = range(steps, steps + config.norm_batches)
            recompute_norm_statistics(
                method, step.look_at, (HostBatch.of(sampler.batch(s), pin=pin) for s in following)
            )
        val_dice = None
        if due.row(progress.step):
            if due.validation(progress.step):
                began = time.monotonic()
                val_dice = hooks.validate()
                # What is compared between methods is the time of the steps.
                started += time.monotonic() - began
            progress.add_row(sampler.steps_per_epoch, method.watched(), val_dice)
            method.train()
            if save or stop or val_dice is not None or time.monotonic() - written_at >= HISTORY_SECONDS:
                folder.write_history(progress.history)
                written_at = time.monotonic()
            if due.choice(progress.step) and config.checkpoint == "best":
                save |= _keep_best(progress, method, folder.best_weights_file)
        hooks.on_step(progress, steps)
        enough = val_dice is not None and hooks.pruned(progress.step, val_dice) and not last
        if save or stop or enough:
            progress.peak_memory_mb = max(progress.peak_memory_mb, peak_memory_mb(device))
            save_checkpoint(folder.checkpoint_file, progress, method, step.optimiser, step.scaler)
            saved_at = time.monotonic()
        if enough:
            raise PrunedRunError(
                f"Pruned at step {progress.step} of {steps}; a grid that has the run continues it."
            )
        if stop and not last:
            raise InterruptedRunError(
                f"Stopped at step {progress.step} of {steps}; the same command continues it."
            )
    broken = [name for name, parameter in method.named_parameters() if not parameter.isfinite().all()]
    if broken:
        raise DivergedError(f"Diverged at the last step: {', '.join(broken[:3])} are not finite after it.")
    save_weights(method, folder.weights_file)
    return progress


class _Due:
    """What is to be done after which step."""

    def __init__(
        self, config: TrainingConfig, steps: int, steps_per_epoch: int, further_validations: int
    ) -> None:
        self._row_steps = _row_steps(steps, steps_per_epoch)
        self._choosing = (
            set(range(config.validate_every, steps + 1, config.validate_every)) or {steps}
            if config.validate_every
            else _validation_steps(steps, config.validations)
        )
        self._validations = self._choosing | _validation_steps(steps, further_validations)
        self._last = steps

    def row(self, step: int) -> bool:
        """Whether a row of the history ends here."""
        return step % self._row_steps == 0 or step == self._last or self.validation(step)

    def validation(self, step: int) -> bool:
        return step in self._validations

    def choice(self, step: int) -> bool:
        """Whether the validation here may choose the checkpoint."""
        return step in self._choosing


def _row_steps(steps: int, steps_per_epoch: int) -> int:
    """A row of the history each epoch, but about 500 rows at most and 20 at least where there are so many steps."""
    return min(max(steps_per_epoch, -(-steps // 500)), max(1, steps // 20))


def _validation_steps(steps: int, validations: int) -> set[int]:
    return {round(steps * (i + 1) / validations) for i in range(validations)} - {0}


def _keep_best(progress: Progress, method: Method, path: Path) -> bool:
    """Keep the weights if they are the best so far; the checkpoint must then follow them."""
    dice = progress.val_dice
    if dice is None or not dice > progress.best_dice:
        return False
    progress.best_dice, progress.best_step = dice, progress.step
    save_weights(method, path)
    return True
