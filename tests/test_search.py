"""`bench search` with trials that are no trainings: told, shared, continued, pruned, taken over and reported."""

from __future__ import annotations

import json
import math
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_trials
import optuna
import pandas as pd
import pytest
import yaml
from postgres_server import own_postgres  # noqa: F401 (a fixture)

from benchmark.cli import main
from benchmark.results.manifests import manifests
from benchmark.results.runs import RunFolder, state_of
from benchmark.search.storage import open_storage
from benchmark.search.trials import Trials, counts

COUNTED = {"COMPLETE", "PRUNED", "FAIL"}
DRAWN = ("test_two_objectives_have_a_front_and_no_pruning",)
"""Tests that look at figures; they take longer than all the rest."""


class Bench:
    """The command line in a folder of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        self.results, self.data = folder / "results", folder / "cases"
        self.data.mkdir(exist_ok=True)
        self.out = self.err = ""

    def __call__(self, *arguments: str) -> int:
        self._capsys.readouterr()
        try:
            main(arguments)
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        self.out, self.err = self._capsys.readouterr()
        return code

    def search(self, study: str, *options: str, jobs: int = 1) -> int:
        where = ["--data", f"autopet={self.data}", "--results", str(self.results), "--no-mlflow"]
        return self("search", "--study", study, *where, "--jobs", str(jobs), *options)

    def study(self, name: str = "small") -> optuna.Study:
        storage = open_storage(str(self.results / "searches" / f"{name}.journal"))
        (summary, *_) = sorted(optuna.get_all_study_summaries(storage), key=lambda s: s.study_name)
        return optuna.load_study(study_name=summary.study_name, storage=storage)

    def states(self) -> list[str]:
        return [trial.state.name for trial in self.study().trials]

    def run_states(self) -> list[str]:
        return sorted(state_of(RunFolder(self.results, p.name))[0] for p in (self.results / "runs").iterdir())


@pytest.fixture
def bench(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Bench:
    fake_trials.fake_the_suite(monkeypatch.setattr)
    if request.node.originalname not in DRAWN:
        monkeypatch.setattr("reports.search.report._figures", lambda *_: [])
    monkeypatch.chdir(tmp_path)
    return Bench(tmp_path, capsys)


def counted(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return [trial for trial in study.trials if "reference_for" not in trial.user_attrs]


def test_a_search_finds_the_best_value_and_the_same_command_again_has_nothing_to_do(bench: Bench) -> None:
    study = fake_trials.search_file(bench.folder)
    assert bench.search(study, "--trials", "12", "--pruner", "none") == 0, bench.err
    trials = counted(bench.study())
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 12
    for trial in trials:
        expected = sum(
            fake_trials.quality(theta) - 0.02 * n + 0.01 * n * theta
            for theta in [float(f"{trial.params['theta']:.4g}")]
            for n in range(5)
        )
        assert trial.value == pytest.approx(expected / 5)
    best = max(trials, key=lambda trial: trial.value)
    assert abs(best.params["theta"] - fake_trials.BEST) < 0.1
    assert set(bench.run_states()) == {"trained"}
    before = len(bench.study().trials)
    assert bench.search(study, "--trials", "12", "--pruner", "none") == 0, bench.err
    assert len(bench.study().trials) == before
    assert bench.search(study, "--trials", "13", "--pruner", "none") == 0, bench.err
    assert len(counted(bench.study())) == 13


def test_the_paper_s_values_are_tried_beside_the_best_ones_and_compared_on_the_same_patients(
    bench: Bench,
) -> None:
    assert bench.search(fake_trials.search_file(bench.folder), "--trials", "5", "--pruner", "none") == 0
    study = bench.study()
    (reference,) = [trial for trial in study.trials if "reference_for" in trial.user_attrs]
    best = max(counted(study), key=lambda trial: trial.value)
    assert reference.user_attrs["reference_for"] == best.number
    assert reference.params["theta"] == 0.8
    assert bench("report", "--search", "small", "--results", str(bench.results), "--json", "--no-mlflow") == 0
    report = next((bench.results / "reports").iterdir())
    row = pd.read_csv(report / "comparison_cells.csv").iloc[0]
    assert row["difference"] == pytest.approx(best.value - reference.value)
    # Of five patients there is no interval; `test_search_report.py` has more.
    assert pd.isna(row["low"])
    assert (row["n_patients"], row["n_cases"], row["n_better"]) == (5, 5, 5)


def test_the_best_trial_is_a_grid_that_only_has_to_be_scored(bench: Bench) -> None:
    # On another fold than that of a grid without further words.
    options = ["--trials", "3", "--pruner", "none", "--fold", "2"]
    assert bench.search(fake_trials.search_file(bench.folder), *options) == 0
    grid = next((bench.results / "reports").glob("*/best.yaml"))
    told = "Score it on the test part, without training again: "
    (command,) = [line.removeprefix(told) for line in bench.out.splitlines() if line.startswith(told)]
    run = shlex.split(command)[1:]
    assert run[2] == str(grid)
    best = max(counted(bench.study()), key=lambda trial: trial.value)
    run_id = best.user_attrs["run_id"]
    assert bench(*run, "--no-mlflow", "--jobs", "1") == 0, bench.err
    assert state_of(RunFolder(bench.results, run_id))[0] == "done"
    # Each step was taken once: nothing was trained again.
    assert fake_trials.steps_taken(bench.results, run_id) == list(range(1, fake_trials.STEPS + 1))
    assert set(RunFolder(bench.results, run_id).scores()["split"]) == {"test"}


def test_a_search_scores_no_test_case(bench: Bench) -> None:
    assert bench.search(fake_trials.search_file(bench.folder), "--trials", "3") == 0
    assert not list(bench.results.glob("runs/*/scores.parquet"))
    splits = {
        split
        for path in (bench.results / "runs").iterdir()
        if RunFolder(bench.results, path.name).validation_file.exists()
        for split in RunFolder(bench.results, path.name).validation()["split"]
    }
    assert splits == {"validation"}


@pytest.mark.slow
def test_pruned_trials_keep_their_curves_are_no_failures_and_can_be_continued(bench: Bench) -> None:
    assert bench.search(fake_trials.search_file(bench.folder), "--trials", "20") == 0, bench.err
    pruned = [trial for trial in bench.study().trials if trial.state.name == "PRUNED"]
    assert len(pruned) >= 3
    assert bench.states().count("FAIL") == 0
    trial = pruned[0]
    folder = RunFolder(bench.results, trial.user_attrs["run_id"])
    assert state_of(folder)[0] == "pruned"
    assert "Pruned at step" in str(folder.record().error)
    history = folder.history()
    assert dict(zip(history["step"], history["val_dice"], strict=True)) == trial.intermediate_values
    assert len(history) < fake_trials.STEPS
    assert bench("status", "--results", str(bench.results)) == 0
    assert f"{len({t.user_attrs['run_id'] for t in pruned})} pruned" in bench.out
    assert "failed" not in bench.out
    # At least `median`'s first trials ran to their end.
    assert [trial.state.name for trial in bench.study().trials[:4]] == ["COMPLETE"] * 4


def test_failed_trials_have_a_reason_and_the_search_goes_on(bench: Bench) -> None:
    study = fake_trials.search_file(bench.folder, modes=("fine", "diverged", "memory"))
    assert bench.search(study, "--trials", "12", "--pruner", "none") == 1
    trials = counted(bench.study())
    assert len(trials) == 12
    failed = [trial for trial in trials if trial.state.name == "FAIL"]
    assert failed
    for trial in failed:
        assert trial.params["mode"] == trial.user_attrs["failure"]
        assert trial.user_attrs["reason"] == f"it is {trial.params['mode']}"
    assert all(trial.state.name == "COMPLETE" for trial in trials if trial.params["mode"] == "fine")
    assert f"Failed: trial {failed[0].number}, {failed[0].params['mode']}" in bench.out


@pytest.mark.slow
def test_a_worker_that_is_killed_once_costs_nothing_and_one_that_always_is_fails(bench: Bench) -> None:
    study = fake_trials.search_file(bench.folder, modes=("killed_once",))
    assert bench.search(study, "--trials", "3", "--pruner", "none") == 0
    assert bench.states() == ["COMPLETE"] * len(bench.states())
    study = fake_trials.search_file(bench.folder, modes=("killed",), name="killed")
    assert bench.search(study, "--trials", "1", "--pruner", "none") == 1
    (trial,) = bench.study("killed").trials
    assert (trial.state.name, trial.user_attrs["failure"]) == ("FAIL", "interrupted")


def test_a_constraint_keeps_the_best_trial_within_it(bench: Bench) -> None:
    # FPV is 10 theta: Dice alone would choose 0.3, that is 3 ml.
    study = fake_trials.search_file(bench.folder, constraints={"fpv_ml": 1.5})
    assert bench.search(study, "--trials", "25", "--pruner", "none") == 0, bench.err
    assert bench("report", "--search", "small", "--results", str(bench.results), "--no-mlflow") == 0
    settings = yaml.safe_load(next((bench.results / "reports").glob("*/best.yaml")).read_text())
    (value,) = settings["blocks"][0]["over"]["trial"]["values"].values()
    assert value["method_args"]["theta"] <= 0.15
    complete = [trial for trial in counted(bench.study()) if trial.state.name == "COMPLETE"]
    for trial in complete:
        theta = float(f"{trial.params['theta']:.4g}")
        assert trial.constraints == {"fpv_ml": pytest.approx(10 * theta - 1.5)}
    assert any(trial.params["theta"] > 0.15 for trial in complete)
    assert "breaks a constraint" in next((bench.results / "reports").glob("*/trials.md")).read_text()


def test_a_free_place_does_not_press_a_storage_that_has_no_trial_for_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    real = Trials.next

    def counting(self: Trials, *given: Any) -> Any:
        asked.append(time.monotonic())
        return real(self, *given)

    monkeypatch.setattr(Trials, "next", counting)
    study = fake_trials.search_file(bench.folder, paper={}, seconds=0.2)
    assert bench.search(study, "--trials", "1", "--pruner", "none", jobs=2) == 0, bench.err
    assert bench.states() == ["COMPLETE"]
    # One has the trial and one nothing; then once a second, and once at the end.
    assert len(asked) <= 4 + (asked[-1] - asked[0])


def test_two_objectives_have_a_front_and_no_pruning(bench: Bench) -> None:
    study = fake_trials.search_file(
        bench.folder, objectives={"dice": "maximize", "fpv_ml": "minimize"}, paper={}
    )
    assert bench.search(study, "--trials", "12", "--pruner", "median") == 2
    assert "nothing is pruned" in bench.err
    assert bench.search(study, "--trials", "12") == 0, bench.err
    assert bench.states() == ["COMPLETE"] * 12
    folder = next((bench.results / "reports").iterdir())
    assert (folder / "pareto.png").exists()
    # Dice falls beyond 0.3, and FPV grows with theta: only values up to 0.3 can lie on the front.
    thetas = {trial.number: trial.params["theta"] for trial in bench.study().trials}
    front = {int(path.stem.removeprefix("trial")) for path in folder.glob("trial*.yaml")}
    below = [number for number, theta in thetas.items() if theta <= fake_trials.BEST]
    assert front <= {*below, min(thetas, key=lambda number: abs(thetas[number] - fake_trials.BEST))}
    assert set(below) <= front


@pytest.mark.slow
def test_the_same_seed_gives_the_same_trials_also_when_the_search_was_stopped_between(bench: Bench) -> None:
    study = fake_trials.search_file(bench.folder, paper={})
    options = ["--pruner", "none"]
    assert bench.search(study, "--trials", "12", *options) == 0
    whole = [trial.params for trial in bench.study().trials]
    bench.results = bench.folder / "again"
    for trials in (3, 12):
        assert bench.search(study, "--trials", str(trials), *options) == 0
    assert [trial.params for trial in bench.study().trials] == whole
    bench.results = bench.folder / "other"
    assert bench.search(study, "--trials", "3", "--seed", "1", *options) == 0
    assert bench.study().trials[0].params != whole[0]


GRID = """
name: fakes
dataset: autopet
blocks:
  - set: {method: fake, method_args: {seconds: 0.0, mode: fine}, loss_weights: {seg: 1}}
    over: {theta: {path: method_args.theta, values: [0.1, 0.25, 2.0]}}
"""


def test_a_grid_s_finished_runs_are_known_trials_and_none_is_trained_again(bench: Bench) -> None:
    (bench.folder / "fakes.yaml").write_text(GRID)
    grid = ["run", "--grid", "fakes.yaml", "--data", f"autopet={bench.data}", "--results", str(bench.results)]
    assert bench(*grid, "--no-mlflow", "--jobs", "1") == 0, bench.err
    study = fake_trials.search_file(bench.folder, paper={})
    for _ in range(2):
        assert bench.search(study, "--trials", "3", "--warm-start", "fakes", "--pruner", "none") == 0, (
            bench.err
        )
        assert "2 of its finished runs are trials of this search, 1 lie outside of its space" in bench.out
        assert "of these only because" not in bench.out
        trials = bench.study().trials
        assert len(trials) == 2 + 3
        known = {trial.params["theta"]: trial for trial in trials if "known_from" in trial.user_attrs}
        assert set(known) == {0.1, 0.25}
    trial = known[0.1]
    assert trial.state.name == "COMPLETE"
    assert trial.value == pytest.approx(fake_trials.quality(0.1) - 0.02 * 2 + 0.01 * 2 * 0.1)
    assert trial.intermediate_values[fake_trials.STEPS] == pytest.approx(fake_trials.quality(0.1))
    run_id = trial.user_attrs["run_id"]
    assert state_of(RunFolder(bench.results, run_id))[0] == "done"
    assert fake_trials.steps_taken(bench.results, run_id) == list(range(1, fake_trials.STEPS + 1))
    assert bench.search(study, "--warm-start", "fkaes") == 2
    assert "Did you mean 'fakes'" in bench.err


@pytest.mark.slow
def test_a_grid_s_runs_on_other_folds_or_data_are_no_trials_and_the_search_says_so(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bench.folder / "fakes.yaml").write_text(GRID)
    grid = ["run", "--grid", "fakes.yaml", "--data", f"autopet={bench.data}", "--results", str(bench.results)]
    assert bench(*grid, "--no-mlflow", "--jobs", "1", "--folds", "2") == 0, bench.err
    study = fake_trials.search_file(bench.folder, paper={})
    options = ["--trials", "1", "--pruner", "none", "--warm-start", "fakes"]
    assert bench.search(study, *options) == 0, bench.err
    assert "0 of its finished runs are trials of this search, 3 lie outside" in bench.out
    assert "2 of these only because they are of fold 2 and seed 0" in bench.out
    assert len(bench.study().trials) == 1
    (bench.folder / "other").mkdir()

    def other(*given: Any, **named: Any) -> Any:
        return replace(fake_trials.ready(*given, **named), fingerprint="other")

    monkeypatch.setattr("benchmark.planning.setup.ready_data", other)
    assert bench.search(study, *options, "--fold", "2") == 0, bench.err
    assert "2 of these only because they saw other data" in bench.out
    assert [trial.user_attrs.get("known_from") for trial in bench.study().trials] == [None]


@pytest.mark.slow
def test_a_known_run_whose_validation_part_is_not_scored_is_tried_again_before_its_trial_fails(
    bench: Bench,
) -> None:
    modes = ("unscored_once", "unscorable")
    for mode in modes:
        (bench.folder / "fakes.yaml").write_text(
            GRID.replace("mode: fine", f"mode: {mode}").replace("0.1, 0.25, 2.0", "0.1")
        )
        grid = [
            "run",
            "--grid",
            "fakes.yaml",
            "--data",
            f"autopet={bench.data}",
            "--results",
            str(bench.results),
        ]
        assert bench(*grid, "--no-mlflow", "--jobs", "1") == 0, bench.err
    study = fake_trials.search_file(bench.folder, paper={}, modes=modes)
    names = [manifest.name for manifest in manifests(bench.results)]
    warm = [option for name in names for option in ("--warm-start", name)]
    assert bench.search(study, "--trials", "1", "--timeout", "0", *warm) in (0, 1), bench.err
    assert bench.search(study, "--trials", "1", *warm) == 1, bench.err
    known = {t.params["mode"]: t for t in bench.study().trials if "known_from" in t.user_attrs}
    assert known["unscored_once"].state.name == "COMPLETE"
    assert (known["unscorable"].state.name, known["unscorable"].user_attrs["failure"]) == ("FAIL", "data")
    assert "validation part could not be scored" in known["unscorable"].user_attrs["reason"]


def test_a_configuration_that_was_trained_is_taken_over(bench: Bench) -> None:
    study = fake_trials.search_file(bench.folder, paper={})
    assert bench.search(study, "--trials", "4", "--pruner", "none") == 0
    # Another sampler is another search; its random trials are those of the first, with the same seeds.
    assert bench.search(study, "--trials", "4", "--sampler", "random", "--pruner", "none", "--no-resume") == 0
    assert bench.search(study, "--trials", "4", "--pruner", "none", "--no-resume") == 0
    assert bench.out.count("known") == 4
    for path in (bench.results / "runs").iterdir():
        assert fake_trials.steps_taken(bench.results, path.name) == list(range(1, fake_trials.STEPS + 1))


def test_a_search_is_a_grid_of_its_trials_for_status_and_mlflow(bench: Bench) -> None:
    assert (
        bench.search(fake_trials.search_file(bench.folder, paper={}), "--trials", "3", "--pruner", "none")
        == 0
    )
    (manifest,) = manifests(bench.results)
    assert manifest.grid == "search_small"
    trials = bench.study().trials
    assert [cell.run_id for cell in manifest.cells] == [trial.user_attrs["run_id"] for trial in trials]
    assert manifest.cells[1].factors == {
        "trial": "1",
        "mode": "fine",
        "theta": f"{trials[1].params['theta']:.4g}",
    }
    assert bench("status", "--json", "--results", str(bench.results)) == 0
    assert json.loads(bench.out)[0]["counts"]["trained"] == 3
    assert bench("status", "--results", str(bench.results)) == 0
    assert "3 trained" in bench.out
    assert bench("report", "--grid", "search_small", "--results", str(bench.results), "--no-mlflow") == 0
    assert "3 complete" in bench.out
    assert bench("show", trials[0].user_attrs["run_id"], "--results", str(bench.results)) == 0
    assert "validation" in bench.out


def test_the_test_part_is_looked_at_once(bench: Bench) -> None:
    study = fake_trials.search_file(bench.folder)
    options = ["--trials", "6", "--pruner", "none"]
    assert bench.search(study, *options, "--final") == 0, bench.err
    assert "on the test part, 2 seeds: Dice" in bench.out
    done = [
        p.name
        for p in (bench.results / "runs").iterdir()
        if RunFolder(bench.results, p.name).scores_file.exists()
    ]
    configs = [RunFolder(bench.results, name).config() for name in done]
    assert sorted(config["seed"] for config in configs) == [1, 1, 2, 2]
    assert sum(config["method_args"]["theta"] == 0.8 for config in configs) == 2
    assert bench.search(study, *options, "--final") == 2
    assert "was looked at on" in bench.err
    assert "second look" in bench.err
    assert bench.search(study, *options) == 0
    (marker,) = (bench.results / "searches").glob("*.final.json")
    settled = json.loads(marker.read_text())
    for odd in ({}, {**settled, "looked": "x"}, {**settled, "looked": 1e300}, {**settled, "params": []}):
        marker.write_text(json.dumps(odd))
        assert bench.search(study, *options, "--final") == 2
        assert "final.json is damaged" in bench.err


def test_ctrl_c_leaves_the_trial_open_and_the_next_start_continues_it(bench: Bench) -> None:
    study = fake_trials.search_file(bench.folder, seconds=0.15, paper={})
    process = launcher(bench.folder, study, "--trials", "3", "--jobs", "1", "--pruner", "none")
    wait_for(lambda: list(bench.results.glob("runs/*/steps.txt")))
    process.send_signal(signal.SIGINT)
    assert process.wait(90) == 130
    assert "RUNNING" in bench.states()
    assert launcher(bench.folder, study, "--trials", "3", "--jobs", "1", "--pruner", "none").wait(180) == 0
    assert bench.states() == ["COMPLETE"] * 3


def launcher(folder: Path, *options: str) -> subprocess.Popen[bytes]:
    program = str(Path(fake_trials.__file__))
    return subprocess.Popen(
        [sys.executable, program, str(folder), *options],
        stdout=(folder / "log.txt").open("ab"),
        stderr=subprocess.STDOUT,
    )


def wait_for(condition: Any, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_for_more(bench: Bench, known: int, process: subprocess.Popen[bytes]) -> None:
    wait_for(lambda: len(finished(bench)) > known or process.poll() is not None)


def finished(bench: Bench) -> dict[int, tuple[str, Sequence[float] | None]]:
    if not (bench.results / "searches" / "small.journal").exists():
        return {}
    try:
        trials = bench.study().trials
    except ValueError:
        # The study is not created yet.
        return {}
    return {t.number: (t.state.name, t.values) for t in trials if t.state.name in COUNTED}


@pytest.mark.slow
def test_launchers_killed_again_and_again_lose_no_finished_trial_and_leave_none_hanging(bench: Bench) -> None:
    study = fake_trials.search_file(bench.folder, seconds=0.02, paper={})
    options = ["--trials", "12", "--jobs", "2"]
    known: dict[int, tuple[str, Sequence[float] | None]] = {}
    for kill in range(3):
        process = launcher(bench.folder, study, *options)
        wait_for_more(bench, len(known), process)
        time.sleep(0.05 * kill)
        process.kill()
        process.wait()
        now = finished(bench)
        assert {number: now[number] for number in known} == known
        known = now
    assert launcher(bench.folder, study, *options).wait(180) == 0, (bench.folder / "log.txt").read_text()
    trials = bench.study().trials
    assert len(trials) == 12
    assert {trial.state.name for trial in trials} <= {"COMPLETE", "PRUNED"}
    assert {number: (trials[number].state.name, trials[number].values) for number in known} == known
    for trial in trials:
        assert not math.isnan(trial.value)


def test_two_launchers_share_a_search_and_do_no_trial_twice(bench: Bench) -> None:
    study = fake_trials.search_file(bench.folder, seconds=0.02, paper={})
    options = ["--trials", "10", "--jobs", "1", "--pruner", "none"]
    both = [launcher(bench.folder, study, *options) for _ in range(2)]
    assert [process.wait(180) for process in both] == [0, 0], (bench.folder / "log.txt").read_text()
    trials = bench.study().trials
    assert [trial.number for trial in trials] == list(range(10))
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    assert len({trial.user_attrs["launcher"] for trial in trials}) == 2
    for trial in trials:
        steps = fake_trials.steps_taken(bench.results, trial.user_attrs["run_id"])
        assert steps == list(range(1, fake_trials.STEPS + 1))


def test_launchers_with_results_of_their_own_share_a_search_in_postgresql(
    bench: Bench, postgres: str
) -> None:
    """As on two machines: what they have in common is the database."""
    study = fake_trials.search_file(bench.folder, seconds=0.02)
    options = ["--trials", "8", "--jobs", "1", "--pruner", "median", "--storage", postgres]
    machines = [bench.folder / name for name in ("one", "two")]
    for machine in machines:
        machine.mkdir()
    both = [launcher(machine, study, *options) for machine in machines]
    logs = [machine / "log.txt" for machine in machines]
    assert [process.wait(240) for process in both] == [0, 0], "".join(log.read_text() for log in logs)
    storage = open_storage(postgres)
    (name,) = [
        s.study_name for s in optuna.get_all_study_summaries(storage) if s.study_name.startswith("small-")
    ]
    trials = optuna.load_study(study_name=name, storage=storage).trials
    # Both may have asked for the last one at the same moment; the later of the two is withdrawn before it has a run.
    withdrawn = [trial for trial in trials if "given_back" in trial.user_attrs]
    assert all("run_id" not in trial.user_attrs for trial in withdrawn)
    trials = [trial for trial in trials if trial not in withdrawn]
    assert sum(map(counts, trials)) == 8
    assert {trial.state.name for trial in trials} <= {"COMPLETE", "PRUNED"}
    for trial in trials:
        ran = [
            fake_trials.steps_taken(machine / "results", trial.user_attrs["run_id"]) for machine in machines
        ]
        assert sorted(map(len, ran))[0] == 0
        assert max(ran, key=len)[0] == 1
    report = ["report", "--search", "small", "--results", str(machines[0] / "results"), "--no-mlflow"]
    # A card may be a stranger's: a database is opened where the user names it.
    assert bench(*report) == 2
    assert bench(*report, "--storage", postgres) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--study", "thetta"], "Did you mean 'theta'?"),
        (["--study", "theta", "--only", "fusion=fxied"], "Did you mean 'fixed'?"),
        (["--study", "theta", "--storage", "redis://here"], "journal file or in a database"),
        (["--study", "theta", "--profile", "dmeo"], "Did you mean 'demo'?"),
    ],
)
def test_wrong_arguments_are_one_line_on_stderr_and_exit_code_2(
    bench: Bench, options: list[str], message: str
) -> None:
    assert bench("search", *options, "--data", f"autopet={bench.data}", "--results", str(bench.results)) == 2
    assert message in bench.err
    assert len(bench.err.splitlines()) == 1
    assert not list(bench.results.glob("runs/*"))


def test_a_report_of_a_search_that_is_not_there_names_those_that_are(bench: Bench) -> None:
    assert bench("report", "--search", "smal", "--results", str(bench.results)) == 2
    assert "There is none yet" in bench.err
    bench.search(fake_trials.search_file(bench.folder, paper={}), "--trials", "1", "--pruner", "none")
    assert bench("report", "--search", "smal", "--results", str(bench.results)) == 2
    assert "Did you mean 'small'?" in bench.err


@pytest.mark.slow
def test_results_that_were_moved_are_reported_from_where_they_are(bench: Bench) -> None:
    bench.search(fake_trials.search_file(bench.folder, paper={}), "--trials", "1", "--pruner", "none")
    moved = bench.folder / "moved"
    shutil.move(bench.results, moved)
    report = ["report", "--search", "small", "--results", str(moved), "--no-mlflow"]
    assert bench(*report) == 0, bench.err
    assert "1 trial (1 complete)" in bench.out
    assert not bench.results.exists()
    journal = moved / "searches" / "small.journal"
    elsewhere = bench.folder / "elsewhere.journal"
    shutil.move(journal, elsewhere)
    assert bench(*report) == 2
    assert "which is gone; say where, with --storage" in bench.err
    assert not journal.exists()
    assert bench(*report, "--storage", "elsewhere.journal") == 0, bench.err
    (bench.folder / "empty.journal").touch()
    assert bench(*report, "--storage", "empty.journal") == 2
    assert "has no search small-" in bench.err


def test_a_search_that_had_no_time_begins_nothing_and_the_next_start_goes_on(bench: Bench) -> None:
    study = fake_trials.search_file(bench.folder)
    assert bench.search(study, "--trials", "2", "--pruner", "none", "--timeout", "0") == 0, bench.err
    assert not bench.study().trials
    assert bench.search(study, "--trials", "2", "--pruner", "none") == 0
    assert "0 of 2 trials done" in bench.out
    # Of so few trials none is better than the paper's values, which are tried beyond the number that was asked for.
    assert "[3/3] done    trial 2  mode=fine theta=0.8" in bench.out
    assert "no trial of the search has better ones" in bench.out
    assert bench.search(study, "--trials", "2", "--pruner", "none") == 0
    assert "2 of 2 trials done" in bench.out


def test_a_dry_run_shows_the_space_and_writes_nothing(bench: Bench) -> None:
    assert bench.search(fake_trials.search_file(bench.folder, constraints={"fpv_ml": 5}), "--dry-run") == 0
    assert "theta: 0 to 1 (method_args.theta)" in bench.out
    assert "maximize dice, fpv_ml at most 5" in bench.out
    assert not bench.results.exists()


def test_mlflow_shows_the_trials_below_their_search(bench: Bench) -> None:
    from mlflow.tracking import MlflowClient

    from benchmark.tracking import sync

    assert bench.search(fake_trials.search_file(bench.folder, paper={}), "--trials", "12") == 0
    assert sync(bench.results).problem is None
    client = MlflowClient(f"sqlite:///{bench.results.resolve() / 'mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "bench"]
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if run.data.tags["bench.kind"] == "grid"]
    assert parent.info.run_name == f"search_{bench.study().study_name}"
    assert parent.info.status == "FINISHED"
    children = {run.data.tags["bench.run_id"]: run for run in runs if run.data.tags["bench.kind"] == "run"}
    for trial in bench.study().trials:
        run = children[trial.user_attrs["run_id"]]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["factor.theta"] == f"{trial.params['theta']:.4g}"
        if trial.state.name == "COMPLETE":
            assert run.info.status == "FINISHED"
            assert run.data.metrics["validation/tumor/dice"] == pytest.approx(trial.value)
        else:
            assert (trial.state.name, run.info.status) == ("PRUNED", "KILLED")
