"""The report of Table 3 or 4: the scores of all methods, beside the paper's, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from benchmark.results import GridManifest
from reports.cells import Source, titled, unfinished
from reports.comparison import tables
from reports.comparison.costs import costs_frame, joint_trainings, run_costs
from reports.comparison.frames import (
    PLACE,
    Comparison,
    comparison_frames,
    methods,
    own_facts,
    published_facts,
    published_frames,
    remarks,
)
from reports.comparison.logic import OURS
from reports.comparison.notes import comparison_notes, costs_notes
from reports.files import SHOWN, ReportFiles, write_index, write_table
from reports.frames import DECIMALS, MEASURES, Behind, behind, best_mask, require_finished, run_cells
from reports.notes import Frames, progress_note, uniform_counts
from reports.printing import markdown


def report(
    comparison: Comparison,
    results: Path | None,
    manifest: GridManifest | None,
    *,
    source: Source,
    out: Path,
    summary: Sequence[str],
) -> ReportFiles:
    """Write all files of a table of methods to `out`; `summary` comes first in the lines for the terminal."""
    own: Frames | None = None
    runs: pd.DataFrame | None = None
    known: Behind | None = None
    if results is not None and manifest is not None:
        runs = run_cells(results, manifest, PLACE)
        known = behind(runs, manifest)
        if source == "runs":
            require_finished(known, grid=manifest.grid, results=results)
        own = comparison_frames(comparison, runs)
    paper = published_frames(comparison) if source in ("paper", "both") else None
    dice = own["dice"] if own is not None else None
    lacking = unfinished(dice, noun="method")

    facts = published_facts(comparison)
    said: dict[str, list[str]] = {}
    if results is not None and runs is not None:
        facts, said = own_facts(results, runs) | facts, remarks(results, runs)
    notes = comparison_notes(
        comparison, own, runs=runs, behind=known, with_paper=paper is not None, remarks=said
    )
    printed = [tables.comparison_table(comparison, own, paper, facts=facts, notes=tuple(notes))]
    if own is not None and not uniform_counts(own):
        printed.append(tables.counts_table(comparison, own))
    files = write_table(
        out / comparison.grid,
        printed,
        layout=tables.comparison_layout(comparison, own, paper, facts=facts),
        cells=tables.comparison_cells(own, paper),
    )
    if results is not None and runs is not None and known is not None and known.n_runs:
        costs = run_costs(results, runs)
        means = costs_frame(costs, methods(comparison, runs))
        joint = [name for group in joint_trainings(runs) for name in group]
        printed.append(
            tables.costs_table(
                comparison, means, joint=joint, notes=tuple(costs_notes(costs, runs)), note=lacking
            )
        )
        files += write_table(
            out / f"{comparison.grid}_costs", printed[-1:], layout=means, cells=costs, digits=None
        )

    title = titled(f"Table {comparison.name}: {SHOWN[source]}", lacking)
    progress = [progress_note(dice, known, noun="method")] if dice is not None and known is not None else []
    lines = [*summary, *progress, *_best_lines("Own", own), *_best_lines("Published", paper)]
    return write_index(out, title, lines=lines, texts=list(map(markdown, printed)), files=files)


def _best_lines(whose: str, frames: Frames | None) -> Iterator[str]:
    """The best method of each metric and the rows of Mirror U-Net, for the terminal."""
    if frames is None:
        return
    best = []
    for metric, measure in MEASURES.items():
        frame = frames[metric]
        top = frame[best_mask(frame, [], higher_is_better=measure.higher_is_better)]
        if not top.empty:
            more = f", and {len(top) - 1} equal" if len(top) > 1 else ""
            value, name = top["value"].iloc[0], top["method"].iloc[0]
            best.append(f"{measure.title} {DECIMALS.format(value)} ({name}{more})")
    yield f"{whose} best: {'; '.join(best) or 'none yet'}."
    rows = []
    for method in frames["dice"]["method"]:
        scores = [frame.set_index("method")["value"][method] for frame in frames.values()]
        if method.startswith(OURS) and not pd.isna(scores).all():
            rows.append(f"{method} {' / '.join(map(DECIMALS.format, scores))}")
    if rows:
        titles = " / ".join(measure.title for measure in MEASURES.values())
        yield f"{whose} {titles}: {'; '.join(rows)}."
