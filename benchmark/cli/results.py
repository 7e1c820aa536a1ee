"""`bench status`, `show`, `report` and `sync`: what the results folder holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.common import AsJson, Results, Source, stopped_by_ctrl_c
from benchmark.terminal import complain, say
from benchmark.vocabulary import BenchError
from benchmark.words import counted, in_results

if TYPE_CHECKING:
    from reports.ground.files import ReportFiles


def status(
    grid: Annotated[str | None, typer.Option(help="Only this grid.")] = None,
    results: Results = Path("results"),
    as_json: AsJson = False,
) -> None:
    """How the grids stand: from another terminal, at any time."""
    import json

    from benchmark.execution import overview
    from benchmark.execution.monitor import console
    from benchmark.planning.grid import grid_name

    grid = None if grid is None else grid_name(grid)
    if as_json:
        print(json.dumps(overview.status(results, grid), indent=1))
    else:
        overview.print_status(console(), results, grid)


def show(
    run: Annotated[str, typer.Argument(help="A run's id, or how it begins.")],
    results: Results = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Everything about one run. Exit code 1 if some of it is damaged."""
    import json

    from benchmark.execution import overview
    from benchmark.execution.monitor import console

    folder = overview.find_run(results, run)
    facts = overview.run_facts(results, folder)
    if as_json:
        print(json.dumps(facts, indent=1))
    else:
        overview.print_run(console(), folder, facts)
    raise typer.Exit(1 if facts["damaged"] else 0)


def report(
    context: typer.Context,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[GRID|claims|page|all] [FILE]...",
            help="What is shown: a grid (table2), the claims, everything as one page or as folders; then files of "
            "claims of your own, instead of the paper's.",
        ),
    ] = None,
    grid: Annotated[
        str | None, typer.Option(help="The grid's name or its YAML file, as GRID; default: table2.")
    ] = None,
    source: Annotated[
        Source, typer.Option(help="Own runs, published numbers, or both side by side.")
    ] = Source.RUNS,
    out: Annotated[
        Path | None, typer.Option(help="Folder; default: RESULTS/reports/GRID, or .../html.")
    ] = None,
    manifest: Annotated[str | None, typer.Option(help="One launch of the grid, as in RESULTS/grids.")] = None,
    profile: Annotated[str | None, typer.Option(help="The launch with this profile.")] = None,
    dataset: Annotated[str | None, typer.Option(help="The launch on this data set.")] = None,
    search: Annotated[
        str | None,
        typer.Option(help="A search instead of a grid: theta, or theta-1a2b3c4d for one of several."),
    ] = None,
    claims: Annotated[
        bool,
        typer.Option(
            "--claims",
            help="As `claims`: which claims of the paper the numbers carry; with GRID, those about one table.",
        ),
    ] = False,
    everything: Annotated[
        bool,
        typer.Option(
            "--all", help="As `all`: what there are runs for, every grid, every search, the claims."
        ),
    ] = False,
    html: Annotated[
        bool,
        typer.Option(
            "--html",
            help="As `page`: one folder to open in a browser, offline; of everything, or of GRID alone.",
        ),
    ] = False,
    thumbnails: Annotated[
        int, typer.Option(min=0, help="With --html: at most so many small pictures of cases a grid.")
    ] = 3000,
    storage: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where the search's trials are, if its address has a password."),
    ] = None,
    results: Results = Path("results"),
    mlflow: Annotated[
        bool, typer.Option("--mlflow/--no-mlflow", help="Add the files to the grid's run.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Tables and figures of a grid, or of a search, or verdicts on claims: HTML, Markdown, CSV, LaTeX, PNG, PDF."""
    from benchmark.cli.reporting import is_of_trials, refuse_idle, report_all, report_html, report_words
    from benchmark.planning.grid import grid_name
    from reports.tables.report import write_report

    words = report_words(context, files or ())
    grid, files, html = words.grid, list(words.files), words.html
    claims, everything = words.claims, words.everything
    refuse_idle(context)
    if grid is not None:
        grid = grid_name(grid)
    if search is not None and search.endswith((".yaml", ".yml")):
        from benchmark.planning.search_space import load_search

        search = load_search(search).name
    if (html or everything) and source is Source.PAPER:
        raise BenchError("--all and --html show own runs: use --source runs or both.")
    if html:
        report_html(
            results,
            None if grid is None else (grid, manifest, profile, dataset),
            source,
            out=out,
            claims=files or (),
            thumbnails=thumbnails,
            storage=storage,
            mlflow=mlflow,
            as_json=as_json,
        )
        return
    if everything:
        report_all(
            results, source, out=out, claims=files or (), storage=storage, mlflow=mlflow, as_json=as_json
        )
        return
    if claims:
        _report_claims(
            files,
            grid,
            source,
            out=out,
            results=results,
            filters=(manifest, profile, dataset),
            mlflow=mlflow,
            as_json=as_json,
        )
        return
    grid = grid or "table2"
    if is_of_trials(grid):
        search = grid.removeprefix("search_")
    own = source is not Source.PAPER or search is not None
    if search is not None:
        from reports.search.report import open_search, write_search_report

        study = open_search(results, search, storage=storage)
        folder = out or results / "reports" / f"search-{study.study_name}"
        written = write_search_report(results, study, out=folder).files
    else:
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
    _tell(written, folder, results, as_json=as_json)
    if own and mlflow:
        from benchmark.tracking import log_report

        try:
            log_report(results, written.manifest or grid, written.files)
        except BenchError as error:
            complain(error)


def _report_claims(
    files: Sequence[Path] | None,
    grid: str | None,
    source: Source,
    *,
    out: Path | None,
    results: Path,
    filters: tuple[str | None, str | None, str | None],
    mlflow: bool,
    as_json: bool,
) -> None:
    from benchmark.cli.reporting import log_claims
    from benchmark.planning.grid import STUDIES
    from reports.claims.reading import claim_files
    from reports.claims.report import claims_report

    own = source is not Source.PAPER
    manifest, profile, dataset = filters
    folder = out or results / "reports" / ("claims" if own else "claims-published")
    files = files or claim_files(STUDIES / "claims")
    written = claims_report(
        results if own else None,
        files,
        source=source.value,
        out=folder,
        grid=grid,
        manifest=manifest,
        profile=profile,
        dataset=dataset,
    )
    _tell(written, folder, results, as_json=as_json)
    if own and mlflow:
        log_claims(
            results, written, folder, files, grid=grid, name=manifest, profile=profile, dataset=dataset
        )


def _tell(written: ReportFiles, folder: Path, results: Path, *, as_json: bool) -> None:
    import json

    if as_json:
        content = {
            "title": written.title,
            "banner": written.banner,
            "apart": written.apart,
            "summary": written.summary,
            "files": [str(f) for f in written.files],
        }
        print(json.dumps(content, indent=1))
    else:
        pages = [path for path in written.files if path.suffix == ".html"]
        shown = f"Open {pages[0] if pages else written.files[0]}"
        more = "All reports in one page for the browser: bench report --html" + in_results(results)
        say("\n".join([*written.lines, f"{counted(len(written.files), 'file')} in {folder}", shown, more]))


def sync(
    grid: Annotated[list[str] | None, typer.Option(help="Only these grids. Repeatable.")] = None,
    results: Results = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Bring MLflow up to date with the results; needed only after its server was away."""
    import dataclasses
    import json

    from benchmark.planning.grid import grid_name
    from benchmark.tracking import sync as deliver
    from benchmark.tracking.links import runs_link

    with stopped_by_ctrl_c():
        delivery = deliver(results, grids=None if grid is None else list(map(grid_name, grid)))
    say(json.dumps(dataclasses.asdict(delivery), default=str) if as_json else delivery.message)
    if not as_json and (page := runs_link(results)).url:
        say(f"The runs: {page.url} {page.text}".rstrip())
    raise typer.Exit(1 if delivery.undelivered or delivery.problem else 0)
