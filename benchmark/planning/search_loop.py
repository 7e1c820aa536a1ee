"""A search at work: trials become runs of the pool, and what comes of a run is told to the search."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from optuna.trial import FrozenTrial

from benchmark.execution.monitor import Monitor, first_line
from benchmark.execution.pool import Observer, Pool
from benchmark.files.writing import StorageError
from benchmark.planning import setup
from benchmark.planning.setup import LaunchSettings, PreparedData, order_of
from benchmark.planning.trials import Trainings, described
from benchmark.results.manifests import GridManifest, write_manifest
from benchmark.results.order import RunOrder, Trial, has_all
from benchmark.results.runs import RunFolder, RunRecord, state_of
from benchmark.scoring.metrics import METRICS, differ_in_print
from benchmark.search.attributes import FAILURE, GIVEN_BACK, RUN
from benchmark.search.trials import OwnTrial, Trials, counts, curve_of, validation_means
from benchmark.vocabulary import BenchError

TRIES = 3
"""How often a run whose worker was killed is continued before its trial has failed."""
BEAT_SECONDS = 60.0
ASK_SECONDS = 1.0
"""How often a storage is asked for a trial while there is none."""
SHOWN_METRICS = ("dice", "fpv_ml", "fnv_ml")
"""Noted with every trial, whatever is searched for."""


@dataclass
class Searching(Observer):
    """Hands the pool a run for every trial, and the search what came of it."""

    trainings: Trainings
    trials: Trials
    pool: Pool
    data: PreparedData
    settings: LaunchSettings
    manifest: GridManifest
    trial: Trial
    """As every trial of the search; its number is replaced."""
    limit: int
    deadline: float | None
    labels: dict[str, str]
    root: Path | None
    fingerprints: tuple[str, ...]
    """Of the data that its trials see."""
    monitor: Monitor = field(default_factory=lambda: Monitor({}, total=0, finished=0))
    _open: dict[int, OwnTrial] = field(default_factory=dict)
    _names: dict[int, str] = field(default_factory=dict)
    _begun_here: set[str] = field(default_factory=set)
    _again: list[RunOrder] = field(default_factory=list)
    _tries: Counter[int] = field(default_factory=Counter)
    _beaten: float = 0.0
    _in_vain: float = -math.inf
    """When the storage was last asked for a trial and had none."""

    @property
    def timed_out(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline

    def more(self) -> RunOrder | None:
        """The next run to work on; trials whose runs are known already are told on the way."""
        if self._again:
            return self._again.pop()
        if time.monotonic() - self._in_vain < ASK_SECONDS:
            return None
        while not self.timed_out and not self.pool.stops:
            asked = self.trials.next(self.limit, self.trainings.suggest)
            if asked is None:
                self._in_vain = time.monotonic()
                return None
            self._open[asked.number] = asked
            if not counts(asked.frozen):
                # Known, or the paper's values: beyond the number that was asked for.
                self.monitor.total += 1
            try:
                order = self._order(asked)
            except StorageError:
                raise
            except BenchError as error:
                self._fail(asked.number, "code", str(error))
                continue
            if not self._known(asked, order):
                return order
        return None

    def ask_at_once(self) -> None:
        """There may be a trial now, whatever the storage said a moment ago."""
        self._in_vain = -math.inf

    def _order(self, asked: OwnTrial) -> RunOrder:
        params = self.trainings.suggest(asked.trial)
        planned = self.trainings.run(params, trial=str(asked.number))
        roots = {planned.config.dataset: self.root}
        (checked,) = setup.inspect(self.pool, [planned], self.trainings.search, roots)
        ready, usual = self.data.wanted(checked), self.data.usual(checked)
        cell = checked.run.cell(ready.fingerprint)
        write_manifest(self.settings.results, replace(self.manifest, cells=(cell,)))
        self.trials.note_run(asked, cell.run_id)
        self._names[asked.number] = f"trial {asked.number}  {described(params)}"
        trial = replace(self.trial, number=asked.number)
        if asked.is_reference:
            # It is there to be compared with, so it must come to its end.
            trial = replace(trial, pruner="none")
        order = order_of(checked.run.config, cell.run_id, self.data, ready, usual, self.settings)
        return replace(order, trial=trial)

    def _known(self, asked: OwnTrial, order: RunOrder) -> bool:
        """Tell a trial whose run has ended before; whether it has."""
        folder = _folder(order)
        state, failure = state_of(folder)
        same = [trial for trial in self.trials.all() if trial.user_attrs.get(RUN) == order.run_id]
        pruned = state == "pruned" and not asked.is_reference and self.trials.was_pruned_here(asked, folder)
        failed = state == "failed" and (failure == "diverged" or any(FAILURE in t.user_attrs for t in same))
        if not (has_all(order, state) or pruned or failed):
            return False
        self._tell(order, folder.record())
        self.monitor.known(self._named(order))
        return True

    def _named(self, order: RunOrder) -> RunOrder:
        """The order, for the monitor: two trials that are one run have a name each."""
        self.labels[order.run_id] = self._names[_number(order)]
        return order

    def started(self, order: RunOrder, *, attempt: int) -> None:
        self._begun_here.add(order.run_id)
        self.monitor.started(self._named(order), attempt=attempt)

    def retried(self, order: RunOrder, record: RunRecord) -> None:
        self.monitor.retried(self._named(order), record)

    def waiting(self, orders: Sequence[RunOrder]) -> None:
        # A run that two trials of this launcher share is waited for by one of them.
        if others := [order for order in orders if order.run_id not in self._begun_here]:
            self.monitor.waiting(others)

    def stopping(self, count: int, *, killed: bool) -> None:
        self.monitor.stopping(count, killed=killed)

    def tick(self) -> None:
        self.monitor.tick()
        if time.monotonic() - self._beaten > BEAT_SECONDS:
            self._beaten = time.monotonic()
            self.trials.beat(list(self._open.values()), time.time())

    def ended(self, order: RunOrder, record: RunRecord, *, elsewhere: bool) -> None:
        number = _number(order)
        elsewhere = elsewhere and order.run_id not in self._begun_here
        # A run that a grid has trained, and whose validation part nobody came to score, is as good as interrupted.
        unscored = record.state in ("done", "trained") and not has_all(order, record.state)
        if unscored:
            error = f"Its validation part could not be scored; see {_folder(order).log_file}."
            record = replace(record, state="failed", failure="data", error=error)
        if unscored or record.failure == "interrupted":
            self._tries[number] += 1
            if self.pool.stops:
                # The trial stays open; the next start continues its run.
                self.monitor.ended(self._named(order), record, elsewhere=elsewhere)
                return
            if self._tries[number] < TRIES:
                self._again.append(order)
                self.monitor.retried(self._named(order), record)
                return
        self._tell(order, record)
        self.monitor.ended(self._named(order), record, elsewhere=elsewhere)

    def _tell(self, order: RunOrder, record: RunRecord) -> None:
        number = _number(order)
        self.trials.report(number, curve_of(_folder(order)))
        if record.state == "pruned":
            self.trials.tell_pruned(number)
        elif record.state == "failed":
            self._fail(number, record.failure or "code", first_line(record.error))
        else:
            self._complete(order)
        self._open.pop(number, None)

    def _complete(self, order: RunOrder) -> None:
        search, number = self.trainings.search, _number(order)
        wanted = dict.fromkeys([*search.objectives, *search.constraints, *SHOWN_METRICS])
        means = validation_means(_folder(order).validation(), list(wanted))
        undefined = [m for m in (*search.objectives, *search.constraints) if math.isnan(means[m])]
        if undefined:
            self._fail(number, "data", f"{undefined[0]} is undefined on every validation case of the fold.")
            return
        self.trials.note_means(number, {name: value for name, value in means.items() if value == value})
        self.trials.tell_done(
            number,
            [means[metric] for metric in search.objectives],
            {metric: means[metric] - limit for metric, limit in search.constraints.items()},
        )
        values = "  ".join(f"{metric} {means[metric]:.4g}" for metric in search.objectives)
        self._names[number] = f"{self._names[number]}  {values}"

    def _fail(self, number: int, failure: str, reason: str) -> None:
        self.trials.tell_failed(number, failure=failure, reason=reason)
        self._open.pop(number, None)


def _folder(order: RunOrder) -> RunFolder:
    return RunFolder(order.results, order.run_id)


def _number(order: RunOrder) -> int:
    assert order.trial is not None
    return order.trial.number


def best_of(
    trials: Sequence[FrozenTrial], objectives: Mapping[str, str], *, alone: bool = False
) -> FrozenTrial | None:
    """The complete trial with the best value of those that keep all constraints; the first of equals, and none where
    no values differ in print, as in the report. `alone`: a single one is the best."""
    complete = [t for t in trials if t.values is not None and t.state.name == "COMPLETE" and is_feasible(t)]
    objective, direction = next(iter(objectives.items()))
    values = (trial.values[0] for trial in complete)
    if not (alone and len(complete) == 1) and not differ_in_print(values, METRICS[objective].scale):
        return None
    sign = 1 if direction == "maximize" else -1
    return max(complete, key=lambda trial: (sign * trial.values[0], -trial.number), default=None)


def is_feasible(trial: FrozenTrial) -> bool:
    return all(value <= 0 for value in trial.constraints.values())


def refer(searching: Searching) -> bool:
    """Let the paper's values be tried beside the best ones; whether that is still to be done."""
    search = searching.trainings.search
    trials = searching.trials.all()
    if not search.paper or len(search.objectives) > 1:
        return False
    best = best_of(trials, search.objectives, alone=True)
    if best is None:
        return False
    params = searching.trainings.reference(best.params)
    if searching.trainings.config(params) == searching.trainings.config(best.params):
        return False
    return searching.trials.enqueue_reference(params, best.number)


def states_of(trials: Sequence[FrozenTrial]) -> Mapping[str, int]:
    """How many trials are in each of Optuna's states, in words."""
    words = Counter(trial.state.name.lower() for trial in trials if GIVEN_BACK not in trial.user_attrs)
    return {word: words[word] for word in ("complete", "pruned", "fail", "running", "waiting") if words[word]}
