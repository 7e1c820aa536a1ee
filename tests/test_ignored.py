"""Voxels that nobody annotated, and values that no label has: scores as nnU-Net's evaluation counts them, and by hand;
every method on a data set as sparse annotation leaves it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from slow_tests import slow_after
from written_partly import SHAPE, write_partly_annotated

from benchmark.config import run_config
from benchmark.contract import CHECKS, settings, verdict_of
from benchmark.contract.setting import PET_CT
from benchmark.data.readers import nnunet
from benchmark.data.store import PreparedCase, Store
from benchmark.datasets.pipeline import ready_data
from benchmark.registry import method_classes, method_names
from benchmark.scoring.evaluate import LabelMap, annotated_only, mean_dice, region_mask, score_cases
from benchmark.scoring.metrics import METRICS, score_masks
from benchmark.scoring.projections import FALSE, HIT, Projections, open_projections
from benchmark.vocabulary import IGNORED, DatasetSpec, Region

SPACING = (1.0, 2.0, 3.0)
VOXEL_ML = 0.006


@pytest.fixture(scope="module")
def partly(tmp_path_factory: pytest.TempPathFactory) -> tuple[DatasetSpec, list[PreparedCase]]:
    """Three cases, whose upper quarter nobody annotated, and one without any annotated voxel."""
    root = write_partly_annotated(tmp_path_factory.mktemp("partly"), 3, nothing=1)
    data = ready_data("nnunet", root, results=tmp_path_factory.mktemp("results"), n_folds=3)
    return nnunet.spec_of(root), list(Store(data.store).cases.values())


def scored(
    spec: DatasetSpec, case: PreparedCase, label_map: LabelMap, *, grid: str = "dataset", **settings: Any
) -> pd.DataFrame:
    config = run_config(
        {
            "dataset": "nnunet",
            "method": "early_fusion",
            "loss_weights": {"seg": 1},
            "inference": {"score_grid": grid},
        },
        source="test",
    )
    frame = score_cases(
        [(case.case_id, {"": label_map})],
        {case.case_id: case},
        spec=spec,
        config=config,
        run_id="r",
        **settings,
    )
    return frame.pivot_table(index="region", columns="metric", values="value", dropna=False)


@pytest.mark.parametrize("seed", range(5))
def test_counts_are_those_of_nnunet_s_evaluation(seed: int) -> None:
    """Of random label maps of the values 0 to 3, all of which have a reference."""
    evaluation = pytest.importorskip("nnunetv2.evaluation.evaluate_predictions")
    rng = np.random.default_rng(seed)
    reference, prediction = rng.integers(0, 4, (2, 12, 11, 10)).astype(np.uint8)
    reference[rng.random(reference.shape) < 0.4] = IGNORED
    files = {"reference": reference, "prediction": prediction}
    reader = SimpleNamespace(read_seg=lambda name: (files[name], {}))
    regions = [(1,), (2,), (1, 3), (1, 2, 3)]
    theirs = evaluation.compute_metrics("reference", "prediction", reader, regions, ignore_label=IGNORED)
    for labels in regions:
        masks = (region_mask(one, Region("r", labels)) for one in annotated_only(prediction, reference))
        ours, counts = score_masks(*masks, spacing_mm=SPACING), theirs["metrics"][labels]
        assert ours["dice"] == pytest.approx(counts["Dice"])
        assert ours["over_ml"] == pytest.approx(counts["FP"] * VOXEL_ML)
        assert ours["under_ml"] == pytest.approx(counts["FN"] * VOXEL_ML)


def test_every_metric_is_that_of_the_masks_without_what_nobody_annotated() -> None:
    """A line of nine voxels, of which nobody annotated the fifth: two lesions of four voxels, one of them found."""
    reference, prediction = np.zeros((2, 13, 3, 3), np.uint8)
    reference[2:11, 1, 1] = 1
    reference[6] = IGNORED
    prediction[2:7, 1, 1] = 1
    prediction[6, 0, 0] = 1
    masks = [one == 1 for one in annotated_only(prediction, reference)]
    scores = score_masks(*masks, spacing_mm=(1.0, 1.0, 1.0))
    assert scores == pytest.approx(
        {
            "dice": 2 * 4 / (4 + 8),
            "fpv_ml": 0.0,
            "fnv_ml": 0.004,
            "over_ml": 0.0,
            "under_ml": 0.004,
            "lesions": 2,
            "missed_lesions": 1,
            "hd95_mm": np.percentile([0] * 4 + [2, 3, 4, 5], 95),
            "surface_dice_2mm": (4 + 5) / (4 + 8),
            "missed": 0,
            "invented": 0,
        }
    )
    assert set(scores) == set(METRICS)


def test_what_is_all_annotated_is_not_copied() -> None:
    reference, prediction = np.zeros((2, 3, 3, 3), np.uint8)
    assert annotated_only(prediction, reference) == (prediction, reference)


@pytest.mark.parametrize("grid", ["dataset", "native"])
def test_what_is_predicted_where_nobody_annotated_changes_no_score(
    partly: tuple[DatasetSpec, list[PreparedCase]], grid: str
) -> None:
    """The truth, and every label wherever nobody annotated; a channel of no label (3) counts as background does."""
    spec, (case, *_) = partly
    label = np.array(case.label())
    truth = np.where(label == IGNORED, 0, label)
    perfect = scored(spec, case, LabelMap(truth, case.geometry), grid=grid)
    assert (perfect["dice"] == 1).all()
    assert (perfect[["fpv_ml", "fnv_ml", "over_ml", "under_ml", "hd95_mm", "missed_lesions"]] == 0).all(
        axis=None
    )
    for value in (1, 2, 3, 4):
        prediction = np.where(label == IGNORED, value, label)
        again = scored(spec, case, LabelMap(prediction, case.geometry), grid=grid)
        pd.testing.assert_frame_equal(again, perfect)
        assert mean_dice(lambda _, labels=prediction: labels, [case], spec=spec) == 1
    unused = np.where(label == 4, 3, truth)
    wrong = scored(spec, case, LabelMap(unused, case.geometry), grid=grid)
    assert (wrong.loc["enhancing", "dice"], wrong.loc["enhancing", "missed"]) == (0, 1)
    assert wrong.loc["foreground", "over_ml"] == 0
    assert wrong.loc["foreground", "under_ml"] == pytest.approx((label == 4).sum() / 1000)


@pytest.mark.parametrize("grid", ["dataset", "native"])
@pytest.mark.parametrize("value", [0, 1])
def test_of_a_case_that_nobody_annotated_nothing_is_known(
    partly: tuple[DatasetSpec, list[PreparedCase]], grid: str, value: int
) -> None:
    """Neither a perfect surface nor an invented structure enters a mean."""
    spec, cases = partly
    scores = scored(spec, cases[3], LabelMap(np.full(SHAPE, value, np.uint8), cases[3].geometry), grid=grid)
    assert scores.shape == (4, len(METRICS))
    assert scores.isna().all(axis=None)


def test_pictures_show_nothing_where_nobody_annotated(
    partly: tuple[DatasetSpec, list[PreparedCase]], tmp_path: Path
) -> None:
    spec, (case, *_, nothing) = partly
    pictures = Projections("PET", ["foreground"])
    for one in (case, nothing):
        everywhere = LabelMap(np.ones(SHAPE, np.uint8), one.geometry)
        scored(spec, one, everywhere, told=("foreground",), projections=pictures)
    pictures.write(tmp_path / "p.npz")
    with open_projections(tmp_path / "p.npz") as read:
        assert read is not None
        codes = read.codes("", case.case_id, "foreground")
        assert codes is not None
        assert set(np.unique(codes[:, :12])) == {HIT, FALSE}
        assert not codes[:, 12:].any()
        unknown = read.codes("", nothing.case_id, "foreground")
        assert unknown is not None
        assert not unknown.any()


GAPS = replace(
    PET_CT,
    name="gaps",
    labels={"edema": 1, "core": 2, "enhancing": 4},
    regions=(Region("edema", (1,)), Region("rest", (2, 4)), Region("all", (1, 2, 4))),
    ignore=5,
)
NEEDED = {"mirror_unet_regions": {"branch_regions": ["edema", "rest"]}}
IGNORES = next(check for check in CHECKS if check.run.__name__ == "ignores")
VARIANTS = [
    (name, variant)
    for name in method_names()
    for variant in (kind.variant for kind in method_classes(name).values())
]


@pytest.mark.parametrize(
    ("name", "variant"), slow_after(6, VARIANTS), ids=[" ".join(one).strip() for one in VARIANTS]
)
def test_every_method_takes_labels_with_gaps_and_ignore(name: str, variant: str) -> None:
    """The value 3 is no label: it has a channel, no region, and is neither learned nor scored."""
    default = next(own for own in settings(name) if own.spec == PET_CT and own.kind.variant == variant)
    setting = replace(default, spec=GAPS, arguments={**default.arguments, **NEEDED.get(name, {})})
    assert setting.unsupported is None
    if setting.trains_itself:
        return
    assert verdict_of(IGNORES, setting).state == "kept"
    method, batch = setting.build(), setting.batch()
    label = batch.label.clone()
    label[..., 12:] = IGNORED
    losses = method.losses(replace(batch, label=label))
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    with torch.inference_mode():
        output = method.eval()(batch.image).float()
        for reading in method.readings:
            assert set(method.decode(output, reading).unique().tolist()) <= set(range(GAPS.n_classes))
