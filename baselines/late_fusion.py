"""Late fusion: one U-Net per modality, trained apart, whose decisions are joined; one alone is the unimodal U-Net."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from benchmark.nn.losses import dice_ce
from benchmark.nn.unet import CHANNELS, UNet, check_patch_size
from benchmark.protocols import Batch, DatasetSpec, Method, OutputKind, Size3
from benchmark.vocabulary import BenchError, did_you_mean, lacks_modalities

JOINS = ("logit", "union", "intersection")


class LateFusion(Method):
    """A U-Net for each of `members` (default: every modality), each with a loss of its own.

    One trained network is read in several ways, the columns LF and, by a member's name, CT and PET of Table 3:

    * `logit`: the largest mean of the members' logits.
    * `union`: foreground where any member says so.
    * `intersection`: foreground where all members say so.
    * a member's name: that member alone.

    Inside union and intersection the class is the foreground class with the largest mean logit. The union
    therefore contains every member's foreground, and each of them the intersection, in every voxel. With one
    member, `members=["CT"]`, it is the unimodal U-Net and has one reading.

    The losses share no parameter, and Adam treats each parameter by itself: training the members together, with equal
    loss weights, is training them one by one on the same patches. They start from the same initial weights, as
    trainings of their own with the same seed would, so a member is the network that `members=[member]` trains.
    (An optimiser or a scaler that looks at all gradients at once, as that of float16 does, breaks this.)

    Decisions:

    * The paper names union and intersection. `logit`, from the authors' code, is the reading that steers validation.
    * Windows are stitched before the members are joined.
    * All members see the same patches of the same prepared volumes. The authors cropped the volumes of a CT net to the
      body (CT above -100 HU), those of a PET net to PET above 0.
    * What union and intersection mean for several classes is ours; the paper has one.
    """

    paper: ClassVar[str] = "Marinov et al., Mirror U-Net, ICCV Workshops 2023 (Table 3, CT, PET and LF)"
    examples: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "CT only": {"members": ["CT"]},
        "PET only": {"members": ["PET"]},
        "T1Gd and FLAIR": {"members": ["T1Gd", "FLAIR"]},
    }
    losses_by_modality = True
    small: ClassVar[Mapping[str, Any]] = {"channels": [4, 8, 8, 8, 8]}
    decodes_voxelwise = True

    def __init__(
        self,
        dataset: DatasetSpec,
        patch_size: Size3,
        *,
        members: Sequence[str] | None = None,
        channels: Sequence[int] = CHANNELS,
    ) -> None:
        super().__init__(dataset, patch_size)
        names = dataset.modalities if members is None else tuple(members)
        missing = [name for name in names if name not in dataset.modalities]
        if missing:
            raise lacks_modalities("members", missing, dataset)
        if not names or len(set(names)) < len(names):
            raise BenchError(f"members is {list(names)}; it must name at least one modality, and each once.")
        check_patch_size(patch_size, channels)
        self.channels = tuple(channels)
        first = UNet(1, dataset.n_classes, channels=channels)
        self.nets = nn.ModuleDict({name: copy.deepcopy(first) for name in names})
        self.fusion = "single" if len(names) == 1 else "late"
        self.loss_names = tuple(_loss_name(name) for name in names)
        self.readings = ("",) if len(names) == 1 else (*JOINS, *names)

    def losses(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        outputs = self.named_outputs(batch.image, generator=batch.generator)
        return {_loss_name(name): dice_ce(logits, batch.label) for name, logits in outputs.items()}

    def named_outputs(
        self, image: Float[Tensor, "b m x y z"], *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """The logits of every member."""
        return {name: net(self.modality(image, name)) for name, net in self.nets.items()}

    def output_kinds(self) -> dict[str, tuple[OutputKind, str]]:
        return dict.fromkeys(self.nets, ("segmentation", ""))

    def forward(self, image: Float[Tensor, "b m x y z"]) -> Float[Tensor, "b c x y z"]:
        """The members' logits, one member's classes after the other's."""
        return torch.cat(list(self.named_outputs(image).values()), dim=1)

    def decode(self, output: Float[Tensor, "b c x y z"], reading: str = "") -> Integer[Tensor, "b 1 x y z"]:
        """The members' logits as a label map, for one of `readings`; "" is the first."""
        reading = reading or self.readings[0]
        if reading not in self.readings:
            raise BenchError(f"There is no reading {reading!r}. {did_you_mean(reading, self.readings)}")
        logits = dict(zip(self.nets, output.chunk(len(self.nets), dim=1), strict=True))
        if reading not in (*JOINS, *logits):
            reading = "logit"
        if len(logits) == 1:
            return super().decode(output)
        if reading in logits:
            return super().decode(logits[reading])
        mean = torch.stack(list(logits.values())).mean(dim=0)
        if reading == "logit":
            return super().decode(mean)
        says: list[Bool[Tensor, "b 1 x y z"]] = [
            super(LateFusion, self).decode(own) > 0 for own in logits.values()
        ]
        joined = torch.stack(says)
        foreground = joined.any(dim=0) if reading == "union" else joined.all(dim=0)
        return (1 + super().decode(mean[:, 1:])) * foreground

    def only(self, reading: str) -> Method:
        """The network of one member, with the same weights; all of them where a reading joins them."""
        return self._of([reading]) if reading in self.nets else self

    def without(self, modality: str) -> Method | None:
        """The other members, joined as before; the reading of the one that is missing becomes their mean logit."""
        if modality not in self.nets:
            return self
        others = [name for name in self.nets if name != modality]
        if not others:
            return None
        left = self._of(others)
        left.readings = self.readings
        return left

    def _of(self, members: Sequence[str]) -> Method:
        """These members alone, with the same weights."""
        with torch.device("meta"):
            left = LateFusion(self.dataset, self.patch_size, members=members, channels=self.channels)
        for name in members:
            left.nets[name] = self.nets[name]
        return left.train(self.training)


def _loss_name(modality: str) -> str:
    return f"seg_{modality.lower()}"
