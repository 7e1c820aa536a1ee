"""`bench run`: train and score what is missing of a grid."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.cluster import Engine, print_script, submit_pilots
from benchmark.cli.common import (
    AsJson,
    DataNames,
    MethodFiles,
    Results,
    data_roots,
    device_names,
    is_given,
    stopped_by_ctrl_c,
)
from benchmark.vocabulary import BenchError
from benchmark.words import counted, in_results

if TYPE_CHECKING:
    from rich.console import Console

    from benchmark.execution.monitor import Monitor
    from benchmark.planning.grid_launch import GridOutcome, GridPlan
    from benchmark.processes.devices import Slot


class OnError(enum.StrEnum):
    """What a failed run means for the others."""

    CONTINUE = "continue"
    STOP = "stop"


class ScoreGrid(enum.StrEnum):
    """The grid that scores are computed on."""

    DATASET = "dataset"
    NATIVE = "native"


def run(
    context: typer.Context,
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
    on: Annotated[
        Engine | None,
        typer.Option(help="Hand the runs to pilots that a batch system starts; default: run here."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="With --on: how many pilots.")] = 1,
    cluster: Annotated[
        Path | None,
        typer.Option(
            help="With --on: what a pilot asks for, a YAML file; default: ~/.config/mirror-bench/slurm.yaml."
        ),
    ] = None,
    submit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help="With --on: a setting of --cluster, e.g. partition=gpu. Repeatable."
        ),
    ] = None,
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
    from benchmark.config import Resources
    from benchmark.datasets.registry import phantoms_for
    from benchmark.execution.monitor import console, monitor_for
    from benchmark.execution.pool import Pool, check_writable
    from benchmark.planning import setup
    from benchmark.planning.grid import load_profile
    from benchmark.planning.grid_launch import GridRequest, launch_grid, plan_grid, plan_pilots
    from benchmark.registry import use_method_files

    batch = None
    if on is Engine.SLURM:
        from benchmark.execution.slurm import settings_from

        batch = settings_from(cluster, submit or ())
    refuse_idle(context, on)
    own_methods = use_method_files(method_file or ())
    screen = console(to_stderr=as_json)
    asked = setup.asked_study(grid, own_methods)
    real = asked.dataset if asked else setup.DEFAULT_DATASET
    if not data:
        screen.print(
            f"No --data given: this is a demonstration on phantoms. The real thing: add --data {real}=DIR",
            soft_wrap=True,
        )
    roots = data_roots(data or [phantoms_for(real)])
    size = load_profile(profile or ("paper" if any(roots.values()) else "demo"))
    request = GridRequest(
        asked,
        size,
        roots,
        own_methods,
        data_names=setup.data_names(data_name or (), roots),
        only=only or (),
        folds="all" if folds == "all" else numbers(folds, "--folds"),
        seeds=numbers(seeds, "--seeds"),
        devices=device_names(devices),
        jobs=jobs,
        jobs_per_device=jobs_per_device,
        splits=splits,
        overrides={"inference": {"score_grid": score_grid.value}} if score_grid is ScoreGrid.NATIVE else {},
        elsewhere=None if batch is None else batch.computes_in_bfloat16,
    )
    setup.check_names(size)
    if not dry_run:
        check_writable(results)
    if request.wanted_folds and not as_json:
        name = asked.name if asked else ", ".join(own_methods)
        screen.print(
            f"Loading PyTorch to check every run of {name}; that takes some seconds.", soft_wrap=True
        )

    with stopped_by_ctrl_c(), Pool(stop_on_error=on_error is OnError.STOP) as pool:
        planned = plan_grid(pool, request)
        settings = setup.LaunchSettings(
            results=results,
            splits=splits,
            skip_bad_cases=skip_bad_cases,
            resources=Resources(save_predictions=save_predictions, checkpoint_seconds=checkpoint_seconds),
            screen=screen,
            quiet=as_json,
            data_names=request.data_names,
        )
        if dry_run:
            _print_plan(screen, planned, results, as_json=as_json)
            if batch and not as_json:
                print_script(screen, results, planned.study.name, len(planned.chosen), batch)
            return
        if batch:
            files = tuple(method_file or ())
            pilots = plan_pilots(
                planned,
                settings,
                retry_failed=retry_failed,
                method_files=files,
                bfloat16=batch.computes_in_bfloat16,
            )
            submit_pilots(screen, pilots, batch, workers)
            return

        def monitor(labels: dict[str, str], due: int) -> Monitor:
            title, total = planned.study.name, len(labels)
            watching = monitor_for(labels, screen, total=total, due=due, title=title, as_json=as_json)
            if not as_json:
                screen.print(
                    f"{title}: {due} of {counted(total, 'run')} to do on {_devices(planned.places)}, "
                    f"results in {results}",
                    soft_wrap=True,
                )
            return watching

        outcome = launch_grid(
            pool,
            planned,
            settings,
            monitor=monitor,
            retry_failed=retry_failed,
            mlflow=mlflow,
        )
        code = _conclude(screen, outcome, results, as_json=as_json)
    raise typer.Exit(code)


def refuse_idle(context: typer.Context, on: Engine | None) -> None:
    """BenchError for options that say nothing where the runs are executed."""
    idle = (
        ("workers", "cluster", "submit") if on is None else ("jobs", "devices", "jobs_per_device", "on_error")
    )
    for name in idle:
        if is_given(context, name):
            option = f"--{name.replace('_', '-')}"
            what = (
                "without --on"
                if on is None
                else f"with --on {on.value}: the cluster's file and --submit say it"
            )
            raise BenchError(f"{option} has no effect {what}; leave it out.")


def numbers(text: str | None, option: str) -> list[int] | None:
    """The whole numbers of an option, each once; BenchError for anything else."""
    if text is None:
        return None
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = [-1]
    if min(found) < 0:
        raise BenchError(f"{option} {text}: write whole numbers with commas between, e.g. {option} 0,1,2.")
    return list(dict.fromkeys(found))


def _devices(places: Sequence[Slot]) -> str:
    from collections import Counter

    return ", ".join(f"{n} x {device}" for device, n in Counter(p.device for p in places).items())


def _print_plan(screen: Console, planned: GridPlan, results: Path, *, as_json: bool) -> None:
    """`--dry-run`. The runs' names and states are known when they were announced by an earlier start."""
    import json

    from benchmark.planning.setup import phantom_root

    rows, profile = planned.rows(results), planned.request.profile
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    # Cells that are read from one training cost one.
    trainings: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        trainings.setdefault(json.dumps(row["config"], sort_keys=True), []).append(row)
    for row, *others in trainings.values():
        shared = f" (and {counted(len(others), 'more cell')}, read from the same training)" if others else ""
        line = f"{row['state']:<11}  {row['run'] or '':<12}  {row['cell']}{shared}"
        screen.print(line.rstrip(), soft_wrap=True)
    done = sum(first["state"] == "done" for first, *_ in trainings.values())
    share = f" for {counted(len(rows), 'cell')}" if len(rows) > len(trainings) else ""
    data = ", ".join(
        f"{name} in {root or phantom_root(name, profile, results)}"
        for name, root in planned.request.roots.items()
    )
    screen.print(
        f"{counted(len(trainings), 'training')}{share}, {done} of them done; data: {data}",
        soft_wrap=True,
    )
    for line in planned.unsupported:
        screen.print(line, soft_wrap=True, markup=False, highlight=False)
    where = ", ".join(f"{place.device} ({place.threads} threads)" for place in planned.places)
    if planned.request.elsewhere is not None:
        where = "the places of pilots, which this script would start"
    screen.print(f"{planned.study.source} with profile {profile.name} would run on: {where}", soft_wrap=True)


def _conclude(screen: Console, outcome: GridOutcome, results: Path, *, as_json: bool) -> int:
    """Say what came of a launch, and what to type next; returns the exit code."""
    import json

    from benchmark.execution.overview import print_summary

    if as_json:
        summary = {"event": "summary", "undelivered": outcome.undelivered, "total": outcome.total}
        print(json.dumps({**summary, **outcome.states}), flush=True)
    else:
        print_summary(screen, results, outcome.cells)
        where = in_results(results)
        if outcome.states["done"]:
            for one in outcome.launches:
                launch = f"--grid {one.manifest.grid} --manifest {one.manifest.name}"
                screen.print(f"Next: bench report {launch}{where}", soft_wrap=True)
            screen.print(f"Or all in one page for the browser: bench report --html{where}", soft_wrap=True)
        if outcome.undelivered:
            screen.print(
                f"MLflow lacks {counted(outcome.undelivered, 'run')}; `bench sync{where}` delivers what it can. See "
                f"{results / 'mlflow.log'}.",
                soft_wrap=True,
            )
    if outcome.stopped and outcome.unfinished:
        screen.print(
            f"Stopped with {counted(outcome.unfinished, 'run')} to go; the same command continues.",
            soft_wrap=True,
        )
        return 1 if outcome.stopped_by_error else 130
    return 1 if outcome.unfinished else 0
