"""The command line: parse, call, return an exit code.

0: all is well. 1: it worked, and found failed runs or faulty cases. 2: an error the user can act on, in one
line on stderr. 130: stopped by Ctrl-C; the same command continues. Imports at the top must stay light.
"""

from __future__ import annotations

import contextlib
import enum
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.vocabulary import BenchError, Spacing

if TYPE_CHECKING:
    from rich.console import Console

    from benchmark.config import Resources
    from benchmark.data.pipeline import ReadyData
    from benchmark.execution.devices import Slot
    from benchmark.execution.monitor import Monitor, Preparation
    from benchmark.execution.order import RunOrder
    from benchmark.execution.pool import Pool
    from benchmark.results import CellRun, GridManifest, RunFolder
    from studies.grid import Profile, Study
    from studies.launch import Part, PlannedRun

app = typer.Typer(
    name="bench",
    help="Train, score and compare segmentation methods. Start with: bench run --grid table2",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(
    name="data", help="Phantoms, checks and preparation of data sets.", no_args_is_help=True
)
app.add_typer(data_app)


class OnError(enum.StrEnum):
    """What a failed run means for the others."""

    CONTINUE = "continue"
    STOP = "stop"


class ScoreGrid(enum.StrEnum):
    """The grid that scores are computed on."""

    DATASET = "dataset"
    NATIVE = "native"


class Source(enum.StrEnum):
    """Whose numbers a report shows."""

    RUNS = "runs"
    PAPER = "paper"
    BOTH = "both"


Results = Annotated[Path, typer.Option("--results", help="Folder of runs, grids and prepared data.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Jobs = Annotated[int | None, typer.Option("--jobs", min=1, help="Processes or threads; default: all cores.")]

PHANTOM = "phantom"
PHANTOM_FOLDER = Path("data")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command `bench`."""
    try:
        app(args=None if arguments is None else list(arguments))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        sys.exit(2)


@contextlib.contextmanager
def _stopped_by_ctrl_c() -> Iterator[None]:
    """Ctrl-C while nothing of value is half done."""
    try:
        yield
    except KeyboardInterrupt:
        print("Interrupted. The same command continues where this one stopped.", file=sys.stderr)
        raise typer.Exit(130) from None


@app.command()
def run(
    grid: Annotated[str, typer.Option(help="A study by name (table2), or a YAML file.")] = "table2",
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DIR", help="A data set and its folder, or `phantom`. Repeatable."),
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="Size of the experiment: demo, small, paper, or a YAML file.")
    ] = None,
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
    from benchmark.config import Resources
    from benchmark.execution.monitor import console
    from benchmark.execution.pool import Pool, check_writable
    from studies.grid import load_profile, load_study

    screen = console(to_stderr=as_json)
    if not data:
        screen.print(
            f"No --data given: this is a demonstration on phantoms. The real thing: "
            f"bench run --grid {grid} --data autopet=DIR",
            soft_wrap=True,
        )
    roots = _data_roots(data or [PHANTOM])
    study = load_study(grid)
    size = load_profile(profile or ("paper" if any(roots.values()) else "demo"))
    if not dry_run:
        check_writable(results)

    with _stopped_by_ctrl_c(), Pool(stop_on_error=on_error is OnError.STOP) as pool:
        names, bfloat16 = _devices(pool, devices, jobs)
        from studies.launch import parts, plan

        planned = plan(
            study,
            size,
            datasets=list(roots),
            folds=_numbers(folds, "--folds", size.folds, everything=range(_n_folds(size, splits))),
            seeds=_numbers(seeds, "--seeds", size.seeds),
            only=only or (),
            overrides={"inference": {"score_grid": score_grid.value}}
            if score_grid is ScoreGrid.NATIVE
            else {},
            bfloat16=bfloat16,
        )
        places = _places(names, planned, jobs, jobs_per_device)
        _check_methods(pool, planned, study)
        if dry_run:
            _print_plan(screen, study, size, parts(planned), roots, results, places, as_json=as_json)
            return
        work = []
        for part in parts(planned):
            ready = _ready(
                part,
                roots[part.dataset],
                size,
                screen,
                results,
                splits,
                skip_bad_cases,
                jobs=None,
                quiet=as_json,
            )
            resources = Resources(save_predictions=save_predictions, checkpoint_seconds=checkpoint_seconds)
            work.append(_announce(study, size, part, ready, roots[part.dataset], results, resources))
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


def _data_roots(data: Sequence[str]) -> dict[str, Path | None]:
    """Data set -> folder; None: phantoms that are still to be generated."""
    from benchmark.registry import dataset

    roots: dict[str, Path | None] = {}
    for text in data:
        name, equals, folder = text.partition("=")
        if not equals and name != PHANTOM:
            raise BenchError(f"--data {text}: say which data set it is, e.g. --data autopet={text}.")
        dataset(name)
        if name in roots:
            raise BenchError(f"--data {name} is given twice.")
        if equals and not Path(folder).is_dir():
            raise BenchError(f"--data {text}: there is no folder {folder!r}.")
        roots[name] = Path(folder) if equals else None
    return roots


def _n_folds(size: Profile, splits: Path | None) -> int:
    if splits is None:
        return size.n_folds
    from benchmark.data.splits import n_folds_in

    return n_folds_in(splits)


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


def _devices(pool: Pool, asked: str | None, jobs: int | None) -> tuple[list[str], bool]:
    """The devices to run on, and whether all of them compute in bfloat16."""
    from benchmark.execution import devices
    from benchmark.execution.worker import cuda_devices

    names = [name.strip() for name in asked.split(",")] if asked else []
    if not names and jobs is not None and devices.cuda_is_likely():
        raise BenchError("--jobs is for the CPU: add --devices cpu, or say --jobs-per-device for the GPUs.")
    if names == ["cpu"] or (not names and not devices.cuda_is_likely()):
        return ["cpu"], devices.cpu_has_bfloat16()
    found = {device["name"]: bool(device["bfloat16"]) for device in pool.warm_up().call(cuda_devices, None)}
    if not names:
        names = list(found) or ["cpu"]
    if unknown := [name for name in names if name not in found and name != "cpu"]:
        raise BenchError(
            f"--devices: there is no {unknown[0]!r} here; there are {', '.join(['cpu', *found])}."
        )
    bfloat16 = all(found.get(name, devices.cpu_has_bfloat16()) for name in names)
    return list(dict.fromkeys(names)), bfloat16


def _places(
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
    chosen = sum(run.chosen for run in planned)
    return devices.slots(["cpu"], per_device=jobs or devices.cpu_jobs(largest, chosen))


def _check_methods(pool: Pool, planned: Sequence[PlannedRun], study: Study) -> None:
    """Every method, argument and loss weight is bound before anything runs."""
    from benchmark.execution.worker import faults_of

    settings = {}
    for planned_run in planned:
        config = planned_run.config.model_copy(update={"fold": 0, "seed": 0})
        settings[config.canonical_json()] = config.model_dump(mode="json")
    faults = pool.warm_up().call(faults_of, list(settings.values()))
    if faults:
        more = f" ({len(faults) - 1} more such faults)" if len(faults) > 1 else ""
        raise BenchError(f"{study.source}: {faults[0]}{more}")


def _ready(
    part: Part,
    root: Path | None,
    profile: Profile,
    screen: Console,
    results: Path,
    splits: Path | None,
    skip_bad_cases: bool,
    *,
    jobs: int | None,
    quiet: bool,
) -> tuple[Path, ReadyData]:
    """The part's data, checked and prepared; phantoms are generated first."""
    from benchmark.data.pipeline import ready_data
    from benchmark.execution.devices import cores
    from benchmark.execution.monitor import Preparation

    with Preparation(screen, quiet=quiet) as shown:
        if root is None:
            root = _phantoms(profile, shown, jobs=jobs or cores())
        ready = ready_data(
            part.dataset,
            root,
            results=results,
            spacing_mm=part.spacing_mm,
            n_folds=profile.n_folds,
            splits_file=splits,
            skip_bad_cases=skip_bad_cases,
            jobs=jobs or cores(),
            progress=shown.show,
        )
    if ready.excluded_cases:
        screen.print(
            f"Left out {len(ready.excluded_cases)} bad cases: {', '.join(ready.excluded_cases)}",
            soft_wrap=True,
        )
    worst = max(run.config.fold for run in part.runs)
    if worst >= ready.n_folds:
        raise BenchError(f"There is no fold {worst}: {ready.splits} has the folds 0 to {ready.n_folds - 1}.")
    return root, ready


def _phantom_root(profile: Profile) -> Path:
    phantom = profile.phantom
    spacing = "x".join(f"{edge:g}" for edge in phantom.spacing_mm) + "mm" if phantom.spacing_mm else "default"
    return PHANTOM_FOLDER / f"phantom-{phantom.cases}-{spacing}-seed{phantom.seed}"


def _phantoms(profile: Profile, shown: Preparation, *, jobs: int) -> Path:
    from benchmark.data.phantom import DEFAULT_SPACING_MM, write_phantoms
    from benchmark.results import exclusive

    root = _phantom_root(profile)
    # Another launcher of the same demonstration waits until they are there.
    with exclusive(root.with_name(f".{root.name}.lock"), wait=True):
        write_phantoms(
            root,
            cases=profile.phantom.cases,
            seed=profile.phantom.seed,
            spacing_mm=profile.phantom.spacing_mm or DEFAULT_SPACING_MM,
            jobs=jobs,
            progress=shown.named("generate phantoms"),
        )
    return root


def _announce(
    study: Study,
    profile: Profile,
    part: Part,
    located: tuple[Path, ReadyData],
    given_root: Path | None,
    results: Path,
    resources: Resources,
) -> tuple[GridManifest, list[CellRun], dict[str, RunOrder]]:
    """Write the part's manifest, and say how its chosen runs are executed."""
    from benchmark.execution.order import RunOrder
    from benchmark.results import RunFolder, write_manifest
    from studies.launch import manifest

    root, ready = located
    fingerprint = ready.fingerprint
    listed = manifest(
        study,
        profile,
        part,
        data_root=root.resolve() if given_root else root,
        data_fingerprint=fingerprint,
        excluded_cases=ready.excluded_cases,
    )
    write_manifest(results, listed)
    orders = {}
    for planned, cell in zip(part.runs, listed.cells, strict=True):
        orders[cell.run_id] = RunOrder(
            results=results.resolve(),
            run_id=cell.run_id,
            config=planned.config,
            store=ready.store.resolve(),
            splits=ready.splits.resolve(),
            data_fingerprint=fingerprint,
            resources=resources,
            excluded_cases=ready.excluded_cases,
        )
    chosen = [cell for planned, cell in zip(part.runs, listed.cells, strict=True) if planned.chosen]
    without = [cell.run_id for cell in chosen if _has_scores_only(RunFolder(results, cell.run_id))]
    if resources.save_predictions and without:
        print(
            f"{len(without)} finished runs have no masks, since they ran without --save-predictions; to get them, "
            f"remove their folders in {results / 'runs'}: {', '.join(without[:5])}",
            file=sys.stderr,
        )
    return listed, chosen, orders


def _has_scores_only(folder: RunFolder) -> bool:
    return folder.scores_file.exists() and not folder.predictions.exists()


def _execute(
    pool: Pool,
    work: Sequence[tuple[GridManifest, list[CellRun], dict[str, RunOrder]]],
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
    from benchmark.execution.overview import label, print_summary
    from studies.launch import counts, launch

    cells = [cell for _, chosen, _ in work for cell in chosen]
    names = [manifest.name for manifest, _, _ in work]
    orders = {run_id: order for _, _, own in work for run_id, order in own.items()}
    several = len({(cell.fold, cell.seed) for cell in cells}) > 1
    labels = {cell.run_id: label(cell, fold_and_seed=several) for cell in cells}

    def execute(due: Sequence[CellRun]) -> None:
        monitor = _monitor(labels, screen, total=len(cells), due=len(due), title=title, as_json=as_json)
        if not as_json:
            where = ", ".join(f"{n} x {device}" for device, n in Counter(p.device for p in places).items())
            screen.print(
                f"{title}: {len(due)} of {len(cells)} runs to do on {where}, results in {results}",
                soft_wrap=True,
            )
        with contextlib.ExitStack() as around:
            for name in names if mlflow else ():
                around.enter_context(tracking.Mirror(results, name))
            around.enter_context(monitor)
            around.enter_context(_stop_signals(pool))
            pool.run([orders[cell.run_id] for cell in due], places, observer=monitor)

    standings = launch(results, cells, retry_failed=retry_failed, execute=execute)
    missing = len(tracking.undelivered(results, grids=names)) if mlflow else 0
    counted = counts(standings)
    if as_json:
        print(
            json.dumps({"event": "summary", "undelivered": missing, "total": len(cells), **counted}),
            flush=True,
        )
    else:
        print_summary(screen, results, cells)
        if missing:
            screen.print(
                f"MLflow lacks {missing} runs; `bench sync` delivers them. See {results / 'mlflow.log'}.",
                soft_wrap=True,
            )
    unfinished = len(cells) - counted["done"]
    if pool.stops and unfinished:
        screen.print(f"Stopped with {unfinished} runs to go; the same command continues.", soft_wrap=True)
        return 1 if pool.stopped_by_error else 130
    return 1 if unfinished else 0


def _monitor(
    labels: dict[str, str], screen: Console, *, total: int, due: int, title: str, as_json: bool
) -> Monitor:
    from benchmark.execution.monitor import JsonMonitor, LiveMonitor, PlainMonitor

    if as_json:
        return JsonMonitor(labels, total=total, finished=total - due)
    if screen.is_terminal:
        return LiveMonitor(labels, total=total, finished=total - due, title=title, console=screen)
    return PlainMonitor(labels, total=total, finished=total - due)


@contextlib.contextmanager
def _stop_signals(pool: Pool) -> Iterator[None]:
    """Ctrl-C and its like ask the pool to stop instead of ending the launcher."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda *_: pool.request_stop()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_plan(
    screen: Console,
    study: Study,
    profile: Profile,
    parts: Sequence[Part],
    roots: dict[str, Path | None],
    results: Path,
    places: Sequence[Slot],
    *,
    as_json: bool,
) -> None:
    """`--dry-run`. The runs' names and states are known when their data were prepared by an earlier start."""
    import json

    from benchmark.execution.overview import label, state_words
    from benchmark.results import manifests
    from studies.launch import manifest

    rows: list[dict[str, Any]] = []
    for part in parts:
        listed = manifest(study, profile, part, data_root=Path(), data_fingerprint="")
        words: dict[str, str] = {}
        for earlier in manifests(results, study.name):
            again = manifest(
                study, profile, part, data_root=Path(), data_fingerprint=earlier.data_fingerprint
            )
            if again.name == earlier.name:
                listed, words = again, state_words(results, again.cells)
                break
        for planned, cell in zip(part.runs, listed.cells, strict=True):
            if planned.chosen:
                known = (
                    {"run": cell.run_id, "state": words[cell.run_id]}
                    if words
                    else {"run": None, "state": "pending"}
                )
                rows.append({**known, "cell": label(cell), "config": planned.config.model_dump(mode="json")})
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        screen.print(f"{row['state']:<11}  {row['run'] or '':<12}  {row['cell']}".rstrip(), soft_wrap=True)
    data = ", ".join(f"{name} in {root or _phantom_root(profile)}" for name, root in roots.items())
    screen.print(
        f"{len(rows)} runs, {sum(row['state'] == 'done' for row in rows)} of them done; data: {data}",
        soft_wrap=True,
    )
    where = ", ".join(f"{place.device} ({place.threads} threads)" for place in places)
    screen.print(f"{study.source} with profile {profile.name} would run on: {where}", soft_wrap=True)


@app.command()
def status(
    grid: Annotated[str | None, typer.Option(help="Only this grid.")] = None,
    results: Results = Path("results"),
    as_json: AsJson = False,
) -> None:
    """How the grids stand: from another terminal, at any time."""
    import json

    from benchmark.execution import overview
    from benchmark.execution.monitor import console

    if as_json:
        print(json.dumps(overview.status(results, grid), indent=1))
    else:
        overview.print_status(console(), results, grid)


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="A run's id, or how it begins.")],
    results: Results = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Everything about one run."""
    import json

    from benchmark.execution import overview
    from benchmark.execution.monitor import console

    folder = overview.find_run(results, run)
    if as_json:
        print(json.dumps(overview.run_facts(results, folder), indent=1))
    else:
        overview.print_run(console(), results, folder)


@app.command()
def report(
    grid: Annotated[str, typer.Option(help="The grid's name.")] = "table2",
    source: Annotated[
        Source, typer.Option(help="Own runs, published numbers, or both side by side.")
    ] = Source.RUNS,
    out: Annotated[Path | None, typer.Option(help="Folder; default: RESULTS/reports/GRID.")] = None,
    manifest: Annotated[str | None, typer.Option(help="One launch of the grid, as in RESULTS/grids.")] = None,
    profile: Annotated[str | None, typer.Option(help="The newest launch with this profile.")] = None,
    dataset: Annotated[str | None, typer.Option(help="The newest launch on this data set.")] = None,
    results: Results = Path("results"),
    mlflow: Annotated[
        bool, typer.Option("--mlflow/--no-mlflow", help="Add the files to the grid's run.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Tables and figures of a grid: Markdown, CSV, LaTeX, PNG, PDF."""
    import json

    from reports.report import write_report

    own = source is not Source.PAPER
    folder = out or results / "reports" / (grid if own else f"{grid}-published")
    written = write_report(
        results if own else None,
        grid=grid,
        source=source.value,
        out=folder,
        manifest_name=manifest,
        profile=profile,
        dataset=dataset,
    )
    if as_json:
        content = {
            "title": written.title,
            "summary": written.summary,
            "files": [str(f) for f in written.files],
        }
        print(json.dumps(content, indent=1))
    else:
        print("\n".join([written.title, *written.summary, f"{len(written.files)} files in {folder}"]))
    if own and mlflow:
        from benchmark.tracking import log_report

        try:
            log_report(results, written.manifest or grid, written.files)
        except BenchError as error:
            print(f"bench: {error}", file=sys.stderr)


@app.command()
def sync(
    grid: Annotated[list[str] | None, typer.Option(help="Only these grids. Repeatable.")] = None,
    results: Results = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Bring MLflow up to date with the results; needed only after its server was away."""
    import dataclasses
    import json

    from benchmark.tracking import sync as deliver

    with _stopped_by_ctrl_c():
        delivery = deliver(results, grids=grid)
    print(json.dumps(dataclasses.asdict(delivery), default=str) if as_json else delivery.message)
    raise typer.Exit(1 if delivery.undelivered or delivery.problem else 0)


@data_app.command("phantom")
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

    with _stopped_by_ctrl_c(), Preparation(console(), quiet=False) as shown:
        write_phantoms(
            out,
            cases=cases,
            seed=seed,
            spacing_mm=_spacing(spacing) or DEFAULT_SPACING_MM,
            jobs=jobs or cores(),
            progress=shown.named("generate phantoms"),
        )
    print(f"{cases} phantoms in {out}; use them with --data phantom={out}")


@data_app.command("check")
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
    with _stopped_by_ctrl_c(), Preparation(console(to_stderr=as_json), quiet=as_json) as shown:
        faults = check_cases(
            cases, reader.spec, thorough=not cheap, jobs=jobs or cores(), progress=shown.named("check")
        )
    print(faults_json(faults) if as_json else report_faults(faults, cases=len(cases)))
    raise typer.Exit(1 if faults else 0)


@data_app.command("prepare")
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

    ((name, root),) = _data_roots([data]).items()
    if root is None:
        raise BenchError("--data phantom: write phantoms first (bench data phantom), then say phantom=DIR.")
    check_writable(results)
    with _stopped_by_ctrl_c(), Preparation(console(), quiet=False) as shown:
        ready = ready_data(
            name,
            root,
            results=results,
            spacing_mm=_spacing(spacing),
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


def _spacing(text: str | None) -> Spacing | None:
    if text is None:
        return None
    try:
        edges = [float(part) for part in text.replace("x", ",").split(",")]
    except ValueError:
        edges = []
    edges = edges * 3 if len(edges) == 1 else edges
    if len(edges) != 3 or not all(0 < edge < float("inf") for edge in edges):
        raise BenchError(f"--spacing {text}: write one length in mm or three, e.g. --spacing 2,2,3.")
    return (edges[0], edges[1], edges[2])


if __name__ == "__main__":
    main()
