"""Weninger et al.: an early-fusion U-Net whose encoder also reconstructs the images and detects the tumour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from benchmark.nn.branches import title
from benchmark.nn.decoders import PlainDecoder
from benchmark.nn.heads import PooledClassifier, lesion_target
from benchmark.nn.losses import check_rec_norm, dice_ce, lesion_presence, reconstructions
from benchmark.nn.unet import CHANNELS, UNet, check_patch_size
from benchmark.protocols import Batch, DatasetSpec, Method, OutputKind, Size3
from benchmark.vocabulary import BenchError, did_you_mean


class Weninger(Method):
    """Three tasks on one shared encoder: segmentation, reconstruction of every modality, detection of a tumour.

    The segmentation decoder is the U-Net's; the reconstruction decoder has no skips (256 -> 64 -> 32 -> 16 -> number of
    modalities); the detector averages the bottleneck over the patch (256 -> 64 -> 1).

    Against early fusion this row is the control for the auxiliary tasks. They are those of Mirror U-Net v3, which
    differs in more than fission:

    * v3 reconstructs the first modality from a corrupted image; here all images are clean.
    * v3 reconstructs the first modality with skips, and the second with a decoder that ends in normalisation and PReLU;
      here one decoder without skips, which ends linearly, reconstructs all of them.
    * v3's classifier sees where things are, on a 6^3 grid, and has dropout; the detector has neither.

    Decisions:

    * Only the abstract is public: a shared encoder, separate decoders, the three tasks. The network is therefore
      transplanted onto the benchmark's backbone, and widths, taps and optimiser are ours.
    * The loss weights are Mirror U-Net's: 0.5, 1e-4 and 1e-3. `rec` is the sum over the modalities of the norm of
      each one's error (`rec_norm="mse"`: of its mean square), so 1e-4 holds for each as it does in Mirror U-Net.
    * The images to reconstruct are not corrupted, as in the autoencoder that the abstract speaks of.
    * The detector learns whether the volume has a lesion, as in Mirror U-Net; where every volume has one,
      `class_label="patch"`, which asks the patch, is the task that is left.
    * The original uses its detector in post-processing, too. With `suppress_without_lesion` the detector's probability
      goes through the sliding window as a last channel, and the network has two readings: `suppressed` removes the
      foreground where the mean probability is below 0.5, `unsuppressed` does not. The mean is over the volume's
      windows if that is what the detector was asked about, over those that cover the voxel with `class_label="patch"`.
      Off by default: the paper this benchmark follows mentions no post-processing.
    """

    paper: ClassVar[str] = "Weninger et al., Multi-task Learning for Brain Tumor Segmentation, BrainLes 2019"
    tasks = ("Seg", "Rec", "Class")
    fusion = "early"
    examples: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "suppressed": {"suppress_without_lesion": True},
        "suppressed by patch": {"suppress_without_lesion": True, "class_label": "patch"},
        "mean squares": {"rec_norm": "mse"},
    }
    small: ClassVar[Mapping[str, Any]] = {"channels": [4, 8, 8, 8, 8]}

    def __init__(
        self,
        dataset: DatasetSpec,
        patch_size: Size3,
        *,
        channels: Sequence[int] = CHANNELS,
        rec_norm: str = "l2",
        class_label: str = "volume",
        suppress_without_lesion: bool = False,
    ) -> None:
        super().__init__(dataset, patch_size)
        check_patch_size(patch_size, channels)
        check_rec_norm(rec_norm)
        self.rec_norm = rec_norm
        self.class_label, self.present = class_label, lesion_target(class_label)
        self.suppress_without_lesion = suppress_without_lesion
        self.net = UNet(len(dataset.modalities), dataset.n_classes, channels=channels)
        self.reconstruction_decoder = PlainDecoder(channels, len(dataset.modalities))
        self.detector = PooledClassifier(channels[-1], 64)
        self.loss_names = ("seg", "rec", "class")
        if suppress_without_lesion:
            self.readings = ("suppressed", "unsuppressed")

    def default_loss_weights(self) -> dict[str, float]:
        return {"seg": 0.5, "rec": 1e-4, "class": 1e-3}

    def losses(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        outputs = self.named_outputs(batch.image, generator=batch.generator)
        return {
            "seg": dice_ce(outputs["output"], batch.label),
            "rec": reconstructions(outputs["rebuilt"], batch.image, norm=self.rec_norm),
            "class": lesion_presence(outputs["class"], self.present(batch)),
        }

    def named_outputs(
        self, image: Float[Tensor, "b m x y z"], *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        bottleneck, skips = self.net.encode(image)
        rebuilt = self.reconstruction_decoder(bottleneck)
        return {
            "output": self.net.decode(bottleneck, skips),
            "rebuilt": rebuilt,
            "class": self.detector([bottleneck]),
        }

    def output_kinds(self) -> dict[str, tuple[OutputKind, str]]:
        return {
            "output": ("segmentation", ""),
            "rebuilt": ("reconstruction", title(self.dataset.modalities)),
            "class": ("classification", ""),
        }

    def forward(self, image: Float[Tensor, "b m x y z"]) -> Float[Tensor, "b c x y z"]:
        """The logits, and with `suppress_without_lesion` the probability of a lesion as a last, constant channel."""
        bottleneck, skips = self.net.encode(image)
        logits = self.net.decode(bottleneck, skips)
        if not self.suppress_without_lesion:
            return logits
        # In float32: between 0.498 and 0.502 bfloat16 has three numbers.
        probability = self.detector([bottleneck]).float().sigmoid().reshape(-1, 1, 1, 1, 1)
        return torch.cat([logits.float(), probability.expand(-1, 1, *logits.shape[2:])], dim=1)

    def decode(self, output: Float[Tensor, "b c x y z"], reading: str = "") -> Integer[Tensor, "b 1 x y z"]:
        reading = reading or self.readings[0]
        if reading not in self.readings:
            raise BenchError(f"There is no reading {reading!r}. {did_you_mean(reading, self.readings)}")
        if not self.suppress_without_lesion:
            return super().decode(output)
        labels = super().decode(output[:, :-1])
        if reading == "unsuppressed":
            return labels
        probability = output[:, -1:]
        if self.class_label == "volume":
            probability = probability.mean(dim=(2, 3, 4), keepdim=True)
        return labels * (probability >= 0.5)
