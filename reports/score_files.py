"""The scores of many runs at once: thousands of small Parquet files as one frame.

Names stay dictionaries (pandas' categories) and rows that are not asked for are dropped batch by batch: 10,000 runs of
200 cases are read in seconds and fit into a gigabyte.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmark.results import SCORE_COLUMNS, RunFolder, check_scores
from benchmark.vocabulary import BenchError

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


def read_scores(
    results: Path, readings: Mapping[str, Collection[str]], *, metrics: Collection[str] | None = None
) -> pd.DataFrame:
    """The columns SCORES of the test part of these runs, with these readings; names are categories.

    `readings` says for every run which ones; `metrics`: only these, or all. Raises `BenchError` where a run's file
    cannot be read, is not what this suite writes, or lacks a reading.
    """
    run_ids = list(readings)
    seen: dict[str, dict[str, int]] = {name: {} for name in IN_FILES}
    columns: dict[str, list[np.ndarray]] = {name: [] for name in SCORES}
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for start in range(0, len(run_ids), BATCH):
            batch = run_ids[start : start + BATCH]
            files = list(pool.map(partial(_read, results), batch))
            numbers = np.repeat(np.arange(start, start + len(batch)), [file.n_rows for file in files])
            rows = {"run_id": numbers, **_together(files, seen)}
            _take(rows, readings, run_ids, seen, metrics=metrics, results=results, into=columns)
    categories = {name: list(seen[name]) for name in IN_FILES} | {"run_id": run_ids}
    frame: dict[str, Any] = {}
    for name in SCORES:
        # One column after the other, so that none is in memory twice but the one.
        parts = columns.pop(name)
        if name in NAMES:
            codes = np.concatenate([np.empty(0, dtype=np.int32), *parts], dtype=np.int32, casting="same_kind")
            frame[name] = pd.Categorical.from_codes(codes, pd.Index(categories[name], dtype=str))
        else:
            frame[name] = np.concatenate([np.empty(0, dtype=float if name == "value" else np.int64), *parts])
    return pd.DataFrame(frame, copy=False)


@dataclass(frozen=True)
class _File:
    """A file's columns; of names the values, and for every row which one it has."""

    n_rows: int
    names: dict[str, tuple[tuple[str, ...], np.ndarray]]
    numbers: dict[str, np.ndarray]


def _read(results: Path, run_id: str) -> _File:
    folder = RunFolder(results, run_id)
    try:
        file = pq.ParquetFile(folder.scores_file, read_dictionary=IN_FILES)
        columns = file.schema_arrow.names
        if set(columns) != set(SCORE_COLUMNS):
            check_scores(file.read().to_pandas(), source=str(folder.scores_file))
        alike = _constants(file.metadata, columns)
        wanted = [name for name in (*IN_FILES, *NUMBERS) if name not in alike]
        table = file.read(columns=wanted, use_threads=False)
        n = table.num_rows
        names = {
            name: ((str(alike[name]),), np.zeros(n, dtype=np.int32))
            if name in alike
            else _dictionary(table.column(name))
            for name in IN_FILES
        }
        numbers = {
            name: np.full(n, alike[name])
            if name in alike
            else table.column(name).to_numpy().astype(SCORE_COLUMNS[name])
            for name in NUMBERS
        }
        return _File(n, names, numbers)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise BenchError(
            f"Run {run_id} is done, but {folder.scores_file} cannot be read ({error}). "
            f"Remove {folder.path} and start the grid again."
        ) from error


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


def _together(files: Sequence[_File], seen: dict[str, dict[str, int]]) -> dict[str, np.ndarray]:
    """The columns of the files one after the other, names by their numbers in `seen`, which grows."""
    columns: dict[str, np.ndarray] = {}
    for name in IN_FILES:
        known = seen[name]
        # Runs of one fold have the same cases: their values are looked up once.
        numbered: dict[tuple[str, ...], np.ndarray] = {}
        parts = []
        for file in files:
            values, codes = file.names[name]
            numbers = numbered.get(values)
            if numbers is None:
                numbers = np.array([known.setdefault(value, len(known)) for value in values], dtype=np.int32)
                numbered[values] = numbers
            parts.append(numbers[codes])
        columns[name] = np.concatenate(parts)
    return columns | {name: np.concatenate([file.numbers[name] for file in files]) for name in NUMBERS}


def _take(
    rows: dict[str, np.ndarray],
    readings: Mapping[str, Collection[str]],
    run_ids: Sequence[str],
    seen: dict[str, dict[str, int]],
    *,
    metrics: Collection[str] | None,
    results: Path,
    into: dict[str, list[np.ndarray]],
) -> None:
    """Append the rows that are asked for to the columns `into`."""
    kept = rows["split"] == seen["split"].get(TEST_SPLIT, -1)
    names = list(seen["reading"])
    pairs = rows["run_id"] * len(names) + rows["reading"]
    scored: dict[int, list[int]] = {}
    for pair in pd.unique(pairs[kept]):
        scored.setdefault(int(pair) // len(names), []).append(int(pair) % len(names))
    wanted = np.zeros(len(run_ids) * len(names), dtype=bool)
    for run, there in scored.items():
        run_id = run_ids[run]
        require_readings(RunFolder(results, run_id), [names[one] for one in there], readings[run_id])
        wanted[[run * len(names) + one for one in there if names[one] in readings[run_id]]] = True
    kept &= wanted[pairs]
    if metrics is not None:
        kept &= np.array([name in metrics for name in seen["metric"]], dtype=bool)[rows["metric"]]
    for name in SCORES:
        into[name].append(rows[name][kept])


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
