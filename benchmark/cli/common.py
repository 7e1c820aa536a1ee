"""Options and helpers that several commands share."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.terminal import say
from benchmark.vocabulary import BenchError, Spacing

if TYPE_CHECKING:
    from reports.provenance.tree import Links


def _checked_results(folder: Path) -> Path:
    """No command follows a link in a results folder, and each says what it leaves out."""
    from benchmark.files.places import check_layout
    from benchmark.files.writing import guard
    from benchmark.terminal import tell_notices

    tell_notices()
    check_layout(folder)
    guard(folder)
    return folder


Results = Annotated[
    Path,
    typer.Option("--results", help="Folder of runs, grids and prepared data.", callback=_checked_results),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Jobs = Annotated[int | None, typer.Option("--jobs", min=1, help="Processes or threads; default: all cores.")]
DataNames = Annotated[
    list[str] | None,
    typer.Option(
        "--data-name",
        metavar="NAME",
        help="What the data are called in reports; default: their folder. Of several: autopet=NAME.",
    ),
]
MethodFiles = Annotated[
    list[Path] | None,
    typer.Option("--method-file", metavar="FILE", help="A method of your own, e.g. my_net.py. Repeatable."),
]


def is_given(context: typer.Context, option: str) -> bool:
    """Whether the command line names the option, by the parameter's name in Python."""
    source = context.get_parameter_source(option)
    # The class depends on whether typer brings its own click.
    return source is not None and source.name != "DEFAULT"


def mlflow_links(results: Path) -> Links:
    """The links that a trace of these results asks for."""
    from benchmark.tracking.links import RunLinks
    from reports.provenance.tree import MlflowLink

    links = RunLinks(results)

    def link(run_id: str) -> MlflowLink:
        found = links.of(run_id)
        return MlflowLink(found.url, found.text)

    return link


@contextlib.contextmanager
def stopped_by_ctrl_c() -> Iterator[None]:
    """Ctrl-C while nothing of value is half done."""
    try:
        yield
    except KeyboardInterrupt:
        say("Interrupted. The same command continues where this one stopped.", to_stderr=True)
        raise typer.Exit(130) from None


def data_roots(data: Sequence[str]) -> dict[str, Path | None]:
    """Data set -> folder; None: phantoms, for which the suite chooses a folder."""
    from benchmark.datasets.registry import dataset, dataset_names

    roots: dict[str, Path | None] = {}
    for text in data:
        name, equals, folder = text.partition("=")
        if not equals and name not in dataset_names():
            raise BenchError(f"--data {text}: say which data set it is, e.g. --data autopet={text}.")
        if dataset(name).phantoms is None and not equals:
            raise BenchError(f"--data {name}: say where it lies, --data {name}=DIR.")
        if name in roots:
            raise BenchError(f"--data {name} is given twice.")
        if equals and not Path(folder).is_dir():
            raise BenchError(f"--data {text}: there is no folder {folder!r}.")
        roots[name] = Path(folder) if equals else None
    return roots


def spacing_of(text: str | None) -> Spacing | None:
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


def device_names(text: str | None) -> list[str] | None:
    """The devices of `--devices`."""
    return None if text is None else [name.strip() for name in text.split(",")]


class Source(enum.StrEnum):
    """Whose numbers a report shows."""

    RUNS = "runs"
    PAPER = "paper"
    BOTH = "both"
