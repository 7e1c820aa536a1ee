"""Who stops a run early. Asked inside the training loop, at every validation."""

from __future__ import annotations

import logging
import math
import warnings

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import RandomSampler

from benchmark.credentials import without_secrets
from benchmark.results.order import Trial
from benchmark.search.storage import open_storage, trial_by_number

log = logging.getLogger(__name__)

PRUNERS = ("median", "hyperband", "none")
STARTUP_TRIALS = 4
"""So many trials run to their end before `median` stops any."""
WARM_UP = 0.2
"""The part of a training that `median` leaves alone."""
SHORTEST = 9
"""`hyperband` gives a trial at least this part of a training: one ninth."""


def pruner_of(name: str, *, steps: int) -> BasePruner:
    """The pruner of that name, for trainings of so many steps."""
    if name == "median":
        return MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=math.floor(WARM_UP * steps))
    if name == "hyperband":
        shortest = max(1, steps // SHORTEST)
        return HyperbandPruner(min_resource=shortest, max_resource=SHORTEST * shortest, reduction_factor=3)
    return NopPruner()


class Judge:
    """Tells the search each validation of a run, and says whether the run is to end.

    A storage that does not answer costs the judgement, never the run.
    """

    def __init__(self, trial: Trial, steps: int) -> None:
        self.trial = trial
        self._steps = steps
        self._known: optuna.trial.Trial | None = None

    def __call__(self, step: int, val_dice: float) -> bool:
        """The mean Dice of the validation part after `step`; undefined values judge nothing."""
        if not math.isfinite(val_dice):
            return False
        try:
            trial = self._of_study()
            if len(trial.study.directions) > 1:
                return False
            with warnings.catch_warnings():
                # A run that went back to its checkpoint validates a second time, with the same result.
                warnings.simplefilter("ignore", UserWarning)
                trial.report(val_dice, step)
            return self.trial.pruner != "none" and trial.should_prune()
        except Exception as error:
            where = without_secrets(self.trial.storage)
            log.warning("the search at %s was not told step %d: %s", where, step, type(error).__name__)
            self._known = None
            return False

    def _of_study(self) -> optuna.trial.Trial:
        if self._known is None:
            storage = open_storage(self.trial.storage)
            study = optuna.load_study(
                study_name=self.trial.study,
                storage=storage,
                sampler=RandomSampler(),
                pruner=pruner_of(self.trial.pruner, steps=self._steps),
            )
            self._known = trial_by_number(study, storage, self.trial.number)
        return self._known
