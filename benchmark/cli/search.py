"""`bench search`: a search by Optuna whose trials are runs."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.common import (
    AsJson,
    DataNames,
    MethodFiles,
    Results,
    data_roots,
    device_names,
    stopped_by_ctrl_c,
)
from benchmark.terminal import say
from benchmark.vocabulary import BenchError
from benchmark.words import counted

if TYPE_CHECKING:
    from rich.console import Console

    from benchmark.execution.monitor import Monitor
    from benchmark.planning.search_loop import Searching
    from benchmark.planning.search_start import SearchPlan
    from benchmark.processes.devices import Slot


class Sampler(enum.StrEnum):
    """Who suggests values."""

    TPE = "tpe"
    RANDOM = "random"
    CMAES = "cmaes"
    GP = "gp"
    NSGAII = "nsgaii"


class Pruner(enum.StrEnum):
    """Who stops trials early."""

    MEDIAN = "median"
    HYPERBAND = "hyperband"
    NONE = "none"


def search(
    study: Annotated[str, typer.Option(help="A search by name (theta, lambda, tradeoff), or a YAML file.")],
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DIR", help="A data set and its folder, or `phantom`."),
    ] = None,
    data_name: DataNames = None,
    profile: Annotated[
        str | None, typer.Option(help="Size of the experiment: demo, small, paper, or a YAML file.")
    ] = None,
    method_file: MethodFiles = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Fewer choices: version=v3. Repeatable; all must hold.")
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Trials in all, those of earlier starts included.")] = 20,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Begin no trial after so many seconds; those begun end.")
    ] = None,
    fold: Annotated[
        int | None, typer.Option(min=0, help="Whose validation part decides; default: the profile's.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Trials at a time, on each device.")] = None,
    devices: Annotated[str | None, typer.Option(help="E.g. cuda:0,cuda:1 or cpu; default: all GPUs.")] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="postgresql://..., mysql+pymysql://..., or a journal file; default: in RESULTS.",
        ),
    ] = None,
    sampler: Annotated[Sampler, typer.Option(help="Who suggests values.")] = Sampler.TPE,
    pruner: Annotated[
        Pruner | None, typer.Option(help="Who stops trials early; default: median, with two objectives none.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the sampler.")] = 0,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on where the same command stopped.")
    ] = True,
    warm_start: Annotated[
        list[str] | None,
        typer.Option(metavar="GRID", help="Its finished runs in the space are known trials. Repeatable."),
    ] = None,
    final: Annotated[
        bool,
        typer.Option(
            "--final", help="Train best and paper's values over seeds, compare on the test part; once."
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the search, begin nothing.")] = False,
    results: Results = Path("results"),
    skip_bad_cases: Annotated[bool, typer.Option("--skip-bad-cases", help="Leave broken cases out.")] = False,
    splits: Annotated[
        Path | None, typer.Option(help="Your own splits (this suite's or nnU-Net's JSON).")
    ] = None,
    checkpoint_seconds: Annotated[
        float, typer.Option(min=0.1, help="Seconds between checkpoints: what a kill costs at most.")
    ] = 120.0,
    mlflow: Annotated[bool, typer.Option("--mlflow/--no-mlflow", help="Mirror the runs to MLflow.")] = True,
    as_json: AsJson = False,
) -> None:
    """Search for the best values on the validation part. The same command again continues; several share the work."""
    from benchmark.config import Resources
    from benchmark.datasets.registry import phantoms_for
    from benchmark.execution.monitor import console
    from benchmark.execution.pool import Pool as WorkerPool
    from benchmark.execution.pool import check_writable
    from benchmark.execution.worker import PRELOAD
    from benchmark.planning import search_start, setup
    from benchmark.planning.grid import load_profile
    from benchmark.planning.search_launch import pruner_for
    from benchmark.planning.search_space import load_search
    from benchmark.planning.warm_start import warm
    from benchmark.registry import use_method_files

    use_method_files(method_file or ())
    screen = console(to_stderr=as_json)
    asked = load_search(study).only(only or ())
    chosen_pruner = pruner_for(asked, pruner and pruner.value)
    if not data:
        screen.print(
            f"No --data given: this is a demonstration on phantoms. The real thing: add --data {asked.dataset}=DIR",
            soft_wrap=True,
        )
    roots = data_roots(data or [phantoms_for(asked.dataset)])
    if len(roots) > 1:
        raise BenchError("A search has one data set; give --data once.")
    size = load_profile(profile or ("paper" if any(roots.values()) else "demo"))
    setup.check_names(size)
    settings = setup.LaunchSettings(
        results=results,
        splits=splits,
        skip_bad_cases=skip_bad_cases,
        resources=Resources(checkpoint_seconds=checkpoint_seconds),
        screen=screen,
        quiet=as_json,
        data_names=setup.data_names(data_name or (), roots),
    )
    if not dry_run:
        check_writable(results)
    with (
        stopped_by_ctrl_c(),
        WorkerPool(preload=(*PRELOAD, "benchmark.search.pruning")) as pool,
        contextlib.ExitStack() as around,
    ):
        prepared = search_start.check(
            pool, asked, size, roots, fold=fold, devices=device_names(devices), jobs=jobs
        )
        notes = search_start.notes_on(sampler.value, trials, prepared.trainings)
        for note in (
            [] if as_json else [*notes, *search_start.unpruned_notes(chosen_pruner, prepared.checked_runs)]
        ):
            screen.print(note, soft_wrap=True)
        if dry_run:
            _print_plan(screen, prepared, as_json=as_json)
            return
        searching = search_start.start(
            around,
            prepared,
            settings,
            storage=storage,
            sampler=sampler.value,
            pruner=chosen_pruner,
            seed=seed,
            fresh=not resume,
            limit=trials,
            timeout=timeout,
            launched=search_start.launched(roots, profile, method_file or (), splits, settings.data_names),
        )
        for grid in warm_start or ():
            warm(searching, grid)
        code = _carry_out(searching, prepared.places, mlflow=mlflow, as_json=as_json)
        if final and not pool.stops:
            from benchmark.planning.search_final import look_at_the_test_part

            look_at_the_test_part(searching, prepared.places, mlflow=mlflow, as_json=as_json)
        _conclude(searching, as_json=as_json)
    raise typer.Exit(code)


def _carry_out(searching: Searching, places: Sequence[Slot], *, mlflow: bool, as_json: bool) -> int:
    """Run trials until there are enough; returns the exit code."""
    from benchmark.execution.monitor import monitor_for
    from benchmark.planning.search_launch import run_trials

    screen, name = searching.settings.screen, searching.trials.name

    def monitor(done: int, due: int) -> Monitor:
        finished = sum(trial.state.is_finished() for trial in searching.trials.all())
        watching = monitor_for(
            searching.labels, screen, total=finished + due, due=due, title=name, as_json=as_json
        )
        if not as_json:
            screen.print(
                f"{name}: {done} of {counted(done + due, 'trial')} done, {len(places)} at a time, results in "
                f"{searching.settings.results}",
                soft_wrap=True,
            )
        return watching

    def waiting(others: int) -> None:
        say(f"Waiting for {counted(others, 'trial')} of another launcher.", to_stderr=True)

    all_well = run_trials(searching, places, monitor=monitor, waiting=waiting, mlflow=mlflow)
    if searching.pool.stops:
        screen.print("Stopped; the same command continues.", soft_wrap=True)
        return 130
    return 0 if all_well else 1


def _print_plan(screen: Console, planned: SearchPlan, *, as_json: bool) -> None:
    """`--dry-run`: the space, and a run of it."""
    import json

    search = planned.trainings.search
    if as_json:
        example = planned.checked_runs[0].run.config.model_dump(mode="json")
        print(json.dumps({**search.definition(), "example": example}, indent=1))
        return
    for choice in search.choices:
        screen.print(f"{choice.name}: one of {', '.join(choice.names)}", soft_wrap=True)
    for number in search.numbers:
        scale = ", log scale" if number.log else f", step {number.step:g}" if number.step else ""
        only = "; ".join(f"{name} {' or '.join(levels)}" for name, levels in (number.when or {}).items())
        of = ", ".join(number.paths)
        screen.print(
            f"{number.name}: {number.low:g} to {number.high:g}{scale} ({of}){f', only with {only}' if only else ''}",
            soft_wrap=True,
        )
    goals = ", ".join(f"{direction} {metric}" for metric, direction in search.objectives.items())
    limits = "".join(f", {metric} at most {limit:g}" for metric, limit in search.constraints.items())
    screen.print(
        f"{search.source} would {goals}{limits}; {counted(len(planned.places), 'trial')} at a time",
        soft_wrap=True,
    )


def _conclude(searching: Searching, *, as_json: bool) -> None:
    """Write the report, and say what came of the search."""
    import json

    from reports.search.report import write_search_report

    name, settings = searching.trials.name, searching.settings
    if not searching.trials.all():
        # Stopped, or out of time, before the first.
        return
    written = write_search_report(
        settings.results, searching.trials.study, out=settings.results / "reports" / f"search-{name}"
    )
    if as_json:
        print(json.dumps({"event": "summary", "search": name, **written.facts}), flush=True)
        return
    settings.screen.print("\n".join(written.files.summary), soft_wrap=True)
    settings.screen.print(
        f"{counted(len(written.files.files), 'file')} in {written.files.files[0].parent}", soft_wrap=True
    )
