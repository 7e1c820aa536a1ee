"""Blackbean, the winner of AutoPET 2022: nnU-Net with five stages, large patches and fine voxels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Integer
from monai.networks.nets import UNet
from torch import Tensor, nn

from benchmark.nn.augmentation import adjust_contrast, flip, scale_intensity, shift_intensity
from benchmark.nn.convolution import Conv3d
from benchmark.nn.losses import dice_ce
from benchmark.nn.unet import check_patch_size
from benchmark.nnunet.method import NnUNetMethod
from benchmark.nnunet.plan import Plan
from benchmark.protocols import (
    Batch,
    BenchError,
    DatasetSpec,
    Method,
    Percentiles,
    Preparation,
    Size3,
    ZScore,
)
from benchmark.vocabulary import kind_of

FEATURES = (32, 64, 128, 256, 512)
PATCH = (192, 192, 192)
AUGMENTATION = {
    "intensity_range": 0.25,
    "shift_std": 0.1,
    "contrast_probability": 0.3,
    "flip_probability": 0.5,
}
"""The arguments of `BlackbeanReference` that say how patches are augmented."""


def channel_order(dataset: DatasetSpec) -> tuple[str, ...]:
    """PET first and CT second, as in both published codes; other data sets in their own order."""
    kinds = {kind_of(name): name for name in dataset.modalities}
    if len(dataset.modalities) == 2 and set(kinds) == {"CT", "PET"}:
        return kinds["PET"], kinds["CT"]
    return dataset.modalities


class Blackbean(NnUNetMethod):
    """The challenge's entry as a plan of nnU-Net v2, which its authors made with version 1.

    Five stages (32 to 512 channels, two convolutions each), patches of 192^3 voxels, the finest voxel size of
    all cases instead of the median, SGD from 1e-4; everything else is nnU-Net's.
    Needs the extra: pip install 'mirror-bench[nnunet]'.

    Decisions:

    * The planner was not published. "Minimum spacing", from the plan's name, is taken as the smallest voxel edge of the
      fold's training and validation cases, axis by axis.
    * Where images are smaller than the patch, all its sides shrink by one factor to multiples of 16 (at least 32);
      the run's `facts` say what was planned, and that it was shrunk. `shrink_patch=False` pads such images instead.
    * The batch size is not published; 2 is nnU-Net's.
    * The entry averaged five folds; here it is one training, like every method. Mirrored copies are averaged, as there.
    * Not used, because nnU-Net decides it: the run's spacing, patch_size, batch_size (but where `steps` is not given,
      it makes `epochs` steps), lesion_fraction, optimiser, learning_rate, momentum, nesterov, weight_decay, schedule,
      precision, channels_last, compile (an argument here), validations, and inference except for score_grid.
    * `deterministic` holds on CPUs alone: a training that was interrupted is equal bit for bit with the same number of
      threads. On CUDA it is not, since nnU-Net's cudnn.benchmark is on.
    """

    paper: ClassVar[str] = (
        "Ye et al., Exploring Vanilla U-Net for Lesion Segmentation, arXiv 2210.07490, 2022"
    )
    variant: ClassVar[str] = "nnunet"
    small: ClassVar[Mapping[str, Any]] = {"features": [4, 8, 8, 8, 8], "plan_patch_size": [32, 32, 32]}

    def __init__(
        self,
        dataset: DatasetSpec,
        patch_size: Size3,
        *,
        features: Sequence[int] = FEATURES,
        plan_patch_size: Sequence[int] = PATCH,
        shrink_patch: bool = True,
        batch_size: int = 2,
        initial_lr: float = 1e-4,
        mirror_tta: bool = True,
        iterations_per_epoch: int | None = None,
        compile: bool = False,
    ) -> None:
        plan = Plan(
            spacing="finest",
            patch_size=tuple(plan_patch_size),
            shrink_patch=shrink_patch,
            batch_size=batch_size,
            features=tuple(features),
        )
        super().__init__(
            dataset,
            patch_size,
            plan=plan,
            channels=channel_order(dataset),
            initial_lr=initial_lr,
            mirror_tta=mirror_tta,
            iterations_per_epoch=iterations_per_epoch,
            compile=compile,
        )


class BlackbeanReference(Method):
    """What the Mirror U-Net authors' code runs under this name: no nnU-Net, but a plain MONAI U-Net in our loop.

    One strided convolution a level (32 to 512 channels), instance normalisation, PReLU, PET before CT; voxels
    as on disk, CT scaled from its 0.5 and 99.5 percentiles to [0, 1], every other modality by z-score over its voxels
    that are not zero; intensities and orientation augmented.

    The code trains with patches of 192^3, batch 1, SGD (learning rate 1e-4, momentum 0.99, weight decay 1e-3,
    polynomial decay 0.9); these are settings of the run, not of the method: here it takes the study's.

    Decisions:

    * The volume is cropped as the data set's usual preparation says; the percentiles are those of the crop.
    * "Shift": one number a modality and patch, from a normal distribution of deviation `shift_std`. Contrast is drawn
      for each modality and patch, and acts between the patch's own extremes.
    * `augment=False` turns augmentation off, and refuses the arguments that would have shaped it.
    """

    paper: ClassVar[str] = Blackbean.paper
    variant: ClassVar[str] = "reference"
    examples: ClassVar[Mapping[str, Mapping[str, Any]]] = {"no augmentation": {"augment": False}}
    small: ClassVar[Mapping[str, Any]] = {"channels": [4, 8, 8, 8, 8]}

    def __init__(
        self,
        dataset: DatasetSpec,
        patch_size: Size3,
        *,
        channels: Sequence[int] = FEATURES,
        augment: bool = True,
        intensity_range: float = AUGMENTATION["intensity_range"],
        shift_std: float = AUGMENTATION["shift_std"],
        contrast_probability: float = AUGMENTATION["contrast_probability"],
        flip_probability: float = AUGMENTATION["flip_probability"],
    ) -> None:
        super().__init__(dataset, patch_size)
        check_patch_size(patch_size, channels)
        stride = 2 ** (len(channels) - 1)
        if all(side == stride for side in patch_size):
            raise BenchError(
                f"A patch of {tuple(patch_size)} ends in a single voxel, which cannot be normalised; "
                f"one side must be {2 * stride} or more."
            )
        self.augment, self.intensity_range, self.shift_std = augment, intensity_range, shift_std
        self.contrast_probability, self.flip_probability = contrast_probability, flip_probability
        self._check_augmentation()
        self.order = [dataset.modalities.index(name) for name in channel_order(dataset)]
        self.net = UNet(
            spatial_dims=3,
            in_channels=len(dataset.modalities),
            out_channels=dataset.n_classes,
            channels=tuple(channels),
            strides=(2,) * (len(channels) - 1),
            num_res_units=0,
            norm="INSTANCE",
            act="PRELU",
        )
        for module in self.net.modules():
            if type(module) is nn.Conv3d:
                module.__class__ = Conv3d
        self.loss_names = ("seg",)
        if augment:
            self.remarks = ("trained with augmentation of intensities and flips",)

    def _check_augmentation(self) -> None:
        if not self.shift_std >= 0:
            raise BenchError(f"shift_std is {self.shift_std}; it must be 0 or more.")
        if not 0 <= self.intensity_range < 1:
            raise BenchError(f"intensity_range is {self.intensity_range}; it must lie from 0 to below 1.")
        for name in ("contrast_probability", "flip_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise BenchError(f"{name} is {getattr(self, name)}; it must lie between 0 and 1.")
        changed = [name for name, usual in AUGMENTATION.items() if getattr(self, name) != usual]
        if not self.augment and changed:
            raise BenchError(
                f"{' and '.join(changed)} would have no effect with augment: false; leave it out."
            )

    def preparation(self, usual: Preparation) -> Preparation:
        rules = {
            name: Percentiles(0.5, 99.5) if kind_of(name) == "CT" else ZScore(nonzero=True)
            for name in self.dataset.modalities
        }
        return replace(usual, spacing_mm=None, intensities=rules)

    def losses(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        image, label = batch.image, batch.label
        if self.augment:
            image, label = self._augment(image, label, batch.generator)
        return {"seg": dice_ce(self.forward(image), label)}

    def forward(self, image: Float[Tensor, "b m x y z"]) -> Float[Tensor, "b c x y z"]:
        return self.net(image[:, self.order])

    # Random numbers come from a generator, which a compiled graph cannot hold.
    @torch.compiler.disable
    def _augment(
        self,
        image: Float[Tensor, "b m x y z"],
        label: Integer[Tensor, "b 1 x y z"],
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        image = scale_intensity(image, amount=self.intensity_range, generator=generator)
        image = shift_intensity(image, std=self.shift_std, generator=generator)
        image = adjust_contrast(
            image, gamma=(1 / 1.5, 1 / 0.7), probability=self.contrast_probability, generator=generator
        )
        return flip(image, label, probability=self.flip_probability, generator=generator)
