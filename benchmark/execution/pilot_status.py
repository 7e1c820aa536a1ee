"""How the pilots of a grid stand: what they wrote down, beside what the batch system says of their jobs."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.execution import slurm
from benchmark.execution.pilot import PilotRecord, pilot_records
from benchmark.execution.plan_file import FOLDER, RunPlan, read_plan
from benchmark.vocabulary import BenchError
from benchmark.words import counted


@dataclass(frozen=True)
class PilotStatus:
    """`state`: pending, running, ended, stopped, or gone: its job is no more, and it did not say that it ended.
    `reason`: why a job is pending, in the batch system's words, or what the pilot said. `left`: time, where it is told.
    """

    plan: str
    job: str
    state: str
    node: str = ""
    pilot: int | None = None
    reason: str = ""
    left: str = ""

    @property
    def line(self) -> str:
        """For people."""
        who = f"pilot {self.pilot}" if self.pilot is not None else "a pilot"
        words = [
            f"{self.state:<8} {who}",
            f"job {self.job}" if self.job else "",
            f"on {self.node}" if self.node else "",
        ]
        words += [self.reason, f"{self.left} left" if self.left else ""]
        return ", ".join(word for word in words if word)


def pilots_of(plans: Sequence[RunPlan], manifest: str) -> list[PilotStatus]:
    """The pilots of the newest plan of a grid that was submitted or worked on; none where runs are executed here."""
    news = [(_last_news(plan), plan) for plan in plans if manifest in plan.grids]
    last, newest = max(news, key=lambda one: one[0], default=(0.0, None))
    return _of_plan(newest) if newest is not None and last else []


def summary(pilots: Sequence[PilotStatus]) -> str:
    """How many there are in each state."""
    states = [pilot.state for pilot in pilots]
    words = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    return f"{counted(len(pilots), 'pilot')} of plan {pilots[0].plan}: {', '.join(words)}"


def plans_in(results: Path) -> list[RunPlan]:
    """The plans in a results folder."""
    found = []
    for folder in sorted((results / FOLDER).glob("*")):
        # What cannot be read, or was made elsewhere, has no pilots here.
        with contextlib.suppress(BenchError, OSError):
            found.append(read_plan(folder, below=results))
    return found


def _last_news(plan: RunPlan) -> float:
    with contextlib.suppress(BenchError):
        submitted = [one.submitted for one in slurm.submissions(plan)]
        return max([*submitted, *(record.started for record in pilot_records(plan))], default=0.0)
    return 0.0


def _of_plan(plan: RunPlan) -> list[PilotStatus]:
    records = pilot_records(plan)
    tasks: list[slurm.QueuedTask] | None = None
    if shutil.which("squeue"):
        with contextlib.suppress(BenchError):
            tasks = slurm.queue(plan)
    queued = {task.job: task for task in tasks or ()}
    found = [
        _of_record(plan, record, queued.pop(record.job, None), asked=tasks is not None) for record in records
    ]
    for task in queued.values():
        state = "pending" if task.state == "PENDING" else "running"
        reason = task.reason.strip("()") if state == "pending" else ""
        found.append(PilotStatus(plan.id, task.job, state, task.node, reason=reason, left=task.left))
    return found


def _of_record(
    plan: RunPlan, record: PilotRecord, task: slurm.QueuedTask | None, *, asked: bool
) -> PilotStatus:
    state, reason = "running", ""
    if record.cause is not None:
        state, reason = ("stopped", "") if record.cause == "stopped" else ("ended", record.cause)
    elif task is None and asked and record.job:
        state, reason = "gone", "its job has ended without a word; see its log"
    left = task.left if task is not None and state == "running" else ""
    return PilotStatus(plan.id, record.job, state, record.node, record.number, reason, left)
