"""The report of Table 2: Dice beside the paper's, own volumes, and Figures 4 to 6."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmark.results import GridManifest
from reports import drawing
from reports.cells import Source, titled, unfinished
from reports.files import SHOWN, ReportFiles, write_index, write_table
from reports.frames import DECIMALS, Behind, behind, best_mask, require_finished
from reports.measures import MEASURES
from reports.notes import progress_note, uniform_counts
from reports.panels.included import include_panels
from reports.printing import markdown, markdown_text
from reports.runs import run_cells
from reports.table2 import figures, tables
from reports.table2.frames import CELL, PLACE, figure_cells, published_table2, table2_frame
from reports.table2.tables import layers_label, level_label


def report(
    results: Path | None, manifest: GridManifest | None, *, source: Source, out: Path, summary: Sequence[str]
) -> ReportFiles:
    """Write all files of Table 2 to `out`; `summary` comes first in the lines for the terminal."""
    own: dict[str, pd.DataFrame] = {}
    known: Behind | None = None
    if results is not None and manifest is not None:
        runs = run_cells(results, manifest, PLACE)
        known = behind(runs, manifest)
        if source == "runs":
            require_finished(known, grid=manifest.grid, results=results)
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
        if block.metric == "dice" and dice is not None and not uniform_counts({"dice": dice}):
            printed.append(tables.table2_counts(dice))
        layout = tables.table2_layout(block.own, block.paper, metric=block.metric)
        cells = tables.table2_cells(block.own, block.paper, metric=block.metric)
        files += write_table(out / block.stem, printed, layout=layout, cells=cells)
        texts += map(markdown, printed)
    texts += _write_figures(out, dice, paper, files=files)
    if results is not None and manifest is not None and known is not None and known.n_runs:
        pictures, shown = include_panels(results, manifest, out, note=unfinished(dice))
        files += pictures
        texts += shown

    title = titled(f"Table 2 and Figures 4 to 6: {SHOWN[source]}", unfinished(dice))
    progress = [progress_note(dice, known)] if dice is not None and known is not None else []
    lines = [*summary, *progress, *_best_lines(dice, paper)]
    return write_index(out, title, lines=lines, texts=texts, files=files)


@dataclass(frozen=True)
class _Block:
    """One table of the report: its files' stem, its metric, its sources."""

    stem: str
    metric: str
    own: pd.DataFrame | None
    paper: pd.DataFrame | None


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
        with drawing.style():
            files += drawing.save(figures.draw(number, panels, note=note), out / f"figure{number}")
        title = tables.titled(f"Figure {number}. {text.title}", note)
        links = ", ".join(f"[{kind.upper()}](figure{number}.{kind})" for kind in drawing.FORMATS)
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
