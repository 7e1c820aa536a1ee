"""`bench run`: train and score what is missing of a grid."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.common import AsJson, DataNames, MethodFiles, Results, data_roots, stopped_by_ctrl_c
from benchmark.vocabulary import BenchError
from benchmark.words import counted, in_results

if TYPE_CHECKING:
    from rich.console import Console

    from benchmark.cli.planning import Work
    from benchmark.execution.devices import Slot
    from benchmark.execution.monitor import Monitor
    from benchmark.execution.pool import Pool
    from benchmark.manifests import CellRun
    from studies.grid import Profile
    from studies.launch import PlannedRun


class OnError(enum.StrEnum):
    """What a failed run means for the others."""

    CONTINUE = "continue"
    STOP = "stop"


class ScoreGrid(enum.StrEnum):
    """The grid that scores are computed on."""

    DATASET = "dataset"
    NATIVE = "native"


DEFAULT_DATASET = "autopet"
"""Where neither a study nor --data names one."""


def run(
    grid: Annotated[
        str | None,
        typer.Option(help="A study by name, or a YAML file; default: table2, or your --method-file alone."),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DIR", help="A data set and its folder, or `phantom`. Repeatable."),
    ] = None,
    data_name: DataNames = None,
    profile: Annotated[
        str | None, typer.Option(help="Size of the experiment: demo, small, paper, or a YAML file.")
    ] = None,
    method_file: MethodFiles = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Run only such cells: version=v3,shared_layers=5. Repeatable; one must hold."),
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="Seeds, e.g. 0,1,2.")] = None,
    folds: Annotated[str | None, typer.Option(help="Folds, e.g. 0,1, or `all`.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Runs at a time on the CPU.")] = None,
    devices: Annotated[str | None, typer.Option(help="E.g. cuda:0,cuda:1 or cpu; default: all GPUs.")] = None,
    jobs_per_device: Annotated[int, typer.Option(min=1, help="Runs at a time on each GPU.")] = 1,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check the study, list the runs, start none; the data is not read."),
    ] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed runs again.")] = False,
    on_error: Annotated[OnError, typer.Option(help="After a failed run.")] = OnError.CONTINUE,
    results: Results = Path("results"),
    skip_bad_cases: Annotated[bool, typer.Option("--skip-bad-cases", help="Leave broken cases out.")] = False,
    splits: Annotated[
        Path | None, typer.Option(help="Your own splits (this suite's or nnU-Net's JSON).")
    ] = None,
    score_grid: Annotated[ScoreGrid, typer.Option(help="Grid to score on.")] = ScoreGrid.DATASET,
    save_predictions: Annotated[bool, typer.Option("--save-predictions", help="Write NIfTI masks.")] = False,
    checkpoint_seconds: Annotated[
        float, typer.Option(min=0.1, help="Seconds between checkpoints: what a kill costs at most.")
    ] = 120.0,
    mlflow: Annotated[bool, typer.Option("--mlflow/--no-mlflow", help="Mirror the runs to MLflow.")] = True,
    as_json: AsJson = False,
) -> None:
    """Run what is missing of a grid. The same command again continues; several at once share the work."""
    from benchmark.cli import planning
    from benchmark.config import Resources
    from benchmark.execution.monitor import console
    from benchmark.execution.pool import Pool, check_writable
    from benchmark.registry import method_digest, phantoms_for, use_method_files
    from studies.grid import load_profile
    from studies.launch import plan

    own_methods = use_method_files(method_file or ())
    screen = console(to_stderr=as_json)
    asked = planning.asked_study(grid, own_methods)
    real = asked.dataset if asked else DEFAULT_DATASET
    if not data:
        screen.print(
            f"No --data given: this is a demonstration on phantoms. The real thing: add --data {real}=DIR",
            soft_wrap=True,
        )
    roots = data_roots(data or [phantoms_for(real)])
    names_given = planning.data_names(data_name or (), roots)
    size = load_profile(profile or ("paper" if any(roots.values()) else "demo"))
    planning.check_names(size)
    if not dry_run:
        check_writable(results)

    n_folds = _n_folds(size, splits, roots)
    asked_folds = _numbers(folds, "--folds", size.folds, everything=range(n_folds))
    if too_high := [fold for fold in asked_folds if fold >= n_folds]:
        raise BenchError(f"--folds: There is no fold {too_high[0]}; there are the folds 0 to {n_folds - 1}.")
    if not as_json:
        name = asked.name if asked else ", ".join(own_methods)
        screen.print(
            f"Loading PyTorch to check every run of {name}; that takes some seconds.", soft_wrap=True
        )

    with stopped_by_ctrl_c(), Pool(stop_on_error=on_error is OnError.STOP) as pool:
        study = planning.study_on(pool, asked, own_methods, roots)
        names, bfloat16 = chosen_devices(pool, devices, jobs)
        planned = plan(
            study,
            size,
            datasets=list(roots),
            data_names=planning.names_of(roots),
            folds=asked_folds,
            seeds=_numbers(seeds, "--seeds", size.seeds),
            only=only or (),
            overrides={"inference": {"score_grid": score_grid.value}}
            if score_grid is ScoreGrid.NATIVE
            else {},
            bfloat16=bfloat16,
            digest=method_digest,
        )
        places = places_for(names, planned, jobs, jobs_per_device)
        needs = planning.inspect(pool, planned, study, roots)
        if dry_run:
            planning.print_plan(
                screen, study, size, needs, roots, results, places, names=names_given, as_json=as_json
            )
            return
        how = planning.How(
            results=results,
            splits=splits,
            skip_bad_cases=skip_bad_cases,
            resources=Resources(save_predictions=save_predictions, checkpoint_seconds=checkpoint_seconds),
            screen=screen,
            quiet=as_json,
            data_names=names_given,
        )
        work = [planning.announce(study, size, name, needs, roots[name], how) for name in roots]
        code = _execute(
            pool,
            work,
            places,
            screen,
            results,
            title=study.name,
            retry_failed=retry_failed,
            mlflow=mlflow,
            as_json=as_json,
        )
    raise typer.Exit(code)


def _n_folds(size: Profile, splits: Path | None, roots: Mapping[str, Path | None]) -> int:
    """How many folds all of the data sets have."""
    from benchmark.data.splits import n_folds_in
    from benchmark.registry import dataset

    used = [splits or (dataset(name).own_splits(root) if root else None) for name, root in roots.items()]
    return min(n_folds_in(path) if path else size.n_folds for path in used)


def _numbers(
    text: str | None, option: str, default: Sequence[int], *, everything: Sequence[int] | None = None
) -> list[int]:
    if text is None:
        return list(default)
    if text == "all" and everything is not None:
        return list(everything)
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = [-1]
    if min(numbers) < 0:
        raise BenchError(f"{option} {text}: write whole numbers with commas between, e.g. {option} 0,1,2.")
    return list(dict.fromkeys(numbers))


def chosen_devices(pool: Pool, asked: str | None, jobs: int | None) -> tuple[list[str], bool]:
    """The devices to run on, and whether all of them compute in bfloat16."""
    from benchmark.execution import devices
    from benchmark.execution.worker import cuda_devices

    names = [name.strip() for name in asked.split(",")] if asked else []
    if not names and jobs is not None and devices.cuda_is_likely():
        raise BenchError("--jobs is for the CPU: add --devices cpu, or say --jobs-per-device for the GPUs.")
    if names == ["cpu"] or (not names and not devices.cuda_is_likely()):
        return ["cpu"], devices.cpu_has_bfloat16()
    found = {device["name"]: bool(device["bfloat16"]) for device in pool.call(cuda_devices, None)}
    if not names:
        names = list(found) or ["cpu"]
    if unknown := [name for name in names if name not in found and name != "cpu"]:
        raise BenchError(
            f"--devices: there is no {unknown[0]!r} here; there are {', '.join(['cpu', *found])}.{_why_no_gpu()}"
        )
    bfloat16 = all(found.get(name, devices.cpu_has_bfloat16()) for name in names)
    return list(dict.fromkeys(names)), bfloat16


def _why_no_gpu() -> str:
    """A sentence where the installed torch cannot see any GPU."""
    from benchmark.execution.devices import torch_is_for_cpus

    if not torch_is_for_cpus():
        return ""
    return (
        " The installed torch is a build for CPUs, which sees no GPU: install the one for your GPU from "
        "https://pytorch.org/get-started/locally."
    )


def places_for(
    names: Sequence[str], planned: Sequence[PlannedRun], jobs: int | None, jobs_per_device: int
) -> list[Slot]:
    from math import prod

    from benchmark.execution import devices

    if list(names) != ["cpu"]:
        if jobs is not None:
            raise BenchError("--jobs is for the CPU; on GPUs say --jobs-per-device.")
        return devices.slots(list(names), per_device=jobs_per_device)
    if jobs_per_device != 1:
        raise BenchError("--jobs-per-device is for GPUs; on the CPU say --jobs.")
    largest = max(run.config.training.batch_size * prod(run.config.training.patch_size) for run in planned)
    chosen = len({run.config.canonical_json() for run in planned if run.chosen})
    threads = max(run.config.threads for run in planned)
    return devices.slots(
        ["cpu"], per_device=jobs or devices.cpu_jobs(largest, chosen, threads=threads), threads=threads
    )


def _execute(
    pool: Pool,
    work: Sequence[Work],
    places: Sequence[Slot],
    screen: Console,
    results: Path,
    *,
    title: str,
    retry_failed: bool,
    mlflow: bool,
    as_json: bool,
) -> int:
    """Run what is missing; returns the exit code."""
    import json
    from collections import Counter

    from benchmark import tracking
    from benchmark.execution.overview import labels_of, print_summary
    from benchmark.execution.signals import answered
    from studies.launch import counts, launch

    cells = [cell for part in work for cell in part.chosen]
    names = [part.manifest.name for part in work]
    orders = {run_id: order for part in work for run_id, order in part.orders.items()}
    several = len({(cell.fold, cell.seed) for cell in cells}) > 1
    labels = labels_of(cells, fold_and_seed=several)

    def execute(due: Sequence[CellRun]) -> None:
        monitor = monitor_for(labels, screen, total=len(labels), due=len(due), title=title, as_json=as_json)
        if not as_json:
            where = ", ".join(f"{n} x {device}" for device, n in Counter(p.device for p in places).items())
            screen.print(
                f"{title}: {len(due)} of {counted(len(labels), 'run')} to do on {where}, results in {results}",
                soft_wrap=True,
            )
        with contextlib.ExitStack() as around:
            for name in names if mlflow else ():
                around.enter_context(tracking.Mirror(results, name))
            around.enter_context(monitor)
            around.enter_context(answered(pool.request_stop))
            pool.run([orders[cell.run_id] for cell in due], places, observer=monitor)

    standings = launch(results, cells, retry_failed=retry_failed, execute=execute)
    missing = len(tracking.undelivered(results, grids=names)) if mlflow else 0
    states = counts(standings)
    if as_json:
        print(
            json.dumps({"event": "summary", "undelivered": missing, "total": len(labels), **states}),
            flush=True,
        )
    else:
        print_summary(screen, results, cells)
        if states["done"]:
            where = in_results(results)
            for part in work:
                launch_of = f"--grid {part.manifest.grid} --manifest {part.manifest.name}"
                screen.print(f"Next: bench report {launch_of}{where}", soft_wrap=True)
            screen.print(f"Or all in one page for the browser: bench report --html{where}", soft_wrap=True)
        if missing:
            screen.print(
                f"MLflow lacks {counted(missing, 'run')}; `bench sync` delivers what it can. See "
                f"{results / 'mlflow.log'}.",
                soft_wrap=True,
            )
    unfinished = len(labels) - states["done"]
    if pool.stops and unfinished:
        screen.print(
            f"Stopped with {counted(unfinished, 'run')} to go; the same command continues.", soft_wrap=True
        )
        return 1 if pool.stopped_by_error else 130
    return 1 if unfinished else 0


def monitor_for(
    labels: dict[str, str], screen: Console, *, total: int, due: int, title: str, as_json: bool
) -> Monitor:
    from benchmark.execution.monitor import JsonMonitor, LiveMonitor, PlainMonitor

    if as_json:
        return JsonMonitor(labels, total=total, finished=total - due)
    if screen.is_terminal:
        return LiveMonitor(labels, total=total, finished=total - due, title=title, console=screen)
    return PlainMonitor(labels, total=total, finished=total - due)
