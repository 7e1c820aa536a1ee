"""What the runner adds to a cell: 105 cells that train one step, against the same cells in a loop."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmark.config import Resources
from benchmark.data.phantoms.pet_ct import SPEC, write_phantoms
from benchmark.datasets.pipeline import ready_data
from benchmark.execution.pool import Pool
from benchmark.execution.run import execute_run
from benchmark.planning.grid import load_profile, load_study
from benchmark.planning.launch import plan
from benchmark.processes.devices import Slot
from benchmark.results.order import RunOrder
from benchmark.results.runs import RunFolder
from tests.performance.measure import Comparison, Setting, seconds

REPEATS = 3
"""At most: the grid takes a minute or more on either side."""


def measure(setting: Setting) -> Iterator[Comparison]:
    with tempfile.TemporaryDirectory(prefix="bench-runner-") as folder:
        orders = _orders(Path(folder))
        walls = []
        for repetition in range(min(setting.repeats, REPEATS)):
            pool = [replace(order, results=Path(folder) / f"pool{repetition}") for order in orders]
            loop = [replace(order, results=Path(folder) / f"loop{repetition}") for order in orders]
            walls.append(
                (seconds(lambda todo=pool: _in_pool(todo))[0], seconds(lambda todo=loop: _in_loop(todo))[0])
            )
        same = sum(_same_scores(a, b) for a, b in zip(pool, loop, strict=True))

    n = len(orders)
    yield Comparison(
        figure="runner",
        what=f"{n} cells of table2 on phantoms, one step each, one process a cell, one at a time, "
        "the start of the fork server included; seconds a cell",
        peer_is="the same cells in one process in a loop, libraries loaded",
        goal="extra",
        unit="s",
        target=0.5,
        ours=tuple(wall / n for wall, _ in walls),
        peer=tuple(wall / n for _, wall in walls),
        conditions=((f"{same} of {n} cells have the same scores either way", same == n),),
    )


def _orders(folder: Path) -> list[RunOrder]:
    write_phantoms(folder / "phantoms", cases=10, seed=0, spacing_mm=(12.0, 12.0, 12.0))
    study, profile = load_study("table2"), load_profile("demo")
    one_step = {"spacing_mm": [12, 12, 12], "training": {"steps": 1, "batch_size": 2, "validations": 0}}
    runs = plan(study, profile, datasets=["phantom"], folds=[0], seeds=[0], overrides=one_step)
    data = ready_data(
        "phantom",
        folder / "phantoms",
        results=folder,
        preparation=SPEC.preparation_at((12.0, 12.0, 12.0)),
        n_folds=profile.n_folds,
    )
    return [
        RunOrder(
            results=folder,
            run_id=run.cell(data.fingerprint).run_id,
            config=run.config,
            store=data.store,
            scored_on=data.store,
            splits=data.splits,
            data_fingerprint=data.fingerprint,
            resources=Resources(device="cpu", threads=1),
        )
        for run in runs
    ]


def _in_pool(orders: list[RunOrder]) -> None:
    with Pool() as pool:
        pool.run(orders, [Slot("cpu", threads=1)])
    _check_done(orders)


def _in_loop(orders: list[RunOrder]) -> None:
    for order in orders:
        execute_run(order)
    _check_done(orders)


def _check_done(orders: list[RunOrder]) -> None:
    for order in orders:
        record = RunFolder(order.results, order.run_id).record()
        if record.state != "done":
            raise RuntimeError(f"cell {order.run_id} is {record.state}: {record.error}")


def _same_scores(a: RunOrder, b: RunOrder) -> bool:
    scores = [RunFolder(order.results, order.run_id).scores() for order in (a, b)]
    return bool(scores[0].equals(scores[1]))
