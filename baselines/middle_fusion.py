"""Middle fusion: one encoder per modality, one decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from benchmark.nn.branches import declared_modality
from benchmark.nn.losses import dice_ce
from benchmark.nn.unet import CHANNELS, Decoder, Encoder, check_patch_size
from benchmark.protocols import Batch, DatasetSpec, Method, Size3, UnsupportedDatasetError
from benchmark.vocabulary import BenchError, did_you_mean

VARIANTS = ("concatenate", "bottleneck", "sum")


class MiddleFusion(Method):
    """A U-Net with an encoder of its own for each modality: the column MF of Table 3.

    * `concatenate`: bottlenecks and skips are concatenated, and the decoder's inputs are as much wider
      (for two modalities 768 -> 64, 192 -> 32, 96 -> 16, 48 -> classes).
    * `bottleneck`: the bottlenecks are concatenated; the skips are those of one modality, `skips_from` (by default the
      second of the data set's branches, for PET/CT the PET).
    * `sum`: bottlenecks and skips are added, and the decoder is the U-Net's own.

    Decisions:

    * Neither the paper nor its code says where and how the middle is fused. `concatenate` is the usual dual-encoder
      network of the PET/CT literature and the default; the other two bracket it in size and in what the skips carry.
    * Concatenation follows the data set's channel order.
    * The loss is that of early fusion, with weight 1.
    """

    paper: ClassVar[str] = "Marinov et al., Mirror U-Net, ICCV Workshops 2023 (Table 3, MF)"
    examples: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "bottleneck": {"variant": "bottleneck"},
        "bottleneck, T2w skips": {"variant": "bottleneck", "skips_from": "T2w"},
        "sum": {"variant": "sum"},
    }
    fusion = "middle"
    small: ClassVar[Mapping[str, Any]] = {"channels": [4, 8, 8, 8, 8]}

    def __init__(
        self,
        dataset: DatasetSpec,
        patch_size: Size3,
        *,
        variant: str = "concatenate",
        skips_from: str | None = None,
        channels: Sequence[int] = CHANNELS,
    ) -> None:
        super().__init__(dataset, patch_size)
        if variant not in VARIANTS:
            raise BenchError(f"There is no middle fusion {variant!r}. {did_you_mean(variant, VARIANTS)}")
        if skips_from is not None and variant != "bottleneck":
            raise BenchError(
                f"skips_from has no effect in middle fusion {variant!r}; leave it out, or choose 'bottleneck'."
            )
        if variant == "bottleneck":
            skips_from = skips_from or declared_modality(dataset, 1, write="skips_from: A")
            if skips_from not in dataset.modalities:
                raise UnsupportedDatasetError(
                    f"skips_from is {skips_from!r}, but {dataset.name} has {', '.join(dataset.modalities)}; name one."
                )
        check_patch_size(patch_size, channels)
        self.how, self.skips_from = variant, skips_from
        streams = len(dataset.modalities)
        self.encoders = nn.ModuleDict({name: Encoder(1, channels=channels) for name in dataset.modalities})
        self.decoder = Decoder(
            dataset.n_classes,
            channels=channels,
            bottlenecks=1 if variant == "sum" else streams,
            skips=streams if variant == "concatenate" else 1,
        )
        self.loss_names = ("seg",)

    def losses(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        return {"seg": dice_ce(self.forward(batch.image), batch.label)}

    def forward(self, image: Float[Tensor, "b m x y z"]) -> Float[Tensor, "b c x y z"]:
        encoded = {name: encoder(self.modality(image, name)) for name, encoder in self.encoders.items()}
        bottleneck = self._fuse([bottleneck for bottleneck, _ in encoded.values()])
        if self.skips_from is not None:
            _, skips = encoded[self.skips_from]
        else:
            levels = zip(*(skips for _, skips in encoded.values()), strict=True)
            skips = [self._fuse(level) for level in levels]
        return self.decoder(bottleneck, skips)

    def _fuse(self, features: Sequence[Tensor]) -> Tensor:
        """Features of the same level, one of each modality."""
        if self.how == "sum":
            return torch.stack(tuple(features)).sum(dim=0)
        return torch.cat(tuple(features), dim=1)
