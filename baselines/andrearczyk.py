"""Andrearczyk et al.: a segmentation network whose encoder also answers a question about the whole examination."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from benchmark.nn.convolution import Conv3d
from benchmark.nn.dice import sigmoid_dice, with_background
from benchmark.nn.heads import PooledClassifier, lesion_target
from benchmark.nn.losses import dice_ce, lesion_presence
from benchmark.nn.unet import CHANNELS, UNet, check_patch_size
from benchmark.protocols import Batch, DatasetSpec, Method, OutputKind, Size3
from benchmark.vocabulary import BenchError, did_you_mean

VARIANTS = ("transplanted", "native")
NATIVE_CHANNELS = (8, 16, 32, 64, 128)
HIDDEN = 128


class Andrearczyk(Method):
    """Early fusion, and a classifier on the means of all encoder outputs: global features of every resolution.

    The means (496 on the common backbone) pass dropout, 128 hidden units, dropout, and become one logit. Inference
    runs the segmentation alone.

    * `variant="transplanted"`: the classifier on the common backbone, with Dice and cross-entropy.
    * `variant="native"`: the authors' network (8 to 128 filters, a first kernel of 7, the outputs of all decoder stages
      added at full resolution) and their Dice loss, without cross-entropy.

    Decisions:

    * The original predicts disease-free survival with Cox's partial likelihood. Here the logit says whether there is a
      lesion, with binary cross-entropy: the "Seg + Class" of Table 4.
    * `class_label="patch"`: the logit is of what the network sees, and there is something to learn where every case
      has a tumour, as in brain tumour sets. `"volume"` asks for the examination, as a survival time does.
    * The losses' weights, 0.5 and 1e-3, are those of Mirror U-Net; the original's are not published.
    * A native network scores every foreground label with a sigmoid; `forward` puts a background logit of 0 before the
      scores: argmax then is their threshold of one half. Dice sums over the patches of a batch before it divides.
    * The file with the native residual layer was not published. Here it is the usual one: convolution and batch
      normalisation, plus the input (through a 1^3 convolution and batch normalisation where widths differ), then ReLU.
    * Native batch normalisation has torch's momentum and epsilon, not Keras's.
    * The native variant repeats the network and its segmentation loss, not the training: the original's optimiser and
      schedule were not published. Optimiser, steps and batches are the study's, and the images are not augmented.
    """

    paper: ClassVar[str] = (
        "Andrearczyk et al., Multi-task Deep Segmentation and Radiomics for Automatic Prognosis in Head and Neck "
        "Cancer, PRIME 2021"
    )
    tasks = ("Seg", "Class")
    fusion = "early"
    loss_names = ("seg", "class")
    examples: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "volume labels": {"class_label": "volume"},
        "native": {"variant": "native"},
    }
    small: ClassVar[Mapping[str, Any]] = {"channels": [4, 8, 8, 8, 8]}

    def __init__(
        self,
        dataset: DatasetSpec,
        patch_size: Size3,
        *,
        variant: str = "transplanted",
        class_label: str = "patch",
        channels: Sequence[int] | None = None,
    ) -> None:
        """`channels`: the widths of the encoder; None: those of the variant."""
        super().__init__(dataset, patch_size)
        if variant not in VARIANTS:
            raise BenchError(f"There is no variant {variant!r}. {did_you_mean(variant, VARIANTS)}")
        self.class_label, self.present = class_label, lesion_target(class_label)
        native = variant == "native"
        channels = channels or (NATIVE_CHANNELS if native else CHANNELS)
        check_patch_size(patch_size, channels)
        network = MultiscaleUNet if native else UNet
        self.net = network(len(dataset.modalities), dataset.n_classes, channels=channels)
        self.segmentation_loss: Callable[[Tensor, Tensor], Tensor] = sigmoid_dice if native else dice_ce
        self.classifier = PooledClassifier(sum(channels), HIDDEN, dropout=0.5)

    def default_loss_weights(self) -> dict[str, float]:
        return {"seg": 0.5, "class": 1e-3}

    def losses(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        outputs = self.named_outputs(batch.image, generator=batch.generator)
        return {
            "seg": self.segmentation_loss(outputs["output"], batch.label),
            "class": lesion_presence(outputs["class"], self.present(batch)),
        }

    def named_outputs(
        self, image: Float[Tensor, "b m x y z"], *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        bottleneck, skips = self.net.encode(image)
        return {
            "output": self.net.decode(bottleneck, skips),
            "class": self.classifier([*skips, bottleneck]),
        }

    def output_kinds(self) -> dict[str, tuple[OutputKind, str]]:
        return {"output": ("segmentation", ""), "class": ("classification", "")}

    def forward(self, image: Float[Tensor, "b m x y z"]) -> Float[Tensor, "b c x y z"]:
        return self.net(image)


class ResidualLayer(nn.Module):
    """ReLU of a normalised convolution plus the input, which is projected where the widths differ."""

    def __init__(self, channels_in: int, channels_out: int, *, kernel_size: int = 3) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            Conv3d(channels_in, channels_out, kernel_size, padding=kernel_size // 2),
            nn.BatchNorm3d(channels_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if channels_in != channels_out:
            self.shortcut = nn.Sequential(Conv3d(channels_in, channels_out, 1), nn.BatchNorm3d(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(self.conv(x) + self.shortcut(x))


class UpStage(nn.Module):
    """Transposed convolution, the skip, one convolution; with ReLU, without normalisation."""

    def __init__(self, channels_in: int, channels_skip: int, channels_out: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose3d(channels_in, channels_out, 3, stride=2, padding=1, output_padding=1)
        self.conv = Conv3d(channels_out + channels_skip, channels_out, 3, padding=1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        up = nn.functional.relu(self.up(x))
        return nn.functional.relu(self.conv(torch.cat([up, skip], dim=1)))


class MultiscaleUNet(nn.Module):
    """The native network: max-pooling, residual layers, and decoder stages whose outputs are added at full resolution.

    Its output is one sigmoid score a foreground class, after a background of 0.
    """

    def __init__(
        self, channels_in: int, n_classes: int, *, channels: Sequence[int] = NATIVE_CHANNELS
    ) -> None:
        super().__init__()
        finest = channels[0]
        self.first = nn.Sequential(
            ResidualLayer(channels_in, finest, kernel_size=7), ResidualLayer(finest, finest)
        )
        self.down = nn.ModuleList(
            nn.Sequential(nn.MaxPool3d(2), ResidualLayer(a, b), ResidualLayer(b, b))
            for a, b in pairwise(channels)
        )
        self.up = nn.ModuleList(UpStage(b, a, a) for b, a in pairwise(reversed(channels)))
        self.side = nn.ModuleList(
            nn.Sequential(Conv3d(width, finest, 1), nn.ReLU(), nn.Upsample(scale_factor=2 ** (i + 1)))
            for i, width in reversed(list(enumerate(channels[1:-1])))
        )
        self.head = nn.Sequential(
            Conv3d(finest, finest, 3, padding=1), nn.ReLU(), Conv3d(finest, n_classes - 1, 1)
        )

    def encode(self, image: Float[Tensor, "b c x y z"]) -> tuple[Tensor, list[Tensor]]:
        """Bottleneck features, and the skips from fine to coarse."""
        features = [self.first(image)]
        for down in self.down:
            features.append(down(features[-1]))
        return features.pop(), features

    def decode(self, bottleneck: Tensor, skips: Sequence[Tensor]) -> Float[Tensor, "b k x y z"]:
        features, sides = bottleneck, []
        for i, (up, skip) in enumerate(zip(self.up, reversed(skips), strict=True)):
            features = up(features, skip)
            if i < len(self.side):
                sides.append(self.side[i](features))
        return with_background(self.head(sum(sides, start=features)))

    def forward(self, image: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b k x y z"]:
        return self.decode(*self.encode(image))
