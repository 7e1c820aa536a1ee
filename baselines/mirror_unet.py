"""Mirror U-Net: two U-Nets on different modalities, which share some layers and solve different tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from benchmark.nn.branches import branches_of, group_of, other_branch, title
from benchmark.nn.corruption import (
    CORRUPTIONS,
    add_noise,
    default_cubes,
    lattice,
    shuffle_common_cubes,
    shuffle_cubes,
)
from benchmark.nn.decoders import BottleneckDecoder
from benchmark.nn.heads import lesion_target
from benchmark.nn.losses import check_rec_norm, dice_ce, lesion_presence, reconstructions
from benchmark.nn.unet import CHANNELS, UNet, check_patch_size
from benchmark.protocols import Batch, DatasetSpec, Method, OutputKind, Size3
from benchmark.vocabulary import BenchError

VERSIONS = ("v1", "v2", "v3", "v4")
REC_NORMS = ("l2", "mse", "joint_mse")
CLASS_LABELS = ("volume", "patch")
CLASS_INPUTS = ("both", "second")
THETA_BOUNDS = ("sigmoid", "clamp")
CUBE_PLACES = ("own", "common")
NOISE_LEVELS = ("fixed", "drawn")


class LesionClassifier(nn.Module):
    """T: from the bottlenecks, concatenated, to one logit.

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

    Decisions (what the paper leaves open or its code does otherwise; `docs/differences.md` has the whole list, also of
    what belongs to training, data and inference; the profile `authors` sets all of it as the code):

    * The reconstruction loss is the paper's norm, of each image in full (`rec_norm="l2"`). The code takes one mean
      squared error over both reconstructions (`"joint_mse"`), which in v2 and v3 is half of either's own (`"mse"`).
    * The weights are the paper's: lambda_rec 1e-4, lambda_class 1e-3. The code's default of lambda_rec is 1e-3; its
      lambda_class reaches no loss, and what counts is 0.5. `loss_weights` sets them.
    * `n_cubes`: 27 cubes of 16^3 voxels in a 96^3 patch and in proportion for others; cubes do not overlap, and every
      patch has its own places. The code shuffles one cube unless told otherwise; its cubes lie at the same places in
      all patches of a step, and may overlap (`n_cubes=1, cube_places="common"`).
    * `noise_std`: 0.3 on the [0, 1] scale, always; the code draws the deviation of a step from [0, 0.3]
      (`noise_level="drawn"`).
    * D_BTL's last layer ends in normalisation and PReLU like the others, as in the code; the text has a plain decoder.
    * The classifier sees both bottlenecks (Equation 3) at any patch size; the code's sees that of the PET branch alone
      (`class_input="second"`), at one size. It learns whether the volume has a lesion; `class_label="patch"` asks the
      patch instead.
    * A learnable theta starts at 0.5 and passes a sigmoid, which keeps it in (0, 1); the code clamps it to [0, 1]
      (`theta_bounds="clamp"`), and its gradient at the start is four times as large.
    * A fixed theta is 0.2 unless a study says otherwise, the paper's best; the code's default is 0.1.
    * CT comes before PET wherever both pass a shared layer, as in the code: the running statistics of its batch
      normalisation weigh what came last the most.
    * Inference sees the clean image; the code adds the noise there, too, which only reconstructions show.
    * A group is corrupted as one image, whose voxels keep their modalities together, and reconstructed as one; the loss
      is the sum over its modalities. Branches that take different numbers of modalities cannot share layer 1.
    * The code trains its CT-only ablation on the CT in both branches, but shows the segmenting one the real PET when it
      predicts, which may explain the published Dice of 12.37. Here a branch predicts from the modality it was trained
      on; `shown_at_inference="PET"` repeats the code's evaluation, also where a study chooses a checkpoint by it.

    Defaults, where the version uses the argument: corruption "shuffle", theta 0.2, rec_norm "l2", noise_std 0.3,
    noise_level "fixed", cube_places "own", class_label "volume", class_input "both", theta_bounds "sigmoid". An
    argument that the version does not use is refused.
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
        "v4, clamped theta": {"version": "v4", "theta": "learnable", "theta_bounds": "clamp"},
        "v3, as the code": {
            "version": "v3",
            "rec_norm": "joint_mse",
            "class_input": "second",
            "n_cubes": 1,
            "cube_places": "common",
        },
        "v1, noise as the code": {"version": "v1", "corruption": "noise", "noise_level": "drawn"},
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
        cube_places: str | None = None,
        noise_std: float | None = None,
        noise_level: str | None = None,
        class_label: str | None = None,
        class_input: str | None = None,
        theta_bounds: str | None = None,
        shown_at_inference: str | Sequence[str] | None = None,
    ) -> None:
        """`shown_at_inference`: what the segmenting branch predicts from; None: what it was trained on."""
        super().__init__(dataset, patch_size)
        _chosen("version", version, VERSIONS)
        given: dict[str, object] = {
            "corruption": corruption,
            "theta": theta,
            "theta_bounds": theta_bounds,
            "rec_norm": rec_norm,
            "class_label": class_label,
            "class_input": class_input,
            "n_cubes": n_cubes,
            "cube_places": cube_places,
            "noise_std": noise_std,
            "noise_level": noise_level,
            "shown_at_inference": shown_at_inference,
        }
        corruption = "none" if version == "v4" else corruption or "shuffle"
        _refuse_unused(given, version=version, corruption=corruption, learnable=theta == "learnable")
        theta = 0.2 if theta is None else theta
        noise_std = 0.3 if noise_std is None else noise_std
        _chosen("corruption", corruption, CORRUPTIONS)
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
        self.noise_level = _chosen("noise_level", noise_level, NOISE_LEVELS)
        self.cube_places = _chosen("cube_places", cube_places, CUBE_PLACES)
        self.n_cubes = default_cubes(patch_size) if n_cubes is None else n_cubes
        if self.n_cubes < 1:
            raise BenchError(f"n_cubes is {self.n_cubes}; it must be positive.")
        if corruption == "shuffle" and self.cube_places == "own":
            lattice(patch_size, self.n_cubes)
        self.rec_norm = rec_norm or REC_NORMS[0]
        check_rec_norm(self.rec_norm, REC_NORMS)
        class_label = _chosen("class_label", class_label, CLASS_LABELS)
        self.class_label = class_label if version == "v3" else ""
        self.class_input = _chosen("class_input", class_input, CLASS_INPUTS)

        segments = dataset.n_classes
        self.channels, self.shared_layers = tuple(channels), tuple(shared_layers)
        self.ct = UNet(len(first), segments if version == "v4" else len(first), channels=channels)
        self.pet = UNet(len(second), segments, channels=channels)
        self.pet.share_layers(self.ct, shared_layers)
        self.bottleneck_decoder = (
            BottleneckDecoder(channels, len(second)) if version in ("v2", "v3") else None
        )
        seen = {"both": 2, "second": 1}[self.class_input] * channels[-1]
        self.classifier = LesionClassifier(seen) if version == "v3" else None
        bounds = _chosen("theta_bounds", theta_bounds, THETA_BOUNDS) if theta == "learnable" else ""
        self.theta_logit = nn.Parameter(torch.zeros(())) if bounds == "sigmoid" else None
        self.theta_clamped = nn.Parameter(torch.tensor(0.5)) if bounds == "clamp" else None
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
        if self.theta_logit is not None:
            return self.theta_logit.sigmoid()
        return self.fixed_theta if self.theta_clamped is None else self.theta_clamped.clamp(0, 1)

    def losses(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        outputs = self.named_outputs(batch.image, generator=batch.generator)
        if self.version == "v4":
            return {"seg": dice_ce(outputs["output"], batch.label)}
        rebuilt = {"rec_ct": ("ct", self.first), "rec_pet": ("bottleneck", self.second)}
        targets = {name: group for name, group in rebuilt.items() if group[0] in outputs}
        norm, part = self.rec_norm, 1.0
        if norm == "joint_mse":
            norm, part = "mse", 1 / sum(len(group) for _, group in targets.values())
        losses = {
            name: part * reconstructions(outputs[output], self.modalities(batch.image, group), norm=norm)
            for name, (output, group) in targets.items()
        }
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
            outputs["class"] = self.classifier(both if self.class_input == "both" else pet_bottleneck)
        return outputs

    def _fused(self, image: Float[Tensor, "b m x y z"]) -> dict[str, Tensor]:
        """v4's logits, of the branches that are not left out and of both together."""
        logits: dict[str, Tensor] = {}
        # In the authors' order: running statistics of shared layers remember the branch that came last.
        if self.left_out != "ct":
            logits["ct"] = self.ct(self.modalities(image, self.first))
        if self.left_out != "pet":
            logits["pet"] = self.pet(self.modalities(image, self.second))
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
        return {"theta": self.theta} if isinstance(self.theta, Tensor) else {}

    # The cubes' places and orders come from a generator, which a compiled graph cannot hold.
    @torch.compiler.disable
    def _corrupt(self, ct: Float[Tensor, "b m x y z"], generator: torch.Generator) -> Tensor:
        if self.corruption == "noise":
            drawn = self.noise_level == "drawn"
            return add_noise(ct, std=self.noise_std, generator=generator, drawn=drawn)
        if self.corruption == "shuffle":
            shuffle = shuffle_cubes if self.cube_places == "own" else shuffle_common_cubes
            return shuffle(ct, n_cubes=self.n_cubes, generator=generator)
        return ct


def _chosen(name: str, value: str | None, choices: Sequence[str]) -> str:
    """The choice, by default the first; BenchError for any other."""
    if value is not None and value not in choices:
        raise BenchError(f"{name} is {value!r}; choose one of {', '.join(choices)}.")
    return value or choices[0]


def _refuse_unused(given: Mapping[str, object], *, version: str, corruption: str, learnable: bool) -> None:
    used = {
        "corruption": version != "v4",
        "rec_norm": version != "v4",
        "theta": version == "v4",
        "theta_bounds": version == "v4" and learnable,
        "class_label": version == "v3",
        "class_input": version == "v3",
        "n_cubes": corruption == "shuffle",
        "cube_places": corruption == "shuffle",
        "noise_std": corruption == "noise",
        "noise_level": corruption == "noise",
        "shown_at_inference": version != "v4",
    }
    idle = [name for name, value in given.items() if value is not None and not used[name]]
    if not idle:
        return
    theta = "" if version != "v4" or learnable else " and a theta that is not learnable"
    raise BenchError(
        f"{', '.join(idle)} has no effect in {version} with corruption {corruption!r}{theta}; leave it out."
    )
