"""A search that is killed again and again; run by `python -m tests.endurance`.

The same search of eight trials twice, one trial at a time: once undisturbed, once with `kill -9` at random moments
(in turn the launcher, and one of its processes), started again each time. No trial that was finished may be lost or
changed, none may be left running, and in the end all trials must be those of the undisturbed search: the same values,
the same validations, pruned at the same steps, with the same results.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import psutil

from benchmark.search.storage import open_storage

PROFILE = """
config:
  spacing_mm: [6, 6, 6]
  training: {patch_size: [32, 32, 32], batch_size: 2, steps: 40, precision: float32, validations: 1}
  inference: {windows_per_batch: 16}
method_args:
  mirror_unet: {channels: [4, 8, 16, 32, 64]}
search_fold: 3
phantoms: {phantom: {cases: 30, seed: 3, spacing_mm: [6, 6, 6]}}
"""
TRIALS = 8

Told = dict[int, tuple[Any, ...]]
"""What a study says of its finished trials, by number."""


def endure(folder: Path, kills: int, chance: random.Random) -> int:
    """1 if anything was lost, else 0."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "search_profile.yaml").write_text(PROFILE, encoding="utf-8")
    began = time.monotonic()
    launch(folder, "undisturbed_search").wait()
    whole = time.monotonic() - began
    print(f"search, undisturbed: {whole:.0f} s; {states(folder / 'undisturbed_search')}", flush=True)

    known: Told = {}
    for kill in range(kills):
        launcher = launch(folder, "disturbed_search")
        pause = chance.uniform(0.05 * whole, 0.2 * whole)
        try:
            launcher.wait(pause)
            print(f"kill {kill + 1}: came too late, the search was done: a failed trial", flush=True)
            return 1
        except subprocess.TimeoutExpired:
            pass
        victim = psutil.Process(launcher.pid)
        if kill % 2:
            victim = chance.choice(victim.children(recursive=True) or [victim])
        name = "launcher" if victim.pid == launcher.pid else "one of its processes"
        victim.send_signal(signal.SIGKILL)
        time.sleep(1.0)
        if victim.pid != launcher.pid:
            launcher.kill()
        launcher.wait()
        now = told(folder / "disturbed_search")
        print(
            f"kill {kill + 1}: {name} after {pause:.0f} s; {states(folder / 'disturbed_search')}", flush=True
        )
        if lost := [number for number in known if now.get(number) != known[number]]:
            print(f"lost or changed: trials {lost}")
            return 1
        known = now
    code = launch(folder, "disturbed_search").wait()
    print(f"the last start ended with {code}; {states(folder / 'disturbed_search')}", flush=True)
    return compare(folder)


def launch(folder: Path, results: str) -> subprocess.Popen[bytes]:
    command = ["search", "--study", "theta", "--data", "phantom", "--profile", "search_profile.yaml"]
    options = [
        "--trials",
        str(TRIALS),
        "--jobs",
        "1",
        "--results",
        results,
        "--checkpoint-seconds",
        "1",
        "--no-mlflow",
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "benchmark.cli", *command, *options],
        cwd=folder,
        stdout=(folder / f"{results}.log").open("ab"),
        stderr=subprocess.STDOUT,
    )


def trials(results: Path) -> list[optuna.trial.FrozenTrial]:
    journal = results / "searches" / "theta.journal"
    if not journal.exists():
        return []
    storage = open_storage(str(journal))
    names = [summary.study_name for summary in optuna.get_all_study_summaries(storage)]
    return optuna.load_study(study_name=names[0], storage=storage).trials if names else []


def told(results: Path) -> Told:
    return {
        trial.number: (
            trial.state.name,
            trial.params,
            trial.values,
            trial.intermediate_values,
            trial.user_attrs.get("run_id"),
        )
        for trial in trials(results)
        if trial.state.is_finished()
    }


def states(results: Path) -> str:
    counts: dict[str, int] = {}
    for trial in trials(results):
        counts[trial.state.name.lower()] = counts.get(trial.state.name.lower(), 0) + 1
    return ", ".join(f"{n} {state}" for state, n in sorted(counts.items())) or "no trial yet"


def compare(folder: Path) -> int:
    """Print how many trials are equal; 1 if not all are, or some are left running."""
    undisturbed, disturbed = (told(folder / f"{side}_search") for side in ("undisturbed", "disturbed"))
    equal = [number for number in undisturbed if disturbed.get(number) == undisturbed[number]]
    hanging = len(trials(folder / "disturbed_search")) - len(disturbed)
    print(f"{len(equal)} of {len(undisturbed)} trials are the same; {hanging} left hanging")
    return int(len(equal) < len(undisturbed) or len(disturbed) != len(undisturbed) or hanging > 0)


if __name__ == "__main__":
    sys.exit(endure(Path(sys.argv[1]), int(sys.argv[2]), random.Random(0)))
