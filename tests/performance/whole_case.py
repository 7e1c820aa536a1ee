"""Seconds and peak memory of a whole case's label map, against MONAI's sliding window over the whole volume."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np

from benchmark.config import InferenceConfig
from benchmark.data.store import PreparedCase
from benchmark.protocols import Method
from benchmark.vocabulary import Size3
from tests.performance.measure import Comparison, NotMeasured, Setting
from tests.performance.volumes import write_volume

PATCH = (96, 96, 96)
REPEATS = 3
"""At most: every repetition starts two processes."""
CASES: dict[str, tuple[Size3, int]] = {"brain": ((240, 240, 155), 4), "body": ((400, 400, 326), 2)}
"""Voxels and modalities: a brain tumour case at 1 mm, a whole body at the size of a PET/CT of AutoPET."""

Side = Literal["ours", "peer"]


@dataclass(frozen=True)
class Measured:
    """Resident memory in MB: at most, and before anything was predicted. `labels`: the values of the mask, `digest`:
    its hash."""

    seconds: float
    peak_mb: float
    before_mb: float
    labels: tuple[int, ...]
    digest: str


def measure(setting: Setting) -> Iterator[Comparison]:
    if not Path("/proc/self/status").exists():
        raise NotMeasured("peak memory is read from /proc")
    with tempfile.TemporaryDirectory(prefix="bench-whole-case-") as folder:
        for name, (shape, modalities) in CASES.items():
            case = write_volume(Path(folder) / name, 0, shape=shape, modalities=modalities)
            pairs = [
                (_alone("ours", name, case, setting.threads), _alone("peer", name, case, setting.threads))
                for _ in range(min(setting.repeats, REPEATS))
            ]
            yield from _comparisons(name, pairs)


def _comparisons(name: str, pairs: list[tuple[Measured, Measured]]) -> Iterator[Comparison]:
    shape, modalities = CASES[name]
    same = all(ours.digest == peer.digest for ours, peer in pairs)
    labels = pairs[-1][0].labels
    network = "Mirror U-Net v2 of two regions" if name == "brain" else "Mirror U-Net v3"
    shared = {
        "what": f"label map of {' x '.join(map(str, shape))} x {modalities}, {network}, full width, windows of 96^3",
        "peer_is": "MONAI's sliding window over the whole image in float32, all modalities, then the decision",
        "conditions": ((f"the same mask, with the labels {labels}", same and len(labels) > 1),),
    }
    before = max(m.before_mb for pair in pairs for m in pair)
    yield Comparison(
        figure=f"memory_{name}",
        goal="less",
        unit="MB",
        target=1.2,
        ours=tuple(ours.peak_mb for ours, _ in pairs),
        peer=tuple(peer.peak_mb for _, peer in pairs),
        remarks=(f"of both, {before:.0f} MB are the libraries and the network",),
        **shared,
    )
    yield Comparison(
        figure=f"seconds_{name}",
        goal="faster",
        unit="s",
        target=0.95,
        ours=tuple(ours.seconds for ours, _ in pairs),
        peer=tuple(peer.seconds for _, peer in pairs),
        **shared,
    )


def _alone(side: Side, name: str, case: PreparedCase, threads: int) -> Measured:
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(_measured, side, name, case, threads).result()


def _measured(side: Side, name: str, case: PreparedCase, threads: int) -> Measured:
    import torch

    from baselines.mirror_unet import MirrorUNet
    from baselines.mirror_unet_regions import MirrorUNetRegions
    from benchmark.data.readers.autopet import SPEC as PET_CT
    from benchmark.data.readers.msd import SPEC as BRAIN
    from benchmark.training.environment import keep_freed_memory

    torch.set_num_threads(threads)
    keep_freed_memory()
    torch.manual_seed(0)
    method = (
        MirrorUNetRegions(
            BRAIN, PATCH, branch_regions=("tumor core", "edema"), bottleneck_region="whole tumor"
        )
        if name == "brain"
        else MirrorUNet(PET_CT, PATCH, version="v3")
    )
    before = _resident_mb("VmRSS")
    started = time.perf_counter()
    labels = _ours(method, case) if side == "ours" else _peer(method, case)
    seconds = time.perf_counter() - started
    peak = _resident_mb("VmHWM")
    values = tuple(int(value) for value in np.unique(labels))
    return Measured(seconds, peak, before, values, hashlib.sha256(labels.tobytes()).hexdigest())


def _ours(method: Method, case: PreparedCase) -> np.ndarray:
    import torch

    from benchmark.training.inference import predict

    return predict(method, case, config=InferenceConfig(), precision="float32", device=torch.device("cpu"))[
        ""
    ]


def _peer(method: Method, case: PreparedCase) -> np.ndarray:
    import torch
    from monai.inferers import sliding_window_inference

    config = InferenceConfig()
    with torch.inference_mode():
        image = torch.from_numpy(case.image().astype(np.float32))[None]
        output = sliding_window_inference(
            image, PATCH, config.windows_per_batch, method.eval(), overlap=config.overlap, mode="constant"
        )
        labels: np.ndarray = method.decode(output)[0, 0].to(torch.uint8).numpy()
    full = np.zeros(case.geometry.grid_shape, np.uint8)
    full[case.geometry.crop] = labels
    return full


def _resident_mb(which: str) -> float:
    """VmRSS (now) or VmHWM (the most so far) of this process; unlike getrusage's, not that of who started it."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith(f"{which}:")]
    return int(line.split()[1]) / 1024
