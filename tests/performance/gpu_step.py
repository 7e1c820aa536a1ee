"""A training step of v3 at the paper's size on a GPU, with real patch loading; not measured where there is none."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from baselines.mirror_unet import MirrorUNet
from benchmark.config import TrainingConfig
from benchmark.data.patches import PatchSampler
from benchmark.data.readers.autopet import SPEC
from benchmark.results.runs import RunFolder
from benchmark.training.environment import set_up
from benchmark.training.progress import Progress
from benchmark.training.train import Hooks, train
from tests.performance.measure import Comparison, NotMeasured, Setting
from tests.performance.training_step import LOSS_WEIGHTS
from tests.performance.volumes import write_volume

PATCH = (96, 96, 96)
WARM_UP, TIMED = 50, 200


def measure(setting: Setting) -> Iterator[Comparison]:
    if not torch.cuda.is_available():
        raise NotMeasured("there is no CUDA device")
    fast = {"precision": "bfloat16", "channels_last": True, "deterministic": False}
    variants = {"bfloat16, channels-last": fast, "the same, compiled": {**fast, "compile": True}}
    plain = tuple(milliseconds({}) for _ in range(setting.repeats))
    for what, settings in variants.items():
        ours = tuple(milliseconds(settings) for _ in range(setting.repeats))
        yield Comparison(
            figure="gpu_step",
            what=f"a step of v3 at 4 x 96^3 on {torch.cuda.get_device_name()}, {what}, with patch loading",
            peer_is="the same training in float32, eager, contiguous, deterministic",
            goal="faster",
            unit="ms",
            target=1.0,
            ours=ours,
            peer=plain,
            remarks=(f"the aim is 10 ms; peak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB",),
        )


def milliseconds(settings: dict[str, object]) -> float:
    """Mean over TIMED steps of the real loop, the device's queue empty at both ends."""
    device = torch.device("cuda:0")
    config = TrainingConfig.model_validate({"steps": WARM_UP + TIMED, "validations": 0, **settings})
    set_up(device, threads=4, deterministic=config.deterministic)
    at: dict[int, float] = {}

    def note(progress: Progress, steps: int) -> None:
        if progress.step in (WARM_UP, steps):
            torch.cuda.synchronize()
            at[progress.step] = time.perf_counter()

    with tempfile.TemporaryDirectory(prefix="bench-gpu-") as folder:
        cases = [write_volume(Path(folder), i, shape=(200, 200, 300)) for i in range(8)]
        train(
            MirrorUNet(SPEC, PATCH, version="v3", shared_layers=(5,), corruption="shuffle"),
            PatchSampler(cases, PATCH, config.batch_size, config.lesion_fraction, seed=0),
            config=config,
            loss_weights=LOSS_WEIGHTS,
            device=device,
            folder=RunFolder(Path(folder), "run"),
            hooks=Hooks(validate=lambda: float("nan"), on_step=note),
            loader_threads=8,
            checkpoint_seconds=float("inf"),
        )
    return 1000 * (at[WARM_UP + TIMED] - at[WARM_UP]) / TIMED
