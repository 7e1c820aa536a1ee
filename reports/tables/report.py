"""`bench report`: the tables and figures of a grid as files, with an index that shows them all.

A grid with a layout of its own is one entry in `REPORTS`; any other grid of methods is compared as Table 4
is.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import get_args

from benchmark.results.manifests import GridManifest, manifests
from benchmark.vocabulary import BenchError
from benchmark.words import in_results
from reports.evidence.experiments import banner_of
from reports.ground import banner
from reports.ground.cells import Source
from reports.ground.files import ReportFiles
from reports.ground.launches import shown_of
from reports.ground.threads import on_one_thread
from reports.ground.words import enumerated
from reports.tables.registry import TABLES, layout_of


@on_one_thread
def write_report(
    results: Path | None,
    *,
    grid: str = "table2",
    source: Source,
    out: Path,
    manifest_name: str | None = None,
    profile: str | None = None,
    dataset: str | None = None,
) -> ReportFiles:
    """Write the report of a grid to the folder `out`.

    `source` runs: from the finished runs in `results`; paper: from the published numbers, `results` may be
    None; both: side by side with the difference. Of several launches of the grid that `manifest_name` (as in
    `results/grids/`), `profile` and `dataset` allow, the newest with a finished run is shown. Raises
    `BenchError` where there is nothing to show.
    """
    if source not in get_args(Source):
        raise BenchError(f"There is no source {source!r}; choose one of {', '.join(get_args(Source))}.")
    if source != "runs" and grid not in TABLES:
        raise BenchError(
            f"No paper has a table for the grid {grid!r}, only for {', '.join(TABLES)}; use --source runs."
        )
    if source == "paper":
        return TABLES[grid].report(
            None, None, source=source, out=out, summary=["Published numbers only, no own runs."]
        )
    if results is None:
        raise BenchError(
            "Own numbers need a folder with results: name it with --results, or use --source paper."
        )
    chosen, others = choose_launch(results, grid=grid, name=manifest_name, profile=profile, dataset=dataset)
    return write_launch(results, chosen, source=source, out=out, others=others)


@on_one_thread
def write_launch(
    results: Path, manifest: GridManifest, *, source: Source, out: Path, others: int = 0
) -> ReportFiles:
    """Write the report of one launch to the folder `out`; `others` are launches of its grid that are not
    shown."""
    with banner.under(banner_of(results, manifest)):
        written = layout_of(manifest).report(
            results, manifest, source=source, out=out, summary=[_which(results, manifest, others)]
        )
    return replace(written, manifest=manifest.name)


def _command(grid: str) -> str:
    return f"bench run --grid {grid}" if grid in TABLES else "bench run"


def choose_launch(
    results: Path,
    *,
    grid: str,
    name: str | None = None,
    profile: str | None = None,
    dataset: str | None = None,
) -> tuple[GridManifest, int]:
    """Of a grid's launches that fit the newest with a finished run, or, where none has one, the newest; and how many
    others the grid has. BenchError where none fits."""
    found = manifests(results, grid)
    if not found:
        raise BenchError(
            f"There are no runs of the grid {grid} in {results}. Start them with "
            f"`{_command(grid)}{in_results(results)}`, name another folder with --results, or print the published "
            "numbers with --source paper."
        )
    wanted = {"name": name, "profile": profile, "dataset": dataset}
    asked = {key: value for key, value in wanted.items() if value is not None}
    fitting = [m for m in found if all(getattr(m, key) == value for key, value in asked.items())]
    if not fitting:
        there = "; ".join(f"{m.name} (profile {m.profile}, data set {m.dataset})" for m in found)
        said = ", ".join(f"{key} {value}" for key, value in asked.items())
        raise BenchError(f"No launch of the grid {grid} in {results} has {said}. There are: {there}.")
    return shown_of(results, fitting), len(found) - 1


def _which(results: Path, chosen: GridManifest, others: int) -> str:
    created = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(chosen.created))
    rest = f"others of this grid, not shown here: {others}" if others else "the only one of this grid"
    if later := [one.name for one in manifests(results, chosen.grid) if one.created > chosen.created]:
        rest += f" (launched later: {enumerated(later)})"
    return f"Grid {chosen.name} of {created}: data set {chosen.dataset}, profile {chosen.profile}; {rest}."
