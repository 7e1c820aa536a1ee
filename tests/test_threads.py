"""No bit of a result depends on how many runs there are at a time, on the machine's load, or on the environment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import fake_runs
import pytest
from orders import order_of

import benchmark.execution.run as run_module
from benchmark.config import Resources, RunConfig, merge, run_config, run_id
from benchmark.data.readers.autopet import SPEC
from benchmark.datasets.pipeline import ready_data
from benchmark.execution.evaluating import Evaluation, score_again, score_without
from benchmark.execution.places import places_for
from benchmark.execution.pool import Pool
from benchmark.processes.devices import Slot
from benchmark.processes.server import ForkServer
from benchmark.results.runs import RunFolder, RunRecord

BEFORE = {
    "dataset": "phantom",
    "method": "mirror_unet",
    "loss_weights": {"seg": 1.0},
    "training": {"steps": 6, "patch_size": [16, 16, 16]},
}


def test_a_run_of_before_threads_were_named_keeps_its_name() -> None:
    config = run_config(BEFORE, source="test")
    assert config.threads == 1
    assert "threads" not in config.model_dump(mode="json")
    # Computed with the configuration of version 0.1.0.
    assert run_id(config, "f") == "3426d62a4f67"
    assert run_id(run_config({**BEFORE, "threads": 1}, source="test"), "f") == run_id(config, "f")


def test_threads_are_part_of_a_run_s_identity_and_of_what_is_written_down() -> None:
    config = run_config({**BEFORE, "threads": 2}, source="test")
    assert config.model_dump(mode="json")["threads"] == 2
    assert run_id(config, "f") != run_id(run_config(BEFORE, source="test"), "f")
    assert RunConfig.model_validate(config.model_dump(mode="json")) == config
    assert merge(BEFORE, {"threads": 2})["threads"] == 2


def test_what_a_shell_says_of_threads_reaches_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_THREAD_LIMIT"):
        monkeypatch.setenv(name, "7")
    monkeypatch.setenv("OMP_DYNAMIC", "true")
    server = ForkServer(("fake_runs",))
    try:
        told = server.call(fake_runs.environment, None)
    finally:
        server.close()
    assert "OMP_THREAD_LIMIT" not in told
    assert {value for name, value in told.items() if name.endswith("NUM_THREADS")} == {"1"}
    assert (told["OMP_DYNAMIC"], told["MKL_DYNAMIC"]) == ("false", "false")


def test_one_run_at_a_time_or_two_the_scores_and_weights_are_the_same_byte_for_byte(
    tcia_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On two cores a run alone would have two threads, if it took what there is."""
    monkeypatch.setattr("benchmark.processes.devices.cores", lambda: 2)
    # What a scheduler or a shell may say; it must not matter either.
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    data = ready_data(
        "autopet", tcia_root, results=tmp_path, preparation=SPEC.preparation_at((4.0, 4.0, 5.0))
    )
    changes = [{"method_args": {"version": version, "channels": [4, 8, 8, 8, 8]}} for version in ("v1", "v3")]
    weights = [{"rec_ct": 1e-4, "seg": 0.5}, {"rec_ct": 1e-4, "rec_pet": 1e-4, "seg": 0.5, "class": 1e-3}]
    training = {"steps": 8, "patch_size": [32, 32, 16], "validations": 2, "checkpoint": "best"}
    settings = {
        "dataset": "autopet",
        "spacing_mm": (4.0, 4.0, 5.0),
        "method": "mirror_unet",
        "training": training,
    }
    runs = [{**settings, **change, "loss_weights": own} for change, own in zip(changes, weights, strict=True)]
    with Pool() as pool:
        for jobs in (1, 2):
            orders = [order_of(run, data, tmp_path / f"jobs{jobs}", root=tcia_root) for run in runs]
            places = places_for(["cpu"], [order.config for order in orders], jobs, 1)
            assert places == [Slot("cpu", 1)] * jobs
            pool.run(orders, places)
    for order in orders:
        one, two = (RunFolder(tmp_path / f"jobs{jobs}", order.run_id) for jobs in (1, 2))
        assert one.record().state == two.record().state == "done", (one.record().error, two.record().error)
        assert one.weights_file.read_bytes() == two.weights_file.read_bytes()
        assert one.best_weights_file.read_bytes() == two.best_weights_file.read_bytes()
        assert one.scores().equals(two.scores())
        assert [one.record().threads, two.record().threads] == [1, 1]


def test_the_run_s_own_threads_compute_and_no_other_number(tmp_path: Path) -> None:
    """On the CPU those of its configuration, on a GPU those of its place; one that goes on has those it began with."""
    run = run_config({**BEFORE, "threads": 3}, source="test")
    order = fake_runs.order(tmp_path)
    order = replace(order, config=run, resources=Resources(threads=5))
    folder = RunFolder(tmp_path, order.run_id)
    assert run_module._threads(folder, order) == 3
    on_gpu = replace(order, resources=Resources(device="cuda:0", threads=5))
    assert run_module._threads(folder, on_gpu) == 5
    folder.write_record(RunRecord(order.run_id, "running", threads=2))
    assert run_module._threads(folder, order) == 2


def test_places_have_the_threads_that_the_runs_were_planned_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.processes.devices.cores", lambda: 16)
    monkeypatch.setattr("benchmark.processes.devices.free_memory", lambda: 10**12)
    configs = [run_config({**BEFORE, "threads": 4, "seed": seed}, source="test") for seed in range(9)]
    assert places_for(["cpu"], configs, None, 1) == [Slot("cpu", 4)] * 4
    assert places_for(["cpu"], configs, 7, 1) == [Slot("cpu", 4)] * 7


def test_what_is_scored_later_has_the_run_s_own_threads_too(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, object]] = []
    monkeypatch.setattr("benchmark.finished.reopened.reopen", lambda *_, **options: asked.append(options))
    monkeypatch.setattr("benchmark.finished.without.evaluate_without", lambda *_: None)
    monkeypatch.setattr("benchmark.finished.rescoring.rescore", lambda *_: None)
    for score in (score_without, score_again):
        score((Evaluation(Path(), "r", ("CT",)), Slot("cpu", 7)))
    assert asked == [{"device": "cpu"}, {"device": "cpu"}]
