"""The report of Table 2: Dice beside the paper's, own volumes, and Figures 4 to 6."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from benchmark.results.manifests import GridManifest
from reports.evidence.comparable import apart_note, why_not
from reports.evidence.mixing import checked
from reports.ground import banner, drawing
from reports.ground.cells import STANDING, Source, titled, unfinished
from reports.ground.files import APART, SHOWN, TWO_DECIMALS, ReportFiles
from reports.ground.frames import DECIMALS, TableFacts, behind, best_mask, no_best, require_finished
from reports.ground.measures import MEASURES
from reports.ground.notes import progress_note, uniform_counts
from reports.ground.publications import MIRROR_UNET
from reports.ground.runs import planned_and_scored, with_means
from reports.ground.words import layers_label, level_label
from reports.ground.writer import Outputs, ReadyFigure, ReadyTable, ReportWriter
from reports.panels.included import include_panels
from reports.statistics.scores import case_scores
from reports.tables.table2 import figures, standing, tables
from reports.tables.table2.frames import (
    CELL,
    PLACE,
    figure_cells,
    published_table2,
    table2_cells,
    table2_frame,
)
from reports.tables.table2.mixed import mixed_tables
from reports.tables.table2.ranks import table2_ranks

STOOD = [*CELL, *STANDING]


def report(
    results: Path | None, manifest: GridManifest | None, *, source: Source, out: Path, summary: Sequence[str]
) -> ReportFiles:
    """Write all files of Table 2 to `out`; `summary` comes first in the lines for the terminal."""
    own: dict[str, pd.DataFrame] = {}
    stand: standing.Standings = {}
    known: TableFacts | None = None
    statistics: tuple[Outputs, ...] = ()
    if results is not None and manifest is not None:
        planned, scores = planned_and_scored(results, manifest, PLACE, metrics=standing.METRICS)
        runs = with_means(planned, scores)
        known = checked(behind(runs, manifest), results, runs)
        if source == "runs":
            require_finished(known, grid=manifest.grid, results=results)
        own = {metric: table2_frame(runs, metric=metric) for metric in MEASURES}
        stand = standing.table2_standings(planned, scores)
        own = {metric: frame.merge(stand[metric][STOOD], on=CELL) for metric, frame in own.items()}
        statistics = _statistics(planned, scores, unfinished(own["dice"])) if known.n_runs else ()
    launch = manifest.name if manifest is not None else ""
    paper = published_table2() if source in ("paper", "both") else None
    dice, apart = own.get("dice"), ""
    if results is not None and manifest is not None and paper is not None:
        reasons = why_not(results, manifest, MIRROR_UNET[2])
        apart = apart_note(reasons, MIRROR_UNET[2]) if reasons else ""

    # The paper prints its volumes elsewhere (Table 3), for the best cell of each version only.
    blocks = [_Block("table2", "dice", dice, None if apart else paper, apart)]
    if apart:
        blocks.append(_Block("table2_published", "dice", None, paper, apart))
    blocks += [
        _Block(f"table2_{metric}", metric, frame, None) for metric, frame in own.items() if metric != "dice"
    ]
    writer = ReportWriter(out, launch)
    for block in blocks:
        with banner.under(banner.shown() if block.own is not None else ""):
            writer.table(_ready(block, stand, known))
    for metric, frame in stand.items():
        statistics_table = standing.table2_statistics(frame, metric=metric, note=unfinished(dice))
        writer.table(ReadyTable((statistics_table,), frame, frame, standing.stem(metric), TWO_DECIMALS))
    _write_figures(writer, dice, None if apart else paper)
    if apart:
        with banner.under(""):
            _write_figures(writer, None, paper, suffix="_published")
    for shown in statistics:
        writer.outputs(shown)
    if results is not None and manifest is not None and known is not None and known.n_runs:
        pictures = include_panels(results, manifest, out, note=unfinished(dice))
        writer.pictures(pictures.figures, pictures.texts, pictures.remarks)

    title = titled(f"Table 2 and Figures 4 to 6: {APART if apart else SHOWN[source]}", unfinished(dice))
    progress = [progress_note(dice, known)] if dice is not None and known is not None else []
    lines = [
        *(known.unsound if known else ()),
        *summary,
        *progress,
        *_best_lines(dice, None if apart else paper),
    ]
    return writer.index(title, lines=lines, apart=apart)


def _statistics(planned: pd.DataFrame, scores: pd.DataFrame, note: str) -> tuple[Outputs, ...]:
    """What the Dice of single cases says of the ranks of cells, and of the factors."""
    dice = case_scores(planned, scores, table2_cells(planned), MEASURES["dice"])
    return table2_ranks(dice, note=note), mixed_tables(dice, note=note)


@dataclass(frozen=True)
class _Block:
    """One table of the report: its files' stem, its metric, its sources."""

    stem: str
    metric: str
    own: pd.DataFrame | None
    paper: pd.DataFrame | None
    apart: str = ""


def _ready(block: _Block, stand: standing.Standings, known: TableFacts | None) -> ReadyTable:
    """The block's table, and the counts behind its Dice where cells have different ones."""
    own, paper, metric = block.own, block.paper, block.metric
    said = standing.table2_standing_notes(stand, metric, paper) if own is not None else ()
    printed = [tables.table2(own, paper, behind=known, metric=metric, standing=said, apart=block.apart)]
    if own is not None and metric == "dice" and not uniform_counts({"dice": own}):
        printed.append(tables.table2_counts(own))
    layout = tables.table2_layout(own, paper, metric=metric)
    cells = tables.table2_cells(own, paper, metric=metric)
    return ReadyTable(tuple(printed), layout, cells, block.stem, TWO_DECIMALS)


def _write_figures(
    writer: ReportWriter, own: pd.DataFrame | None, paper: pd.DataFrame | None, *, suffix: str = ""
) -> None:
    """Figures 4 to 6; `suffix` ends the names of their files."""
    sources = {"Own runs": own, "Published": paper}
    panels = {title: frame for title, frame in sources.items() if frame is not None}
    for number, text in figures.FIGURES.items():
        note = "" if own is None else unfinished(figure_cells(own, number))
        if len(panels) == 1 and own is None:
            note = "as published"
        draw = partial(figures.draw, number, panels, note=note)
        title = tables.titled(f"Figure {number}. {text.title}", note)
        writer.figure(
            ReadyFigure(draw, title, text.caption, None, f"figure{number}{suffix}", drawing.FORMATS)
        )


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
        for _, rows in frame.groupby("version", sort=False):
            version = str(rows["version"].iloc[0])
            if rows["value"].notna().any() and version not in set(best["version"]):
                cells.append(f"{version} {no_best(rows['value'], noun='cell')}")
        lines.append(f"{whose} best Dice [%]: {'; '.join(cells) or 'none yet'}.")
    return lines
