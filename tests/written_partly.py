"""A raw data set of nnU-Net as sparse annotation leaves it: labels 1, 2 and 4, and voxels that nobody annotated."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from written_decathlon import AFFINE, save

SHAPE = (20, 18, 16)
CONTENT = {
    "channel_names": {"0": "CT", "1": "PET"},
    "labels": {"background": 0, "edema": 1, "core": 2, "enhancing": 4, "ignore": 5},
    "file_ending": ".nii.gz",
}
IGNORE = 5


def volumes(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """An image `[x, y, z, 2]` of noise, CT in HU and PET, and a label of three shells, the inner ones brighter.

    The shells lie in the lower half of z; the upper quarter is `ignore`, and has a second tumour in the image.
    """
    rng = np.random.default_rng(seed)
    image = rng.normal(1.0, 0.2, (*SHAPE, 2)).astype(np.float32)
    label = np.zeros(SHAPE, np.uint8)
    x, y = (int(i) for i in rng.integers(3, 7, 2))
    for depth, value in enumerate((1, 2, 4)):
        place = tuple(slice(a + depth, a + 8 - depth) for a in (x, y, 1))
        label[place] = value
        image[place] += 3
        image[place[0], place[1], 13:] += 3
    label[..., 12:] = IGNORE
    image[..., 0] = 300 * image[..., 0] - 1000
    return image, label


def write_partly_annotated(root: Path, n: int, *, nothing: int = 0) -> Path:
    """`n` cases and `nothing` more, of which no voxel is annotated: they come last."""
    for seed in range(n + nothing):
        image, label = volumes(seed)
        if seed >= n:
            label[:] = IGNORE
        for k in range(2):
            save(root / "imagesTr" / f"case_{seed:02d}_{k:04d}.nii.gz", image[..., k], AFFINE)
        save(root / "labelsTr" / f"case_{seed:02d}.nii.gz", label, AFFINE)
    (root / "dataset.json").write_text(json.dumps({**CONTENT, "numTraining": n + nothing}))
    return root
