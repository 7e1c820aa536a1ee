"""What the numbers of a table of methods cost: parameters, seconds, memory, operations.

run_costs(results, runs)        one row per method and finished run, as recorded
costs_frame(costs, methods)     one row per method, means over its runs
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.results.runs import RunRecord
from reports.ground.notes import counted
from reports.ground.runs import seen

RUN = ["method", "fold", "seed", "run_id", "reading"]
COSTS = ["parameters", "train_seconds", "inference_seconds_per_case", "peak_memory_mib", "gflops"]
CIRCUMSTANCES = ["steps", "timed_cases", "patch_size", "device", "on_gpu"]


@dataclass(frozen=True)
class Unit:
    """A unit of time a column of seconds is printed in."""

    name: str
    seconds: float


SECONDS, MINUTES, HOURS = Unit("s", 1.0), Unit("min", 60.0), Unit("h", 3600.0)


def time_unit(seconds: pd.Series) -> Unit:
    """The unit in which the middle one of the values reads best: at least two of it, or else seconds."""
    middle = seconds.median()
    return next((unit for unit in (HOURS, MINUTES) if middle >= 2 * unit.seconds), SECONDS)


def run_costs(results: Path, runs: pd.DataFrame) -> pd.DataFrame:
    """One row per finished row of `run_cells`: RUN, COSTS, CIRCUMSTANCES; NaN or empty where nothing is
    recorded.

    `parameters`, `gflops` (one forward pass over one patch, 2 a multiply-add), `patch_size`,
    `inference_seconds_per_case` and `timed_cases` are the reading's own; `train_seconds`, `peak_memory_mib`
    and `steps` are the run's, and the same for all its readings.
    """
    n_readings = runs["run_id"].value_counts()
    rows = []
    for run in runs[runs["state"] == "done"][RUN].to_dict("records"):
        record = seen(results, run["run_id"])
        shared = n_readings[run["run_id"]] > 1
        costs = _of_reading(record, run["reading"])
        if record.parameters is not None and not shared:
            # What is trained counts; a reading's share of it only where the others stand in the table, too.
            costs["parameters"] = record.parameters
        rows.append(run | costs | _of_training(record))
    frame = pd.DataFrame(rows, columns=[*RUN, *COSTS, *CIRCUMSTANCES])
    numbers = dict.fromkeys(COSTS, "float64") | dict.fromkeys(["parameters", "steps", "timed_cases"], "Int64")
    return frame.astype(numbers).astype({"patch_size": str, "device": str, "on_gpu": bool})


def _of_reading(record: RunRecord, reading: str) -> dict[str, Any]:
    costs = dict(record.costs.get(reading, {}))
    if reading == "":
        whole = {
            "parameters": record.parameters,
            "inference_seconds_per_case": record.inference_seconds_per_case,
        }
        costs = {name: value for name, value in whole.items() if value is not None} | costs
    named = ("parameters", "gflops", "inference_seconds_per_case", "timed_cases")
    patch_size = "x".join(map(str, costs.get("patch_size", ())))
    return {name: costs.get(name) for name in named} | {"patch_size": patch_size}


def _of_training(record: RunRecord) -> dict[str, Any]:
    return {
        "steps": record.steps,
        "train_seconds": record.train_seconds,
        "peak_memory_mib": record.peak_memory_mb,
        "device": _device(record.facts),
        "on_gpu": "gpu" in record.facts,
    }


def _device(facts: Mapping[str, Any]) -> str:
    if "gpu" in facts:
        return str(facts["gpu"])
    threads = f", {counted(facts['threads'], 'thread')}" if "threads" in facts else ""
    return f"{facts['cpu']}{threads}" if facts.get("cpu") else ""


def costs_frame(costs: pd.DataFrame, methods: pd.DataFrame) -> pd.DataFrame:
    """One row per row of `methods`: `n_runs` and the means of COSTS over its runs, NaN where there are
    none."""
    by_method = costs.groupby("method")
    means = by_method[COSTS].mean().astype(float).assign(n_runs=by_method.size()).reset_index()
    frame = methods[["method"]].merge(means, how="left", on="method")
    frame["n_runs"] = frame["n_runs"].astype(float).fillna(0).astype(int)
    if (frame["parameters"].dropna() % 1 == 0).all():
        frame["parameters"] = frame["parameters"].astype("Int64")
    return frame[["method", "n_runs", *COSTS]]


def joint_trainings(runs: pd.DataFrame) -> list[tuple[str, ...]]:
    """The groups of methods that are read from the same finished training, in the order of `runs`; none
    alone."""
    done = runs[runs["state"] == "done"]
    groups = [tuple(dict.fromkeys(names)) for _, names in done.groupby("run_id", sort=False)["method"]]
    return [group for group in dict.fromkeys(groups) if len(group) > 1]
