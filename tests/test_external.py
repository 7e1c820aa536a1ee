"""A run of a method that trains itself: what it is given, how its masks are scored, what is recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import external_method
import nibabel as nib
import numpy as np
import pytest
import torch
from orders import order_of
from written_studies import write_study

from benchmark.data.splits import stored_splits
from benchmark.data.store import Store
from benchmark.datasets.pipeline import ReadyData, ready_data
from benchmark.execution.run import execute_run
from benchmark.registry import METHOD_FILES, method_digest
from benchmark.results.order import RunOrder
from benchmark.results.runs import RunFolder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ReadyData:
    """Studies whose files lie left-right and head-feet the other way round than the prepared grid."""
    root = tmp_path_factory.mktemp("flipped")
    for i in range(10):
        write_study(root / f"PETCT_{i:02d}" / "study", seed=i, lesion=i % 3 != 2)
        for path in (root / f"PETCT_{i:02d}" / "study").glob("*.nii.gz"):
            image = nib.as_closest_canonical(nib.load(path))
            flipped = image.as_reoriented(np.array([[0, -1], [1, 1], [2, -1]]))
            nib.save(nib.Nifti1Image(np.asarray(flipped.dataobj), flipped.affine), path)
    return ready_data("autopet", root, results=tmp_path_factory.mktemp("results"))


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(METHOD_FILES, json.dumps([external_method.__file__]))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def order(data: ReadyData, results: Path, *, grid: str = "dataset", **arguments: Any) -> RunOrder:
    settings: dict[str, Any] = {
        "dataset": "autopet",
        "method": "external_method",
        "method_args": arguments,
        "loss_weights": {},
        "seed": 5,
        "training": {"steps": 30, "patch_size": [16, 16, 16]},
        "inference": {"score_grid": grid},
    }
    settings["method_digest"] = method_digest("external_method")
    return order_of(settings, data, results)


@pytest.mark.parametrize("grid", ["dataset", "native"])
def test_masks_on_the_original_grid_are_scored_on_the_common_one(
    data: ReadyData, tmp_path: Path, grid: str
) -> None:
    record = execute_run(order(data, tmp_path, grid=grid))
    assert (record.state, record.error) == ("done", None)
    scores = RunFolder(tmp_path, record.run_id).scores()
    dice = scores[scores["metric"] == "dice"]["value"].dropna()
    assert len(dice) >= 1
    assert (dice == 1).all()
    assert set(scores["grid"]) == {"native" if grid == "native" else "2 x 2 x 3 mm"}


def test_training_is_given_its_own_parts_and_the_test_cases_only_to_predict(
    data: ReadyData, tmp_path: Path
) -> None:
    record = execute_run(order(data, tmp_path))
    work = RunFolder(tmp_path, record.run_id).path / "external"
    fold = stored_splits(data.splits, [c.summary for c in Store(data.store).cases.values()]).folds[0]
    given = json.loads((work / "given.json").read_text())
    assert (given["train"], given["validation"]) == (list(fold.train), list(fold.validation))
    assert (given["steps"], given["seed"]) == (30, 5)
    assert json.loads((work / "predicted.json").read_text()) == list(fold.test)


def test_what_it_cost_and_what_it_says_of_itself_are_recorded(data: ReadyData, tmp_path: Path) -> None:
    record = execute_run(order(data, tmp_path))
    cost = dict(record.costs[""])
    assert cost.pop("timed_cases") == 2
    assert cost == {
        "parameters": 7,
        "gflops": 3.0,
        "patch_size": [8, 8, 8],
        "inference_seconds_per_case": 4.0,
    }
    assert (record.parameters, record.train_seconds, record.peak_memory_mb) == (7, 2.0, 100.0)
    assert (record.facts["oracle"], record.facts["remarks"]) == ("1.0", ["sees the labels"])
    assert RunFolder(tmp_path, record.run_id).history()["loss"].tolist() == [0.5]


def test_a_stop_is_an_interruption_and_the_next_start_goes_on(data: ReadyData, tmp_path: Path) -> None:
    asked = order(data, tmp_path, stop_once=True)
    record = execute_run(asked)
    assert (record.state, record.failure) == ("failed", "interrupted")
    assert execute_run(asked).state == "done"


def test_a_package_that_is_missing_is_no_fault_of_the_run(data: ReadyData, tmp_path: Path) -> None:
    record = execute_run(order(data, tmp_path, installed=False))
    assert (record.state, record.failure) == ("failed", "unsupported")
    assert record.error == "The oracle is away; install it with `pip install oracle`."
