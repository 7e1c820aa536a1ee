"""`bench why`: what stands behind a printed number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.common import AsJson, Results, is_given, mlflow_links
from benchmark.vocabulary import BenchError, did_you_mean

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from benchmark.results.manifests import GridManifest
    from reports.evidence.run_rows import PartRows
    from reports.ground.addresses import Places
    from reports.provenance.trace import RunTrace, Trace


def why(
    context: typer.Context,
    address: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS",
            help="E.g. table2:v3/shuffle/5, 'table3:PET#fnv_ml', or table3-050f30dd:PET of one launch; of several "
            "cells 'table2:v3/*/5' or 'table3:PET|EF'; of a run's own rows run:8924fe8193f4/validation.",
        ),
    ],
    results: Results = Path("results"),
    manifest: Annotated[str | None, typer.Option(help="One launch of the grid, as in RESULTS/grids.")] = None,
    profile: Annotated[str | None, typer.Option(help="The launch with this profile.")] = None,
    dataset: Annotated[str | None, typer.Option(help="The launch on this data set.")] = None,
    as_json: AsJson = False,
) -> None:
    """What stands behind a number: runs, configuration, code, data, weights, cases; and the number from these again.

    Of several cells, a line each. Exit code 1 if a number is not what the rows on disk give, or if files are not as
    the runs left them.
    """
    import dataclasses
    import json

    from benchmark.execution.monitor import console
    from reports.ground.addresses import RUN, parse_address, parse_places
    from reports.provenance.trace import Traces, published_trace
    from reports.tables.registry import printed_table

    if not results.is_dir() and is_given(context, "results"):
        raise BenchError(
            f"There is no folder {results}. Name that of the runs with --results; without it, and without ./results, "
            "published numbers are shown."
        )
    wanted = parse_places(address)
    if wanted.grid == RUN:
        if manifest or profile or dataset:
            raise BenchError(
                f"{wanted} names runs, not a launch: leave --manifest, --profile and --dataset out."
            )
        raise typer.Exit(0 if _tell_rows(results, wanted, as_json=as_json) else 1)
    launch = _launch(results, wanted, manifest, profile, dataset)
    traces = None if launch is None else Traces(results, launch, links=mlflow_links(results))
    table = printed_table(wanted.grid) if traces is None else traces.table
    of = partial(published_trace, table) if traces is None else traces.of
    found = [of(one) for one in (table.among(wanted) if wanted.several else [parse_address(address)])]
    if as_json:
        told = list(map(dataclasses.asdict, found))
        print(json.dumps(told if wanted.several else told[0], indent=1))
    elif wanted.several:
        print_traces(console(), found)
    else:
        print_trace(console(), found[0])
    raise typer.Exit(1 if any(one.faults for one in found) else 0)


def _launch(
    results: Path, wanted: Places, manifest: str | None, profile: str | None, dataset: str | None
) -> GridManifest | None:
    """The launch an address is about; None where there is none, but a published table."""
    from benchmark.results.manifests import manifests
    from reports.tables.registry import TABLES
    from reports.tables.report import choose_launch

    named = {launch.name: launch.grid for launch in manifests(results)}
    grid = named.get(wanted.grid, wanted.grid)
    if grid not in named.values() and not (manifest or profile or dataset):
        if grid in TABLES:
            return None
        known = dict.fromkeys([*named.values(), *TABLES])
        raise BenchError(f"There is no grid {grid!r} in {results}. {did_you_mean(grid, known)}")
    if manifest and wanted.grid in named and manifest != wanted.grid:
        raise BenchError(
            f"{wanted} is of the launch {wanted.grid}, --manifest asks for {manifest}: leave one of them out."
        )
    name = manifest or (wanted.grid if wanted.grid in named else None)
    return choose_launch(results, grid=grid, name=name, profile=profile, dataset=dataset)[0]


def _tell_rows(results: Path, wanted: Places, *, as_json: bool) -> bool:
    """Print the rows of single runs; whether they are as the runs left them."""
    import json

    from benchmark.execution.monitor import console
    from benchmark.results.runs import RunFolder
    from reports.evidence.run_rows import part_rows, parts_of

    found = [part_rows(results, part) for part in parts_of(wanted)]
    for one in found:
        known = [measure.metric for measure in one.measures]
        if wanted.measure and wanted.measure not in known:
            raise BenchError(
                f"Run {one.part.run_id} was not scored in {wanted.measure!r}. {did_you_mean(wanted.measure, known)}"
            )
    if as_json:
        print(json.dumps(list(map(_part_json, found)), indent=1))
    else:
        for one in found:
            print_part(console(), one, RunFolder(results, one.part.run_id).path, metric=wanted.measure)
    return not any(one.faults for one in found)


def _part_json(found: PartRows) -> dict[str, object]:
    """A part of a run's rows: undefined scores are null."""
    rows, means = (frame.astype(object).where(frame.notna(), None) for frame in (found.rows, found.means))
    return {
        **vars(found.part),
        "cases": rows.to_dict("records"),
        "means": means.to_dict("records"),
        "summary": [
            {"title": title, **{name: None if value != value else value for name, value in numbers.items()}}
            for title, numbers in found.summary()
        ],
        "faults": list(found.faults),
    }


def print_part(screen: Console, found: PartRows, folder: Path, *, metric: str = "") -> None:
    """The rows of a run for people, with their means and spread, in one metric or in those of the tables."""
    from rich.table import Table
    from rich.text import Text

    from reports.ground.measures import MEASURES

    part = found.part
    read = f", read as {part.reading}" if part.reading else ""
    title = f"{part.address}  Run {part.run_id}, {part.part}{read}: {folder}"
    screen.print(Text(title, "bold"), soft_wrap=True)
    wanted = [metric] if metric else [one.metric for one in MEASURES.values()]
    measures = [one for one in found.measures if one.metric in wanted] or list(found.measures[:1])
    names = ["case_id", "patient", *(["region"] if found.rows["region"].nunique() > 1 else [])]
    table = Table(box=None, padding=(0, 2, 0, 2), header_style="dim", pad_edge=True)
    for name in names:
        table.add_column(name.removesuffix("_id"), overflow="fold")
    for measure in measures:
        table.add_column(measure.title, justify="right", no_wrap=True)
    for row in found.rows.to_dict("records"):
        scores = (_four_digits(row[one.metric]) for one in measures)
        table.add_row(*(Text(str(row[name])) for name in names), *scores)
    table.add_section()
    blank = [Text("")] * (len(names) - 1)
    for title, numbers in found.summary():
        table.add_row(Text(title, "bold"), *blank, *(_four_digits(numbers[one.metric]) for one in measures))
    screen.print(table)
    for text in found.faults:
        screen.print(Text(f"fault: {text}", "red"), soft_wrap=True)


def _four_digits(value: float) -> Text:
    from rich.text import Text

    return Text("undefined", "dim") if value != value else Text(f"{value:.4f}")


def print_traces(screen: Console, found: Sequence[Trace]) -> None:
    """Several numbers for people: a line each, and their faults."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for column in ("number of", found[0].title, "from the rows", "runs done", "published"):
        table.add_column(column, overflow="fold", justify="left" if column == "number of" else "right")
    for one in found:
        again = "–" if one.recomputed is None else f"{one.recomputed:.6f}"
        done = f"{sum(run.state == 'done' for run in one.runs)}/{len(one.runs)}"
        published = "–" if one.published is None or one.published.apart else f"{one.published.value:.2f}"
        table.add_row(*map(Text, (one.address, one.printed, again, done, published)))
    screen.print(table)
    for one in found:
        for text in one.faults:
            screen.print(Text(f"fault: {one.address}: {text}", "red"), soft_wrap=True)


def print_trace(screen: Console, found: Trace) -> None:
    """The trace for people: the number, its runs, their cases."""
    from rich.text import Text

    from reports.provenance.words import number_words, run_words

    screen.print(Text(f"{found.address}  {found.title}: {found.printed}", "bold"), soft_wrap=True)
    _print_rows(screen, number_words(found))
    for run in found.runs:
        screen.print()
        mean = "" if run.mean is None else f", mean {run.mean:.4f}"
        head = f"Run {run.run_id}: fold {run.fold}, seed {run.seed}, {run.failure or run.state}{mean}"
        screen.print(Text(head, "bold"))
        _print_rows(screen, run_words(run))
        if run.cases:
            _print_cases(screen, found, run)
    for text in found.remarks:
        screen.print(Text(text), soft_wrap=True)
    if found.faults:
        screen.print()
    for text in found.faults:
        screen.print(Text(f"fault: {text}", "red"), soft_wrap=True)


def _print_rows(screen: Console, rows: Iterable[tuple[str, str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in rows:
        table.add_row(f"  {label}", Text(text))
    screen.print(table)


def _print_cases(screen: Console, found: Trace, run: RunTrace) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 2), header_style="dim", pad_edge=True)
    for column in ("case", "patient"):
        table.add_column(column, overflow="fold")
    regions = len({case.region for case in run.cases}) > 1
    if regions:
        table.add_column("region")
    table.add_column(found.title, justify="right")
    for case in run.cases:
        value = _four_digits(float("nan") if case.value is None else case.value)
        region = [Text(case.region)] if regions else []
        table.add_row(Text(case.case_id), Text(case.patient), *region, value)
    screen.print(table)
