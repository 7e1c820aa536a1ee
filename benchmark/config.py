"""What is run, as data. `RunConfig` decides the numbers; `Resources` must not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from benchmark.vocabulary import BenchError

Size = tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]
Millimetres = tuple[
    Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]
]
Precision = Literal["float32", "bfloat16", "float16"]

USUAL_THREADS = 1
"""With several runs at a time a thread for each wastes nothing."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    unsaid: ClassVar[frozenset[str]] = frozenset()
    """Settings that are younger than some results: they are written only where they are not as they always were, so
    that runs of before keep their names."""

    @model_serializer(mode="wrap")
    def _without_unsaid(self, content_of: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = content_of(self)
        usual = {name: type(self).model_fields[name].default for name in self.unsaid}
        return {
            name: value
            for name, value in content.items()
            if name not in usual or getattr(self, name) != usual[name]
        }


class TrainingConfig(_Strict):
    """The recipe. Defaults are the paper's (Section 3.4), at 96^3 and float32.

    What the authors' code does otherwise is in `docs/differences.md`, and set by the profile `authors`.
    """

    unsaid = frozenset(
        {
            "crops_per_case",
            "shuffle",
            "other_patches",
            "tumour_free",
            "clip",
            "augmentation",
            "norm_batches",
            "validate_every",
            "best_on",
        }
    )

    patch_size: Size = (96, 96, 96)
    batch_size: int = Field(4, gt=0)
    epochs: int = Field(400, gt=0)
    steps: int | None = Field(None, gt=0)
    """Optimiser steps in all; None: `epochs` passes over the training cases."""
    crops_per_case: int = Field(1, gt=0)
    """Patches of a case in a batch, and in an epoch; the authors' code takes all four of a step from one volume."""
    shuffle: bool = True
    """Cases in a new random order every epoch; else in the order of the fold, always."""
    tumour_free: Literal["kept", "dropped"] = "kept"
    """Training and validation cases without a lesion. Test cases are the same for all methods."""
    clip: Literal["always", "inference"] = "always"
    """Where values beyond a modality's window (HU, SUV) are clipped: also in training, or in inference alone."""
    lesion_fraction: float = Field(2 / 3, ge=0, le=1)
    """Probability that a patch of a case with lesions is centred on a lesion voxel."""
    other_patches: Literal["anywhere", "background"] = "anywhere"
    """Where the others lie: at any place, all equally likely, or centred on any voxel without lesion and moved back
    into the volume, as by MONAI's `RandCropByPosNegLabel`, which takes more from the volume's border."""
    augmentation: Literal["none", "flip_scale_shift"] = "none"
    """Of patches, for methods that do not train themselves, before what a method does on its own. `flip_scale_shift`:
    mirrored along each axis with probability 1/2, all modalities times one factor from [0.9, 1.1] and plus one number
    from [-0.1, 0.1] in prepared units, as by the authors' code on brain tumours and by MONAI's tutorial of BraTS."""
    optimiser: Literal["adam", "sgd"] = "adam"
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-6, ge=0)
    """Added to the gradient (coupled), with either optimiser."""
    momentum: float = Field(0.0, ge=0, lt=1)
    """Of `sgd`."""
    nesterov: bool = False
    schedule: Literal["constant", "step", "cosine", "polynomial"] = "constant"
    """`step`: a tenth of the learning rate after 62.5 % of the steps, as the authors' code (250 of 400 epochs);
    `polynomial`: times (1 - step / steps) ** 0.9, as nnU-Net."""
    precision: Precision = "float32"
    compile: bool = False
    channels_last: bool = False
    deterministic: bool = True
    """Deterministic algorithms only; on the CPU a resumed run is then equal bit for bit."""
    norm_batches: int = Field(0, ge=0)
    """Batches over which the statistics of batch normalisation are computed anew after the last step; 0: they stay
    the moving averages of the training, which short trainings outrun."""
    validations: int = Field(10, ge=0)
    """How often the validation part is scored in a training, at equal distances."""
    validate_every: int | None = Field(None, gt=0)
    """After so many steps again and again, instead of `validations` times."""
    checkpoint: Literal["last", "best"] = "last"
    """Which weights are evaluated; `best` is chosen by mean Dice on the cases of `best_on`."""
    best_on: Literal["validation", "test"] = "validation"
    """`test`, the very cases that are reported, repeats the authors' code, and shows what that does to scores. Reports
    call such runs not sound, claims refuse them, and no search may have them."""

    @model_validator(mode="after")
    def _best_needs_validations(self) -> TrainingConfig:
        if self.checkpoint == "best" and self.validations == 0 and self.validate_every is None:
            raise ValueError("checkpoint: best needs validations > 0")
        if self.best_on == "test" and self.checkpoint != "best":
            raise ValueError("best_on has no effect with checkpoint: last; leave it out")
        if self.checkpoint == "best" and self.norm_batches:
            raise ValueError("norm_batches are of the last weights; leave them out with checkpoint: best")
        return self

    @model_validator(mode="after")
    def _batches_hold_whole_cases(self) -> TrainingConfig:
        if self.batch_size % self.crops_per_case:
            raise ValueError(f"batch_size must be a multiple of crops_per_case ({self.crops_per_case})")
        return self

    @model_validator(mode="after")
    def _momentum_is_of_sgd(self) -> TrainingConfig:
        if self.optimiser == "adam" and (self.momentum or self.nesterov):
            raise ValueError("momentum and nesterov have no effect with optimiser: adam; leave them out")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs momentum > 0")
        return self


class InferenceConfig(_Strict):
    overlap: float = Field(0.25, ge=0, lt=1)
    windows_per_batch: int = Field(4, gt=0)
    score_grid: Literal["dataset", "native"] = "dataset"
    """`dataset`: the full volume at `spacing_mm` (None: the data set's); `native`: the original files' grid."""


class RunConfig(_Strict):
    """One training and its evaluation."""

    unsaid = frozenset({"threads"})

    dataset: str
    spacing_mm: Millimetres | None = None
    """None: the data set's own spacing."""
    fold: int = Field(0, ge=0)
    seed: int = Field(0, ge=0)
    method: str
    method_args: dict[str, Any] = {}
    method_digest: str | None = None
    """Names the source of a method from outside the suite, so that an edited file is another run."""
    loss_weights: dict[str, float]
    training: TrainingConfig = TrainingConfig()
    inference: InferenceConfig = InferenceConfig()
    threads: int = Field(USUAL_THREADS, gt=0)
    """Of a run on the CPU: how many add up a sum decides its last bits, and a training makes other scores of them.
    Beside a GPU they only move data."""

    @field_validator("loss_weights")
    @classmethod
    def _weights_are_numbers(cls, weights: dict[str, float]) -> dict[str, float]:
        bad = {name: weight for name, weight in weights.items() if not 0 <= weight < float("inf")}
        if bad:
            raise ValueError(f"loss weights must be finite and not negative: {bad}")
        return weights

    def canonical_json(self) -> str:
        """Equal configurations give equal strings."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))


class Resources(_Strict):
    """How a run is executed. Not part of its identity: on one machine's CPU no bit of a score depends on it."""

    device: str = "cpu"
    threads: int = Field(1, gt=0)
    """Of the host of a GPU; on the CPU a run has those of its configuration."""
    loader_threads: int = Field(2, gt=0)
    checkpoint_seconds: float = Field(120.0, gt=0)
    save_predictions: bool = False


def run_id(config: RunConfig, data_fingerprint: str) -> str:
    """12 hexadecimal digits that name a training: its configuration and the prepared data it sees."""
    identity = config.canonical_json() + data_fingerprint
    return hashlib.sha256(identity.encode()).hexdigest()[:12]


def merge(base: dict[str, Any], *overrides: dict[str, Any]) -> dict[str, Any]:
    """Nested dictionaries merged key by key; a later value replaces an earlier one."""
    merged = dict(base)
    for override in overrides:
        for key, value in override.items():
            old = merged.get(key)
            merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"training": {"steps": 120}}` as `{"training.steps": 120}`: one key a setting; lists are values."""
    entries: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            entries |= flat(value, f"{prefix}{name}.")
        else:
            entries[f"{prefix}{name}"] = value
    return entries


def run_config(settings: dict[str, Any], *, source: str) -> RunConfig:
    """A checked configuration; errors name every wrong key and the file or option it comes from."""
    try:
        return RunConfig.model_validate(settings)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise BenchError(f"{source}: {faults}.") from error
