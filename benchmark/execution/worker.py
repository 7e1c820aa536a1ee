"""What runs inside worker processes. Importing it needs no torch; the fork server preloads what it uses."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.results.order import RunOrder
from benchmark.vocabulary import BenchError, Preparation, UnsupportedDatasetError

PRELOAD = (
    "torch",
    "torch._inductor",
    "benchmark.registry",
    "benchmark.execution.run",
    "baselines.mirror_unet",
    "benchmark.data.readers.phantom",
)
"""Imported once by the fork server. Asking torch for deterministic algorithms imports its compiler; a worker asks its
data set's reader, and that of the phantoms brings their generator and scipy's interpolation."""


def run_order(order: RunOrder) -> None:
    """Execute one run; what came of it stands in its folder."""
    from benchmark.execution.run import execute_run

    execute_run(order)


@dataclass(frozen=True)
class Inspected:
    """What is known of a planned run once its method was built: a fault, or how it wants its data prepared.

    A method that cannot serve a data set is no fault, and has neither: `unsupported` says why.
    """

    fault: str | None = None
    preparation: Preparation | None = None
    readings: tuple[str, ...] | None = None
    trains_itself: bool = False
    unsupported: str = ""


def inspect_runs(questions: list[tuple[dict[str, Any], Path | None]]) -> list[Inspected]:
    """Build the methods of these configurations, without memory; each comes with its data set's folder, if there is
    one already."""
    from benchmark.config import run_config
    from benchmark.data.prepare import check_preparation
    from benchmark.datasets.registry import dataset
    from benchmark.execution.run import planned_method
    from benchmark.protocols import ExternalMethod
    from benchmark.training.fold import run_preparation

    inspected = []
    for settings, root in questions:
        config = run_config(settings, source="study")
        spec = dataset(config.dataset).spec_of(root)
        try:
            method = planned_method(config, spec)
            wanted = run_preparation(method, config, spec)
            check_preparation(wanted, spec)
            own = isinstance(method, ExternalMethod)
            if own and config.training.best_on == "test":
                raise BenchError(
                    f"{config.method} trains by itself and never sees the test part; leave out best_on: test."
                )
            inspected.append(Inspected(None, wanted, tuple(method.readings), own))
        except UnsupportedDatasetError as error:
            inspected.append(Inspected(unsupported=str(error)))
        except BenchError as error:
            inspected.append(Inspected(str(error)))
        except Exception as error:
            inspected.append(Inspected(_fault(error, f"{config.method} with {config.method_args}")))
    return inspected


def default_cells(asked: tuple[list[str], str, Path | None]) -> dict[str, dict[str, Any]]:
    """The settings under which methods, by name, run on a data set where no study says any.

    BenchError for a method that cannot be loaded, or cannot serve the data set.
    """
    from benchmark.config import TrainingConfig
    from benchmark.datasets.registry import dataset
    from benchmark.registry import build_without_memory

    names, dataset_name, root = asked
    spec, patch_size = dataset(dataset_name).spec_of(root), TrainingConfig().patch_size
    cells = {}
    for name in names:
        try:
            method = build_without_memory(name, {}, spec=spec, patch_size=patch_size, loss_weights=None)
        except BenchError:
            raise
        except Exception as error:
            raise BenchError(_fault(error, name)) from error
        cells[name] = {
            "method": name,
            "loss_weights": method.default_loss_weights(),
            "reading": method.readings[0],
        }
    return cells


def _fault(error: Exception, where: str) -> str:
    """An error in a method's own code, in one line with its place."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{where}: {type(error).__name__}: {error} ({Path(place.filename).name}, line {place.lineno})"


def cuda_devices(_: object = None) -> list[dict[str, Any]]:
    """The CUDA devices torch can use, each with `name` and whether it computes in bfloat16."""
    import torch

    if not torch.cuda.is_available():
        return []
    return [
        {
            "name": f"cuda:{index}",
            "bfloat16": torch.cuda.get_device_capability(index) >= (8, 0),
        }
        for index in range(torch.cuda.device_count())
    ]
