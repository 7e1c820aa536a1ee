"""Classification beside segmentation: what is asked, and heads on pooled features."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from benchmark.protocols import Batch
from benchmark.vocabulary import IGNORED, BenchError


def lesion_target(class_label: str) -> Callable[[Batch], Bool[Tensor, "b"]]:
    """The question "is there a lesion?", asked of the `volume` a patch comes from or of the `patch` itself.

    Annotated lesions count, in both. Where nobody annotated, nobody saw one.
    """
    if class_label == "volume":
        return lambda batch: batch.has_lesion
    if class_label == "patch":
        return lambda batch: ((batch.label != 0) & (batch.label != IGNORED)).flatten(1).any(dim=1)
    raise BenchError(f"class_label is {class_label!r}; choose one of volume, patch.")


def pooled(features: Sequence[Float[Tensor, "b _ _ _ _"]]) -> Float[Tensor, "b c"]:
    """The mean of every map over its voxels, all in one vector; in float32."""
    return torch.cat([maps.mean(dim=(2, 3, 4), dtype=torch.float32) for maps in features], dim=1)


class PooledClassifier(nn.Module):
    """From the means of feature maps over one hidden layer to one logit."""

    def __init__(self, channels_in: int, hidden: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.dense = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(channels_in, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, 1),
        )

    def forward(self, features: Sequence[Float[Tensor, "b _ _ _ _"]]) -> Float[Tensor, "b"]:
        return self.dense(pooled(features)).squeeze(1)
