"""What the engine and a method agree on. See `benchmark.vocabulary` for the words without tensors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from benchmark.vocabulary import (
    BenchError,
    Case,
    DatasetSpec,
    MissingPackageError,
    Percentiles,
    Preparation,
    Size3,
    UnsupportedDatasetError,
    Window,
    ZScore,
)

__all__ = [
    "BaseMethod",
    "Batch",
    "BenchError",
    "Case",
    "DatasetSpec",
    "ExternalJob",
    "ExternalMethod",
    "ExternalTraining",
    "Method",
    "MissingPackageError",
    "OutputKind",
    "Percentiles",
    "Preparation",
    "Size3",
    "UnsupportedDatasetError",
    "Window",
    "ZScore",
    "modality_index",
]


OutputKind = Literal["input", "reconstruction", "segmentation", "classification"]
"""What one of a network's named outputs is."""


def modality_index(modalities: tuple[str, ...], name: str) -> int:
    """The channel of a modality, by name."""
    if name not in modalities:
        raise BenchError(f"There is no modality {name!r} here; there are {', '.join(modalities)}.")
    return modalities.index(name)


@dataclass(frozen=True)
class Batch:
    """Patches on the training device.

    `image` is prepared (see `Preparation`); `label` is `IGNORED` where nobody annotated; `has_lesion` speaks of the
    whole volume a patch comes from.
    `generator` lives on the images' device and is seeded with the run's seed and `step`: a method that
    draws from it, and from nothing else, resumes exactly.
    """

    image: Float[Tensor, "b m x y z"]
    label: Integer[Tensor, "b 1 x y z"]
    has_lesion: Bool[Tensor, "b"]
    modalities: tuple[str, ...]
    case_ids: tuple[str, ...]
    step: int
    generator: torch.Generator

    def modality(self, name: str) -> Float[Tensor, "b 1 x y z"]:
        """One modality's channel."""
        index = modality_index(self.modalities, name)
        return self.image[:, index : index + 1]

    def part(self, start: int, stop: int) -> Batch:
        """The patches [start, stop) as a batch of their own, for gradient accumulation."""
        return replace(
            self,
            image=self.image[start:stop],
            label=self.label[start:stop],
            has_lesion=self.has_lesion[start:stop],
            case_ids=self.case_ids[start:stop],
        )

    def __len__(self) -> int:
        return len(self.image)


class BaseMethod(ABC):
    """What every method says of itself.

    A subclass takes `dataset` and `patch_size` first and its own arguments keyword-only, with defaults; its class
    docstring says what it is, and lists under "Decisions" what the paper leaves open. A file that defines several
    entrants tells them apart by `variant`, the first being the default.
    """

    paper: ClassVar[str] = ""
    """Reference of the method."""
    variant: ClassVar[str] = ""
    examples: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Named sets of arguments that are worth listing and testing besides the defaults."""
    small: ClassVar[Mapping[str, Any]] = {}
    """Arguments that make the network small, for tests on patches of 32 voxels."""
    takes_modalities: ClassVar[Literal["any", "branches"]] = "any"
    """`any`: however many a data set has, without being told which; `branches`: two roles, for modalities that the data
    set's `branches` or an argument names."""
    losses_by_modality: ClassVar[bool] = False
    """Whether the losses, and readings, are named after the data set's modalities: weights written for one data set
    are none for another."""
    takes_labels: ClassVar[Literal["one", "several"]] = "several"
    """Whether it tells several labels apart, or serves data sets of one label alone."""

    tasks: tuple[str, ...] = ("Seg",)
    """What is learned, in the words of Table 4: Seg, Rec, Class."""
    fusion: str = "early"
    """Where modalities meet: single, early, middle, late or fission."""
    remarks: tuple[str, ...] = ()
    """What a reader of a table must know of this method's numbers; short clauses, printed under tables."""
    class_label: str = ""
    """What a classifier is asked about: the `volume` a patch comes from or the `patch`; empty: there is none."""
    loss_names: tuple[str, ...] = ()
    """The keys of `losses`, fixed by the constructor; a run's `loss_weights` must have the same."""
    readings: tuple[str, ...] = ("",)
    """The ways one trained network is read as a label map; the first steers validation."""
    predicted_regions: tuple[str, ...] | None = None
    """The data set's regions that its label maps can tell; the others are not scored. None: all."""

    dataset: DatasetSpec
    patch_size: Size3

    def default_loss_weights(self) -> dict[str, float]:
        """The paper's weights, where it states any; used where no study says otherwise."""
        return dict.fromkeys(self.loss_names, 1.0)

    def preparation(self, usual: Preparation) -> Preparation:
        """How the method wants the data prepared; `usual` is what the data set and the study say."""
        return usual


class Method(nn.Module, BaseMethod):
    """A segmentation method in our training loop: what it minimises, what it predicts, how that becomes a label map."""

    decodes_voxelwise: ClassVar[bool] = True
    """`decode` looks at each voxel by itself, and is shown the volume slab by slab, which takes less memory. A class
    with a `decode` of its own that keeps to this says so again; else it is shown the volume as a whole."""

    def __init__(self, dataset: DatasetSpec, patch_size: Size3) -> None:
        super().__init__()
        self.dataset = dataset
        self.patch_size = patch_size

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Named, unweighted training losses.

        Voxels whose label is `IGNORED` take no part in what is segmented; `benchmark.nn.losses` and `benchmark.nn.dice`
        see to it.
        """

    @abstractmethod
    def forward(self, image: Float[Tensor, "b m x y z"]) -> Float[Tensor, "b c x y z"]:
        """What is averaged over sliding windows; skips every branch it does not need."""

    def decode(self, output: Float[Tensor, "b c x y z"], reading: str = "") -> Integer[Tensor, "b 1 x y z"]:
        """The stitched output as a label map, for one of `readings`: the largest channel, the first of equal ones.

        Channel by channel, which on a CPU takes a twentieth of `argmax` over a strided dimension.
        """
        best = output[:, :1]
        label = torch.zeros_like(best, dtype=torch.uint8)
        for k in range(1, output.shape[1]):
            challenger = output[:, k : k + 1]
            label.masked_fill_(challenger > best, k)
            best = torch.maximum(best, challenger)
        return label

    def only(self, reading: str) -> Method:
        """What this reading needs of the network, for its costs. Default: all of it."""
        return self

    def named_outputs(
        self, image: Float[Tensor, "b m x y z"], *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """What every part of the network says of a patch, by name; `losses` is computed from the same call.

        Maps are `b c x y z` on the patch's voxels: class logits, the background first, or images in prepared units.
        What is said of a whole patch is a logit, `b`. Without a generator, inputs are as in inference; with one they
        are corrupted as in training, and what is shown instead of an image is listed, too. Default: `forward` alone.
        """
        return {"output": self(image)}

    def output_kinds(self) -> dict[str, tuple[OutputKind, str]]:
        """What each of `named_outputs` is, and of what.

        `input` (with a generator alone) and `reconstruction` are of a modality, or of several, joined by " + " in the
        order of their channels; `segmentation` is of a region, one channel beside the background, or of all labels;
        `classification` is of the patch. "" stands for all labels and for the patch.
        """
        return {"output": ("segmentation", "")}

    def without(self, modality: str) -> Method | None:
        """The trained network as it predicts where a modality is missing, whatever is shown in its place.

        Itself, where it does not look at the modality; a part that does without it, with the same weights; or None: it
        has no answer of its own, and is shown zeros.
        """
        return None

    def modality(self, image: Float[Tensor, "b m x y z"], name: str) -> Float[Tensor, "b 1 x y z"]:
        """One modality's channel of a whole image."""
        index = modality_index(self.dataset.modalities, name)
        return image[:, index : index + 1]

    def modalities(
        self, image: Float[Tensor, "b m x y z"], names: Sequence[str]
    ) -> Float[Tensor, "b k x y z"]:
        """Several modalities' channels of a whole image, in this order."""
        if len(names) == 1:
            return self.modality(image, names[0])
        return torch.cat([self.modality(image, name) for name in names], dim=1)

    def unused_parameters(self) -> dict[str, str]:
        """Parameters that no loss reaches, with the reason. Empty for most methods."""
        return {}

    def watched(self) -> dict[str, Tensor]:
        """Learned scalars worth following; they stand in the history beside the losses."""
        return {}


@runtime_checkable
class ProgressCallback(Protocol):
    """Where an external training is: `phase` is prepare, train, validate or evaluate."""

    def __call__(
        self, phase: str, done: int, total: int, *, loss: float | None = None, val_dice: float | None = None
    ) -> None: ...


@dataclass(frozen=True)
class ExternalJob:
    """What a run hands to a method that trains itself.

    `work` belongs to the run: what is needed to continue lies there. `shared` belongs to all runs of the results
    folder: what does not depend on the seed may be kept there, under a name that says what it depends on, and under
    a lock. `steps` is the budget in optimiser steps. When `asked_to_stop` turns true, `train` and `predict` save
    what they need to continue and raise `InterruptedError`.
    """

    train: Sequence[Case]
    validation: Sequence[Case]
    work: Path
    shared: Path
    steps: int
    seed: int
    checkpoint: Literal["last", "best"]
    device: str
    threads: int
    checkpoint_seconds: float
    tell: ProgressCallback
    log: Callable[[str], None]
    asked_to_stop: Callable[[], bool]


@dataclass(frozen=True)
class ExternalTraining:
    """What came of it. `flops`: of one forward pass over one patch; `seconds`: of the training steps alone, over
    all attempts; `history`: rows with `step`, `seconds` and the losses, as in `history.csv`; `weights`: the file that
    `predict` reads, so that it can be told later whether it is still the one that was scored."""

    parameters: int
    flops: float
    patch_size: Size3
    seconds: float
    peak_memory_mb: float
    history: Sequence[Mapping[str, float]]
    facts: Mapping[str, Any] = field(default_factory=dict)
    weights: Path | None = None


class ExternalMethod(BaseMethod):
    """A method that brings its own preparation, training and prediction, in processes of its own.

    It is scored like every other: its masks are read back from files on the cases' original grids.
    """

    def __init__(self, dataset: DatasetSpec, patch_size: Size3) -> None:
        self.dataset = dataset
        self.patch_size = patch_size

    @abstractmethod
    def check_installed(self) -> None:
        """MissingPackageError with the command that installs what is missing."""

    @abstractmethod
    def train(self, job: ExternalJob) -> ExternalTraining:
        """Train, or go on with the training in `job.work`; returns at once where it is finished."""

    @abstractmethod
    def predict(self, job: ExternalJob, cases: Sequence[Case], out: Path) -> float:
        """Write `<out>/<case_id>.nii.gz` for every case, on its original grid; returns the mean seconds a case took."""
