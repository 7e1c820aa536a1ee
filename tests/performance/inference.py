"""Segmentation of one case by v1, v2 and v3, against running all branches of the same network."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from baselines.mirror_unet import MirrorUNet
from benchmark.config import InferenceConfig
from benchmark.data.readers.autopet import SPEC
from benchmark.data.store import PreparedCase
from benchmark.protocols import Batch, Method
from benchmark.training.inference import predict
from tests.performance.measure import Comparison, Setting, in_turns
from tests.performance.volumes import write_volume

SHAPE = (168, 168, 168)
"""Eight windows of 96^3 with a quarter of overlap."""
PATCH = (96, 96, 96)


class AllBranches(Method):
    """The same network, every output computed, the PET branch's logits kept."""

    def __init__(self, method: MirrorUNet) -> None:
        super().__init__(method.dataset, method.patch_size)
        self.method = method
        self.loss_names = method.loss_names

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return self.method.losses(batch)

    def forward(self, image: Tensor) -> Tensor:
        return self.method.named_outputs(image)["pet"]


def measure(setting: Setting) -> Iterator[Comparison]:
    with tempfile.TemporaryDirectory(prefix="bench-inference-") as folder:
        case = write_volume(Path(folder), 0, shape=SHAPE)
        for version in ("v1", "v2", "v3"):
            yield _compare(version, case, setting)


def _compare(version: str, case: PreparedCase, setting: Setting) -> Comparison:
    torch.manual_seed(0)
    method = MirrorUNet(SPEC, PATCH, version=version)
    _split_evenly(method, case)

    def segment(network: Method) -> np.ndarray:
        labels = predict(
            network, case, config=InferenceConfig(), precision="float32", device=torch.device("cpu")
        )
        return labels[""]

    everything = AllBranches(method)
    ours_seconds, peer_seconds, mask, peer_mask = in_turns(
        lambda: segment(method), lambda: segment(everything), repeats=setting.repeats
    )
    foreground = float(np.mean(mask > 0))
    return Comparison(
        figure=f"inference_{version}",
        what=f"sliding windows of 96^3 over {SHAPE} voxels, float32, {version}, L = {{5}}",
        peer_is="the same network and windows with all branches computed",
        goal="faster",
        unit="s",
        target=1.8,
        ours=ours_seconds,
        peer=peer_seconds,
        conditions=(
            (
                f"the same mask, with {foreground:.2f} of the volume in the foreground",
                np.array_equal(mask, peer_mask) and 0 < foreground < 1,
            ),
        ),
    )


@torch.inference_mode()
def _split_evenly(method: MirrorUNet, case: PreparedCase) -> None:
    """Shift the last bias until an untrained network calls about half of a window foreground: a mask of one
    value would be the same whatever is computed."""
    window = torch.from_numpy(case.image()[:, : PATCH[0], : PATCH[1], : PATCH[2]].astype(np.float32))
    logits = method.eval()(window[None])
    biases = [p for name, p in method.pet.layers["output"].named_parameters() if name.endswith("bias")]
    biases[-1][1] -= (logits[:, 1] - logits[:, 0]).flatten().median()
