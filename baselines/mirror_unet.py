"""Mirror U-Net: two U-Nets, one a modality, that share some layers and solve different tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from benchmark.nn.corruption import CORRUPTIONS, add_noise, default_cubes, lattice, shuffle_cubes
from benchmark.nn.heads import lesion_target
from benchmark.nn.losses import check_rec_norm, dice_ce, lesion_presence, reconstruction
from benchmark.nn.unet import CHANNELS, UNet, check_patch_size, up_layer
from benchmark.protocols import Batch, DatasetSpec, Method, Size3, UnsupportedDatasetError
from benchmark.vocabulary import BenchError

VERSIONS = ("v1", "v2", "v3", "v4")


class BottleneckDecoder(nn.Sequential):
    """D_BTL: from both bottlenecks, concatenated, to one image, without skips (512 -> 64 -> 32 -> 16 -> 1)."""

    def __init__(self, channels: Sequence[int]) -> None:
        widths = [2 * channels[-1], *reversed(channels[: len(channels) - 2]), 1]
        super().__init__(*(up_layer(a, b) for a, b in pairwise(widths)))


class LesionClassifier(nn.Module):
    """T: from both bottlenecks, concatenated, to one logit.

    A 1x1x1 convolution to one channel and two dense layers over a 6^3 grid, the grid of a 96^3 patch; other
    bottlenecks are averaged onto it.
    """

    GRID = 6

    def __init__(self, channels_in: int) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(nn.Conv3d(channels_in, 1, 1), nn.BatchNorm3d(1), nn.PReLU())
        self.dense = nn.Sequential(
            nn.Linear(self.GRID**3, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 1)
        )

    def forward(self, bottleneck: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b"]:
        grid = self.squeeze(bottleneck)
        if grid.shape[2:] != (self.GRID,) * 3:
            grid = nn.functional.adaptive_avg_pool3d(grid, self.GRID)
        return self.dense(grid.flatten(1)).squeeze(1)


class MirrorUNet(Method):
    """Mirror U-Net v1-v4.

    * v1: the CT branch reconstructs the clean CT from a corrupted one, the PET branch segments.
    * v2: v1, and a decoder without skips reconstructs the PET from both bottlenecks.
    * v3: v2, and a classifier on both bottlenecks says whether the volume has a lesion.
    * v4: both branches segment; the logits are added, `(1 - theta) * PET + theta * CT`.

    `shared_layers` are the numbers of the layers both branches run (1-4 encoder, 5 bottleneck, 6-8
    decoder). In v1-v3 the segmentation of a trained network depends on the PET branch alone, so inference
    runs nothing else. `branches=("PET", "PET")` is the PET-only ablation.

    Decisions (what the paper leaves open or its code does otherwise):

    * The reconstruction loss is the paper's norm (`rec_norm="l2"`); the code's is `"mse"`.
    * `n_cubes`: 27 cubes of 16^3 voxels in a 96^3 patch and in proportion for others; cubes do not overlap.
    * `noise_std`: 0.3 on the [0, 1] scale, always; the code draws it from [0, 0.3] in every step.
    * D_BTL's last layer ends in normalisation and PReLU like the others, as in the code; the text has a plain decoder.
    * The classifier sees both bottlenecks (Equation 3), works at any patch size, and learns whether the volume has
      a lesion; `class_label="patch"` asks the patch instead.
    * A learnable theta starts at 0.5 and passes a sigmoid, which keeps it in (0, 1).
    * Inference sees the clean image.
    * The code trains its CT-only ablation on the CT in both branches, but shows the segmenting one the real PET when it
      predicts, which may explain the published Dice of 12.37. Here a branch predicts from the modality it was trained
      on; `shown_at_inference="PET"` repeats the code's evaluation, also where a study chooses a checkpoint by it.

    Defaults, where the version uses the argument: corruption "shuffle", theta 0.2, rec_norm "l2", noise_std 0.3,
    class_label "volume". An argument that the version does not use is refused.
    """

    paper: ClassVar[str] = "Marinov et al., Mirror U-Net, ICCV Workshops 2023"
    examples: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "v1": {"version": "v1"},
        "v1, noise": {"version": "v1", "corruption": "noise"},
        "v1, no corruption": {"version": "v1", "corruption": "none"},
        "v2": {"version": "v2"},
        "v2, noise": {"version": "v2", "corruption": "noise"},
        "v2, no corruption": {"version": "v2", "corruption": "none"},
        "v3, noise": {"version": "v3", "corruption": "noise"},
        "v3, no corruption": {"version": "v3", "corruption": "none"},
        "v4": {"version": "v4"},
        "v4, learnable theta": {"version": "v4", "theta": "learnable"},
        "v3, CT only": {"version": "v3", "branches": ["CT", "CT"]},
        "v3, CT only, shown PET": {"version": "v3", "branches": ["CT", "CT"], "shown_at_inference": "PET"},
        "v3, PET only": {"version": "v3", "branches": ["PET", "PET"]},
        "v3, all layers shared": {"version": "v3", "shared_layers": [1, 2, 3, 4, 5, 6, 7, 8]},
        "v3, no layer shared": {"version": "v3", "shared_layers": []},
        "v3, T1gd and FLAIR": {"version": "v3", "branches": ["T1gd", "FLAIR"]},
        "v4, T1gd and FLAIR": {"version": "v4", "branches": ["T1gd", "FLAIR"]},
    }
    small: ClassVar[Mapping[str, Any]] = {"channels": [4, 8, 8, 8, 8]}

    def __init__(
        self,
        dataset: DatasetSpec,
        patch_size: Size3,
        *,
        version: str = "v3",
        shared_layers: Sequence[int] = (5,),
        corruption: str | None = None,
        theta: float | Literal["learnable"] | None = None,
        branches: Sequence[str] = ("CT", "PET"),
        channels: Sequence[int] = CHANNELS,
        rec_norm: str | None = None,
        n_cubes: int | None = None,
        noise_std: float | None = None,
        class_label: str | None = None,
        shown_at_inference: str | None = None,
    ) -> None:
        """`shown_at_inference`: the modality the segmenting branch predicts from; None: the one it was trained on."""
        super().__init__(dataset, patch_size)
        _check_choice("version", version, VERSIONS)
        given = {"corruption": corruption, "theta": theta, "rec_norm": rec_norm, "class_label": class_label}
        given |= {"n_cubes": n_cubes, "noise_std": noise_std, "shown_at_inference": shown_at_inference}
        corruption = "none" if version == "v4" else corruption or "shuffle"
        _refuse_unused(given, version=version, corruption=corruption)
        theta = 0.2 if theta is None else theta
        noise_std = 0.3 if noise_std is None else noise_std
        rec_norm, class_label = rec_norm or "l2", class_label or "volume"
        _check_choice("corruption", corruption, CORRUPTIONS)
        check_rec_norm(rec_norm)
        _check_choice("class_label", class_label, ("volume", "patch"))
        if noise_std <= 0:
            raise BenchError(f"noise_std is {noise_std}; it must be positive, or corruption 'none'.")
        if theta != "learnable" and not (isinstance(theta, int | float) and 0 <= theta <= 1):
            raise BenchError(f"theta is {theta!r}; it must lie in [0, 1] or be 'learnable'.")
        missing = [name for name in branches if name not in dataset.modalities]
        if len(branches) != 2 or missing:
            raise UnsupportedDatasetError(
                f"branches = {list(branches)}, but two of {list(dataset.modalities)} are needed for {dataset.name}."
            )
        if shown_at_inference == branches[1]:
            raise BenchError(
                f"shown_at_inference {shown_at_inference!r} turns nothing: the segmenting branch was trained on it; "
                "leave it out."
            )
        if shown_at_inference is not None and shown_at_inference not in dataset.modalities:
            raise UnsupportedDatasetError(
                f"shown_at_inference is {shown_at_inference!r}, but {dataset.name} has "
                f"{', '.join(dataset.modalities)}."
            )
        check_patch_size(patch_size, channels)

        self.version = version
        self.ct_modality, self.pet_modality = branches
        self.shown_modality = shown_at_inference or self.pet_modality
        self.corruption, self.noise_std = corruption, noise_std
        self.n_cubes = default_cubes(patch_size) if n_cubes is None else n_cubes
        if corruption == "shuffle":
            lattice(patch_size, self.n_cubes)
        self.rec_norm, self.class_label = rec_norm, class_label if version == "v3" else ""

        segments = dataset.n_classes
        self.ct = UNet(1, segments if version == "v4" else 1, channels=channels)
        self.pet = UNet(1, segments, channels=channels)
        self.pet.share_layers(self.ct, shared_layers)
        self.bottleneck_decoder = BottleneckDecoder(channels) if version in ("v2", "v3") else None
        self.classifier = LesionClassifier(2 * channels[-1]) if version == "v3" else None
        self.theta_logit = nn.Parameter(torch.zeros(())) if version == "v4" and theta == "learnable" else None
        self.fixed_theta = 0.0 if theta == "learnable" else float(theta)

        names = {"v1": ("rec_ct", "seg"), "v2": ("rec_ct", "rec_pet", "seg"), "v4": ("seg",)}
        self.loss_names = names.get(version, ("rec_ct", "rec_pet", "seg", "class"))
        tasks = {"v3": ("Seg", "Rec", "Class"), "v4": ("Seg",)}
        self.tasks = tasks.get(version, ("Seg", "Rec"))
        self.fusion = "single" if self.ct_modality == self.pet_modality else "fission"
        if shown_at_inference is not None:
            self.remarks = (self._remark(shown_at_inference),)

    def default_loss_weights(self) -> dict[str, float]:
        if self.version == "v4":
            return {"seg": 1.0}
        paper = {"rec_ct": 1e-4, "rec_pet": 1e-4, "seg": 0.5, "class": 1e-3}
        return {name: paper[name] for name in self.loss_names}

    @property
    def theta(self) -> Tensor | float:
        """The weight of the CT branch's logits in v4."""
        return self.fixed_theta if self.theta_logit is None else self.theta_logit.sigmoid()

    def losses(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        ct, pet = batch.modality(self.ct_modality), batch.modality(self.pet_modality)
        if self.version == "v4":
            return {"seg": dice_ce(self.forward(batch.image), batch.label)}

        outputs = self.all_branches(self._corrupt(ct, batch.generator), pet)
        losses = {"rec_ct": reconstruction(outputs["ct"], ct, norm=self.rec_norm)}
        if "bottleneck" in outputs:
            losses["rec_pet"] = reconstruction(outputs["bottleneck"], pet, norm=self.rec_norm)
        losses["seg"] = dice_ce(outputs["pet"], batch.label)
        if "class" in outputs:
            losses["class"] = lesion_presence(outputs["class"], lesion_target(self.class_label)(batch))
        return losses

    def all_branches(
        self, ct: Float[Tensor, "b 1 x y z"], pet: Float[Tensor, "b 1 x y z"]
    ) -> dict[str, Tensor]:
        """What every part of the network says: `ct`, `pet`, and where it has them `bottleneck` and `class`."""
        ct_bottleneck, ct_skips = self.ct.encode(ct)
        pet_bottleneck, pet_skips = self.pet.encode(pet)
        outputs = {
            "ct": self.ct.decode(ct_bottleneck, ct_skips),
            "pet": self.pet.decode(pet_bottleneck, pet_skips),
        }
        both = torch.cat([ct_bottleneck, pet_bottleneck], dim=1)
        if self.bottleneck_decoder is not None:
            outputs["bottleneck"] = self.bottleneck_decoder(both)
        if self.classifier is not None:
            outputs["class"] = self.classifier(both)
        return outputs

    def forward(self, image: Float[Tensor, "b m x y z"]) -> Float[Tensor, "b c x y z"]:
        pet_logits = self.pet(self.modality(image, self.shown_modality))
        if self.version != "v4":
            return pet_logits
        ct_logits = self.ct(self.modality(image, self.ct_modality))
        return (1 - self.theta) * pet_logits + self.theta * ct_logits

    def _remark(self, shown: str) -> str:
        if self.fusion == "single":
            trained = f"trained on {self.pet_modality} alone"
            return f"{trained}, shown {shown} when it predicts, as the authors' code evaluates it"
        return f"the segmenting branch is trained on {self.pet_modality} and shown {shown} when it predicts"

    def watched(self) -> dict[str, Tensor]:
        return {} if self.theta_logit is None else {"theta": self.theta_logit.sigmoid()}

    # The cubes' places and orders come from a generator, which a compiled graph cannot hold.
    @torch.compiler.disable
    def _corrupt(self, ct: Float[Tensor, "b 1 x y z"], generator: torch.Generator) -> Tensor:
        if self.corruption == "noise":
            return add_noise(ct, std=self.noise_std, generator=generator)
        if self.corruption == "shuffle":
            return shuffle_cubes(ct, n_cubes=self.n_cubes, generator=generator)
        return ct


def _check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    if value not in choices:
        raise BenchError(f"{name} is {value!r}; choose one of {', '.join(choices)}.")


def _refuse_unused(given: Mapping[str, object], *, version: str, corruption: str) -> None:
    used = {
        "corruption": version != "v4",
        "rec_norm": version != "v4",
        "theta": version == "v4",
        "class_label": version == "v3",
        "n_cubes": corruption == "shuffle",
        "noise_std": corruption == "noise",
        "shown_at_inference": version != "v4",
    }
    idle = [name for name, value in given.items() if value is not None and not used[name]]
    if idle:
        raise BenchError(
            f"{', '.join(idle)} turns nothing in {version} with corruption {corruption!r}; leave it out."
        )
