"""Early fusion: one U-Net whose input channels are the modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from benchmark.nn.losses import dice_ce
from benchmark.nn.unet import CHANNELS, UNet, check_patch_size
from benchmark.protocols import Batch, DatasetSpec, Method, Size3


class EarlyFusion(Method):
    """A U-Net on all modalities of the data set, stacked as channels: the column EF of Table 3.

    Decisions:

    * The backbone, the loss (Dice of the foreground plus cross-entropy, weight 1) and the channel order, that of the
      data set, are those of the authors' code; the paper says no more than "early fusion".
    """

    paper: ClassVar[str] = "Kerfoot et al., Left-Ventricle Quantification Using Residual U-Net, STACOM 2018"
    small: ClassVar[Mapping[str, Any]] = {"channels": [4, 8, 8, 8, 8]}

    def __init__(
        self, dataset: DatasetSpec, patch_size: Size3, *, channels: Sequence[int] = CHANNELS
    ) -> None:
        super().__init__(dataset, patch_size)
        check_patch_size(patch_size, channels)
        self.net = UNet(len(dataset.modalities), dataset.n_classes, channels=channels)
        self.loss_names = ("seg",)

    def losses(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        return {"seg": dice_ce(self.net(batch.image), batch.label)}

    def forward(self, image: Float[Tensor, "b m x y z"]) -> Float[Tensor, "b c x y z"]:
        return self.net(image)
