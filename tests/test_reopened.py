"""Opening a finished run again: what it says then, and what it says when something is gone."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import threshold_methods
import torch
from finished import finished, prepared, split_evenly
from safetensors.torch import load_file

from benchmark.finished.reopened import ReopenedRun, reopen
from benchmark.finished.rescoring import compared, rescore
from benchmark.protocols import Method
from benchmark.registry import METHOD_FILES
from benchmark.results.runs import RunFolder, RunRecord
from benchmark.vocabulary import BenchError, DataError

WEIGHTS = {"rec_ct": 1e-4, "seg": 0.5}


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def mirror(root: Path, results: Path, **training: object) -> ReopenedRun:
    return finished(
        root, results, "mirror_unet", WEIGHTS, version="v1", channels=[2, 4, 4, 4, 4], training=training
    )


def test_a_run_says_where_its_data_lie(tcia_root: Path, tmp_path: Path) -> None:
    run = mirror(tcia_root, tmp_path)
    data = prepared(tcia_root, tmp_path)
    written = json.loads(run.folder.data_file.read_text())
    assert written == {
        "root": str(tcia_root),
        "store": str(data.store),
        "scored_on": str(data.store),
        "splits": str(data.splits),
    }


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_weights_that_are_no_file_are_refused(tcia_root: Path, tmp_path: Path, kind: str) -> None:
    run = mirror(tcia_root, tmp_path)
    weights = run.folder.weights_file
    weights.rename(tmp_path / "elsewhere")
    os.mkfifo(weights) if kind == "pipe" else weights.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(
        BenchError, match=rf"Run {run.folder.run_id}: .*last\.safetensors is a {kind}, no file"
    ):
        reopen(tmp_path, run.folder.run_id)


def test_its_weights_give_the_stored_scores_and_other_weights_do_not(tcia_root: Path, tmp_path: Path) -> None:
    run = mirror(tcia_root, tmp_path)
    found = rescore(run)
    assert found.exact
    assert found.rows == len(run.folder.scores())
    stored = run.folder.scores_file.read_bytes()
    other = rescore(split_evenly(run, "pet"))
    assert not other.exact
    assert other.differences["over_ml"] > 0
    assert run.folder.scores_file.read_bytes() == stored


def test_differences_are_the_largest_of_a_metric_and_undefined_agrees_with_undefined_alone() -> None:
    nan = float("nan")

    def scores(dice: list[float], fpv: list[float]) -> pd.DataFrame:
        rows = [("dice", case, value) for case, value in enumerate(dice)]
        rows += [("fpv_ml", case, value) for case, value in enumerate(fpv)]
        frame = pd.DataFrame(rows, columns=["metric", "case_id", "value"])
        return frame.assign(reading="", region="tumor")

    found = compared(scores([0.5, nan, 0.7], [1.0, 2.0]), scores([0.5, nan, 0.4], [1.0, nan, 3.0]))
    assert found.differences == {"dice": pytest.approx(0.3), "fpv_ml": np.inf}
    assert (found.rows, found.only_stored, found.only_new, found.exact) == (5, 0, 1, False)
    assert compared(scores([nan], [1.0]), scores([nan], [1.0])).exact


def test_the_best_weights_are_opened_where_they_were_scored(tcia_root: Path, tmp_path: Path) -> None:
    run = mirror(tcia_root, tmp_path, checkpoint="best", validations=2, steps=4)
    assert rescore(run).exact
    method = run.method
    assert isinstance(method, Method)
    best = load_file(run.folder.best_weights_file)
    name, tensor = next(iter(method.named_parameters()))
    assert torch.equal(tensor.detach(), best[name])
    run.folder.weights_file.unlink()
    reopen(tmp_path, run.folder.run_id)


def test_a_run_that_is_not_done_is_refused(tmp_path: Path) -> None:
    RunFolder(tmp_path, "abc").write_record(RunRecord("abc", "failed", "code"))
    with pytest.raises(BenchError, match="abc is failed; only finished runs"):
        reopen(tmp_path, "abc")


def test_a_run_of_an_earlier_version_says_what_to_do(tcia_root: Path, tmp_path: Path) -> None:
    run = mirror(tcia_root, tmp_path)
    run.folder.data_file.unlink()
    with pytest.raises(BenchError, match=r"earlier version.*Remove .* and start its grid again"):
        reopen(tmp_path, run.folder.run_id)


def test_a_run_without_its_weights_says_which_file_is_missing(tcia_root: Path, tmp_path: Path) -> None:
    run = mirror(tcia_root, tmp_path)
    run.folder.weights_file.unlink()
    with pytest.raises(BenchError, match=r"has no weights: .*last\.safetensors is missing"):
        reopen(tmp_path, run.folder.run_id)


def test_data_that_are_gone_or_have_changed_are_named(tcia_root: Path, tmp_path: Path) -> None:
    run = mirror(tcia_root, tmp_path)
    run.folder.write_record(RunRecord(**{**vars(run.folder.record()), "data_fingerprint": "another"}))
    with pytest.raises(DataError, match="has changed since"):
        _ = reopen(tmp_path, run.folder.run_id).data
    shutil.rmtree(prepared(tcia_root, tmp_path).store)
    with pytest.raises(DataError, match="no prepared data in"):
        _ = reopen(tmp_path, run.folder.run_id).data


def test_a_method_file_that_changed_or_is_not_named_is_refused(
    tcia_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "my_threshold.py"
    source.write_text(Path(threshold_methods.__file__).read_text())
    monkeypatch.setenv(METHOD_FILES, json.dumps([str(source)]))
    run = finished(tcia_root, tmp_path, "my_threshold", {"seg": 1.0}, variant="hot")
    source.write_text(source.read_text() + "\n# another thought\n")
    with pytest.raises(BenchError, match="not the one that run"):
        reopen(tmp_path, run.folder.run_id)
    monkeypatch.setenv(METHOD_FILES, "")
    with pytest.raises(BenchError, match="name its file with --method-file"):
        reopen(tmp_path, run.folder.run_id)
