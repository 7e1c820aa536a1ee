"""A cell's number once more from the rows on disk, by a plain loop of its own.

Not shared with the tables: decoding the files, choosing rows, means (`ground.score_files`, `with_means`,
`ground.frames`), so that a fault there cannot be repeated here; hence no pandas: rows are chosen by the names that
Arrow numbers, and what is left is added up one by one. Shared, and so not checked by it: which files are read at all
(`benchmark.files.tables`), which runs are a cell's (`current_runs`, `Place`, their state) and what a measure is
(`Measure`: its metric, region and scale).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow

from benchmark.files.places import DamagedFileError
from benchmark.files.tables import open_scores, unpacked
from benchmark.results.runs import SCORE_COLUMNS, RunFolder
from reports.ground.measures import Measure

CLOSE = 1e-9
"""Sums in another order differ in their last bits, relative to their size; more is another number."""
KEPT = 64
"""Files: the runs of a cell, which are asked for one measure after the other."""
NAMES = [
    "run_id",
    "split",
    "checkpoint",
    "grid",
    "reading",
    "case_id",
    "patient",
    "region",
    "metric",
]
NUMBERS = ["fold", "seed", "value"]


@dataclass
class CaseRow:
    """One row of `scores.parquet`. `value` is in the printed unit; None: undefined."""

    # Not frozen: a page of 3,000 runs makes 600,000 of them, which then takes three times as long.

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
class _Names:
    """A column of names: the different ones, and for every row which one it has."""

    words: tuple[str, ...]
    codes: np.ndarray

    def are(self, wanted: str) -> np.ndarray:
        """[row]: whether it has this name."""
        return np.array([word == wanted for word in self.words], dtype=bool)[self.codes]

    def of(self, rows: np.ndarray) -> list[str]:
        """The names of these rows."""
        return [self.words[code] for code in self.codes[rows].tolist()]

    def said(self, rows: np.ndarray) -> tuple[str, ...]:
        """The different names among these rows, sorted."""
        return tuple(sorted({self.words[code] for code in set(self.codes[rows].tolist())}))


@dataclass(frozen=True, eq=False)
class StoredRows:
    """All rows of a file of scores, by column; undefined values are NaN."""

    names: Mapping[str, _Names]
    numbers: Mapping[str, np.ndarray]
    _read: dict[str, np.ndarray] = field(default_factory=dict)
    """By reading its rows on the test part, which every measure asks for."""

    def of(self, measure: Measure, *, reading: str) -> RunRows:
        """The rows of one measure."""
        rows = self._rows(measure, reading=reading)
        columns = (self.names[name].of(rows) for name in ("case_id", "patient", "region"))
        values = (_printed(value, measure) for value in self.numbers["value"][rows].tolist())
        return RunRows(
            tuple(map(CaseRow, *columns, values)),
            checkpoints=self.names["checkpoint"].said(rows),
            grids=self.names["grid"].said(rows),
            run_ids=self.names["run_id"].said(rows),
            folds=tuple(sorted(set(self.numbers["fold"][rows].tolist()))),
            seeds=tuple(sorted(set(self.numbers["seed"][rows].tolist()))),
        )

    def mean(self, measure: Measure, *, reading: str) -> float | None:
        """`of(...).mean`, without looking at the cases."""
        values = self.numbers["value"][self._rows(measure, reading=reading)].tolist()
        return mean(_printed(value, measure) for value in values)

    def _rows(self, measure: Measure, *, reading: str) -> np.ndarray:
        """The numbers of the rows of a measure, ascending."""
        if reading not in self._read:
            self._read[reading] = self.names["split"].are("test") & self.names["reading"].are(reading)
        chosen = self._read[reading] & self.names["metric"].are(measure.metric)
        if measure.region:
            chosen &= self.names["region"].are(measure.region)
        return np.flatnonzero(chosen)


@lru_cache(maxsize=KEPT)
def _stored(path: Path, below: Path, stamp: tuple[int, int]) -> StoredRows:
    # `stamp` tells the file from an earlier one.
    file = open_scores(path, SCORE_COLUMNS, below=below, read_dictionary=NAMES)
    table = unpacked(file, [*NAMES, *NUMBERS])
    return StoredRows(
        {name: _names(table.column(name)) for name in NAMES},
        {name: _numbers(table.column(name), name) for name in NUMBERS},
    )


def _names(column: pyarrow.ChunkedArray) -> _Names:
    if not pyarrow.types.is_dictionary(column.type):
        column = column.cast(pyarrow.string()).dictionary_encode()
    whole = column.unify_dictionaries().combine_chunks()
    if whole.null_count:
        raise ValueError("a name is missing")
    return _Names(tuple(whole.dictionary.to_pylist()), whole.indices.to_numpy(zero_copy_only=False))


def _numbers(column: pyarrow.ChunkedArray, name: str) -> np.ndarray:
    if column.null_count and name != "value":
        raise ValueError(f"a {name} is missing")
    numbers: np.ndarray = column.to_numpy()
    return numbers


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


def _printed(value: float, measure: Measure) -> float | None:
    return None if math.isnan(value) else value * measure.scale


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
