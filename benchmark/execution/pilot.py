"""A pilot: the pool at work on a plan, in a place that somebody else gave out, a batch system or a person.

Pilots know nothing of one another. Each takes the next run that nobody has, as launchers that share a results folder
do, and ends when it has nothing to start. What it writes down of itself is for people, and for its own next start.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from benchmark.execution.plan_file import RunPlan, refuse_other_code
from benchmark.execution.pool import Observer, Pool
from benchmark.files.places import DamagedFileError
from benchmark.files.schemas import STRICT, Amount, Whole, read_as
from benchmark.files.writing import write_json
from benchmark.processes.devices import Slot
from benchmark.results.runs import RunFolder
from benchmark.vocabulary import BenchError

PATIENCE_SECONDS = 5.0
"""How long a pilot waits for runs that others have, when it has nothing to start: its place may be dear."""
VAIN_STARTS = 3
"""After so many starts in a row between which no run of the plan came further, a pilot starts no more."""

Cause = Literal["nothing left to start", "stopped"]


@dataclass(frozen=True)
class PilotRecord:
    """`job`: as the batch system calls it; `standing` changes with what was done of the plan; `vain`: starts in a row
    that found it as the one before had."""

    __pydantic_config__ = STRICT

    number: Whole
    node: str
    job: str
    started: Amount
    standing: str
    vain: Whole = 0
    ended: Amount | None = None
    cause: Cause | None = None


@dataclass(frozen=True)
class PilotEnd:
    """`left`: runs that are neither done nor failed for good."""

    stopped: bool
    left: int


def pilot_file(plan: RunPlan, number: int) -> Path:
    return plan.folder / "pilots" / f"{number}.json"


def pilot_records(plan: RunPlan) -> list[PilotRecord]:
    """What the pilots of a plan wrote down, by number; damaged files are left out."""
    found = []
    for path in (plan.folder / "pilots").glob("*.json"):
        try:
            found.append(read_as(PilotRecord, path, below=plan.results))
        except DamagedFileError:
            continue
    return sorted(found, key=lambda record: record.number)


def work(
    plan: RunPlan, number: int, pool: Pool, places: Sequence[Slot], *, observer: Observer | None = None
) -> PilotEnd:
    """Do what is left of the plan until nothing is startable, or until the pool is asked to stop.

    BenchError for other code than the plan's, and after too many starts in vain.
    """
    refuse_other_code(plan)
    record = _begun(plan, number)
    due = plan.due()
    # Pilots that start together would all reach for the first run.
    first = number % len(due) if due else 0
    pool.run([*due[first:], *due[:first]], places, observer=observer, patience=PATIENCE_SECONDS)
    cause: Cause = "stopped" if pool.stops else "nothing left to start"
    write_json(pilot_file(plan, number), asdict(replace(record, ended=time.time(), cause=cause)))
    return PilotEnd(bool(pool.stops), len(plan.due()))


def job_here() -> str:
    """This process's job as SLURM calls it: 12_3 for a task of an array, 12 for a job of its own; else empty."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")


def _begun(plan: RunPlan, number: int) -> PilotRecord:
    record = PilotRecord(number, os.uname().nodename, job_here(), time.time(), _standing(plan))
    path = pilot_file(plan, number)
    if path.exists():
        earlier = read_as(PilotRecord, path, below=plan.results)
        same = earlier.standing == record.standing and plan.due()
        record = replace(record, vain=earlier.vain + 1 if same else 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, asdict(record))
    if record.vain >= VAIN_STARTS:
        raise BenchError(
            f"Pilot {number} was started {record.vain} times since any run came further: a checkpoint takes longer "
            "than its time, or its runs end with their node. Give it more --submit time=..., or a smaller "
            "--checkpoint-seconds, then submit again."
        )
    return record


def _standing(plan: RunPlan) -> str:
    """Changes whenever a run of the plan ends, or has a newer checkpoint."""
    digest = hashlib.sha256()
    for order in plan.orders:
        folder = RunFolder(order.results, order.run_id)
        for path in (folder.record_file, folder.checkpoint_file):
            # The record of a run that goes on is written at every start.
            if path == folder.record_file and folder.seen().state in ("pending", "running"):
                continue
            stamp = path.stat().st_mtime_ns if path.exists() else 0
            digest.update(f"{order.run_id} {path.name} {stamp}\n".encode())
    return digest.hexdigest()[:16]
