"""Valindria et al.: two U-Nets, one a modality, that share some layers and take turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from benchmark.nn.branches import declared_modality
from benchmark.nn.losses import dice_ce
from benchmark.nn.unet import CHANNELS, UNet, check_patch_size
from benchmark.protocols import Batch, DatasetSpec, Method, OutputKind, Size3
from benchmark.vocabulary import BenchError, did_you_mean, lacks_modalities

TURNS = ("strict", "coin")
SHARINGS = ("bottleneck", "decoder", "all_but_first", "encoder")


class Valindria(Method):
    """Dual-stream U-Nets that segment either modality; in each training step one of them learns.

    Even steps show the first of `modalities` (by default the data set's branches, for PET/CT the CT) to its branch, odd
    steps the second; the mask is the same. Layers that are
    shared learn in every step, the others in every second one. `sharing`, after the four networks of the original:

    * `bottleneck` (v4): all but layer 5 are separate, as in Mirror U-Net with L = {5}.
    * `decoder` (v1): separate encoders and bottlenecks, one decoder.
    * `all_but_first` (v2): separate first layers.
    * `encoder` (v3): one encoder and bottleneck, separate decoders.

    A trained network is read by the second branch, by the first, or (`logit`) by the mean of both branches' logits.

    Decisions:

    * Transplanted onto the benchmark's backbone. The original is a residual network with additive skips, trained with
      Dice alone on CT and MRI of different patients; here both modalities show the same patient.
    * The original shares the last convolution in all four networks; here the output layer goes with the decoder,
      since the backbone's holds a transposed convolution of its own.
    * The turns are strict, as in the original. The code of Mirror U-Net tosses a coin in every step (`turns="coin"`).
    * Both branches update the batch statistics of shared layers, and use the mixture when they predict.
    * The paper that re-ran the method does not say which branch or sharing it scored; the second branch, of the leading
      modality, and Mirror's own sharing are the defaults.
    * In Mirror U-Net's code the CT branch is fed the wrong channel, zeros, and so never sees an image, while the
      shared layers learn from it in every second step. Windows are predicted by the PET branch, but those whose CT is
      0 everywhere (air, after clipping) by the CT branch. `zero_ct` repeats this, to explain the published number.
      It has one reading, and "CT" and "PET" are the first and second of `modalities`.
    """

    paper: ClassVar[str] = "Valindria et al., Multi-modal Learning from Unpaired Images, WACV 2018"
    tasks = ("Seg",)
    fusion = "fission"
    examples: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "shared decoder": {"sharing": "decoder"},
        "all but the first layer shared": {"sharing": "all_but_first"},
        "shared encoder": {"sharing": "encoder"},
        "zero CT slip": {"zero_ct": True},
        "a coin": {"turns": "coin"},
        "T1w and T2w": {"modalities": ["T1w", "T2w"]},
    }
    takes_modalities = "branches"
    decodes_voxelwise = True
    small: ClassVar[Mapping[str, Any]] = {"channels": [4, 8, 8, 8, 8]}

    def __init__(
        self,
        dataset: DatasetSpec,
        patch_size: Size3,
        *,
        modalities: Sequence[str] | None = None,
        sharing: str = "bottleneck",
        turns: str = "strict",
        channels: Sequence[int] = CHANNELS,
        zero_ct: bool = False,
    ) -> None:
        super().__init__(dataset, patch_size)
        if sharing not in SHARINGS:
            raise BenchError(f"There is no sharing {sharing!r}. {did_you_mean(sharing, SHARINGS)}")
        if turns not in TURNS:
            raise BenchError(f"turns is {turns!r}; choose one of {', '.join(TURNS)}.")
        if modalities is None:
            pair = "modalities: [A, B]"
            modalities = [declared_modality(dataset, branch, write=pair) for branch in (0, 1)]
        if len(modalities) != 2 or modalities[0] == modalities[1]:
            raise BenchError(f"modalities is {list(modalities)}; it must name two different ones.")
        missing = [name for name in modalities if name not in dataset.modalities]
        if missing:
            raise lacks_modalities("modalities", missing, dataset)
        check_patch_size(patch_size, channels)
        self.first, self.second = modalities
        self.sharing, self.turns, self.channels, self.zero_ct = sharing, turns, tuple(channels), zero_ct
        first = UNet(1, dataset.n_classes, channels=channels)
        second = UNet(1, dataset.n_classes, channels=channels)
        bottleneck = second.depth + 1
        shared = {
            "bottleneck": [bottleneck],
            "decoder": [n for n in second.numbers if n > bottleneck],
            "all_but_first": [n for n in second.numbers if n > 1],
            "encoder": [n for n in second.numbers if n <= bottleneck],
        }
        second.share_layers(first, shared[sharing], output=sharing in ("decoder", "all_but_first"))
        self.branches = nn.ModuleDict({self.first: first, self.second: second})
        self.loss_names = ("seg",)
        self.readings = ("",) if zero_ct else (self.second, self.first, "logit")
        share = "in every second step" if turns == "strict" else "in one of two steps, by a coin"
        self.remarks = (f"each branch learns {share}, the shared layers in every step",)
        if zero_ct:
            self.remarks += (f"the {self.first} branch is fed zeros in training, as in Mirror U-Net's code",)

    def losses(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        turn = self._turn(batch)
        outputs = self.named_outputs(batch.image, generator=batch.generator, streams=[turn])
        return {"seg": dice_ce(outputs[turn], batch.label)}

    def _turn(self, batch: Batch) -> str:
        """The branch that learns in this step; parts of one batch get the same answer."""
        if self.turns == "strict":
            return self.second if batch.step % 2 else self.first
        # Not from the batch's generator: its next number is another one for every part of a batch.
        coin = torch.Generator().manual_seed(batch.generator.initial_seed() + batch.step)
        return self.second if torch.rand((), generator=coin) < 0.5 else self.first

    def named_outputs(
        self,
        image: Float[Tensor, "b m x y z"],
        *,
        generator: torch.Generator | None = None,
        streams: Sequence[str] | None = None,
    ) -> dict[str, Tensor]:
        """The logits of the branches, or of those of some `streams`, as a training step runs them."""
        outputs: dict[str, Tensor] = {}
        for name in self.branches if streams is None else streams:
            shown = self.modality(image, name)
            if generator is not None and self._sees_zeros(name):
                shown = outputs[f"{name} input"] = torch.zeros_like(shown)
            outputs[name] = self.branches[name](shown)
        return outputs

    def output_kinds(self) -> dict[str, tuple[OutputKind, str]]:
        kinds: dict[str, tuple[OutputKind, str]] = {}
        for name in self.branches:
            if self._sees_zeros(name):
                kinds[f"{name} input"] = ("input", name)
            kinds[name] = ("segmentation", "")
        return kinds

    def _sees_zeros(self, branch: str) -> bool:
        return self.zero_ct and branch == self.first

    def forward(self, image: Float[Tensor, "b m x y z"]) -> Float[Tensor, "b c x y z"]:
        """The branches' logits, the first branch's classes before the second's; with `zero_ct` those of one branch."""
        if self.zero_ct and len(self.branches) == 2:
            return self._by_window(image)
        return torch.cat(list(self.named_outputs(image).values()), dim=1)

    def _by_window(self, image: Float[Tensor, "b m x y z"]) -> Float[Tensor, "b c x y z"]:
        first = self.modality(image, self.first)
        empty = ~first.flatten(1).any(dim=1)
        logits = self.branches[self.second](self.modality(image, self.second))
        if empty.any():
            logits[empty] = self.branches[self.first](first[empty]).to(logits.dtype)
        return logits

    def decode(self, output: Float[Tensor, "b c x y z"], reading: str = "") -> Integer[Tensor, "b 1 x y z"]:
        """The stitched logits as a label map, for one of `readings`; "" is the first of them."""
        reading = reading or self.readings[0]
        if reading not in self.readings:
            raise BenchError(f"There is no reading {reading!r}. {did_you_mean(reading, self.readings)}")
        if not reading or len(self.branches) == 1:
            return super().decode(output)
        logits = dict(zip(self.branches, output.chunk(2, dim=1), strict=True))
        return super().decode(
            logits[reading] if reading in logits else torch.stack(list(logits.values())).mean(dim=0)
        )

    def only(self, reading: str) -> Method:
        """The branch that this reading runs, with the same weights; `logit` runs both.

        With `zero_ct` the second, which predicts all but empty windows.
        """
        wanted = self.second if self.zero_ct else reading
        return self._branch_alone(wanted, (reading,)) if wanted in self.branches else self

    def without(self, modality: str) -> Method | None:
        """The other branch alone, in every reading; with `zero_ct` not the first, which never saw an image."""
        if modality not in self.branches:
            return self
        if self.zero_ct and modality == self.second:
            return None
        others = [name for name in self.branches if name != modality]
        return self._branch_alone(others[0], self.readings) if others else None

    def _branch_alone(self, branch: str, readings: tuple[str, ...]) -> Method:
        with torch.device("meta"):
            alone = Valindria(
                self.dataset,
                self.patch_size,
                modalities=(self.first, self.second),
                sharing=self.sharing,
                turns=self.turns,
                channels=self.channels,
                zero_ct=self.zero_ct,
            )
        alone.branches = nn.ModuleDict({branch: self.branches[branch]})
        alone.readings = readings
        return alone.train(self.training)

    def unused_parameters(self) -> dict[str, str]:
        if not self.zero_ct or self.sharing == "encoder":
            return {}
        layer = f"branches.{self.first}.layers.1."
        reason = "it multiplies zeros: this branch is fed no image"
        return {
            f"{layer}conv.unit0.conv.weight": reason,
            f"{layer}conv.unit0.adn.N.weight": "it multiplies zeros: what it normalises is constant",
            f"{layer}residual.weight": reason,
        }
