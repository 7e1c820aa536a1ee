"""`bench why`: what stands behind a printed number."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.common import AsJson, Results, is_given
from benchmark.vocabulary import BenchError

if TYPE_CHECKING:
    from rich.console import Console

    from benchmark.results import GridManifest
    from reports.provenance.addresses import Address
    from reports.provenance.configs import Difference
    from reports.provenance.evidence import FileEvidence
    from reports.provenance.trace import MlflowLink, RunTrace, Trace

Rows = Iterator[tuple[str, str]]
SHORT = 12
"""Digits of a commit or digest that are shown; --json has all of them."""


def why(
    context: typer.Context,
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS", help="E.g. table2:v3/shuffle/5 or 'table3:PET#fnv_ml'.")
    ],
    results: Results = Path("results"),
    manifest: Annotated[str | None, typer.Option(help="One launch of the grid, as in RESULTS/grids.")] = None,
    profile: Annotated[str | None, typer.Option(help="The newest launch with this profile.")] = None,
    dataset: Annotated[str | None, typer.Option(help="The newest launch on this data set.")] = None,
    as_json: AsJson = False,
) -> None:
    """What stands behind a number: runs, configuration, code, data, weights, cases; and the number from these again.

    Exit code 1 if the number is not what the rows on disk give, or if files are not as the runs left them.
    """
    import dataclasses
    import json

    from benchmark.execution.monitor import console
    from reports.provenance.addresses import parse_address
    from reports.provenance.tables import printed_table
    from reports.provenance.trace import published_trace, trace

    if not results.is_dir() and is_given(context, "results"):
        raise BenchError(
            f"There is no folder {results}. Name that of the runs with --results; without it, and without ./results, "
            "published numbers are shown."
        )
    wanted = parse_address(address)
    launch = _launch(results, wanted, manifest, profile, dataset)
    if launch is None:
        found = published_trace(printed_table(wanted.grid), wanted)
    else:
        found = trace(results, launch, wanted, links=_links(results))
    if as_json:
        print(json.dumps(dataclasses.asdict(found), indent=1))
    else:
        print_trace(console(), found)
    raise typer.Exit(1 if found.faults else 0)


def _launch(
    results: Path, wanted: Address, manifest: str | None, profile: str | None, dataset: str | None
) -> GridManifest | None:
    """The launch an address is about; None where there is none, but a published table."""
    from benchmark.results import manifests
    from reports.provenance.tables import GRIDS
    from reports.report import choose_launch

    named = {launch.name: launch.grid for launch in manifests(results)}
    grid = named.get(wanted.grid, wanted.grid)
    if grid not in named.values() and not (manifest or profile or dataset):
        if grid in GRIDS:
            return None
        from benchmark.vocabulary import did_you_mean

        known = dict.fromkeys([*named.values(), *GRIDS])
        raise BenchError(f"There is no grid {grid!r} in {results}. {did_you_mean(grid, known)}")
    name = manifest or (wanted.grid if wanted.grid in named else None)
    return choose_launch(results, grid=grid, name=name, profile=profile, dataset=dataset)[0]


def _links(results: Path) -> Any:
    from benchmark.tracking.links import run_link
    from reports.provenance.trace import MlflowLink

    def link(run_id: str) -> MlflowLink:
        found = run_link(results, run_id)
        return MlflowLink(found.url, found.text)

    return link


def print_trace(screen: Console, found: Trace) -> None:
    """The trace for people: the number, its runs, their cases."""
    from rich.text import Text

    screen.print(Text(f"{found.address}  {found.title}: {found.printed}", "bold"), soft_wrap=True)
    _print_rows(screen, _of_number(found))
    for run in found.runs:
        screen.print()
        mean = "" if run.mean is None else f", mean {run.mean:.4f}"
        head = f"Run {run.run_id}: fold {run.fold}, seed {run.seed}, {run.failure or run.state}{mean}"
        screen.print(Text(head, "bold"))
        _print_rows(screen, _of_run(run))
        if run.cases:
            _print_cases(screen, found, run)
    for text in found.remarks:
        screen.print(Text(text), soft_wrap=True)
    if found.faults:
        screen.print()
    for text in found.faults:
        screen.print(Text(f"fault: {text}", "red"), soft_wrap=True)


def _print_rows(screen: Console, rows: Rows) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in rows:
        table.add_row(f"  {label}", Text(text))
    screen.print(table)


def _of_number(found: Trace) -> Rows:
    place = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in found.cell.items())
    yield "cell", f"{found.table}: {place}"
    if found.manifest:
        yield "launch", f"{found.manifest}, profile {found.profile}, data set {found.dataset}"
        yield "from the rows", _recomputed(found)
    else:
        yield "own runs", "none"
    if found.published is not None:
        number = found.published
        yield "published", f"{number.value:.2f} ({number.source})"
        yield "", f"{number.file}, line {number.line}: {number.row}"
    for near in found.neighbours:
        differing = "; ".join(map(_difference, near.differences)) or "nothing"
        along = near.along.replace("_", " ")
        yield f"other {along}", f"{', '.join(near.cells)}; the configurations differ in {differing}"


def _recomputed(found: Trace) -> str:
    done = [run for run in found.runs if run.state == "done"]
    defined = sum(case.value is not None for run in done for case in run.cases)
    cases = sum(len(run.cases) for run in done)
    if not done:
        return "no finished run"
    number = "undefined" if found.recomputed is None else f"{found.recomputed:.6f}"
    verdict = "agrees with the table" if found.agrees else f"the table has {found.value!r}"
    return f"{number} (runs: {len(done)}, case rows: {cases}, defined: {defined}); {verdict}"


def _of_run(run: RunTrace) -> Rows:
    if run.error:
        yield "error", run.error
    if run.state == "pending":
        return
    yield "folder", run.folder
    yield "configuration", f"config.yaml, which {run.config_state}" if run.config else "missing"
    if run.unlike_defaults:
        yield (
            "not the default",
            "; ".join(
                f"{each.key} {_value(each.here)} ({_value(each.there[0])})" for each in run.unlike_defaults
            ),
        )
    changed = " with changes that no commit holds" if run.commit.dirty else ""
    yield "code", f"commit {run.commit.commit[:SHORT]}{changed}"
    if run.versions:
        yield "versions", ", ".join(f"{name} {version}" for name, version in run.versions.items())
    protocol = "not recorded (an earlier version of the suite)" if run.protocol is None else str(run.protocol)
    yield "protocol", protocol
    yield from _of_data(run)
    if run.state == "done":
        yield "weights", f"checkpoint rule {run.checkpoint or 'unknown'}: {_file(run.weights, 'scored')}"
        yield "scores", f"{_file(run.scores, 'written')}; on the grid {run.score_grid or 'unknown'}"
    if run.machine:
        named = ("gpu", "cpu", "device", "threads", "precision", "host")
        yield "machine", ", ".join(f"{name} {run.machine[name]}" for name in named if name in run.machine)
    if run.train_seconds is not None:
        yield "training", f"{run.steps} steps in {run.train_seconds:.1f} s"
    for warning in run.warnings:
        yield "warning", warning
    if run.mlflow is not None:
        yield "MLflow", _link(run.mlflow)


def _of_data(run: RunTrace) -> Rows:
    data = run.data
    parts = ", ".join(f"{name} {value}" for name, value in data.parts.items())
    yield "data", f"fingerprint {data.fingerprint or 'unknown'}" + (f" ({parts})" if parts else "")
    if root := data.places.get("root"):
        gone = "" if Path(root).exists() else ", which is not on this machine"
        yield "", f"files in {root}{gone}"
    if data.excluded_cases:
        yield "", f"left out: {', '.join(data.excluded_cases)}"
    if not data.splits.path:
        return
    if data.splits.state == "missing":
        yield "splits", f"{data.splits.path}, which is not on this machine"
        return
    yield "splits", f"{data.splits.path}, sha256 {data.splits.sha256[:SHORT]}"
    scored = f"; scored: {data.n_test} of its {data.n_fold} test cases" if data.n_test is not None else ""
    same = {"unchanged": ", the membership that the run saw", "changed": ", edited since it was written"}
    yield "", f"{data.splits_source}{same.get(data.splits.state, '')}{scored}"


def _file(file: FileEvidence, done: str) -> str:
    name = Path(file.path).name
    if file.state == "missing":
        recorded = f" (sha256 when {done}: {file.recorded[:SHORT]})" if file.recorded else ""
        return f"{name} is gone{recorded}"
    words = {
        "unchanged": f"the file that was {done}",
        "changed": f"NOT the file that was {done}, whose sha256 is {file.recorded[:SHORT]}",
        "not recorded": f"its sha256 was not recorded when it was {done}",
    }
    return f"{name}, sha256 {file.sha256[:SHORT]}, {words[file.state]}"


def _link(link: MlflowLink) -> str:
    return f"{link.url} ({link.text})" if link.url and link.text else link.url or link.text


def _difference(found: Difference) -> str:
    there = " or ".join(map(_value, found.there))
    return f"{found.key}: {_value(found.here)}, there {there}"


def _value(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


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
        value = Text("undefined", "dim") if case.value is None else Text(f"{case.value:.4f}")
        region = [Text(case.region)] if regions else []
        table.add_row(Text(case.case_id), Text(case.patient), *region, value)
    screen.print(table)
