"""A run from its order to its folder."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import safetensors.torch
import torch
from orders import order_of

import benchmark.execution.run as run_module
from baselines.mirror_unet import MirrorUNet
from benchmark.config import RunConfig, run_config
from benchmark.data.patches import PatchSampler
from benchmark.data.readers.autopet import SPEC
from benchmark.data.splits import Fold, Splits, stored_splits
from benchmark.data.store import PreparedCase, Store, data_fingerprint
from benchmark.datasets.pipeline import ReadyData, ready_data
from benchmark.datasets.registry import dataset
from benchmark.execution.run import execute_run, planned_method
from benchmark.files.writing import StorageError, write_json
from benchmark.protocols import Method
from benchmark.registry import build_method
from benchmark.results.attempts import attempts
from benchmark.results.order import RunOrder
from benchmark.results.runs import RunFolder
from benchmark.training import in_loop
from benchmark.training.fold import open_fold, run_preparation
from benchmark.training.in_loop import Predictor
from benchmark.training.inference import as_inferred
from benchmark.vocabulary import BenchError, Window

WEIGHTS = {"rec_ct": 1e-4, "rec_pet": 1e-4, "seg": 0.5, "class": 1e-3}


@pytest.fixture(scope="module")
def data(tcia_root: Path, tmp_path_factory: pytest.TempPathFactory) -> ReadyData:
    return ready_data(
        "autopet",
        tcia_root,
        results=tmp_path_factory.mktemp("results"),
        preparation=SPEC.preparation_at((4.0, 4.0, 5.0)),
    )


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def settings(**changes: Any) -> dict[str, Any]:
    return {
        "dataset": "autopet",
        "spacing_mm": (4.0, 4.0, 5.0),
        "method": "mirror_unet",
        "method_args": {"version": "v3", "channels": [4, 8, 8, 8, 8]},
        "loss_weights": WEIGHTS,
        "training": {"steps": 6, "patch_size": [16, 16, 16], "validations": 1},
        **changes,
    }


def planned(config: RunConfig) -> object:
    return planned_method(config, dataset(config.dataset).spec_of(None))


def order(data: ReadyData, results: Path, *, save: bool = False, **changes: Any) -> RunOrder:
    return order_of(settings(**changes), data, results, save_predictions=save)


def test_every_test_case_gets_a_row_for_every_metric_and_a_mask_on_its_own_grid(
    data: ReadyData, tmp_path: Path
) -> None:
    asked = order(data, tmp_path, save=True)
    record = execute_run(asked)
    assert (record.state, record.error) == ("done", None)
    folder = RunFolder(tmp_path, asked.run_id)
    scores = folder.scores()
    cases = Store(data.store).cases
    test = stored_splits(data.splits, [c.summary for c in cases.values()]).folds[0].test
    assert set(scores["case_id"]) == set(test)
    assert (scores.groupby("case_id").size() == scores["metric"].nunique()).all()
    assert {"dice", "fpv_ml", "fnv_ml", "over_ml", "under_ml", "hd95_mm"} <= set(scores["metric"])
    dice = scores[scores["metric"] == "dice"].set_index("case_id")["value"]
    assert {c: bool(np.isnan(dice[c])) for c in test} == {c: not cases[c].has_lesion for c in test}
    for case_id in test:
        mask, original = (
            nib.load(folder.predictions / f"{case_id}.nii.gz"),
            nib.load(cases[case_id].files["label"]),
        )
        assert mask.shape == original.shape
        np.testing.assert_array_equal(mask.affine, original.affine)
    assert folder.weights_file.exists()
    assert not folder.checkpoint_file.exists()
    weights = safetensors.torch.load_file(folder.weights_file)
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    assert record.parameters == sum(t.numel() for name, t in weights.items() if not name.endswith(buffers))


def test_a_finished_run_is_not_run_again(data: ReadyData, tmp_path: Path) -> None:
    asked = order(data, tmp_path)
    execute_run(asked)
    before = RunFolder(tmp_path, asked.run_id).weights_file.stat().st_mtime_ns
    assert execute_run(asked).attempts == 1
    assert RunFolder(tmp_path, asked.run_id).weights_file.stat().st_mtime_ns == before


def test_a_run_that_is_stopped_and_continued_has_the_scores_of_an_undisturbed_one(
    data: ReadyData, tmp_path: Path
) -> None:
    undisturbed = order(data, tmp_path / "a", training=settings()["training"] | {"steps": 30})
    execute_run(undisturbed)
    disturbed = replace(undisturbed, results=tmp_path / "b")
    folder = RunFolder(tmp_path / "b", disturbed.run_id)

    def stop_when_training() -> None:
        while not folder.heartbeat_file.exists():
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGTERM)

    stopper = threading.Thread(target=stop_when_training)
    stopper.start()
    record = execute_run(disturbed)
    stopper.join()
    assert (record.state, record.failure) == ("failed", "interrupted")
    assert folder.checkpoint_file.exists()
    assert execute_run(disturbed).state == "done"
    assert [attempt.cause for attempt in attempts(folder)] == ["interrupted", "done"]
    pairs = [RunFolder(tmp_path / x, disturbed.run_id) for x in "ab"]
    assert pairs[0].weights_file.read_bytes() == pairs[1].weights_file.read_bytes()
    assert pairs[0].scores().equals(pairs[1].scores())


def test_a_run_on_another_number_of_threads_keeps_those_it_began_with(
    data: ReadyData, tmp_path: Path
) -> None:
    asked = order(data, tmp_path)
    folder = RunFolder(tmp_path, asked.run_id)
    folder.write_record(replace(folder.record(), state="running", threads=2))
    assert run_module._threads(folder, asked) == 2
    free = order(data, tmp_path, training=settings()["training"] | {"deterministic": False})
    assert run_module._threads(folder, free) == 1


def test_out_of_memory_is_met_with_accumulation_and_recorded(
    data: ReadyData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tried = MirrorUNet.losses, []

    def hungry(self: MirrorUNet, batch: Any) -> dict[str, torch.Tensor]:
        if all(earlier() is not self for earlier in tried):
            gc.collect()
            assert all(earlier() is None for earlier in tried), "an earlier network is still in memory"
            tried.append(weakref.ref(self))
        if len(batch) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(self, batch)

    monkeypatch.setattr(MirrorUNet, "losses", hungry)
    record = execute_run(
        order(data, tmp_path, training={"steps": 2, "patch_size": [32, 32, 32], "validations": 0})
    )
    assert (record.state, record.accumulation, record.error) == ("done", 4, None)
    assert len(tried) == 3


def test_a_method_whose_source_changed_since_it_was_planned_is_not_trained(
    data: ReadyData, tmp_path: Path
) -> None:
    record = execute_run(order(data, tmp_path, method_digest="0123456789ab"))
    assert (record.state, record.steps) == ("failed", None)
    assert record.error == "The source of mirror_unet has changed since this run was planned; start again."


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), "memory"),
        (OSError(5, "Input/output error"), "data"),
        (RuntimeError("boom"), "code"),
    ],
)
def test_a_failure_is_recorded_with_its_class(
    data: ReadyData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, failure: str
) -> None:
    def fails(self: MirrorUNet, batch: Any) -> dict[str, torch.Tensor]:
        raise error

    monkeypatch.setattr(MirrorUNet, "losses", fails)
    asked = order(data, tmp_path)
    record = execute_run(asked)
    assert (record.state, record.failure) == ("failed", failure)
    assert str(error) in (record.error or "")
    assert "Traceback" in RunFolder(tmp_path, asked.run_id).log_file.read_text()


def test_a_classifier_that_sees_one_class_only_is_a_warning(data: ReadyData, tmp_path: Path) -> None:
    names = [f"PETCT_{i:02d}_study" for i in range(10) if i % 3 != 2]
    splits = tmp_path / "ill.json"
    drawn = Splits((Fold(tuple(names[:5]), (names[5],), (names[6],)),), 0, "test")
    write_json(splits, drawn.to_json())
    store = Store(data.store).fingerprint
    fingerprint = data_fingerprint(store, drawn.fingerprint, scored_on=store)
    record = execute_run(replace(order(data, tmp_path), splits=splits, data_fingerprint=fingerprint))
    assert record.state == "done"
    assert record.warnings == ("All 5 training cases have a lesion: the classifier sees one class only.",)


def test_tumour_free_cases_are_dropped_from_training_and_validation_but_are_tested(
    data: ReadyData, tmp_path: Path
) -> None:
    """Every third of ten patients has no lesion."""
    kept, dropped = (
        open_fold(order(data, tmp_path, training=settings()["training"] | {"tumour_free": choice}))
        for choice in ("kept", "dropped")
    )
    for part in ("train", "validation"):
        expected = [case.case_id for case in getattr(kept, part) if case.has_lesion]
        assert [case.case_id for case in getattr(dropped, part)] == expected
    assert len(dropped.train) < len(kept.train)
    assert [case.case_id for case in dropped.test] == [case.case_id for case in kept.test]
    assert any(not case.has_lesion for fold in (0, 1, 2) for case in _tested(data, tmp_path, fold))


def _tested(data: ReadyData, results: Path, fold: int) -> Sequence[PreparedCase]:
    training = settings()["training"] | {"tumour_free": "dropped"}
    return open_fold(order(data, results, fold=fold, training=training)).test


def test_a_network_trained_on_unclipped_values_predicts_from_clipped_ones(
    tcia_root: Path, tmp_path: Path
) -> None:
    """Training reads the store as it is; what the trained network is shown is what clipping in preparation gives."""
    config = run_config(settings(training=settings()["training"] | {"clip": "inference"}), source="test")
    method = build_method(
        config.method,
        config.method_args,
        spec=SPEC,
        patch_size=(16, 16, 16),
        loss_weights=config.loss_weights,
    )
    usual = SPEC.preparation_at((4.0, 4.0, 5.0))
    assert run_preparation(method, run_config(settings(), source="test"), SPEC) == usual
    assert run_preparation(method, config, SPEC) == usual.unclipped()
    # Windows that these images reach beyond.
    narrow = replace(usual, intensities={"CT": Window(20, 60), "PET": Window(0.9, 1.1)})
    stores = [
        Store(ready_data("autopet", tcia_root, results=tmp_path, preparation=preparation).store)
        for preparation in (narrow.unclipped(), narrow)
    ]
    assert stores[0].fingerprint != stores[1].fingerprint
    assert isinstance(method, Method)
    for case_id, clipped in stores[1].cases.items():
        case = stores[0].cases[case_id]
        values = np.asarray(case.image())
        assert (case.unclipped, clipped.unclipped) == ((0, 1), ())
        assert values.min() < 0 or values.max() > 1
        np.testing.assert_allclose(np.clip(values, 0, 1), clipped.image(), atol=1e-3)
        shown = []
        for one in (case, clipped):
            parts = iter(PatchSampler([one], (16, 16, 16), 1, 1.0, seed=0).batch(0).image)
            shown.append(as_inferred(torch.from_numpy(next(parts)[None]).float(), one))
        torch.testing.assert_close(shown[0], shown[1], atol=1e-3, rtol=0)
    predictor = Predictor(method, config, torch.device("cpu"))
    assert np.mean(predictor(case)[""] != predictor(clipped)[""]) < 0.01


def test_a_run_whose_data_changed_since_it_was_planned_is_refused(data: ReadyData, tmp_path: Path) -> None:
    record = execute_run(replace(order(data, tmp_path), data_fingerprint="another"))
    assert (record.state, record.failure) == ("failed", "data")
    assert "changed since this run was planned" in (record.error or "")


def test_the_best_checkpoint_needs_a_validation_that_can_be_scored(data: ReadyData, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="validations > 0"):
        order(data, tmp_path, training=settings()["training"] | {"checkpoint": "best", "validations": 0})


def test_the_checkpoint_is_chosen_on_the_test_part_only_where_asked(
    data: ReadyData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`best_on: test` repeats the authors' code: the run warns, and a search is refused."""
    looked_at: list[set[str]] = []
    real = in_loop.mean_dice

    def noted(labels: Any, cases: Sequence[PreparedCase], **rest: Any) -> float:
        looked_at.append({case.case_id for case in cases})
        return real(labels, cases, **rest)

    monkeypatch.setattr(in_loop, "mean_dice", noted)
    best = settings()["training"] | {"checkpoint": "best"}
    parts = open_fold(order(data, tmp_path)).validation, open_fold(order(data, tmp_path)).test
    for where, cases in zip(("validation", "test"), parts, strict=True):
        record = execute_run(order(data, tmp_path, training=best | {"best_on": where}))
        assert (record.state, record.error) == ("done", None)
        assert looked_at[-1] == {case.case_id for case in cases}
        assert any("chosen on the test cases" in line for line in record.warnings) == (where == "test")
    assert looked_at[0] != looked_at[1]
    with pytest.raises(BenchError, match="best_on has no effect with checkpoint: last"):
        order(data, tmp_path, training=settings()["training"] | {"best_on": "test"})


def test_a_run_that_cannot_write_its_last_record_does_not_lose_its_checkpoint(
    data: ReadyData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = order(data, tmp_path)
    real = RunFolder.write_record

    def full(self: RunFolder, record: Any) -> None:
        if record.state == "done":
            raise StorageError("Cannot write run.json: No space left on device.")
        real(self, record)

    monkeypatch.setattr(RunFolder, "write_record", full)
    with pytest.raises(StorageError):
        execute_run(asked)
    monkeypatch.undo()
    assert RunFolder(tmp_path, asked.run_id).checkpoint_file.exists()
    record = execute_run(asked)
    assert record.state == "done"
    assert "continuing at step 6 of 6" in RunFolder(tmp_path, asked.run_id).log_file.read_text()


def test_a_damaged_checkpoint_starts_the_training_over(data: ReadyData, tmp_path: Path) -> None:
    asked = order(data, tmp_path)
    folder = RunFolder(tmp_path, asked.run_id)
    folder.path.mkdir(parents=True)
    folder.checkpoint_file.write_bytes(b"")
    assert execute_run(asked).state == "done"
    assert "checkpoint is damaged" in folder.log_file.read_text()


def test_scoring_on_the_original_grid_uses_the_original_label(data: ReadyData, tmp_path: Path) -> None:
    record = execute_run(order(data, tmp_path, inference={"score_grid": "native"}))
    assert record.state == "done"
    assert set(RunFolder(tmp_path, record.run_id).scores()["grid"]) == {"native"}


def test_a_run_that_another_process_holds_is_left_alone(data: ReadyData, tmp_path: Path) -> None:
    asked = order(data, tmp_path)
    with RunFolder(tmp_path, asked.run_id).claimed() as held:
        assert held
        assert execute_run(asked).state == "pending"


@pytest.mark.real_data
def test_real_cases_without_a_healthy_one_and_smaller_than_the_patch_simply_work(
    real_root: Path, tmp_path: Path
) -> None:
    data = ready_data(
        "autopet", real_root, results=tmp_path, preparation=SPEC.preparation_at((6.0, 6.0, 6.0))
    )
    smallest = min(min(case.geometry.crop_shape) for case in Store(data.store).cases.values())
    assert smallest < 64
    training = {"steps": 2, "patch_size": [64, 64, 64], "validations": 0}
    record = execute_run(order(data, tmp_path, spacing_mm=(6.0, 6.0, 6.0), training=training))
    assert (record.state, len(record.warnings)) == ("done", 1)
    scores = RunFolder(tmp_path, record.run_id).scores()
    assert scores[scores["metric"] == "dice"]["value"].notna().sum() >= 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss_weights": {"seg": 1.0}}, "rec_ct"),
        ({"loss_weights": WEIGHTS | {"extra": 1.0}}, "extra"),
        ({"method_args": {"sharedlayers": [5]}}, "Did you mean 'shared_layers'"),
        ({"method": "mirror_net"}, "Did you mean 'mirror_unet'"),
        ({"dataset": "autopets"}, "Did you mean 'autopet'"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_before_it_starts(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BenchError, match=message):
        planned(run_config(settings(**changes), source="test"))


def test_an_unknown_key_is_refused_by_name() -> None:
    with pytest.raises(BenchError, match=r"grid.yaml: training.pach_size"):
        run_config(settings(training={"pach_size": [16, 16, 16]}), source="grid.yaml")
