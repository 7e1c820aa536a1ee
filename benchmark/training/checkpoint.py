"""Weights and checkpoints on disk: as safetensors, and as what `torch.load(weights_only=True)` takes."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from benchmark.files.writing import written_whole
from benchmark.protocols import Method
from benchmark.training.progress import Progress
from benchmark.vocabulary import BenchError, DataError

log = logging.getLogger(__name__)


def save_weights(method: Method, path: Path) -> None:
    """Parameters and buffers as safetensors; a tensor that two branches share is stored once."""
    with written_whole(path) as temporary:
        safetensors.torch.save_file(_tensors(method), temporary)


def load_weights(method: Method, path: Path) -> None:
    """Load what `save_weights` wrote into a method of the same configuration; DataError where the file is damaged."""
    try:
        tensors = safetensors.torch.load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path} is damaged ({error}). Remove the run's folder and run it again.") from error
    _copy_tensors(tensors, method, source=path)


def save_checkpoint(
    path: Path,
    progress: Progress,
    method: Method,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> None:
    """Write all that a training needs to go on from here."""
    content = {
        "progress": vars(progress),
        "weights": _tensors(method),
        "optimiser": optimiser.state_dict(),
        "scaler": scaler.state_dict(),
    }
    # Through a file of our own: torch hides a full disk behind an error of its archive format.
    with written_whole(path) as temporary, temporary.open("wb") as file:
        torch.save(content, file)


def resume(
    path: Path,
    method: Method,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    device: torch.device,
) -> Progress:
    """Go on from a checkpoint; from the first step where it is damaged."""
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
