"""Trials without networks: their Dice is a function of theta, and they fail as they are told.

Also a launcher of its own, `python fake_trials.py FOLDER SEARCH OPTION...`, for tests that kill it.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet  # noqa: F401 (preloaded: pandas imports it late, and every worker would again)
import yaml

from benchmark.datasets.pipeline import ReadyData
from benchmark.results.order import RunOrder, has_all
from benchmark.results.runs import RunFolder, RunRecord
from benchmark.search.pruning import Judge
from benchmark.vocabulary import Preparation

STEPS = 8
BEST = 0.3
PATIENTS = ("a", "b", "c", "d", "e")
SEARCH = {
    "name": "small",
    "dataset": "autopet",
    "set": {"method": "fake", "method_args": {"seconds": 0.0}, "loss_weights": {"seg": 1}},
    "space": {
        "mode": {"path": "method_args.mode", "choices": ["fine"]},
        "theta": {"path": "method_args.theta", "low": 0.0, "high": 1.0},
    },
    "paper": {"theta": 0.8},
    "final_seeds": [1, 2],
}


def search_file(
    folder: Path, *, modes: Sequence[str] = ("fine",), seconds: float = 0.0, **changes: object
) -> str:
    """A search for theta whose trials behave in one of these ways."""
    content = {**SEARCH, **changes}
    content["set"] = {**SEARCH["set"], "method_args": {"seconds": seconds}}  # type: ignore[dict-item]
    space = dict(content["space"])  # type: ignore[call-overload]
    space["mode"] = {**space["mode"], "choices": list(modes)}
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump({**content, "space": space}, sort_keys=False))
    return str(path)


def quality(theta: float) -> float:
    """The Dice that a trial ends with; best where theta is BEST."""
    return 1 - (theta - BEST) ** 2


def execute(order: RunOrder) -> None:
    """What `benchmark.execution.run.execute_run` promises, with a formula in place of a training."""
    folder = RunFolder(order.results, order.run_id)
    with folder.claimed() as held:
        record = folder.record()
        if not held or has_all(order, record.state):
            return
        if record.state == "done":
            _score(order, folder)
            return
        record = RunRecord(order.run_id, "running", attempts=record.attempts + 1, steps=STEPS)
        folder.write_config(order.config.model_dump(mode="json"))
        folder.write_record(record)
        folder.write_record(_train(order, folder, record))


def _score(order: RunOrder, folder: RunFolder) -> None:
    """The validation part of a run that a grid has trained."""
    mode, tried = order.config.method_args["mode"], folder.path / "tried.txt"
    if mode == "unscorable" or (mode == "unscored_once" and not tried.exists()):
        tried.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    folder.write_validation(_scores(order, "validation"))


def _train(order: RunOrder, folder: RunFolder, record: RunRecord) -> RunRecord:
    arguments = order.config.method_args
    mode, theta = str(arguments["mode"]), float(arguments["theta"])
    if mode in ("diverged", "memory"):
        return replace(record, state="failed", failure=mode, error=f"it is {mode}")
    if mode == "killed_once" and record.attempts == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    judge = Judge(order.trial, STEPS) if order.trial else lambda step, dice: False
    rows = folder.history().to_dict("records")
    for step in range(len(rows) + 1, STEPS + 1):
        time.sleep(float(arguments["seconds"]))
        with (folder.path / "steps.txt").open("a") as steps:
            steps.write(f"{step}\n")
        dice = quality(theta) * step / STEPS
        rows.append({"step": step, "seconds": float(step), "loss": 1 - dice, "val_dice": dice})
        folder.write_history(rows)
        if judge(step, dice) and step < STEPS:
            assert order.trial is not None
            words = (
                f"Search {order.trial.study}, trial {order.trial.number}: Pruned at step {step} of {STEPS}."
            )
            return replace(record, state="pruned", error=words)
    if order.trial:
        folder.write_validation(_scores(order, "validation"))
        return replace(record, state="trained", train_seconds=1.0)
    folder.write_scores(_scores(order, "test"))
    return replace(record, state="done", train_seconds=1.0)


def _scores(order: RunOrder, split: str) -> pd.DataFrame:
    config = order.config
    theta = float(config.method_args["theta"])
    place = {
        "run_id": order.run_id,
        "method": "fake",
        "dataset": "autopet",
        "fold": config.fold,
        "seed": config.seed,
        "split": split,
        "checkpoint": "last",
        "grid": "4 x 4 x 5 mm",
        "reading": "",
        "region": "tumor",
    }
    # Patients differ from one another, and the effect of theta from patient to patient.
    values = {
        patient: {"dice": quality(theta) - 0.02 * n + 0.01 * n * theta, "fpv_ml": 10 * theta, "fnv_ml": 1.0}
        for n, patient in enumerate(PATIENTS)
    }
    units = {"dice": "1", "fpv_ml": "ml", "fnv_ml": "ml"}
    rows = []
    for patient, metrics in values.items():
        of = {**place, "case_id": f"{split}-{patient}", "patient": patient}
        rows += [{**of, "metric": m, "unit": units[m], "value": value} for m, value in metrics.items()]
    return pd.DataFrame(rows)


def steps_taken(results: Path, run_id: str) -> list[int]:
    """The steps that were taken of a run, by whomever, in their order."""
    file = RunFolder(results, run_id).path / "steps.txt"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def ready(name: str, root: Path, *, n_folds: int, **_: object) -> ReadyData:
    """In place of preparing data."""
    return ReadyData(root / "store", root / "splits.json", "fingerprint", (), 10, n_folds, {})


def fake_the_suite(set_attribute: Callable[..., None] = setattr) -> None:
    """Let the command line run fake trials, on data that need no preparation."""
    from benchmark import registry
    from benchmark.data.readers.autopet import SPEC
    from benchmark.execution import pool
    from benchmark.planning import setup

    usual: Preparation = SPEC.preparation_at(None)

    def inspect(_: object, planned: Sequence[object], *__: object) -> list[object]:
        return [setup.CheckedRun(run, usual) for run in planned]  # type: ignore[arg-type]

    set_attribute(setup, "ready_data", ready)
    set_attribute(setup, "inspect", inspect)
    set_attribute(registry, "method_digest", lambda _: None)
    real = pool.Pool

    def fakes(*, preload: Sequence[str] = (), **options: object) -> pool.Pool:
        import fake_trials

        return real(target=fake_trials.execute, preload=("fake_trials",), **options)  # type: ignore[arg-type]

    set_attribute(pool, "Pool", functools.wraps(real)(fakes))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    fake_the_suite()
    from benchmark.cli import main

    folder = Path(sys.argv[1])
    os.chdir(folder)
    (folder / "cases").mkdir(exist_ok=True)
    where = ["--data", f"autopet={folder / 'cases'}", "--results", str(folder / "results"), "--no-mlflow"]
    main(["search", "--study", sys.argv[2], *where, *sys.argv[3:]])
