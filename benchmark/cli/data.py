"""`bench data`: phantoms, checks and preparation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.common import AsJson, Jobs, Results, data_roots, spacing_of, stopped_by_ctrl_c
from benchmark.vocabulary import BenchError

app = typer.Typer(name="data", help="Phantoms, checks and preparation of data sets.", no_args_is_help=True)


@app.command("phantom")
def data_phantom(
    out: Annotated[Path, typer.Option(help="Folder to write to.")],
    cases: Annotated[int, typer.Option(min=1, help="Studies; some patients have two.")] = 40,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = 0,
    spacing: Annotated[str | None, typer.Option(help="Voxel edges in mm, e.g. 4 or 2,2,3.")] = None,
    jobs: Jobs = None,
) -> None:
    """Write PET/CT phantoms as NIfTI files in AutoPET's layout."""
    from benchmark.data.phantom import DEFAULT_SPACING_MM, write_phantoms
    from benchmark.execution.devices import cores
    from benchmark.execution.monitor import Preparation, console

    with stopped_by_ctrl_c(), Preparation(console(), quiet=False) as shown:
        write_phantoms(
            out,
            cases=cases,
            seed=seed,
            spacing_mm=spacing_of(spacing) or DEFAULT_SPACING_MM,
            jobs=jobs or cores(),
            progress=shown.named("generate phantoms"),
        )
    print(f"{cases} phantoms in {out}; use them with --data phantom={out}")


@app.command("check")
def data_check(
    path: Annotated[Path, typer.Argument(help="The data set's folder.")],
    dataset: Annotated[str, typer.Option(help="Which data set it is.")] = "autopet",
    cheap: Annotated[bool, typer.Option("--cheap", help="Headers only, as `bench run` does.")] = False,
    jobs: Jobs = None,
    as_json: AsJson = False,
) -> None:
    """List all faults of a data set's files, each with case and remedy. Exit code 1 if there are any."""
    from benchmark.data.check import check_cases, faults_json, report_faults
    from benchmark.execution.devices import cores
    from benchmark.execution.monitor import Preparation, console
    from benchmark.registry import dataset as reader_of

    reader = reader_of(dataset)
    cases = reader.discover(path)
    with stopped_by_ctrl_c(), Preparation(console(to_stderr=as_json), quiet=as_json) as shown:
        faults = check_cases(
            cases, reader.spec, thorough=not cheap, jobs=jobs or cores(), progress=shown.named("check")
        )
    print(faults_json(faults) if as_json else report_faults(faults, cases=len(cases)))
    raise typer.Exit(1 if faults else 0)


@app.command("prepare")
def data_prepare(
    data: Annotated[str, typer.Option(metavar="NAME=DIR", help="A data set and its folder.")],
    spacing: Annotated[
        str | None, typer.Option(help="Voxel edges in mm; default: the data set's own.")
    ] = None,
    n_folds: Annotated[int, typer.Option(min=2, help="Folds to draw.")] = 5,
    splits: Annotated[Path | None, typer.Option(help="Your own splits.")] = None,
    skip_bad_cases: Annotated[bool, typer.Option("--skip-bad-cases", help="Leave broken cases out.")] = False,
    results: Results = Path("results"),
    jobs: Jobs = None,
) -> None:
    """Check, resample, crop and store a data set, and draw its splits, as `bench run` would."""
    from benchmark.data.pipeline import ready_data
    from benchmark.execution.devices import cores
    from benchmark.execution.monitor import Preparation, console
    from benchmark.execution.pool import check_writable
    from benchmark.registry import dataset as reader_of

    ((name, root),) = data_roots([data]).items()
    if root is None:
        raise BenchError("--data phantom: write phantoms first (bench data phantom), then say phantom=DIR.")
    check_writable(results)
    with stopped_by_ctrl_c(), Preparation(console(), quiet=False) as shown:
        ready = ready_data(
            name,
            root,
            results=results,
            preparation=reader_of(name).spec.preparation_at(spacing_of(spacing)),
            n_folds=n_folds,
            splits_file=splits,
            skip_bad_cases=skip_bad_cases,
            jobs=jobs or cores(),
            progress=shown.show,
        )
    if ready.excluded_cases:
        print(f"Left out {len(ready.excluded_cases)} bad cases: {', '.join(ready.excluded_cases)}")
    print(f"{ready.n_cases} cases in {ready.store}, {len(ready.rebuilt)} of them prepared now")
    print(f"{ready.n_folds} folds in {ready.splits}")
