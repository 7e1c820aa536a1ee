"""Finished runs as they are named on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.vocabulary import BenchError, did_you_mean
from benchmark.words import counted

if TYPE_CHECKING:
    from rich.console import Console

    from benchmark.results.manifests import CellRun, GridManifest


def finished_cells(results: Path, runs: Sequence[str], grid: str | None, screen: Console) -> list[CellRun]:
    """The cells of the runs that are named, and of a grid's `named_launch`, each with one reading.

    Runs that are not done are left out, and counted on the screen.
    """
    from benchmark.execution.overview import find_run
    from benchmark.results.manifests import manifests

    every = manifests(results)
    if not runs and grid is None:
        raise BenchError("Name runs, or a grid with --grid; `bench status` lists them.")
    cells: list[CellRun] = []
    if grid is not None:
        cells += named_launch(results, grid).cells
    for prefix in runs:
        run_id = find_run(results, prefix).run_id
        known = [[cell for cell in manifest.cells if cell.run_id == run_id] for manifest in every]
        cells += next(filter(None, known), []) or _alone(results, run_id)
    return _done(results, cells, screen)


def named_launch(results: Path, grid: str) -> GridManifest:
    """The launch of this name, or of a grid of this name the one that its report shows; BenchError where there is
    none."""
    from benchmark.planning.grid import grid_name
    from benchmark.results.manifests import manifests
    from reports.ground.launches import shown_of

    grid = grid_name(grid)
    every = manifests(results)
    found = [manifest for manifest in every if grid in (manifest.grid, manifest.name)]
    if not found:
        known = did_you_mean(grid, {manifest.grid for manifest in every}) if every else "There is none yet."
        raise BenchError(f"There is no grid {grid!r} in {results}. {known}")
    return shown_of(results, found)


def _alone(results: Path, run_id: str) -> list[CellRun]:
    """A run that no manifest mentions, with every reading it was scored for."""
    from benchmark.config import run_config
    from benchmark.results.manifests import CellRun
    from benchmark.results.runs import RunFolder

    folder = RunFolder(results, run_id)
    config = run_config(folder.config(), source=str(folder.config_file))
    readings = folder.scores()["reading"].unique() if folder.scores_file.exists() else [""]
    return [
        CellRun({"method": config.method}, config.fold, config.seed, run_id, str(reading))
        for reading in readings
    ]


def _done(results: Path, cells: Sequence[CellRun], screen: Console) -> list[CellRun]:
    from benchmark.results.runs import RunFolder, state_of

    state = {cell.run_id: state_of(RunFolder(results, cell.run_id))[0] for cell in cells}
    left_out = [run_id for run_id, word in state.items() if word != "done"]
    if len(left_out) == len(state):
        raise BenchError(f"None of the {len(state)} runs is done; `bench run` finishes them.")
    if left_out:
        screen.print(
            f"{len(left_out)} of {counted(len(state), 'run')} not done, and left out.", soft_wrap=True
        )
    unique = {(cell.run_id, cell.reading): cell for cell in cells if state[cell.run_id] == "done"}
    return list(unique.values())


def check_modalities(results: Path, cells: Sequence[CellRun], modalities: Sequence[str]) -> None:
    """BenchError for a modality that a data set of these runs does not have."""
    from benchmark.datasets.registry import dataset
    from benchmark.results.runs import RunFolder

    folders = {cell.run_id: RunFolder(results, cell.run_id) for cell in cells}
    places = {
        (folder.config()["dataset"], folder.data().root)
        for folder in folders.values()
        if folder.data_file.exists()
    }
    for name, root in places:
        spec = dataset(name).spec_of(root)
        if unknown := [modality for modality in modalities if modality not in spec.modalities]:
            raise BenchError(
                f"--without {unknown[0]}: {spec.name} has no such modality. "
                f"{did_you_mean(unknown[0], spec.modalities)}"
            )
