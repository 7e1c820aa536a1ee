"""`bench evaluate`: finished runs scored again, or with a modality missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.common import AsJson, MethodFiles, Results, device_names, stopped_by_ctrl_c
from benchmark.cli.finished import check_modalities, finished_cells
from benchmark.terminal import complain
from benchmark.vocabulary import BenchError

if TYPE_CHECKING:
    from rich.console import Console

    from benchmark.execution.evaluating import Evaluation
    from benchmark.finished.rescoring import Reproduced
    from benchmark.processes.devices import Slot
    from benchmark.processes.server import ForkServer
    from benchmark.results.manifests import CellRun


def evaluate(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="Ids of runs, or how they begin.")
    ] = None,
    grid: Annotated[str | None, typer.Option(help="All finished runs of a grid's launch.")] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="MODALITY", help="Score with this modality missing. Repeatable: one at a time."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also what was evaluated before.")] = False,
    method_file: MethodFiles = None,
    devices: Annotated[str | None, typer.Option(help="E.g. cuda:0,cuda:1 or cpu; default: all GPUs.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Runs at a time; default: a core each.")] = None,
    results: Results = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Score finished runs again, or, with --without, with a modality missing.

    Without options: are the stored scores what the weights give? Stored scores are never changed; a run whose scores
    are reproduced exactly notes the protocol version and the digests of its files, if it lacks them, and one whose
    masks are the same gets projections of its errors. A missing modality is answered in the method's own way, or
    shown as zeros. Exit code 1 if a run fails or is not reproduced.
    """
    from benchmark.execution.monitor import console
    from benchmark.registry import use_method_files

    if method_file:
        use_method_files(method_file)
    screen = console(to_stderr=as_json)
    cells = finished_cells(results, runs or [], grid, screen)
    modalities = list(dict.fromkeys(without or []))
    where = _Where(devices, jobs)
    with stopped_by_ctrl_c():
        if modalities:
            check_modalities(results, cells, modalities)
            failed = _score_without(where, results, cells, modalities, screen, again=again)
            sound = [cell for cell in cells if cell.run_id not in failed]
            _print_without(results, sound, modalities, screen, as_json=as_json)
            all_well = not failed
        else:
            all_well = not _score_again(where, results, cells, screen, as_json=as_json)
    raise typer.Exit(0 if all_well else 1)


@dataclass(frozen=True)
class _Where:
    """What the command line says of the machine."""

    devices: str | None
    jobs: int | None

    def done(
        self, target: Callable[[tuple[Evaluation, Slot]], object], due: Mapping[str, Evaluation]
    ) -> Iterator[tuple[str, Any]]:
        """What `target` returns for every run, or its BenchError, in worker processes; none are started for none."""
        from benchmark.execution.worker import PRELOAD
        from benchmark.processes.server import ForkServer
        from benchmark.processes.side_by_side import in_workers

        if not due:
            return
        server = ForkServer(PRELOAD)
        try:
            yield from in_workers(server, target, due, self._places(server, len(due)))
        finally:
            server.close()

    def _places(self, server: ForkServer, runs: int) -> list[Slot]:
        from benchmark.execution.worker import cuda_devices
        from benchmark.processes import devices

        names = device_names(self.devices) or []
        if not names and devices.cuda_is_likely():
            names = [device["name"] for device in server.call(cuda_devices, None)]
        names = names or ["cpu"]
        per_device = devices.cores() if names == ["cpu"] else 1
        return devices.slots(names, per_device=min(self.jobs or per_device, runs))


def _score_without(
    where: _Where,
    results: Path,
    cells: Sequence[CellRun],
    modalities: Sequence[str],
    screen: Console,
    *,
    again: bool,
) -> set[str]:
    """Evaluate what is missing; returns the runs that failed, whose errors are printed."""
    from benchmark.execution.evaluating import Evaluation, score_without
    from benchmark.execution.overview import labels_of
    from benchmark.results.runs import RunFolder

    labels = labels_of(cells)
    due = {}
    for run_id in labels:
        there = [] if again else RunFolder(results, run_id).evaluated_without()
        if missing := tuple(name for name in modalities if name not in there):
            due[run_id] = Evaluation(results.resolve(), run_id, missing)
    failed = set()
    for number, (run_id, told) in enumerate(where.done(score_without, due), 1):
        if isinstance(told, BenchError):
            failed.add(run_id)
        _print_progress(screen, number, len(due), labels[run_id], told)
    return failed


def _score_again(
    where: _Where, results: Path, cells: Sequence[CellRun], screen: Console, *, as_json: bool
) -> int:
    """Score every run again and say how far it is from what is stored; returns how many are not reproduced."""
    import json

    from benchmark.execution.evaluating import Evaluation, score_again
    from benchmark.execution.overview import labels_of

    labels = labels_of(cells)
    due = {run_id: Evaluation(results.resolve(), run_id) for run_id in labels}
    rows: list[dict[str, Any]] = []
    for number, (run_id, told) in enumerate(where.done(score_again, due), 1):
        words = "" if isinstance(told, BenchError) else f": {_reproduced(told)}"
        _print_progress(screen, number, len(due), f"{labels[run_id]}{words}", told)
        row: dict[str, Any] = {"run": run_id, "cell": labels[run_id]}
        if isinstance(told, BenchError):
            rows.append({**row, "reproduced": False, "error": str(told)})
        else:
            rows.append({**row, "reproduced": told.exact, **vars(told)})
    if as_json:
        print(json.dumps(rows, indent=1))
    return sum(not row["reproduced"] for row in rows)


def _reproduced(found: Reproduced) -> str:
    pictures = {None: "", True: "; projections added", False: "; no projections, as these are other masks"}
    return _compared(found) + pictures[found.projections]


def _compared(found: Reproduced) -> str:
    from benchmark.scoring.metrics import METRICS

    if found.exact:
        return f"all {found.rows} scores reproduced exactly"
    words = [
        f"{metric} by up to {largest:.3g} {METRICS[metric].unit}".removesuffix(" 1")
        for metric, largest in found.differences.items()
        if largest
    ]
    differ = [f"differs in {', '.join(words)}"] if words else []
    if found.only_stored:
        differ.append(f"{found.only_stored} stored scores are not given any more")
    if found.only_new:
        differ.append(f"{found.only_new} scores were not stored")
    return f"of {found.rows} scores: {'; '.join(differ)}"


def _print_progress(screen: Console, number: int, total: int, words: str, told: object) -> None:
    if isinstance(told, BenchError):
        complain(f"[{number}/{total}] {words}: {told}")
    else:
        screen.print(f"[{number}/{total}] {words}", soft_wrap=True)


def _print_without(
    results: Path, cells: Sequence[CellRun], modalities: Sequence[str], screen: Console, *, as_json: bool
) -> None:
    """A table for each modality over all cells that were evaluated without it."""
    import json

    from rich.table import Table

    rows = list(_rows_without(results, cells, modalities))
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    for modality in modalities:
        own = [row for row in rows if row["modality"] == modality]
        several = list(dict.fromkeys(region for row in own for region in row["regions"]))
        over = f", mean over the regions {', '.join(several)}" if len(several) > 1 else ""
        table = Table(title=f"Dice [%] without {modality}{over}", title_justify="left", header_style="")
        table.add_column("run", overflow="fold")
        for column in ("complete", "without", "change"):
            table.add_column(column, justify="right")
        table.add_column("manner")
        table.add_column("same masks in")
        for row in own:
            table.add_row(
                row["cell"],
                _number(row["dice"]),
                _number(row["dice_without"]),
                _number(row["difference"], sign=True),
                row["manner"],
                f"{row['identical']} of {row['cases']} cases",
            )
        screen.print(table)
        for row in own:
            if row["untold"]:
                told = ", ".join(row["regions"]) or "no region"
                screen.print(
                    f"{row['cell']}: without {modality} it tells {told} alone, and both numbers are over that.",
                    soft_wrap=True,
                )


def _rows_without(
    results: Path, cells: Sequence[CellRun], modalities: Sequence[str]
) -> Iterator[dict[str, Any]]:
    from benchmark.execution.overview import label, mean_dice
    from benchmark.results.runs import RunFolder

    several = len({(cell.fold, cell.seed) for cell in cells}) > 1
    said: set[str] = set()
    for cell in cells:
        folder = RunFolder(results, cell.run_id)
        for modality in modalities:
            try:
                evaluated, complete = folder.without(modality), folder.scores()
            except BenchError as error:
                # Once, however many cells and modalities are read from a file.
                if str(error) not in said:
                    said.add(str(error))
                    complain(error)
                continue
            if evaluated is None:
                continue
            scores, facts = evaluated
            reading = (
                cell.reading if cell.reading in facts.changed_voxels else next(iter(facts.changed_voxels))
            )
            key, changed = (cell.run_id, reading), facts.changed_voxels[reading]
            told = complete["region"].isin(scores["region"])
            before, after = mean_dice(complete[told]).get(key), mean_dice(scores).get(key)
            yield {
                "run": cell.run_id,
                "cell": label(cell, fold_and_seed=several),
                "reading": reading,
                "modality": modality,
                "manner": facts.manner,
                "regions": list(complete["region"][told].unique()),
                "untold": list(complete["region"][~told].unique()),
                "dice": before,
                "dice_without": after,
                "difference": None if before is None or after is None else after - before,
                "identical": sum(n == 0 for n in changed.values()),
                "cases": len(changed),
            }


def _number(value: float | None, *, sign: bool = False) -> str:
    return "undefined" if value is None else f"{value:+.1f}" if sign else f"{value:.1f}"
