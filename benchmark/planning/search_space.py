"""Reads a search: the YAML of a question about values, in Optuna's words, every wrong key an error. Needs no torch.

    name: theta
    dataset: autopet                  where --data does not say otherwise
    set: {method: mirror_unet, ...}   the settings of every trial, nested as in RunConfig; a profile is merged over them
    space:
      lambda_rec:                     a number: one setting, or several that are always equal
        path: [loss_weights.rec_ct, loss_weights.rec_pet]
        low: 0.000001
        high: 0.01
        log: true                     `step: 0.1` for multiples; `type: int` for whole numbers
      corruption:                     a choice of one setting's values, named as in a grid
        path: method_args.corruption
        choices: [none, noise, shuffle]
      fusion:                         or of named groups of settings, merged over `set`
        choices:
          fixed: {}
          learnable: {method_args: {theta: learnable}}
      theta:
        path: method_args.theta
        low: 0.0
        high: 1.0
        when: {fusion: fixed}         only with these choices of an earlier parameter
    objectives: {dice: maximize}      means over the validation part; two of them: no pruning, a Pareto front
    constraints: {fpv_ml: 5}          at most so much
    validations: 8                    how often a training is looked at
    paper: {theta: 0.2}               the values that the best ones are compared with, all other choices being equal
    final_seeds: [1, 2, 3]            with which --final trains both again

A weight is searched where its loss exists: paths under `loss_weights` are left out for versions without that loss.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from benchmark.config import InferenceConfig, RunConfig, TrainingConfig, merge
from benchmark.files.strict_yaml import parse, read_yaml
from benchmark.planning.grid import SEARCH_PREFIX as PREFIX
from benchmark.planning.grid import STUDIES, Cell, Profile, Value, check_settings, nested, values_of
from benchmark.scoring.metrics import METRICS
from benchmark.vocabulary import BenchError, did_you_mean

SIGNIFICANT_DIGITS = 4
"""Of a searched number: enough for any effect that can be measured, and readable. Equal values give equal runs."""
TAKEN = ("trial", "state", "run", "feasible", "last_step", "reference_for", "failure", "note", *METRICS)
"""Columns of the table of trials."""
NOT_SEARCHED = {
    "dataset": "one data set a search",
    "fold": "folds are chosen by the profile",
    "seed": "seeds are chosen by the profile",
    "spacing_mm": "scores on different grids are not comparable",
    "inference.score_grid": "scores on different grids are not comparable",
    "method_digest": "it follows from the method's source",
    "reading": "the first reading of a method is searched",
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Parameter(_Strict):
    path: str | list[str] | None = None
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = Field(default=None, gt=0)
    type: Literal["float", "int"] = "float"
    choices: list[Any] | dict[Any, Any] | None = Field(default=None, min_length=1)
    when: dict[str, str | list[str]] = {}

    @field_validator("when", mode="before")
    @classmethod
    def _names(cls, when: Any) -> Any:
        if not isinstance(when, dict):
            return when
        return {str(k): [str(v) for v in (w if isinstance(w, list) else [w])] for k, w in when.items()}


class _SearchFile(_Strict):
    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    dataset: str
    set: dict[str, Any] = {}
    space: dict[str, _Parameter] = Field(min_length=1)
    objectives: dict[str, Literal["maximize", "minimize"]] = Field(default={"dice": "maximize"}, min_length=1)
    constraints: dict[str, float] = {}
    validations: int = Field(default=8, ge=2)
    paper: dict[str, Any] = {}
    final_seeds: list[int] = Field(default=[1, 2, 3], min_length=1)


@dataclass(frozen=True)
class Number:
    """A number between two others. `when`: the choices of earlier parameters that it goes with."""

    name: str
    paths: tuple[str, ...]
    low: float
    high: float
    log: bool = False
    step: float | None = None
    integer: bool = False
    when: Mapping[str, tuple[str, ...]] | None = None

    def snapped(self, value: float) -> float | int:
        return round(value) if self.integer else float(f"{value:.{SIGNIFICANT_DIGITS}g}")

    @property
    def probes(self) -> tuple[float, ...]:
        """Values at which a configuration is checked before the first trial."""
        if self.step is not None or self.integer:
            return (self.low, self.high)
        middle = (self.low * self.high) ** 0.5 if self.log else (self.low + self.high) / 2
        return (self.low, middle, self.high)


@dataclass(frozen=True)
class Choice:
    """One of several named groups of settings."""

    name: str
    levels: tuple[Value, ...]
    when: Mapping[str, tuple[str, ...]] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(level.name for level in self.levels)


Params = Mapping[str, Any]
"""A trial's values: names of choices, and numbers."""


@dataclass(frozen=True)
class SearchTarget:
    """On which data set a search is done, and how large its trials are.

    `data_name`: what the data set calls itself, where its reader reads several.
    """

    profile: Profile
    dataset: str
    data_name: str | None = None


@dataclass(frozen=True)
class Search:
    """What is searched, as data."""

    name: str
    dataset: str
    settings: Mapping[str, Any]
    choices: tuple[Choice, ...]
    numbers: tuple[Number, ...]
    objectives: Mapping[str, Literal["maximize", "minimize"]]
    constraints: Mapping[str, float]
    validations: int
    paper: Params
    final_seeds: tuple[int, ...]
    source: str

    @property
    def parameters(self) -> tuple[str, ...]:
        return (*(choice.name for choice in self.choices), *(number.name for number in self.numbers))

    def run_settings(self, params: Params, where: SearchTarget) -> dict[str, Any]:
        """The nested settings of a trial's run, without fold and seed. Values that do not apply are not looked at."""
        settings = self._chosen_settings(params, where)
        for number in self.numbers:
            if applies(number, params):
                for path in _present(number, settings):
                    settings = merge(settings, nested(path, number.snapped(params[number.name])))
        return settings

    def applicable(self, params: Params, where: SearchTarget) -> tuple[Number, ...]:
        """The numbers that a trial with these choices has."""
        settings = self._chosen_settings(params, where)
        return tuple(n for n in self.numbers if applies(n, params) and _present(n, settings))

    def _chosen_settings(self, params: Params, where: SearchTarget) -> dict[str, Any]:
        question: dict[str, Any] = {}
        for choice in self.choices:
            if applies(choice, params):
                (level,) = [value for value in choice.levels if value.name == params[choice.name]]
                question = merge(question, dict(level.settings))
        cell = Cell({}, self.settings, question)
        return cell.settings(where.profile, where.dataset, data_name=where.data_name)

    def combinations(self) -> Iterator[dict[str, str]]:
        """All that can be chosen, without what does not apply."""
        seen = set()
        for levels in itertools.product(*(choice.names for choice in self.choices)):
            params: dict[str, str] = {}
            for choice, level in zip(self.choices, levels, strict=True):
                if applies(choice, params):
                    params[choice.name] = level
            if (key := tuple(sorted(params.items()))) not in seen:
                seen.add(key)
                yield params

    def only(self, conditions: Sequence[str]) -> Search:
        """The search with fewer choices: `version=v3,v2`. BenchError for a choice there is not."""
        search = self
        for text in conditions:
            name, _, levels = text.partition("=")
            known = {choice.name: choice for choice in search.choices}
            if name not in known:
                raise BenchError(f"--only {text}: {did_you_mean(name, known)}")
            asked = [level.strip() for level in levels.split(",")]
            if unknown := [level for level in asked if level not in known[name].names]:
                raise BenchError(f"--only {text}: {did_you_mean(unknown[0], known[name].names)}")
            kept = tuple(level for level in known[name].levels if level.name in asked)
            choices = [replace(c, levels=kept) if c.name == name else c for c in search.choices]
            search = replace(search, choices=tuple(choices))
        return search

    def definition(self) -> dict[str, Any]:
        """All that a report needs to know of the search, as JSON."""
        return {
            "name": self.name,
            "choices": {choice.name: list(choice.names) for choice in self.choices},
            "numbers": {n.name: {"low": n.low, "high": n.high, "log": n.log} for n in self.numbers},
            "objectives": dict(self.objectives),
            "constraints": dict(self.constraints),
            "paper": dict(self.paper),
        }


def applies(parameter: Number | Choice, params: Params) -> bool:
    """Whether the choices so far are those that the parameter goes with."""
    return all(params.get(name) in levels for name, levels in (parameter.when or {}).items())


def _present(number: Number, settings: Mapping[str, Any]) -> list[str]:
    weights = settings.get("loss_weights", {})
    return [path for path in number.paths if not _is_weight(path) or path.partition(".")[2] in weights]


def _is_weight(path: str) -> bool:
    return path.startswith("loss_weights.")


def available_searches() -> list[str]:
    """The suite's own searches."""
    return sorted(path.stem.removeprefix(PREFIX) for path in STUDIES.glob(f"{PREFIX}*.yaml"))


def load_search(name: str) -> Search:
    """The search of that name, or of that file, with every name in it checked that can be without its method."""
    path = _find(name)
    content = parse(_SearchFile, read_yaml(path), source=path.name)
    check_settings(content.set, f"{path.name}: set", forbidden=("fold", "seed", "dataset", "reading"))
    choices: list[Choice] = []
    numbers: list[Number] = []
    for key, parameter in content.space.items():
        where = f"{path.name}: space.{key}"
        if key in TAKEN or not key.isidentifier():
            raise BenchError(f"{where}: the name {key!r} is taken, or no name of a column; choose another.")
        for setting in _paths(parameter):
            _check_path(setting, where)
        when = _conditions(parameter, choices, where)
        if parameter.choices is not None:
            choices.append(Choice(key, _levels(key, parameter, where), when))
        else:
            numbers.append(_number(key, parameter, when, where))
    search = Search(
        name=content.name,
        dataset=content.dataset,
        settings=content.set,
        choices=tuple(choices),
        numbers=tuple(numbers),
        objectives=content.objectives,
        constraints=content.constraints,
        validations=content.validations,
        paper=_paper(content.paper, choices, numbers, f"{path.name}: paper"),
        final_seeds=tuple(content.final_seeds),
        source=path.name,
    )
    for group, names in (("objectives", content.objectives), ("constraints", content.constraints)):
        for metric in names:
            if metric not in METRICS:
                raise BenchError(
                    f"{path.name}: {group}: there is no metric {metric!r}. {did_you_mean(metric, METRICS)}"
                )
    _check_weights(search)
    return search


def _find(name: str) -> Path:
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if path.is_file():
            return path
        raise BenchError(f"--study {name}: there is no such file.")
    known = available_searches()
    stem = name.removeprefix(PREFIX)
    if stem not in known:
        raise BenchError(f"There is no search {name!r}. {did_you_mean(stem, known)} Or give a YAML file.")
    return STUDIES / f"{PREFIX}{stem}.yaml"


def _paths(parameter: _Parameter) -> list[str]:
    if parameter.path is None:
        return []
    return [parameter.path] if isinstance(parameter.path, str) else list(parameter.path)


def _check_path(path: str, where: str) -> None:
    """Names of settings; those of arguments and losses are known once a method is bound."""
    if path in NOT_SEARCHED:
        raise BenchError(f"{where}: {path} is not searched: {NOT_SEARCHED[path]}.")
    first, _, rest = path.partition(".")
    groups: dict[str, type[BaseModel]] = {"training": TrainingConfig, "inference": InferenceConfig}
    known: list[str] = [name for name in RunConfig.model_fields if name not in NOT_SEARCHED]
    if first not in known:
        raise BenchError(f"{where}: there is no setting {first!r}. {did_you_mean(first, known)}")
    if first in groups and rest not in groups[first].model_fields:
        raise BenchError(
            f"{where}: there is no setting {path!r}. {did_you_mean(rest, groups[first].model_fields)}"
        )
    if first in ("method_args", "loss_weights") and not rest:
        raise BenchError(f"{where}: {first} is a group; name one of its settings, {first}.NAME.")


def _conditions(
    parameter: _Parameter, earlier: Sequence[Choice], where: str
) -> Mapping[str, tuple[str, ...]] | None:
    known = {choice.name: choice for choice in earlier}
    for name, levels in parameter.when.items():
        if name not in known:
            raise BenchError(
                f"{where}.when: there is no earlier choice {name!r}. {did_you_mean(name, known)}"
            )
        if unknown := [level for level in levels if level not in known[name].names]:
            raise BenchError(f"{where}.when.{name}: {did_you_mean(unknown[0], known[name].names)}")
    return {name: tuple(levels) for name, levels in parameter.when.items()} or None


def _levels(name: str, parameter: _Parameter, where: str) -> tuple[Value, ...]:
    numeric = [key for key in ("low", "high", "step") if getattr(parameter, key) is not None]
    if numeric or parameter.log:
        raise BenchError(f"{where}: choices take no {', '.join(numeric or ['log'])}.")
    if isinstance(parameter.path, list):
        raise BenchError(f"{where}: choices have one path; write several settings as named groups.")
    assert parameter.choices is not None
    levels = values_of(name, parameter.choices, parameter.path, where)
    for level in levels:
        for setting in ("dataset", "spacing_mm", "reading"):
            if setting in level.settings:
                raise BenchError(f"{where}: {setting} is not searched: {NOT_SEARCHED[setting]}.")
    return levels


def _number(
    name: str, parameter: _Parameter, when: Mapping[str, tuple[str, ...]] | None, where: str
) -> Number:
    low, high = parameter.low, parameter.high
    if low is None or high is None:
        raise BenchError(f"{where}: give low and high, or choices.")
    if parameter.path is None:
        raise BenchError(f"{where}: say which setting it is, path: training.learning_rate, say.")
    if not low < high:
        raise BenchError(f"{where}: low is {low:g} and high {high:g}; low must be less.")
    if parameter.log and low <= 0:
        raise BenchError(f"{where}: low is {low:g}; on a log scale it must be positive.")
    if parameter.log and parameter.step is not None:
        raise BenchError(f"{where}: log and step exclude each other.")
    whole = [value for value in (low, high, parameter.step or 1.0) if value != round(value)]
    if parameter.type == "int" and whole:
        raise BenchError(f"{where}: {whole[0]:g} is no whole number, and type is int.")
    return Number(
        name,
        tuple(_paths(parameter)),
        low,
        high,
        parameter.log,
        parameter.step,
        parameter.type == "int",
        when,
    )


def _paper(
    paper: Mapping[str, Any], choices: Sequence[Choice], numbers: Sequence[Number], where: str
) -> dict[str, Any]:
    levels = {choice.name: choice.names for choice in choices}
    ranges = {number.name: number for number in numbers}
    values: dict[str, Any] = {}
    for name, value in paper.items():
        if name in levels:
            if str(value) not in levels[name]:
                raise BenchError(f"{where}.{name}: {did_you_mean(str(value), levels[name])}")
            values[name] = str(value)
        elif name in ranges:
            number = ranges[name]
            try:
                # YAML takes 1e-4 for a word.
                values[name] = float(value)
            except (TypeError, ValueError):
                values[name] = float("nan")
            if not number.low <= values[name] <= number.high:
                raise BenchError(
                    f"{where}.{name}: {value!r} does not lie between {number.low:g} and {number.high:g}."
                )
        else:
            raise BenchError(f"{where}: {did_you_mean(name, [*levels, *ranges])}")
    return values


def _check_weights(search: Search) -> None:
    known = dict.fromkeys(search.settings.get("loss_weights", {}))
    for choice in search.choices:
        for level in choice.levels:
            known |= dict.fromkeys(level.settings.get("loss_weights", {}))
    for number in search.numbers:
        for path in filter(_is_weight, number.paths):
            loss = path.partition(".")[2]
            if loss not in known:
                raise BenchError(
                    f"{search.source}: space.{number.name}: no trial has a loss {loss!r}. "
                    f"{did_you_mean(loss, known)}"
                )
