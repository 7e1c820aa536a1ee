"""The process in which nnU-Net runs: `python -m benchmark.nnunet.process TASK.json`, started by `launch.py`.

Standard output carries lines of JSON for the parent; whatever nnU-Net and its workers print goes to standard error,
which the parent has opened as a log file. Standard input is the line to the parent: see `lifeline.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from benchmark.files.writing import write_json
from benchmark.nnunet.lifeline import watch_parent
from benchmark.nnunet.task import (
    FAILED,
    STOPPED,
    DivergedLossError,
    FailureKind,
    Prediction,
    StoppedError,
    Training,
    read_task,
)
from benchmark.processes import signals
from benchmark.vocabulary import BenchError, DataError

if TYPE_CHECKING:
    import torch

    from benchmark.nnunet.trainer import BudgetTrainer, Progress

TELL_SECONDS = 0.5


class Channel:
    """Messages to the parent, one JSON object a line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._told = ("", 0.0)

    @classmethod
    def take_stdout(cls) -> Channel:
        """Standard output becomes the channel; what is printed from now on joins standard error."""
        stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        return cls(stream)

    def send(self, **message: Any) -> None:
        self._stream.write(json.dumps(message) + "\n")
        self._stream.flush()

    def tell(self, phase: str, done: int, total: int, **numbers: float | None) -> None:
        """Progress: every change of phase, the end of each, and else two a second."""
        before, at = self._told
        if phase == before and done < total and time.monotonic() - at < TELL_SECONDS:
            return
        self._told = phase, time.monotonic()
        self.send(phase=phase, done=done, total=total, **numbers)


def main() -> int:
    channel = Channel.take_stdout()
    stop = threading.Event()
    # A scheduler tells every process of a job, not its launcher alone. Augmenting processes inherit this, and last.
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signals.let_in()
    watch_parent(stop)
    try:
        task = read_task(Path(sys.argv[1]))
        if isinstance(task, Prediction):
            _predict(task, channel)
            return 0
        return 0 if _train(task, channel, stop) else STOPPED
    except Exception as error:
        traceback.print_exc()
        channel.send(failed=_kind(error), text=_text(error))
        return FAILED


def _train(task: Training, channel: Channel, stop: threading.Event) -> bool:
    """Prepare, train, write `training.json`; whether it came to its end."""
    from benchmark.nnunet.network import network_size
    from benchmark.nnunet.preparing import plans_of, prepare

    device = _set_up(task.device, task.threads)
    prepare(task, lambda done, total: channel.tell("prepare", done, total))
    _forget_peak_memory()
    plans = plans_of(task)
    description = task.dataset.description
    trainer = _begun(task, plans, description, device, channel, stop)
    try:
        trainer.run_training()
    except StoppedError:
        return False
    configuration = trainer.configuration_manager
    parameters, flops = network_size(plans, task.plan.configuration, description)
    progress = trainer.progress
    result = {
        "model": trainer.output_folder_base,
        "parameters": parameters,
        "flops": flops,
        "patch_size": list(configuration.patch_size),
        "seconds": progress.seconds,
        "peak_memory_mb": max(progress.peak_memory_mb, peak_memory_mb(device)),
        "history": progress.history,
        "facts": _facts(task, plans),
    }
    write_json(Path(task.work) / "training.json", result)
    return True


def _begun(
    task: Training,
    plans: dict[str, Any],
    description: dict[str, Any],
    device: torch.device,
    channel: Channel,
    stop: threading.Event,
) -> BudgetTrainer:
    from benchmark.nnunet.trainer import BudgetTrainer, DamagedCheckpointError, Settings

    settings = Settings(
        schedule=task.schedule,
        initial_lr=task.initial_lr,
        seed=task.seed,
        checkpoint=task.checkpoint,
        checkpoint_seconds=task.checkpoint_seconds,
        workers=task.workers,
        tell=_telling(channel, task.schedule.steps),
        stop=stop.is_set,
        peak_memory_mb=lambda: peak_memory_mb(device),
    )
    while True:
        # nnU-Net takes the key out of the plans again.
        arguments = {"plans": {**plans, "continue_training": False}, "dataset_json": description}
        trainer = BudgetTrainer(configuration=task.plan.configuration, fold=0, device=device, **arguments)
        trainer.configure(settings)
        try:
            trainer.begin()
        except DamagedCheckpointError as error:
            print(error)
            continue
        return trainer


def _telling(channel: Channel, steps: int) -> Callable[[str, Progress], None]:
    def tell(phase: str, progress: Progress) -> None:
        rows, losses = progress.history, progress.losses
        loss = sum(losses) / len(losses) if losses else rows[-1]["loss"]
        dice = next((row["val_dice"] for row in reversed(rows) if "val_dice" in row), None)
        channel.tell(phase, progress.step, steps, loss=loss, val_dice=dice)

    return tell


def _predict(task: Prediction, channel: Channel) -> None:
    from benchmark.nnunet.predicting import predict

    device = _set_up(task.device, task.threads)
    predict(task, device, lambda done, total: channel.tell("evaluate", done, total))


def _set_up(name: str, threads: int) -> torch.device:
    """The parent shows this process one CUDA device at most, as nnU-Net wants it."""
    import torch

    torch.set_num_threads(threads)
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise BenchError(f"nnU-Net's process sees no CUDA device for {name}.")
    torch.backends.cudnn.deterministic = False
    torch.backends.cudnn.benchmark = True
    return torch.device("cuda", 0)


def _facts(task: Training, plans: dict[str, Any]) -> dict[str, Any]:
    """What nnU-Net was asked and what it planned, for the run's record."""
    configuration = plans["configurations"][task.plan.configuration]
    architecture = configuration["architecture"]
    planned = ("patch_size", "batch_size", "spacing", "median_image_size_in_voxels", "normalization_schemes")
    asked = task.plan.patch_size
    shrunk = task.plan.shrink_patch and asked is not None and list(asked) != configuration["patch_size"]
    network = ("features_per_stage", "strides", "kernel_sizes")
    shared = Path(task.shared)
    return {
        "nnunet": {
            "nnunetv2": version("nnunetv2"),
            "asked": asdict(task.plan),
            "channels": list(task.dataset.channels),
            "transpose_forward": plans["transpose_forward"],
            **{name: configuration[name] for name in planned},
            **({"patch_size_shrunk_from": list(asked)} if shrunk and asked else {}),
            "network": architecture["network_class_name"].rpartition(".")[2],
            **{name: architecture["arch_kwargs"][name] for name in network},
            "initial_lr": task.initial_lr,
            "epochs": task.schedule.epochs,
            "iterations_per_epoch": task.schedule.iterations_per_epoch,
            "workers": task.workers,
            "data_folder": str(shared),
            "data_bytes": sum(
                path.stat().st_size for path in shared.rglob("*") if path.is_file() and not path.is_symlink()
            ),
        }
    }


def peak_memory_mb(device: torch.device) -> float:
    """In MiB: allocated on the GPU, or resident on the CPU."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device) / 2**20
    # `ru_maxrss` would begin with the parent's.
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _forget_peak_memory() -> None:
    """Preprocessing, which runs may share, is not to count (Linux; elsewhere it does)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _kind(error: Exception) -> FailureKind:
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error):
        return "memory"
    if isinstance(error, DivergedLossError):
        return "diverged"
    return "data" if isinstance(error, DataError | OSError) else "code"


def _text(error: Exception) -> str:
    text = str(error).strip()
    if isinstance(error, BenchError | DivergedLossError):
        return text
    # nnU-Net's exceptions are sometimes empty: what it printed before says more.
    last = text.splitlines()[-1] if text else "see what it printed before"
    return f"{type(error).__name__}: {last}"


if __name__ == "__main__":
    sys.exit(main())
