"""Which launcher has which trial: what dead ones leave is taken up once, what another machine does is left alone."""

from __future__ import annotations

import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import optuna
import pytest

from benchmark.search import sharing
from benchmark.search.attributes import AGAIN, BEAT, FOLDER, GIVEN_BACK, LAUNCHER
from benchmark.search.samplers import sampler_of, startup_note
from benchmark.search.sharing import Launcher
from benchmark.search.trials import Trials, counts
from benchmark.vocabulary import BenchError, MissingPackageError


def opened(launcher: Launcher, results: Path, address: Path) -> Trials:
    return Trials(
        launcher,
        results=results,
        storage=str(address),
        name="s",
        directions={"dice": "maximize"},
        definition={},
        sampler=sampler_of("random", seed=0),
        pruner="none",
    )


def suggest(trial: optuna.trial.BaseTrial) -> dict[str, Any]:
    return {"x": trial.suggest_float("x", 0.0, 1.0)}


def test_the_trial_of_a_dead_launcher_is_taken_up_with_its_values_and_by_one_alone(tmp_path: Path) -> None:
    journal = tmp_path / "s.journal"
    with Launcher(tmp_path) as first:
        asked = opened(first, tmp_path, journal).next(5, suggest)
        assert asked is not None
        with Launcher(tmp_path) as second:
            # While the first lives, the second begins a trial of its own.
            other = opened(second, tmp_path, journal).next(5, suggest)
            assert other is not None
            assert other.number == 1
    with Launcher(tmp_path) as third, Launcher(tmp_path) as fourth:
        taken = opened(third, tmp_path, journal).next(5, suggest)
        also = opened(fourth, tmp_path, journal).next(5, suggest)
        assert taken is not None
        assert also is not None
        assert [taken.number, also.number] == [0, 1]
        assert taken.trial.params == asked.trial.params
        assert taken.frozen.user_attrs[LAUNCHER] == third.name
        fifth = opened(third, tmp_path, journal).next(2, suggest)
        assert fifth is None


def test_a_trial_whose_launcher_died_while_it_asked_is_taken_up(tmp_path: Path) -> None:
    journal = tmp_path / "s.journal"
    with Launcher(tmp_path) as launcher:
        trials = opened(launcher, tmp_path, journal)
        half = trials.study.ask()
        half.suggest_float("x", 0.0, 1.0)
        taken = trials.next(5, suggest)
        assert taken is not None
        assert (taken.number, taken.trial.params) == (half.number, half.params)


def test_a_trial_on_another_machine_is_left_alone_until_it_is_silent_and_then_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "s.journal"
    for side in ("here", "there"):
        (tmp_path / side).mkdir()
    with Launcher(tmp_path / "there") as there:
        far = opened(there, tmp_path / "there", journal)
        asked = far.next(5, suggest)
        assert asked is not None
    with Launcher(tmp_path / "here") as here:
        trials = opened(here, tmp_path / "here", journal)
        own = trials.next(5, suggest)
        assert own is not None
        assert own.number == 1
        assert trials.others_run() == 1
        asked.trial.set_user_attr(BEAT, 0.0)
        repeated = trials.next(5, suggest)
        assert repeated is not None
        assert repeated.trial.params == asked.trial.params
        assert repeated.frozen.user_attrs[AGAIN] == 0
        lost = trials.all()[0]
        assert lost.state == optuna.trial.TrialState.FAIL
        assert lost.user_attrs[GIVEN_BACK]
        # It does not count: three were asked for, and two are there.
        third = trials.next(3, suggest)
        assert third is not None
        assert trials.next(3, suggest) is None
        # The far machine turns up again: it finds its trial told, whatever it has to say.
        before = trials.all()[0]
        far.beat([asked], 1.0)
        far.report(0, {10: 0.5})
        far.note_means(0, {"dice": 0.5})
        far.tell_done(0, [0.5], {"fpv_ml": 1.0})
        far.tell_pruned(0)
        far.tell_failed(0, failure="code", reason="late")
        assert trials.all()[0] == before
        assert before.state == optuna.trial.TrialState.FAIL
    assert sharing.STALE_SECONDS > 5 * 60


def test_a_trial_that_another_machine_is_just_taking_is_not_lost(tmp_path: Path) -> None:
    """Its attributes are written one by one; the sign of life is not the first."""
    for side in ("here", "there"):
        (tmp_path / side).mkdir()
    journal = tmp_path / "s.journal"
    with Launcher(tmp_path / "there") as there, Launcher(tmp_path / "here") as here:
        far = opened(there, tmp_path / "there", journal).study.ask()
        far.set_user_attr(FOLDER, there.folder)
        near = opened(here, tmp_path / "here", journal)
        (half,) = near.all()
        assert not here.is_lost(half)
        far.set_user_attr(BEAT, 0.0)
        (silent,) = near.all()
        assert here.is_lost(silent)


def test_a_machine_that_dies_while_it_gives_a_trial_back_does_not_double_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "s.journal"
    with Launcher(tmp_path / "there") as there:
        asked = opened(there, tmp_path / "there", journal).next(1, suggest)
        assert asked is not None
    asked.trial.set_user_attr(BEAT, 0.0)
    with Launcher(tmp_path / "here") as here:
        trials = opened(here, tmp_path / "here", journal)
        with monkeypatch.context() as dying:
            dying.setattr(trials.study, "tell", lambda *_, **__: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                trials.next(1, suggest)
        repeated = trials.next(1, suggest)
        assert repeated is not None
        assert repeated.trial.params == asked.trial.params
        assert [trial.user_attrs.get(AGAIN) for trial in trials.all()] == [None, 0]
        assert trials.next(1, suggest) is None


def test_launchers_with_results_of_their_own_wait_for_one_another_at_one_journal(tmp_path: Path) -> None:
    """Else one could take what the other is asking for at that moment."""
    journal = tmp_path / "common" / "s.journal"
    taken: list[int | None] = []
    with Launcher(tmp_path / "one") as one, Launcher(tmp_path / "two") as two:
        first, second = opened(one, tmp_path / "one", journal), opened(two, tmp_path / "two", journal)

        def ask() -> None:
            asked = second.next(5, suggest)
            taken.append(asked and asked.number)

        other = threading.Thread(target=ask)

        def while_the_other_asks(trial: optuna.trial.BaseTrial) -> dict[str, Any]:
            other.start()
            other.join(0.5)
            return suggest(trial)

        asked = first.next(5, while_the_other_asks)
        other.join()
    assert asked is not None
    assert (asked.number, taken) == (0, [1])


def test_a_trial_that_two_machines_asked_for_as_the_last_one_is_withdrawn_by_the_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.search.trials.is_address", lambda _: True)
    journal = tmp_path / "s.journal"
    with Launcher(tmp_path / "one") as one, Launcher(tmp_path / "two") as two:
        first, second = opened(one, tmp_path / "one", journal), opened(two, tmp_path / "two", journal)
        assert first.next(2, suggest) is not None
        assert second.next(2, suggest) is not None
        real = first.all
        # `first` counted before `second` had asked.
        seen = iter([real()[:1], real()[:1]])
        monkeypatch.setattr(first, "all", lambda: next(seen, None) or real())
        assert first.next(2, suggest) is None
        assert [counts(trial) for trial in real()] == [True, True, False]


NEEDS_CMAES = pytest.mark.skipif(find_spec("cmaes") is None, reason="cmaes is not installed")


@pytest.mark.parametrize("sampler", ["tpe", "random", "nsgaii", pytest.param("cmaes", marks=NEEDS_CMAES)])
def test_a_trial_s_values_depend_on_the_seed_and_its_number(tmp_path: Path, sampler: str) -> None:
    def values(seed: int, starts: int) -> list[float]:
        storage = optuna.storages.InMemoryStorage()
        optuna.create_study(storage=storage, study_name="s", direction="maximize")
        found = []
        for _ in range(starts):
            study = optuna.load_study(storage=storage, study_name="s", sampler=sampler_of(sampler, seed=seed))
            for _ in range(12 // starts):
                trial = study.ask()
                x = trial.suggest_float("x", 0.0, 1.0)
                study.tell(trial, -((x - 0.3) ** 2))
                found.append(x)
        return found

    assert values(0, 1) == values(0, 4)
    assert len(set(values(0, 1))) == 12
    assert values(0, 1) != values(1, 1)


def test_the_gaussian_process_learns_after_its_random_trials() -> None:
    study = optuna.create_study(direction="maximize", sampler=sampler_of("gp", seed=0))
    for _ in range(12):
        trial = study.ask()
        study.tell(trial, -((trial.suggest_float("x", 0.0, 1.0) - 0.3) ** 2))
    assert all(abs(trial.params["x"] - 0.3) < 0.1 for trial in study.trials[10:])


def test_a_sampler_that_needs_a_package_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.search.samplers.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="pip install cmaes"):
        sampler_of("cmaes", seed=0)
    with pytest.raises(MissingPackageError, match="--sampler gp needs"):
        sampler_of("gp", seed=0)


def test_cmaes_refuses_several_objectives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.search.samplers.find_spec", lambda name: object())
    with pytest.raises(BenchError, match="one objective"):
        sampler_of("cmaes", seed=0, n_objectives=2)


def test_so_few_trials_that_tpe_draws_at_random_are_called_so() -> None:
    assert "10 trials at random" in str(startup_note("tpe", 8))
    assert startup_note("tpe", 11) is None
    assert startup_note("random", 3) is None
