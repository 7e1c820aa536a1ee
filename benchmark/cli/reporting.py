"""`bench report`: which options go together; `--all` and `--html`: everything, as folders of files or as a page."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from benchmark.cli.common import is_given, mlflow_links
from benchmark.terminal import complain, say
from benchmark.vocabulary import BenchError

if TYPE_CHECKING:
    from benchmark.cli.common import Source
    from reports.everything import Part
    from reports.ground.files import ReportFiles

Launch = tuple[str, str | None, str | None, str | None]
"""A grid, and, where they are asked for, the name, profile and data set of its launch."""


_OF_ONE_LAUNCH = "it chooses among the own launches of one grid, as in `bench report --html --grid table2`"
WHAT_FOR = {
    "files": ("FILE", "it has claims to be judged with --claims, --html or --all"),
    "grid": ("--grid", "it shows one grid alone. Leave it out, or what shows something else"),
    "manifest": ("--manifest", _OF_ONE_LAUNCH),
    "profile": ("--profile", _OF_ONE_LAUNCH),
    "dataset": ("--dataset", _OF_ONE_LAUNCH),
    "search": ("--search", "it shows one search alone. Leave it out; --html and --all have all searches"),
    "claims": ("--claims", "it shows claims alone. Leave it out; --html and --all judge claims as well"),
    "everything": ("--all", "it writes folders of files, which the page of --html has, too. Leave it out"),
    "source": ("--source", "nobody published searches. Leave it out"),
    "thumbnails": ("--thumbnails", "the small pictures are on the page. Add --html, or leave it out"),
    "storage": ("--storage", "it says where a search's trials are. Add --search NAME, --html or --all alone"),
}
"""Of the options that choose what is shown how they are written, and what they are for."""


SHOWN_BY = {"claims": "claims", "page": "html", "all": "everything"}
"""What the first word may be besides a grid, and the option that says the same."""


@dataclass(frozen=True)
class ReportWords:
    """What the words after `bench report` ask for, together with the options that say the same."""

    grid: str | None
    files: tuple[Path, ...]
    claims: bool
    html: bool
    everything: bool


def report_words(context: typer.Context, words: Sequence[Path]) -> ReportWords:
    """Take `table2`, `claims`, `page`, `all` and files apart; the context then has them as the options they stand for.

    BenchError for two grids.
    """
    given = context.params
    source = type(context.get_parameter_source("results"))
    files = [word for word in words if word.suffix in (".yaml", ".yml")]
    names = [str(word) for word in words if word not in files]
    found: dict[str, Any] = {}
    if names and names[0] in SHOWN_BY:
        found[SHOWN_BY[names.pop(0)]] = True
    grids = names + ([given["grid"]] if given["grid"] is not None else [])
    if len(grids) > 1:
        raise BenchError(f"`bench report` shows one grid at a time, or all: name {' or '.join(grids)}.")
    if names:
        found["grid"] = names[0]
    for name, value in {**found, "files": files or None}.items():
        given[name] = value
        told = "COMMANDLINE" if value else "DEFAULT"
        context.set_parameter_source(name, source[told])  # type: ignore[index]
    return ReportWords(given["grid"], tuple(files), given["claims"], given["html"], given["everything"])


def refuse_idle(context: typer.Context) -> None:
    """BenchError for an option of `bench report` that would reach nobody."""
    given, grid = context.params, context.params["grid"]
    launch = {"grid", "manifest", "profile", "dataset"}
    if given["html"]:
        shown = " --html" if grid is None else " --html --grid"
        used = {"html", "files", "thumbnails", "source", *(launch if grid else {"storage"})}
    elif given["everything"]:
        shown, used = " --all", {"everything", "files", "source", "storage"}
    elif given["claims"]:
        shown, used = " --claims", {"claims", "files", "source", *launch}
    elif given["search"] is not None:
        shown, used = " --search", {"search", "storage"}
    elif grid is not None and is_of_trials(grid):
        shown, used = f" --grid {grid}", {"grid", "storage"}
    else:
        shown, used = "", {"source", *launch}
    if "source" in used and given["source"] == "paper":
        shown, used = f"{shown} --source paper", used - launch | {"grid"}
    if given["source"] == "runs":
        used.add("source")
    for name, (option, purpose) in WHAT_FOR.items():
        if name not in used and is_given(context, name):
            if given["source"] == "paper" and name in launch:
                purpose = "published numbers have no launches; --source runs and both have"
            raise BenchError(f"`bench report{shown}` has no use for {option}: {purpose}.")


def is_of_trials(grid: str) -> bool:
    """Whether a grid is the list of a search's trials, of which the search has the report."""
    return grid.startswith("search_") and not grid.endswith("_final")


def report_all(
    results: Path,
    source: Source,
    *,
    out: Path | None,
    claims: Sequence[Path],
    storage: str | None,
    mlflow: bool,
    as_json: bool,
) -> None:
    """Write every report to a folder of its own; `claims`: files of own ones instead of the paper's."""
    from reports.everything import CLAIMS, write_everything

    folder = out or results / "reports"
    files = _claim_files(claims)
    parts = write_everything(results, folder, source=source.value, claims=files, storage=storage)
    _tell(parts, f"All in {folder}", as_json=as_json)
    if mlflow:
        from benchmark.tracking import log_report

        for part in parts:
            if part.report is not None and part.report.manifest is not None:
                _try(log_report, results, part.report.manifest, part.report.files)
            elif part.report is not None and part.name == CLAIMS:
                log_claims(results, part.report, folder / CLAIMS, files)


def log_claims(
    results: Path,
    written: ReportFiles,
    folder: Path,
    files: Sequence[Path],
    *,
    grid: str | None = None,
    **of_launch: str | None,
) -> None:
    """Add the verdicts to the newest launch with results that the claims of these files are about, beside its own
    report."""
    from benchmark.results.manifests import manifests
    from benchmark.tracking import log_report
    from reports.claims.reading import load_claims
    from reports.ground.launches import shown_of

    tables = {stated.claim.table for stated in load_claims(files)}
    asked = {key: value for key, value in of_launch.items() if value is not None}
    found = [
        manifest
        for manifest in manifests(results, grid)
        if manifest.grid in tables and all(getattr(manifest, key) == value for key, value in asked.items())
    ]
    if found:
        name = shown_of(results, found).name
        _try(partial(log_report, folder=folder, name="claims"), results, name, written.files)


def report_html(
    results: Path,
    launch: Launch | None,
    source: Source,
    *,
    out: Path | None,
    claims: Sequence[Path],
    thumbnails: int,
    storage: str | None,
    mlflow: bool,
    as_json: bool,
) -> None:
    """Write the page of everything, or of one launch alone; `claims`: files of own ones instead of the paper's, which
    are about everything."""
    from reports.everything import write_html
    from reports.tables.report import choose_launch

    chosen = None
    if launch is not None:
        grid, name, profile, dataset = launch
        chosen = [choose_launch(results, grid=grid, name=name, profile=profile, dataset=dataset)]
    folder = out or results / "reports" / "html"
    written = write_html(
        results,
        folder,
        source=source.value,
        launches=chosen,
        most_thumbnails=thumbnails,
        links=mlflow_links(results),
        claims=_claim_files(claims) if claims or launch is None else (),
        storage=storage,
    )
    _tell(written.parts, f"Open {written.files[0]}", as_json=as_json)
    if mlflow:
        from benchmark.tracking import log_folder

        # Beside the newest of its grids, once: the pictures of a page are many.
        shown = [
            part.manifest for part in written.parts if part.manifest is not None and part.report is not None
        ]
        if shown:
            _try(log_folder, results, max(shown, key=lambda manifest: manifest.created).name, folder)


def _claim_files(own: Sequence[Path]) -> list[Path]:
    """The files of claims; BenchError for own ones that cannot be read, before anything is written."""
    from benchmark.planning.grid import STUDIES
    from reports.claims.reading import claim_files, load_claims

    load_claims(own)
    return list(own) or claim_files(STUDIES / "claims")


def _tell(parts: Sequence[Part], end: str, *, as_json: bool) -> None:
    if as_json:
        content = [
            {
                "name": part.name,
                "title": part.report.title if part.report is not None else None,
                "reason": part.reason,
                "files": [str(path) for path in part.report.files] if part.report is not None else [],
            }
            for part in parts
        ]
        print(json.dumps({"parts": content, "end": end}, indent=1))
    else:
        say("\n".join([*(part.line for part in parts), end]))


def _try(log: Callable[..., Any], *arguments: Any) -> None:
    """MLflow is a mirror: without it the report is no worse."""
    try:
        log(*arguments)
    except BenchError as error:
        complain(error)
