"""A cell's number once more from the rows on disk, by a plain loop of its own.

Not shared with the tables: decoding the files, choosing rows, means (`ground.score_files`, `with_means`,
`ground.frames`), so that a fault there cannot be repeated here; hence no pandas: Arrow chooses the rows, and what is
left is added up one by one. Shared, and so not checked by it: which files are read at all (`benchmark.files.tables`),
which runs are a cell's (`current_runs`, `Place`, their state) and what a measure is (`Measure`: its metric, region and
scale).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.compute as compute

from benchmark.files.places import DamagedFileError
from benchmark.files.tables import open_scores, unpacked
from benchmark.results.runs import SCORE_COLUMNS, RunFolder
from reports.ground.measures import Measure

CLOSE = 1e-9
"""Sums in another order differ in their last bits, relative to their size; more is another number."""
KEPT = 64
"""Files: the runs of a cell, which are asked for one measure after the other."""
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


@dataclass(frozen=True, eq=False)
class StoredRows:
    """All rows of a file of scores."""

    table: pyarrow.Table

    def of(self, measure: Measure, *, reading: str) -> RunRows:
        """The rows of one measure."""
        own = self.table.filter(self._chosen(measure, reading=reading))
        columns = (own.column(name).to_pylist() for name in ("case_id", "patient", "region", "value"))
        return _told(own, measure, zip(*columns, strict=True))

    def mean(self, measure: Measure, *, reading: str) -> float | None:
        """`of(...).mean`, without looking at the cases."""
        values = self.table.column("value").filter(self._chosen(measure, reading=reading)).to_pylist()
        return mean(_printed(value, measure) for value in values)

    def _chosen(self, measure: Measure, *, reading: str) -> Any:
        wanted = {"split": "test", "reading": reading, "metric": measure.metric}
        if measure.region:
            wanted["region"] = measure.region
        same = (compute.equal(self.table.column(name), value) for name, value in wanted.items())
        return reduce(compute.and_, same)


@lru_cache(maxsize=KEPT)
def _stored(path: Path, below: Path, stamp: tuple[int, int]) -> StoredRows:
    # `stamp` tells the file from an earlier one.
    file = open_scores(path, SCORE_COLUMNS, below=below)
    return StoredRows(unpacked(file, [*COLUMNS, "metric", "value"]))


def stored_rows(folder: RunFolder) -> StoredRows:
    """The rows of a run; DamagedFileError where they cannot be read. The last KEPT files are kept."""
    path = folder.scores_file
    try:
        status = path.stat()
        return _stored(path, folder.path.parent, (status.st_mtime_ns, status.st_size))
    except (DamagedFileError, pyarrow.ArrowException, OSError, ValueError, MemoryError) as error:
        words = (
            str(error).rstrip(".")
            if isinstance(error, DamagedFileError)
            else f"{path} cannot be read ({error})"
        )
        raise DamagedFileError(
            f"Run {folder.run_id}: {words}. Remove {folder.path} and start its grid again."
        ) from error


def read_rows(folder: RunFolder, measure: Measure, *, reading: str) -> RunRows:
    """The rows of one measure; DamagedFileError for a file that cannot be read."""
    return stored_rows(folder).of(measure, reading=reading)


def _told(
    own: pyarrow.Table, measure: Measure, rows: Iterable[tuple[str, str, str, float | None]]
) -> RunRows:
    cases = tuple(
        CaseRow(case_id, patient, region, _printed(value, measure))
        for case_id, patient, region, value in rows
    )

    def said(column: str) -> tuple[Any, ...]:
        return tuple(sorted(compute.unique(own.column(column)).to_pylist()))

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
