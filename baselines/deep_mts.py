"""DeepMTS: encoder features and a second network, which sees the segmentation, classify the whole examination."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from benchmark.nn.convolution import Conv3d
from benchmark.nn.dice import softmax_dice
from benchmark.nn.heads import lesion_target, pooled
from benchmark.nn.losses import dice_ce, lesion_presence
from benchmark.nn.unet import CHANNELS, UNet, check_patch_size
from benchmark.protocols import Batch, DatasetSpec, Method, OutputKind, Size3
from benchmark.vocabulary import BenchError, did_you_mean

VARIANTS = ("transplanted", "native")
NATIVE_CHANNELS = (8, 16, 32, 64, 128)


class DeepMTS(Method):
    """Early fusion; a classifier on all encoder outputs and on a DenseNet that sees the images and the segmentation.

    Two vectors, one from 1^3 convolutions of the encoder outputs (half their channels) and one from the DenseNet, pass
    64 hidden units each and become one logit. Its gradients reach the segmentation through the probabilities that the
    DenseNet sees. Inference runs the segmentation alone.

    * `variant="transplanted"`: all this on the common backbone, with Dice and cross-entropy.
    * `variant="native"`: the authors' backbone (8 to 128 filters, additive dense blocks), their Dice loss, and the loss
      `l2`, the sum of the squared weights of the dense layers.
    * `cascade=False` leaves the DenseNet out.

    Decisions:

    * The original predicts survival with Cox's partial likelihood, and also sees clinical data. Here the logit says
      whether there is a lesion, with binary cross-entropy, from the images alone: the "Seg + Class" of Table 4.
    * `class_label="volume"`: like a survival time it speaks of the examination, although the network sees a patch;
      `"patch"` asks the patch. Where every case has a tumour, as in brain tumour sets, the volume's answer is constant.
    * The weights of `seg` and `class` are Mirror U-Net's 0.5 and 1e-3 on the common backbone, and the original's 1 and
      1, with 0.1 of `l2`, in the native network.
    * The DenseNet sees the probability of every foreground class, one with PET/CT. Its features are the means of the
      stages' outputs before pooling. Sides of 3 voxels are not pooled: the features of patches below 48 would vanish.
    * In a native block every layer adds its output to the sum of those before it, and the first layer's input is the
      block's. Dice sums over the patches of a batch before it divides, and is subtracted from one.
    * Native batch normalisation has torch's momentum and epsilon, not Keras's.
    * The native variant repeats the network and the losses, not the training. The original's augmentation (flips,
      shifts, rotations), its batches of 8 examinations, balanced by outcome, and its learning rates (Adam with 1e-4,
      after 50 epochs 5e-5, after 100 1e-5) are left out: optimiser, schedule, steps and batches are the study's. So is
      the weight decay, of which the original has none besides `l2`.
    """

    paper: ClassVar[str] = (
        "Meng et al., DeepMTS: Deep Multi-task Learning for Survival Prediction in Patients with Advanced "
        "Nasopharyngeal Carcinoma Using Pretreatment PET/CT, IEEE JBHI 2022"
    )
    tasks = ("Seg", "Class")
    fusion = "early"
    examples: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "light": {"cascade": False},
        "patch labels": {"class_label": "patch"},
        "native": {"variant": "native"},
    }
    small: ClassVar[Mapping[str, Any]] = {"channels": [8, 8, 8, 8, 16]}

    def __init__(
        self,
        dataset: DatasetSpec,
        patch_size: Size3,
        *,
        variant: str = "transplanted",
        cascade: bool = True,
        class_label: str = "volume",
        channels: Sequence[int] | None = None,
    ) -> None:
        """`channels`: the widths of the encoder; None: those of the variant."""
        super().__init__(dataset, patch_size)
        if variant not in VARIANTS:
            raise BenchError(f"There is no variant {variant!r}. {did_you_mean(variant, VARIANTS)}")
        self.class_label, self.present = class_label, lesion_target(class_label)
        self.native = variant == "native"
        channels = channels or (NATIVE_CHANNELS if self.native else CHANNELS)
        check_patch_size(patch_size, channels)
        if cascade and min(patch_size) < DenseNet.SMALLEST:
            raise BenchError(
                f"The DenseNet needs sides of {DenseNet.SMALLEST} voxels, but patch_size is {tuple(patch_size)}; "
                "enlarge it or set cascade to false."
            )
        n_in, n_classes = len(dataset.modalities), dataset.n_classes
        network = AdditiveUNet if self.native else UNet
        self.net = network(n_in, n_classes, channels=channels)
        self.segmentation_loss: Callable[[Tensor, Tensor], Tensor] = softmax_dice if self.native else dice_ce
        self.taps = nn.ModuleList(conv_layer(width, width // 2, kernel_size=1) for width in channels)
        self.cascade = DenseNet(n_in + n_classes - 1) if cascade else None
        vectors = [sum(width // 2 for width in channels)]
        self.head = JointHead([*vectors, DenseNet.FEATURES] if cascade else vectors)
        self.loss_names = ("seg", "class", "l2") if self.native else ("seg", "class")
        if self.native:
            self.remarks = ("trained without the original's augmentation",)

    def default_loss_weights(self) -> dict[str, float]:
        return {"seg": 1.0, "class": 1.0, "l2": 0.1} if self.native else {"seg": 0.5, "class": 1e-3}

    def losses(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        outputs = self.named_outputs(batch.image, generator=batch.generator)
        losses = {
            "seg": self.segmentation_loss(outputs["output"], batch.label),
            "class": lesion_presence(outputs["class"], self.present(batch)),
        }
        if self.native:
            losses["l2"] = self.head.squared_weights()
        return losses

    def named_outputs(
        self, image: Float[Tensor, "b m x y z"], *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        bottleneck, skips = self.net.encode(image)
        logits = self.net.decode(bottleneck, skips)
        encoded = [tap(maps) for tap, maps in zip(self.taps, [*skips, bottleneck], strict=True)]
        vectors = [pooled(encoded)]
        if self.cascade is not None:
            lesion = logits.float().softmax(dim=1)[:, 1:]
            vectors.append(self.cascade(torch.cat([image, lesion], dim=1)))
        return {"output": logits, "class": self.head(vectors)}

    def output_kinds(self) -> dict[str, tuple[OutputKind, str]]:
        return {"output": ("segmentation", ""), "class": ("classification", "")}

    def forward(self, image: Float[Tensor, "b m x y z"]) -> Float[Tensor, "b c x y z"]:
        return self.net(image)


def conv_layer(channels_in: int, channels_out: int, *, kernel_size: int = 3) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU."""
    conv = Conv3d(channels_in, channels_out, kernel_size, padding=kernel_size // 2)
    return nn.Sequential(conv, nn.BatchNorm3d(channels_out), nn.ReLU())


class JointHead(nn.Module):
    """64 hidden units for each vector, then one logit of all of them."""

    HIDDEN = 64

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.hidden = nn.ModuleList(
            nn.Sequential(nn.Dropout(0.5), nn.Linear(width, self.HIDDEN), nn.ReLU()) for width in widths
        )
        self.output = nn.Sequential(nn.Dropout(0.5), nn.Linear(self.HIDDEN * len(widths), 1))

    def forward(self, vectors: Sequence[Float[Tensor, "b _"]]) -> Float[Tensor, "b"]:
        hidden = [layer(vector) for layer, vector in zip(self.hidden, vectors, strict=True)]
        return self.output(torch.cat(hidden, dim=1)).squeeze(1)

    def squared_weights(self) -> Float[Tensor, ""]:
        """The sum of the squares of the dense layers' weights, without biases."""
        dense = [module for module in self.modules() if isinstance(module, nn.Linear)]
        return torch.stack([layer.weight.float().square().sum() for layer in dense]).sum()


class DenseLayer(nn.Sequential):
    """Appends 16 channels, made from all before through a bottleneck of 64."""

    GROWTH, NARROW = 16, 64

    def __init__(self, channels_in: int) -> None:
        super().__init__(
            *(nn.BatchNorm3d(channels_in), nn.ReLU(), Conv3d(channels_in, self.NARROW, 1)),
            *(nn.BatchNorm3d(self.NARROW), nn.ReLU(), Conv3d(self.NARROW, self.GROWTH, 3, padding=1)),
            nn.Dropout(0.05),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, super().forward(x)], dim=1)


class DenseNet(nn.Module):
    """Three stages of dense layers, each narrowed at its end; the means of the stages' outputs."""

    STEM = 24
    STAGES = ((4, 16), (8, 32), (16, 64))
    """Layers of a stage, and channels after it."""
    FEATURES = sum(width for _, width in STAGES)
    SMALLEST = 16
    """Smallest side, in voxels, of what it sees."""

    def __init__(self, channels_in: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            Conv3d(channels_in, self.STEM, 3, stride=2), nn.Dropout(0.05), nn.MaxPool3d(3, stride=2)
        )
        self.stages, self.taps = nn.ModuleList(), nn.ModuleList()
        width = self.STEM
        for n_layers, narrowed in self.STAGES:
            layers = [DenseLayer(width + i * DenseLayer.GROWTH) for i in range(n_layers)]
            width += n_layers * DenseLayer.GROWTH
            self.stages.append(
                nn.Sequential(*layers, nn.BatchNorm3d(width), nn.ReLU(), Conv3d(width, narrowed, 1))
            )
            self.taps.append(nn.Sequential(nn.BatchNorm3d(narrowed), nn.ReLU()))
            width = narrowed

    def forward(self, x: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b f"]:
        features, tapped = self.stem(x), []
        for stage, tap in zip(self.stages, self.taps, strict=True):
            features = stage(features)
            tapped.append(tap(features))
            features = _halved(features)
        return pooled(tapped)


def _halved(maps: Tensor) -> Tensor:
    """Average-pooled by 2 along every axis with more than 3 voxels."""
    factors = [2 if side > 3 else 1 for side in maps.shape[2:]]
    return nn.functional.avg_pool3d(maps, factors)


class AdditiveBlock(nn.Module):
    """Convolution layers, each of which adds its output to a sum that starts as a 1^3 convolution of the input."""

    def __init__(self, channels_in: int, channels_out: int, n_layers: int) -> None:
        super().__init__()
        self.shortcut = conv_layer(channels_in, channels_out, kernel_size=1)
        self.layers = nn.ModuleList(
            conv_layer(channels_in if i == 0 else channels_out, channels_out) for i in range(n_layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        total = self.shortcut(x)
        for i, layer in enumerate(self.layers):
            total = total + layer(x if i == 0 else total)
        return total


class AdditiveUNet(nn.Module):
    """The native backbone: max-pooling, nearest upsampling, skips and additive dense blocks; class logits."""

    DOWN, UP = (2, 2, 3, 3, 4), (3, 3, 2, 2)
    """Layers of the blocks, from the input to the bottleneck and back."""

    def __init__(
        self, channels_in: int, n_classes: int, *, channels: Sequence[int] = NATIVE_CHANNELS
    ) -> None:
        super().__init__()
        if len(channels) != len(self.DOWN):
            raise BenchError(f"The native network takes {len(self.DOWN)} channels, not {list(channels)}.")
        widths = [channels_in, *channels]
        self.down = nn.ModuleList(
            AdditiveBlock(a, b, n) for (a, b), n in zip(pairwise(widths), self.DOWN, strict=True)
        )
        steps = pairwise(reversed(channels))
        self.up = nn.ModuleList(AdditiveBlock(b + a, a, n) for (b, a), n in zip(steps, self.UP, strict=True))
        self.output = Conv3d(channels[0], n_classes, 1)

    def encode(self, image: Float[Tensor, "b c x y z"]) -> tuple[Tensor, list[Tensor]]:
        """Bottleneck features, and the skips from fine to coarse."""
        features = [self.down[0](image)]
        for block in self.down[1:]:
            features.append(block(nn.functional.max_pool3d(features[-1], 2)))
        return features.pop(), features

    def decode(self, bottleneck: Tensor, skips: Sequence[Tensor]) -> Float[Tensor, "b k x y z"]:
        features = bottleneck
        for block, skip in zip(self.up, reversed(skips), strict=True):
            up = nn.functional.interpolate(features, scale_factor=2, mode="nearest")
            features = block(torch.cat([up, skip], dim=1))
        return self.output(features)

    def forward(self, image: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b k x y z"]:
        return self.decode(*self.encode(image))
