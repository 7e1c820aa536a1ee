"""Signs of life across machines whose clocks differ or are set back."""

from __future__ import annotations

import os
import time
from pathlib import Path

import fake_runs
import pytest
import torch
from test_search_sharing import opened, suggest

from benchmark.execution.pool import Pool
from benchmark.processes.devices import Slot
from benchmark.processes.watch import LARGEST_SKEW_SECONDS, Watch
from benchmark.results.heartbeat import Beat
from benchmark.results.runs import STALE_AFTER_SECONDS, Heartbeat, RunFolder, RunRecord
from benchmark.search.attributes import BEAT
from benchmark.search.sharing import STALE_SECONDS, Launcher

HOURS = 3600.0


class Clocks:
    """This machine's: `steady` only goes forward, `day` is the time of day, two hours behind of what it was."""

    def __init__(self) -> None:
        self.steady, self.day = 100.0, time.time() - 2 * HOURS

    def watch(self) -> Watch:
        return Watch(lambda: self.steady, lambda: self.day)

    def wait(self, seconds: float) -> None:
        self.steady += seconds
        self.day += seconds


def test_silence_is_counted_from_when_a_sign_was_first_seen_whatever_its_time_says() -> None:
    clocks = Clocks()
    watch = clocks.watch()
    for skew in (-2 * HOURS, 0.0, 2 * HOURS):
        who = f"skewed by {skew}"
        assert watch.silent_for(who, 1, told_at=clocks.day + skew) == 0.0
        clocks.wait(50.0)
        assert watch.silent_for(who, 1, told_at=clocks.day + skew - 50.0) == 50.0
        assert watch.silent_for(who, 2, told_at=clocks.day + skew) == 0.0


def test_what_claims_to_be_older_than_any_clock_differs_need_not_be_watched() -> None:
    clocks = Clocks()
    old = clocks.day - LARGEST_SKEW_SECONDS - 700.0
    assert clocks.watch().silent_for("one", 1, told_at=old) == pytest.approx(700.0)


def test_a_heart_goes_on_beating_when_the_clock_is_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat, folder = Beat(RunFolder(tmp_path, "r"), torch.device("cpu")), RunFolder(tmp_path, "r")
    steady = time.monotonic()
    monkeypatch.setattr("benchmark.results.heartbeat.time.monotonic", lambda: steady)
    beat.tell("train", 1, 9)
    assert folder.heartbeat() is not None
    now = time.time()
    monkeypatch.setattr("benchmark.results.heartbeat.time.time", lambda: now - 2 * HOURS)
    steady += 1.5
    beat.tell("train", 2, 9)
    written = folder.heartbeat()
    assert written is not None
    assert (written.done, written.time) == (2, now - 2 * HOURS)


@pytest.mark.parametrize("skew", [-2 * HOURS, 2 * HOURS])
def test_a_run_of_another_machine_is_taken_over_when_its_heart_was_seen_standing_still(
    tmp_path: Path, skew: float
) -> None:
    order = fake_runs.order(tmp_path)
    folder = RunFolder(tmp_path, order.run_id)

    def beats(step: int) -> None:
        host = f"not-{os.uname().nodename}"
        folder.write_heartbeat(Heartbeat("train", step, 9, host=host, time=time.time() + skew))

    folder.write_record(RunRecord(order.run_id, "running"))
    beats(1)
    clocks = Clocks()
    clocks.day = time.time()
    with Pool(target=fake_runs.execute, preload=("fake_runs",)) as pool:
        pool._watch = clocks.watch()
        states = []
        for step in (1, 1, 2, 2, 2):
            if step == 2 and states[-1] != "running":
                break
            beats(step) if len(states) == 2 else None
            states.append(pool._state_of(folder)[0])
            clocks.wait(STALE_AFTER_SECONDS - 1.0)
        assert states == ["running", "running", "running", "running", "failed"]
        pool.run([order], [Slot("cpu", 1)])
    assert folder.record().state == "done"


def test_a_trial_of_a_machine_whose_clock_is_behind_is_not_given_back(tmp_path: Path) -> None:
    for side in ("here", "there"):
        (tmp_path / side).mkdir()
    journal = tmp_path / "s.journal"
    with Launcher(tmp_path / "there") as there, Launcher(tmp_path / "here") as here:
        clocks = Clocks()
        here._watch = clocks.watch()
        asked = opened(there, tmp_path / "there", journal).next(1, suggest)
        assert asked is not None
        near = opened(here, tmp_path / "here", journal)
        for beat in range(5):
            asked.trial.set_user_attr(BEAT, clocks.day - 2 * HOURS + beat)
            assert not here.is_lost(near.all()[0])
            clocks.wait(STALE_SECONDS - 1.0)
        clocks.wait(2.0)
        assert here.is_lost(near.all()[0])
