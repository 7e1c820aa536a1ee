"""The training loop. It reads top to bottom and has no hooks.

Everything random in step s (patches, corruption, dropout) is drawn from a hash of the run's seed and s, and
the learning rate is a function of s. A checkpoint therefore needs the weights, the optimiser's moments and the
step, and a training that goes on from it does what it would have done anyway.
"""

from __future__ import annotations

import logging
import math
import pickle
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from benchmark.config import TrainingConfig
from benchmark.data.patches import PatchArrays, PatchSampler
from benchmark.files.writing import written_whole
from benchmark.protocols import Batch, Method
from benchmark.results.runs import RunFolder
from benchmark.training.environment import peak_memory_mb, step_seed
from benchmark.training.inference import autocast
from benchmark.vocabulary import BenchError

log = logging.getLogger(__name__)

CUDA_CHECK_EVERY = 25
"""Losses are looked at this often on a GPU: reading one makes the processor wait for the device."""


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
    validate: Callable[[], float],
    accumulation: int = 1,
    loader_threads: int = 2,
    checkpoint_seconds: float = 120.0,
    asked_to_stop: Callable[[], bool] = lambda: False,
    on_step: Callable[[Progress, int], None] = lambda progress, steps: None,
    further_validations: int = 0,
    pruned: Callable[[int, float], bool] = lambda step, val_dice: False,
) -> Progress:
    """Train `method` on `device` until its last step, from the folder's checkpoint if there is one.

    For a search: `further_validations` are validations, at equal distances, that choose no checkpoint; `pruned` is told
    the step and the Dice of every validation, and answers whether the training is to end there.

    Leaves `last.safetensors` (and `best.safetensors` where the configuration asks for it), `history.csv`
    and the checkpoint. Raises DivergedError with the step and its cases when a loss is not finite,
    InterruptedRunError after a checkpoint when `asked_to_stop`, PrunedRunError when `pruned`.
    """
    steps = total_steps(config, sampler)
    memory_format = torch.channels_last_3d if config.channels_last else torch.contiguous_format
    method.to(device)
    method.to(memory_format=memory_format)  # type: ignore[call-overload]
    optimiser = _optimiser(config, method)
    scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "float16")
    progress = Progress()
    if folder.checkpoint_file.exists():
        progress = _resume(folder.checkpoint_file, method, optimiser, scaler, device)
        log.info("continuing at step %d of %d", progress.step, steps)
    losses_of = torch.compile(method.losses) if config.compile else method.losses
    generator = torch.Generator(device)
    row_steps = _row_steps(steps, sampler.steps_per_epoch)
    choosing_steps = _validation_steps(steps, config.validations)
    validation_steps = choosing_steps | _validation_steps(steps, further_validations)
    unchecked: deque[tuple[int, tuple[str, ...], Tensor]] = deque()
    names = (*method.loss_names, "loss")

    def check_losses() -> None:
        """Fetch the losses of the last steps: stop at one that is not finite, add up the others."""
        if not unchecked:
            return
        values = torch.stack([values for _, _, values in unchecked]).tolist()
        for (step, case_ids, _), row in zip(unchecked, values, strict=True):
            if not all(math.isfinite(value) for value in row):
                named = ", ".join(f"{name} = {value:g}" for name, value in zip(names, row, strict=True))
                raise DivergedError(f"Diverged at step {step}: {named}; cases {', '.join(case_ids)}.")
            for name, value in zip(names, row, strict=True):
                progress.loss_sums[name] = progress.loss_sums.get(name, 0.0) + value
            progress.summed_steps += 1
        unchecked.clear()

    started, saved_at = time.monotonic() - progress.seconds, time.monotonic()
    method.train()
    pin = device.type == "cuda"
    for patches in sampler.prefetched(
        progress.step, steps, threads=loader_threads, finish=lambda patches: _HostBatch.of(patches, pin=pin)
    ):
        seed = step_seed(sampler.seed, patches.step)
        torch.manual_seed(seed)
        generator.manual_seed(seed)
        batch = _to_device(patches, method, device, memory_format, generator)
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * _lr_factor(config.schedule, patches.step, steps)

        optimiser.zero_grad(set_to_none=True)
        sums = torch.zeros(len(names), device=device)
        size = -(-len(batch) // accumulation)
        for start in range(0, len(batch), size):
            part = batch if accumulation == 1 else batch.part(start, start + size)
            with autocast(device, config.precision):
                losses = losses_of(part)
            total = torch.stack(
                [loss_weights[name] * losses[name].float() for name in method.loss_names]
            ).sum()
            share = len(part) / len(batch)
            scaler.scale(share * total).backward()
            sums += share * torch.stack(
                [*(losses[name].detach().float() for name in method.loss_names), total.detach()]
            )
        scaler.step(optimiser)
        scaler.update()

        unchecked.append((patches.step, patches.case_ids, sums))
        progress.step = patches.step + 1
        row_due, validation_due = progress.step % row_steps == 0, progress.step in validation_steps
        last = progress.step == steps
        save_due = time.monotonic() - saved_at >= checkpoint_seconds
        stop = asked_to_stop()
        if (
            device.type == "cpu"
            or len(unchecked) >= CUDA_CHECK_EVERY
            or row_due
            or validation_due
            or last
            or save_due
            or stop
        ):
            check_losses()
        progress.seconds = time.monotonic() - started
        val_dice = None
        if row_due or validation_due or last:
            if validation_due:
                began = time.monotonic()
                val_dice = validate()
                # What is compared between methods is the time of the steps.
                started += time.monotonic() - began
            _add_row(progress, sampler.steps_per_epoch, method.watched(), val_dice)
            method.train()
            folder.write_history(progress.history)
            if progress.step in choosing_steps and config.checkpoint == "best":
                save_due |= _keep_best(progress, method, folder.best_weights_file)
        on_step(progress, steps)
        enough = val_dice is not None and pruned(progress.step, val_dice) and not last
        if save_due or stop or last or enough:
            progress.peak_memory_mb = max(progress.peak_memory_mb, peak_memory_mb(device))
            _save_checkpoint(folder.checkpoint_file, progress, method, optimiser, scaler)
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


def save_weights(method: Method, path: Path) -> None:
    """Parameters and buffers as safetensors; a tensor that two branches share is stored once."""
    with written_whole(path) as temporary:
        safetensors.torch.save_file(_tensors(method), temporary)


def load_weights(method: Method, path: Path) -> None:
    """Load what `save_weights` wrote into a method of the same configuration."""
    _copy_tensors(safetensors.torch.load_file(path), method, source=path)


def _tensors(method: Method) -> dict[str, Tensor]:
    named = {**dict(method.named_parameters()), **dict(method.named_buffers())}
    return {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}


def _copy_tensors(tensors: dict[str, Tensor], method: Method, *, source: Path) -> None:
    named = {**dict(method.named_parameters()), **dict(method.named_buffers())}
    if set(named) != set(tensors):
        odd = sorted(set(named) ^ set(tensors))
        raise BenchError(
            f"{source} belongs to another network: it differs in {', '.join(odd[:5])}. Remove the run."
        )
    with torch.no_grad():
        for name, tensor in named.items():
            tensor.copy_(tensors[name])


def _save_checkpoint(
    path: Path,
    progress: Progress,
    method: Method,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> None:
    content = {
        "progress": vars(progress),
        "weights": _tensors(method),
        "optimiser": optimiser.state_dict(),
        "scaler": scaler.state_dict(),
    }
    # Through a file of our own: torch hides a full disk behind an error of its archive format.
    with written_whole(path) as temporary, temporary.open("wb") as file:
        torch.save(content, file)


def _resume(
    path: Path,
    method: Method,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    device: torch.device,
) -> Progress:
    try:
        content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        log.warning("the checkpoint is damaged (%s); starting from the first step", error)
        path.replace(path.with_suffix(".damaged"))
        return Progress()
    _copy_tensors(content["weights"], method, source=path)
    optimiser.load_state_dict(content["optimiser"])
    scaler.load_state_dict(content["scaler"])
    return Progress(**content["progress"])


@dataclass(frozen=True)
class _HostBatch:
    """A batch as tensors in the host's memory, pinned by the loader's threads where it travels to a GPU."""

    image: Tensor
    label: Tensor
    has_lesion: Tensor
    case_ids: tuple[str, ...]
    step: int

    @classmethod
    def of(cls, patches: PatchArrays, *, pin: bool) -> _HostBatch:
        tensors = [torch.from_numpy(array) for array in (patches.image, patches.label, patches.has_lesion)]
        image, label, has_lesion = (tensor.pin_memory() if pin else tensor for tensor in tensors)
        return cls(image, label, has_lesion, patches.case_ids, patches.step)


def _to_device(
    patches: _HostBatch,
    method: Method,
    device: torch.device,
    memory_format: torch.memory_format,
    generator: torch.Generator,
) -> Batch:
    # Half-precision values travel and are cast on the device: half the bytes over the bus.
    image = patches.image.to(device, non_blocking=True).float()
    return Batch(
        image=image.contiguous(memory_format=memory_format),
        label=patches.label.to(device, non_blocking=True),
        has_lesion=patches.has_lesion.to(device, non_blocking=True),
        modalities=method.dataset.modalities,
        case_ids=patches.case_ids,
        step=patches.step,
        generator=generator,
    )


def _lr_factor(schedule: str, step: int, steps: int) -> float:
    if schedule == "step":
        return 0.1 if step >= 0.625 * steps else 1.0
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * step / steps))
    if schedule == "polynomial":
        return (1 - step / steps) ** 0.9
    return 1.0


def _optimiser(config: TrainingConfig, method: Method) -> torch.optim.Optimizer:
    if config.optimiser == "sgd":
        return torch.optim.SGD(
            method.parameters(),
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            nesterov=config.nesterov,
            fused=True,
        )
    return torch.optim.Adam(
        method.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )


def _row_steps(steps: int, steps_per_epoch: int) -> int:
    """A row of the history each epoch, but about 500 rows at most and 20 at least where there are so many steps."""
    return min(max(steps_per_epoch, -(-steps // 500)), max(1, steps // 20))


def _validation_steps(steps: int, validations: int) -> set[int]:
    return {round(steps * (i + 1) / validations) for i in range(validations)} - {0}


def _add_row(
    progress: Progress,
    steps_per_epoch: int,
    watched: Mapping[str, Tensor],
    val_dice: float | None,
) -> None:
    row: dict[str, float] = {
        "step": progress.step,
        "epoch": progress.step / steps_per_epoch,
        "seconds": round(progress.seconds, 3),
    }
    if progress.summed_steps:
        row |= {name: total / progress.summed_steps for name, total in progress.loss_sums.items()}
    row |= {name: float(value.detach()) for name, value in watched.items()}
    if val_dice is not None:
        row["val_dice"] = val_dice
    progress.history.append(row)
    progress.loss_sums, progress.summed_steps = {}, 0


def _keep_best(progress: Progress, method: Method, path: Path) -> bool:
    """Keep the weights if they are the best so far; the checkpoint must then follow them."""
    dice = progress.val_dice
    if dice is None or not dice > progress.best_dice:
        return False
    progress.best_dice, progress.best_step = dice, progress.step
    save_weights(method, path)
    return True
