"""`bench work`, and what `bench run --on` does: plans for pilots on other machines."""

from __future__ import annotations

import enum
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.common import device_names
from benchmark.vocabulary import BenchError
from benchmark.words import counted, in_results

if TYPE_CHECKING:
    from rich.console import Console

    from benchmark.execution.plan_file import RunPlan
    from benchmark.execution.slurm import SlurmSettings


class Engine(enum.StrEnum):
    """Who gives pilots their places."""

    SLURM = "slurm"


def work(
    plan: Annotated[Path, typer.Argument(help="A plan, RESULTS/plans/ID, as `bench run --on` wrote it.")],
    pilot: Annotated[
        int, typer.Option(min=0, help="This pilot's number; each needs its own. Its start again keeps it.")
    ] = 0,
    devices: Annotated[str | None, typer.Option(help="E.g. cuda:0 or cpu; default: all GPUs.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Runs at a time on the CPU.")] = None,
    jobs_per_device: Annotated[int, typer.Option(min=1, help="Runs at a time on each GPU.")] = 1,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Do no work: cancel all of the plan's pilots, as `scancel` does.")
    ] = False,
) -> None:
    """Work on a plan until nothing is left to start. Exit code 75: stopped with work left, start it again.

    A batch system starts this; by hand it does the same. A plan names files of methods, and runs them: work on plans
    of your own only.
    """
    from benchmark.execution import slurm
    from benchmark.execution.monitor import PlainMonitor
    from benchmark.execution.pilot import job_here
    from benchmark.execution.pilot import work as work_on
    from benchmark.execution.places import chosen_devices, places_for
    from benchmark.execution.plan_file import read_plan
    from benchmark.execution.pool import Pool, check_writable
    from benchmark.files.writing import guard
    from benchmark.processes.signals import answer_from_now_on
    from benchmark.registry import use_method_files
    from benchmark.terminal import say

    planned = read_plan(plan)
    guard(planned.results)
    if cancel:
        say(
            f"{counted(slurm.cancel(planned), 'pilot')} of plan {planned.id} cancelled; they save their checkpoints."
        )
        return
    check_writable(planned.results)
    use_method_files(planned.method_files)
    with Pool() as pool:

        def stop() -> None:
            # Once: a batch system sends TERM to everybody, and again before it kills.
            if not pool.stops:
                pool.request_stop()

        # Also while the process ends, whose exit code says that there is work left.
        answer_from_now_on(stop)
        names, bfloat16 = chosen_devices(pool, device_names(devices), jobs)
        if planned.bfloat16 and not bfloat16:
            raise BenchError(
                f"Plan {planned.id} counts on devices that compute in bfloat16, and {', '.join(names)} do not here: "
                "submit again with --submit bfloat16=false, or to other nodes."
            )
        places = places_for(names, [order.config for order in planned.orders], jobs, jobs_per_device)
        due, job = len(planned.due()), job_here()
        say(
            f"Pilot {pilot}{f' (job {job})' if job else ''}: {due} of {counted(len(planned.orders), 'run')} of "
            f"{planned.title} to do, {counted(len(places), 'place')} on {', '.join(names)}"
        )
        with PlainMonitor(
            planned.labels, total=len(planned.orders), finished=len(planned.orders) - due
        ) as watching:
            end = work_on(planned, pilot, pool, places, observer=watching)
        if end.stopped and end.left:
            say(f"Stopped with {counted(end.left, 'run')} to go.")
            raise typer.Exit(slurm.TRY_AGAIN)
        others = f"; other pilots have {counted(end.left, 'run')}" if end.left else ""
        say(f"Pilot {pilot} has nothing left to start{others}.")
        raise typer.Exit(1 if watching.failed else 0)


def submit_pilots(screen: Console, plan: RunPlan | None, settings: SlurmSettings, workers: int) -> None:
    """Submit pilots for a plan, at most one a run, and say what to type next."""
    from benchmark.execution.slurm import submit

    if plan is None:
        screen.print("Nothing is left to do.")
        return
    made = submit(plan, settings, min(workers, len(plan.orders)))
    jobs, here = " ".join(map(str, made.jobs)), in_results(plan.results)
    screen.print(
        f"Plan {plan.id}: {counted(len(plan.orders), 'run')} of {plan.title}, {counted(made.workers, 'pilot')} "
        f"submitted (job {jobs}); logs in {plan.folder}",
        soft_wrap=True,
    )
    screen.print(f"Watch: bench status{here}", soft_wrap=True)
    screen.print(f"Stop:  bench work {shlex.quote(str(plan.folder))} --cancel", soft_wrap=True)
    screen.print(f"MLflow, at any time: bench sync{here}", soft_wrap=True)


def print_script(screen: Console, results: Path, title: str, n_runs: int, settings: SlurmSettings) -> None:
    """`--dry-run`: what would be submitted."""
    from benchmark.execution.plan_file import FOLDER
    from benchmark.execution.slurm import script_of

    script = script_of(results.resolve() / FOLDER / "PLAN", title, n_runs, settings)
    screen.print(script, soft_wrap=True, markup=False, highlight=False)
