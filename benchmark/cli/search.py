"""`bench search`: a search by Optuna whose trials are runs."""

from __future__ import annotations

import contextlib
import enum
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.common import AsJson, DataNames, MethodFiles, Results, data_roots, stopped_by_ctrl_c
from benchmark.terminal import say
from benchmark.vocabulary import BenchError
from benchmark.words import counted

if TYPE_CHECKING:
    from benchmark.cli.searching import Searching
    from benchmark.execution.devices import Slot
    from studies.search import Search


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


POLL_SECONDS = 1.0
"""How often the trials of other launchers are looked at while nothing else is to do."""


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
    from benchmark.cli import planning, preparing
    from benchmark.cli.warming import warm
    from benchmark.config import Resources
    from benchmark.execution.monitor import console
    from benchmark.execution.pool import Pool as WorkerPool
    from benchmark.execution.pool import check_writable
    from benchmark.execution.worker import PRELOAD
    from benchmark.registry import phantoms_for, use_method_files
    from studies.grid import load_profile
    from studies.search import load_search

    use_method_files(method_file or ())
    screen = console(to_stderr=as_json)
    asked = load_search(study).only(only or ())
    chosen_pruner = _pruner(asked, pruner)
    if not data:
        screen.print(
            f"No --data given: this is a demonstration on phantoms. The real thing: add --data {asked.dataset}=DIR",
            soft_wrap=True,
        )
    roots = data_roots(data or [phantoms_for(asked.dataset)])
    if len(roots) > 1:
        raise BenchError("A search has one data set; give --data once.")
    size = load_profile(profile or ("paper" if any(roots.values()) else "demo"))
    planning.check_names(size)
    how = planning.How(
        results=results,
        splits=splits,
        skip_bad_cases=skip_bad_cases,
        resources=Resources(checkpoint_seconds=checkpoint_seconds),
        screen=screen,
        quiet=as_json,
        data_names=planning.data_names(data_name or (), roots),
    )
    if not dry_run:
        check_writable(results)
    with (
        stopped_by_ctrl_c(),
        WorkerPool(preload=(*PRELOAD, "benchmark.search.pruning")) as pool,
        contextlib.ExitStack() as around,
    ):
        prepared = preparing.check(pool, asked, size, roots, fold=fold, devices=devices, jobs=jobs)
        notes = preparing.notes_on(sampler.value, trials, prepared.trainings)
        for note in [] if as_json else [*notes, *preparing.unpruned_notes(chosen_pruner, prepared.needs)]:
            screen.print(note, soft_wrap=True)
        if dry_run:
            preparing.print_plan(screen, prepared, as_json=as_json)
            return
        searching = preparing.start(
            around,
            prepared,
            how,
            storage=storage,
            sampler=sampler.value,
            pruner=chosen_pruner,
            seed=seed,
            fresh=not resume,
            limit=trials,
            timeout=timeout,
            launched=preparing.launched(roots, profile, method_file or (), splits, how.data_names),
        )
        for grid in warm_start or ():
            warm(searching, grid)
        code = _carry_out(searching, prepared.places, mlflow=mlflow, as_json=as_json)
        if final and not pool.stops:
            from benchmark.cli.final import look_at_the_test_part

            look_at_the_test_part(searching, prepared.places, mlflow=mlflow, as_json=as_json)
        _conclude(searching, as_json=as_json)
    raise typer.Exit(code)


def _pruner(asked: Search, pruner: Pruner | None) -> str:
    if len(asked.objectives) == 1:
        if "dice" not in asked.objectives and pruner not in (None, Pruner.NONE):
            raise BenchError(
                f"--pruner {pruner}: a training is judged by its validation Dice, and {asked.source} searches for "
                f"{next(iter(asked.objectives))}; use --pruner none."
            )
        default = Pruner.MEDIAN if "dice" in asked.objectives else Pruner.NONE
        return (pruner or default).value
    if pruner not in (None, Pruner.NONE):
        raise BenchError(
            f"--pruner {pruner}: {asked.source} has {len(asked.objectives)} objectives, and half a training that is "
            "worse in one may be better in the other; nothing is pruned. Leave --pruner out."
        )
    return Pruner.NONE.value


def _carry_out(searching: Searching, places: list[Slot], *, mlflow: bool, as_json: bool) -> int:
    """Run trials until there are enough, here or in other launchers; returns the exit code."""
    from optuna.exceptions import StorageInternalError

    from benchmark import tracking
    from benchmark.cli.run import monitor_for
    from benchmark.cli.searching import refer, states_of
    from benchmark.credentials import without_secrets
    from benchmark.execution.signals import answered
    from benchmark.search.trials import counts

    pool, screen, name = searching.pool, searching.how.screen, searching.trials.name
    finished = [trial for trial in searching.trials.all() if trial.state.is_finished()]
    done = sum(map(counts, finished))
    due = max(0, searching.limit - done)
    monitor = monitor_for(
        searching.labels, screen, total=len(finished) + due, due=due, title=name, as_json=as_json
    )
    searching.monitor = monitor
    if not as_json:
        screen.print(
            f"{name}: {done} of {counted(done + due, 'trial')} done, {len(places)} at a time, results in "
            f"{searching.how.results}",
            soft_wrap=True,
        )
    with contextlib.ExitStack() as around:
        if mlflow:
            around.enter_context(tracking.Mirror(searching.how.results, searching.manifest.name))
        around.enter_context(monitor)
        around.enter_context(answered(pool.request_stop))
        try:
            _until_enough(searching, places, refer=lambda: refer(searching))
        except StorageInternalError as error:
            raise BenchError(
                f"The search's trials in {without_secrets(searching.trial.storage)} cannot be reached any more; the "
                "runs in progress were stopped with a checkpoint. The same command continues."
            ) from error
    states = states_of(searching.trials.all())
    if pool.stops:
        screen.print("Stopped; the same command continues.", soft_wrap=True)
        return 130
    return 1 if states.get("fail") else 0


def _until_enough(searching: Searching, places: list[Slot], *, refer: Callable[[], bool]) -> None:
    pool, said = searching.pool, False
    while True:
        searching.ask_at_once()
        pool.run([], places, observer=searching, more=searching.more)
        if pool.stops or searching.timed_out:
            return
        others = searching.trials.others_run()
        if others == 0 and not refer():
            return
        if others:
            if not said:
                said = True
                say(f"Waiting for {counted(others, 'trial')} of another launcher.", to_stderr=True)
            time.sleep(POLL_SECONDS)


def _conclude(searching: Searching, *, as_json: bool) -> None:
    """Write the report, and say what came of the search."""
    import json

    from reports.search.report import write_search_report

    name, how = searching.trials.name, searching.how
    if not searching.trials.all():
        # Stopped, or out of time, before the first.
        return
    written = write_search_report(
        how.results, searching.trials.study, out=how.results / "reports" / f"search-{name}"
    )
    if as_json:
        print(json.dumps({"event": "summary", "search": name, **written.facts}), flush=True)
        return
    how.screen.print("\n".join(written.files.summary), soft_wrap=True)
    how.screen.print(
        f"{counted(len(written.files.files), 'file')} in {written.files.files[0].parent}", soft_wrap=True
    )
