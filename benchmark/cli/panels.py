"""`bench panels`: pictures of single cases, of runs and of a grid (Figures 7 and 8)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.common import MethodFiles, Results, is_given, stopped_by_ctrl_c
from benchmark.cli.finished import named_launch
from benchmark.cli.predict import Device, opened_run
from benchmark.vocabulary import BenchError

if TYPE_CHECKING:
    from rich.console import Console

    from benchmark.finished.reopened import ReopenedRun
    from benchmark.results.manifests import CellRun, GridManifest
    from reports.panels.choice import Chosen
    from reports.panels.layout import PicturedCase


def panels(
    context: typer.Context,
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="Ids of runs, or how they begin.")
    ] = None,
    grid: Annotated[
        str | None,
        typer.Option(
            help="Cells of a grid's launch beside one another: table2 is Figure 7, table5 Figure 8."
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="FACTOR=VALUE,...", help="Of the grid these cells. Repeatable: as `bench run`."),
    ] = None,
    cases: Annotated[
        str,
        typer.Option(
            help="Ids or rules, e.g. a,worst: largest, median-lesion, tumour-free; best, median, worst by Dice; "
            "differ: where several runs do most; auto: all of these."
        ),
    ] = "auto",
    case: Annotated[list[str] | None, typer.Option(help="One of --cases. Repeatable.")] = None,
    fold: Annotated[int | None, typer.Option(min=0, help="Of a grid's runs those of this fold.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder; default: panels/ in the run's folder, of a grid RESULTS/panels/GRID."),
    ] = None,
    method_file: MethodFiles = None,
    device: Device = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Threads; default: all cores.")] = None,
    results: Results = Path("results"),
) -> None:
    """Draw what every branch of finished runs says of test cases.

    Of runs: all outputs, and the arrays for figures of your own. Of a grid: one figure a case (table5: a network) in
    the paper's layout, which `bench report` then includes.
    """
    from benchmark.execution.monitor import console

    if bool(runs) == bool(grid):
        raise BenchError("Name either runs, or a grid with --grid; `bench status` lists them.")
    if only and not grid:
        raise BenchError("--only chooses cells of a grid; name it with --grid.")
    if fold is not None and not grid:
        raise BenchError(
            "--fold chooses among a grid's runs; a run has its own fold. Name the grid with --grid."
        )
    if case and is_given(context, "cases"):
        raise BenchError("--case and --cases say the same: write --cases a,worst or --case a --case worst.")
    wanted = [*case] if case else [word.strip() for word in cases.split(",") if word.strip()]
    how = _How(results, console(to_stderr=False), method_file, device, jobs)
    with stopped_by_ctrl_c():
        if grid:
            _draw_grid(how, grid, only or [], wanted, fold, out)
        else:
            _draw_runs(how, runs or [], wanted, out)


class _How:
    """What the command line says of the results and the machine."""

    def __init__(
        self,
        results: Path,
        screen: Console,
        method_file: list[Path] | None,
        device: str | None,
        jobs: int | None,
    ) -> None:
        self.results, self.screen = results, screen
        self._machine = (method_file, device, jobs)

    def opened(self, run_id: str) -> ReopenedRun:
        return opened_run(self.results, run_id, *self._machine)


def _draw_runs(how: _How, runs: Sequence[str], wanted: Sequence[str], out: Path | None) -> None:
    """The panels of every run, in its folder or in `out`."""
    from benchmark.execution.overview import find_run
    from benchmark.finished.panels import write_panels_data
    from benchmark.results.manifests import manifests
    from reports.evidence.experiments import banner_of_run
    from reports.ground import banner
    from reports.panels import write_panel
    from reports.panels.choice import chosen_cases, known_of
    from reports.panels.rows import case_words, cells_of_run, name_of_run, scores_of_run

    listed = manifests(how.results)
    ids = list(dict.fromkeys(find_run(how.results, run).run_id for run in runs))
    opened = {run_id: how.opened(run_id) for run_id in ids}
    readings = {run_id: next((cell.reading for cell in cells_of_run(listed, run_id)), "") for run_id in ids}
    known = known_of(how.results, list(readings.items()))
    shown = chosen_cases(wanted, known)
    for run_id, run in opened.items():
        name = name_of_run(
            how.results,
            run_id,
            readings[run_id],
            method=run.config.method,
            method_args=run.config.method_args,
        )
        scores = scores_of_run(how.results, run_id, readings[run_id])
        for case in shown:
            with how.screen.status(f"{name}: {case.case_id}"):
                reading = readings[run_id] if readings[run_id] in run.method.readings else None
                (arrays,) = write_panels_data(run, [case.case_id], reading=reading)
                volume = known.lesion_ml[case.case_id]
                why = ", ".join([*case.reasons, *([f"{volume:.1f} ml of lesions"] if volume else [])])
                said = [
                    f"Case {case.case_id}: {why}" if why else f"Case {case.case_id}",
                    f"{', '.join(case_words(scores, case.case_id))}; fold {run.config.fold}, "
                    f"seed {run.config.seed}, run {run_id}",
                ]
                folder = (out / run_id if len(ids) > 1 else out) if out else arrays.parent
                with banner.under(banner_of_run(run_id, listed, reader=run.config.dataset)):
                    files = write_panel(arrays, folder, title=name, said=said)
            how.screen.print(", ".join(map(str, files)), soft_wrap=True)


def _draw_grid(
    how: _How, grid: str, only: Sequence[str], wanted: Sequence[str], fold: int | None, out: Path | None
) -> None:
    """The figures of a grid's cells, for `bench report` to include."""
    from reports.panels.choice import chosen_cases, known_of
    from reports.panels.grid import figures_folder, selected_cells, write_grid_figures
    from reports.panels.rows import row_name

    manifest = named_launch(how.results, grid)
    selected = selected_cells(how.results, manifest, _chosen(manifest, only), fold=fold)
    for name in selected.left_out:
        how.screen.print(f"Not shown, since it is not done: {name}", soft_wrap=True)
    runs = [(cell.run_id, cell.reading) for cell in selected.cells]
    shown = chosen_cases(wanted, known_of(how.results, runs))
    pictured = _pictured(how, selected.cells, shown)
    if not pictured:
        raise BenchError("None of these methods shows its branches, so that there is nothing to draw.")
    names = {name for name, _ in pictured}
    cells = [cell for cell in selected.cells if row_name(cell.factors) in names]
    folder = out or figures_folder(how.results, manifest)
    for path in write_grid_figures(folder, how.results, manifest, cells, shown, pictured):
        how.screen.print(str(path), soft_wrap=True)


def _pictured(
    how: _How, cells: Sequence[CellRun], shown: Sequence[Chosen]
) -> dict[tuple[str, str], PicturedCase]:
    """What every network that shows its branches says of every case, by its row's name and the case."""
    from benchmark.finished.panels import panels_data
    from benchmark.protocols import Method
    from reports.panels.layout import pictured_case
    from reports.panels.reading import outputs_of
    from reports.panels.rows import row_name

    pictured = {}
    for number, cell in enumerate(cells, 1):
        run = how.opened(cell.run_id)
        name = row_name(cell.factors)
        if not isinstance(run.method, Method):
            how.screen.print(
                f"Not shown, since it trains itself and shows no branches: {name}", soft_wrap=True
            )
            continue
        reading = cell.reading if cell.reading in run.method.readings else None
        with how.screen.status("") as status:
            for case in shown:
                status.update(f"[{number}/{len(cells)}] {name}: {case.case_id}")
                (data,) = panels_data(run, [case.case_id], reading=reading)
                pictured[name, case.case_id] = pictured_case(outputs_of(data.arrays, data.description))
    return pictured


def _chosen(manifest: GridManifest, only: Sequence[str]) -> list[CellRun] | None:
    from benchmark.planning.grid import matching

    if not only:
        return None
    taken = matching(manifest.cells, only, where=manifest.name)
    return [cell for cell, is_taken in zip(manifest.cells, taken, strict=True) if is_taken]
