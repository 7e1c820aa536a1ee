import numpy as np
import pytest

from benchmark.planning.grid import load_profile
from tests.phantom_thresholds import best_band, best_threshold, thresholds


def planted(lesion: float, organ: float) -> tuple[np.ndarray, np.ndarray]:
    """A lesion of 8 voxels and a hot organ of 16."""
    suv, label = np.zeros((8, 8, 8)), np.zeros((8, 8, 8), bool)
    label[:2, :2, :2] = True
    suv[label] = lesion
    suv[4:8, 4:8, 4] = organ
    return suv, label


def test_a_threshold_finds_a_lesion_that_is_hotter_than_all_organs() -> None:
    cases = [planted(10, 5)]
    assert 5 <= best_threshold(cases) < 10
    assert thresholds(cases, cases)[f"SUV above {best_threshold(cases):g}, the best in training"] == 1


def test_a_hot_organ_spoils_every_threshold() -> None:
    """Lesion and organ together: 2 * 8 / (8 + 16 + 8); the organ alone: 0."""
    cases = [planted(10, 20)]
    found = thresholds(cases, cases)
    above = [value for rule, value in found.items() if "between" not in rule]
    assert len(above) == 3
    assert above == pytest.approx([0.5] * 3)
    assert thresholds(cases, [planted(5, 20)])["above 41 % of the largest SUV"] == 0


def test_a_band_leaves_out_an_organ_that_is_hotter_than_the_lesion() -> None:
    cases = [planted(10, 20)]
    low, high = best_band(cases)
    assert low < 10 < high <= 20
    assert thresholds(cases, cases)[f"SUV between {low:g} and {high:g}, the best in training"] == 1


def test_the_demonstration_asks_for_lesions_that_its_grid_can_show() -> None:
    phantoms = load_profile("demo").phantoms["phantom"]
    assert phantoms.spacing_mm is not None
    assert phantoms.lesion_mm is not None
    assert phantoms.lesion_mm >= 3 * max(phantoms.spacing_mm)
