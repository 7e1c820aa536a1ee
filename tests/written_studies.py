"""Studies in the TCIA layout, written for tests."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np


def write_study(
    folder: Path, *, seed: int, shape: tuple[int, int, int] = (24, 22, 20), lesion: bool = True
) -> None:
    """One study in the TCIA layout, 4 x 4 x 5 mm: a body of 40 HU and SUV 1, and a cuboid lesion of SUV 8."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    ct = np.full(shape, -1000, np.float32)
    pet = np.zeros(shape, np.float32)
    label = np.zeros(shape, np.uint8)
    body = tuple(slice(3, n - 3) for n in shape)
    ct[body] = 40 + rng.normal(0, 20, ct[body].shape)
    pet[body] = 1 + 0.2 * rng.random(pet[body].shape)
    if lesion:
        corner = [int(rng.integers(5, n - 10)) for n in shape]
        place = tuple(slice(c, c + 4) for c in corner)
        pet[place] = 8
        ct[place] += 30
        label[place] = 1
    affine = np.diag([-4.0, 4.0, 5.0, 1.0])
    affine[:3, 3] = [50, -40, 10]
    for name, volume in (("CTres", ct), ("SUV", pet), ("SEG", label)):
        nib.save(nib.Nifti1Image(volume, affine), folder / f"{name}.nii.gz")
