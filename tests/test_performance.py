"""The performance figures stand on cases that the suite's own code takes."""

from __future__ import annotations

from pathlib import Path

from benchmark.data.patches import PatchSampler
from tests.performance.volumes import write_volume


def test_patches_of_a_synthetic_volume_can_be_drawn(tmp_path: Path) -> None:
    cases = [write_volume(tmp_path, index, shape=(40, 40, 40)) for index in range(2)]
    sampler = PatchSampler(cases, (16, 16, 16), 2, 1.0, seed=0)
    patches = sampler.batch(0)
    assert patches.image.shape == (2, 2, 16, 16, 16)
    assert patches.label.any()
