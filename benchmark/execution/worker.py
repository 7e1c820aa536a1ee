"""What runs inside worker processes. Importing it needs no torch; the fork server preloads what it uses."""

from __future__ import annotations

from typing import Any

from benchmark.execution.order import RunOrder

PRELOAD = ("torch", "torch._inductor", "benchmark.registry", "benchmark.run", "baselines.mirror_unet")
"""Imported once by the fork server. Asking torch for deterministic algorithms imports its compiler."""


def run_order(order: RunOrder) -> None:
    """Execute one run; what came of it stands in its folder."""
    from benchmark.run import execute_run

    execute_run(order)


def faults_of(configs: list[dict[str, Any]]) -> list[str]:
    """What is wrong with the methods, their arguments and the loss weights of these configurations.

    A method that cannot serve a data set is no fault: its cell says why.
    """
    from benchmark.config import run_config
    from benchmark.run import check_config
    from benchmark.vocabulary import BenchError, UnsupportedDatasetError

    faults = []
    for settings in configs:
        config = run_config(settings, source="study")
        try:
            check_config(config)
        except UnsupportedDatasetError:
            continue
        except BenchError as error:
            faults.append(str(error))
        except (TypeError, ValueError) as error:
            faults.append(f"{config.method} with {config.method_args}: {error}")
    return list(dict.fromkeys(faults))


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
