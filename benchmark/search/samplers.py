"""Who suggests a trial's values. Every trial has a generator of its own, seeded by the search's seed and its number.

A search that was interrupted then goes on as it would have gone on, as far as the same trials are finished when it
asks: one at a time always, several at a time up to the order in which they end.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Collection, Sequence
from importlib.util import find_spec
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from benchmark.vocabulary import BenchError, MissingPackageError

SAMPLERS = ("tpe", "random", "cmaes", "gp", "nsgaii")
NEEDS = {"cmaes": ("cmaes",), "gp": ("scipy", "torch")}
STARTUP_TRIALS = 10
"""Drawn at random before TPE and the Gaussian process learn from their results."""
POPULATION = 20
"""Of NSGA-II."""


def sampler_of(name: str, *, seed: int, n_objectives: int = 1) -> BaseSampler:
    """The sampler of that name; with several objectives `tpe` is its multi-objective form.

    MissingPackageError where what it needs is not installed; BenchError where it cannot serve several objectives.
    """
    if missing := [package for package in NEEDS.get(name, ()) if find_spec(package) is None]:
        raise MissingPackageError(
            f"--sampler {name} needs {missing[0]}, which is not installed: pip install {missing[0]}."
        )
    if name == "cmaes" and n_objectives > 1:
        raise BenchError("--sampler cmaes has one objective; with several choose tpe, nsgaii, gp or random.")
    kinds: dict[str, Callable[[int], BaseSampler]] = {
        "tpe": lambda number: TPESampler(seed=number, n_startup_trials=STARTUP_TRIALS),
        "random": lambda number: RandomSampler(seed=number),
        "cmaes": lambda number: CmaEsSampler(seed=number, warn_independent_sampling=False),
        "gp": lambda number: GPSampler(
            seed=number, n_startup_trials=STARTUP_TRIALS, warn_independent_sampling=False
        ),
        "nsgaii": lambda number: NSGAIISampler(seed=number, population_size=POPULATION),
    }
    return _SeededByTrial(kinds[name], seed)


class _SeededByTrial(BaseSampler):
    """A new sampler for each trial; what it needs to know of the others, it reads from the study."""

    def __init__(self, kind: Callable[[int], BaseSampler], seed: int) -> None:
        self._kind = kind
        self._seed = seed
        self._current: tuple[int, BaseSampler] | None = None

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        if self._current is None or self._current[0] != trial.number:
            digest = hashlib.sha256(f"{self._seed} {trial.number}".encode()).digest()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                self._current = trial.number, self._kind(int.from_bytes(digest[:4], "big"))
        return self._current[1]

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return dict[str, Any](self._of(trial).sample_relative(study, trial, search_space))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._of(trial).before_trial(study, trial)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._of(trial).after_trial(study, trial, state, values)


def startup_note(name: str, trials: int) -> str | None:
    """What a person should know of so few trials; None: nothing."""
    if name in ("tpe", "gp") and trials <= STARTUP_TRIALS:
        return f"--sampler {name} draws its first {STARTUP_TRIALS} trials at random: {trials} are a random search."
    return None


def random_note(
    name: str, *, numbers: Sequence[str], choices: Sequence[str], in_every_trial: Collection[str]
) -> str | None:
    """Which parameters a sampler draws at random from first to last, as it cannot learn them; None: none."""
    if name not in ("cmaes", "gp"):
        return None
    learnt = set(in_every_trial) - (set(choices) if name == "cmaes" else set())
    if not (left := [parameter for parameter in (*choices, *numbers) if parameter not in learnt]):
        return None
    kind = "numbers" if name == "cmaes" else "parameters"
    return (
        f"--sampler {name} learns {kind} that every trial has, and draws {', '.join(left)} at random; --only leaves "
        "choices out, and --sampler tpe learns all."
    )
