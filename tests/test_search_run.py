"""A trial as a real run: the test part stays closed, pruning keeps a checkpoint, nothing is trained twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import safetensors.torch
import torch
from orders import order_of

from benchmark.data.fold import open_fold
from benchmark.data.pipeline import ReadyData, ready_data
from benchmark.data.readers.autopet import SPEC
from benchmark.execution.order import RunOrder, Trial, has_all
from benchmark.results import RunFolder, state_of
from benchmark.run import execute_run
from benchmark.search.pruning import Judge, pruner_of
from benchmark.search.storage import open_storage
from benchmark.search.trials import curve_of, validation_means
from benchmark.tracking.content import Place, read_run

SPACING = (4.0, 4.0, 5.0)
STEPS = 6


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def data(tcia_root: Path, tmp_path: Path) -> ReadyData:
    return ready_data("autopet", tcia_root, results=tmp_path, preparation=SPEC.preparation_at(SPACING))


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    address = str(tmp_path / "s.journal")
    return optuna.create_study(study_name="s", storage=open_storage(address), direction="maximize")


def ordered(data: ReadyData, results: Path, root: Path, trial: Trial | None, **training: Any) -> RunOrder:
    settings = {
        "dataset": "autopet",
        "spacing_mm": SPACING,
        "method": "mirror_unet",
        "method_args": {"version": "v4", "channels": [4, 8, 8, 8, 8]},
        "loss_weights": {"seg": 1.0},
        "training": {
            "steps": STEPS, "batch_size": 2, "patch_size": [16, 16, 16], "validations": 1, **training,
        },
    }  # fmt: skip
    return replace(order_of(settings, data, results, root=root), trial=trial)


def trial_of(study: optuna.Study, tmp_path: Path, **changes: Any) -> Trial:
    asked = study.ask()
    plain = Trial("s", asked.number, "none", 3, str(tmp_path / "s.journal"))
    return replace(plain, **changes)


def test_a_trial_is_trained_and_validated_without_the_test_cases(
    data: ReadyData, study: optuna.Study, tmp_path: Path, tcia_root: Path
) -> None:
    order = ordered(data, tmp_path / "results", tcia_root, trial_of(study, tmp_path))
    fold = open_fold(order)
    # Whoever opened a test case would not find it.
    for case in fold.test:
        for array in case.folder.glob("*.npy"):
            array.unlink()
    record = execute_run(order)
    assert (record.state, record.error) == ("trained", None)
    folder = RunFolder(tmp_path / "results", order.run_id)
    assert not folder.scores_file.exists()
    assert has_all(order, "trained")
    scores = folder.validation()
    assert set(scores["split"]) == {"validation"}
    assert set(scores["case_id"]) == {case.case_id for case in fold.validation}
    steps = {2, 4, 6}
    assert set(curve_of(folder)) == steps
    (told,) = study.trials
    assert told.intermediate_values == curve_of(folder)
    # On the grid of training the mean of the last validation is that of the scores.
    assert validation_means(scores, ["dice"])["dice"] == pytest.approx(curve_of(folder)[STEPS])


def test_a_trained_run_is_scored_and_not_trained_again(
    data: ReadyData, study: optuna.Study, tmp_path: Path, tcia_root: Path
) -> None:
    order = ordered(data, tmp_path / "results", tcia_root, trial_of(study, tmp_path))
    record = execute_run(order)
    assert (record.state, record.error) == ("trained", None)
    folder = RunFolder(tmp_path / "results", order.run_id)
    trained = folder.weights_file.read_bytes()
    history = folder.history_file.read_bytes()
    record = execute_run(replace(order, trial=None))
    assert (record.state, record.error) == ("done", None)
    assert folder.weights_file.read_bytes() == trained
    assert folder.history_file.read_bytes() == history
    assert set(folder.scores()["split"]) == {"test"}
    # And the same as without a search: its validations change nothing.
    alone = ordered(data, tmp_path / "alone", tcia_root, None)
    execute_run(alone)
    other = RunFolder(tmp_path / "alone", order.run_id)
    assert safetensors.torch.load_file(other.weights_file).keys() == safetensors.torch.load(trained).keys()
    assert other.weights_file.read_bytes() == trained
    assert other.scores().equals(folder.scores())


def test_a_finished_run_is_taken_over_by_scoring_its_validation_part(
    data: ReadyData, study: optuna.Study, tmp_path: Path, tcia_root: Path
) -> None:
    order = ordered(data, tmp_path / "results", tcia_root, None)
    execute_run(order)
    folder = RunFolder(tmp_path / "results", order.run_id)
    before = folder.record_file.read_bytes()
    asked = replace(order, trial=trial_of(study, tmp_path))
    assert not has_all(asked, "done")
    assert execute_run(asked).state == "done"
    assert folder.record_file.read_bytes() == before
    trained = ordered(data, tmp_path / "trial", tcia_root, trial_of(study, tmp_path))
    execute_run(trained)
    assert RunFolder(tmp_path / "trial", order.run_id).validation().equals(folder.validation())


def test_pruning_inside_the_loop_keeps_curve_and_checkpoint_and_the_run_can_go_on(
    data: ReadyData, study: optuna.Study, tmp_path: Path, tcia_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, float]] = []

    def judge(self: Judge, step: int, val_dice: float) -> bool:
        told.append((step, val_dice))
        return step >= 4

    monkeypatch.setattr(Judge, "__call__", judge)
    order = ordered(data, tmp_path / "results", tcia_root, trial_of(study, tmp_path))
    record = execute_run(order)
    assert (record.state, record.failure) == ("pruned", None)
    assert str(record.error).startswith("Search s, trial 0: Pruned at step 4 of 6")
    folder = RunFolder(tmp_path / "results", order.run_id)
    assert state_of(folder) == ("pruned", None)
    assert [step for step, _ in told] == [2, 4]
    assert dict(told) == curve_of(folder)
    assert folder.checkpoint_file.exists()
    assert not folder.validation_file.exists()
    content = read_run(folder, Place())
    assert (content.status, content.complete) == ("KILLED", False)
    record = execute_run(replace(order, trial=None))
    assert (record.state, record.error) == ("done", None)
    alone = ordered(data, tmp_path / "alone", tcia_root, None)
    execute_run(alone)
    assert (
        RunFolder(tmp_path / "alone", order.run_id).weights_file.read_bytes()
        == folder.weights_file.read_bytes()
    )


def test_a_search_s_validations_choose_no_checkpoint(
    data: ReadyData, study: optuna.Study, tmp_path: Path, tcia_root: Path
) -> None:
    order = ordered(data, tmp_path / "results", tcia_root, trial_of(study, tmp_path), checkpoint="best")
    execute_run(order)
    alone = ordered(data, tmp_path / "alone", tcia_root, None, checkpoint="best")
    execute_run(alone)
    best = [RunFolder(tmp_path / name, order.run_id).best_weights_file for name in ("results", "alone")]
    assert best[0].read_bytes() == best[1].read_bytes()


def test_a_storage_that_does_not_answer_costs_the_judgement_and_not_the_run(
    data: ReadyData, tmp_path: Path, tcia_root: Path
) -> None:
    away = Trial("s", 0, "median", 3, "postgresql://nobody@127.0.0.1:1/none")
    order = ordered(data, tmp_path / "results", tcia_root, away)
    assert execute_run(order).state == "trained"
    assert "was not told step 2" in RunFolder(tmp_path / "results", order.run_id).log_file.read_text()


def test_the_median_pruner_stops_what_is_worse_than_half_of_the_complete_trials(tmp_path: Path) -> None:
    address = str(tmp_path / "s.journal")
    study = optuna.create_study(
        study_name="s",
        storage=open_storage(address),
        direction="maximize",
        pruner=pruner_of("median", steps=100),
    )
    for final in (0.2, 0.4, 0.6, 0.8):
        trial = study.ask()
        for step in (10, 30, 50):
            trial.report(final * step / 100, step)
        study.tell(trial, final)
    judges = [Judge(Trial("s", study.ask().number, "median", 3, address), 100) for _ in range(2)]
    # The median at step 30 is 0.15; step 10 lies within the first fifth.
    assert not judges[0](10, 0.0)
    assert judges[0](30, 0.149)
    assert not judges[1](30, 0.151)
    assert not judges[1](50, float("nan"))
