"""Batches of drawn numbers, and a brain data set beside the PET/CT one, for tests of methods."""

from __future__ import annotations

import torch

from benchmark.contract import BRAIN_MRI as BRAIN
from benchmark.data.readers.autopet import SPEC as PET_CT
from benchmark.protocols import Batch
from benchmark.vocabulary import DatasetSpec, Size3

__all__ = ["BRAIN", "PET_CT", "SMALL", "batch", "parameters"]

SMALL = (4, 8, 8, 8, 8)
"""Channels of a small U-Net of the backbone's depth."""


def batch(spec: DatasetSpec = PET_CT, size: Size3 = (16, 16, 16), *, n: int = 2, step: int = 0) -> Batch:
    """Uniform noise with random labels; the first, third, ... patch comes from a volume with a lesion."""
    drawn = torch.Generator().manual_seed(step)
    return Batch(
        image=torch.rand((n, len(spec.modalities), *size), generator=drawn),
        label=torch.randint(0, spec.n_classes, (n, 1, *size), generator=drawn, dtype=torch.uint8),
        has_lesion=torch.arange(n) % 2 == 0,
        modalities=spec.modalities,
        case_ids=tuple(f"case{i}" for i in range(n)),
        step=step,
        generator=torch.Generator().manual_seed(step),
    )


def parameters(module: torch.nn.Module) -> int:
    """Weights, each counted once."""
    return sum(p.numel() for p in module.parameters())
