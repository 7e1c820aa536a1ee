"""A tiny method that keeps the contract; `test_contract.py` breaks one promise of it at a time."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from benchmark.nn.losses import dice_ce, reconstruction
from benchmark.protocols import Batch, DatasetSpec, Method, Size3


class Healthy(Method):
    """Two convolutions; a second head predicts the mean of the modalities."""

    paper: ClassVar[str] = "Nobody et al., Two Convolutions, 2024"

    def __init__(self, dataset: DatasetSpec, patch_size: Size3, *, width: int = 4) -> None:
        super().__init__(dataset, patch_size)
        self.body = nn.Sequential(nn.Conv3d(len(dataset.modalities), width, 3, padding=1), nn.PReLU())
        self.head = nn.Conv3d(width, dataset.n_classes, 1)
        self.mean = nn.Conv3d(width, 1, 1)
        self.tasks = ("Seg", "Rec")
        self.loss_names = ("seg", "rec")

    def features(self, image: Tensor) -> Tensor:
        return self.body(image)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        noise = 0.1 * torch.randn(batch.image.shape, generator=batch.generator, device=batch.image.device)
        features = self.features(batch.image + noise)
        rebuilt = reconstruction(self.mean(features), batch.image.mean(dim=1, keepdim=True))
        return {"seg": dice_ce(self.head(features), batch.label), "rec": rebuilt}

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.features(image))
