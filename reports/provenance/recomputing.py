"""A cell's number once more from the rows on disk, by a plain loop of its own.

Not shared with the tables: decoding the files, choosing rows, means (`reports.score_files`, `with_means`,
`reports.frames`), so that a fault there cannot be repeated here; hence no pandas, no vectors. Shared, and so not
checked by it: which files are read at all (`benchmark.foreign.tables`), which runs are a cell's (`current_runs`,
`Place`, their state) and what a measure is (`Measure`: its metric, region and scale).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from benchmark.foreign.places import DamagedFileError
from benchmark.foreign.tables import open_scores
from benchmark.results import SCORE_COLUMNS, RunFolder
from reports.measures import Measure

CLOSE = 1e-9
"""Sums in another order differ in their last bits, relative to their size; more is another number."""
COLUMNS = ["run_id", "fold", "seed", "split", "checkpoint", "grid", "reading", "case_id", "patient", "region"]


@dataclass(frozen=True)
class CaseRow:
    """One row of `scores.parquet`. `value` is in the printed unit; None: undefined."""

    case_id: str
    patient: str
    region: str
    value: float | None


@dataclass(frozen=True)
class RunRows:
    """What stands in a run's `scores.parquet` of one measure, on the test part, for one reading.

    `folds`, `seeds`, `run_ids`: what the rows say of themselves.
    """

    cases: tuple[CaseRow, ...]
    checkpoints: tuple[str, ...] = ()
    grids: tuple[str, ...] = ()
    run_ids: tuple[str, ...] = ()
    folds: tuple[int, ...] = ()
    seeds: tuple[int, ...] = ()

    @property
    def mean(self) -> float | None:
        """Over the cases that have a defined value."""
        return mean(case.value for case in self.cases)


def read_rows(folder: RunFolder, measure: Measure, *, reading: str) -> RunRows:
    """The rows of one measure; DamagedFileError for a file that cannot be read."""
    path = folder.scores_file
    try:
        file = open_scores(path, SCORE_COLUMNS, below=folder.path.parent)
        rows = file.read(columns=[*COLUMNS, "metric", "value"]).to_pylist()
    except (DamagedFileError, pa.ArrowException, OSError, ValueError, MemoryError) as error:
        words = (
            str(error).rstrip(".")
            if isinstance(error, DamagedFileError)
            else f"{path} cannot be read ({error})"
        )
        raise DamagedFileError(
            f"Run {folder.run_id}: {words}. Remove {folder.path} and start its grid again."
        ) from error
    own = [
        row
        for row in rows
        if row["split"] == "test"
        and row["reading"] == reading
        and row["metric"] == measure.metric
        and measure.region in ("", row["region"])
    ]
    cases = tuple(
        CaseRow(row["case_id"], row["patient"], row["region"], _printed(row["value"], measure)) for row in own
    )

    def said(column: str) -> tuple[Any, ...]:
        return tuple(sorted({row[column] for row in own}))

    return RunRows(
        cases,
        checkpoints=said("checkpoint"),
        grids=said("grid"),
        run_ids=said("run_id"),
        folds=said("fold"),
        seeds=said("seed"),
    )


def _printed(value: float | None, measure: Measure) -> float | None:
    return None if value is None or math.isnan(value) else value * measure.scale


def mean(values: Iterable[float | None]) -> float | None:
    """Of the values that there are; None where there is none."""
    there = [value for value in values if value is not None]
    return math.fsum(there) / len(there) if there else None


def over_folds_then_seeds(runs: Sequence[tuple[int, float | None]]) -> float | None:
    """The mean over seeds of the means over folds, from each run's seed and its mean over cases."""
    by_seed: dict[int, list[float | None]] = {}
    for seed, value in runs:
        by_seed.setdefault(seed, []).append(value)
    return mean(mean(values) for values in by_seed.values())


def agree(one: float | None, other: float | None) -> bool:
    """Whether both are the same number, or both undefined."""
    if one is None or other is None:
        return one is None and other is None
    return abs(one - other) <= CLOSE * max(1.0, abs(one), abs(other))
