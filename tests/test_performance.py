"""The performance figures stand on cases that the suite's own code takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.data.patches import PatchSampler
from tests.performance.statistics import plain, statistics, table
from tests.performance.volumes import write_volume
from tests.performance.written_grid import write_grid


def test_patches_of_a_synthetic_volume_can_be_drawn(tmp_path: Path) -> None:
    cases = [write_volume(tmp_path, index, shape=(40, 40, 40)) for index in range(2)]
    sampler = PatchSampler(cases, (16, 16, 16), 2, 1.0, seed=0)
    patches = sampler.batch(0)
    assert patches.image.shape == (2, 2, 16, 16, 16)
    assert patches.label.any()


def test_the_plain_table_of_a_synthetic_grid_is_the_suites(tmp_path: Path) -> None:
    write_grid(tmp_path, 105, n_cases=4)
    suites = table(tmp_path)
    assert suites == pytest.approx(plain(tmp_path))
    parts: dict[str, float] = {}
    assert statistics(tmp_path, parts) == pytest.approx(suites)
    assert "scores.parquet" in parts
