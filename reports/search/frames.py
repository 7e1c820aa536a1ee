"""What a search found, as frames: numbers that the tables print and the figures draw."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
import pandas as pd
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from pydantic import BaseModel

from benchmark.files.places import Name
from benchmark.files.schemas import STRICT, Text, Whole, checked
from benchmark.scoring.metrics import differ_in_print
from benchmark.search.attributes import DEFINITION, FAILURE, GIVEN_BACK, KNOWN, MEANS, REASON, REFERENCE, RUN
from benchmark.vocabulary import BenchError
from benchmark.words import counted
from reports.ground.frames import DECIMALS
from reports.ground.measures import measure_of

STATES = {
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "FAIL": "failed",
    "RUNNING": "running",
    "WAITING": "waiting",
}
TOP = 0.25
"""Importance: which values tell the best quarter of the trials from the others."""
FEWEST_TRIALS = 8
"""Complete trials below which nothing is said of importance: the best quarter is two of them."""


@dataclass(frozen=True)
class Definition:
    """What was searched, as the launcher wrote it into the study."""

    __pydantic_config__ = STRICT

    name: str
    choices: Mapping[str, Sequence[str]]
    numbers: Mapping[str, Mapping[str, Any]]
    objectives: Mapping[str, str]
    constraints: Mapping[str, float]
    paper: Mapping[str, Any]
    dataset: str
    profile: str
    fold: int
    sampler: str
    pruner: str
    seed: int
    created: float
    launched: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The options, by name, that a run of one of its trials needs again."""

    @property
    def parameters(self) -> list[str]:
        return [*self.choices, *self.numbers]


def definition_of(study: Study) -> Definition:
    """BenchError for a study that is none of this suite's."""
    content = study.user_attrs.get(DEFINITION)
    if not isinstance(content, dict):
        raise BenchError(
            f"The study {study.study_name} was not made by `bench search`; it cannot be reported."
        )
    known = Definition.__dataclass_fields__
    said = {name: value for name, value in content.items() if name in known}
    found = checked(Definition, said, source=f"The study {study.study_name}")
    if len(found.objectives) != len(study.directions):
        raise BenchError(
            f"The study {study.study_name} is damaged: it has {len(study.directions)} objectives."
        )
    if strange := sorted(set(found.paper) - set(found.parameters)):
        raise BenchError(
            f"The study {study.study_name} is damaged: the paper's values name {strange[0]!r}, which is not searched."
        )
    return found


class _Trial(BaseModel):
    """What a report reads of a trial's attributes."""

    run_id: Name | None = None
    means: dict[str, float] = {}
    reference_for: Whole | None = None
    failure: Text = "failed"
    reason: Text = ""
    known_from: Text = ""


def _check_trials(study: Study, definition: Definition) -> None:
    """BenchError for trials that no launcher of the suite wrote."""
    for trial in study.get_trials(deepcopy=False):
        said = {name: value for name, value in trial.user_attrs.items() if name in _Trial.model_fields}
        checked(_Trial, said, source=f"Trial {trial.number} of the study {study.study_name}")
        if trial.values is not None and len(trial.values) != len(definition.objectives):
            raise BenchError(f"Trial {trial.number} of the study {study.study_name} is damaged: its values.")


def trials_frame(study: Study) -> pd.DataFrame:
    """One row a trial: number, state, run, `params`, means by metric, whether it keeps all constraints, and a note.

    Trials that were given back, because their machine was gone, are left out; a later one repeats each.
    """
    definition = definition_of(study)
    _check_trials(study, definition)
    rows = []
    first_with: dict[str, int] = {}
    for trial in study.get_trials(deepcopy=False):
        attributes = trial.user_attrs
        if GIVEN_BACK in attributes:
            continue
        means = dict(attributes.get(MEANS, {}))
        if trial.values is not None and trial.state == TrialState.COMPLETE:
            means |= dict(zip(definition.objectives, trial.values, strict=True))
        rows.append(
            {
                "trial": trial.number,
                "state": STATES[trial.state.name],
                "run": attributes.get(RUN, ""),
                **{name: trial.params.get(name) for name in definition.parameters},
                **{metric: means.get(metric, math.nan) for metric in _metrics(definition, study)},
                "feasible": all(value <= 0 for value in trial.constraints.values()),
                "last_step": trial.last_step,
                "reference_for": attributes.get(REFERENCE),
                "failure": attributes.get(FAILURE, ""),
                "note": _note(trial, first_with),
            }
        )
    return pd.DataFrame(rows)


def _metrics(definition: Definition, study: Study) -> list[str]:
    found = dict.fromkeys([*definition.objectives, *definition.constraints])
    for trial in study.get_trials(deepcopy=False):
        found |= dict.fromkeys(trial.user_attrs.get(MEANS, {}))
    return list(found)


def _note(trial: FrozenTrial, first_with: dict[str, int]) -> str:
    """`first_with`: which trial was the first with that run, among those before; this one is added."""
    attributes = trial.user_attrs
    first = first_with.setdefault(attributes[RUN], trial.number) if RUN in attributes else trial.number
    if REASON in attributes:
        return f"{attributes.get(FAILURE, 'failed')}: {attributes[REASON]}"
    if REFERENCE in attributes:
        return f"the paper's values, for trial {attributes[REFERENCE]}"
    if KNOWN in attributes:
        return f"known from {attributes[KNOWN]}"
    return "" if first == trial.number else f"the run of trial {first}"


def no_best_trial(trials: pd.DataFrame, objectives: Mapping[str, str]) -> str:
    """Why no complete trial is the best, or on a front, in a sentence; empty where one is."""
    kept = trials[(trials["state"] == "complete") & trials["feasible"]] if not trials.empty else trials
    if kept.empty or _differ(kept, objectives):
        return ""
    values = " and ".join(
        f"{measure.title} {DECIMALS.format(measure.scale * float(kept[objective].iloc[0]))}"
        for objective in objectives
        for measure in (measure_of(objective),)
    )
    if len(kept) == 1:
        return f"One complete trial ({values}): there is nothing to compare it with, and no best."
    return f"All {counted(len(kept), 'complete trial')} have {values}: none is the best."


def _differ(trials: pd.DataFrame, objectives: Mapping[str, str]) -> bool:
    """Whether any objective's values do, as printed."""
    return any(differ_in_print(trials[one], measure_of(one).scale) for one in objectives)


def best_trial(trials: pd.DataFrame, objectives: Mapping[str, str]) -> pd.Series | None:
    """The complete trial that keeps all constraints with the best value of the only objective, the first of equals;
    None where values do not differ in print."""
    (objective, direction), *more = objectives.items()
    if more or trials.empty:
        return None
    complete = trials[(trials["state"] == "complete") & trials["feasible"]]
    if complete.empty or not differ_in_print(complete[objective], measure_of(objective).scale):
        return None
    values = complete[objective]
    place = values.argmax() if direction == "maximize" else values.argmin()
    return complete.iloc[int(place)]


def history(trials: pd.DataFrame, objective: str, direction: str) -> pd.DataFrame:
    """`trial`, `value`, `feasible` and `reference` (whether its values are the paper's) of the complete trials, and the
    `best` value so far that keeps all constraints."""
    complete = trials[trials["state"] == "complete"].sort_values("trial")
    frame = complete[["trial", "feasible"]].assign(
        value=complete[objective], reference=complete["reference_for"].notna()
    )
    kept = frame["value"].where(frame["feasible"])
    best = kept.cummax() if direction == "maximize" else kept.cummin()
    return frame.assign(best=best.ffill()).reset_index(drop=True)


def curves(study: Study) -> pd.DataFrame:
    """`trial`, `state`, `step`, `value`: the Dice of each training's validations."""
    rows = [
        {"trial": trial.number, "state": STATES[trial.state.name], "step": step, "value": value}
        for trial in study.get_trials(deepcopy=False)
        if GIVEN_BACK not in trial.user_attrs
        for step, value in sorted(trial.intermediate_values.items())
    ]
    return pd.DataFrame(rows, columns=["trial", "state", "step", "value"])


def importances(study: Study) -> pd.DataFrame:
    """`objective`, `parameter`, `importance`; the importances of an objective add up to 1.

    PED-ANOVA (Watanabe et al., IJCAI 2023): how far a parameter's values among the best quarter of the complete trials
    differ from those among all. Empty where there are too few trials.
    """
    definition = definition_of(study)
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    rows: list[dict[str, Any]] = []
    if len(complete) >= FEWEST_TRIALS:
        for place, (objective, direction) in enumerate(definition.objectives.items()):
            if not differ_in_print((trial.values[place] for trial in complete), measure_of(objective).scale):
                continue
            rows += [
                {"objective": objective, "parameter": name, "importance": value}
                for name, value in _importances(study, place, 1 if direction == "minimize" else -1).items()
            ]
    return pd.DataFrame(rows, columns=["objective", "parameter", "importance"])


def _importances(study: Study, place: int, sign: int) -> Mapping[str, float]:
    def target(trial: FrozenTrial) -> float:
        return sign * float(trial.values[place])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return get_param_importances(
                study, evaluator=PedAnovaImportanceEvaluator(target_quantile=TOP), target=target
            )
        except (ValueError, RuntimeError, optuna.exceptions.OptunaError):
            # All values equal, or a parameter that never varied.
            return {}


def front(trials: pd.DataFrame, objectives: Mapping[str, str]) -> pd.DataFrame:
    """The complete trials that keep all constraints, and which of them are `on_front`: no other is better in one
    objective and at least as good in the others. None is where values do not differ in print."""
    complete = trials[(trials["state"] == "complete") & trials["feasible"]].copy()
    signs = [1 if direction == "maximize" else -1 for direction in objectives.values()]
    values = complete[list(objectives)].to_numpy(float) * signs
    apart = _differ(complete, objectives)
    complete["on_front"] = [
        apart and not any((other >= own).all() and (other > own).any() for other in values) for own in values
    ]
    return complete


def training_steps(trials: pd.DataFrame) -> int:
    """The optimiser steps of the search's runs, up to their last validations; runs that several trials share count
    once, and those of the paper's values not at all."""
    searched = trials[trials["reference_for"].isna()].dropna(subset="last_step")
    return int(searched.groupby("run")["last_step"].max().sum())
