"""`bench predict`: a finished run's masks of cases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.common import MethodFiles, Results, data_roots, stopped_by_ctrl_c
from benchmark.vocabulary import BenchError
from benchmark.words import counted

if TYPE_CHECKING:
    from benchmark.finished.reopened import ReopenedRun
    from benchmark.protocols import BaseMethod

Run = Annotated[str, typer.Argument(help="A run's id, or how it begins.")]
Device = Annotated[str | None, typer.Option(help="E.g. cuda:0 or cpu; default: the first GPU, if any.")]


def predict(
    run: Run,
    out: Annotated[Path, typer.Option(help="Folder for the masks.")],
    data: Annotated[
        str | None,
        typer.Option(metavar="NAME=DIR", help="Another folder; default: the data set of the run."),
    ] = None,
    cases: Annotated[
        str | None,
        typer.Option(help="These cases, e.g. a,b; labelled ones, too. Default: all without a label."),
    ] = None,
    reading: Annotated[
        str | None,
        typer.Option(help="How to read the network, where there are several ways; default: the first."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also the masks that are there.")] = False,
    method_file: MethodFiles = None,
    device: Device = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Threads; default: those of the run.")] = None,
    results: Results = Path("results"),
) -> None:
    """Write a finished run's masks of unlabelled cases (imagesTs).

    uint8 NIfTI on the images' own grids, named as challenges want it; for MSD BrainTumour with the labels 0 to 3 of its
    dataset.json. Stopped and started again, it goes on where it was.
    """
    from benchmark.execution.monitor import Preparation, console
    from benchmark.finished.predicting import cases_to_predict, predict_masks

    ((name, root),) = data_roots([data]).items() if data else [("", None)]
    if data and root is None:
        raise BenchError(f"--data {data}: say where the images lie, --data {data}=DIR.")
    screen = console()
    with stopped_by_ctrl_c():
        opened = opened_run(results, run, method_file, device, jobs)
        chosen = cases_to_predict(
            opened, data=(name, root) if root else None, wanted=cases.split(",") if cases else None
        )
        for line in _warnings(opened, [case.case_id for case in chosen if case.label is not None]):
            screen.print(line, soft_wrap=True)
        with Preparation(screen, quiet=False) as shown:
            masks = predict_masks(
                opened, chosen, out, reading=reading, again=again, progress=shown.named("predict")
            )
    kept = len(masks.files) - masks.written
    earlier = f", {kept} of them from before" if kept else ""
    screen.print(f"{counted(len(masks.files), 'mask')} in {out}{earlier}", soft_wrap=True)


def opened_run(
    results: Path, run: str, method_file: list[Path] | None, device: str | None, jobs: int | None
) -> ReopenedRun:
    from benchmark.execution.overview import find_run
    from benchmark.execution.worker import cuda_devices
    from benchmark.finished.reopened import reopen
    from benchmark.processes.devices import cuda_is_likely
    from benchmark.registry import use_method_files

    if method_file:
        use_method_files(method_file)
    if device is None:
        device = next((str(d["name"]) for d in cuda_devices()), "cpu") if cuda_is_likely() else "cpu"
    return reopen(results, find_run(results, run).run_id, device=device, threads=jobs)


def _warnings(run: ReopenedRun, labelled: Sequence[str]) -> Iterator[str]:
    """What a reader of the masks must know."""
    method: BaseMethod = run.method
    if method.predicted_regions is not None:
        untold = [region.name for region in run.spec.regions if region.name not in method.predicted_regions]
        if untold:
            predicted = ", ".join(method.predicted_regions)
            yield f"The masks of {run.config.method} have {predicted}, not {', '.join(untold)}."
    unseen = set(run.folder.scores()["case_id"])
    if seen := [case_id for case_id in labelled if case_id not in unseen]:
        yield f"{len(seen)} of the cases are not from this run's test part; it may have been trained on them."
