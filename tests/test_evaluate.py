"""Inference and scoring: a known predictor gives known scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from baselines.mirror_unet import MirrorUNet
from benchmark.config import InferenceConfig, run_config
from benchmark.data.readers.autopet import SPEC
from benchmark.data.store import PreparedCase, Store
from benchmark.datasets.pipeline import ready_data
from benchmark.scoring.evaluate import LabelMap, mean_dice, predicted_regions, score_cases
from benchmark.training.inference import predict
from benchmark.vocabulary import BenchError, Region

CONFIG = run_config(
    {"dataset": "autopet", "method": "mirror_unet", "loss_weights": {"seg": 1}, "fold": 3, "seed": 7},
    source="test",
)


@pytest.fixture(scope="module")
def cases(tcia_root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[PreparedCase]:
    data = ready_data(
        "autopet",
        tcia_root,
        results=tmp_path_factory.mktemp("results"),
        preparation=SPEC.preparation_at((4.0, 4.0, 5.0)),
    )
    return list(Store(data.store).cases.values())


def scored(predictor: Callable[[PreparedCase], np.ndarray], cases: list[PreparedCase]) -> pd.DataFrame:
    predicted = ((case.case_id, {"": LabelMap(predictor(case), case.geometry)}) for case in cases)
    references = {case.case_id: case for case in cases}
    return score_cases(predicted, references, spec=SPEC, config=CONFIG, run_id="r")


def test_a_predictor_that_knows_the_truth_scores_one_and_nothing_false(cases: list[PreparedCase]) -> None:
    scores = scored(lambda case: np.array(case.label()), cases)
    wide = scores.pivot_table(index="case_id", columns="metric", values="value", dropna=False)
    ill = [case.case_id for case in cases if case.has_lesion]
    assert (wide.loc[ill, "dice"] == 1).all()
    assert (wide[["fpv_ml", "over_ml", "under_ml"]].fillna(0) == 0).all(axis=None)
    assert (scores["fold"].unique().tolist(), scores["seed"].unique().tolist()) == ([3], [7])


def test_a_predictor_that_finds_nothing_misses_every_lesion_s_volume(cases: list[PreparedCase]) -> None:
    """Each lesion is 4 x 4 x 4 voxels of 80 mm^3: 5.12 ml."""
    nothing = lambda case: np.zeros(case.geometry.grid_shape, np.uint8)  # noqa: E731
    scores = scored(nothing, cases)
    ill = {case.case_id for case in cases if case.has_lesion}
    missed = scores[(scores["metric"] == "fnv_ml") & scores["case_id"].isin(ill)]["value"]
    assert missed.tolist() == pytest.approx([5.12] * len(ill))
    assert mean_dice(nothing, cases, spec=SPEC) == 0


def test_mean_dice_is_over_the_cases_that_have_one(cases: list[PreparedCase]) -> None:
    assert mean_dice(lambda case: np.array(case.label()), cases, spec=SPEC) == 1
    healthy = [case for case in cases if not case.has_lesion]
    assert np.isnan(mean_dice(lambda case: np.array(case.label()), healthy, spec=SPEC))


class Threshold(MirrorUNet):
    """A "network" whose logit is PET above 0.3 of its window: SUV 4.5."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        hot = (self.modality(image, "PET") > 0.3).float()
        return torch.cat([1 - hot, hot], dim=1)


@pytest.mark.parametrize("patch", [16, 32])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_windows_are_stitched_into_the_right_place_whether_smaller_or_larger_than_the_volume(
    cases: list[PreparedCase], patch: int, precision: str
) -> None:
    method = Threshold(SPEC, (patch, patch, patch), version="v1", channels=(2, 2, 2, 2, 2))
    for case in cases:
        (labels,) = predict(
            method,
            case,
            config=InferenceConfig(),
            precision=precision,
            device=torch.device("cpu"),  # type: ignore[arg-type]
        ).values()
        np.testing.assert_array_equal(labels, case.label())


def test_inference_runs_no_branch_but_the_pet_s(
    cases: list[PreparedCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    method = MirrorUNet(SPEC, (16, 16, 16), version="v3", channels=(2, 2, 2, 2, 2))

    def refuse(*_: object) -> None:
        raise AssertionError("this branch is not needed")

    for part in (method.ct, method.bottleneck_decoder, method.classifier):
        assert part is not None
        monkeypatch.setattr(part, "forward", refuse)
    monkeypatch.setattr(method.ct, "encode", refuse)
    predict(method, cases[0], config=InferenceConfig(), precision="float32", device=torch.device("cpu"))


class BrightHalf(Threshold):
    """Foreground where the output is above its mean over the whole volume."""

    def decode(self, output: torch.Tensor, reading: str = "") -> torch.Tensor:
        return (output[:, 1:] > output[:, 1:].mean()).to(torch.uint8)


class Values(Threshold):
    """The PET itself as logits of the foreground."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        pet = self.modality(image, "PET")
        return torch.cat([torch.zeros_like(pet), pet], dim=1)


class BrightHalfOfValues(BrightHalf, Values):
    pass


def test_a_decision_on_the_whole_volume_is_shown_the_whole_volume(cases: list[PreparedCase]) -> None:
    method = BrightHalfOfValues(SPEC, (8, 16, 16), version="v1", channels=(2, 2, 2, 2))
    for case in cases[:2]:
        labels = predict(
            method, case, config=InferenceConfig(), precision="float32", device=torch.device("cpu")
        )
        pet = case.image()[1].astype(np.float32)
        by_hand = np.zeros(case.geometry.grid_shape, np.uint8)
        by_hand[case.geometry.crop] = pet > pet.mean()
        np.testing.assert_array_equal(labels[""], by_hand)


def test_a_modality_that_is_missing_is_shown_as_zeros(cases: list[PreparedCase]) -> None:
    method = Threshold(SPEC, (16, 16, 16), version="v1", channels=(2, 2, 2, 2, 2))
    settings = {"config": InferenceConfig(), "precision": "float32", "device": torch.device("cpu")}
    complete = predict(method, cases[0], **settings)[""]  # type: ignore[arg-type]
    assert complete.any()
    np.testing.assert_array_equal(predict(method, cases[0], zeroed=["CT"], **settings)[""], complete)  # type: ignore[arg-type]
    assert not predict(method, cases[0], zeroed=["PET"], **settings)[""].any()  # type: ignore[arg-type]
    assert cases[0].image()[1].any()


TWO_REGIONS = replace(
    SPEC, name="two", labels={"core": 1, "rim": 2}, regions=(Region("whole", (1, 2)), Region("rim", (2,)))
)


def test_only_the_regions_that_a_method_tells_are_scored(cases: list[PreparedCase]) -> None:
    """No reference has a rim: its Dice is undefined, and a mean over what is told is of the whole or of nothing."""
    ill = next(case for case in cases if case.has_lesion)
    truth = {"": LabelMap(np.array(ill.label()), ill.geometry)}
    for told, regions in ((None, {"whole", "rim"}), (("whole",), {"whole"}), ((), set())):
        scores = score_cases(
            [(ill.case_id, truth)],
            {ill.case_id: ill},
            spec=TWO_REGIONS,
            config=CONFIG,
            run_id="r",
            told=told,
        )
        assert set(scores["region"] if len(scores) else ()) == regions
        assert len(scores) == 0 or set(scores["dataset"]) == {"two"}
    assert mean_dice(lambda case: np.array(case.label()), [ill], spec=TWO_REGIONS, told=("whole",)) == 1
    assert np.isnan(mean_dice(lambda case: np.array(case.label()), [ill], spec=TWO_REGIONS, told=("rim",)))
    with pytest.raises(BenchError, match="Did you mean 'rim'"):
        predicted_regions(TWO_REGIONS, ("rimm",))
