"""A search from its first trial to its last: run here, shared with other launchers, stopped and continued."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence

from optuna.exceptions import StorageInternalError

from benchmark import tracking
from benchmark.credentials import without_secrets
from benchmark.execution.monitor import Monitor
from benchmark.planning.search_loop import Searching, refer, states_of
from benchmark.planning.search_space import Search
from benchmark.processes.devices import Slot
from benchmark.processes.signals import answered
from benchmark.search.trials import counts
from benchmark.vocabulary import BenchError

POLL_SECONDS = 1.0
"""How often the trials of other launchers are looked at while nothing else is to do."""


def pruner_for(search: Search, asked: str | None) -> str:
    """The pruner that was asked for, else the search's usual one; BenchError for one that would judge by something
    else than the search."""
    if len(search.objectives) == 1:
        if "dice" not in search.objectives and asked not in (None, "none"):
            raise BenchError(
                f"--pruner {asked}: a training is judged by its validation Dice, and {search.source} searches for "
                f"{next(iter(search.objectives))}; use --pruner none."
            )
        return asked or ("median" if "dice" in search.objectives else "none")
    if asked not in (None, "none"):
        raise BenchError(
            f"--pruner {asked}: {search.source} has {len(search.objectives)} objectives, and half a training that is "
            "worse in one may be better in the other; nothing is pruned. Leave --pruner out."
        )
    return "none"


def run_trials(
    searching: Searching,
    places: Sequence[Slot],
    *,
    monitor: Callable[[int, int], Monitor],
    waiting: Callable[[int], object],
    mlflow: bool = True,
) -> bool:
    """Run trials until there are enough, here or in other launchers; whether none of them failed.

    `monitor` is called with the number of trials that are done and of those that are to be; `waiting` once, with the
    number of trials that other launchers run while there is nothing to do here. BenchError where the storage cannot be
    reached any more.
    """
    pool = searching.pool
    finished = [trial for trial in searching.trials.all() if trial.state.is_finished()]
    done = sum(map(counts, finished))
    due = max(0, searching.limit - done)
    searching.monitor = monitor(done, due)
    with contextlib.ExitStack() as around:
        if mlflow:
            around.enter_context(tracking.Mirror(searching.settings.results, searching.manifest.name))
        around.enter_context(searching.monitor)
        around.enter_context(answered(pool.request_stop))
        try:
            _until_enough(searching, list(places), waiting)
        except StorageInternalError as error:
            raise BenchError(
                f"The search's trials in {without_secrets(searching.trial.storage)} cannot be reached any more; the "
                "runs in progress were stopped with a checkpoint. The same command continues."
            ) from error
    return not states_of(searching.trials.all()).get("fail")


def _until_enough(searching: Searching, places: list[Slot], waiting: Callable[[int], object]) -> None:
    pool, said = searching.pool, False
    while True:
        searching.ask_at_once()
        pool.run([], places, observer=searching, more=searching.more)
        if pool.stops or searching.timed_out:
            return
        others = searching.trials.others_run()
        if others == 0 and not refer(searching):
            return
        if others:
            if not said:
                said = True
                waiting(others)
            time.sleep(POLL_SECONDS)
