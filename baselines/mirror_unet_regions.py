"""Mirror U-Net for the brain: each of two branches segments a region of its own, and the bottleneck a third."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from benchmark.nn.branches import branches_of, other_branch
from benchmark.nn.decoders import BottleneckDecoder
from benchmark.nn.dice import masks, softmax_dice
from benchmark.nn.losses import dice_ce
from benchmark.nn.unet import CHANNELS, UNet, check_patch_size
from benchmark.protocols import Batch, DatasetSpec, Method, OutputKind, Size3, UnsupportedDatasetError
from benchmark.vocabulary import BenchError, did_you_mean

BOTTLENECK = "bottleneck"
"""The name of the third output; the branches' outputs are named after their regions."""


class MirrorUNetRegions(Method):
    """Mirror U-Net where every task is the segmentation of a region (Section 3.3): v1 and v2 of Table 5.

    The first of `branches` segments the first of `branch_regions`, the second branch the second, each against the
    background; both run the layers `shared_layers`. With `bottleneck_region` (v2) a decoder without skips segments
    that region from both bottlenecks, concatenated; without it (v1) there is none. On brain tumours T1Gd segments the
    tumour core, FLAIR the oedema, the bottleneck the whole tumour.

    A label map joins the branches' decisions: a voxel belongs to a region where its branch says so, and every region
    made of both is their union. The bottleneck's mask is a regularisation, as in the paper: it takes no part, and
    inference does not run it; `named_outputs` shows it.

    `branches` are by default those of the data set; the regions have no default, since no data set says whose they
    are. Where a modality is missing that is all its branch takes, the other branch tells its own region, and nothing is
    said of the missing branch's.

    Decisions:

    * Where both branches claim a voxel, it goes to the one that gives its region the larger probability, to the first
      where they are equal. The paper, which scores unions, need not decide. The two regions must not overlap.
    * A region of several labels is written as its lowest one: its parts are not told apart. Regions that are no union
      of the two (the enhancing tumour) are not told, and not scored.
    * Every task has a Dice and cross-entropy of its own, with the paper's lambda_seg of 0.5. The authors' code counts
      the oedema's Dice twice, without cross-entropy (`dice_twice: [edema]`), and divides by three what it has already
      weighted with a third.
    * Logits are averaged over windows before the branches' probabilities are compared.
    * D_BTL's last layer ends in normalisation and PReLU, as in the PET/CT network.
    * T1Gd is the paper's; the authors' code feeds T2w to that branch.
    * The whole tumour is the union, as in the paper; the authors' code scores the bottleneck's mask.
    """

    paper: ClassVar[str] = "Marinov et al., Mirror U-Net, ICCV Workshops 2023 (Section 3.3 and Table 5)"
    examples: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "v2": {"branch_regions": ["tumor core", "edema"], "bottleneck_region": "whole tumor"},
        "v1": {"branch_regions": ["tumor core", "edema"]},
        "v1, as the code": {"branch_regions": ["tumor core", "edema"], "dice_twice": ["edema"]},
        "v2, groups": {
            "branches": [["T1Gd", "T1w"], ["FLAIR", "T2w"]],
            "branch_regions": ["tumor core", "edema"],
            "bottleneck_region": "whole tumor",
        },
    }
    takes_modalities = "branches"
    tasks = ("Seg",)
    fusion = "fission"
    decodes_voxelwise = True
    small: ClassVar[Mapping[str, Any]] = {"channels": [4, 8, 8, 8, 8]}

    def __init__(
        self,
        dataset: DatasetSpec,
        patch_size: Size3,
        *,
        branches: Sequence[str | Sequence[str]] | None = None,
        branch_regions: Sequence[str] | None = None,
        bottleneck_region: str | None = None,
        dice_twice: Sequence[str] = (),
        shared_layers: Sequence[int] = (5,),
        channels: Sequence[int] = CHANNELS,
    ) -> None:
        """`bottleneck_region` None: the bottleneck has no task. `dice_twice`: tasks without cross-entropy."""
        super().__init__(dataset, patch_size)
        first, second = branches_of(dataset, branches)
        self.labels_of = {region.name: region.labels for region in dataset.regions}
        self.regions = self._two_regions(branch_regions)
        if bottleneck_region is not None:
            self._check_known([bottleneck_region], "bottleneck_region")
            if bottleneck_region in self.regions:
                raise BenchError(
                    f"bottleneck_region is {bottleneck_region!r}, the task of a branch; choose another region, or none."
                )
        check_patch_size(patch_size, channels)
        self.branches = (first, second)
        self.bottleneck_region = bottleneck_region
        self.shared_layers, self.channels = tuple(shared_layers), tuple(channels)
        self.left_out: int | None = None
        self.first = UNet(len(first), 2, channels=channels)
        self.second = UNet(len(second), 2, channels=channels)
        self.second.share_layers(self.first, shared_layers)
        self.bottleneck_decoder = None if bottleneck_region is None else BottleneckDecoder(channels, 2)

        tasks = [*self.regions, *([bottleneck_region] if bottleneck_region is not None else ())]
        if isinstance(dice_twice, str) or not set(dice_twice) <= set(tasks):
            raise BenchError(
                f"dice_twice is {dice_twice!r}; it must list some of the tasks {', '.join(tasks)}."
            )
        self.dice_twice = tuple(dice_twice)
        self.loss_names = tuple(f"seg_{_slug(region)}" for region in tasks)
        if len(set(self.loss_names)) < len(self.loss_names):
            raise BenchError(f"The regions {', '.join(tasks)} give losses of the same name; rename one.")
        self.predicted_regions = self._unions_of(self.regions)

    def _two_regions(self, wanted: Sequence[str] | None) -> tuple[str, str]:
        known = ", ".join(self.labels_of)
        if wanted is None:
            raise UnsupportedDatasetError(
                "It must be told whose region is whose; write branch_regions: [A, B], the regions of the first and of "
                f"the second branch, two of those of {self.dataset.name}: {known}."
            )
        self._check_known(wanted, "branch_regions")
        if isinstance(wanted, str) or len(wanted) != 2:
            raise BenchError(f"branch_regions is {wanted!r}; it must be two of {known}.")
        first, second = wanted
        if common := set(self.labels_of[first]) & set(self.labels_of[second]):
            raise BenchError(
                f"branch_regions: {first} and {second} have the labels {sorted(common)} in common; choose regions "
                "that do not overlap."
            )
        return first, second

    def _check_known(self, wanted: Sequence[str], argument: str) -> None:
        for name in wanted:
            if name not in self.labels_of:
                raise UnsupportedDatasetError(
                    f"{argument} names {name!r}, which is no region of {self.dataset.name}. "
                    f"{did_you_mean(name, self.labels_of)}"
                )

    def _unions_of(self, told: Sequence[str]) -> tuple[str, ...]:
        """The data set's regions that are one of these, or all of them together."""
        unions = [frozenset(self.labels_of[name]) for name in told]
        unions.append(frozenset().union(*unions))
        return tuple(name for name, labels in self.labels_of.items() if frozenset(labels) in unions)

    def default_loss_weights(self) -> dict[str, float]:
        return dict.fromkeys(self.loss_names, 0.5)

    def losses(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        outputs = self.named_outputs(batch.image, generator=batch.generator)
        losses = {}
        for loss_name, (name, (_, region)) in zip(self.loss_names, self.output_kinds().items(), strict=True):
            mask = masks(batch.label, [self.labels_of[region]])
            twice = region in self.dice_twice
            losses[loss_name] = (
                2 * softmax_dice(outputs[name], mask) if twice else dice_ce(outputs[name], mask)
            )
        return losses

    def named_outputs(
        self, image: Float[Tensor, "b m x y z"], *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """The branches' logits by their regions, and those of the `bottleneck`; two channels each."""
        if self.left_out is not None:
            return self._branches(image)
        encoded = [
            net.encode(self.modalities(image, group))
            for net, group in zip((self.first, self.second), self.branches, strict=True)
        ]
        nets = zip(self.regions, (self.first, self.second), encoded, strict=True)
        outputs = {region: net.decode(*features) for region, net, features in nets}
        if self.bottleneck_decoder is not None:
            both = torch.cat([bottleneck for bottleneck, _ in encoded], dim=1)
            outputs[BOTTLENECK] = self.bottleneck_decoder(both)
        return outputs

    def output_kinds(self) -> dict[str, tuple[OutputKind, str]]:
        kinds: dict[str, tuple[OutputKind, str]] = {
            region: ("segmentation", region)
            for number, region in enumerate(self.regions)
            if number != self.left_out
        }
        if self.bottleneck_region is not None and self.left_out is None:
            kinds[BOTTLENECK] = ("segmentation", self.bottleneck_region)
        return kinds

    def _branches(self, image: Float[Tensor, "b m x y z"]) -> dict[str, Tensor]:
        """The logits of the branches that are not left out, by their regions."""
        return {
            region: net(self.modalities(image, group))
            for number, (region, net, group) in enumerate(
                zip(self.regions, (self.first, self.second), self.branches, strict=True)
            )
            if number != self.left_out
        }

    def forward(self, image: Float[Tensor, "b m x y z"]) -> Float[Tensor, "b 4 x y z"]:
        """The logits of the first branch and of the second; equal ones, which claim nothing, where one is left out."""
        logits = self._branches(image)
        nothing = torch.zeros_like(next(iter(logits.values())))
        return torch.cat([logits.get(region, nothing) for region in self.regions], dim=1)

    def decode(self, output: Float[Tensor, "b 4 x y z"], reading: str = "") -> Integer[Tensor, "b 1 x y z"]:
        if reading:
            raise BenchError(f"There is no reading {reading!r}; there is one, without a name.")
        first, second = output[:, 1:2] - output[:, :1], output[:, 3:] - output[:, 2:3]
        lowest = [min(self.labels_of[region]) for region in self.regions]
        label = torch.zeros_like(first, dtype=torch.uint8)
        label.masked_fill_((first > 0) & (first >= second), lowest[0])
        return label.masked_fill_((second > 0) & (second > first), lowest[1])

    def without(self, modality: str) -> Method | None:
        """Itself where no branch looks at it, or the branch that does without: it tells its own region alone."""
        read = [group for number, group in enumerate(self.branches) if number != self.left_out]
        if not any(modality in group for group in read):
            return self
        other = other_branch(self.branches, modality)
        if self.left_out is not None or other is None:
            return None
        with torch.device("meta"):
            alone = MirrorUNetRegions(
                self.dataset,
                self.patch_size,
                branches=self.branches,
                branch_regions=self.regions,
                shared_layers=self.shared_layers,
                channels=self.channels,
            )
        alone.first, alone.second, alone.left_out = self.first, self.second, 1 - other
        alone.predicted_regions = self._unions_of([self.regions[other]])
        return alone.train(self.training)


def _slug(region: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", region.lower()).strip("_")
