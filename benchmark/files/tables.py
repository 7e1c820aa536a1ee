"""Tables of a results folder: scores in Parquet, histories in CSV. Bounded before a row is read, checked after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from benchmark.files.memory import bounded_memory
from benchmark.files.places import DamagedFileError, read_bytes

MOST_ROWS = 2_000_000
"""Of a run's scores: 250 cases, 3 regions, 9 metrics and 5 readings are 34,000."""
MOST_COLUMN_BYTES = 2**30
"""Of a file's columns together, as they are in memory."""
MOST_PARQUET_BYTES = 256 * 2**20
MOST_STEPS = 2_000_000
"""Rows of a history."""
MOST_CURVES = 200
LONGEST_NAME = 1000

SHARES = ("dice", "surface_dice_2mm")
FLAGS = ("missed", "invented")
COUNTS = ("lesions", "missed_lesions")
AMOUNTS = ("fpv_ml", "fnv_ml", "over_ml", "under_ml", "hd95_mm")
"""Metrics by the range of their values; of others it is known that they are finite. Every value may be undefined."""


def open_scores(path: Path, columns: Mapping[str, str], *, below: Path, **options: Any) -> pq.ParquetFile:
    """A Parquet file in memory whose footer says that it holds these columns of these kinds (`string`, `int64`,
    `float64`), and no more rows than can be meant. `options` are those of Arrow."""
    content = read_bytes(path, below=below, most=MOST_PARQUET_BYTES)
    try:
        # From memory: a small file that Arrow itself reads from disk takes twice the time.
        file = pq.ParquetFile(pa.BufferReader(content), **options)
        footer, schema = file.metadata, file.schema_arrow
        size = sum(footer.row_group(number).total_byte_size for number in range(footer.num_row_groups))
    except KeyError as error:
        # Of the columns that are to be read as dictionaries.
        raise DamagedFileError(f"{path}: missing column {error}.") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DamagedFileError(f"{path} cannot be read ({error})") from error
    if footer.num_rows > MOST_ROWS or size > MOST_COLUMN_BYTES:
        raise DamagedFileError(
            f"{path} cannot be read (it claims {footer.num_rows:,} rows and {size:,} bytes, more than the "
            f"{MOST_ROWS:,} and {MOST_COLUMN_BYTES:,} that scores may have)"
        )
    names = schema.names
    missing = [name for name in columns if name not in names]
    unknown = [name for name in names if name not in columns]
    if missing or unknown or len(names) != len(columns):
        raise DamagedFileError(f"{path}: missing columns {missing}, unknown columns {unknown[:5]}.")
    for name, kind in zip(names, schema.types, strict=True):
        if not _is(kind, columns[name]):
            raise DamagedFileError(f"{path} cannot be read ({name} is {kind}, not {columns[name]})")
    return file


def unpacked(file: pq.ParquetFile, columns: Sequence[str]) -> pa.Table:
    """These columns of a file that was opened here; a MemoryError where its pages hold more than its footer says."""
    with bounded_memory():
        return file.read(columns=list(columns), use_threads=False)


@lru_cache(maxsize=64)
def _is(kind: pa.DataType, wanted: str) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if wanted == "string":
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind))
    return bool(pa.types.is_integer(kind) if wanted == "int64" else pa.types.is_floating(kind))


def read_scores(path: Path, columns: Mapping[str, str], *, below: Path) -> pd.DataFrame:
    """The scores in a file, in the order of `columns`; DamagedFileError also for values that no metric has."""
    file = open_scores(path, columns, below=below)
    try:
        # A text that stands for many rows is written once, and unpacked here.
        with bounded_memory():
            table = file.read(use_threads=False)
            # Not pandas' own notes in the file, which could say anything.
            frame = table.to_pandas(ignore_metadata=True)[list(columns)].astype(dict(columns))
    except (pa.ArrowException, OSError, ValueError, TypeError, MemoryError) as error:
        raise DamagedFileError(f"{path} cannot be read ({error})") from error
    names = [name for name, kind in columns.items() if kind == "string"]
    if frame[names].isna().any(axis=None):
        raise DamagedFileError(f"{path} cannot be read (a name is missing)")
    codes, metrics = pd.factorize(frame["metric"])
    check_values(list(map(str, metrics)), codes, frame["value"].to_numpy(float), path=path)
    check_numbers({name: frame[name].to_numpy() for name in ("fold", "seed")}, path=path)
    return frame


def check_file(path: Path, columns: Mapping[str, str], *, below: Path) -> None:
    """As `read_scores`, for who does not need the scores."""
    read_groups(path, columns, below=below, over=())


@dataclass(frozen=True)
class Groups:
    """Scores by what they have in common: `codes` says of each value which of the names it has."""

    names: tuple[tuple[str, ...], ...]
    codes: np.ndarray
    values: np.ndarray


def read_groups(path: Path, columns: Mapping[str, str], *, below: Path, over: Sequence[str]) -> Groups:
    """The scores in a file by these columns of names, ascending; a tenth of the time of `read_scores`, and the same
    DamagedFileErrors, as far as values and these columns go."""
    texts = tuple(dict.fromkeys(("metric", *over)))
    file = open_scores(path, columns, below=below, read_dictionary=list(texts))
    try:
        table = unpacked(file, [*texts, "value", "fold", "seed"])
        named = {name: table.column(name).combine_chunks() for name in texts}
        values = table.column("value").to_numpy().astype(float)
        if any(column.null_count for column in named.values()):
            raise ValueError("a name is missing")
    except (pa.ArrowException, OSError, ValueError, TypeError, MemoryError) as error:
        raise DamagedFileError(f"{path} cannot be read ({error})") from error
    codes = {name: column.indices.to_numpy(zero_copy_only=False) for name, column in named.items()}
    words = {name: column.dictionary.to_pylist() for name, column in named.items()}
    check_values(words["metric"], codes["metric"], values, path=path)
    check_numbers({name: table.column(name).to_numpy() for name in ("fold", "seed")}, path=path)
    together = np.zeros(len(values), np.int64)
    found: list[tuple[str, ...]] = [()]
    for name in over:
        pairs, together = np.unique(together * len(words[name]) + codes[name], return_inverse=True)
        before, own = np.divmod(pairs, max(len(words[name]), 1))
        found = [(*found[i], words[name][j]) for i, j in zip(before, own, strict=True)]
    order = sorted(range(len(found)), key=found.__getitem__)
    place = np.empty(len(found), np.int64)
    place[order] = np.arange(len(found))
    return Groups(tuple(found[i] for i in order), place[together], values)


def check_values(metrics: Sequence[str], codes: np.ndarray, values: np.ndarray, *, path: Path) -> None:
    """DamagedFileError where a value is infinite, or not one that its metric has; `codes` says of which it is."""
    if np.isinf(values).any():
        raise DamagedFileError(
            f"{path} cannot be believed ({metrics[codes[np.isinf(values)][0]]} is infinite)"
        )
    bounds = np.array([_range(metric) for metric in metrics] or [(0.0, 0.0)])
    whole = np.array([metric in (*FLAGS, *COUNTS) for metric in metrics] or [False])
    with np.errstate(invalid="ignore"):
        wrong = (values < bounds[codes, 0]) | (values > bounds[codes, 1])
        wrong |= whole[codes] & (values != np.rint(values)) & ~np.isnan(values)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise DamagedFileError(
            f"{path} cannot be believed ({metrics[codes[first]]} is {values[first]:.6g} in "
            f"{int(wrong.sum())} of {len(values)} rows, to begin with)"
            if wrong.sum() > 1
            else f"{path} cannot be believed ({metrics[codes[first]]} is {values[first]:.6g})"
        )


def _range(metric: str) -> tuple[float, float]:
    if metric in SHARES or metric in FLAGS:
        return 0.0, 1.0
    return (0.0 if metric in (*COUNTS, *AMOUNTS) else -np.inf), np.inf


def check_numbers(columns: Mapping[str, np.ndarray], *, path: Path) -> None:
    """DamagedFileError for a negative fold or seed."""
    for name, values in columns.items():
        if len(values) and values.min() < 0:
            raise DamagedFileError(f"{path} cannot be believed ({name} is {values.min()})")


def read_history(path: Path, *, below: Path) -> dict[str, np.ndarray]:
    """The numbers in a CSV file by column; steps are whole, and ascend from zero."""
    content = read_bytes(path, below=below)
    if content.count(b"\n") > MOST_STEPS or content[:100_000].split(b"\n", 1)[0].count(b",") >= MOST_CURVES:
        raise DamagedFileError(f"{path} cannot be read (it has more rows or columns than a training)")
    if not content.strip():
        return {}
    try:
        # In one piece: a column's type is that of its first piece.
        whole = csv.ReadOptions(use_threads=False, block_size=len(content))
        table = csv.read_csv(pa.BufferReader(content), read_options=whole)
        columns = {str(name): _curve(table.column(place)) for place, name in enumerate(table.column_names)}
    except (pa.ArrowException, ValueError, OverflowError, MemoryError) as error:
        raise DamagedFileError(f"{path} cannot be read ({' '.join(str(error).split())})") from error
    if len(columns) < table.num_columns:
        raise DamagedFileError(f"{path} cannot be read (two columns have one name)")
    for name, column in columns.items():
        if column is None:
            raise DamagedFileError(f"{path} cannot be read (column {name[:100]!r} is not of numbers)")
        if len(name) > LONGEST_NAME:
            raise DamagedFileError(f"{path} cannot be read (a column's name has {len(name)} characters)")
    numbers = {name: column for name, column in columns.items() if column is not None}
    for name in ("step", "seconds", "epoch"):
        if name in numbers and not ((numbers[name] >= 0) & (numbers[name] <= 2**53)).all():
            raise DamagedFileError(f"{path} cannot be believed ({name} is not finite, or negative)")
    return numbers


def _curve(column: pa.ChunkedArray) -> np.ndarray | None:
    """A column's numbers, NaN where there is none; None for a column of something else."""
    if pa.types.is_null(column.type):
        return np.full(len(column), np.nan)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return None
    numbers: np.ndarray = column.to_numpy()
    return numbers
