"""A grid that is killed in every phase, by every signal, and whose disk fails; run by `python -m tests.endurance`.

After each fault: no process of the launch is left, and its output has no traceback. After the kills, and after each
kind of disk, a start that nothing disturbs makes the scores and weights of a grid that nothing disturbed.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from benchmark.results.runs import RunFolder, state_of

INJECTED = Path(__file__).parent / "injected"
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
DISKS = ("EIO", "ENOSPC", "torn", "lost")
PHASES = {
    "start-up": "*.yaml",
    "phantoms": "{results}/phantoms/*/*/*/CTres.nii.gz",
    "preparing": "{results}/stores/*/cases/*/image.npy",
    "first workers": "{results}/runs/*/attempts.json",
    "training": "{results}/runs/*/heartbeat.json",
    "scoring": "{results}/runs/*/last.safetensors",
}
"""By which file, written since the launch, one sees that a phase has begun; the first needs none."""
PATIENCE_SECONDS = 300.0
ENDING_SECONDS = 90.0
"""So long a launcher that was told to end may save checkpoints."""

Launch = Callable[[Path, str, dict[str, str]], "subprocess.Popen[bytes]"]
"""Starts the grid in a folder, with results of that name and that much more of an environment."""


def endure(
    folder: Path, launch: Launch, chance: random.Random, *, disturbed: str, end: Callable[[], list[str]]
) -> list[str]:
    """Meet every fault once; returns what was wrong. `end` brings the grid to its end, and says what it has not."""
    wrong: list[str] = []
    results = folder / disturbed
    for phase in PHASES:
        for number in SIGNALS:
            make_due(folder, results, phase)
            wrong += one_kill(folder, results, launch, phase, number, pause=chance.uniform(0.0, 1.5))
    wrong += [f"after the kills: {text}" for text in end()]
    for kind in DISKS:
        # A fault while data are prepared ends the launch: trainings meet theirs with data that are there.
        for phase, launches in (("preparing", 1), ("training", 3)):
            make_due(folder, results, phase)
            remove_runs(results, keep=0)
            fault = f"{kind}:0.02:{chance.randrange(1000)}"
            wrong += one_disk(folder, results, launch, fault, launches=launches)
            wrong += [f"after {fault} while {phase}: {text}" for text in end()]
    return wrong


def make_due(folder: Path, results: Path, phase: str) -> None:
    """Phantoms, prepared data and runs are made once; for their phases most of them are made again."""
    if phase in ("phantoms", "preparing"):
        for path in sorted(folder.glob(PHASES[phase].format(results=results.name)))[1:]:
            path.unlink()
    else:
        remove_runs(results, keep=1)


def remove_runs(results: Path, *, keep: int) -> None:
    """All but so many that are done."""
    finished = [
        path for path in results.glob("runs/*") if state_of(RunFolder(results, path.name))[0] == "done"
    ]
    for path in sorted(finished)[keep:]:
        shutil.rmtree(path)


def has_begun(folder: Path, results: Path, phase: str, since: float) -> bool:
    """Whether a launch that began at `since` has come so far."""
    files = folder.glob(PHASES[phase].format(results=results.name))
    with contextlib.suppress(FileNotFoundError):
        return phase == "start-up" or any(file.stat().st_mtime >= since for file in files)
    return False


def one_kill(
    folder: Path,
    results: Path,
    launch: Launch,
    phase: str,
    number: signal.Signals,
    *,
    pause: float,
) -> list[str]:
    """Send the launcher a signal soon after a phase began."""
    name = f"{number.name} while {phase}"
    log = folder / f"{results.name}.log"
    said = log.stat().st_size if log.exists() else 0
    since = time.time()
    process = launch(folder, results.name, {})
    end = time.monotonic() + PATIENCE_SECONDS
    while not has_begun(folder, results, phase, since) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(pause)
    family = relatives(process.pid)
    process.send_signal(number)
    late = []
    try:
        process.wait(ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        late = [f"it had not ended after {ENDING_SECONDS:.0f} s"]
        process.kill()
    code = process.wait()
    wrong = [f"{name}: {text}" for text in [*late, *left_alive(family), *tracebacks(log, said)]]
    print(f"{name}: ended with {code}{''.join(f'; {text}' for text in wrong)}", flush=True)
    return wrong


def one_disk(folder: Path, results: Path, launch: Launch, fault: str, *, launches: int) -> list[str]:
    """Run with a disk that fails now and then, up to so many times."""
    log = folder / f"{results.name}.log"
    wrong: list[str] = []
    for _ in range(launches):
        said = log.stat().st_size if log.exists() else 0
        process = launch(folder, results.name, {"BENCH_FAULT": fault, "PYTHONPATH": path_with(INJECTED)})
        while process.poll() is None:
            family = relatives(process.pid)
            time.sleep(0.5)
        wrong += [f"{fault}: {text}" for text in [*left_alive(family), *tracebacks(log, said)]]
        print(f"disk {fault}: ended with {process.returncode}", flush=True)
        if process.returncode == 0:
            break
    return wrong


def meet_signals() -> None:
    """For a process about to be started: by `nohup` or in the background it would ignore signals, as this one does."""
    for number in SIGNALS[1:]:
        signal.signal(number, signal.SIG_DFL)


def path_with(folder: Path) -> str:
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


def relatives(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def left_alive(family: Sequence[psutil.Process], *, seconds: float = 15.0) -> list[str]:
    """Processes that did not end with their launcher."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        alive = [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
        if not alive:
            return []
        time.sleep(0.1)
    return [f"{len(alive)} processes are left: {' '.join(map(str, (p.pid for p in alive)))}"]


def tracebacks(log: Path, start: int) -> list[str]:
    """Whether a launch showed one."""
    text = log.read_bytes()[start:].decode(errors="replace")
    return ["it showed a traceback"] if "Traceback (most recent call last)" in text else []


if __name__ == "__main__":
    sys.exit("python -m tests.endurance runs this")
