"""The faults of `make endure`, each met once by runs that are no trainings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from slow_tests import slow_after
from test_streams import run as run
from test_streams import states

from tests.endurance import faults


@pytest.mark.parametrize("kind", slow_after(1, faults.DISKS))
def test_a_disk_that_fails_costs_an_attempt_and_nothing_else(run: str, tmp_path: Path, kind: str) -> None:
    def start(**environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*run.split(), "--retry-failed"],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def disturbed(chance: float) -> subprocess.CompletedProcess[str]:
        return start(BENCH_FAULT=f"{kind}:{chance}:1", PYTHONPATH=faults.path_with(faults.INJECTED))

    always = disturbed(1.0)
    assert always.returncode == (2 if kind.startswith("E") else -9), always.stderr
    sometimes = disturbed(0.15)
    assert "Traceback" not in always.stderr + sometimes.stderr
    assert start().returncode == 0
    assert states(tmp_path) == ["done", "done"]
    for path in (tmp_path / "results").rglob("*.json"):
        assert path.read_text().startswith("{"), path


@pytest.mark.parametrize("number", faults.SIGNALS)
def test_signals_are_met_by_who_is_started_by_nohup(number: signal.Signals) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        words = "import time; print(1, flush=True); time.sleep(60)"
        process = subprocess.Popen(
            [sys.executable, "-c", words],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            preexec_fn=faults.meet_signals,
        )
    finally:
        signal.signal(signal.SIGHUP, before)
    assert process.stdout is not None
    with process.stdout as said:
        assert said.readline() == b"1\n"
        process.send_signal(number)
    assert process.wait(30) != 0


def test_what_outlives_its_launcher_is_noticed_and_a_traceback_too(tmp_path: Path) -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    family = faults.relatives(sleeper.pid)
    assert faults.left_alive(family, seconds=0.3) == [f"1 processes are left: {sleeper.pid}"]
    sleeper.kill()
    sleeper.wait()
    assert faults.left_alive(family) == []
    (tmp_path / "log").write_text("fine\nTraceback (most recent call last):\n")
    assert faults.tracebacks(tmp_path / "log", 0) == ["it showed a traceback"]
    assert faults.tracebacks(tmp_path / "log", 5) == ["it showed a traceback"]
    assert faults.tracebacks(tmp_path / "log", 20) == []
