"""Synthetic cases as the store keeps them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmark.data.patches import PatchArrays, PatchSampler
from benchmark.data.prepare import Geometry
from benchmark.data.store import PreparedCase
from benchmark.vocabulary import Size3

SPACING = (2.0, 2.0, 3.0)


def write_volume(folder: Path, index: int, *, shape: Size3, modalities: int = 2) -> PreparedCase:
    """One prepared case as the store keeps it: noise, and a dozen balls as lesions, bright in the second modality."""
    generator = np.random.default_rng(index)
    image = 0.4 * generator.random((modalities, *shape), dtype=np.float32)
    label = np.zeros(shape, np.uint8)
    x, y, z = np.ogrid[-6:7, -6:7, -6:7]
    ball = x * x + y * y + z * z <= 36
    for _ in range(12):
        a, b, c = (int(generator.integers(6, side - 7)) for side in shape)
        label[a - 6 : a + 7, b - 6 : b + 7, c - 6 : c + 7][ball] = 1
    image[1] += 0.5 * label
    case_folder = folder / "cases" / f"volume{index}"
    case_folder.mkdir(parents=True)
    np.save(case_folder / "image.npy", image.astype(np.float16))
    np.save(case_folder / "label.npy", label)
    np.save(case_folder / "lesion.npy", np.argwhere(label).astype(np.int16))
    return PreparedCase(
        folder=case_folder,
        case_id=f"volume{index}",
        patient=f"patient{index}",
        lesion_ml=float(label.sum()) * float(np.prod(SPACING)) / 1000,
        geometry=Geometry(
            native_shape=shape,
            native_affine=tuple(tuple(map(float, row)) for row in np.diag([*SPACING, 1.0])),
            grid_shape=shape,
            spacing_mm=SPACING,
            crop_start=(0, 0, 0),
            crop_shape=shape,
        ),
        # Nobody reads the original; that there is one says that the case is labelled.
        files={"label": case_folder / "label.npy"},
        inputs={},
        stamps={},
        channels={},
    )


def drawn_patches(side: int, batch_size: int) -> PatchArrays:
    """One batch of cubes from such cases, two thirds of them centred on a lesion."""
    with tempfile.TemporaryDirectory(prefix="bench-patches-") as folder:
        shape = (side + 32, side + 32, side + 32)
        cases = [write_volume(Path(folder), index, shape=shape) for index in range(batch_size)]
        return PatchSampler(cases, (side, side, side), batch_size, 2 / 3, seed=0).batch(0)
