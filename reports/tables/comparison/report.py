"""The report of a comparison of methods: their scores, surfaces, costs, single cases, and what a modality is
worth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd

from benchmark.results.manifests import GridManifest
from reports.evidence.comparable import apart_note, why_not
from reports.evidence.mixing import checked
from reports.ground import banner
from reports.ground.cells import STANDING, Source, titled, unfinished
from reports.ground.files import APART, SHOWN, TWO_DECIMALS, ReportFiles
from reports.ground.frames import DECIMALS, TableFacts, behind, best_mask, no_best, require_finished
from reports.ground.measures import usual_measures
from reports.ground.notes import MISSING, Frames, progress_note, uniform_counts
from reports.ground.runs import Scored, planned_and_scored, scored_in, with_means
from reports.ground.words import enumerated
from reports.ground.writer import ReadyFigure, ReadyTable, ReportWriter
from reports.panels.included import include_panels
from reports.statistics.rank_tables import rank_tables
from reports.statistics.scores import case_scores
from reports.statistics.tables import count_notes
from reports.tables.comparison import box_figure, modalities, surfaces, tables
from reports.tables.comparison.boxes import box_cases
from reports.tables.comparison.costs import costs_frame, joint_trainings, run_costs
from reports.tables.comparison.factorial import contributions, factorial
from reports.tables.comparison.frames import (
    Comparison,
    addresses,
    comparison_frames,
    methods,
    on_data,
    own_facts,
    published_facts,
    published_frames,
    remarks,
)
from reports.tables.comparison.logic import OURS
from reports.tables.comparison.notes import comparison_notes, costs_notes
from reports.tables.comparison.standing import comparison_standing_notes, comparison_standings, statistics


@dataclass(frozen=True)
class Own:
    """A grid's runs and their scores. `planned` are its `planned_runs`, `runs` the same with their means."""

    results: Path
    planned: pd.DataFrame
    scores: pd.DataFrame
    scored: Scored
    runs: pd.DataFrame
    frames: Frames
    standings: Frames
    behind: TableFacts


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
    own: Own | None = None
    if results is not None and manifest is not None:
        comparison, own = _own(comparison, results, manifest)
        if source == "runs":
            require_finished(own.behind, grid=manifest.grid, results=results)
    paper = published_frames(comparison) if source in ("paper", "both") else {}
    apart = ""
    if own is not None and manifest is not None and paper and comparison.publication is not None:
        reasons = why_not(own.results, manifest, comparison.publication)
        apart = apart_note(reasons, comparison.publication) if reasons else ""
    dice = next(iter(own.frames.values())) if own is not None else None
    lacking = unfinished(dice, noun=comparison.noun)

    writer = ReportWriter(out, manifest.name if manifest is not None else "")
    _write_scores(comparison, own, {} if apart else paper, writer, apart=apart)
    if apart:
        # What stands above own numbers is not of the published ones.
        with banner.under(""):
            _write_scores(comparison, None, paper, writer, apart=apart)
    if own is not None and own.behind.n_runs:
        parts = (
            _write_factorial,
            _write_statistics,
            _write_contributions,
            _write_ranks,
            _write_surfaces,
            _write_costs,
            _write_modalities,
            _write_boxes,
        )
        for write in parts:
            write(comparison, own, lacking, writer)
        if manifest is not None and results is not None:
            pictures = include_panels(results, manifest, out, note=lacking)
            writer.pictures(pictures.figures, pictures.texts, pictures.remarks)

    shown = APART if apart else SHOWN[source]
    title = titled(f"Table {comparison.name}: {shown}", lacking)
    lines = [*(own.behind.unsound if own is not None else ()), *summary]
    if own is not None and dice is not None:
        lines.append(progress_note(dice, own.behind, noun=comparison.noun))
        lines += _best_lines("Own", own.frames, comparison)
    lines += _published_lines(comparison, paper, manifest, source=source, apart=apart)
    return writer.index(title, lines=lines, apart=apart)


def _published_lines(
    comparison: Comparison, paper: Frames, manifest: GridManifest | None, *, source: Source, apart: str
) -> list[str]:
    """What the terminal is told of the published numbers, or why there are none."""
    if paper:
        return [] if apart else list(_best_lines("Published", paper, comparison))
    if manifest is None or source == "runs":
        return []
    return [
        f"None of the published numbers is of what was scored on data set {manifest.dataset}; --source paper prints "
        "them."
    ]


def _own(comparison: Comparison, results: Path, manifest: GridManifest) -> tuple[Comparison, Own]:
    """The grid's runs, and the comparison with the columns they have scores for."""
    planned, scores = planned_and_scored(results, manifest, comparison.place)
    scored = scored_in(scores)
    comparison = on_data(comparison, scored)
    runs = with_means(planned, scores, measures=comparison.measures)
    known = checked(behind(runs, manifest), results, runs)
    stand = comparison_standings(comparison, planned, scores)
    frames = {
        key: frame.merge(stand[key][["method", *STANDING]], on="method")
        for key, frame in comparison_frames(comparison, runs).items()
    }
    return comparison, Own(results, planned, scores, scored, runs, frames, stand, known)


def _write_scores(
    comparison: Comparison, own: Own | None, paper: Frames, writer: ReportWriter, *, apart: str = ""
) -> None:
    """The table of scores; `apart`: why the published ones have a table of their own, which is that without `own`."""
    facts, frames = published_facts(comparison), own.frames if own is not None else None
    said: dict[str, list[str]] = {}
    if own is not None:
        facts, said = own_facts(own.results, own.runs) | facts, remarks(own.results, own.runs)
    notes = comparison_notes(
        comparison,
        frames,
        runs=own.runs if own is not None else None,
        behind=own.behind if own is not None else None,
        with_paper=bool(paper),
        remarks=said,
        apart=apart,
        standing=comparison_standing_notes(comparison, own.standings, paper) if own is not None else (),
    )
    printed = [tables.comparison_table(comparison, frames, paper or None, facts=facts, notes=tuple(notes))]
    if frames is not None and not uniform_counts(frames):
        printed.append(tables.counts_table(comparison, frames))
    published_alone = bool(apart) and own is None
    if published_alone:
        printed = [replace(table, number=f"{comparison.name} (published)") for table in printed]
    writer.table(
        ReadyTable(
            tuple(printed),
            tables.comparison_layout(comparison, frames, paper or None, facts=facts),
            tables.comparison_cells(comparison, frames, paper or None),
            f"{comparison.grid}_published" if published_alone else comparison.grid,
            digits=TWO_DECIMALS,
        )
    )


def _write_statistics(comparison: Comparison, own: Own, lacking: str, writer: ReportWriter) -> None:
    frames = own.standings
    layout = pd.concat([frame.assign(metric=key) for key, frame in frames.items()], ignore_index=True)
    printed = statistics(comparison, frames, note=lacking)
    writer.table(ReadyTable((printed,), layout, layout, f"{comparison.grid}_statistics", TWO_DECIMALS))


def _write_surfaces(comparison: Comparison, own: Own, lacking: str, writer: ReportWriter) -> None:
    if surfaces.has_surfaces(own.scored):
        frame = surfaces.surfaces_frame(comparison, own.planned, own.scores, regions=own.scored.named_regions)
        counts = tuple(count_notes(own.standings, comparison.measures))
        printed = surfaces.surfaces_table(comparison, frame, note=lacking)
        printed = replace(printed, notes=(*printed.notes, *counts))
        layout = surfaces.surfaces_csv(frame)
        writer.table(ReadyTable((printed,), layout, frame, f"{comparison.grid}_surfaces", TWO_DECIMALS))


def _write_costs(comparison: Comparison, own: Own, lacking: str, writer: ReportWriter) -> None:
    costs = run_costs(own.results, own.runs)
    means = costs_frame(costs, methods(comparison, own.runs))
    joint = [name for group in joint_trainings(own.runs) for name in group]
    notes = tuple(costs_notes(costs, own.runs))
    printed = tables.costs_table(comparison, means, joint=joint, notes=notes, note=lacking)
    writer.table(ReadyTable((printed,), means, costs, f"{comparison.grid}_costs"))


def _write_modalities(comparison: Comparison, own: Own, lacking: str, writer: ReportWriter) -> None:
    whole = comparison
    comparison = replace(comparison, measures=usual_measures(own.scored.regions, own.scored.metrics))
    frame = modalities.modalities_frame(comparison, own.results, own.planned, own.scores)
    if not frame.empty:
        counts = tuple(count_notes(own.standings, whole.measures))
        printed = modalities.modalities_table(comparison, frame, note=lacking)
        printed = replace(printed, notes=(*printed.notes, *counts))
        layout = modalities.modalities_csv(comparison, frame)
        writer.table(ReadyTable((printed,), layout, frame, f"{comparison.grid}_without", TWO_DECIMALS))


def _write_boxes(comparison: Comparison, own: Own, lacking: str, writer: ReportWriter) -> None:
    cases = box_cases(comparison, own.planned, own.scores)
    if cases.empty:
        return
    title = titled(f"Table {comparison.name}: scores of single cases", lacking)
    draw, stem = partial(box_figure.draw_boxes, cases, title), f"{comparison.grid}_boxes"
    writer.figure(ReadyFigure(draw, title, box_figure.CAPTION, cases, stem, box_figure.FORMATS))


def _write_ranks(comparison: Comparison, own: Own, lacking: str, writer: ReportWriter) -> None:
    rows = methods(comparison, own.planned)
    rows = rows[rows["method"].isin(own.planned["method"])].reset_index(drop=True)
    scores = [case_scores(own.planned, own.scores, rows, measure) for measure in comparison.measures.values()]
    ranked = rank_tables(
        scores,
        list(rows["method"]),
        address_of=lambda method, measure: addresses(comparison, [method], measure.key)[0],
        number=comparison.name,
        stem=comparison.grid,
        note=lacking,
    )
    writer.outputs(ranked)


def _write_factorial(comparison: Comparison, own: Own, lacking: str, writer: ReportWriter) -> None:
    writer.outputs(factorial(comparison, own.frames))


def _write_contributions(comparison: Comparison, own: Own, lacking: str, writer: ReportWriter) -> None:
    if comparison.factors:
        rows = methods(comparison, own.planned)
        scores = case_scores(own.planned, own.scores, rows, next(iter(comparison.measures.values())))
        writer.outputs(contributions(comparison, scores, list(rows["method"]), note=lacking))


def _best_lines(whose: str, frames: Frames, comparison: Comparison) -> Iterator[str]:
    """The best method of each measure and the rows of Mirror U-Net, for the terminal."""
    measures = comparison.measures
    best: list[str] = []
    without: dict[str, list[str]] = {}
    for key, frame in frames.items():
        measure = measures[key]
        top = frame[best_mask(frame, [], higher_is_better=measure.higher_is_better)]
        if top.empty:
            without.setdefault(no_best(frame["value"], noun=comparison.noun), []).append(measure.title)
            continue
        more = f", and {len(top) - 1} equal" if len(top) > 1 else ""
        value, name = top["value"].iloc[0], top["method"].iloc[0]
        best.append(f"{measure.title} {DECIMALS.format(value)} ({name}{more})")
    said = [f"{enumerated(titles)} {why}" for why, titles in without.items()]
    if not best and len(without) == 1:
        said = list(without)
    yield f"{whose} best: {'; '.join([*best, *said])}."
    rows = []
    for method in next(iter(frames.values()))["method"]:
        scores = [frame.set_index("method")["value"][method] for frame in frames.values()]
        if method.startswith(OURS) and not pd.isna(scores).all():
            shown = [MISSING if pd.isna(score) else DECIMALS.format(score) for score in scores]
            rows.append(f"{method} {' / '.join(shown)}")
    if rows:
        titles = " / ".join(measures[key].title for key in frames)
        yield f"{whose} {titles}: {'; '.join(rows)}."
