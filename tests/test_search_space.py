"""A search's file: what it says, what it refuses, and which runs its trials are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from benchmark.execution.worker import inspect_runs
from benchmark.planning.grid import load_profile, load_study
from benchmark.planning.launch import plan
from benchmark.planning.search_space import Search, SearchTarget, available_searches, load_search
from benchmark.planning.search_start import notes_on, unpruned_notes
from benchmark.planning.setup import CheckedRun
from benchmark.planning.trials import Trainings
from benchmark.vocabulary import BenchError

SMALL: dict[str, Any] = {
    "name": "small",
    "dataset": "phantom",
    "set": {"method": "mirror_unet", "method_args": {"version": "v4"}, "loss_weights": {"seg": 1}},
    "space": {"theta": {"path": "method_args.theta", "low": 0.0, "high": 1.0}},
}


def written(folder: Path, **changes: Any) -> str:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump({**SMALL, **changes}))
    return str(path)


def trainings(name: str, search: Search | None = None) -> Trainings:
    return Trainings(search or load_search(name), SearchTarget(load_profile("demo"), "phantom"))


def fixed(trial_of: Trainings, **params: Any) -> dict[str, Any]:
    return trial_of.suggest(optuna.trial.FixedTrial(params))


def test_the_suite_s_searches_are_those_of_the_paper_s_weights_and_a_trade_off() -> None:
    assert available_searches() == ["lambda", "theta", "tradeoff"]
    assert load_search("lambda").parameters == (
        "version", "corruption", "shared_layers", "lambda_rec", "lambda_seg", "lambda_class",
    )  # fmt: skip


def test_a_weight_is_searched_where_its_loss_exists() -> None:
    of = trainings("lambda")
    v1 = fixed(of, version="v1", corruption="none", shared_layers="5", lambda_rec=1e-5, lambda_seg=0.3)
    assert v1 == {
        "version": "v1", "corruption": "none", "shared_layers": "5", "lambda_rec": 1e-5, "lambda_seg": 0.3,
    }  # fmt: skip
    assert of.config(v1).loss_weights == {"rec_ct": 1e-5, "seg": 0.3}
    v3 = {**v1, "version": "v3", "lambda_class": 0.01}
    assert fixed(of, **v3) == v3
    assert of.config(v3).loss_weights == {"rec_ct": 1e-5, "rec_pet": 1e-5, "seg": 0.3, "class": 0.01}


def test_theta_is_asked_for_only_where_it_is_fixed() -> None:
    of = trainings("theta")
    learnable = fixed(of, fusion="learnable", shared_layers="4-5-6")
    assert learnable == {"fusion": "learnable", "shared_layers": "4-5-6"}
    assert of.config(learnable).method_args["theta"] == "learnable"
    assert of.config(learnable).method_args["shared_layers"] == [4, 5, 6]
    assert of.config(fixed(of, fusion="fixed", shared_layers="5", theta=0.25)).method_args["theta"] == 0.25


def test_numbers_are_snapped_so_that_equal_ones_are_one_run() -> None:
    of = trainings("theta")
    one = {"fusion": "fixed", "shared_layers": "5", "theta": 0.123449}
    other = {**one, "theta": 0.1234 + 1e-9}
    assert of.config(one).canonical_json() == of.config(other).canonical_json()
    assert of.config(one).method_args["theta"] == 0.1234
    assert of.config({**one, "theta": 0.1235}).canonical_json() != of.config(one).canonical_json()


def test_a_trial_with_the_values_of_a_cell_of_table2_is_that_cell_s_run() -> None:
    cells = plan(load_study("table2"), load_profile("demo"), datasets=["phantom"], folds=[0], seeds=[0])
    of = trainings("theta")
    for cell in cells:
        params = of.params_of(cell.config)
        if cell.factors["version"] != "v4":
            assert params is None
            continue
        weight = cell.factors["fusion_weight"]
        wanted: dict[str, Any] = {"fusion": "fixed", "theta": 0.0}
        wanted = (
            {"fusion": "learnable"} if weight == "learnable" else {"fusion": "fixed", "theta": float(weight)}
        )
        assert params == {**wanted, "shared_layers": cell.factors["shared_layers"]}
        assert of.config(params).canonical_json() == cell.config.canonical_json()
    lambdas = trainings("lambda")
    inside = [lambdas.params_of(cell.config) for cell in cells]
    assert sum(params is not None for params in inside) == 63
    v3 = next(params for params in inside if params is not None and params["version"] == "v3")
    assert (v3["lambda_rec"], v3["lambda_seg"], v3["lambda_class"]) == (0.0001, 0.5, 0.001)


def test_runs_outside_of_the_space_are_no_trials() -> None:
    of = trainings("theta")
    config = of.config({"fusion": "fixed", "shared_layers": "5", "theta": 0.2})
    longer = config.model_copy(update={"training": config.training.model_copy(update={"steps": 7})})
    assert of.params_of(longer) is None
    assert of.params_of(config.model_copy(update={"seed": 1})) is None
    layers = {**config.method_args, "shared_layers": [1]}
    assert of.params_of(config.model_copy(update={"method_args": layers})) is None


def test_the_reference_has_the_paper_s_values_and_the_best_trial_s_choices() -> None:
    theta = trainings("theta")
    assert theta.reference({"fusion": "learnable", "shared_layers": "7"}) == {
        "fusion": "fixed", "shared_layers": "7", "theta": 0.2,
    }  # fmt: skip
    best = {
        "version": "v1",
        "corruption": "noise",
        "shared_layers": "3",
        "lambda_rec": 1e-3,
        "lambda_seg": 2.0,
    }
    assert trainings("lambda").reference(best) == {**best, "lambda_rec": 1e-4, "lambda_seg": 0.5}


def test_a_trial_has_the_settings_a_profile_has_for_the_data_set_as_a_grid_s_run_has(tmp_path: Path) -> None:
    profile = load_profile("demo").model_copy(
        update={"datasets": {"nnunet/HECKTOR": {"spacing_mm": [2.0, 2.0, 3.0]}}}
    )
    here = Trainings(load_search(written(tmp_path)), SearchTarget(profile, "nnunet", "HECKTOR"))
    assert here.config({"theta": 0.2}).spacing_mm == (2.0, 2.0, 3.0)
    other = Trainings(load_search(written(tmp_path)), SearchTarget(profile, "nnunet", "BraTS"))
    assert other.config({"theta": 0.2}).spacing_mm == (8.0, 8.0, 8.0)


def test_what_every_trial_has_and_what_a_sampler_cannot_learn() -> None:
    assert trainings("theta").in_every_trial() == ("fusion", "shared_layers")
    fixed = trainings("theta", load_search("theta").only(["fusion=fixed"]))
    assert fixed.in_every_trial() == ("fusion", "shared_layers", "theta")
    notes = notes_on("cmaes", 20, trainings("lambda"))
    assert ["draws version, corruption, shared_layers, lambda_class at random" in note for note in notes] == [
        True
    ]
    assert "draws theta at random" in str(notes_on("gp", 20, trainings("theta")))
    assert notes_on("gp", 20, fixed) == []
    assert notes_on("tpe", 20, trainings("theta")) == []


def test_a_method_that_trains_itself_is_said_to_be_never_pruned(tmp_path: Path) -> None:
    rate = {"path": "training.learning_rate", "low": 0.001, "high": 0.1}
    file = written(
        tmp_path, dataset="autopet", set={"method": "nnunet", "loss_weights": {}}, space={"rate": rate}
    )

    def needs(search: Search) -> list[CheckedRun]:
        probes = Trainings(search, SearchTarget(load_profile("demo"), "autopet")).probes()
        answers = inspect_runs([(probe.config.model_dump(mode="json"), None) for probe in probes])
        assert not any(answer.fault for answer in answers)
        return [CheckedRun(p, a.preparation, a.trains_itself) for p, a in zip(probes, answers, strict=True)]

    assert unpruned_notes("median", needs(load_search(file))) == [
        "nnunet trains by itself and is validated when it has ended: its trials are never pruned."
    ]
    assert unpruned_notes("none", needs(load_search(file))) == []
    assert unpruned_notes("median", needs(load_search("theta").only(["shared_layers=5"]))) == []


def test_a_search_may_not_choose_checkpoints_on_the_test_part() -> None:
    """As the profile `authors` does."""
    target = SearchTarget(load_profile("authors"), "autopet")
    with pytest.raises(BenchError, match="best_on: test chooses on cases that a search may not see"):
        Trainings(load_search("lambda"), target).probes()


def test_only_leaves_choices_out() -> None:
    search = load_search("lambda").only(["version=v3", "corruption=none,shuffle"])
    assert len(list(search.combinations())) == 1 * 2 * 7
    with pytest.raises(BenchError, match="Did you mean 'v3'"):
        load_search("lambda").only(["version=v33"])
    with pytest.raises(BenchError, match="Did you mean 'version'"):
        load_search("lambda").only(["versoin=v3"])


def test_the_probes_hold_every_choice_and_both_ends_of_every_number() -> None:
    runs = trainings("lambda").probes()
    assert (
        len({(r.factors["version"], r.factors["corruption"], r.factors["shared_layers"]) for r in runs}) == 63
    )
    weights = [run.config.loss_weights for run in runs]
    assert {w["rec_ct"] for w in weights} == {1e-6, 1e-4, 0.01}
    assert {w["class"] for w in weights if "class" in w} == {1e-5, 1e-3, 0.1}


def test_whole_numbers_and_settings_of_the_training_can_be_searched(tmp_path: Path) -> None:
    space = {
        "batch": {"path": "training.batch_size", "low": 1, "high": 4, "type": "int"},
        "rate": {"path": "training.learning_rate", "low": "1e-4", "high": "1e-2", "log": True},
        "channels": {"path": "method_args.channels", "choices": {"narrow": [4, 8, 8, 8, 8]}},
    }
    of = trainings("", load_search(written(tmp_path, space=space)))
    params = fixed(of, batch=3, rate=0.001, channels="narrow")
    config = of.config(params)
    assert (config.training.batch_size, config.training.learning_rate) == (3, 0.001)
    assert config.method_args["channels"] == [4, 8, 8, 8, 8]
    assert {run.config.training.batch_size for run in of.probes()} == {1, 4}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": {"theta": {"path": "trainning.epochs", "low": 1, "high": 2}}}, "Did you mean 'training'"),
        ({"space": {"theta": {"path": "training.lerning_rate", "low": 1, "high": 2}}}, "Did you mean 'learning_rate'"),
        ({"space": {"w": {"path": "loss_weights.sge", "low": 1, "high": 2}}}, "Did you mean 'seg'"),
        ({"space": {"w": {"path": "loss_weights", "low": 1, "high": 2}}}, "is a group"),
        ({"space": {"w": {"path": "seed", "low": 1, "high": 2}}}, "seeds are chosen by the profile"),
        ({"space": {"w": {"path": "spacing_mm", "choices": [[1, 1, 1]]}}}, "not comparable"),
        ({"space": {"theta": {"path": "method_args.theta", "low": 2, "high": 1}}}, "low must be less"),
        ({"space": {"theta": {"path": "method_args.theta", "low": 0, "high": 1, "log": True}}}, "must be positive"),
        ({"space": {"theta": {"path": "method_args.theta", "low": 0}}}, "give low and high, or choices"),
        ({"space": {"theta": {"path": "method_args.theta", "lo": 0, "high": 1}}}, "unknown key"),
        ({"space": {"dice": {"path": "method_args.theta", "low": 0, "high": 1}}}, "'dice' is taken"),
        ({"objectives": {"dcie": "maximize"}}, "Did you mean 'dice'"),
        ({"constraints": {"fpv": 5}}, "Did you mean 'fpv_ml'"),
        ({"paper": {"thetta": 0.2}}, "Did you mean 'theta'"),
        ({"paper": {"theta": 2}}, "does not lie between 0 and 1"),
        ({"set": {"metod": "mirror_unet"}}, "Did you mean 'method'"),
    ],
)  # fmt: skip
def test_what_does_not_exist_is_refused_with_the_nearest_that_does(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BenchError, match=message):
        load_search(written(tmp_path, **changes))


def test_a_parameter_of_a_later_or_unknown_choice_is_refused(tmp_path: Path) -> None:
    theta = {**SMALL["space"]["theta"], "when": {"fusoin": "fixed"}}
    fusion = {"choices": {"fixed": {}, "learnable": {"method_args": {"theta": "learnable"}}}}
    with pytest.raises(BenchError, match="Did you mean 'fusion'"):
        load_search(written(tmp_path, space={"fusion": fusion, "theta": theta}))
    theta["when"] = {"fusion": "fixd"}
    with pytest.raises(BenchError, match="Did you mean 'fixed'"):
        load_search(written(tmp_path, space={"fusion": fusion, "theta": theta}))


def test_an_unknown_search_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="Did you mean 'lambda'"):
        load_search("lamda")
    with pytest.raises(BenchError, match="no such file"):
        load_search(str(tmp_path / "none.yaml"))


def test_the_key_changes_with_what_a_trial_is_and_who_suggests_it(tmp_path: Path) -> None:
    of = trainings("", load_search(written(tmp_path)))
    wider = {"theta": {**SMALL["space"]["theta"], "high": 0.5}}
    other = trainings("", load_search(written(tmp_path, space=wider)))
    keys = {
        of.key(["f"], "tpe", 0),
        other.key(["f"], "tpe", 0),
        of.key(["g"], "tpe", 0),
        of.key(["f"], "tpe", 1),
    }
    assert len(keys) == 4
    assert of.key(["f"], "tpe", 0) in keys
