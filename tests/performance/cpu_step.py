"""A training step of v3 in float32 with one thread, in processor time, against plain MONAI and the authors' way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.mirror_unet import MirrorUNet
from benchmark.config import TrainingConfig
from benchmark.data.patches import PatchArrays
from benchmark.data.readers.autopet import SPEC
from benchmark.processes.devices import cpu_has_bfloat16
from benchmark.protocols import Batch
from benchmark.training.environment import set_up, step_seed
from benchmark.training.step import HostBatch, OptimiserStep
from benchmark.vocabulary import Size3
from tests.performance.measure import Comparison, Setting
from tests.performance.plain_mirror_unet import CHANNELS, AuthorsMirrorUNetV3, PlainMirrorUNetV3
from tests.performance.training_step import LOSS_WEIGHTS, weighted
from tests.performance.volumes import drawn_patches

CPU = torch.device("cpu")
LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Size:
    """How large a step is, and how much quicker than plain MONAI it has to be without bfloat16 instructions."""

    name: str
    side: int
    batch: int
    channels: tuple[int, ...]
    target: float
    rounds: int = 1
    """Steps that one value is the median of: short ones swing."""


SIZES = (
    Size("demo's size", 32, 2, (4, 8, 16, 32, 64), target=1.0, rounds=9),
    Size("paper's size", 96, 2, CHANNELS, target=2.0),
)


def measure(setting: Setting) -> Iterator[Comparison]:
    set_up(CPU, threads=1, deterministic=True)
    for size in SIZES:
        patches = drawn_patches(size.side, size.batch)
        torch.manual_seed(0)
        method = our_method(size)
        state = {name: value.clone() for name, value in method.state_dict().items()}
        plain, authors = PlainMirrorUNetV3(size.channels), AuthorsMirrorUNetV3(size.channels)
        plain.load_state_dict(state)
        steps = [our_steps(method, size, patches), plain_steps(plain, patches), plain_steps(authors, patches)]
        seconds, losses = in_turns(steps, repeats=setting.repeats, rounds=size.rounds)
        ours, *peers = seconds
        peer_is = (
            "the network plainly from MONAI blocks and losses",
            "the same in the order of the authors' training",
        )
        apart = abs(losses[0] / losses[1] - 1)
        for number, peer in enumerate(peers):
            yield Comparison(
                figure="cpu_step",
                what=f"a step of v3 at the {size.name}, {size.batch} x {size.side}^3, float32, one thread",
                peer_is=f"{peer_is[number]}; float32, eager, contiguous, Adam, one thread",
                goal="faster",
                unit="s of processor time",
                target=1.0 if cpu_has_bfloat16() else size.target,
                ours=ours,
                peer=peer,
                conditions=()
                if number
                else ((f"the first losses are {apart:.1e} apart, relatively (at most 1e-4)", apart <= 1e-4),),
                remarks=(f"against: {peer_is[number]}, {size.name}",),
            )


def our_method(size: Size) -> MirrorUNet:
    patch: Size3 = (size.side, size.side, size.side)
    return MirrorUNet(
        SPEC, patch, version="v3", shared_layers=(5,), corruption="shuffle", channels=size.channels
    )


def our_steps(method: MirrorUNet, size: Size, patches: PatchArrays) -> Callable[[int], float]:
    """The training loop's own step; called with its number, it gives the weighted loss before it."""
    config = TrainingConfig(
        patch_size=method.patch_size,
        batch_size=size.batch,
        steps=1000,
        learning_rate=LEARNING_RATE,
        precision="float32",
        validations=0,
    )
    method.train()
    step = OptimiserStep(
        method,
        config,
        loss_weights=LOSS_WEIGHTS,
        device=CPU,
        seed=0,
        steps=1000,
        accumulation=1,
    )
    tensors = [torch.from_numpy(array) for array in (patches.image, patches.label, patches.has_lesion)]

    def run(number: int) -> float:
        return float(step(HostBatch(*tensors, case_ids=patches.case_ids, step=number))[-1])

    return run


def plain_steps(network: PlainMirrorUNetV3, patches: PatchArrays) -> Callable[[int], float]:
    network.train()
    optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, weight_decay=1e-6)
    image = torch.from_numpy(patches.image).float()
    label, has_lesion = torch.from_numpy(patches.label), torch.from_numpy(patches.has_lesion)

    def run(number: int) -> float:
        seed = step_seed(0, number)
        torch.manual_seed(seed)
        batch = Batch(
            image=image,
            label=label,
            has_lesion=has_lesion,
            modalities=SPEC.modalities,
            case_ids=patches.case_ids,
            step=number,
            generator=torch.Generator().manual_seed(seed),
        )
        optimiser.zero_grad()
        loss: Tensor = weighted(network.losses(batch))
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        return loss.item()

    return run


def in_turns(
    steps: Sequence[Callable[[int], float]], *, repeats: int, rounds: int
) -> tuple[list[tuple[float, ...]], list[float]]:
    """Seconds of processor time of each, one value a repetition, and the loss of each one's first step.

    The steps of a repetition are done in turns; its value is the median of so many `rounds`.
    """
    first = [step(0) for step in steps]
    seconds: list[list[float]] = [[] for _ in steps]
    for repeat in range(repeats):
        taken: list[list[float]] = [[] for _ in steps]
        for number in range(rounds):
            for step, times in zip(steps, taken, strict=True):
                start = time.process_time()
                step(1 + repeat * rounds + number)
                times.append(time.process_time() - start)
        for values, times in zip(seconds, taken, strict=True):
            values.append(sorted(times)[len(times) // 2])
    return [tuple(values) for values in seconds], first
