"""What is to be run, as a file: written once by a launcher, read by pilots on other machines.

    results/plans/<id>/plan.json     the orders, and the code that they were made with
    results/plans/<id>/pilots/       one file a pilot: where it works, how it ended
    results/plans/<id>/              the script that an engine was given, its jobs, the pilots' logs

The run folders alone say what is done: a plan does not change when its runs are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from benchmark.files.places import Name
from benchmark.files.schemas import STRICT, Whole, read_as
from benchmark.files.writing import write_json
from benchmark.processes.versions import git_commit, packages_digest
from benchmark.results.order import RunOrder, has_all, is_due
from benchmark.results.runs import RunFolder, state_of
from benchmark.vocabulary import BenchError

FOLDER, FILE = "plans", "plan.json"


@dataclass(frozen=True)
class RunPlan:
    """`id`: 12 hexadecimal digits that stand for everything else. `grids`: the manifests the runs are of. `labels`: of
    each run for people. `failed`: the attempts at runs that had failed by then, and are to be tried again.
    `method_files`: methods from outside the suite. `bfloat16`: whether its devices must compute in it."""

    __pydantic_config__ = STRICT

    id: Name
    title: str
    grids: tuple[Name, ...]
    orders: tuple[RunOrder, ...]
    labels: dict[str, str]
    failed: dict[str, Whole]
    method_files: tuple[Path, ...]
    commit: str
    packages: str
    bfloat16: bool

    def due(self) -> list[RunOrder]:
        """What is left to do, in the plan's order; runs that fail are not tried again by another pilot."""
        return [order for order in self.orders if self._is_due(order)]

    def _is_due(self, order: RunOrder) -> bool:
        folder = RunFolder(order.results, order.run_id)
        state, failure = state_of(folder)
        again = self.failed.get(order.run_id) == folder.seen().attempts
        return not has_all(order, state) and is_due(state, failure, retry_failed=again)

    @property
    def results(self) -> Path:
        return self.orders[0].results

    @property
    def folder(self) -> Path:
        return self.results / FOLDER / self.id


def write_plan(
    title: str,
    orders: Sequence[RunOrder],
    *,
    grids: Sequence[str],
    labels: Mapping[str, str],
    method_files: Sequence[Path] = (),
    bfloat16: bool = False,
) -> RunPlan:
    """Write the plan of these orders, at least one, all of one results folder; the same orders have the same plan."""
    known = [(order, RunFolder(order.results, order.run_id).seen()) for order in orders]
    content: dict[str, Any] = {
        "title": title,
        "grids": list(grids),
        "orders": [_ORDER.dump_python(order, mode="json") for order in orders],
        "labels": {order.run_id: labels.get(order.run_id, "") for order in orders},
        "failed": {order.run_id: record.attempts for order, record in known if record.state == "failed"},
        "method_files": [str(path.resolve()) for path in method_files],
        "commit": git_commit(),
        "packages": packages_digest(),
        "bfloat16": bfloat16,
    }
    name = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    path = orders[0].results / FOLDER / name / FILE
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"id": name, **content})
    return read_plan(path)


def read_plan(path: Path, *, below: Path | None = None) -> RunPlan:
    """A plan from its file or its folder. `below`: the folder under which nothing may be a link; None: a user named it.

    DamagedFileError for anything that is no plan; BenchError for one that was moved.
    """
    path = path / FILE if path.is_dir() else path
    plan = read_as(RunPlan, path, below=below)
    if not plan.orders or len({order.results for order in plan.orders}) > 1:
        raise BenchError(f"{path} is no plan: it has no runs, or runs of several results folders.")
    if plan.folder.resolve() != path.parent.resolve():
        raise BenchError(f"{path} is a plan for {plan.folder}; where results were moved, plan again.")
    return plan


def refuse_other_code(plan: RunPlan) -> None:
    """BenchError where this process runs other code than the plan was made with: its numbers would not be those of
    the other pilots."""
    for what, planned, here in (
        ("commit", plan.commit, git_commit()),
        ("set of packages", plan.packages, packages_digest()),
    ):
        if planned != here:
            raise BenchError(
                f"Plan {plan.id} was made with the {what} {planned}, and here is {here}: the runs would not be "
                "comparable. Bring both to one state, and submit again."
            )


_ORDER: TypeAdapter[RunOrder] = TypeAdapter(RunOrder)
