"""Mirror U-Net: two U-Nets on different modalities, which share some layers and solve different tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from benchmark.nn.branches import branches_of, group_of, other_branch, title
from benchmark.nn.corruption import CORRUPTIONS, add_noise, default_cubes, lattice, shuffle_cubes
from benchmark.nn.decoders import BottleneckDecoder
from benchmark.nn.heads import lesion_target
from benchmark.nn.losses import check_rec_norm, dice_ce, lesion_presence, reconstructions
from benchmark.nn.unet import CHANNELS, UNet, check_patch_size
from benchmark.protocols import Batch, DatasetSpec, Method, OutputKind, Size3
from benchmark.vocabulary import BenchError

VERSIONS = ("v1", "v2", "v3", "v4")


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

    CT and PET stand for the modalities of the first and of the second branch, also in the names of losses (`rec_ct`,
    `rec_pet`) and outputs. `branches` names them, or groups of modalities that a branch takes as channels,
    `[[T1Gd, T1w], [FLAIR, T2w]]`; None: those that the data set declares. `branches=["PET", "PET"]` is the PET-only
    ablation, `version="v2", branches=["FLAIR", "T1Gd"]` the row (v2)-rec of Table 5.

    `shared_layers` are the numbers of the layers both branches run (1-4 encoder, 5 bottleneck, 6-8
    decoder). In v1-v3 the segmentation of a trained network depends on the PET branch alone, so inference
    runs nothing else, and a missing CT changes nothing. v4 does without a modality that is all its branch takes: the
    other branch decides.

    Decisions (what the paper leaves open or its code does otherwise):

    * The reconstruction loss is the paper's norm (`rec_norm="l2"`); the code's is `"mse"`.
    * `n_cubes`: 27 cubes of 16^3 voxels in a 96^3 patch and in proportion for others; cubes do not overlap.
    * `noise_std`: 0.3 on the [0, 1] scale, always; the code draws it from [0, 0.3] in every step.
    * D_BTL's last layer ends in normalisation and PReLU like the others, as in the code; the text has a plain decoder.
    * The classifier sees both bottlenecks (Equation 3), works at any patch size, and learns whether the volume has
      a lesion; `class_label="patch"` asks the patch instead.
    * A learnable theta starts at 0.5 and passes a sigmoid, which keeps it in (0, 1).
    * Inference sees the clean image.
    * A group is corrupted as one image, whose voxels keep their modalities together, and reconstructed as one; the loss
      is the sum over its modalities. Branches that take different numbers of modalities cannot share layer 1.
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
        "v2-rec, FLAIR and T1Gd": {"version": "v2", "branches": ["FLAIR", "T1Gd"]},
        "v3, groups": {"version": "v3", "branches": [["T1Gd", "T1w"], ["FLAIR", "T2w"]]},
        "v4, groups": {"version": "v4", "branches": ["T1Gd", ["FLAIR", "T2w"]]},
    }
    takes_modalities = "branches"
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
        branches: Sequence[str | Sequence[str]] | None = None,
        channels: Sequence[int] = CHANNELS,
        rec_norm: str | None = None,
        n_cubes: int | None = None,
        noise_std: float | None = None,
        class_label: str | None = None,
        shown_at_inference: str | Sequence[str] | None = None,
    ) -> None:
        """`shown_at_inference`: what the segmenting branch predicts from; None: what it was trained on."""
        super().__init__(dataset, patch_size)
        _check_choice("version", version, VERSIONS)
        given: dict[str, object] = {
            "corruption": corruption,
            "theta": theta,
            "rec_norm": rec_norm,
            "class_label": class_label,
        }
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
        first, second = branches_of(dataset, branches)
        shown = second
        if shown_at_inference is not None:
            shown = group_of(dataset, shown_at_inference, argument="shown_at_inference")
            if shown == second:
                raise BenchError(
                    f"shown_at_inference {title(shown)!r} has no effect: the segmenting branch was trained on it; "
                    "leave it out."
                )
            if len(shown) != len(second):
                raise BenchError(
                    f"shown_at_inference is {title(shown)}, but the segmenting branch takes {len(second)} modalities."
                )
        check_patch_size(patch_size, channels)

        self.version = version
        self.first, self.second, self.shown = first, second, shown
        self.left_out = ""
        self.corruption, self.noise_std = corruption, noise_std
        self.n_cubes = default_cubes(patch_size) if n_cubes is None else n_cubes
        if corruption == "shuffle":
            lattice(patch_size, self.n_cubes)
        self.rec_norm, self.class_label = rec_norm, class_label if version == "v3" else ""

        segments = dataset.n_classes
        self.channels, self.shared_layers = tuple(channels), tuple(shared_layers)
        self.ct = UNet(len(first), segments if version == "v4" else len(first), channels=channels)
        self.pet = UNet(len(second), segments, channels=channels)
        self.pet.share_layers(self.ct, shared_layers)
        self.bottleneck_decoder = (
            BottleneckDecoder(channels, len(second)) if version in ("v2", "v3") else None
        )
        self.classifier = LesionClassifier(2 * channels[-1]) if version == "v3" else None
        self.theta_logit = nn.Parameter(torch.zeros(())) if version == "v4" and theta == "learnable" else None
        self.fixed_theta = 0.0 if theta == "learnable" else float(theta)

        names = {"v1": ("rec_ct", "seg"), "v2": ("rec_ct", "rec_pet", "seg"), "v4": ("seg",)}
        self.loss_names = names.get(version, ("rec_ct", "rec_pet", "seg", "class"))
        tasks = {"v3": ("Seg", "Rec", "Class"), "v4": ("Seg",)}
        self.tasks = tasks.get(version, ("Seg", "Rec"))
        self.fusion = "single" if first == second and len(first) == 1 else "fission"
        if shown_at_inference is not None:
            self.remarks = (self._remark(title(shown)),)

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
        outputs = self.named_outputs(batch.image, generator=batch.generator)
        if self.version == "v4":
            return {"seg": dice_ce(outputs["output"], batch.label)}
        clean = self.modalities(batch.image, self.first)
        losses = {"rec_ct": reconstructions(outputs["ct"], clean, norm=self.rec_norm)}
        if "bottleneck" in outputs:
            pet = self.modalities(batch.image, self.second)
            losses["rec_pet"] = reconstructions(outputs["bottleneck"], pet, norm=self.rec_norm)
        losses["seg"] = dice_ce(outputs["pet"], batch.label)
        if "class" in outputs:
            losses["class"] = lesion_presence(outputs["class"], lesion_target(self.class_label)(batch))
        return losses

    def named_outputs(
        self, image: Float[Tensor, "b m x y z"], *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """The branches `ct` and `pet`, with `bottleneck` and `class`, or the fused `output`, where there are any.

        With a generator `ct` is the reconstruction of the corrupted `ct input`.
        """
        if self.version == "v4":
            return self._fused(image)
        outputs: dict[str, Tensor] = {}
        ct = self.modalities(image, self.first)
        pet = self.modalities(image, self.shown if generator is None else self.second)
        if generator is not None and self.corruption != "none":
            ct = outputs["ct input"] = self._corrupt(ct, generator)
        ct_bottleneck, ct_skips = self.ct.encode(ct)
        pet_bottleneck, pet_skips = self.pet.encode(pet)
        outputs["ct"] = self.ct.decode(ct_bottleneck, ct_skips)
        outputs["pet"] = self.pet.decode(pet_bottleneck, pet_skips)
        both = torch.cat([ct_bottleneck, pet_bottleneck], dim=1)
        if self.bottleneck_decoder is not None:
            outputs["bottleneck"] = self.bottleneck_decoder(both)
        if self.classifier is not None:
            outputs["class"] = self.classifier(both)
        return outputs

    def _fused(self, image: Float[Tensor, "b m x y z"]) -> dict[str, Tensor]:
        """v4's logits, of the branches that are not left out and of both together."""
        logits: dict[str, Tensor] = {}
        if self.left_out != "pet":
            logits["pet"] = self.pet(self.modalities(image, self.second))
        if self.left_out != "ct":
            logits["ct"] = self.ct(self.modalities(image, self.first))
        if self.left_out:
            (alone,) = logits.values()
            return logits | {"output": alone}
        return logits | {"output": (1 - self.theta) * logits["pet"] + self.theta * logits["ct"]}

    def output_kinds(self) -> dict[str, tuple[OutputKind, str]]:
        first, second = title(self.first), title(self.second)
        kinds: dict[str, tuple[OutputKind, str]] = {}
        if self.version == "v4":
            names = [name for name in ("ct", "pet") if name != self.left_out]
            return dict.fromkeys((*names, "output"), ("segmentation", ""))
        if self.corruption != "none":
            kinds["ct input"] = ("input", first)
        kinds |= {"ct": ("reconstruction", first), "pet": ("segmentation", "")}
        if self.bottleneck_decoder is not None:
            kinds["bottleneck"] = ("reconstruction", second)
        if self.classifier is not None:
            kinds["class"] = ("classification", "")
        return kinds

    def forward(self, image: Float[Tensor, "b m x y z"]) -> Float[Tensor, "b c x y z"]:
        if self.version == "v4":
            return self._fused(image)["output"]
        return self.pet(self.modalities(image, self.shown))

    def without(self, modality: str) -> Method | None:
        """v1-v3 as they are, unless the segmenting branch looks at it; of v4 the other branch alone."""
        if self.version != "v4":
            return None if modality in self.shown else self
        read = {"ct": self.first, "pet": self.second}
        read.pop(self.left_out, None)
        if not any(modality in group for group in read.values()):
            return self
        other = other_branch((self.first, self.second), modality)
        return None if self.left_out or other is None else self._without_branch(("pet", "ct")[other])

    def _without_branch(self, branch: str) -> Method:
        """v4 where the other branch decides, with the same weights."""
        with torch.device("meta"):
            alone = MirrorUNet(
                self.dataset,
                self.patch_size,
                version="v4",
                theta=float(branch == "pet"),
                branches=(self.first, self.second),
                shared_layers=self.shared_layers,
                channels=self.channels,
            )
        alone.ct, alone.pet, alone.left_out = self.ct, self.pet, branch
        return alone.train(self.training)

    def _remark(self, shown: str) -> str:
        if self.fusion == "single":
            trained = f"trained on {title(self.second)} alone"
            return f"{trained}, shown {shown} when it predicts, as the authors' code evaluates it"
        return f"the segmenting branch is trained on {title(self.second)} and shown {shown} when it predicts"

    def watched(self) -> dict[str, Tensor]:
        return {} if self.theta_logit is None else {"theta": self.theta_logit.sigmoid()}

    # The cubes' places and orders come from a generator, which a compiled graph cannot hold.
    @torch.compiler.disable
    def _corrupt(self, ct: Float[Tensor, "b m x y z"], generator: torch.Generator) -> Tensor:
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
            f"{', '.join(idle)} has no effect in {version} with corruption {corruption!r}; leave it out."
        )
