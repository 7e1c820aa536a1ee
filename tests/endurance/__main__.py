"""`python -m tests.endurance [--kills N] [--folder DIR] [--parts P ...]`: a grid that is killed again and again.

Runs some cells of Table 2 on phantoms twice: once undisturbed, once with `kill -9` at random moments (in turn
the launcher, and one of its processes), started again each time. Then compares all scores and weights, byte for
byte. The exit code is 1 if they differ. Then a kill in every phase by every signal, and disks that fail, see
`faults.py`; then the same with a search, see `search.py` here. The undisturbed grid has one run at a time, the others
two: that must not matter either.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import psutil

from benchmark.results.manifests import manifests
from benchmark.results.runs import RunFolder, state_of
from tests.endurance import faults, search

PROFILE = """
config:
  spacing_mm: [6, 6, 6]
  training: {patch_size: [32, 32, 32], batch_size: 2, steps: 40, precision: float32, validations: 2}
  inference: {windows_per_batch: 16}
method_args:
  mirror_unet: {channels: [4, 8, 16, 32, 64]}
folds: [0]
seeds: [0]
n_folds: 5
phantoms: {phantom: {cases: 12, seed: 0, spacing_mm: [6, 6, 6]}}
"""
PARTS = ("kills", "faults", "search")
CELLS = {"shared_layers": "5", "version": "v3"}
"""The part of the grid that is run: one run for each self-supervision."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance", description=__doc__)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keep everything here")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="of these, in this order")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-endurance-") as temporary:
        folder = chosen.folder or Path(temporary)
        bad = 0
        for part in chosen.parts:
            chance = random.Random(chosen.seed)
            if part == "kills":
                bad |= endure(folder, chosen.kills, chance)
            elif part == "faults":
                bad |= endure_faults(folder / "faults", chance, undisturbed=folder)
            else:
                bad |= search.endure(folder, chosen.kills, chance)
        return bad


def endure(folder: Path, kills: int, chance: random.Random) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "profile.yaml").write_text(PROFILE, encoding="utf-8")
    started = time.monotonic()
    launch(folder, "undisturbed").wait()
    whole = time.monotonic() - started
    print(f"undisturbed: {whole:.0f} s", flush=True)

    for kill in range(kills):
        # That there is always something left to kill.
        faults.remove_runs(folder / "disturbed", keep=1)
        launcher = launch(folder, "disturbed")
        # Mostly late enough that some steps were taken: start-up alone takes several seconds.
        pause = chance.uniform(0.1 * whole, 0.4 * whole)
        try:
            launcher.wait(pause)
            print(f"kill {kill + 1}: came too late, the grid was done: a failed trial", flush=True)
            return 1
        except subprocess.TimeoutExpired:
            pass
        victim = psutil.Process(launcher.pid)
        if kill % 2:
            # The deepest processes are the workers.
            victim = chance.choice(victim.children(recursive=True) or [victim])
        name = "launcher" if victim.pid == launcher.pid else "one of its processes"
        victim.send_signal(signal.SIGKILL)
        time.sleep(1.0)
        if victim.pid != launcher.pid:
            launcher.kill()
        launcher.wait()
        print(f"kill {kill + 1}: {name} after {pause:.0f} s; {states(folder / 'disturbed')}", flush=True)
    code = launch(folder, "disturbed").wait()
    print(f"the last start ended with {code}; {states(folder / 'disturbed')}", flush=True)
    return compare(folder)


def endure_faults(folder: Path, chance: random.Random, *, undisturbed: Path) -> int:
    """1 if anything was left behind, shown or changed by the faults, else 0."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "profile.yaml").write_text(PROFILE, encoding="utf-8")
    # The results of one grid beside those of the other.
    (folder / "undisturbed").symlink_to((undisturbed / "undisturbed").resolve())

    def end() -> list[str]:
        code = launch(folder, "disturbed").wait()
        print(f"the last start ended with {code}; {states(folder / 'disturbed')}", flush=True)
        return ["the results are not those of the undisturbed grid"] if code or compare(folder) else []

    wrong = faults.endure(folder, launch, chance, disturbed="disturbed", end=end)
    print("\n".join(wrong) or "nothing was left behind, no traceback shown, nothing changed")
    return int(bool(wrong))


def launch(
    folder: Path, results: str, environment: Mapping[str, str] = MappingProxyType({})
) -> subprocess.Popen[bytes]:
    command = [
        "run",
        "--grid",
        "table2",
        "--data",
        "phantom",
        "--profile",
        "profile.yaml",
        "--only",
        ",".join(f"{name}={value}" for name, value in CELLS.items()),
        "--jobs",
        "1" if results == "undisturbed" else "2",
    ]
    # A run that is killed three times with nothing done is tried again, too.
    options = ["--results", results, "--checkpoint-seconds", "1", "--no-mlflow", "--retry-failed"]
    return subprocess.Popen(
        [sys.executable, "-m", "benchmark.cli", *command, *options],
        cwd=folder,
        stdout=(folder / f"{results}.log").open("ab"),
        stderr=subprocess.STDOUT,
        env={**os.environ, **environment},
        preexec_fn=faults.meet_signals,
    )


def states(results: Path) -> str:
    counts: dict[str, int] = {}
    for path in (results / "runs").glob("*"):
        state, failure = state_of(RunFolder(results, path.name))
        counts[failure or state] = counts.get(failure or state, 0) + 1
    return ", ".join(f"{n} {state}" for state, n in sorted(counts.items()))


def compare(folder: Path) -> int:
    """Print how many runs are equal; 1 if not all are."""
    (manifest,) = manifests(folder / "undisturbed")
    run_ids = [cell.run_id for cell in manifest.cells if CELLS.items() <= cell.factors.items()]
    different = []
    attempts = 0
    for run_id in run_ids:
        one, two = (RunFolder(folder / side, run_id) for side in ("undisturbed", "disturbed"))
        attempts += two.record().attempts
        done = one.record().state == two.record().state == "done"
        if not (done and one.scores().equals(two.scores()) and _weights(one) == _weights(two)):
            different.append(run_id)
    print(
        f"{len(run_ids) - len(different)} of {len(run_ids)} runs have the same scores and weights; {attempts} attempts"
    )
    return int(bool(different) or not run_ids)


def _weights(folder: RunFolder) -> bytes:
    return folder.weights_file.read_bytes()


if __name__ == "__main__":
    sys.exit(main())
