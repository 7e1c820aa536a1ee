"""nnU-Net's trainer, held to an exact budget of steps, resumed exactly, and silent where it costs time."""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import torch
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from benchmark.files.writing import written_whole
from benchmark.nnunet.lifeline import die_with_parent
from benchmark.nnunet.loading import load_checkpoint, weights_alone
from benchmark.nnunet.plan import Schedule
from benchmark.nnunet.task import BEST, FINAL, LATEST, DivergedLossError, StoppedError


class DamagedCheckpointError(Exception):
    """A checkpoint could not be read, and was set aside; a new trainer will not see it."""


@dataclass
class Progress:
    """Where a training is; stored in nnU-Net's checkpoints. `losses` are those of the epoch in progress."""

    step: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)
    peak_memory_mb: float = 0.0


@dataclass(frozen=True)
class Settings:
    """What the trainer does otherwise than nnU-Net's own. `tell`: phase, progress; `stop`: was it asked to."""

    schedule: Schedule
    initial_lr: float
    seed: int
    checkpoint: Literal["last", "best"]
    checkpoint_seconds: float
    workers: int
    tell: Callable[[str, Progress], None]
    stop: Callable[[], bool]
    peak_memory_mb: Callable[[], float]


class SeededBatches:
    """nnU-Net's loader, whose k-th batch depends on the seed and on k: not on who makes it, nor on what was before."""

    def __init__(self, loader: Any, *, seed: int, stream: int, first: int, workers: int) -> None:
        self.loader = loader
        self.seed, self.stream = seed, stream
        self.number, self.stride = first, max(1, workers)

    def set_thread_id(self, worker: int) -> None:
        """Called in each worker process: it makes every `workers`-th batch."""
        die_with_parent()
        torch.set_num_threads(1)
        self.number += worker

    def __iter__(self) -> SeededBatches:
        return self

    def __next__(self) -> dict[str, Any]:
        words = np.random.SeedSequence([self.seed, self.stream, self.number]).generate_state(3)
        random.seed(int(words[0]))
        np.random.seed(int(words[1]))
        torch.manual_seed(int(words[2]))
        self.number += self.stride
        batch: dict[str, Any] = next(self.loader)
        return batch


class BudgetTrainer(nnUNetTrainer):
    """nnU-Net's default trainer for a given number of optimiser steps.

    * Epochs and their iterations come from a `Schedule`, and with the number of epochs the learning rate's decay.
    * Every batch is seeded by its number. With checkpoints between any two iterations, a training that was stopped
      continues as if nothing had happened; on a CPU with the same number of threads, bit for bit.
    * No final validation, no picture of the progress after each epoch, `checkpoint_best.pth` only where it is used.
    * The final and the best checkpoint are for prediction: they hold no momentum, which is as large as the weights.
    """

    settings: Settings
    progress: Progress
    optimizer: Any

    def configure(self, settings: Settings) -> None:
        """To be called right after construction, whose signature is nnU-Net's and stands in its checkpoints."""
        self.settings, self.progress = settings, Progress()
        self.initial_lr = settings.initial_lr
        self.num_epochs = settings.schedule.epochs
        self.num_iterations_per_epoch = settings.schedule.iterations_per_epoch
        self.num_val_iterations_per_epoch = settings.schedule.validation_iterations
        self.save_every = self.num_epochs + 1
        self.logger.plot_progress_png = lambda output_folder: None

    def begin(self) -> None:
        """Initialise, from the last checkpoint if there is one; DamagedCheckpointError if it cannot be read,
        CodeInFileError if it holds more than weights."""
        random.seed(self.settings.seed)
        np.random.seed(self.settings.seed % 2**32)
        torch.manual_seed(self.settings.seed)
        self.initialize()
        for name, resume in ((FINAL, self._return_to_the_end), (LATEST, self._resume)):
            path = Path(self.output_folder) / name
            if path.exists():
                with _set_aside_if_damaged(path):
                    resume(path)
                return

    def _return_to_the_end(self, path: Path) -> None:
        checkpoint = load_checkpoint(path, device=torch.device("cpu"))
        self.progress = Progress(**checkpoint["init_args"]["progress"])

    def _resume(self, path: Path) -> None:
        with weights_alone():
            self.load_checkpoint(str(path))
        # Stands among the arguments: the one part of a checkpoint that nnU-Net stores and returns unread.
        self.progress = Progress(**self.my_init_kwargs.pop("progress"))
        self.print_to_log_file(f"Continuing at step {self.progress.step} of {self.settings.schedule.steps}.")

    @property
    def finished(self) -> bool:
        return (Path(self.output_folder) / FINAL).exists()

    def get_dataloaders(self) -> tuple[Any, Any]:
        with _environment("nnUNet_n_proc_DA", "0"):
            train, validation = (augmenter.data_loader for augmenter in super().get_dataloaders())
        settings, workers = self.settings, self.settings.workers
        done = self.current_epoch * self.num_val_iterations_per_epoch
        few = max(1, workers // 2) if workers else 0
        return (
            self._augmenter(train, stream=0, first=self.progress.step, workers=workers, seed=settings.seed),
            self._augmenter(validation, stream=1, first=done, workers=few, seed=settings.seed),
        )

    def _augmenter(self, loader: Any, *, stream: int, first: int, workers: int, seed: int) -> Any:
        batches = SeededBatches(loader, seed=seed, stream=stream, first=first, workers=workers)
        if not workers:
            return SingleThreadedAugmenter(batches, None)
        return MultiThreadedAugmenter(
            batches,
            None,
            num_processes=workers,
            num_cached_per_queue=1,
            pin_memory=self.device.type == "cuda",
            wait_time=0.002,
        )

    def run_training(self) -> None:
        if self.finished:
            return
        self.on_train_start()
        saved = time.monotonic()
        while self.current_epoch < self.num_epochs:
            self.on_epoch_start()
            self.on_train_epoch_start()
            while len(self.progress.losses) < self.settings.schedule.iterations(self.current_epoch):
                self._iterate()
                self._stop_if_asked()
                if time.monotonic() - saved >= self.settings.checkpoint_seconds:
                    self._save_latest()
                    saved = time.monotonic()
            self._end_epoch()
        self.on_train_end()

    def _iterate(self) -> None:
        started = time.monotonic()
        loss = float(self.train_step(next(self.dataloader_train))["loss"])
        self.progress.seconds += time.monotonic() - started
        self.progress.step += 1
        self.progress.losses.append(loss)
        self.settings.tell("train", self.progress)

    def _end_epoch(self) -> None:
        progress, epoch = self.progress, self.current_epoch
        if not any(math.isfinite(loss) for loss in progress.losses):
            raise DivergedLossError(f"no loss of epoch {epoch}, up to step {progress.step}, is finite")
        self.on_train_epoch_end([{"loss": np.float32(loss)} for loss in progress.losses])
        self.settings.tell("validate", progress)
        with torch.no_grad():
            self.on_validation_epoch_start()
            outputs: list[dict[str, Any]] = []
            while len(outputs) < self.num_val_iterations_per_epoch:
                outputs.append(self.validation_step(next(self.dataloader_val)))
                # Validation changes nothing that a checkpoint holds: it begins again when the training goes on.
                self._stop_if_asked()
            self.on_validation_epoch_end(outputs)
        row = {
            "step": float(progress.step),
            "epoch": float(epoch + 1),
            "seconds": round(progress.seconds, 3),
            "loss": float(np.mean(progress.losses)),
        }
        dice = float(self.logger.get_checkpoint()["mean_fg_dice"][-1])
        progress.history.append(row | ({"val_dice": dice} if math.isfinite(dice) else {}))
        progress.losses = []
        self.on_epoch_end()
        self.settings.tell("train", progress)

    def on_validation_epoch_end(self, val_outputs: list[dict[str, Any]]) -> None:
        super().on_validation_epoch_end(val_outputs)
        # Patches without any foreground have no Dice; its moving average would stay undefined for ever.
        average = self.logger.get_checkpoint()["ema_fg_dice"]
        if math.isnan(average[-1]):
            average[-1] = average[-2] if len(average) > 1 else 0.0

    def _stop_if_asked(self) -> None:
        if self.settings.stop():
            self._save_latest()
            raise StoppedError

    def _save_latest(self) -> None:
        # `save_checkpoint` takes the current epoch for finished.
        self.current_epoch -= 1
        try:
            self.save_checkpoint(str(Path(self.output_folder) / LATEST))
        finally:
            self.current_epoch += 1

    def save_checkpoint(self, filename: str) -> None:
        """nnU-Net's checkpoint with our progress in it, whole or not at all."""
        if Path(filename).name == BEST and self.settings.checkpoint == "last":
            return
        self.progress.peak_memory_mb = max(self.progress.peak_memory_mb, self.settings.peak_memory_mb())
        self.my_init_kwargs["progress"] = asdict(self.progress)
        stateless = self._stateless() if Path(filename).name in (FINAL, BEST) else contextlib.nullcontext()
        with written_whole(Path(filename)) as temporary, stateless:
            super().save_checkpoint(str(temporary))

    @contextlib.contextmanager
    def _stateless(self) -> Iterator[None]:
        """What nnU-Net saves meanwhile holds no state of the optimiser."""
        optimiser, self.optimizer = self.optimizer, SimpleNamespace(state_dict=dict)
        try:
            yield
        finally:
            self.optimizer = optimiser


@contextlib.contextmanager
def _set_aside_if_damaged(checkpoint: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, RuntimeError, KeyError, pickle.UnpicklingError) as error:
        checkpoint.replace(checkpoint.with_suffix(".damaged"))
        raise DamagedCheckpointError(f"{checkpoint} is damaged ({error}); it is set aside.") from error


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
