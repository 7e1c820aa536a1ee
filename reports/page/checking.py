"""Whether the files of a cell's runs still give its numbers: every measure is computed again, every file of scores
digested. Weights are large, and are left to `bench why`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmark.results.runs import RunFolder
from reports.evidence.evidence import FileEvidence, scores_file
from reports.evidence.recomputing import agree, over_folds_then_seeds, stored_rows
from reports.ground.measures import Measures
from reports.page.grids import ShownGrid
from reports.provenance.trace import RunTrace, Trace


@dataclass(frozen=True)
class Checked:
    """A cell's numbers once more, by measure (None: undefined), the files of scores by run, and what does not agree, in
    sentences."""

    recomputed: Mapping[str, float | None]
    scores: Mapping[str, FileEvidence]
    faults: tuple[str, ...]


def checked(grid: ShownGrid, cell: int, trace: Trace, *, results: Path) -> Checked:
    """Read the files of a traced cell once more, in every measure that the page shows."""
    done = [run for run in trace.runs if run.state == "done"]
    others = {key: measure for key, measure in grid.measures.items() if key != trace.measure}
    again = _recomputed(done, others, results)
    recomputed = {key: again.get(key, trace.recomputed) for key in grid.measures}
    scores = {run.run_id: _digested(run, results) for run in done}
    printed = {key: frame["value"].iloc[cell] for key, frame in grid.frames.items() if key != trace.measure}
    faults = [*_other_numbers(grid, printed, recomputed), *_changed(scores)]
    return Checked(recomputed, scores, tuple(faults))


def _recomputed(runs: list[RunTrace], measures: Measures, results: Path) -> dict[str, float | None]:
    """As the trace does for its one measure; every file is opened once."""
    means: dict[str, list[tuple[int, float | None]]] = {key: [] for key in measures}
    for run in runs:
        rows = stored_rows(RunFolder(results, run.run_id))
        for key, measure in measures.items():
            means[key].append((run.seed, rows.mean(measure, reading=run.reading)))
    return {key: over_folds_then_seeds(found) for key, found in means.items()}


def _digested(run: RunTrace, results: Path) -> FileEvidence:
    return scores_file(RunFolder(results, run.run_id), {"scores_sha256": run.scores.recorded}, verify=True)


def _other_numbers(
    grid: ShownGrid, printed: Mapping[str, float], recomputed: Mapping[str, float | None]
) -> Iterator[str]:
    for key, value in printed.items():
        here, there = None if pd.isna(value) else float(value), recomputed[key]
        if not agree(here, there):
            title = grid.measures[key].title
            yield f"{title}: the table's number is {here!r}, but the rows on disk give {there!r}."


def _changed(scores: Mapping[str, FileEvidence]) -> Iterator[str]:
    for run_id, file in scores.items():
        if file.state == "changed":
            yield (
                f"Run {run_id}: its scores are not as the run wrote them (sha256 {file.sha256[:12]}, recorded "
                f"{file.recorded[:12]}). `bench evaluate {run_id}` says what the weights give."
            )
