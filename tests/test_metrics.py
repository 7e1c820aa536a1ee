"""The scores of one case, against plain re-implementations and against arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from benchmark.scoring import mask_pair
from benchmark.scoring.mask_pair import MaskPair
from benchmark.scoring.metrics import (
    METRICS,
    Metric,
    dice,
    fnv_ml,
    fpv_ml,
    hd95_mm,
    metric,
    over_ml,
    score_masks,
    surface_dice_2mm,
    under_ml,
)
from benchmark.vocabulary import BenchError
from reports.ground.measures import usual_measures

SPACING = (2.0, 2.0, 3.0)
EDGES_AND_FACES = ndimage.generate_binary_structure(3, 2)
FACES = ndimage.generate_binary_structure(3, 1)

Mask = NDArray[np.bool_]


def empty(shape: tuple[int, int, int] = (12, 12, 12)) -> Mask:
    return np.zeros(shape, dtype=bool)


def random_masks(seed: int) -> tuple[Mask, Mask, tuple[float, float, float]]:
    """Two masks of noise, sparse enough to fall into many components, and a spacing."""
    generator = np.random.default_rng(seed)
    shape = tuple(int(n) for n in generator.integers(3, 18, size=3))
    density = generator.uniform(0.02, 0.25, size=2)
    spacing = tuple(float(edge) for edge in generator.uniform(0.5, 5.0, size=3))
    return generator.random(shape) < density[0], generator.random(shape) < density[1], spacing


def missed_ml(mask: Mask, other: Mask, spacing_mm: tuple[float, float, float]) -> float:
    """The challenge's definition, component by component."""
    labels, n_components = ndimage.label(mask, structure=EDGES_AND_FACES)
    volume = 0.0
    for index in range(1, n_components + 1):
        component = labels == index
        if not (component & other).any():
            volume += component.sum() * spacing_mm[0] * spacing_mm[1] * spacing_mm[2] / 1000
    return volume


def brute_force_hd95(prediction: Mask, reference: Mask, spacing_mm: tuple[float, float, float]) -> float:
    """All pairs of surface voxels."""
    points = [
        np.argwhere(mask & ~ndimage.binary_erosion(mask, structure=FACES)) * np.array(spacing_mm)
        for mask in (prediction, reference)
    ]
    distances = np.linalg.norm(points[0][:, None] - points[1][None], axis=-1)
    return float(max(np.percentile(distances.min(axis=1), 95), np.percentile(distances.min(axis=0), 95)))


@pytest.mark.parametrize("seed", range(40))
def test_false_volumes_equal_the_challenges_definition_component_by_component(seed: int) -> None:
    prediction, reference, spacing = random_masks(seed)
    assert fpv_ml(prediction, reference, spacing_mm=spacing) == pytest.approx(
        missed_ml(prediction, reference, spacing)
    )
    assert fnv_ml(prediction, reference, spacing_mm=spacing) == pytest.approx(
        missed_ml(reference, prediction, spacing)
    )


def test_the_random_masks_have_components_of_every_kind() -> None:
    hit = missed = 0
    for seed in range(40):
        prediction, reference, _ = random_masks(seed)
        labels, n_components = ndimage.label(prediction, structure=EDGES_AND_FACES)
        n_hit = len(np.unique(labels[prediction & reference]))
        hit, missed = hit + n_hit, missed + n_components - n_hit
    assert hit > 200
    assert missed > 200


def test_fpv_counts_only_components_that_touch_no_lesion() -> None:
    prediction, reference = empty(), empty()
    reference[1:4, 1:4, 1:4] = True
    prediction[3:6, 1:4, 1:4] = True  # overlaps the lesion in one layer
    prediction[8:10, 8:10, 8:10] = True  # 8 voxels of 2 x 2 x 3 mm
    assert fpv_ml(prediction, reference, spacing_mm=SPACING) == pytest.approx(0.096)
    assert fnv_ml(prediction, reference, spacing_mm=SPACING) == 0.0


def test_fnv_counts_only_lesions_without_a_single_predicted_voxel() -> None:
    prediction, reference = empty(), empty()
    reference[1:4, 1:4, 1:4] = True
    reference[7:9, 7:10, 7:10] = True  # 18 voxels of 12 mm3
    prediction[1, 1, 1] = True
    assert fnv_ml(prediction, reference, spacing_mm=SPACING) == pytest.approx(0.216)
    assert fpv_ml(prediction, reference, spacing_mm=SPACING) == 0.0


def test_voxels_that_touch_at_a_corner_are_two_lesions() -> None:
    prediction, reference = empty(), empty()
    reference[2, 2, 2] = reference[3, 3, 3] = True
    prediction[2, 2, 2] = True
    assert fnv_ml(prediction, reference, spacing_mm=(1.0, 1.0, 1.0)) == pytest.approx(0.001)
    assert fpv_ml(reference, prediction, spacing_mm=(1.0, 1.0, 1.0)) == pytest.approx(0.001)


@pytest.mark.parametrize("second", [(3, 3, 2), (3, 2, 3), (2, 3, 3), (1, 3, 2), (2, 2, 3)])
def test_voxels_that_touch_at_an_edge_or_a_face_are_one_lesion(second: tuple[int, int, int]) -> None:
    prediction, reference = empty(), empty()
    reference[2, 2, 2] = reference[second] = True
    prediction[2, 2, 2] = True
    assert fnv_ml(prediction, reference, spacing_mm=SPACING) == 0.0


def test_adjacent_masks_that_share_no_voxel_do_not_touch() -> None:
    prediction, reference = empty(), empty()
    reference[2:4, 2:4, 2:4] = True
    prediction[4:6, 2:4, 2:4] = True
    assert fpv_ml(prediction, reference, spacing_mm=SPACING) == pytest.approx(0.096)
    assert fnv_ml(prediction, reference, spacing_mm=SPACING) == pytest.approx(0.096)


def test_components_at_the_borders_of_the_volume_do_not_join_through_them() -> None:
    prediction, reference = empty((6, 6, 6)), empty((6, 6, 6))
    reference[0, 0, 0] = reference[5, 5, 5] = reference[0, 5, 0] = True
    prediction[0, 0, 0] = True
    assert fnv_ml(prediction, reference, spacing_mm=SPACING) == pytest.approx(2 * 0.012)


def test_more_than_65535_components_are_told_apart() -> None:
    reference = empty((96, 96, 96))
    reference[::2, ::2, ::2] = True  # 48^3 = 110592 single voxels
    prediction = empty((96, 96, 96))
    prediction[:, :, 0] = True  # hits 48^2 of them
    expected = (48**3 - 48**2) / 1000
    assert fnv_ml(prediction, reference, spacing_mm=(1.0, 1.0, 1.0)) == pytest.approx(expected)


def test_dice_is_twice_the_overlap_over_the_sum() -> None:
    prediction, reference = empty(), empty()
    reference[0:2, 0:2, 0:2] = True  # 8 voxels
    prediction[0:2, 0:2, 1:4] = True  # 12 voxels, 4 of them inside
    assert dice(prediction, reference) == pytest.approx(0.4)
    assert dice(reference, reference) == 1.0
    assert dice(empty(), reference) == 0.0


def test_over_and_under_segmentation_count_voxels() -> None:
    prediction, reference = empty(), empty()
    reference[0:2, 0:2, 0:2] = True
    prediction[0:2, 0:2, 1:4] = True
    assert over_ml(prediction, reference, spacing_mm=SPACING) == pytest.approx(8 * 0.012)
    assert under_ml(prediction, reference, spacing_mm=SPACING) == pytest.approx(4 * 0.012)


def test_two_empty_masks_are_a_perfect_answer_and_have_no_dice() -> None:
    scores = score_masks(empty(), empty(), spacing_mm=SPACING)
    assert math.isnan(scores.pop("dice"))
    assert scores.pop("surface_dice_2mm") == 1.0
    volumes = {"fpv_ml", "fnv_ml", "over_ml", "under_ml"}
    assert set(scores) == {*volumes, "lesions", "missed_lesions", "hd95_mm", "missed", "invented"}
    assert set(scores.values()) == {0.0}


def test_a_structure_that_was_invented_costs_the_diagonal_of_the_whole_volume_and_counts() -> None:
    prediction = empty((10, 20, 30))
    prediction[2:4, 2:4, 2:4] = True
    scores = score_masks(prediction, empty((10, 20, 30)), spacing_mm=(3.0, 2.0, 4.0))
    assert math.isnan(scores["dice"])
    assert scores["hd95_mm"] == pytest.approx(130.0)  # 30, 40 and 120 mm
    assert scores["surface_dice_2mm"] == 0.0
    assert (scores["missed"], scores["invented"]) == (0.0, 1.0)
    assert scores["fpv_ml"] == scores["over_ml"] == pytest.approx(8 * 0.024)
    assert scores["fnv_ml"] == scores["under_ml"] == 0.0


def test_a_structure_that_was_missed_costs_the_same_and_counts() -> None:
    reference = empty((10, 20, 30))
    reference[4:6, 4:6, 4:6] = True
    scores = score_masks(empty((10, 20, 30)), reference, spacing_mm=(3.0, 2.0, 4.0))
    assert scores["hd95_mm"] == pytest.approx(130.0)
    assert (scores["dice"], scores["surface_dice_2mm"]) == (0.0, 0.0)
    assert (scores["missed"], scores["invented"]) == (1.0, 0.0)
    assert scores["fnv_ml"] == scores["under_ml"] == pytest.approx(8 * 0.024)


def test_lesions_are_counted_and_so_are_those_that_were_missed() -> None:
    """Three components: one hit in a corner, one missed, one of two voxels that share an edge, missed."""
    prediction, reference = empty(), empty()
    reference[0:3, 0:3, 0:3] = reference[6, 6, 6] = reference[9, 9, 9] = reference[9, 10, 10] = True
    prediction[2:5, 2:5, 2:5] = prediction[0, 11, 11] = True
    scores = score_masks(prediction, reference, spacing_mm=SPACING)
    assert (scores["lesions"], scores["missed_lesions"]) == (3.0, 2.0)
    assert scores["fnv_ml"] == pytest.approx(3 * 0.012)
    labelled, n = ndimage.label(reference, ndimage.generate_binary_structure(3, 2))
    assert n == 3
    assert scores["missed_lesions"] == n - len(set(labelled[prediction & reference]))


def test_a_structure_found_in_the_wrong_place_is_neither_missed_nor_invented() -> None:
    prediction, reference = empty(), empty()
    reference[0, 0, 0] = prediction[-1, -1, -1] = True
    scores = score_masks(prediction, reference, spacing_mm=SPACING)
    assert (scores["missed"], scores["invented"], scores["dice"]) == (0.0, 0.0, 0.0)


def test_no_prediction_is_farther_than_none() -> None:
    reference, prediction = empty(), empty()
    reference[0, 0, 0] = prediction[-1, -1, -1] = True
    assert hd95_mm(prediction, reference, spacing_mm=SPACING) < hd95_mm(
        empty(), reference, spacing_mm=SPACING
    )


def test_hd95_of_a_shifted_voxel_is_the_shift_in_millimetres() -> None:
    prediction, reference = empty(), empty()
    reference[2, 2, 2] = True
    prediction[2, 6, 3] = True  # 4 x 2 mm and 1 x 6 mm
    assert hd95_mm(prediction, reference, spacing_mm=(1.0, 2.0, 6.0)) == pytest.approx(10.0)
    assert hd95_mm(reference, reference, spacing_mm=(1.0, 2.0, 6.0)) == 0.0


def test_hd95_takes_the_worse_direction() -> None:
    prediction, reference = empty(), empty()
    reference[5, 5, 5] = True
    prediction[5, 5, 5] = prediction[5, 5, 11] = True  # half of the predicted surface is 6 voxels away
    assert hd95_mm(prediction, reference, spacing_mm=SPACING) == pytest.approx(np.percentile([0, 18], 95))
    assert hd95_mm(reference, prediction, spacing_mm=SPACING) == pytest.approx(np.percentile([0, 18], 95))


@pytest.mark.parametrize("seed", range(25))
def test_hd95_equals_all_pairs_of_surface_voxels(seed: int) -> None:
    prediction, reference, spacing = random_masks(seed)
    if seed % 2:  # solid bodies, which have an inside
        prediction, reference = ndimage.binary_dilation(prediction), ndimage.binary_dilation(reference)
    prediction[0, 0, 0] = reference[-1, 0, 1] = True
    expected = brute_force_hd95(prediction, reference, spacing)
    assert hd95_mm(prediction, reference, spacing_mm=spacing) == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")  # MONAI warns of its own call
@pytest.mark.parametrize("seed", range(3))
def test_hd95_equals_monais_where_both_masks_have_a_surface(seed: int) -> None:
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("monai.metrics")
    generator = np.random.default_rng(seed)
    fields = ndimage.gaussian_filter(generator.standard_normal((2, 30, 28, 26)), (0, 3, 3, 3))
    masks = fields > 1.2 * fields.std()
    assert masks.any(axis=(1, 2, 3)).all()
    one_hot = torch.as_tensor(masks[:, None, None])
    expected = metrics.compute_hausdorff_distance(
        one_hot[0], one_hot[1], include_background=True, percentile=95, spacing=SPACING
    ).item()
    assert expected > 0
    assert hd95_mm(masks[0], masks[1], spacing_mm=SPACING) == pytest.approx(expected, rel=1e-6)


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
@pytest.mark.parametrize("spacing", [SPACING, (0.7, 1.3, 5.0)])
def test_surface_dice_equals_monais_where_both_masks_have_a_surface(
    spacing: tuple[float, float, float],
) -> None:
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("monai.metrics")
    generator = np.random.default_rng(5)
    fields = ndimage.gaussian_filter(generator.standard_normal((30, 28, 26)), 3)
    others = fields + ndimage.gaussian_filter(generator.standard_normal((30, 28, 26)), 3)
    masks = np.stack([fields, others]) > 1.2 * fields.std()
    one_hot = torch.as_tensor(masks[:, None, None])
    expected = metrics.compute_surface_dice(
        one_hot[0], one_hot[1], class_thresholds=[2.0], include_background=True, spacing=spacing
    ).item()
    assert 0.1 < expected < 0.9
    assert surface_dice_2mm(masks[0], masks[1], spacing_mm=spacing) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("seed", range(25))
def test_both_metrics_of_surfaces_equal_those_of_a_distance_transform(seed: int) -> None:
    prediction, reference, spacing = random_masks(seed)
    if seed % 2:
        prediction, reference = ndimage.binary_dilation(prediction), ndimage.binary_dilation(reference)
    prediction[0, 0, 0] = reference[-1, 0, 1] = True
    surfaces = [mask & ~ndimage.binary_erosion(mask, structure=FACES) for mask in (prediction, reference)]
    maps = [ndimage.distance_transform_edt(~surface, sampling=spacing) for surface in surfaces]
    there, back = maps[1][surfaces[0]], maps[0][surfaces[1]]
    near = (there <= 2.0).sum() + (back <= 2.0).sum()
    assert surface_dice_2mm(prediction, reference, spacing_mm=spacing) == pytest.approx(
        near / (len(there) + len(back))
    )
    assert hd95_mm(prediction, reference, spacing_mm=spacing) == pytest.approx(
        max(np.percentile(there, 95), np.percentile(back, 95))
    )


@pytest.mark.parametrize(("shift", "expected"), [(0, 1.0), (1, 1.0), (2, 0.0)])
def test_the_tolerance_is_in_millimetres_and_includes_its_end(shift: int, expected: float) -> None:
    prediction, reference = empty(), empty()
    reference[4, 4, 4] = prediction[4 + shift, 4, 4] = True
    assert surface_dice_2mm(prediction, reference, spacing_mm=(2.0, 0.1, 0.1)) == expected


@pytest.mark.parametrize("start", range(6))
def test_five_voxels_of_two_fifths_of_a_millimetre_are_two_millimetres_wherever_they_lie(start: int) -> None:
    # 7 * 0.4 - 2 * 0.4 is 2.0000000000000004.
    prediction, reference = empty(), empty()
    reference[start, 3, 3] = prediction[start + 5, 3, 3] = True
    assert surface_dice_2mm(prediction, reference, spacing_mm=(0.4, 0.4, 0.4)) == 1.0


def test_surface_dice_counts_the_voxels_of_both_surfaces() -> None:
    prediction, reference = empty(), empty()
    reference[2, 2, 2] = True
    prediction[2, 2, 2] = prediction[2, 2, 6] = prediction[2, 6, 2] = True  # 1 of 3, and 1 of 1
    assert surface_dice_2mm(prediction, reference, spacing_mm=(1.0, 1.0, 1.0)) == pytest.approx(2 / 4)


SMALL = arrays(np.bool_, st.tuples(*[st.integers(1, 5)] * 3))
EDGES = st.tuples(*[st.floats(0.2, 6.0)] * 3)


@settings(max_examples=60, deadline=None)
@given(SMALL, st.integers(0, 2**32 - 1), EDGES)
def test_scores_keep_their_bounds_and_their_symmetries(
    reference: Mask, seed: int, spacing: tuple[float, float, float]
) -> None:
    prediction = np.random.default_rng(seed).random(reference.shape) < 0.3
    scores = score_masks(prediction, reference, spacing_mm=spacing)
    mirrored = score_masks(reference, prediction, spacing_mm=spacing)
    diagonal = math.dist((0, 0, 0), np.multiply(reference.shape, spacing))
    assert 0 <= scores["hd95_mm"] <= diagonal * (1 + 1e-12)
    assert 0 <= scores["surface_dice_2mm"] <= 1
    assert scores["hd95_mm"] == pytest.approx(mirrored["hd95_mm"])
    assert scores["surface_dice_2mm"] == pytest.approx(mirrored["surface_dice_2mm"])
    for name, other in (("missed", "invented"), ("fpv_ml", "fnv_ml"), ("over_ml", "under_ml")):
        assert scores[name] == pytest.approx(mirrored[other])
    assert math.isnan(scores["dice"]) == (not reference.any())
    assert not any(math.isnan(value) for name, value in scores.items() if name != "dice")
    # The penalty is given where it is counted, and nowhere else.
    one_empty = scores["missed"] + scores["invented"] == 1
    assert one_empty == (reference.any() != prediction.any())
    assert (scores["hd95_mm"] == pytest.approx(diagonal)) == one_empty


@settings(max_examples=40, deadline=None)
@given(SMALL, EDGES)
def test_a_mask_compared_with_itself_is_perfect(mask: Mask, spacing: tuple[float, float, float]) -> None:
    scores = score_masks(mask, mask, spacing_mm=spacing)
    assert scores.pop("surface_dice_2mm") == 1.0
    assert scores.pop("dice") == pytest.approx(1.0 if mask.any() else math.nan, abs=0, nan_ok=True)
    assert (scores.pop("lesions") > 0) == mask.any()
    assert set(scores.values()) == {0.0}


def test_the_two_metrics_of_surfaces_share_one_computation(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = mask_pair._distances
    monkeypatch.setattr(mask_pair, "_distances", lambda *args: calls.append(1) or original(*args))
    prediction, reference, spacing = random_masks(2)
    score_masks(prediction, reference, spacing_mm=spacing)
    assert len(calls) == 2  # there and back


@pytest.mark.parametrize("seed", range(5))
def test_empty_space_around_the_masks_changes_no_score(seed: int) -> None:
    prediction, reference, spacing = random_masks(seed)
    prediction[0, 0, 0] = reference[-1, -1, -1] = True
    scores = score_masks(prediction, reference, spacing_mm=spacing)
    around = ((5, 2), (0, 7), (3, 3))
    assert score_masks(np.pad(prediction, around), np.pad(reference, around), spacing_mm=spacing) == scores


def test_the_memory_layout_and_the_number_type_change_no_score() -> None:
    prediction, reference, spacing = random_masks(7)
    scores = score_masks(prediction, reference, spacing_mm=spacing)
    for change in (
        np.asfortranarray,
        np.uint8,
        np.int64,
        np.float32,
        lambda mask: np.repeat(mask, 2, axis=1)[:, ::2],
        np.ndarray.tolist,
    ):
        assert score_masks(change(prediction), change(reference), spacing_mm=spacing) == scores


def test_scoring_leaves_the_masks_as_they_were() -> None:
    prediction, reference, spacing = random_masks(3)
    before = prediction.copy(), reference.copy()
    score_masks(prediction, reference, spacing_mm=spacing)
    np.testing.assert_array_equal(prediction, before[0])
    np.testing.assert_array_equal(reference, before[1])


def test_every_metric_answers_to_its_name_and_its_unit() -> None:
    prediction, reference, spacing = random_masks(11)
    scores = score_masks(prediction, reference, spacing_mm=spacing)
    volumes = ["fpv_ml", "fnv_ml", "over_ml", "under_ml"]
    surfaces = ["hd95_mm", "surface_dice_2mm"]
    lesions = ["lesions", "missed_lesions"]
    assert list(scores) == list(METRICS) == ["dice", *volumes, *lesions, *surfaces, "missed", "invented"]
    for name, entry in METRICS.items():
        assert entry.name == name
        assert scores[name] == entry(prediction, reference, spacing_mm=spacing)
        assert type(scores[name]) is float
        assert entry.unit in ("1", name.rpartition("_")[2])
    better = [name for name, entry in METRICS.items() if entry.higher_is_better]
    assert better == ["dice", "surface_dice_2mm"]


def test_a_new_metric_is_one_function_and_the_tables_print_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # So that it is gone after the test.
    monkeypatch.setitem(METRICS, "predicted_ml", dice)

    @metric("Predicted [ml]", "ml", higher_is_better=False, description="Predicted volume")
    def predicted_ml(pair: MaskPair) -> float:
        return pair.n_predicted * pair.voxel_ml

    assert isinstance(predicted_ml, Metric)
    scores = score_masks(np.ones((2, 2, 2)), empty((2, 2, 2)), spacing_mm=SPACING)
    assert scores["predicted_ml"] == pytest.approx(0.096)
    columns = usual_measures(["lesion"], scores)
    assert list(columns) == ["dice", "fpv_ml", "fnv_ml", "hd95_mm", "predicted_ml"]
    assert columns["predicted_ml"].heading == "Predicted [ml] ↓"
    assert list(usual_measures(["a", "b"], scores)) == [
        f"{region}_{name}" for name in ("dice", "hd95_mm", "predicted_ml") for region in ("a", "b")
    ]


def test_what_a_metric_costs_and_where_it_is_undefined_is_what_it_does() -> None:
    some, nothing = np.ones((3, 3, 3)), empty((3, 3, 3))
    for name, entry in METRICS.items():
        values = [
            entry(one, other, spacing_mm=SPACING) for one in (some, nothing) for other in (some, nothing)
        ]
        assert any(np.isnan(values)) == entry.undefined, name
        missed = entry(nothing, some, spacing_mm=SPACING)
        if entry.penalty:
            diagonal = float(np.linalg.norm(np.multiply(3, SPACING)))
            assert missed == pytest.approx({"the volume's diagonal": diagonal, "0": 0.0}[entry.penalty])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda mask: mask[:-1], r"shape \(11, 12, 12\), the reference \(12, 12, 12\)"),
        (lambda mask: mask[None], "prediction has 4 dimensions"),
        (lambda mask: mask[0], "prediction has 2 dimensions"),
        (lambda mask: mask.astype(int) + 1, "prediction .* values other than 0 and 1"),
        (lambda mask: np.where(mask, 0.7, 0.0), "prediction .* values other than 0 and 1"),
        (lambda mask: np.where(mask, np.nan, 0.0), "prediction .* values other than 0 and 1"),
        (lambda mask: mask.astype(str), "prediction .* values other than 0 and 1"),
    ],
)
def test_what_is_not_a_mask_is_refused(change: Callable[[Mask], object], words: str) -> None:
    reference = empty()
    reference[2:4, 2:4, 2:4] = True
    with pytest.raises(BenchError, match=words):
        score_masks(change(reference), reference, spacing_mm=SPACING)


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 0.0), (2.0, 2.0, -3.0), (2.0, 2.0, float("nan"))])
def test_what_is_not_a_spacing_is_refused(spacing: tuple[float, float, float]) -> None:
    with pytest.raises(BenchError, match="three positive lengths in mm"):
        score_masks(empty(), empty(), spacing_mm=spacing)


def test_a_metric_in_millilitres_asks_for_a_spacing() -> None:
    with pytest.raises(BenchError, match="spacing_mm"):
        fpv_ml(empty(), empty())
