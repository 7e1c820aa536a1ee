"""Data sets in the layouts of the decathlon and of nnU-Net, written for tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

AFFINE = np.array([[-1.0, 0, 0, 20], [0, -1.0, 0, 10], [0, 0, 1.0, -5], [0, 0, 0, 1]])
SHAPE = (10, 9, 8)
BRAIN = {
    "name": "BRATS",
    "tensorImageSize": "4D",
    "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
    "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
}
"""As Task01 has it, spelling and all."""


def save(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, affine), path)


def head(seed: int, n: int, shape: tuple[int, int, int] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers as float32 `[x, y, z, n]` in a box, and a label of the values 0 to 3 inside it."""
    rng = np.random.default_rng(seed)
    image = np.zeros((*shape, n), np.float32)
    image[1:-2, 2:-1, 1:-1] = rng.integers(1, 1000, image[1:-2, 2:-1, 1:-1].shape)
    label = np.zeros(shape, np.uint8)
    label[3:6, 3:6, 2:6] = rng.integers(1, 4, (3, 3, 4))
    return image, label


def write_decathlon(
    root: Path,
    names: Sequence[str],
    *,
    content: Mapping[str, Any] = BRAIN,
    test: Sequence[str] = (),
    affine: np.ndarray = AFFINE,
) -> Path:
    """A task with four axes where there are several modalities; every file with what macOS leaves beside it."""
    n = len(content["modality"])
    for seed, name in enumerate([*names, *test]):
        image, label = head(seed, n)
        part = "Ts" if name in test else "Tr"
        files = {f"images{part}": image if n > 1 else image[..., 0]}
        if name not in test:
            files["labelsTr"] = np.minimum(label, len(content["labels"]) - 1)
        for folder, values in files.items():
            save(root / folder / f"{name}.nii.gz", values, affine)
            (root / folder / f"._{name}.nii.gz").write_bytes(b"macOS")
    listed = [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in names]
    described = {**content, "numTraining": len(names), "training": listed, "test": []}
    (root / "dataset.json").write_text(json.dumps(described), encoding="utf-8")
    return root


def write_nnunet(
    root: Path, names: Sequence[str], content: Mapping[str, Any], *, test: Sequence[str] = ()
) -> Path:
    """A raw data set; the ending is that of `content`, or `.nii.gz`."""
    n = len(content.get("channel_names", content.get("modality")))
    ending = content.get("file_ending", ".nii.gz")
    for seed, name in enumerate([*names, *test]):
        image, label = head(seed, n)
        part = "Ts" if name in test else "Tr"
        for k in range(n):
            save(root / f"images{part}" / f"{name}_{k:04d}{ending}", image[..., k])
        if name not in test:
            save(root / "labelsTr" / f"{name}{ending}", label)
    (root / "dataset.json").write_text(json.dumps({"numTraining": len(names), **content}), encoding="utf-8")
    return root
