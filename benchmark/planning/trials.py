"""From a search to its trials' runs, and from a run back to the trial that it would be. Needs no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import BaseTrial

from benchmark.config import RunConfig, run_config
from benchmark.planning.launch import PlannedRun, decide_auto
from benchmark.planning.search_space import Number, Params, Search, SearchTarget, applies
from benchmark.vocabulary import BenchError

CHECKED_COMBINATIONS = 100
"""So many combinations of choices are built before the first trial; of more, each choice in turn."""


@dataclass(frozen=True)
class Trainings:
    """A search on one data set, in one size: makes a run of a trial's values."""

    search: Search
    place: SearchTarget
    fold: int = 0
    bfloat16: bool = False
    digest: Callable[[str], str | None] = lambda method: None

    @property
    def seed(self) -> int:
        """Of every trial's training."""
        return self.place.profile.seeds[0]

    def suggest(self, trial: BaseTrial) -> dict[str, Any]:
        """The trial's values; those that its choices rule out are not asked for."""
        params: dict[str, Any] = {}
        for choice in self.search.choices:
            if applies(choice, params):
                params[choice.name] = trial.suggest_categorical(choice.name, choice.names)
        for number in self.search.applicable(params, self.place):
            if number.integer:
                step = int(number.step or 1)
                params[number.name] = trial.suggest_int(
                    number.name, int(number.low), int(number.high), step=step, log=number.log
                )
            else:
                params[number.name] = trial.suggest_float(
                    number.name, number.low, number.high, step=number.step, log=number.log
                )
        return params

    def config(self, params: Params, *, seed: int | None = None) -> RunConfig:
        """The trial's run; with the profile's first seed where no other is given."""
        settings = self.search.run_settings(params, self.place)
        settings |= {
            "fold": self.fold,
            "seed": self.seed if seed is None else seed,
        }
        if (digest := self.digest(str(settings.get("method")))) is not None:
            settings["method_digest"] = digest
        source = f"{self.search.source} with profile {self.place.profile.name}, {described(params)}"
        config = run_config(decide_auto(settings, self.bfloat16), source=source)
        if config.training.best_on == "test":
            raise BenchError(
                f"{source}: training.best_on: test chooses on cases that a search may not see; leave it out of a copy "
                "of the profile."
            )
        return config

    def run(self, params: Params, *, trial: str, seed: int | None = None) -> PlannedRun:
        """The same as a cell of a grid, whose factors are the trial's number and values."""
        factors = {"trial": trial, **{name: shown(value) for name, value in params.items()}}
        return PlannedRun(factors, self.config(params, seed=seed))

    def probes(self) -> list[PlannedRun]:
        """Runs that show whether every choice, and both ends of every number, make a network that can be built."""
        combinations = list(self.search.combinations())
        if len(combinations) > CHECKED_COMBINATIONS:
            combinations = list(_one_at_a_time(self.search, combinations))
        runs, probed = [], set[str]()
        for choices in combinations:
            numbers = self.search.applicable(choices, self.place)
            middle = {number.name: number.probes[len(number.probes) // 2] for number in numbers}
            everything: list[dict[str, Any]] = [{**choices, **middle}]
            for number in numbers:
                if number.name not in probed:
                    probed.add(number.name)
                    everything += [{**choices, **middle, number.name: value} for value in number.probes]
            runs += [self.run(params, trial="") for params in everything]
        if idle := [number.name for number in self.search.numbers if number.name not in probed]:
            raise BenchError(
                f"{self.search.source}: space.{idle[0]} has no effect: no trial has its settings. Leave it out."
            )
        return runs

    def in_every_trial(self) -> tuple[str, ...]:
        """The parameters that no choice rules out."""
        of_each = [
            {*choices, *(n.name for n in self.search.applicable(choices, self.place))}
            for choices in self.search.combinations()
        ]
        return tuple(name for name in self.search.parameters if all(name in own for own in of_each))

    def params_of(self, config: RunConfig) -> dict[str, Any] | None:
        """The values of the trial that is this run; None where it lies outside of the search's space."""
        wanted = config.canonical_json()
        settings = config.model_dump(mode="json")
        for choices in self.search.combinations():
            if not all(
                _contains(settings, level.settings)
                for choice in self.search.choices
                for level in choice.levels
                if choices.get(choice.name) == level.name
            ):
                continue
            params: dict[str, Any] = dict(choices)
            numbers = self.search.applicable(choices, self.place)
            values = [_value_of(number, settings) for number in numbers]
            for number, value in zip(numbers, values, strict=True):
                if value is not None and number.low <= value <= number.high and _on_step(number, value):
                    params[number.name] = value
            if len(params) == len(choices) + len(numbers):
                try:
                    if self.config(params).canonical_json() == wanted:
                        return params
                except BenchError:
                    continue
        return None

    def reference(self, best: Params) -> dict[str, Any]:
        """The best trial's values with those of the paper in their place, as far as they then apply."""
        mixed = {**best, **self.search.paper}
        params: dict[str, Any] = {}
        for choice in self.search.choices:
            if applies(choice, params):
                params[choice.name] = mixed.get(choice.name, choice.names[0])
        for number in self.search.applicable(params, self.place):
            params[number.name] = mixed.get(number.name, number.probes[len(number.probes) // 2])
        return params

    def key(self, fingerprints: Sequence[str], *how: object) -> str:
        """Stands for everything that decides what a trial is and who suggests it: the same search has the same key."""
        content = [
            self.search.definition(),
            [
                [choice.name, [[v.name, dict(v.settings)] for v in choice.levels]]
                for choice in self.search.choices
            ],
            [[n.name, n.paths, n.step, n.integer, n.when] for n in self.search.numbers],
            [probe.config.canonical_json() for probe in self.probes()],
            self.search.validations,
            list(fingerprints),
            list(how),
        ]
        return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()[:8]


def _one_at_a_time(search: Search, combinations: Sequence[Mapping[str, str]]) -> Iterator[dict[str, str]]:
    """The first combination of every choice's every level."""
    seen = set[tuple[str, str]]()
    for params in combinations:
        new = {(name, level) for name, level in params.items()} - seen
        if new:
            seen |= new
            yield dict(params)


def _contains(settings: Mapping[str, Any], part: Mapping[str, Any]) -> bool:
    """Whether nested settings hold all of a part of them."""
    for name, value in part.items():
        if name not in settings:
            return False
        if isinstance(value, Mapping):
            if not isinstance(settings[name], Mapping) or not _contains(settings[name], value):
                return False
        elif settings[name] != value and not _is_number(value):
            return False
    return True


def _is_number(value: object) -> bool:
    # Numbers may be searched values, which replace those of a choice; the whole configuration is compared in the end.
    return isinstance(value, int | float) and not isinstance(value, bool)


def _value_of(number: Number, settings: Mapping[str, Any]) -> float | None:
    values = []
    for path in number.paths:
        value: Any = settings
        for key in path.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None:
            values.append(value)
    same = len(set(map(str, values))) == 1 and _is_number(values[0])
    return float(values[0]) if same else None


def _on_step(number: Number, value: float) -> bool:
    step = 1.0 if number.integer and number.step is None else number.step
    if step is None:
        return True
    steps = (value - number.low) / step
    return abs(steps - round(steps)) < 1e-9


def shown(value: object) -> str:
    """A trial's value for people."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def described(params: Params) -> str:
    """A trial's values in one line."""
    return " ".join(f"{name}={shown(value)}" for name, value in params.items())
