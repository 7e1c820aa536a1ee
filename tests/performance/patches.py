"""Lesion-balanced patches per second, against loading whole volumes and cropping four patches each."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from benchmark.data.patches import PatchSampler
from benchmark.data.store import PreparedCase
from tests.performance.measure import Comparison, Setting, in_turns
from tests.performance.volumes import write_volume

SHAPE = (300, 250, 326)
PATCH = (96, 96, 96)
LESION_FRACTION = 2 / 3
N_VOLUMES = 4
PATCHES_A_VOLUME = 4
OUR_BATCHES = 25
"""Ours is timed over more batches than the peer, which would otherwise be over before a clock sees it."""


def measure(setting: Setting) -> Iterator[Comparison]:
    with tempfile.TemporaryDirectory(prefix="bench-patches-") as folder:
        cases = [write_volume(Path(folder), i, shape=SHAPE) for i in range(N_VOLUMES)]
        ours = _from_store(cases)
        peer = _from_whole_volumes(cases, Path(folder) / "persistent")
        ours_seconds, peer_seconds, our_lesions, peer_lesions = in_turns(ours, peer, repeats=setting.repeats)

    n_ours, n_peer = len(our_lesions), len(peer_lesions)
    share = float(np.mean(our_lesions))
    yield Comparison(
        figure="patches",
        what=f"patches of 96^3, two modalities and label, float32 in batches of 4, volumes of {SHAPE}",
        peer_is="MONAI PersistentDataset of prepared volumes + RandCropByPosNegLabeld, 4 patches a volume",
        goal="more",
        unit="patches/s",
        target=20.0,
        ours=tuple(n_ours / t for t in ours_seconds),
        peer=tuple(n_peer / t for t in peer_seconds),
        conditions=(
            (f"lesion-balanced: {share:.2f} of our patches show a lesion, at least 0.6", share >= 0.6),
        ),
        remarks=(
            f"{np.mean(peer_lesions):.2f} of the peer's patches show a lesion; one loading thread on either "
            f"side, {setting.threads} for torch; all files in the page cache",
        ),
    )


def _from_store(cases: list[PreparedCase]) -> Callable[[], list[bool]]:
    sampler = PatchSampler(cases, PATCH, batch_size=4, lesion_fraction=LESION_FRACTION, seed=0)
    step = 0

    def run() -> list[bool]:
        nonlocal step
        shows_lesion = []
        for _ in range(OUR_BATCHES):
            batch = sampler.batch(step)
            # The peer delivers float32 tensors; so do we, though on a GPU the cast is the device's.
            image, label = torch.from_numpy(batch.image).float(), torch.from_numpy(batch.label)
            assert image.shape == (4, 2, *PATCH)
            shows_lesion += label.flatten(1).any(dim=1).tolist()
            step += 1
        return shows_lesion

    return run


def _from_whole_volumes(cases: list[PreparedCase], cache: Path) -> Callable[[], list[bool]]:
    from monai.data import PersistentDataset, list_data_collate
    from monai.transforms import (
        Compose,
        EnsureChannelFirstd,
        EnsureTyped,
        LoadImaged,
        RandCropByPosNegLabeld,
        ToTensord,
    )

    keys = ["image", "label"]
    crop = RandCropByPosNegLabeld(
        keys,
        label_key="label",
        spatial_size=PATCH,
        pos=LESION_FRACTION,
        neg=1 - LESION_FRACTION,
        num_samples=PATCHES_A_VOLUME,
    ).set_random_state(seed=0)
    transform = Compose(
        [
            LoadImaged(keys, reader="NumpyReader", image_only=True),
            EnsureChannelFirstd("label", channel_dim="no_channel"),
            EnsureTyped(keys, dtype=(torch.float32, torch.uint8), track_meta=False),
            crop,
            ToTensord(keys, track_meta=False),
        ]
    )
    files = [{key: str(case.folder / f"{key}.npy") for key in keys} for case in cases]
    dataset = PersistentDataset(files, transform, cache_dir=cache)

    def run() -> list[bool]:
        shows_lesion = []
        for i in range(len(dataset)):
            batch = list_data_collate(dataset[i])
            assert batch["image"].shape == (PATCHES_A_VOLUME, 2, *PATCH)
            assert batch["image"].dtype == torch.float32
            shows_lesion += batch["label"].flatten(1).any(dim=1).tolist()
        return shows_lesion

    return run
