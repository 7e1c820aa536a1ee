"""What the command line does, from Python: `from benchmark import plan_grid, run_grid, run_search, write_report`.

Each function is one command: `bench run --dry-run`, `bench run`, `bench search`, `bench report`. Nothing is printed but
with `progress`. Worker processes are started as by the command line, so that a script needs
`if __name__ == "__main__":` around these calls only where it does something else at import. Example: docs/python.md.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from optuna.study import Study as OptunaStudy
from rich.console import Console

from benchmark.config import Resources
from benchmark.datasets.registry import phantoms_for
from benchmark.execution.monitor import Monitor, PlainMonitor, console
from benchmark.execution.pool import Pool, check_writable
from benchmark.execution.worker import PRELOAD
from benchmark.files.places import check_layout
from benchmark.files.writing import guard
from benchmark.planning import grid_launch, search_start, setup
from benchmark.planning.grid import Profile, load_profile
from benchmark.planning.grid_launch import GridOutcome, GridRequest
from benchmark.planning.search_launch import pruner_for, run_trials
from benchmark.planning.search_space import load_search
from benchmark.planning.setup import LaunchSettings
from benchmark.registry import use_method_files
from reports.ground.files import ReportFiles

StrPath = str | Path
Data = Mapping[str, StrPath]
"""Data sets by their reader: `{"autopet": "/data/FDG-PET-CT-Lesions"}`."""


def plan_grid(
    grid: str | None = None,
    *,
    data: Data | None = None,
    profile: StrPath | None = None,
    method_files: Sequence[StrPath] = (),
    only: Sequence[str] = (),
    folds: Sequence[int] | Literal["all"] | None = None,
    seeds: Sequence[int] | None = None,
    devices: Sequence[str] | None = None,
    results: StrPath = "results",
) -> pd.DataFrame:
    """The runs of a grid, checked and not started: as `bench run --dry-run`.

    Args:
        grid: A grid by name, or a YAML file; None: table2, or `method_files` alone.
        data: Data sets and their folders; None: the phantoms that stand for the grid's data set.
        profile: A profile by name, or a YAML file; None: demo on phantoms, else paper.
        method_files: Methods of your own.
        only: Conditions such as `version=v3,shared_layers=5`; one must hold.
        folds, seeds: None: those of the profile.
        devices: Such as `["cuda:0"]`; None: all GPUs, or the CPU.
        results: Where earlier starts are looked for.

    Returns:
        A row a run: `run` (its id, None before the data were prepared), `state`, `cell`, `config`.

    Raises:
        BenchError: For a grid, a setting or a data set that cannot work, before anything runs.
    """
    request = _request(grid, data, profile, method_files, only, folds, seeds, devices)
    with Pool() as pool:
        return pd.DataFrame(grid_launch.plan_grid(pool, request).rows(_results_in(results)))


def run_grid(
    grid: str | None = None,
    *,
    data: Data | None = None,
    profile: StrPath | None = None,
    method_files: Sequence[StrPath] = (),
    only: Sequence[str] = (),
    folds: Sequence[int] | Literal["all"] | None = None,
    seeds: Sequence[int] | None = None,
    devices: Sequence[str] | None = None,
    jobs: int | None = None,
    jobs_per_device: int = 1,
    splits: StrPath | None = None,
    results: StrPath = "results",
    retry_failed: bool = False,
    stop_on_error: bool = False,
    skip_bad_cases: bool = False,
    save_predictions: bool = False,
    mlflow: bool = True,
    progress: bool = False,
) -> GridOutcome:
    """Train and score what is missing of a grid: as `bench run`. A failed run raises nothing; see `states`.

    Args:
        grid, data, profile, method_files, only, folds, seeds, devices: As in `plan_grid`.
        jobs: Runs at a time on the CPU; None: as many as its cores and memory take.
        jobs_per_device: Runs at a time on each GPU.
        splits: Folds of your own, this suite's or nnU-Net's JSON.
        results: The folder of runs, manifests and prepared data; created where it is not there.
        retry_failed: Run failed runs again.
        stop_on_error: End after the first failed run.
        skip_bad_cases: Leave broken cases out.
        save_predictions: Write NIfTI masks.
        mlflow: Mirror the runs to MLflow.
        progress: Print a line for each run.

    Returns:
        The cells, how many runs are in which state, and the manifests that reports take.

    Raises:
        BenchError: For what cannot work, before the first run.
    """
    request = _request(
        grid, data, profile, method_files, only, folds, seeds, devices, jobs, jobs_per_device, splits
    )
    settings = _settings(
        results, request, skip_bad_cases, progress, Resources(save_predictions=save_predictions)
    )

    def monitor(labels: dict[str, str], due: int) -> Monitor:
        return _monitor(progress, labels, len(labels), due)

    with Pool(stop_on_error=stop_on_error) as pool:
        planned = grid_launch.plan_grid(pool, request)
        return grid_launch.launch_grid(
            pool, planned, settings, monitor=monitor, retry_failed=retry_failed, mlflow=mlflow
        )


def run_search(
    search: str,
    *,
    trials: int = 20,
    data: Data | None = None,
    profile: StrPath | None = None,
    method_files: Sequence[StrPath] = (),
    only: Sequence[str] = (),
    fold: int | None = None,
    devices: Sequence[str] | None = None,
    jobs: int | None = None,
    splits: StrPath | None = None,
    sampler: str = "tpe",
    pruner: str | None = None,
    seed: int = 0,
    storage: str | None = None,
    timeout: float | None = None,
    results: StrPath = "results",
    mlflow: bool = True,
    progress: bool = False,
) -> OptunaStudy:
    """Search for the best values on the validation part: as `bench search`.

    Args:
        search: A search by name (theta, lambda, tradeoff), or a YAML file.
        trials: Trials in all, those of earlier starts included.
        data, profile, method_files, devices, splits, results, mlflow, progress: As in `run_grid`; one data set.
        only: Fewer choices, such as `version=v3`; all must hold.
        fold: Whose validation part decides; None: the profile's.
        jobs: Trials at a time, on each device.
        sampler, pruner, seed: As `bench search` names them; `pruner` None: the search's usual one.
        storage: An address of Optuna's; None: a journal in `results`.
        timeout: Seconds after which no trial is begun.

    Returns:
        Optuna's study, with the trials of all launchers.

    Raises:
        BenchError: For what cannot work, before the first trial.
    """
    names = use_method_files([Path(path) for path in method_files])
    asked = load_search(search).only(only)
    chosen = pruner_for(asked, pruner)
    request = GridRequest(None, *_size_and_roots(data, profile, asked.dataset), names, splits=_path(splits))
    settings = _settings(results, request, False, progress, Resources())
    with Pool(preload=(*PRELOAD, "benchmark.search.pruning")) as pool, contextlib.ExitStack() as around:
        planned = search_start.check(
            pool, asked, request.profile, request.roots, fold=fold, devices=devices, jobs=jobs
        )
        searching = search_start.start(
            around,
            planned,
            settings,
            storage=storage,
            sampler=sampler,
            pruner=chosen,
            seed=seed,
            fresh=False,
            limit=trials,
            timeout=timeout,
            launched=search_start.launched(
                request.roots,
                None if profile is None else str(profile),
                [Path(path) for path in method_files],
                request.splits,
                {},
            ),
        )

        def monitor(done: int, due: int) -> Monitor:
            return _monitor(progress, searching.labels, done + due, due)

        run_trials(searching, planned.places, monitor=monitor, waiting=lambda others: None, mlflow=mlflow)
        return searching.trials.study


def write_report(
    grid: str = "table2",
    *,
    source: Literal["runs", "paper", "both"] = "runs",
    results: StrPath = "results",
    out: StrPath | None = None,
    launch: str | None = None,
) -> ReportFiles:
    """Tables, figures and statistics of a grid, in a folder: as `bench report`.

    Args:
        grid: A grid by name, or a YAML file.
        source: Own runs, published numbers, or both.
        results: The folder of the runs.
        out: Where the files go; None: `results/reports/GRID`.
        launch: One launch of the grid, by the name of its manifest; None: the newest with a finished run.

    Returns:
        The files, and the tables as frames and as printed.

    Raises:
        BenchError: Where there are no runs of the grid.
    """
    from benchmark.planning.grid import grid_name
    from reports.tables.report import write_report as write

    name, folder = grid_name(grid), _results_in(results)
    return write(
        None if source == "paper" else folder,
        grid=name,
        source=source,
        out=Path(out) if out is not None else folder / "reports" / name,
        manifest_name=launch,
    )


def _path(path: StrPath | None) -> Path | None:
    return None if path is None else Path(path)


def _size_and_roots(
    data: Data | None, profile: StrPath | None, usual: str
) -> tuple[Profile, dict[str, Path | None]]:
    roots: dict[str, Path | None] = (
        {phantoms_for(usual): None} if data is None else {name: Path(root) for name, root in data.items()}
    )
    size = load_profile(str(profile) if profile is not None else "demo" if data is None else "paper")
    setup.check_names(size)
    return size, roots


def _request(
    grid: str | None,
    data: Data | None,
    profile: StrPath | None,
    method_files: Sequence[StrPath],
    only: Sequence[str],
    folds: Sequence[int] | Literal["all"] | None,
    seeds: Sequence[int] | None,
    devices: Sequence[str] | None,
    jobs: int | None = None,
    jobs_per_device: int = 1,
    splits: StrPath | None = None,
) -> GridRequest:
    own_methods = use_method_files([Path(path) for path in method_files])
    study = setup.asked_study(grid, own_methods)
    size, roots = _size_and_roots(data, profile, study.dataset if study else setup.DEFAULT_DATASET)
    return GridRequest(
        study,
        size,
        roots,
        own_methods,
        only=only,
        folds=folds,
        seeds=seeds,
        devices=devices,
        jobs=jobs,
        jobs_per_device=jobs_per_device,
        splits=_path(splits),
    )


def _settings(
    results: StrPath, request: GridRequest, skip_bad_cases: bool, progress: bool, resources: Resources
) -> LaunchSettings:
    folder = _results_in(results)
    check_writable(folder)
    screen = console() if progress else Console(file=io.StringIO())
    return LaunchSettings(folder, request.splits, skip_bad_cases, resources, screen, quiet=not progress)


def _results_in(folder: StrPath) -> Path:
    """A results folder in which no link is followed."""
    results = Path(folder)
    check_layout(results)
    guard(results)
    return results


def _monitor(progress: bool, labels: dict[str, str], total: int, due: int) -> Monitor:
    kind: Any = PlainMonitor if progress else Monitor
    monitor: Monitor = kind(labels, total=total, finished=total - due)
    return monitor
