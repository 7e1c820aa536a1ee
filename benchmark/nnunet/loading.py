"""What nnU-Net loads of a run: weights, numbers and plans, and never code.

A run may be a stranger's. nnU-Net itself unpickles checkpoints and the properties of preprocessed cases, which runs
whatever is written in them, and builds the network that a plan names, wherever it is.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.training.dataloading import nnunet_dataset

from benchmark.files.pickles import CALLED, CodeInFileError, refuse_code
from benchmark.files.places import DamagedFileError, read_bytes
from benchmark.files.schemas import read_mapping

NETWORKS = "dynamic_network_architectures."
LAYERS = "torch.nn."
"""What the names in a plan's architecture begin with."""
_MULTIARRAY = np.zeros(1)[0].__reduce__()[0]
"""How NumPy rebuilds a number; its module depends on the version, and older checkpoints name the older one."""
NUMBERS = (
    _MULTIARRAY,
    (_MULTIARRAY, "numpy.core.multiarray.scalar"),
    (_MULTIARRAY, "numpy._core.multiarray.scalar"),
    np.dtype,
    *{type(np.dtype(kind)) for kind in ("bool", "int32", "int64", "float16", "float32", "float64")},
)
"""What nnU-Net stores besides tensors: the losses and Dice of its log."""


def load_checkpoint(path: Path, *, device: torch.device) -> dict[str, Any]:
    """A checkpoint's weights, numbers and arguments. CodeInFileError, with the names, for one that holds anything that
    would be run; what torch raises for a damaged one."""
    try:
        with torch.serialization.safe_globals(list(NUMBERS)):
            content: dict[str, Any] = _torch_load(path, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        if told := _code_in(path):
            raise CodeInFileError(
                f"{told}. Remove the run's folder and start its grid again, or ask who made it."
            ) from error
        raise
    return content


_torch_load = torch.load


def _code_in(path: Path) -> str:
    try:
        refuse_code(path)
    except CodeInFileError as error:
        return str(error)
    except DamagedFileError:
        pass
    return ""


@contextmanager
def weights_alone() -> Iterator[None]:
    """What nnU-Net loads meanwhile with torch is loaded by `load_checkpoint`."""

    def load(path: str, *, map_location: torch.device, weights_only: bool) -> dict[str, Any]:
        return load_checkpoint(Path(path), device=map_location)

    torch.load = load  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.load = _torch_load


class _Properties(pickle.Unpickler):
    """Numbers, arrays and containers."""

    def find_class(self, module: str, name: str) -> Any:
        if not CALLED.fullmatch(f"{module} {name}"):
            raise CodeInFileError(f"a preprocessed case names {module}.{name}, and would run it as code")
        return super().find_class(module, name)


def read_properties(file: str, mode: str = "rb") -> Any:
    """What nnU-Net noted of a preprocessed case; CodeInFileError, with the remedy, where it holds anything else."""
    path = Path(file)
    try:
        return _Properties(io.BytesIO(read_bytes(path, below=path.parent))).load()
    except CodeInFileError as error:
        raise CodeInFileError(f"{path}: {error}. Remove {path.parents[2]}, and it is made again.") from error


# Also in processes that augment: they import this module with the trainer.
nnunet_dataset.load_pickle = read_properties


def read_plans(path: Path) -> dict[str, Any]:
    """A plan whose network is one of nnU-Net's; CodeInFileError for one that names anything else to be built."""
    plans = read_mapping(path, below=path.parent)
    try:
        for name, configuration in plans["configurations"].items():
            # Some of nnU-Net's configurations inherit theirs.
            if (architecture := configuration.get("architecture")) is None:
                continue
            named = {architecture["network_class_name"]: NETWORKS}
            arguments = architecture["arch_kwargs"]
            named |= {
                arguments[key]: LAYERS
                for key in architecture["_kw_requires_import"]
                if arguments.get(key) is not None
            }
            if odd := [each for each, home in named.items() if not str(each).startswith(home)]:
                raise CodeInFileError(
                    f"{path} is not used: its configuration {name} would build {odd[0]!r}, which is no network of "
                    "nnU-Net. Remove the run's folder and start its grid again."
                )
    except (KeyError, TypeError, AttributeError) as error:
        raise DamagedFileError(f"{path} is no plan of nnU-Net ({error!r})") from error
    return plans
