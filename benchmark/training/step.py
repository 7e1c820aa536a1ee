"""One optimiser step: a batch on its device, the losses of its parts, their gradients, and whether they are finite."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmark.config import TrainingConfig
from benchmark.data.patches import PatchArrays
from benchmark.nn.augmentation import flip_scale_shift
from benchmark.nn.quick_layers import with_quick_layers
from benchmark.protocols import Batch, Method
from benchmark.training.environment import step_seed
from benchmark.training.inference import autocast
from benchmark.training.progress import DivergedError, Progress


@dataclass(frozen=True)
class HostBatch:
    """A batch as tensors in the host's memory, pinned by the loader's threads where it travels to a GPU."""

    image: Tensor
    label: Tensor
    has_lesion: Tensor
    case_ids: tuple[str, ...]
    step: int

    @classmethod
    def of(cls, patches: PatchArrays, *, pin: bool) -> HostBatch:
        tensors = [torch.from_numpy(array) for array in (patches.image, patches.label, patches.has_lesion)]
        image, label, has_lesion = (tensor.pin_memory() if pin else tensor for tensor in tensors)
        return cls(image, label, has_lesion, patches.case_ids, patches.step)


class OptimiserStep:
    """A method's optimiser, with everything that one step needs; called with a batch, it does a step.

    Everything random in step s is drawn from a hash of `seed` and s, and the learning rate is a function of s.
    """

    def __init__(
        self,
        method: Method,
        config: TrainingConfig,
        *,
        loss_weights: dict[str, float],
        device: torch.device,
        seed: int,
        steps: int,
        accumulation: int,
    ) -> None:
        """Moves the method to `device`. `accumulation`: parts of a batch whose gradients are added up."""
        self.method, self.config, self.device = method, config, device
        self._format = torch.channels_last_3d if config.channels_last else torch.contiguous_format
        method.to(device)
        if device.type == "cpu":
            with_quick_layers(method)
        method.to(memory_format=self._format)  # type: ignore[call-overload]
        self.optimiser = _optimiser(config, method)
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "float16")
        self._losses_of = torch.compile(method.losses) if config.compile else method.losses
        self._loss_weights, self._seed, self._steps = loss_weights, seed, steps
        self._accumulation = accumulation
        self._generator = torch.Generator(device)

    def __call__(self, patches: HostBatch) -> Tensor:
        """Do step `patches.step`; the losses [n_losses + 1] in the method's order, then their weighted sum."""
        batch = self._batch(patches)
        method, config = self.method, self.config
        for group in self.optimiser.param_groups:
            group["lr"] = config.learning_rate * _lr_factor(config.schedule, patches.step, self._steps)
        self.optimiser.zero_grad(set_to_none=True)
        sums = torch.zeros(len(method.loss_names) + 1, device=self.device)
        for part in self._parts(batch):
            with autocast(self.device, config.precision):
                losses = self._losses_of(part)
            total = torch.stack(
                [self._loss_weights[name] * losses[name].float() for name in method.loss_names]
            ).sum()
            share = len(part) / len(batch)
            self.scaler.scale(share * total).backward()
            sums += share * torch.stack(
                [*(losses[name].detach().float() for name in method.loss_names), total.detach()]
            )
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return sums

    @torch.no_grad()
    def look_at(self, patches: HostBatch) -> None:
        """The forward pass of step `patches.step`, and nothing else: what is left of it are running statistics."""
        for part in self._parts(self._batch(patches)):
            with autocast(self.device, self.config.precision):
                self.method.losses(part)

    def _batch(self, patches: HostBatch) -> Batch:
        """The batch on its device, with everything random seeded for its step."""
        seed = step_seed(self._seed, patches.step)
        torch.manual_seed(seed)
        self._generator.manual_seed(seed)
        batch = _to_device(patches, self.method, self.device, self._format, self._generator)
        return _augmented(batch, self._format) if self.config.augmentation == "flip_scale_shift" else batch

    def _parts(self, batch: Batch) -> Iterator[Batch]:
        """What one pass takes: the batch, or its parts where gradients are added up."""
        size = -(-len(batch) // self._accumulation)
        for start in range(0, len(batch), size):
            yield batch if self._accumulation == 1 else batch.part(start, start + size)


class LossCheck:
    """Losses that are still on the device: fetched together, since reading one makes the processor wait for a GPU."""

    def __init__(self, names: tuple[str, ...], progress: Progress) -> None:
        self._names, self._progress = names, progress
        self._unchecked: deque[tuple[int, tuple[str, ...], Tensor]] = deque()

    def __len__(self) -> int:
        return len(self._unchecked)

    def add(self, patches: HostBatch, losses: Tensor) -> None:
        self._unchecked.append((patches.step, patches.case_ids, losses))

    def fetch(self) -> None:
        """Add the losses to the progress; DivergedError with step and cases at the first that is not finite."""
        if not self._unchecked:
            return
        values = torch.stack([values for _, _, values in self._unchecked]).tolist()
        for (step, case_ids, _), row in zip(self._unchecked, values, strict=True):
            losses = dict(zip(self._names, row, strict=True))
            if not all(math.isfinite(value) for value in row):
                named = ", ".join(f"{name} = {value:g}" for name, value in losses.items())
                raise DivergedError(f"Diverged at step {step}: {named}; cases {', '.join(case_ids)}.")
            self._progress.add_losses(losses)
        self._unchecked.clear()


def _to_device(
    patches: HostBatch,
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


def _augmented(batch: Batch, memory_format: torch.memory_format) -> Batch:
    image, label = flip_scale_shift(batch.image, batch.label, generator=batch.generator)
    return replace(batch, image=image.contiguous(memory_format=memory_format), label=label)


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
