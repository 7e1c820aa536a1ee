"""The patch sampler: where patches lie, and that a step determines them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from written_partly import write_partly_annotated

from benchmark.data.patches import PatchSampler
from benchmark.data.prepare import Geometry
from benchmark.data.readers.autopet import SPEC
from benchmark.data.store import PreparedCase, Store
from benchmark.datasets.pipeline import ready_data
from benchmark.vocabulary import IGNORED


@pytest.fixture(scope="module")
def cases(tcia_root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[PreparedCase]:
    data = ready_data(
        "autopet",
        tcia_root,
        results=tmp_path_factory.mktemp("results"),
        preparation=SPEC.preparation_at((4.0, 4.0, 5.0)),
    )
    return list(Store(data.store).cases.values())


def sampler(
    cases: list[PreparedCase], *, patch: int = 8, batch: int = 4, fraction: float = 2 / 3, seed: int = 0
) -> PatchSampler:
    return PatchSampler(cases, (patch, patch, patch), batch, fraction, seed=seed)


def test_a_patch_holds_what_the_arrays_hold_at_its_place(cases: list[PreparedCase]) -> None:
    """Every patch must occur in its case's image, with the label of the same place."""
    batch = sampler(cases).batch(3)
    by_id = {case.case_id: case for case in cases}
    for i, case_id in enumerate(batch.case_ids):
        case = by_id[case_id]
        windows = np.lib.stride_tricks.sliding_window_view(case.image()[1], (8, 8, 8))
        places = np.argwhere((windows == batch.image[i, 1]).all(axis=(3, 4, 5)))
        label = np.array(case.label())[case.geometry.crop]
        assert any((label[x : x + 8, y : y + 8, z : z + 8] == batch.label[i, 0]).all() for x, y, z in places)


def test_an_epoch_visits_every_case_once_and_the_next_in_another_order(cases: list[PreparedCase]) -> None:
    drawn = sampler(cases, batch=5)
    epochs = [[c for step in (2 * e, 2 * e + 1) for c in drawn.batch(step).case_ids] for e in range(2)]
    assert drawn.steps_per_epoch == 2
    assert all(Counter(epoch) == Counter(case.case_id for case in cases) for epoch in epochs)
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize(("fraction", "low", "high"), [(1.0, 1.0, 1.0), (2 / 3, 0.62, 0.95)])
def test_patches_of_cases_with_lesions_are_centred_on_one_as_often_as_asked(
    cases: list[PreparedCase], fraction: float, low: float, high: float
) -> None:
    ill = [case for case in cases if case.has_lesion]
    drawn = sampler(ill, fraction=fraction, patch=4)
    hits = [drawn.batch(step).label.any(axis=(1, 2, 3, 4)) for step in range(100)]
    assert low <= float(np.mean(hits)) <= high


def test_a_healthy_case_gives_patches_too(cases: list[PreparedCase]) -> None:
    healthy = [case for case in cases if not case.has_lesion]
    batch = sampler(healthy, fraction=1.0).batch(0)
    assert not batch.label.any()
    assert not batch.has_lesion.any()


def test_a_small_volume_is_padded_on_both_sides(cases: list[PreparedCase]) -> None:
    batch = sampler(cases, patch=32, batch=1).batch(0)
    inside = np.flatnonzero(batch.image[0, 1].any(axis=(1, 2)))
    case = next(c for c in cases if c.case_id == batch.case_ids[0])
    n = case.geometry.crop_shape[0]
    assert n < 32
    assert (inside[0], inside[-1]) == ((32 - n) // 2, (32 - n) // 2 + n - 1)
    assert batch.label.sum() == np.array(case.label())[case.geometry.crop].sum()


def test_the_batch_of_a_step_is_the_same_alone_and_read_ahead(cases: list[PreparedCase]) -> None:
    drawn = sampler(cases)
    ahead = list(drawn.prefetched(5, 25, threads=3, finish=lambda batch: batch))
    assert [batch.step for batch in ahead] == list(range(5, 25))
    for batch in ahead:
        alone = drawn.batch(batch.step)
        assert batch.image.tobytes() == alone.image.tobytes()
        assert batch.label.tobytes() == alone.label.tobytes()


def test_all_crops_of_a_batch_are_of_one_case_where_as_many_are_asked_for(cases: list[PreparedCase]) -> None:
    drawn = PatchSampler(cases, (8, 8, 8), 4, 2 / 3, seed=0, crops_per_case=4)
    assert drawn.steps_per_epoch == len(cases) == 10
    batches = [drawn.batch(step) for step in range(20)]
    assert all(len(set(batch.case_ids)) == 1 for batch in batches)
    assert len({batch.image[i].tobytes() for batch in batches for i in range(4)}) > 70
    for epoch in (batches[:10], batches[10:]):
        assert sorted(batch.case_ids[0] for batch in epoch) == sorted(case.case_id for case in cases)
    halves = PatchSampler(cases, (8, 8, 8), 4, 2 / 3, seed=0, crops_per_case=2)
    assert halves.steps_per_epoch == 5
    assert [len(set(halves.batch(step).case_ids)) for step in range(5)] == [2] * 5


def test_without_shuffling_cases_come_in_their_order_every_epoch(cases: list[PreparedCase]) -> None:
    drawn = PatchSampler(cases, (8, 8, 8), 5, 2 / 3, seed=0, shuffle=False)
    ids = [case.case_id for case in cases]
    assert [case_id for step in range(4) for case_id in drawn.batch(step).case_ids] == ids * 2
    # The patches themselves are still drawn.
    assert drawn.batch(0).image.tobytes() != drawn.batch(2).image.tobytes()


class Line(PreparedCase):
    """A case of one row of voxels, of which one is a lesion; an image's value is its place."""

    def image(self) -> np.ndarray:
        return np.arange(20, dtype=np.float16).reshape(1, 20, 1, 1)

    def label(self) -> np.ndarray:
        return (np.arange(20) == 10).astype(np.uint8).reshape(20, 1, 1)

    def lesion_voxels(self) -> np.ndarray:
        return np.array([[10, 0, 0]], np.int16)


LINE = Line(
    Path(),
    "line",
    "line",
    1.0,
    Geometry((20, 1, 1), (), (20, 1, 1), (1.0, 1.0, 1.0), (0, 0, 0), (20, 1, 1)),
    {},
    {},
    {},
    {},
)


@pytest.mark.parametrize(("other", "at_the_start"), [("anywhere", 1 / 17), ("background", 3 / 19)])
def test_where_patches_lie_that_are_not_centred_on_a_lesion(other: str, at_the_start: float) -> None:
    """Of 20 voxels in a row, patches of 4 begin at one of 17 places. Centred on one of the 19 without lesion and moved
    back into the volume, the first place stands for the voxels 0, 1 and 2; none is centred on voxel 10."""
    drawn = PatchSampler([LINE], (4, 1, 1), 1, 0.0, seed=0, other_patches=other)
    starts = [int(drawn.batch(step).image[0, 0, 0, 0, 0]) for step in range(1500)]
    assert starts.count(0) / 1500 == pytest.approx(at_the_start, abs=0.03)
    assert (starts.count(8) == 0) == (other == "background")


def test_another_seed_draws_other_patches(cases: list[PreparedCase]) -> None:
    assert sampler(cases).batch(0).image.tobytes() != sampler(cases, seed=1).batch(0).image.tobytes()


@pytest.fixture(scope="module")
def partly(tmp_path_factory: pytest.TempPathFactory) -> list[PreparedCase]:
    """Three cases, whose upper quarter nobody annotated, and one without any annotated voxel."""
    root = write_partly_annotated(tmp_path_factory.mktemp("partly"), 3, nothing=1)
    data = ready_data("nnunet", root, results=tmp_path_factory.mktemp("results"), n_folds=3)
    return list(Store(data.store).cases.values())


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_patches_are_centred_where_somebody_annotated(partly: list[PreparedCase], fraction: float) -> None:
    """Of patches that lie anywhere, one in 13 holds the upper quarter, 4 of 16 voxels, alone."""
    drawn = sampler(partly[:3], patch=4, batch=3, fraction=fraction)
    labels = np.concatenate([drawn.batch(step).label[:, 0] for step in range(60)])
    assert (labels != IGNORED).any(axis=(1, 2, 3)).all()
    assert (labels == IGNORED).any() == (fraction == 0)
    assert (labels == 0).any()


def test_a_single_annotated_voxel_is_found(
    partly: list[PreparedCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    label = np.full((20, 18, 16), IGNORED, np.uint8)
    label[7, 5, 3] = 0
    monkeypatch.setattr(PreparedCase, "label", lambda case: label)
    monkeypatch.setattr(PreparedCase, "lesion_voxels", lambda case: np.zeros((0, 3), np.int16))
    assert sampler(partly[:1], patch=4, batch=1).batch(0).label[0, 0, 2, 2, 2] == 0


def test_a_case_that_nobody_annotated_gives_patches_too(partly: list[PreparedCase]) -> None:
    batch = sampler(partly[3:], batch=2).batch(0)
    assert (batch.label == IGNORED).all()
    assert not batch.has_lesion.any()
