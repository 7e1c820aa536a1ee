"""Methods whose masks are known by hand: thresholds on prepared intensities. Nothing in them learns."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from benchmark.protocols import Batch, DatasetSpec, Method, Size3

HOT = 0.3
"""On a PET window of [0, 15]: SUV 4.5."""


class Hot(Method):
    """Foreground where the PET is hot, or, with `ct`, where the CT's value added to it makes it so."""

    variant: ClassVar[str] = "hot"
    loss_names = ("seg",)

    def __init__(self, dataset: DatasetSpec, patch_size: Size3, *, ct: float = 0.0) -> None:
        super().__init__(dataset, patch_size)
        self.ct = ct
        self.idle = nn.Parameter(torch.zeros(()))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return {"seg": self.idle**2}

    def forward(self, image: Tensor) -> Tensor:
        hot = self.modality(image, "PET") + self.ct * self.modality(image, "CT") > HOT
        return torch.cat([~hot, hot], dim=1).float() + 0 * self.idle


class Honest(Hot):
    """Answers without the CT by the PET alone; says so."""

    variant: ClassVar[str] = "honest"

    def without(self, modality: str) -> Method | None:
        if modality != "CT":
            return None
        if not self.ct:
            return self
        part = Honest(self.dataset, self.patch_size)
        part.idle = self.idle
        return part


class Liar(Hot):
    """Says that it does not look at the CT."""

    variant: ClassVar[str] = "liar"

    def without(self, modality: str) -> Method | None:
        return self if modality == "CT" else None


class LiarInPart(Hot):
    """Says that a part of it does not look at the CT."""

    variant: ClassVar[str] = "liar in part"

    def without(self, modality: str) -> Method | None:
        return Hot(self.dataset, self.patch_size, ct=2.0) if modality == "CT" else None


class Silent(Hot):
    """Without the CT it tells nothing of the data set's first region."""

    variant: ClassVar[str] = "silent"

    def without(self, modality: str) -> Method | None:
        part = Hot(self.dataset, self.patch_size)
        part.predicted_regions = tuple(region.name for region in self.dataset.regions[1:])
        return part if modality == "CT" else None


class Branched(Hot):
    """Shows what a network with several branches shows."""

    variant: ClassVar[str] = "branched"

    def named_outputs(self, image: Tensor, *, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        ct, pet = self.modality(image, "CT"), self.modality(image, "PET")
        outputs = {}
        if generator is not None:
            noise = torch.rand(len(ct), generator=generator).reshape(-1, 1, 1, 1, 1)
            outputs["shown"] = ct = noise.expand_as(ct)
        return outputs | {
            "copy": pet,
            "seg": torch.cat([torch.zeros_like(pet), 4 * pet], dim=1),
            "class": ct.mean(dim=(1, 2, 3, 4)),
        }

    def output_kinds(self) -> dict[str, tuple[str, str]]:  # type: ignore[override]
        return {
            "shown": ("input", "CT"),
            "copy": ("reconstruction", "PET"),
            "seg": ("segmentation", ""),
            "class": ("classification", ""),
        }
