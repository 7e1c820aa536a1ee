"""Means and variances of batch normalisation for weights as they are, instead of those that a training left behind.

A layer's running statistics are a moving average over the last steps, of weights that changed meanwhile. In a long
training with a small learning rate at its end that is no matter; after a few dozen steps a network that has learned
to segment predicts next to nothing with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from benchmark.training.step import HostBatch


def recompute_norm_statistics(
    network: nn.Module, look_at: Callable[[HostBatch], object], batches: Iterable[HostBatch]
) -> None:
    """Set the running statistics of every batch normalisation to their means over `batches`, all equally weighted.

    `look_at` does the forward pass of a training step, without gradients. Source: Wu and Johnson, "Rethinking 'Batch'
    in BatchNorm", 2021, section 3 (PreciseBN).
    """
    layers = [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]
    usual = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        # torch's word for a cumulative average.
        layer.momentum = None
    network.train()
    for batch in batches:
        look_at(batch)
    for layer, momentum in zip(layers, usual, strict=True):
        layer.momentum = momentum
