"""The study behind a search: asked for trials, told what came of their runs.

A trial that is running belongs to a launcher (see `sharing`). What a dead launcher had is taken up by the next one that
asks, with the same values, hence the same run, which continues from its checkpoint or is done already.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
import pandas as pd
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import NopPruner
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from benchmark.credentials import is_address
from benchmark.files.writing import exclusive
from benchmark.results.means import over_cases_then_regions
from benchmark.results.runs import RunFolder
from benchmark.search.attributes import (
    AGAIN,
    BEAT,
    DEFINITION,
    FAILURE,
    GIVEN_BACK,
    KNOWN,
    KNOWN_RUN,
    MEANS,
    REASON,
    REFERENCE,
    RUN,
)
from benchmark.search.pruning import pruner_of
from benchmark.search.sharing import Launcher
from benchmark.search.storage import open_storage, trial_by_number

Direction = Literal["maximize", "minimize"]
Suggest = Callable[[optuna.trial.BaseTrial], Mapping[str, Any]]


@dataclass(frozen=True)
class OwnTrial:
    """A trial that this launcher has."""

    trial: optuna.trial.Trial
    frozen: FrozenTrial

    @property
    def number(self) -> int:
        return self.trial.number

    @property
    def is_reference(self) -> bool:
        return REFERENCE in self.frozen.user_attrs


class Trials:
    """A search's trials, shared with other launchers."""

    def __init__(
        self,
        launcher: Launcher,
        *,
        results: Path,
        storage: str,
        name: str,
        directions: Mapping[str, Direction],
        definition: Mapping[str, Any],
        sampler: BaseSampler,
        pruner: str,
    ) -> None:
        """Creates the study where it does not exist. `directions` by the name of the objective."""
        self.launcher, self.name = launcher, name
        self._one_machine = not is_address(storage)
        # Launchers with results folders of their own may share a journal; its lock is beside it.
        beside = Path(storage).parent if self._one_machine else results / "searches"
        self._lock = beside / f".{name}.lock"
        self._storage = opened = open_storage(storage)
        with exclusive(self._lock, wait=True), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Hyperband assigns trials to its brackets by proportions, whatever the unit of steps.
            self.study = optuna.create_study(
                storage=opened,
                study_name=name,
                directions=list(directions.values()),
                sampler=sampler,
                pruner=pruner_of(pruner, steps=9),
                load_if_exists=True,
            )
            if DEFINITION not in self.study.user_attrs:
                self.study.set_metric_names(list(directions))
                self.study.set_user_attr(DEFINITION, dict(definition))
        # Attributes and reports of a trial are written without asking the sampler.
        self._plain = optuna.load_study(
            study_name=name, storage=opened, sampler=RandomSampler(), pruner=NopPruner()
        )

    def _to_be_written(self, number: int) -> optuna.trial.Trial:
        return trial_by_number(self._plain, self._storage, number)

    def all(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def next(self, limit: int, suggest: Suggest) -> OwnTrial | None:
        """A trial to work on: one that a dead launcher left, one that waits, or a new one while there are fewer than
        `limit`. None: nothing to begin now."""
        with exclusive(self._lock, wait=True):
            trials = self.all()
            for trial in trials:
                if trial.state == TrialState.RUNNING:
                    if self.launcher.is_lost(trial):
                        self._give_back(trial)
                    elif self.launcher.is_orphan(trial, one_machine=self._one_machine):
                        return self._taken(trial_by_number(self.study, self._storage, trial.number), suggest)
            waiting = any(trial.state == TrialState.WAITING for trial in self.all())
            if not waiting and sum(map(counts, trials)) >= limit:
                return None
            asked = self._taken(self.study.ask(), suggest)
            return None if self._is_one_too_many(asked, limit) else asked

    def _is_one_too_many(self, asked: OwnTrial, limit: int) -> bool:
        """Whether launchers on other machines, which no lock of ours holds up, asked for the last trials at the same
        moment; this one is then withdrawn."""
        numbers = [trial.number for trial in self.all() if counts(trial)]
        if self._one_machine or asked.number not in numbers[limit:]:
            return False
        asked.trial.set_user_attr(GIVEN_BACK, True)
        asked.trial.set_user_attr(REASON, "There were enough trials already.")
        self.study.tell(asked.number, state=TrialState.FAIL, skip_if_finished=True)
        return True

    def _taken(self, trial: optuna.trial.Trial, suggest: Suggest) -> OwnTrial:
        suggest(trial)
        for name, value in self.launcher.claim().items():
            trial.set_user_attr(name, value)
        return OwnTrial(trial, self._frozen(trial.number))

    def _frozen(self, number: int) -> FrozenTrial:
        return next(trial for trial in self.all() if trial.number == number)

    def note_run(self, asked: OwnTrial, run_id: str) -> None:
        """Write down which run the trial is."""
        asked.trial.set_user_attr(RUN, run_id)

    def beat(self, open_trials: Sequence[OwnTrial], now: float) -> None:
        """A sign of life for launchers with other results folders; in one folder locks tell."""
        for asked in open_trials:
            with _unless_told():
                asked.trial.set_user_attr(BEAT, now)

    def _give_back(self, trial: FrozenTrial) -> None:
        """Let others do a trial whose machine is gone."""
        plain = self._to_be_written(trial.number)
        plain.set_user_attr(GIVEN_BACK, True)
        plain.set_user_attr(REASON, "Its launcher gave no sign of life any more.")
        repeated = {
            name: value for name, value in trial.user_attrs.items() if name in (KNOWN, KNOWN_RUN, REFERENCE)
        }
        if all(other.user_attrs.get(AGAIN) != trial.number for other in self.all()):
            self.study.enqueue_trial(dict(trial.params), user_attrs={**repeated, AGAIN: trial.number})
        self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    def enqueue_known(self, params: Mapping[str, Any], *, grid: str, run_id: str) -> None:
        """Let the trial of a run that a grid has finished be told next, beyond the number that was asked for; once."""
        with exclusive(self._lock, wait=True):
            if all(trial.user_attrs.get(KNOWN_RUN) != run_id for trial in self.all()):
                self.study.enqueue_trial(dict(params), user_attrs={KNOWN: grid, KNOWN_RUN: run_id})

    def enqueue_reference(self, params: Mapping[str, Any], best: int) -> bool:
        """Let the values be tried that the best trial is compared with, once; whether they are still to be tried."""
        with exclusive(self._lock, wait=True):
            every = [trial for trial in self.all() if GIVEN_BACK not in trial.user_attrs]
            own = [trial for trial in every if trial.user_attrs.get(REFERENCE) == best]
            if not own:
                self.study.enqueue_trial(dict(params), user_attrs={REFERENCE: best})
                return True
            return not any(trial.state.is_finished() for trial in own)

    def others_run(self) -> int:
        """How many trials other launchers have."""
        running = [trial for trial in self.all() if trial.state == TrialState.RUNNING]
        return sum(not self.launcher.has(trial) for trial in running)

    def was_pruned_here(self, asked: OwnTrial, folder: RunFolder) -> bool:
        """Whether this search has pruned that run in another trial, or in this one before its launcher died."""
        others = [trial for trial in self.all() if trial.user_attrs.get(RUN) == folder.run_id]
        words = folder.record().error or ""
        return words.startswith(f"Search {self.name}, trial {asked.number}:") or any(
            trial.state == TrialState.PRUNED for trial in others
        )

    def report(self, number: int, curve: Mapping[int, float]) -> None:
        """Tell the validations of a run that the search was not told, by step."""
        if len(self.study.directions) > 1:
            return
        frozen = self._frozen(number)
        trial = self._to_be_written(number)
        with _unless_told():
            for step, value in curve.items():
                if step not in frozen.intermediate_values:
                    trial.report(value, step)

    def tell_done(self, number: int, values: Sequence[float], constraints: Mapping[str, float]) -> None:
        """The trial is complete; a constraint is kept where its number is not positive."""
        frozen = self._frozen(number)
        trial = self._to_be_written(number)
        with _unless_told():
            for name, value in constraints.items():
                if name not in frozen.constraints:
                    trial.set_constraint(name, value)
            self.study.tell(number, list(values), skip_if_finished=True)

    def note_means(self, number: int, means: Mapping[str, float]) -> None:
        """Keep the means of all metrics a report shows."""
        trial = self._to_be_written(number)
        with _unless_told():
            trial.set_user_attr(MEANS, dict(means))

    def tell_pruned(self, number: int) -> None:
        with _unless_told():
            self.study.tell(number, state=TrialState.PRUNED, skip_if_finished=True)

    def tell_failed(self, number: int, *, failure: str, reason: str) -> None:
        trial = self._to_be_written(number)
        with _unless_told():
            trial.set_user_attr(FAILURE, failure)
            trial.set_user_attr(REASON, reason)
            self.study.tell(number, state=TrialState.FAIL, skip_if_finished=True)


def _unless_told() -> contextlib.AbstractContextManager[None]:
    """A trial that another machine gave back is told already; what comes of it here comes too late."""
    return contextlib.suppress(UpdateFinishedTrialError)


def counts(trial: FrozenTrial) -> bool:
    """Whether a trial is one of those that were asked for, rather than known before, for reference, or given back."""
    return not {KNOWN, REFERENCE, GIVEN_BACK} & set(trial.user_attrs)


def curve_of(folder: RunFolder) -> dict[int, float]:
    """Validation Dice by step."""
    history = folder.history()
    if "val_dice" not in history:
        return {}
    rows = history.dropna(subset="val_dice")
    return {int(step): float(dice) for step, dice in zip(rows["step"], rows["val_dice"], strict=True)}


def validation_means(scores: pd.DataFrame, metrics: Sequence[str]) -> dict[str, float]:
    """Each metric's mean over cases within a region, then over regions, of a run's first reading; NaN if undefined."""
    first = scores[scores["reading"] == scores["reading"].iloc[0]]
    means = over_cases_then_regions(first, ["metric"]).reindex(list(metrics))
    return {str(metric): float(mean) for metric, mean in means.items()}
