"""What a search's report says: the numbers behind tables and figures, and the comparison."""

from __future__ import annotations

import shlex
import struct
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml
from written_runs import score_rows

from benchmark.planning.grid import load_study
from benchmark.results.runs import RunFolder
from benchmark.search.attributes import DEFINITION, GIVEN_BACK, MEANS, REASON, REFERENCE, RUN
from reports.ground.drawing import style
from reports.page.model import section_of
from reports.search import figures
from reports.search.frames import (
    best_trial,
    curves,
    definition_of,
    front,
    history,
    importances,
    training_steps,
    trials_frame,
)
from reports.search.grid_file import scoring_command, write_grid
from reports.search.pairs import Compared, interval, paired
from reports.search.report import write_search_report
from reports.search.summary import summary
from reports.search.tables import comparison_table, trials_table

SEARCHED = {
    "name": "small",
    "choices": {"mode": ["a", "b"]},
    "numbers": {"x": {"low": 0.0, "high": 1.0, "log": False}, "y": {"low": 0.001, "high": 1.0, "log": True}},
    "objectives": {"dice": "maximize"},
    "constraints": {},
    "paper": {"x": 0.5},
    "dataset": "phantom",
    "profile": "demo",
    "fold": 0,
    "sampler": "tpe",
    "pruner": "median",
    "seed": 0,
    "created": 0.0,
}


def study_of(*, directions: tuple[str, ...] = ("maximize",), **changes: Any) -> optuna.Study:
    study = optuna.create_study(directions=list(directions), sampler=optuna.samplers.RandomSampler(seed=0))
    study.set_user_attr(DEFINITION, {**SEARCHED, **changes})
    return study


def add(
    study: optuna.Study, values: list[float] | None, *, x: float = 0.5, state: str = "COMPLETE", **more: Any
) -> None:
    distributions: dict[str, Any] = {
        "mode": optuna.distributions.CategoricalDistribution(("a", "b")),
        "x": optuna.distributions.FloatDistribution(0.0, 1.0),
        "y": optuna.distributions.FloatDistribution(0.001, 1.0, log=True),
    }
    params = {"mode": "a", "x": x, "y": 0.1, **more.pop("params", {})}
    constraints = more.pop("constraints", {})
    system = {f"constraints:{name}": value for name, value in constraints.items()}
    study.add_trial(
        optuna.trial.create_trial(
            state=optuna.trial.TrialState[state],
            values=values,
            params=params,
            distributions=distributions,
            system_attrs=system,
            **more,
        )
    )


def test_the_best_trial_is_the_first_of_the_best_that_keep_all_constraints() -> None:
    study = study_of(constraints={"fpv_ml": 5})
    add(study, [0.5], constraints={"fpv_ml": -1.0})
    add(study, [0.9], constraints={"fpv_ml": 0.1})
    add(study, [0.7], constraints={"fpv_ml": 0.0})
    add(study, [0.7], constraints={"fpv_ml": -2.0})
    trials = trials_frame(study)
    assert trials["feasible"].tolist() == [True, False, True, True]
    best = best_trial(trials, {"dice": "maximize"})
    assert best is not None
    assert best["trial"] == 2
    frame = history(trials, "dice", "maximize")
    assert frame["value"].tolist() == [0.5, 0.9, 0.7, 0.7]
    assert frame["best"].tolist() == [0.5, 0.5, 0.7, 0.7]
    assert best_trial(trials, {"dice": "minimize"})["trial"] == 0  # type: ignore[index]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0.6602], "One complete trial (Dice [%] 66.02): there is nothing to compare it with, and no best."),
        ([0.0] * 9, "All 9 complete trials have Dice [%] 0.00: none is the best."),
        ([0.5, 0.500001], "All 2 complete trials have Dice [%] 50.00: none is the best."),
    ],
)
def test_nothing_is_crowned_without_a_difference(tmp_path: Path, values: list[float], said: str) -> None:
    study = study_of()
    for number, value in enumerate(values):
        add(study, [value], x=number / 9, params={"x": number / 9, "y": 0.1, "mode": "ab"[number % 2]})
    written = write_search_report(tmp_path, study, out=tmp_path / "out")
    assert written.facts["best"] is None
    assert said in written.files.summary
    assert importances(study).empty
    names = {path.stem for path in written.files.files}
    assert not {"best", "importances", "contours_dice"} & names
    assert {"history", "slices"} <= names
    text = (tmp_path / "out" / "trials.md").read_text(encoding="utf-8")
    assert "**Phantoms: scores are not results**" in text
    assert text.count("**") == 2


@pytest.mark.parametrize("regions", [["core"], ["core", "whole"]])
def test_a_search_on_several_regions_says_that_it_averages_them(tmp_path: Path, regions: list[str]) -> None:
    study = study_of()
    for value in (0.5, 0.6):
        add(study, [value], user_attrs={"run_id": "run"})
    rows = [score_rows("run", {"": {"dice": [0.6]}}, where={"region": region}) for region in regions]
    RunFolder(tmp_path, "run").write_validation(pd.concat(rows, ignore_index=True))
    written = write_search_report(tmp_path, study, out=tmp_path / "out")
    said = "Numbers of trials are means over the regions core, whole; one that is made of others counts as they do."
    assert (said in written.files.summary) is (len(regions) > 1)
    # The table goes its own way, and the page has both.
    for name in ("trials.md", "trials.html", "trials.tex", "report.md"):
        assert (said in (tmp_path / "out" / name).read_text(encoding="utf-8")) is (len(regions) > 1), name
    section = section_of(written.files, tmp_path, None, short="theta")
    assert (said in section.findings) is (len(regions) > 1)
    (group, *_) = section.groups
    assert (said in group.printed[0].notes) is (len(regions) > 1)


def test_what_scores_the_best_trial_has_all_that_the_search_was_launched_with(tmp_path: Path) -> None:
    profile = tmp_path / "my profiles" / "tinyph.yaml"
    launched = {"--data": ["autopet=/data/STS one"], "--profile": [str(profile)], "--data-name": []}
    config = {"dataset": "autopet", "fold": 3, "seed": 1}
    words = scoring_command(
        tmp_path / "best.yaml", config, profile="tinyph", launched=launched, results=tmp_path / "results"
    )
    options = dict(zip(*[iter(shlex.split(words)[2:])] * 2, strict=True))
    assert options == {
        "--grid": str(tmp_path / "best.yaml"),
        "--data": "autopet=/data/STS one",
        "--profile": str(profile),
        "--folds": "3",
        "--seeds": "1",
        "--results": str(tmp_path / "results"),
    }


def test_trials_that_were_given_back_are_left_out_and_failed_ones_say_why() -> None:
    study = study_of()
    add(study, None, state="FAIL", user_attrs={GIVEN_BACK: True})
    add(study, None, state="FAIL", user_attrs={"failure": "diverged", REASON: "at step 3"})
    add(study, None, state="PRUNED", intermediate_values={10: 0.1, 20: 0.2}, user_attrs={RUN: "a"})
    means = {"dice": 0.4, "fpv_ml": 2.0}
    add(study, [0.4], intermediate_values={10: 0.3, 40: 0.4}, user_attrs={MEANS: means, RUN: "b"})
    trials = trials_frame(study)
    assert trials["trial"].tolist() == [1, 2, 3]
    assert trials["state"].tolist() == ["failed", "pruned", "complete"]
    assert trials["note"].tolist() == ["diverged: at step 3", "", ""]
    assert trials["fpv_ml"].tolist()[2] == 2.0
    assert training_steps(trials) == 20 + 40
    told = curves(study)
    assert told[["trial", "step", "value"]].to_numpy().tolist() == [
        [2, 10, 0.1], [2, 20, 0.2], [3, 10, 0.3], [3, 40, 0.4],
    ]  # fmt: skip
    # A run that two trials share was trained once, and the paper's values are beside the search.
    add(study, [0.4], intermediate_values={40: 0.4}, user_attrs={RUN: "b"})
    add(study, [0.3], intermediate_values={40: 0.3}, user_attrs={RUN: "c", REFERENCE: 3})
    assert training_steps(trials_frame(study)) == 20 + 40
    table = trials_table(trials.assign(run=["", "a", "b"]), definition_of(study), best=3)
    best, pruned, failed = ([cell[0].address for cell in row.cells] for row in table.rows)
    # State, three parameters, Dice and FPV, note: the scores lead to the rows of the trial's run.
    assert best == ["", "", "", "", "run:b/validation", "run:b/validation", ""]
    assert set(failed) == {""}
    assert {address for address in pruned if address} <= {"run:a/validation"}
    assert [row.label for row in table.rows] == ["3", "2", "1"]
    assert table.rows[0].cells[0][0].bold
    assert table.rows[0].cells[4][0].text == "40.00"


def test_the_front_holds_what_no_other_trial_beats() -> None:
    objectives = {"dice": "maximize", "fpv_ml": "minimize"}
    study = study_of(directions=("maximize", "minimize"), objectives=objectives)
    for values in ([0.5, 1.0], [0.6, 2.0], [0.55, 2.0], [0.6, 3.0], [0.4, 0.5], [0.6, 2.0]):
        add(study, values)
    frame = front(trials_frame(study), objectives)
    assert frame["on_front"].tolist() == [True, True, False, False, True, True]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([[0.66, 1.0]], "One complete trial (Dice [%] 66.00 and FPV [ml] 1.00): there is nothing to compare"),
        ([[0.0, 0.0]] * 9, "All 9 complete trials have Dice [%] 0.00 and FPV [ml] 0.00: none is the best."),
    ],
)
def test_a_front_of_nothing_is_none(tmp_path: Path, values: list[list[float]], said: str) -> None:
    objectives = {"dice": "maximize", "fpv_ml": "minimize"}
    study = study_of(directions=("maximize", "minimize"), objectives=objectives)
    for number, each in enumerate(values):
        add(study, each, x=number / 9)
    written = write_search_report(tmp_path, study, out=tmp_path / "out")
    assert written.facts["front"] == []
    assert said in " ".join(written.files.summary)
    assert "pareto" not in {path.stem for path in written.files.files}
    text = (tmp_path / "out" / "trials.md").read_text(encoding="utf-8")
    assert text.count("**") == 2, "the banner's alone"


def test_the_parameter_that_decides_is_the_important_one() -> None:
    study = study_of()
    random = np.random.default_rng(0)
    for _ in range(60):
        x, y = random.random(2)
        add(study, [1 - (x - 0.5) ** 2], x=x, params={"x": x, "y": 0.001 + 0.99 * y, "mode": "a"})
    frame = importances(study).set_index("parameter")["importance"]
    assert frame["x"] > 0.7
    assert frame.sum() == pytest.approx(1.0)
    few = study_of()
    add(few, [1.0])
    assert importances(few).empty


def scores(values: dict[str, dict[str, float]]) -> pd.DataFrame:
    """Dice by patient and case."""
    return pd.DataFrame(
        [
            {"reading": "", "metric": "dice", "patient": patient, "case_id": case, "value": value}
            for patient, cases in values.items()
            for case, value in cases.items()
        ]
    )


def test_patients_are_compared_with_themselves() -> None:
    nan = float("nan")
    ours = scores({"p": {"p1": 0.8, "p2": 0.6}, "q": {"q1": 0.5}, "r": {"r1": 0.9}, "s": {"s1": 0.4}})
    theirs = scores({"p": {"p1": 0.5, "p2": 0.5}, "q": {"q1": 0.6}, "r": {"r1": nan}, "t": {"t1": 0.1}})
    pair = paired([ours], [theirs])
    assert pair is not None
    # Patients p and q have both: differences 0.2 and -0.1.
    assert (pair.n_patients, pair.n_cases, pair.n_better) == (2, 3, 1)
    assert pair.difference == pytest.approx(0.05)
    assert pair.ours == pytest.approx((0.7 + 0.5) / 2)
    assert np.isnan(pair.low)
    assert paired([scores({"a": {"a1": 1.0}})], [scores({"b": {"b1": 1.0}})]) is None


def test_seeds_are_averaged_before_patients_are_compared() -> None:
    seeds = [scores({"p": {"p1": 0.2}}), scores({"p": {"p1": 0.6}})]
    pair = paired(seeds, [scores({"p": {"p1": 0.1}})])
    assert pair is not None
    assert (pair.ours, pair.difference) == (pytest.approx(0.4), pytest.approx(0.3))


def test_the_interval_of_few_patients_is_as_wide_as_student_s() -> None:
    assert np.isnan(interval(np.array([-1.0, -0.5, 0.0, 0.5, 1.0]))).all()
    assert interval(np.full(6, 0.25)) == (0.25, 0.25)
    six = np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])
    low, high = interval(six)
    half = 2.571 * six.std(ddof=1) / 6**0.5
    assert (low, high) == (pytest.approx(-half, rel=0.15), pytest.approx(half, rel=0.15))
    many = np.random.default_rng(1).normal(0.1, 1.0, 400)
    low, high = interval(many)
    half = 1.96 * many.std() / 20
    assert low == pytest.approx(many.mean() - half, abs=0.02)
    assert high == pytest.approx(many.mean() + half, abs=0.02)


def test_the_comparison_prints_difference_and_interval() -> None:
    ours = scores({name: {name: 0.6 + 0.02 * n} for n, name in enumerate("abcdef")})
    theirs = scores({name: {name: 0.5} for name in "abcdef"})
    pair = paired([ours], [theirs])
    assert pair is not None
    (row,) = comparison_table(
        {"test": Compared(pair, "run:a/test", "run:b/test")}, best="trial 1", paper="theta 0.2"
    ).rows
    assert [cell[0].text for cell in row.cells] == ["65.00", "50.00", "+15.00", "+11.20 to +18.40", "6 of 6"]
    assert [cell[0].address for cell in row.cells] == [
        *("run:a/test", "run:b/test"),
        *["run:a/test|b/test"] * 3,
    ]


def test_the_best_trial_s_grid_has_its_settings_where_no_profile_replaces_them(tmp_path: Path) -> None:
    config = {
        "dataset": "phantom", "spacing_mm": None, "fold": 0, "seed": 3, "method": "mirror_unet", "method_digest": None,
        "method_args": {"version": "v4", "theta": 0.31}, "loss_weights": {"seg": 1.0}, "training": {"steps": 7},
    }  # fmt: skip
    path = tmp_path / "best.yaml"
    write_grid(path, config, name="small-trial5", cell="5", header="Found.\nHere.")
    assert path.read_text().startswith("# Found.\n# Here.\n")
    (cell,) = load_study(str(path)).cells()
    assert cell.factors == {"trial": "5"}
    assert cell.question["training"] == {"steps": 7}
    assert not {"fold", "seed", "dataset", "spacing_mm"} & set(cell.question)
    assert yaml.safe_load(path.read_text())["dataset"] == "phantom"


def test_a_summary_says_how_the_comparison_with_the_paper_stands() -> None:
    study = study_of()
    add(study, [0.4], x=0.1)
    add(study, [0.2], x=0.9)

    def lines() -> list[str]:
        trials, definition = trials_frame(study), definition_of(study)
        best = best_trial(trials, definition.objectives)
        return summary(trials, definition, best, [], {}, study="s")

    assert "not tried beside these yet" in lines()[2]
    add(study, None, state="FAIL", user_attrs={"failure": "memory", REASON: "full", REFERENCE: 0})
    assert lines()[2:] == [
        "The paper's values beside these are trial 2, which is failed.",
        "Failed: trial 2, memory: full",
    ]
    add(study, [0.3], user_attrs={REFERENCE: 0})
    assert "The paper's values beside" not in " ".join(lines())
    add(study, [0.5], x=0.5)
    assert lines()[2] == "These are the paper's values: no trial of the search has better ones."


def test_two_trials_that_are_one_run_say_so_and_the_history_knows_the_paper_s_values() -> None:
    study = study_of()
    add(study, [0.4], user_attrs={RUN: "a"})
    add(study, [0.4], user_attrs={RUN: "a"})
    add(study, [0.3], user_attrs={RUN: "b", REFERENCE: 0})
    trials = trials_frame(study)
    assert trials["note"].tolist() == ["", "the run of trial 0", "the paper's values, for trial 0"]
    assert history(trials, "dice", "maximize")["reference"].tolist() == [False, False, True]


def test_figures_are_saved_in_the_suite_s_style_and_with_the_same_bytes_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_the_history(*_: Any) -> list[Any]:
        frame = history(trials_frame(study), "dice", "maximize")
        return [("history", "History", figures.draw_history({"dice": frame}, []))]

    study = study_of()
    add(study, [0.4])
    monkeypatch.setattr("reports.search.report._figures", only_the_history)
    for name in ("one", "two"):
        write_search_report(tmp_path, study, out=tmp_path / name)
    for kind in ("png", "pdf", "svg"):
        assert (tmp_path / "one" / f"history.{kind}").read_bytes() == (
            tmp_path / "two" / f"history.{kind}"
        ).read_bytes()
    (width,) = struct.unpack(">I", (tmp_path / "one" / "history.png").read_bytes()[16:20])
    assert width == round(4.8 * 200)


@pytest.mark.parametrize("objectives", [{"dice": "maximize"}, {"dice": "maximize", "fpv_ml": "minimize"}])
def test_every_figure_can_be_drawn(objectives: dict[str, Any]) -> None:
    study = study_of(directions=tuple(objectives.values()), objectives=objectives)
    random = np.random.default_rng(0)
    for number in range(12):
        x, y = random.random(2)
        params = {"x": x, "y": 0.001 + 0.9 * y, "mode": "ab"[number % 2]}
        values = [1 - (x - 0.5) ** 2, 10 * y][: len(objectives)]
        curve = {step: values[0] * step / 40 for step in (10, 20, 40)} if len(objectives) == 1 else {}
        add(study, values, params=params, intermediate_values=curve)
    if len(objectives) == 1:
        add(study, None, state="PRUNED", intermediate_values={10: 0.01})
    definition, trials = definition_of(study), trials_frame(study)
    with style():
        drawn = [
            figures.draw_history({o: history(trials, o, d) for o, d in objectives.items()}, [12]),
            figures.draw_importances(importances(study)),
            figures.draw_slices(trials, definition),
            *(
                figure
                for _, figure in figures.draw_contours(
                    trials, definition, definition.parameters, objectives=list(objectives)
                )
            ),
        ]
        if len(objectives) == 1:
            drawn.append(figures.draw_curves(curves(study), 3))
        else:
            drawn.append(figures.draw_front(front(trials, objectives), definition))
        for figure in drawn:
            figure.canvas.draw()
    assert len(drawn) == 4 + len(objectives)
