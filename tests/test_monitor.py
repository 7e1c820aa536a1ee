"""What a person reads while a grid runs and after it: the time that is left, signs of life, numbers, next commands."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from rich.console import Console
from written_runs import write_regions, write_run

from benchmark.execution import monitor, overview
from benchmark.execution.monitor import PlainMonitor
from benchmark.results.manifests import CellRun
from benchmark.results.runs import Heartbeat, RunRecord
from benchmark.words import counted


class Clock:
    """Stands in for `time.monotonic`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(monitor.time, "monotonic", lambda: self.now)


def order(run_id: str) -> Any:
    return SimpleNamespace(run_id=run_id, results=Path("/nowhere"))


def done(run_id: str, *, train_seconds: float = 9.0) -> RunRecord:
    return RunRecord(run_id, state="done", train_seconds=train_seconds)


def grid(n: int) -> PlainMonitor:
    return PlainMonitor({f"r{i}": f"run {i}" for i in range(n)}, total=n, finished=0)


def test_the_time_that_is_left_is_that_of_the_runs_to_go_at_the_pace_of_the_runs_so_far(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten seconds a run, one at a time: after two of six, four are left."""
    clock, shown = Clock(monkeypatch), grid(6)
    assert shown.eta_seconds() is None
    clock.now += 300  # preparing is no pace of runs
    for number in range(2):
        shown.started(order(f"r{number}"), attempt=1)
        clock.now += 10
        shown.ended(order(f"r{number}"), done(f"r{number}"), elsewhere=False)
    assert shown.eta_seconds() == pytest.approx(40.0, rel=0.01)
    assert "[2/6] done" in capsys.readouterr().out


def test_the_pace_is_that_of_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten quick runs of 10 s, then slow ones of 600 s: ten more take 6,000 s, not what the quick ones would."""
    clock, shown = Clock(monkeypatch), grid(30)
    for number in range(20):
        shown.started(order(f"r{number}"), attempt=1)
        clock.now += 10 if number < 10 else 600
        shown.ended(order(f"r{number}"), done(f"r{number}"), elsewhere=False)
        shown.eta_seconds()
    eta = shown.eta_seconds()
    assert eta is not None
    assert 5_500 < eta < 6_500


def test_the_first_run_is_announced_so_that_nobody_waits_before_a_silent_screen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Clock(monkeypatch)
    shown = grid(2)
    shown.started(order("r0"), attempt=1)
    assert "run 0  starting" in capsys.readouterr().out
    shown.started(order("r1"), attempt=1)
    assert "starting" not in capsys.readouterr().out


def test_a_line_is_said_again_only_when_a_run_came_further(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten looks a minute apart: the run stands at step 3 in all but the last."""
    clock, shown = Clock(monkeypatch), grid(2)
    beats = {
        "r0": Heartbeat("train", 3, 10, 0.5, time=1e12),
        "r1": Heartbeat("evaluate", 1, 9, 0.5, time=1e12),
    }
    monkeypatch.setattr(monitor, "heartbeat_of", lambda results, run_id: beats[run_id])
    for name in beats:
        shown.started(order(name), attempt=1)
    capsys.readouterr()
    for look in range(10):
        clock.now += 60
        if look == 9:
            beats["r0"] = replace(beats["r0"], done=4)
        shown.tick()
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "run 0  train 3/10  loss 0.5",
        "run 1  evaluate 1/9  loss 0.5",
        "run 0  train 4/10  loss 0.5",
    ]


def test_progress_has_the_unit_of_the_tables() -> None:
    assert (
        monitor.where(Heartbeat("train", 3, 10, 0.25, val_dice=0.5512))
        == "train 3/10  loss 0.25  val Dice 55.1 %"
    )


def test_the_last_table_says_over_which_regions_it_averages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dice 0.2 of the oedema and 0.6 of the whole tumour, of which it is a part, are 40.0 in the mean of both."""
    cell = CellRun({"method": "a"}, 0, 0, "r0", "", "data")
    for regions, title in (
        (
            ["edema", "whole tumor"],
            "the regions edema, whole tumor; one that is made of others counts as they do",
        ),
        (["edema"], "Dice [%] on the test part"),
    ):
        rows = [
            ("r0", "", region, "dice", "test", value)
            for region, value in zip(regions, (0.2, 0.6), strict=False)
        ]
        scores = pd.DataFrame(rows, columns=["run_id", "reading", "region", "metric", "split", "value"])
        monkeypatch.setattr(overview, "load_scores", lambda results, run_ids, scores=scores: scores)
        (table,) = overview.summary_tables(tmp_path, [cell], {"r0": "done"})
        assert title in str(table.title)
        assert ("mean over" in str(table.title)) == (len(regions) > 1)
        out = Console(file=io.StringIO(), width=100)
        out.print(table)
        assert ("40.0" if len(regions) > 1 else "20.0") in out.file.getvalue()  # type: ignore[attr-defined]


def test_numbers_are_printed_for_people() -> None:
    """Four digits; the costs of the only reading without its empty name; of steps and epochs what decides."""
    content = {"train_seconds": 12.3456789, "costs": {"": {"parameters": 5, "gflops": 1.23456}}, "n": (1, 2)}
    assert overview._readable(content) == {
        "train_seconds": 12.35,
        "costs": {"parameters": 5, "gflops": 1.235},
        "n": [1, 2],
    }
    assert overview._in_force({"training": {"steps": 120, "epochs": 400}}) == {"training": {"steps": 120}}
    assert overview._in_force({"training": {"steps": None, "epochs": 400}})["training"]["epochs"] == 400
    out = Console(file=io.StringIO(), width=100)
    overview._print_block(out, "Facts", {"costs": {"": {"gflops": 1.0}}})
    assert "''" not in out.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 cases"), (1, "1 case"), (2, "2 cases"), (3000, "3,000 cases")]
)
def test_numbers_have_their_nouns(number: int, words: str) -> None:
    assert counted(number, "case") == words


def test_an_irregular_plural_is_given() -> None:
    assert counted(2, "study", "studies") == "2 studies"


def test_a_summary_of_several_regions_says_that_it_averages_them(tmp_path: Path) -> None:
    """A union of labels among the regions counts its labels twice, which nobody would guess from one number."""
    write_regions(tmp_path, "a", {"core": {"dice": [0.2]}, "whole": {"dice": [0.8]}})
    write_run(tmp_path, "b", [0.5])
    of = "on the test part"
    for run_id, title in (
        (
            "a",
            f"Dice [%] {of}, mean over the regions core, whole; one that is made of others counts as they do",
        ),
        ("b", f"Dice [%] {of}"),
    ):
        (table,) = overview.summary_tables(tmp_path, [CellRun({}, 0, 0, run_id)], {run_id: "done"})
        assert table.title == title
        assert [str(cell) for cell in table.columns[0].cells] == ["50.0"]
