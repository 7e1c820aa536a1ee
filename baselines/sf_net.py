"""SF-Net: a segmentation network whose encoder also has to say how its modalities are best fused into one image."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from benchmark.nn.branches import Group, declared_branches, declared_modality
from benchmark.nn.convolution import Conv3d
from benchmark.nn.decoders import PlainDecoder
from benchmark.nn.dice import masks, soft_dice, with_background
from benchmark.nn.losses import dice_ce
from benchmark.nn.similarity import ssim
from benchmark.nn.unet import CHANNELS, UNet, check_patch_size
from benchmark.protocols import (
    Batch,
    DatasetSpec,
    Method,
    OutputKind,
    Preparation,
    Size3,
    UnsupportedDatasetError,
    ZScore,
)
from benchmark.vocabulary import BenchError, did_you_mean

VARIANTS = ("transplanted", "native")
NATIVE_CHANNELS = (32, 64, 128, 256)
BLOCKS = (1, 2, 2, 4)
"""Residual blocks of the native encoder at each resolution."""
GROUPS = 8
WINDOW_STD = 1.5 * math.sqrt(1.5)
"""Of SSIM's Gaussian window exp(-r^2 / (3 * 1.5^2)), in voxels; the 3 is the authors', elsewhere it is 2."""


class SFNet(Method):
    """Early fusion, and a second decoder without skips that weighs, voxel by voxel, two modalities into one image.

    The fused image F = w * intensity + (1 - w) * structure shall keep the brightness of the one and the structure of
    the other: L_f = 2 MSE(F, intensity) + MSE(F, structure) + 2 (1 - SSIM(F, structure)) + (1 - SSIM(F, intensity)).
    The loss `fusion` is exp(-a) * L_f + a with a learned a, logged as `a`; it and the loss may fall below 0, the best a
    for a given L_f being its logarithm. Inference runs the segmentation alone.

    * `variant="transplanted"`: the auxiliary decoder and its loss on the common backbone, with Dice and cross-entropy.
    * `variant="native"`: the authors' network (group normalisation, residual blocks, skips that are added, features at
      full resolution), z-scored images, and their Dice loss: squared denominators, no cross-entropy.

    Decisions:

    * PET plays the authors' T2 and FLAIR (salient intensity), CT their T1 with contrast (structure): `intensity` is by
      default the second of the data set's branches, `structure` the first. Several names of `intensity` give one weight
      map and one L_f each, and the L_f are added; the original is `intensity=["T2w", "FLAIR"], structure="T1Gd"`. The
      input is all modalities; theirs had no plain T1.
    * A native network scores every foreground label with a sigmoid, and Dice is that of the data set's regions, whose
      labels' sigmoids are added. `forward` puts a background logit of 0 before the scores: argmax then is their
      threshold of one half.
    * Dice sums over the patches of a batch before it divides, as elsewhere in the suite; the original, which only knew
      patches with tumour, divided patch by patch, which teaches nothing on patches without.
    * SSIM's window has 11 voxels, 7 where a side of the patch is below 64. `data_range` is 2 for z-scored images, as in
      the original, and 1 for others.
    * The weights are 1 and 1 (native, as published), and 0.5 and 1 (transplanted: the suite's weight of segmentation).
    * z-scores are those of the voxels that are not 0, of PET/CT as of the skull-stripped brains they are meant for.
    * The native variant repeats the network, the losses and the z-scores, not the training. The original's augmentation
      (flips, shifted and scaled intensities), its batches of 2 crops of 128x192x160 and its optimiser (Adam with 1e-4,
      weight decay 1e-5) are left out: optimiser, steps, batches and patch size are the study's.
    """

    paper: ClassVar[str] = (
        "Liu et al., SF-Net: A Multi-Task Model for Brain Tumor Segmentation in Multimodal MRI via Image Fusion, "
        "IEEE Signal Processing Letters 2022"
    )
    tasks = ("Seg", "Rec")
    fusion = "early"
    loss_names = ("seg", "fusion")
    examples: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "native": {"variant": "native"},
        "the original's modalities": {
            "variant": "native",
            "intensity": ["T2w", "FLAIR"],
            "structure": "T1Gd",
        },
    }
    takes_modalities = "branches"
    small: ClassVar[Mapping[str, Any]] = {"channels": [8, 8, 8, 8]}

    def __init__(
        self,
        dataset: DatasetSpec,
        patch_size: Size3,
        *,
        variant: str = "transplanted",
        intensity: str | Sequence[str] | None = None,
        structure: str | None = None,
        data_range: float | None = None,
        channels: Sequence[int] | None = None,
    ) -> None:
        """`channels`: the widths of the encoder; None: those of the variant."""
        super().__init__(dataset, patch_size)
        if variant not in VARIANTS:
            raise BenchError(f"There is no variant {variant!r}. {did_you_mean(variant, VARIANTS)}")
        self.native = variant == "native"
        self.intensity, self.structure = _roles(dataset, intensity, structure)
        if data_range is not None and data_range <= 0:
            raise BenchError(f"data_range is {data_range}; it must be positive.")
        prepared = self.preparation(dataset.preparation).intensities
        z_scored = any(isinstance(prepared.get(name), ZScore) for name in (*self.intensity, self.structure))
        self.data_range = data_range or (2.0 if z_scored else 1.0)
        self.window = 11 if min(patch_size) >= 64 else 7

        channels = channels or (NATIVE_CHANNELS if self.native else CHANNELS)
        check_patch_size(patch_size, channels)
        n_in, n_maps = len(dataset.modalities), len(self.intensity)
        self.net: UNet | ResidualUNet
        self.fusion_decoder: PlainDecoder | SumDecoder
        self.segmentation_loss: Callable[[Tensor, Tensor], Tensor]
        if self.native:
            self.net = ResidualUNet(n_in, dataset.n_classes, channels=channels)
            self.fusion_decoder = SumDecoder(channels, n_maps)
            self.segmentation_loss = self._region_dice
            self.remarks = ("trained without the original's augmentation",)
        else:
            self.net = UNet(n_in, dataset.n_classes, channels=channels)
            self.fusion_decoder = PlainDecoder(channels, n_maps)
            self.segmentation_loss = dice_ce
        self.a = nn.Parameter(torch.zeros(()))

    def default_loss_weights(self) -> dict[str, float]:
        return {"seg": 1.0 if self.native else 0.5, "fusion": 1.0}

    def preparation(self, usual: Preparation) -> Preparation:
        if not self.native:
            return usual
        return replace(usual, intensities=dict.fromkeys(self.dataset.modalities, ZScore(nonzero=True)))

    def losses(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        outputs = self.named_outputs(batch.image, generator=batch.generator)
        structure = batch.modality(self.structure)
        distances = [
            self.distance(outputs[f"fused {name}"], batch.modality(name), structure)
            for name in self.intensity
        ]
        return {
            "seg": self.segmentation_loss(outputs["output"], batch.label),
            "fusion": torch.exp(-self.a) * torch.stack(distances).sum() + self.a,
        }

    def named_outputs(
        self, image: Float[Tensor, "b m x y z"], *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """The logits, and for each `intensity` the image it is fused into."""
        bottleneck, skips = self.net.encode(image)
        weights = self.fusion_decoder(bottleneck).float().sigmoid()
        structure = self.modality(image, self.structure).float()
        outputs = {"output": self.net.decode(bottleneck, skips)}
        for k, name in enumerate(self.intensity):
            salient = self.modality(image, name).float()
            outputs[f"fused {name}"] = torch.lerp(structure, salient, weights[:, k : k + 1])
        return outputs

    def output_kinds(self) -> dict[str, tuple[OutputKind, str]]:
        """A fused image has the brightness of the modality it is named after."""
        fused: dict[str, tuple[OutputKind, str]] = {
            f"fused {name}": ("reconstruction", name) for name in self.intensity
        }
        return {"output": ("segmentation", ""), **fused}

    def distance(
        self,
        fused: Float[Tensor, "b 1 x y z"],
        intensity: Float[Tensor, "b 1 x y z"],
        structure: Float[Tensor, "b 1 x y z"],
    ) -> Float[Tensor, ""]:
        """L_f."""
        references = torch.cat([intensity, structure], dim=1).float()
        to_intensity, to_structure = (fused - references).square().mean(dim=(0, 2, 3, 4))
        like_intensity, like_structure = ssim(
            fused, references, data_range=self.data_range, window=self.window, std=WINDOW_STD
        )
        return 2 * to_intensity + to_structure + 2 * (1 - like_structure) + (1 - like_intensity)

    def forward(self, image: Float[Tensor, "b m x y z"]) -> Float[Tensor, "b c x y z"]:
        return self.net(image)

    def watched(self) -> dict[str, Tensor]:
        return {"a": self.a}

    def _region_dice(
        self, logits: Float[Tensor, "b c x y z"], label: Integer[Tensor, "b 1 x y z"]
    ) -> Float[Tensor, ""]:
        regions = [region.labels for region in self.dataset.regions]
        of_no_region = set(range(1, logits.shape[1])) - {k for labels in regions for k in labels}
        regions += [(k,) for k in sorted(of_no_region)]
        probability = logits.float().sigmoid()
        summed = [probability[:, list(labels)].sum(dim=1, keepdim=True) for labels in regions]
        return soft_dice(torch.cat(summed, dim=1), masks(label, regions), squared=True)


def _roles(
    dataset: DatasetSpec, intensity: Group | None, structure: str | None
) -> tuple[tuple[str, ...], str]:
    """The modalities that are fused; where one role is not given, that of the data set's branches."""
    both = "intensity: A and structure: B"
    if intensity is None:
        _, intensity = declared_branches(dataset, write=both)
    if structure is None:
        structure = declared_modality(dataset, 0, write=both)
    names = (intensity,) if isinstance(intensity, str) else tuple(intensity)
    if any(name not in dataset.modalities for name in (*names, structure)):
        raise UnsupportedDatasetError(
            f"intensity = {list(names)} and structure = {structure!r} must be of "
            f"{list(dataset.modalities)}, the modalities of {dataset.name}."
        )
    if not names or structure in names:
        raise BenchError(
            f"intensity = {list(names)} and structure = {structure!r} must be different modalities."
        )
    return names, structure


class ResidualBlock(nn.Sequential):
    """Twice group normalisation, ReLU and a 3^3 convolution, added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__(
            *(nn.GroupNorm(GROUPS, width), nn.ReLU(), Conv3d(width, width, 3, padding=1)),
            *(nn.GroupNorm(GROUPS, width), nn.ReLU(), Conv3d(width, width, 3, padding=1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class SumDecoder(nn.Module):
    """1^3 convolution, trilinear upsampling, plus the skip where there is one, a residual block; up to full size."""

    def __init__(self, channels: Sequence[int], channels_out: int) -> None:
        super().__init__()
        widths = list(reversed(channels))
        self.narrow = nn.ModuleList([Conv3d(a, b, 1) for a, b in pairwise(widths)])
        self.blocks = nn.ModuleList([ResidualBlock(width) for width in widths[1:]])
        self.output = Conv3d(widths[-1], channels_out, 1)

    def forward(self, bottleneck: Tensor, skips: Sequence[Tensor] = ()) -> Float[Tensor, "b k x y z"]:
        """`skips`: from fine to coarse, all or none."""
        features = bottleneck
        coarse_to_fine: list[Tensor | None] = [*reversed(skips)] or [None] * len(self.blocks)
        for narrow, block, skip in zip(self.narrow, self.blocks, coarse_to_fine, strict=True):
            features = nn.functional.interpolate(
                narrow(features), scale_factor=2, mode="trilinear", align_corners=True
            )
            features = block(features if skip is None else features + skip)
        return self.output(features)


class ResidualUNet(nn.Module):
    """The native network: an encoder after Myronenko (2018), and a `SumDecoder` with skips.

    Its output is one sigmoid score a foreground class, after a background of 0.
    """

    def __init__(
        self, channels_in: int, n_classes: int, *, channels: Sequence[int] = NATIVE_CHANNELS
    ) -> None:
        super().__init__()
        if len(channels) != len(BLOCKS) or any(width % GROUPS for width in channels):
            raise BenchError(
                f"The native network takes {len(BLOCKS)} channels, multiples of {GROUPS}; not {list(channels)}."
            )
        stem = nn.Sequential(Conv3d(channels_in, channels[0], 3, padding=1, bias=False), nn.Dropout3d(0.2))
        down = [Conv3d(a, b, 3, stride=2, padding=1, bias=False) for a, b in pairwise(channels)]
        self.levels = nn.ModuleList(
            nn.Sequential(step, *(ResidualBlock(width) for _ in range(n)))
            for step, width, n in zip([stem, *down], channels, BLOCKS, strict=True)
        )
        self.decoder = SumDecoder(channels, n_classes - 1)

    def encode(self, image: Float[Tensor, "b c x y z"]) -> tuple[Tensor, list[Tensor]]:
        """Bottleneck features, and the skips from fine to coarse."""
        features, skips = image, []
        for level in self.levels:
            features = level(features)
            skips.append(features)
        return skips.pop(), skips

    def decode(self, bottleneck: Tensor, skips: Sequence[Tensor]) -> Float[Tensor, "b k x y z"]:
        return with_background(self.decoder(bottleneck, skips))

    def forward(self, image: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b k x y z"]:
        return self.decode(*self.encode(image))
