"""The network that a plan describes, as it is used for prediction, and its size."""

from __future__ import annotations

from typing import Any

import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def planned_network(plans: dict[str, Any], configuration: str, description: dict[str, Any]) -> nn.Module:
    """`description` is the content of `dataset.json`. Without deep supervision: one output, of the finest stage."""
    planned = PlansManager(plans).get_configuration(configuration)
    network: nn.Module = get_network_from_plans(
        planned.network_arch_class_name,
        planned.network_arch_init_kwargs,
        planned.network_arch_init_kwargs_req_import,
        len(description["channel_names"]),
        # Not one for each label: `ignore` has no output.
        LabelManager(description["labels"], None).num_segmentation_heads,
        allow_init=False,
        deep_supervision=False,
    )
    return network


def network_size(plans: dict[str, Any], configuration: str, description: dict[str, Any]) -> tuple[int, float]:
    """Parameters of the planned network, and operations of one forward pass over one patch, two a multiply-add."""
    patch = PlansManager(plans).get_configuration(configuration).patch_size
    with torch.device("meta"):
        network = planned_network(plans, configuration, description)
        image = torch.empty((1, len(description["channel_names"]), *patch))
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(image)
    return sum(p.numel() for p in network.parameters()), float(counter.get_total_flops())
