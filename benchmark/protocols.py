"""What the engine and a method agree on. See `benchmark.vocabulary` for the words without tensors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from benchmark.vocabulary import BenchError, DatasetSpec, Size3, UnsupportedDatasetError

__all__ = ["Batch", "DatasetSpec", "Method", "Size3", "UnsupportedDatasetError", "modality_index"]


def modality_index(modalities: tuple[str, ...], name: str) -> int:
    """The channel of a modality, by name."""
    if name not in modalities:
        raise BenchError(f"There is no modality {name!r} here; there are {', '.join(modalities)}.")
    return modalities.index(name)


@dataclass(frozen=True)
class Batch:
    """Patches on the training device.

    `image` is prepared (see `Preparation`); `has_lesion` speaks of the whole volume a patch comes from.
    `generator` lives on the images' device and is seeded with the run's seed and `step`: a method that
    draws from it, and from nothing else, resumes exactly.
    """

    image: Float[Tensor, "b m x y z"]
    label: Integer[Tensor, "b 1 x y z"]
    has_lesion: Bool[Tensor, "b"]
    modalities: tuple[str, ...]
    case_ids: tuple[str, ...]
    step: int
    generator: torch.Generator

    def modality(self, name: str) -> Float[Tensor, "b 1 x y z"]:
        """One modality's channel."""
        index = modality_index(self.modalities, name)
        return self.image[:, index : index + 1]

    def part(self, start: int, stop: int) -> Batch:
        """The patches [start, stop) as a batch of their own, for gradient accumulation."""
        return replace(
            self,
            image=self.image[start:stop],
            label=self.label[start:stop],
            has_lesion=self.has_lesion[start:stop],
            case_ids=self.case_ids[start:stop],
        )

    def __len__(self) -> int:
        return len(self.image)


class Method(nn.Module, ABC):
    """A segmentation method: what it minimises, what it predicts, how a prediction becomes a label map.

    A subclass takes `dataset` and `patch_size` first and its own arguments keyword-only; its class
    docstring says what it is, cites the paper, and lists under "Decisions" what the paper leaves open.
    """

    paper: ClassVar[str] = ""
    """Reference of the method."""

    dataset: DatasetSpec
    patch_size: Size3
    loss_names: tuple[str, ...]
    """The keys of `losses`, fixed by the constructor; a run's `loss_weights` must have the same."""

    def __init__(self, dataset: DatasetSpec, patch_size: Size3) -> None:
        super().__init__()
        self.dataset = dataset
        self.patch_size = patch_size

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Named, unweighted training losses."""

    @abstractmethod
    def forward(self, image: Float[Tensor, "b m x y z"]) -> Float[Tensor, "b c x y z"]:
        """What is averaged over sliding windows; skips every branch it does not need."""

    def decode(self, output: Float[Tensor, "b c x y z"]) -> Integer[Tensor, "b 1 x y z"]:
        """The stitched output as a label map: the largest channel, the first of equal ones.

        Channel by channel, which on a CPU takes a twentieth of `argmax` over a strided dimension.
        """
        best = output[:, :1]
        label = torch.zeros_like(best, dtype=torch.uint8)
        for k in range(1, output.shape[1]):
            challenger = output[:, k : k + 1]
            label.masked_fill_(challenger > best, k)
            best = torch.maximum(best, challenger)
        return label

    def modality(self, image: Float[Tensor, "b m x y z"], name: str) -> Float[Tensor, "b 1 x y z"]:
        """One modality's channel of a whole image."""
        index = modality_index(self.dataset.modalities, name)
        return image[:, index : index + 1]

    def unused_parameters(self) -> dict[str, str]:
        """Parameters that no loss reaches, with the reason. Empty for most methods."""
        return {}
