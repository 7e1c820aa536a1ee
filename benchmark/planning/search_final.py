"""`bench search --final`: the best values and the paper's, trained again over seeds, on the test part; once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from benchmark import tracking
from benchmark.execution.monitor import monitor_for
from benchmark.execution.overview import label
from benchmark.files.places import DamagedFileError, is_there
from benchmark.files.schemas import Amount, Open, Text, Whole, checked, read_mapping
from benchmark.files.writing import exclusive, write_json
from benchmark.planning import setup
from benchmark.planning.launch import PlannedRun, launch
from benchmark.planning.search_loop import Searching, best_of
from benchmark.planning.trials import described
from benchmark.processes.devices import Slot
from benchmark.processes.signals import answered
from benchmark.results.manifests import CellRun, write_manifest
from benchmark.results.order import RunOrder
from benchmark.results.runs import RunFolder
from benchmark.vocabulary import BenchError

SIDES = ("best", "paper")


def look_at_the_test_part(
    searching: Searching, places: Sequence[Slot], *, mlflow: bool, as_json: bool
) -> None:
    """Train and score what was settled when `--final` was first asked for. BenchError when that was looked at."""
    results, search = searching.settings.results, searching.trainings.search
    marker = results / "searches" / f"{searching.trials.name}.final.json"
    with exclusive(marker.with_suffix(".lock"), wait=True):
        settled = _settled(marker) if is_there(marker) else _settle(searching, marker)
    if settled["looked"]:
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(settled["looked"]))
        raise BenchError(
            f"--final: the test part was looked at on {when}, with trial {settled['trial']} of "
            f"{searching.trials.name}. A second look would choose values on it; `bench report --search {search.name}` "
            "shows the first."
        )
    orders = _orders(searching, settled)
    cells = [cell for cell, _ in orders]
    labels = {cell.run_id: label(cell) for cell in cells}
    by_run = {cell.run_id: order for cell, order in orders}
    manifest = replace(searching.manifest, grid=f"{searching.manifest.grid}_final", cells=tuple(cells))
    write_manifest(results, manifest)

    def execute(due: Sequence[CellRun]) -> None:
        monitor = monitor_for(
            labels,
            searching.settings.screen,
            total=len(labels),
            due=len(due),
            title=f"{searching.trials.name}, test part",
            as_json=as_json,
        )
        with contextlib.ExitStack() as around:
            if mlflow:
                around.enter_context(tracking.Mirror(results, manifest.name))
            around.enter_context(monitor)
            around.enter_context(answered(searching.pool.request_stop))
            searching.pool.run([by_run[cell.run_id] for cell in due], places, observer=monitor)

    standings = launch(results, cells, retry_failed=True, execute=execute)
    if all(standing.state == "done" for standing in standings):
        write_json(marker, {**settled, "looked": time.time()})
    elif not searching.pool.stops:
        failed = next(s for s in standings if s.state != "done")
        error = RunFolder(results, failed.cell.run_id).record().error
        raise BenchError(
            f"--final: run {failed.cell.run_id} is {failed.word}: {error} The same command tries it again."
        )


class _Settled(Open):
    """Of what was settled, what is read again."""

    trial: Whole
    params: dict[Literal["best", "paper"], dict[Text, Any]]
    seeds: list[Whole]
    looked: Annotated[Amount, Field(le=1e11)] | None


def _settled(marker: Path) -> dict[str, Any]:
    """DamagedFileError for what is no record of it."""
    try:
        content = read_mapping(marker, below=marker.parent)
        checked(_Settled, content, source=str(marker))
    except DamagedFileError as error:
        raise DamagedFileError(f"{error}. Remove it if nobody has looked at the test part yet.") from error
    return content


def _settle(searching: Searching, marker: Path) -> dict[str, Any]:
    """Write down what is trained and compared, before any test case is opened."""
    search, trainings = searching.trainings.search, searching.trainings
    if len(search.objectives) > 1 or not search.paper:
        raise BenchError(
            f"--final compares one best trial with the paper's values; {search.source} has "
            f"{'several objectives' if len(search.objectives) > 1 else 'none of them (paper: ...)'}."
        )
    best = best_of(searching.trials.all(), search.objectives)
    if best is None:
        raise BenchError(
            "--final: no trial is the best yet. Two that keep all constraints must be complete, with other values."
        )
    params = {"best": dict(best.params), "paper": trainings.reference(best.params)}
    if trainings.config(params["best"]) == trainings.config(params["paper"]):
        raise BenchError(
            f"--final: the best trial, {best.number}, has the paper's values; there is nothing to compare."
        )
    seeds = list(search.final_seeds)
    settled: dict[str, Any] = {
        "search": search.name,
        "trial": best.number,
        "params": params,
        "seeds": seeds,
        "settled": time.time(),
        "looked": None,
    }
    runs: dict[str, list[str]] = {side: [] for side in SIDES}
    for (side, _), (cell, _) in zip(_planned(searching, settled), _orders(searching, settled), strict=True):
        runs[side].append(cell.run_id)
    settled["runs"] = runs
    write_json(marker, settled)
    return settled


def _planned(searching: Searching, settled: dict[str, Any]) -> list[tuple[str, PlannedRun]]:
    planned = []
    for side in SIDES:
        params = settled["params"][side]
        for seed in settled["seeds"]:
            run = searching.trainings.run(params, trial=str(settled["trial"]), seed=seed)
            factors = {"values": side, "are": described(params)}
            planned.append((side, replace(run, factors=factors)))
    return planned


def _orders(searching: Searching, settled: dict[str, Any]) -> list[tuple[CellRun, RunOrder]]:
    planned = [run for _, run in _planned(searching, settled)]
    roots = {searching.trainings.place.dataset: searching.root}
    checked_runs = setup.inspect(searching.pool, planned, searching.trainings.search, roots)
    found = []
    for one in checked_runs:
        ready, usual = searching.data.wanted(one), searching.data.usual(one)
        cell = one.run.cell(ready.fingerprint)
        found.append(
            (
                cell,
                setup.order_of(one.run.config, cell.run_id, searching.data, ready, usual, searching.settings),
            )
        )
    return found
