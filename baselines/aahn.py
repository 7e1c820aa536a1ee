"""AAHN: a convolutional stream of one modality and a Transformer's of all meet at every scale, slice by slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from benchmark.nn.blocks2d import Bottleneck, ResidualStage, UpStage, conv_layer, last_up
from benchmark.nn.heterogeneous import FeatureAlignment, GraphFusion
from benchmark.nn.losses import dice_ce
from benchmark.nn.slices import slices_of, volumes_of
from benchmark.nn.vit import Size2, VisionTransformer, maps_of_tokens
from benchmark.protocols import Batch, DatasetSpec, Method, Size3, modality_index
from benchmark.vocabulary import BenchError

RES_BLOCKS = (3, 4, 6, 2)
LEADING_COPIES = 3
"""The convolutional stream was made for images of three colours, and sees the leading modality three times."""
NARROWEST = 16
"""Channels that maps of full resolution have at least, the last layer's at full width: with two, little is learned."""
SCALES = 4
"""Halvings of an image, each of which the two streams leave together."""


class AAHN(Method):
    """The asymmetric adaptive heterogeneous network: a 2D network, trained on slices and applied slice by slice.

    A convolutional stream sees one leading modality, a stream of convolutions and vision transformers all of them.
    At four scales channel attention and cross attention fuse what the Transformer's stream found into the other
    (T-CFAF), at the coarsest a graph does so again (CMHGF); the decoder's skips are the convolutional stream's.

    At full width it has 407,692,692 parameters for slices of 128 x 128 with 4 modalities and 4 classes. The
    published code has 410,521,332: the other 2,828,640 are in layers that it builds and never uses, and that are
    left out here (a cross attention at the first scale, a last convolution in every cross attention, the graph's
    answer to the Transformer's stream). With 2 modalities and 2 classes: 407,680,114 of 410,508,754. The paper
    prints 411.37 million.

    Decisions:

    * `leading_modality`: the paper chooses it by visibility for each data set. Default: the first modality of the
      data set's first branch, where it has branches, else its first modality: CT for PET/CT, T1Gd for brain tumours.
      The published code has PET lead for PET/CT, by an index that may be an oversight; `studies/aahn.yaml` has both.
    * All modalities enter the Transformer's stream, however many classes there are; the published code ties the two
      numbers together.
    * A patch of z slices is z images of a batch. Training draws crops of 128 x 128 from slices of the prepared
      volume, and inference averages windows: voxels keep their size, where the paper scales whole images to 128 x 128.
    * `t_cfaf=False` leaves out both kinds of attention. At every scale there remain the concatenated streams, the
      convolution that narrows them, and the sum with the convolutional stream, as in the published code's first
      scale, which has no cross attention. `cmhgf=False` adds the two streams. What stands in their places in the
      paper's ablation is not known here.
    * CMHGF reads projected nodes in another order than they have, as the published code does.
    * Loss: Dice of the foreground plus cross-entropy. The augmentation of the original (nnU-Net's) and its clipping
      of gradients at a norm of 12 are left out; its optimiser is in `studies/aahn.yaml`.
    """

    paper: ClassVar[str] = (
        "Zheng et al., Asymmetric Adaptive Heterogeneous Network for Multi-Modality Medical Image Segmentation, "
        "IEEE TMI 2025"
    )
    fusion = "middle"
    examples: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "without T-CFAF": {"t_cfaf": False},
        "without CMHGF": {"cmhgf": False},
    }
    small: ClassVar[Mapping[str, Any]] = {
        "width": 8,
        "res_blocks": [1, 1, 1, 1],
        "vit_dim": 16,
        "vit_blocks": 1,
        "vit_heads": 2,
        "vit_mlp": 16,
        "token_side": 2,
    }

    def __init__(
        self,
        dataset: DatasetSpec,
        patch_size: Size3,
        *,
        leading_modality: str | None = None,
        width: int = 128,
        res_blocks: Sequence[int] = RES_BLOCKS,
        vit_dim: int = 768,
        vit_blocks: int = 8,
        vit_heads: int = 12,
        vit_mlp: int = 512,
        token_side: int = 8,
        t_cfaf: bool = True,
        cmhgf: bool = True,
    ) -> None:
        """`width`: channels of the finest maps; `res_blocks`: residual blocks of the four scales.

        `vit_dim`, `vit_blocks`, `vit_heads`, `vit_mlp`: numbers a token, blocks, heads and hidden units of each of the
        three transformers; `token_side`: a token has token_side^2 pixels of a map.
        """
        super().__init__(dataset, patch_size)
        if width < 8 or width % 8:
            raise BenchError(f"AAHN's width must be a multiple of 8, not {width}.")
        if len(res_blocks) != SCALES:
            raise BenchError(f"AAHN has {SCALES} scales; res_blocks is {list(res_blocks)}.")
        _check_patch_size(patch_size, token_side)
        self.leading_modality = leading_modality or default_leader(dataset)
        self.leader = modality_index(dataset.modalities, self.leading_modality)
        self.net = HeterogeneousNetwork(
            len(dataset.modalities),
            dataset.n_classes,
            patch_size[:2],
            width=width,
            res_blocks=res_blocks,
            transformer={
                "side": token_side,
                "dim": vit_dim,
                "blocks": vit_blocks,
                "heads": vit_heads,
                "hidden": vit_mlp,
            },
            t_cfaf=t_cfaf,
            cmhgf=cmhgf,
        )
        self.loss_names = ("seg",)
        self.remarks = (
            "2D network, slice by slice",
            f"{self.leading_modality} leads",
            "trained without the original's augmentation",
        )

    def losses(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        return {"seg": dice_ce(self(batch.image), batch.label)}

    def forward(self, image: Float[Tensor, "b m x y z"]) -> Float[Tensor, "b c x y z"]:
        slices = slices_of(image)
        return volumes_of(self.net(slices, slices[:, self.leader : self.leader + 1]), n=len(image))

    def to(self, *args: Any, **kwargs: Any) -> AAHN:
        """As torch's; channels-last means that of images, which the network's weights are made for."""
        if kwargs.get("memory_format") is torch.channels_last_3d:
            kwargs["memory_format"] = torch.channels_last
        return super().to(*args, **kwargs)


def default_leader(dataset: DatasetSpec) -> str:
    """The modality of the convolutional stream where no study names one."""
    return dataset.branches[0][0] if dataset.branches else dataset.modalities[0]


def _check_patch_size(patch_size: Size3, token_side: int) -> None:
    if token_side < 2:
        raise BenchError(f"token_side must be at least 2, not {token_side}.")
    multiple = 2**SCALES * token_side
    if any(side % multiple for side in patch_size[:2]):
        raise BenchError(
            f"The x and y sides of patch_size {tuple(patch_size)} must be multiples of {multiple}: the coarsest maps "
            f"have a 16th of them, divided into tokens of {token_side} x {token_side} pixels (token_side); z is free."
        )


class TransformerStage(nn.Module):
    """Halves the maps, lets a vision transformer rewrite them token by token, and smooths them.

    `size`: the sides of the halved maps; `transformer`: the arguments of `VisionTransformer`.
    """

    def __init__(
        self, channels_in: int, channels_out: int, size: Size2, *, transformer: Mapping[str, int]
    ) -> None:
        super().__init__()
        self.size, self.side = size, transformer["side"]
        self.down = Bottleneck(channels_in, channels_out)
        self.vit = VisionTransformer(channels_out, size, **transformer)
        self.back = nn.Linear(transformer["dim"], self.side**2 * channels_out)
        self.smooth = conv_layer(channels_out, channels_out, 3)

    def forward(self, x: Tensor) -> Tensor:
        rewritten = self.back(self.vit(self.down(x)))
        smoothed: Tensor = self.smooth(maps_of_tokens(rewritten, side=self.side, size=self.size))
        return smoothed


class HeterogeneousNetwork(nn.Module):
    """Two streams and a decoder, for images of one size; class logits."""

    def __init__(
        self,
        n_modalities: int,
        n_classes: int,
        size: Size2,
        *,
        width: int,
        res_blocks: Sequence[int],
        transformer: Mapping[str, int],
        t_cfaf: bool,
        cmhgf: bool,
    ) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(SCALES)]
        steps = list(pairwise(widths))
        sizes = [(size[0] // 2**i, size[1] // 2**i) for i in range(2, SCALES + 1)]

        self.transformer_stem = conv_layer(n_modalities, width, 7, stride=2, bias=False)
        self.transformer_stages = nn.ModuleList(
            TransformerStage(a, b, halved, transformer=transformer)
            for (a, b), halved in zip(steps, sizes, strict=True)
        )

        self.stem = conv_layer(LEADING_COPIES, width, 7, stride=2, bias=False)
        finest = ResidualStage(2 * width, width, res_blocks[0])
        self.fusions = nn.ModuleList([FeatureAlignment(width, finest, channel=t_cfaf, cross=False)])
        self.fusions.extend(
            FeatureAlignment(b, nn.Conv2d(2 * b, b, 1), channel=t_cfaf, cross=t_cfaf) for b in widths[1:]
        )
        self.stages = nn.ModuleList(ResidualStage(b, b, n) for b, n in zip(widths, res_blocks, strict=True))
        self.downs = nn.ModuleList(conv_layer(a, b, 3, stride=2, activation=nn.LeakyReLU) for a, b in steps)
        self.graph_fusion = GraphFusion(sizes[-1][0] * sizes[-1][1]) if cmhgf else None

        self.ups = nn.ModuleList(UpStage(b, a) for a, b in reversed(steps))
        narrowing = [max(width // 2**i, NARROWEST) for i in range(1, 4)]
        self.last_up = last_up(width, narrowing[0], hidden=max(width // 4, NARROWEST))
        self.head = nn.Sequential(
            *(conv_layer(a, b, 3) for a, b in pairwise(narrowing)),
            nn.Conv2d(narrowing[-1], n_classes, 1),
        )

    def forward(
        self, image: Float[Tensor, "b m x y"], leading: Float[Tensor, "b 1 x y"]
    ) -> Float[Tensor, "b k x y"]:
        """`leading`: the modality that the convolutional stream sees."""
        transformed = [self.transformer_stem(image)]
        for stage in self.transformer_stages:
            transformed.append(stage(transformed[-1]))

        features, skips = self.stem(leading.expand(-1, LEADING_COPIES, -1, -1)), []
        for i, (fusion, stage) in enumerate(zip(self.fusions, self.stages, strict=True)):
            if i > 0:
                features = self.downs[i - 1](features)
            features = stage(fusion(features, transformed[i]))
            skips.append(features)

        coarsest = skips.pop()
        if self.graph_fusion is not None:
            features = self.graph_fusion(coarsest, transformed[-1])
        else:
            features = coarsest + transformed[-1]
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            features = up(features, skip)
        logits: Tensor = self.head(self.last_up(features))
        return logits
