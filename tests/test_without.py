"""A finished run scored with a modality missing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import external_method
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import threshold_methods
import torch
from finished import finished, split_evenly

from baselines.mirror_unet import MirrorUNet
from benchmark.finished.reopened import ReopenedRun
from benchmark.finished.without import evaluate_without
from benchmark.protocols import Case, ExternalJob
from benchmark.registry import METHOD_FILES
from benchmark.scoring.evaluate import score_cases
from benchmark.training.in_loop import Predictor
from benchmark.vocabulary import BenchError

WEIGHTS = {
    "v1": {"rec_ct": 1e-4, "seg": 0.5},
    "v2": {"rec_ct": 1e-4, "rec_pet": 1e-4, "seg": 0.5},
    "v3": {"rec_ct": 1e-4, "rec_pet": 1e-4, "seg": 0.5, "class": 1e-3},
    "v4": {"seg": 1.0},
}


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(METHOD_FILES, json.dumps([threshold_methods.__file__, external_method.__file__]))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


def threshold(root: Path, results: Path, variant: str, **arguments: Any) -> ReopenedRun:
    return finished(root, results, "threshold_methods", {"seg": 1.0}, variant=variant, **arguments)


def mirror(root: Path, results: Path, version: str, **arguments: Any) -> ReopenedRun:
    run = finished(
        root, results, "mirror_unet", WEIGHTS[version], version=version, channels=[2, 4, 4, 4, 4], **arguments
    )
    return split_evenly(run, "pet", *(["ct"] if version == "v4" else []))


def foreground(run: ReopenedRun) -> float:
    return float(np.mean([maps[""].voxels.mean() for _, maps in run.predicted(run.data.test)]))


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_the_versions_that_segment_the_pet_give_the_same_masks_without_ct(
    tcia_root: Path, results: Path, version: str
) -> None:
    run = mirror(tcia_root, results, version)
    assert 0.05 < foreground(run) < 0.95
    evaluate_without(run, ["CT", "PET"])
    for modality, manner, same in (("CT", "own answer", True), ("PET", "zeros", False)):
        evaluated = run.folder.without(modality)
        assert evaluated is not None
        scores, facts = evaluated
        assert (facts.manner, set(facts.changed_voxels[""])) == (manner, {c.case_id for c in run.data.test})
        assert all((n == 0) is same for n in facts.changed_voxels[""].values())
        columns = ["case_id", "metric", "value"]
        assert scores[columns].equals(scored_now(run)[columns]) is same


def scored_now(run: ReopenedRun) -> pd.DataFrame:
    """The scores of the weights as they are now: the run was scored before they were changed."""
    return score_cases(
        run.predicted(run.data.test),
        run.data.references,
        spec=run.spec,
        config=run.config,
        run_id=run.folder.run_id,
    ).astype(run.folder.scores().dtypes.to_dict())


def test_v4_answers_without_ct_as_with_theta_zero(tcia_root: Path, results: Path) -> None:
    run = mirror(tcia_root, results, "v4", theta=0.5)
    evaluate_without(run, ["CT"])
    evaluated = run.folder.without("CT")
    assert evaluated is not None
    assert evaluated[1].manner == "own answer"
    assert sum(evaluated[1].changed_voxels[""].values()) > 0
    alone = MirrorUNet(
        run.spec, run.config.training.patch_size, version="v4", theta=0.0, channels=(2, 4, 4, 4, 4)
    )
    alone.load_state_dict(run.method.state_dict())  # type: ignore[union-attr]
    whole, pet = Predictor(run.method, run.config, run.device), Predictor(alone, run.config, run.device)  # type: ignore[arg-type]
    changed = {c.case_id: int((whole(c)[""] != pet(c)[""]).sum()) for c in run.data.test}
    assert evaluated[1].changed_voxels[""] == changed


def test_zeros_are_shown_to_who_has_no_answer_and_change_what_looked(tcia_root: Path, results: Path) -> None:
    """The body is 0.4 on the CT's scale and 1 / 15 on the PET's: 0.8 + 0.07 is above 0.3, 0.07 below."""
    run = threshold(tcia_root, results, "hot", ct=2.0)
    evaluate_without(run, ["CT"])
    scores, facts = run.folder.without("CT") or (None, None)
    assert scores is not None
    assert facts is not None
    assert facts.manner == "zeros"
    body = 18 * 16 * 14
    lesion = {case.case_id: 64 if case.has_lesion else 0 for case in run.data.test}
    assert facts.changed_voxels[""] == {case_id: body - n for case_id, n in lesion.items()}
    dice = scores[scores["metric"] == "dice"]["value"].dropna()
    assert (dice == 1).all()
    assert set(run.folder.scores()["run_id"]) == {run.folder.run_id}


def test_the_stored_scores_stay_as_they_are(tcia_root: Path, results: Path) -> None:
    run = threshold(tcia_root, results, "hot", ct=1.0)
    before = run.folder.scores_file.read_bytes(), run.folder.record_file.read_bytes()
    evaluate_without(run, ["PET"])
    assert (run.folder.scores_file.read_bytes(), run.folder.record_file.read_bytes()) == before


def test_a_part_that_does_without_is_an_answer_of_its_own(tcia_root: Path, results: Path) -> None:
    run = threshold(tcia_root, results, "honest", ct=1.0)
    evaluate_without(run, ["CT"])
    assert run.folder.evaluated_without() == ["CT"]
    _, facts = run.folder.without("CT") or (None, None)
    assert facts is not None
    assert facts.manner == "own answer"
    assert min(facts.changed_voxels[""].values()) > 0


def test_what_a_part_does_not_tell_is_not_scored(tcia_root: Path, results: Path) -> None:
    run = threshold(tcia_root, results, "silent", ct=1.0)
    evaluate_without(run, ["CT", "PET"])
    regions = {
        modality: set((run.folder.without(modality) or (pd.DataFrame(), None))[0]["region"])
        for modality in ("CT", "PET")
    }
    assert regions == {"CT": set(), "PET": {"tumor"}}


@pytest.mark.parametrize("variant", ["liar", "liar in part"])
def test_a_method_that_says_it_does_not_look_but_does_is_found_out(
    tcia_root: Path, results: Path, variant: str
) -> None:
    run = threshold(tcia_root, results, variant, ct=1.0)
    with pytest.raises(BenchError, match="depend on what is shown there"):
        evaluate_without(run, ["CT"])
    assert run.folder.evaluated_without() == []


def test_an_unknown_modality_is_refused_by_name(tcia_root: Path, results: Path) -> None:
    run = threshold(tcia_root, results, "hot")
    with pytest.raises(BenchError, match="Did you mean 'PET'"):
        evaluate_without(run, ["PT"])


def test_a_method_that_predicts_from_files_is_given_a_file_of_zeros(
    tcia_root: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished(tcia_root, results, "external_method", {})
    shown: list[dict[str, float]] = []

    def hot(self: Any, job: ExternalJob, cases: list[Case], out: Path) -> float:
        """Foreground where the PET is above SUV 4.5, or the CT above 1,000 HU."""
        out.mkdir(parents=True, exist_ok=True)
        for case in cases:
            ct, pet = (nib.load(case.images[name]) for name in ("CT", "PET"))
            shown.append({"CT": float(np.ptp(ct.dataobj)), "PET": float(np.ptp(pet.dataobj))})
            np.testing.assert_array_equal(ct.affine, pet.affine)
            mask = (np.asarray(pet.dataobj) > 4.5).astype(np.uint8)
            nib.save(nib.Nifti1Image(mask, pet.affine), out / f"{case.case_id}.nii.gz")
        return 1.0

    monkeypatch.setattr(type(run.method), "predict", hot)
    evaluate_without(run, ["CT", "PET"])
    assert [entry["CT"] == 0 for entry in shown] == [False] * 2 + [True] * 2 + [False] * 2
    assert [entry["PET"] == 0 for entry in shown] == [False] * 4 + [True] * 2
    counted = {}
    for modality in ("CT", "PET"):
        _, facts = run.folder.without(modality) or (None, None)
        assert facts is not None
        counted[modality] = (facts.manner, sum(facts.changed_voxels[""].values()))
    lesions = 64 * sum(case.has_lesion for case in run.data.test)
    assert counted == {"CT": ("zeros", 0), "PET": ("zeros", lesions)}
