"""The rows of a run that are in no table: of the validation part, of the test part, or without a modality.

A trial of a search is judged by the first of these, a table of missing modalities is made of the last; their addresses
are `run:RUN/PART[/READING]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmark.results import RunFolder
from benchmark.vocabulary import BenchError
from reports.measures import Measure, measure_of
from reports.provenance.addresses import RUN, Places, run_address
from reports.score_files import TEST_SPLIT

VALIDATION, TEST, WITHOUT = "validation", "test", "without "


@dataclass(frozen=True)
class RunPart:
    """A part of a run's rows; `reading` empty: the first."""

    run_id: str
    part: str
    reading: str = ""

    @property
    def address(self) -> str:
        return run_address(self.run_id, self.part, self.reading)


@dataclass(frozen=True, eq=False)
class PartRows:
    """A row a case and region: `case_id`, `patient`, `region`, and every measure by its metric, in the printed unit."""

    part: RunPart
    measures: tuple[Measure, ...]
    rows: pd.DataFrame


def without(modality: str) -> str:
    """The part of the rows in which a modality was not shown."""
    return f"{WITHOUT}{modality}"


def parts_of(wanted: Places) -> list[RunPart]:
    """The parts that an address names; BenchError where it is none of a run's rows."""
    found = []
    for pattern in wanted.patterns:
        names = [name for name in pattern if name is not None]
        if wanted.grid != RUN or len(names) != len(pattern) or len(names) not in (2, 3):
            raise BenchError(
                f"{wanted} is not the address of a run's rows. Write run:RUN/PART, for example "
                f"run:8924fe8193f4/{VALIDATION}."
            )
        found.append(RunPart(*names))
    return found


def part_rows(results: Path, part: RunPart) -> PartRows:
    """The rows of a part; BenchError where the run has none."""
    scores = _scores(RunFolder(results, part.run_id), part)
    reading = part.reading or scores["reading"].iloc[0]
    scores = scores[scores["reading"] == reading]
    if scores.empty:
        raise BenchError(f"Run {part.run_id} was not read as {part.reading}.")
    keys = ["case_id", "patient", "region"]
    measures = tuple(measure_of(str(metric)) for metric in scores["metric"].unique())
    rows = scores.pivot(index=keys, columns="metric", values="value")[[one.metric for one in measures]]
    rows = rows * [one.scale for one in measures]
    rows.columns.name = None
    return PartRows(part, measures, rows.reset_index())


def _scores(folder: RunFolder, part: RunPart) -> pd.DataFrame:
    if part.part == VALIDATION and folder.validation_file.exists():
        return folder.validation()
    if part.part == TEST and folder.scores_file.exists():
        scores = folder.scores()
        return scores[scores["split"] == TEST_SPLIT]
    if part.part.startswith(WITHOUT):
        found = folder.without(part.part.removeprefix(WITHOUT))
        if found is not None:
            return found[0]
    raise BenchError(f"Run {part.run_id} has no rows {part.part!r} in {folder.path}.")
