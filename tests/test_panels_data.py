"""What every branch says of a whole case."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import external_method
import numpy as np
import pytest
import threshold_methods
import torch
from finished import finished, split_evenly

from benchmark.data.store import PreparedCase
from benchmark.finished.panels import branch_outputs, panels_data, rule_json, write_panels_data
from benchmark.finished.reopened import ReopenedRun
from benchmark.protocols import Method
from benchmark.registry import METHOD_FILES
from benchmark.vocabulary import IGNORED, BenchError, Percentiles, Window, ZScore
from reports.panels.windows import rule_of

WEIGHTS = {"rec_ct": 1e-4, "rec_pet": 1e-4, "seg": 0.5, "class": 1e-3}


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(METHOD_FILES, json.dumps([threshold_methods.__file__, external_method.__file__]))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def branched(tcia_root: Path, tmp_path: Path) -> ReopenedRun:
    return finished(tcia_root, tmp_path, "threshold_methods", {"seg": 1.0}, variant="branched")


def test_outputs_are_what_their_kind_says_on_the_full_grid(branched: ReopenedRun) -> None:
    """The copy is the PET; the segmentation's logits are 0 and 4 PET; the class is the mean of what was shown."""
    case = branched.data.test[0]
    (path,) = write_panels_data(branched, [case.case_id])
    content, arrays = json.loads(path.with_suffix(".json").read_text()), np.load(path)
    geometry, pet = case.geometry, case.image()[1].astype(np.float32)
    assert {
        name: arrays[name].shape[1:] for name in ("image", "copy", "seg", "shown", "class")
    } == dict.fromkeys(("image", "copy", "seg", "shown", "class"), geometry.grid_shape)
    np.testing.assert_array_equal(arrays["image"][(slice(None), *geometry.crop)], case.image())
    np.testing.assert_allclose(arrays["copy"][0][geometry.crop], pet, atol=1e-3)
    np.testing.assert_allclose(arrays["seg"][1][geometry.crop], 1 / (1 + np.exp(-4 * pet)), atol=2e-3)
    np.testing.assert_allclose(arrays["seg"].sum(axis=0), 1, atol=2e-3)
    np.testing.assert_array_equal(arrays["reference"], case.label())
    np.testing.assert_array_equal(arrays["prediction"], case.label())
    shown, probability = arrays["shown"][0], arrays["class"][0]
    # 18 voxels in windows of 16: the second begins at 2, and what it was shown replaces what the first was.
    inside = shown[geometry.crop]
    assert [len(np.unique(part)) for part in (inside[:2], inside[2:], inside)] == [1, 1, 2]
    corner = tuple(s.start for s in geometry.crop)
    assert probability[corner] == pytest.approx(1 / (1 + np.exp(-float(shown[corner]))), abs=2e-3)
    assert arrays["seg"].dtype == np.float16
    assert content["outputs"]["shown"] == {"kind": "input", "of": "CT"}
    assert content["intensities"]["CT"] == {"rule": "Window", "low": -100.0, "high": 250.0}
    assert content["branches"] == [["CT"], ["PET"]]
    assert (content["run_id"], content["case_id"]) == (branched.folder.run_id, case.case_id)
    assert content["spacing_mm"] == [4.0, 4.0, 5.0]


def test_the_same_seed_shows_the_same_corruption_and_another_one_another(branched: ReopenedRun) -> None:
    case, method = branched.data.test[0], branched.method
    assert isinstance(method, Method)
    first, again, other = (branch_outputs(branched, method, case, seed=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first["shown"], again["shown"])
    assert (first["shown"] != other["shown"]).any()


def test_mirror_u_net_shows_its_branches_and_its_segmentation_is_the_mask_that_is_scored(
    tcia_root: Path, tmp_path: Path
) -> None:
    run = split_evenly(
        finished(tcia_root, tmp_path, "mirror_unet", WEIGHTS, version="v3", channels=[2, 4, 4, 4, 4]), "pet"
    )
    case, method = run.data.test[0], run.method
    assert isinstance(method, Method)
    outputs, kinds = branch_outputs(run, method, case, seed=0)
    assert {kind for kind, _ in kinds.values()} == {
        "input",
        "reconstruction",
        "segmentation",
        "classification",
    }
    (name,) = [name for name, (kind, _) in kinds.items() if kind == "segmentation"]
    mask = next(iter(run.predicted([case])))[1][""].voxels
    assert 0.05 < mask.mean() < 0.95
    background, tumour = outputs[name]
    # Half precision cannot tell probabilities beside one half apart.
    clear = np.abs(tumour.astype(np.float32) - 0.5) > 1e-3
    np.testing.assert_array_equal((tumour > background)[clear], mask[clear] == 1)


def test_an_output_that_nobody_describes_is_refused(
    branched: ReopenedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        type(branched.method), "output_kinds", lambda self: {"copy": ("reconstruction", "PET")}
    )
    with pytest.raises(BenchError, match=r"output_kinds\(\) does not say what 'shown'"):
        write_panels_data(branched, [branched.data.test[0].case_id])


def test_a_case_of_another_part_and_a_method_without_branches_are_refused(
    branched: ReopenedRun, tcia_root: Path, tmp_path: Path
) -> None:
    with pytest.raises(BenchError, match=f"no case '{branched.data.train[0].case_id}'"):
        write_panels_data(branched, [branched.data.train[0].case_id])
    outside = finished(tcia_root, tmp_path, "external_method", {})
    with pytest.raises(BenchError, match="shows no branches"):
        write_panels_data(outside, [outside.data.test[0].case_id])


def test_the_same_is_had_without_files(branched: ReopenedRun) -> None:
    case_id = branched.data.test[0].case_id
    (data,) = panels_data(branched, [case_id])
    assert not branched.folder.panels.exists()
    (path,) = write_panels_data(branched, [case_id])
    assert json.loads(path.with_suffix(".json").read_text()) == data.description
    with np.load(path) as arrays:
        assert set(arrays.files) == set(data.arrays)
        for name in arrays.files:
            np.testing.assert_array_equal(arrays[name], data.arrays[name])


def test_rules_are_read_as_they_are_written() -> None:
    for rule in (Window(-100.0, 250.0), Percentiles(1.0, 99.0), ZScore(nonzero=True), None):
        assert rule_of(rule_json(rule)) == rule


def test_arrays_show_nothing_where_nobody_annotated(
    branched: ReopenedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a lesion's voxels: the network finds all of them, and the arrays have those that are scored."""
    case = next(case for case in branched.data.test if case.has_lesion)
    whole = np.array(case.label())
    partly = whole.copy()
    partly[..., ::2] = IGNORED
    monkeypatch.setattr(PreparedCase, "label", lambda _: partly)
    (data,) = panels_data(branched, [case.case_id])
    for name in ("reference", "prediction"):
        assert data.arrays[name].any()
        np.testing.assert_array_equal(data.arrays[name], np.where(partly == IGNORED, 0, whole))
