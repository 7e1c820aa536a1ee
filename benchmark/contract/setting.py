"""What the contract is checked on: the ways to build a method, two data sets, and a batch of each."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from benchmark.config import Precision
from benchmark.data.readers.autopet import SPEC as PET_CT
from benchmark.data.readers.msd import SPEC as BRAIN_MRI
from benchmark.protocols import BaseMethod, Batch, ExternalMethod, Method
from benchmark.registry import build_method, method_classes
from benchmark.training.inference import autocast
from benchmark.vocabulary import (
    BenchError,
    DatasetSpec,
    Percentiles,
    Preparation,
    Region,
    Size3,
    UnsupportedDatasetError,
    ZScore,
)

SPECS = (PET_CT, BRAIN_MRI)
THREE_MODALITIES = DatasetSpec(
    name="three-modalities",
    modalities=("A", "B", "C"),
    labels={"x": 1, "y": 2},
    regions=(Region("x", (1,)), Region("y", (2,))),
    preparation=Preparation(
        spacing_mm=(1.0, 1.0, 1.0), intensities={name: Percentiles(0, 100) for name in "ABC"}
    ),
)
"""What a method that takes any modalities serves, and one that takes branches cannot without being told."""

CPU = torch.device("cpu")
PATCHES: tuple[Size3, ...] = ((32, 16, 16), (32, 32, 32), (64, 64, 64), (96, 96, 96))
NOT_CUBIC: tuple[Size3, ...] = ((32, 16, 48), (64, 32, 96), (96, 64, 128))
"""The smallest size that a method does not refuse is taken."""
ROUND = 4
"""Steps that draw the same random numbers in every round, and after which alternating methods begin again."""
ROUNDS = 3
LEARNING_RATE = 2e-3
"""Low enough that Adam overshoots little: with 3e-3 SF-Net lost within 12 steps what it had gained in 8."""


@dataclass(frozen=True)
class Training:
    """What came of some steps of Adam on one batch; `reached`: the parameters with a gradient in the first round."""

    method: Method
    losses: list[dict[str, float]]
    totals: list[float]
    reached: frozenset[str]


@dataclass(frozen=True, eq=False)
class Setting:
    """A method with some arguments, on a data set. `example` names the arguments; its network is kept small."""

    method: str
    kind: type[BaseMethod]
    example: str
    arguments: Mapping[str, Any]
    spec: DatasetSpec

    def __str__(self) -> str:
        return f"{self.example} on {self.spec.name}"

    @property
    def is_default(self) -> bool:
        """Whether the arguments are the defaults of the class."""
        return not set(self.arguments) - {"variant"}

    @cached_property
    def siblings(self) -> list[Setting]:
        """All settings of the same class, this one among them."""
        return [setting for setting in settings(self.method) if setting.kind is self.kind]

    @property
    def file(self) -> Path:
        """Where the class is written."""
        return Path(inspect.getfile(self.kind))

    @property
    def trains_itself(self) -> bool:
        return issubclass(self.kind, ExternalMethod)

    def build_any(self, patch_size: Size3 | None = None, *, seed: int = 0) -> Method | ExternalMethod:
        """The method as a run builds it, but small."""
        torch.manual_seed(seed)
        arguments = {**self.kind.small, **self.arguments}
        return build_method(
            self.method,
            arguments,
            spec=self.spec,
            patch_size=patch_size or self.patch_size,
            loss_weights=None,
        )

    def build(self, patch_size: Size3 | None = None, *, seed: int = 0) -> Method:
        method = self.build_any(patch_size, seed=seed)
        assert isinstance(method, Method)
        return method

    @cached_property
    def patch_size(self) -> Size3:
        """The first of `PATCHES` that is not refused."""
        return self.first_accepted(PATCHES)

    def first_accepted(self, sizes: Sequence[Size3]) -> Size3:
        """The first of these sizes that the constructor does not refuse; the first of all where it refuses them all."""
        for size in sizes:
            try:
                with torch.device("meta"):
                    self.build_any(size)
            except BenchError:
                continue
            except Exception:
                return size
            return size
        return sizes[0]

    def batch(self, n: int = 2, patch_size: Size3 | None = None, *, step: int = 0) -> Batch:
        return batch_of(self.spec, n, patch_size or self.patch_size, step=step)

    def steps(self, stop: int) -> Iterator[Batch]:
        """The same batch at the steps 0, 1, ..., with the random numbers of all rounds alike."""
        batch = self.batch()
        for step in range(stop):
            torch.manual_seed(step % ROUND)
            batch.generator.manual_seed(step % ROUND)
            yield replace(batch, step=step)

    @cached_property
    def unsupported(self) -> str | None:
        """Why the data set cannot be served, in the method's words; None where it is served, or fails otherwise."""
        try:
            self.build_any()
        except UnsupportedDatasetError as reason:
            return str(reason)
        except Exception:
            return None
        return None

    @cached_property
    def trained(self) -> Training:
        """Trained on one batch in float32; a check that uses the network leaves its weights as they are."""
        return train_on_one_batch(self, "float32")


def settings(name: str) -> list[Setting]:
    """Every variant of a method with its defaults and each of its examples, on every data set."""
    kinds = method_classes(name)
    found: dict[str, tuple[type[BaseMethod], dict[str, Any]]] = {}
    for variant, kind in kinds.items():
        of_variant = {"variant": variant} if len(kinds) > 1 else {}
        defaults = f"{variant} defaults" if variant and of_variant else "defaults"
        named = {defaults: {}, **kind.examples}
        for example, arguments in named.items():
            full = {**of_variant, **arguments}
            chosen = kinds.get(str(full.get("variant")), kind) if of_variant else kind
            if (chosen, full) not in found.values():
                found[example if example not in found else f"{variant} {example}"] = chosen, full
    every = [
        Setting(name, kind, example, arguments, spec)
        for (example, (kind, arguments)), spec in itertools.product(found.items(), SPECS)
    ]
    for setting in every:
        # Whoever asks about its siblings then builds each of them once, and not once for each of them.
        vars(setting)["siblings"] = [own for own in every if own.kind is setting.kind]
    return every


def batch_of(spec: DatasetSpec, n: int, patch_size: Size3, *, step: int = 0) -> Batch:
    """Noise with a bright lesion of all labels, one inside the other, in every second patch."""
    drawn = torch.Generator().manual_seed(0)
    shape = (n, len(spec.modalities), *patch_size)
    z_scored = any(isinstance(rule, ZScore) for rule in spec.preparation.intensities.values())
    image = (torch.randn if z_scored else torch.rand)(shape, generator=drawn)
    label = torch.zeros((n, 1, *patch_size), dtype=torch.uint8)
    for depth, value in enumerate(sorted(spec.labels.values())):
        inside = (slice(0, None, 2), slice(None), *[slice(3 + depth, 13 - depth)] * 3)
        image[inside] += 3 if z_scored else 1
        label[inside] = value
    ids = tuple(f"case{i}" for i in range(n))
    has_lesion = label.flatten(1).bool().any(1)
    generator = torch.Generator().manual_seed(step)
    return Batch(image, label, has_lesion, spec.modalities, ids, step, generator)


def train_on_one_batch(setting: Setting, precision: Precision) -> Training:
    """Adam on losses that each begin at 1: the paper's weights would hide a small loss behind a large one."""
    method = setting.build()
    optimiser = torch.optim.Adam(method.parameters(), lr=LEARNING_RATE)
    weights: dict[str, float] = {}
    rows, totals, reached = [], [], set()
    for batch in setting.steps(ROUND * ROUNDS):
        optimiser.zero_grad()
        with autocast(CPU, precision):
            losses = method.losses(batch)
        row = {name: float(loss.detach()) for name, loss in losses.items()}
        for name, value in row.items():
            if abs(value) > 1e-6:
                weights.setdefault(name, 1 / abs(value))
        total = torch.stack([weights.get(name, 1.0) * loss.float() for name, loss in losses.items()]).sum()
        total.backward()
        if batch.step < ROUND:
            reached |= {
                name
                for name, parameter in method.named_parameters()
                if parameter.grad is not None and parameter.grad.abs().sum() > 0
            }
        optimiser.step()
        rows.append(row)
        totals.append(float(total.detach()))
    return Training(method, rows, totals, frozenset(reached))
