"""What a method costs: parameters, operations, seconds."""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmark.protocols import Method

log = logging.getLogger(__name__)


def network_costs(method: Method) -> dict[str, dict[str, Any]]:
    """For every reading of a method: `parameters`, `gflops` and `patch_size`, as in `RunRecord.costs`.

    `method` is on the meta device: counted on shapes alone, without memory or time. The reading's part of the network
    counts, not the rest.
    """
    return {
        reading: {
            "parameters": parameters(part),
            "gflops": forward_gflops(part),
            "patch_size": list(method.patch_size),
        }
        for reading in method.readings
        for part in [method.only(reading)]
    }


def parameters(method: Method) -> int:
    """Weights, each counted once where branches share it."""
    return sum(parameter.numel() for parameter in method.parameters())


def forward_gflops(method: Method) -> float:
    """Billions of operations of what inference runs on one patch, two a multiply-add; convolutions and matrix products.

    `method` is on the meta device. NaN where its forward pass needs values, not shapes alone.
    """
    device = torch.device("meta")
    image = torch.empty((1, len(method.dataset.modalities), *method.patch_size), device=device)
    counter = FlopCounterMode(display=False)
    method.eval()
    try:
        with counter, torch.no_grad():
            method(image)
    except (RuntimeError, NotImplementedError) as error:
        log.warning("operations not counted: %s", error)
        return math.nan
    return float(counter.get_total_flops()) / 1e9
