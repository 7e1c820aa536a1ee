"""The scores of many runs at once: thousands of small Parquet files as one frame.

Names stay dictionaries (pandas' categories) and rows that are not asked for are dropped batch by batch: 10,000 runs of
200 cases are read in seconds and fit into a gigabyte.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmark.files.places import DamagedFileError
from benchmark.files.tables import check_numbers, check_values, open_scores, unpacked
from benchmark.processes.devices import cores
from benchmark.processes.side_by_side import side_by_side
from benchmark.results.runs import SCORE_COLUMNS, RunFolder
from benchmark.vocabulary import BenchError

_T = TypeVar("_T")

TEST_SPLIT = "test"
NAMES = ["run_id", "reading", "case_id", "patient", "region", "metric", "checkpoint", "grid"]
NUMBERS = ["fold", "seed", "value"]
SCORES = ["run_id", "fold", "seed", "reading", *NAMES[2:6], "value", *NAMES[6:]]
SOURCE = ["run_id", "reading"]
"""What scores are of: a training, and how its output was read."""
IN_FILES = [*(name for name in NAMES if name != "run_id"), "split"]
MOSTLY_CONSTANT = {"reading", "region", "checkpoint", "grid", "split", "fold", "seed"}
BATCH = 256
"""Files that are in memory at a time."""
WORTH_A_PROCESS = 2000
"""Files; a process takes as long as some 700 of them to start, and to hand over what it read."""


@dataclass(frozen=True)
class _Rows:
    """Scores by column; of names the values, and for every row which one it has."""

    names: dict[str, tuple[tuple[str, ...], np.ndarray]]
    numbers: dict[str, np.ndarray]


def read_scores(
    results: Path, readings: Mapping[str, Collection[str]], *, metrics: Collection[str] | None = None
) -> pd.DataFrame:
    """The columns SCORES of the test part of these runs, with these readings; names are categories.

    `readings` says for every run which ones; `metrics`: only these, or all. Thousands of runs are read by several
    processes. Raises `BenchError` where a run's file cannot be read, is not what this suite writes, or lacks a reading.
    """
    scores, damaged = readable_scores(results, readings, metrics=metrics)
    for words in damaged.values():
        raise DamagedFileError(words)
    return scores


def readable_scores(
    results: Path, readings: Mapping[str, Collection[str]], *, metrics: Collection[str] | None = None
) -> tuple[pd.DataFrame, dict[str, str]]:
    """As `read_scores`, of those runs whose files can be read; and by run why others cannot."""
    batches = [dict(batch) for batch in _batched(readings.items(), BATCH)]
    read = partial(_read, results, metrics=metrics)
    n_processes = min(cores(), len(readings) // WORTH_A_PROCESS)
    ended = dict(side_by_side(read, dict(enumerate(batches)), jobs=n_processes))
    parts = [ended[number] for number in range(len(batches))]
    rows = _together([part for part, _ in parts])
    frame: dict[str, Any] = {}
    for name in SCORES:
        if name in NAMES:
            values, codes = rows.names[name]
            frame[name] = pd.Categorical.from_codes(codes, pd.Index(values, dtype=str))
        else:
            frame[name] = rows.numbers[name]
    damaged = {run_id: words for _, found in parts for run_id, words in found.items()}
    return pd.DataFrame(frame, copy=False), damaged


def _batched(items: Iterable[_T], n: int) -> Iterator[list[_T]]:
    """`itertools.batched` of Python 3.12."""
    left = iter(items)
    while batch := list(islice(left, n)):
        yield batch


def _read(
    results: Path, readings: Mapping[str, Collection[str]], *, metrics: Collection[str] | None
) -> tuple[_Rows, dict[str, str]]:
    """The rows of these runs that are asked for; by run why others cannot be read."""
    parts, damaged = [], {}
    for run_id, wanted in readings.items():
        folder = RunFolder(results, run_id)
        try:
            rows = _decoded(folder)
            _require(rows, folder, wanted)
            parts.append(rows)
        except BenchError as error:
            damaged[run_id] = str(error)
    return _asked_for(_together(parts), readings, metrics=metrics), damaged


def _decoded(folder: RunFolder) -> _Rows:
    """All rows of a run, of whatever split."""
    path = folder.scores_file
    try:
        file = open_scores(
            path,
            SCORE_COLUMNS,
            below=folder.path.parent,
            read_dictionary=[name for name in IN_FILES if name not in MOSTLY_CONSTANT],
        )
        alike = _constants(file.metadata, file.schema_arrow.names)
        wanted = [name for name in (*IN_FILES, *NUMBERS) if name not in alike]
        table = unpacked(file, wanted)
        n = table.num_rows
        names = {
            name: _constant(str(alike[name]), n) if name in alike else _dictionary(table.column(name))
            for name in IN_FILES
        }
        numbers = {
            name: np.full(n, alike[name])
            if name in alike
            else table.column(name).to_numpy().astype(SCORE_COLUMNS[name])
            for name in NUMBERS
        }
        if any((codes < 0).any() or None in values for values, codes in names.values()):
            raise ValueError("a name is missing")
        check_values(*names["metric"], numbers["value"], path=path)
        check_numbers({name: numbers[name] for name in ("fold", "seed")}, path=path)
        return _Rows({"run_id": _constant(folder.run_id, n), **names}, numbers)
    except (
        OSError,
        ValueError,
        TypeError,
        OverflowError,
        MemoryError,
        pa.ArrowException,
        BenchError,
    ) as error:
        words = str(error) if isinstance(error, BenchError) else f"{path} cannot be read ({error})"
        raise DamagedFileError(
            f"Run {folder.run_id} is done, but {words.rstrip('.')}. Remove {folder.path} and start the grid again."
        ) from error


def _require(rows: _Rows, folder: RunFolder, wanted: Collection[str]) -> None:
    """BenchError where the run was not scored on the test part with one of the readings."""
    ways, way_of = rows.names["reading"]
    met = np.bincount(way_of[_among(rows.names["split"], [TEST_SPLIT])], minlength=len(ways))
    there = [way for way, n_rows in zip(ways, met, strict=True) if n_rows]
    require_readings(folder, there, wanted)


def _constants(file: pq.FileMetaData, columns: Sequence[str]) -> dict[str, Any]:
    """Columns that the file's own statistics show to hold one value throughout; they need not be decoded.

    Most of the time of a small file goes into decoding, and most of its columns are of this kind.
    """
    if file.num_row_groups != 1 or not file.num_rows:
        return {}
    group = file.row_group(0)
    alike = {}
    for number, name in enumerate(columns):
        if name not in MOSTLY_CONSTANT:
            continue
        known = group.column(number).statistics
        if known is not None and known.has_min_max and known.null_count == 0 and known.min == known.max:
            alike[name] = known.min
    return alike


def _constant(value: str, n: int) -> tuple[tuple[str, ...], np.ndarray]:
    return (value,), np.zeros(n, dtype=np.int32)


def _dictionary(column: pa.ChunkedArray) -> tuple[tuple[str, ...], np.ndarray]:
    """The values of a column of names, and for every row which one it has."""
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.string()).dictionary_encode()
    if column.num_chunks == 1:
        chunk = column.chunk(0)
    elif column.num_chunks:
        chunk = pa.concat_arrays(column.unify_dictionaries().chunks)
    else:
        chunk = pa.array([], pa.dictionary(pa.int32(), pa.string()))
    values = tuple(chunk.dictionary.to_numpy(zero_copy_only=False).tolist())
    return values, chunk.indices.to_numpy(zero_copy_only=False)


def _together(parts: Sequence[_Rows]) -> _Rows:
    """The rows of the parts one after the other; names in the order in which they are met."""
    names = {}
    for name in ("run_id", *IN_FILES):
        known: dict[str, int] = {}
        # Runs of one fold have the same cases: their values are looked up once.
        numbered: dict[tuple[str, ...], np.ndarray] = {}
        codes = [np.empty(0, dtype=np.int32)]
        for part in parts:
            values, own = part.names[name]
            numbers = numbered.get(values)
            if numbers is None:
                numbers = np.array([known.setdefault(value, len(known)) for value in values], dtype=np.int32)
                numbered[values] = numbers
            codes.append(numbers[own])
        names[name] = (tuple(known), np.concatenate(codes))
    return _Rows(
        names,
        {
            name: np.concatenate([np.empty(0, SCORE_COLUMNS[name]), *(part.numbers[name] for part in parts)])
            for name in NUMBERS
        },
    )


def _asked_for(
    rows: _Rows, readings: Mapping[str, Collection[str]], *, metrics: Collection[str] | None
) -> _Rows:
    """The rows of the test split, of these readings and metrics."""
    kept = _among(rows.names["split"], [TEST_SPLIT])
    (runs, run_of), (ways, way_of) = rows.names["run_id"], rows.names["reading"]
    pairs = run_of.astype(np.int64) * len(ways) + way_of
    wanted = [way in readings[run_id] for run_id in runs for way in ways]
    kept &= np.array(wanted, dtype=bool)[pairs]
    if metrics is not None:
        kept &= _among(rows.names["metric"], metrics)
    names = {name: (values, codes[kept]) for name, (values, codes) in rows.names.items()}
    return _Rows(names, {name: column[kept] for name, column in rows.numbers.items()})


def _among(column: tuple[tuple[str, ...], np.ndarray], wanted: Collection[str]) -> np.ndarray:
    """[row]: whether it has one of these names."""
    values, codes = column
    return np.array([value in wanted for value in values], dtype=bool)[codes]


def require_readings(folder: RunFolder, known: Collection[str], wanted: Collection[str]) -> None:
    """BenchError where a run that has scores was not scored with one of the readings."""
    unknown = [reading for reading in wanted if reading not in known]
    if known and unknown:
        raise BenchError(
            f"Run {folder.run_id} was not scored with the reading {unknown[0]!r}, only with {sorted(known)}. "
            f"Remove {folder.path} and start the grid again."
        )


def codes_of(names: pd.Series) -> tuple[np.ndarray, pd.Index]:
    """A number for every row, and the names by their numbers."""
    if isinstance(names.dtype, pd.CategoricalDtype):
        return names.cat.codes.to_numpy().astype(np.int64), names.cat.categories
    codes, values = pd.factorize(names)
    return codes.astype(np.int64), pd.Index(values)


def sources_of(scores: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """The SOURCE of the scores, each once, in the order of its first row; and for every row the number of its
    source."""
    runs, run_ids = codes_of(scores["run_id"])
    ways, readings = codes_of(scores["reading"])
    n = max(len(readings), 1)
    of_row, pairs = pd.factorize(runs * n + ways)
    sources = pd.DataFrame({"run_id": run_ids[pairs // n], "reading": readings[pairs % n]})
    return sources.astype(str), of_row
