"""The command line with runs that are no trainings: `python fake_bench.py ARGUMENTS`."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import fake_runs

from benchmark.cli import main
from benchmark.datasets import pipeline
from benchmark.execution import pool
from benchmark.planning import setup
from benchmark.planning.launch import PlannedRun

BEHAVIOURS = """
name: fakes
dataset: autopet
blocks:
  - set: {{method: fake, loss_weights: {{}}}}
    over:
      behaviour: {{path: method_args.behaviour, values: {behaviours}}}
      number: {{path: method_args.number, values: [1, 2]}}
      seconds: {{path: method_args.seconds, values: [{seconds}]}}
"""


def patch(set_attribute: Callable[..., None]) -> None:
    """Let no data be prepared, no method be built, and `fake_runs.execute` stand in for every training."""
    fakes = functools.partial(pool.Pool, target=fake_runs.execute, preload=("fake_runs",))
    set_attribute(setup, "ready_data", _ready)
    set_attribute(setup, "inspect", _inspect)
    set_attribute(pool, "Pool", fakes)
    set_attribute(importlib.import_module("benchmark.registry"), "method_digest", lambda _: None)


def _ready(name: str, root: Path, *, n_folds: int, **_: object) -> pipeline.ReadyData:
    return pipeline.ReadyData(root / "store", root / "splits.json", "fingerprint", (), 10, n_folds, {})


def _inspect(_: object, planned: Sequence[PlannedRun], *__: object) -> list[setup.CheckedRun]:
    return [setup.CheckedRun(run, None) for run in planned]


if __name__ == "__main__":
    patch(setattr)
    main(sys.argv[1:])
