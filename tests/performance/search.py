"""What pruning saves: a search for theta, 20 trials in the demo profile, with and without the median pruner."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.performance.measure import Comparison, Setting

TRIALS = 20
SEEDS = 4
"""At most: a search without pruning takes some three minutes on two cores."""
LARGEST_PART = 0.6
"""Of the steps without pruning."""


def measure(setting: Setting) -> Iterator[Comparison]:
    with tempfile.TemporaryDirectory(prefix="bench-search-") as folder:
        pruned, whole = [], []
        for seed in range(min(setting.repeats, SEEDS)):
            pruned.append(_search(Path(folder), seed, "median", setting))
            whole.append(_search(Path(folder), seed, "none", setting))
    lost = [100 * (b["value_searched"] - a["value_searched"]) for a, b in zip(pruned, whole, strict=True)]
    noise = statistics.stdev(lost) / len(lost) ** 0.5 if len(lost) > 1 else float("nan")
    mean = statistics.mean(lost)
    values = [", ".join(f"{100 * facts['value_searched']:.2f}" for facts in side) for side in (pruned, whole)]
    yield Comparison(
        figure="search",
        what=f"`bench search --study theta --trials {TRIALS}`, phantoms, profile demo; optimiser steps a search",
        peer_is="the same search with --pruner none",
        goal="faster",
        unit="steps",
        target=1 / LARGEST_PART,
        ours=tuple(float(facts["steps"]) for facts in pruned),
        peer=tuple(float(facts["steps"]) for facts in whole),
        conditions=(
            (
                f"best validation Dice [%] {values[0]} with pruning, {values[1]} without: {mean:.2f} lost on average, "
                f"at most two standard errors of {noise:.2f}",
                mean <= 2 * noise,
            ),
        ),
        remarks=tuple(f"seed {seed}, with pruning: {facts['states']}" for seed, facts in enumerate(pruned)),
    )


def _search(folder: Path, seed: int, pruner: str, setting: Setting) -> dict[str, Any]:
    """What a search says of itself at its end; its runs and its data are its own."""
    options = [
        "--study",
        "theta",
        "--data",
        "phantom",
        "--trials",
        str(TRIALS),
        "--seed",
        str(seed),
        "--pruner",
        pruner,
    ]
    options += ["--results", f"{pruner}{seed}", "--jobs", str(setting.threads), "--no-mlflow", "--json"]
    ended = subprocess.run(
        [sys.executable, "-m", "benchmark.cli", "search", *options],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    facts: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return facts
