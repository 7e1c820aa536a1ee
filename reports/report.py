"""`bench report`: the tables and figures of a grid as files, with an index that shows them all.

A further grid is one function in `REPORTS`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import pandas as pd

from benchmark.results import GridManifest, manifests, write_text, written_whole
from benchmark.vocabulary import BenchError
from reports import figures, tables
from reports.frames import (
    CELL,
    DECIMALS,
    MEASURES,
    Behind,
    behind,
    best_mask,
    figure_cells,
    published_table2,
    run_cells,
    table2_frame,
)
from reports.notes import progress_note, uniform_counts
from reports.printing import PrintedTable, latex, markdown, markdown_text
from reports.tables import Source, layers_label, level_label, unfinished

SHOWN: dict[Source, str] = {
    "runs": "own runs",
    "paper": "as published",
    "both": "own runs beside the published numbers",
}


@dataclass(frozen=True)
class ReportFiles:
    """What was written, its title, and the lines for the terminal; `files[0]` is the index."""

    title: str
    summary: tuple[str, ...]
    files: tuple[Path, ...]
    manifest: str | None = None
    """The name of the launch whose runs are shown."""


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
    None; both: side by side with the difference. Of several launches of the grid the newest is shown that
    `manifest_name` (as in `results/grids/`), `profile` and `dataset` allow. Raises `BenchError` where there
    is nothing to show.
    """
    if source not in get_args(Source):
        raise BenchError(f"There is no source {source!r}; choose one of {', '.join(get_args(Source))}.")
    if grid not in REPORTS:
        raise BenchError(
            f"There is no report for the grid {grid!r}; there are reports for {', '.join(REPORTS)}."
        )
    if source == "paper":
        return REPORTS[grid](
            None, None, source=source, out=out, summary=["Published numbers only, no own runs."]
        )
    if results is None:
        raise BenchError(
            "Own numbers need a folder with results: name it with --results, or use --source paper."
        )
    chosen, others = _choose(results, grid=grid, name=manifest_name, profile=profile, dataset=dataset)
    written = REPORTS[grid](results, chosen, source=source, out=out, summary=[_which(chosen, others)])
    return replace(written, manifest=chosen.name)


def _choose(
    results: Path, *, grid: str, name: str | None, profile: str | None, dataset: str | None
) -> tuple[GridManifest, int]:
    """The newest manifest that fits, and how many others of the grid there are."""
    found = manifests(results, grid)
    if not found:
        raise BenchError(
            f"There are no runs of the grid {grid} in {results}. Start them with `bench run --grid {grid}`, "
            "name another folder with --results, or print the published numbers with --source paper."
        )
    wanted = {"name": name, "profile": profile, "dataset": dataset}
    asked = {key: value for key, value in wanted.items() if value is not None}
    fitting = [m for m in found if all(getattr(m, key) == value for key, value in asked.items())]
    if not fitting:
        there = "; ".join(f"{m.name} (profile {m.profile}, data set {m.dataset})" for m in found)
        said = ", ".join(f"{key} {value}" for key, value in asked.items())
        raise BenchError(f"No launch of the grid {grid} in {results} has {said}. There are: {there}.")
    return fitting[0], len(found) - 1


def _which(chosen: GridManifest, others: int) -> str:
    created = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(chosen.created))
    rest = f"others of this grid not shown: {others}" if others else "the only one of this grid"
    return f"Grid {chosen.name} of {created}: data set {chosen.dataset}, profile {chosen.profile}; {rest}."


def _table2_report(
    results: Path | None, manifest: GridManifest | None, *, source: Source, out: Path, summary: Sequence[str]
) -> ReportFiles:
    own: dict[str, pd.DataFrame] = {}
    known: Behind | None = None
    if results is not None and manifest is not None:
        runs = run_cells(results, manifest)
        known = behind(runs, manifest)
        if source == "runs" and known.n_runs == 0:
            raise BenchError(
                f"None of the {known.n_planned} runs of {manifest.name} in {results} has finished. See "
                f"`bench status`, go on with `bench run --grid {manifest.grid}`, or print the published "
                "numbers with --source paper."
            )
        own = {metric: table2_frame(runs, metric=metric) for metric in MEASURES}
    paper = published_table2() if source in ("paper", "both") else None
    dice = own.get("dice")

    # The paper prints its volumes elsewhere (Table 3), for the best cell of each version only.
    blocks = [_Block("table2", "dice", dice, paper)]
    blocks += [
        _Block(f"table2_{metric}", metric, frame, None) for metric, frame in own.items() if metric != "dice"
    ]
    files: list[Path] = []
    texts: list[str] = []
    for block in blocks:
        printed = [tables.table2(block.own, block.paper, behind=known, metric=block.metric)]
        if block.metric == "dice" and dice is not None and not uniform_counts(dice):
            printed.append(tables.table2_counts(dice))
        layout = tables.table2_layout(block.own, block.paper, metric=block.metric)
        cells = tables.table2_cells(block.own, block.paper, metric=block.metric)
        files += _write_table(out / block.stem, printed, layout=layout, cells=cells)
        texts += map(markdown, printed)
    texts += _write_figures(out, dice, paper, files=files)

    title = tables.titled(f"Table 2 and Figures 4 to 6: {SHOWN[source]}", unfinished(dice))
    progress = [progress_note(dice, known)] if dice is not None and known is not None else []
    lines = [*summary, *progress, *_best_lines(dice, paper)]
    index = out / "report.md"
    write_text(index, "\n".join([f"# {markdown_text(title)}", "", *_listed(lines), "", "\n".join(texts)]))
    return ReportFiles(title=title, summary=tuple(lines), files=(index, *files))


REPORTS = {"table2": _table2_report}


@dataclass(frozen=True)
class _Block:
    """One table of the report: its files' stem, its metric, its sources."""

    stem: str
    metric: str
    own: pd.DataFrame | None
    paper: pd.DataFrame | None


def _write_table(
    stem: Path, printed: Sequence[PrintedTable], *, layout: pd.DataFrame, cells: pd.DataFrame
) -> list[Path]:
    """`stem.md`, `stem.tex`, `stem.csv` in the paper's layout, `stem_cells.csv` with one row per cell."""
    paths = [stem.with_name(f"{stem.name}{end}") for end in (".md", ".tex", ".csv", "_cells.csv")]
    write_text(paths[0], "\n".join(map(markdown, printed)))
    write_text(paths[1], latex(printed))
    for path, frame, digits in ((paths[2], layout, "%.2f"), (paths[3], cells, None)):
        with written_whole(path) as temporary:
            frame.to_csv(temporary, index=False, na_rep="NA", float_format=digits)
    return paths


def _write_figures(
    out: Path, own: pd.DataFrame | None, paper: pd.DataFrame | None, *, files: list[Path]
) -> list[str]:
    """Draw the figures, add their paths to `files`, and return the Markdown that shows them."""
    sources = {"Own runs": own, "Published": paper}
    panels = {title: frame for title, frame in sources.items() if frame is not None}
    texts = []
    for number, text in figures.FIGURES.items():
        note = "" if own is None else unfinished(figure_cells(own, number))
        if len(panels) == 1 and own is None:
            note = "as published"
        with figures.style():
            files += figures.save(figures.draw(number, panels, note=note), out / f"figure{number}")
        title = tables.titled(f"Figure {number}. {text.title}", note)
        links = ", ".join(f"[{kind.upper()}](figure{number}.{kind})" for kind in figures.FORMATS)
        caption = f"{markdown_text(text.caption)} ({links})"
        texts.append(f"### {title}\n\n![{title}](figure{number}.png)\n\n{caption}\n")
    return texts


def _best_lines(own: pd.DataFrame | None, paper: pd.DataFrame | None) -> list[str]:
    """The best cell of each version, for the terminal."""
    lines = []
    for whose, frame in (("Own", own), ("Published", paper)):
        if frame is None:
            continue
        best = frame[best_mask(frame, ["version"])]
        cells = []
        for _, ties in best.groupby("version", sort=False):
            version, factor, level, layers, value = ties[[*CELL, "value"]].to_numpy()[0]
            more = f", and {len(ties) - 1} equal" if len(ties) > 1 else ""
            cells.append(
                f"{version} {DECIMALS.format(value)} ({level_label(factor, level)}, {layers_label(layers)}{more})"
            )
        lines.append(f"{whose} best Dice [%]: {'; '.join(cells) or 'none yet'}.")
    return lines


def _listed(lines: Sequence[str]) -> list[str]:
    return [f"* {markdown_text(line)}" for line in lines]
