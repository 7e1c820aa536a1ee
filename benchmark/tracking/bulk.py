"""Many points at once into a database of our own.

MLflow makes an object of each point, at a fifth of a millisecond; a run has a thousand and a grid may have thousands of
runs. What a new run has to say is written in one transaction instead, into tables that are as they are known here.
Where they are not, and for every other store, MLflow does it.
"""

from __future__ import annotations

import contextlib
import math
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmark.tracking.content import Point

COLUMNS = {
    "metrics": {"key", "value", "timestamp", "run_uuid", "step", "is_nan"},
    "latest_metrics": {"key", "value", "timestamp", "run_uuid", "step", "is_nan"},
    "params": {"key", "value", "run_uuid"},
    "tags": {"key", "value", "run_uuid"},
}
OF_RUNS = {"run_uuid", "status", "end_time"}
BUSY_SECONDS = 30.0


def can_take(database: Path, series: Mapping[str, Sequence[Point]]) -> bool:
    """Whether the database's tables are those known here, and all values such as are stored as they are."""
    if not all(math.isfinite(point.value) for points in series.values() for point in points):
        return False
    with contextlib.closing(_connected(database)) as connection:
        known = all(_columns(connection, table) == columns for table, columns in COLUMNS.items())
        return known and _columns(connection, "runs") >= OF_RUNS


def write(
    database: Path,
    mlflow_id: str,
    series: Mapping[str, Sequence[Point]],
    *,
    start_ms: int,
    params: Mapping[str, str],
    tags: Mapping[str, str],
    status: str,
    end_ms: int | None,
) -> None:
    """All of a run that MLflow knows nothing of yet but its name; the whole or nothing of it."""
    points, latest = [], []
    for name, curve in series.items():
        # Equal points of a curve are one, as for MLflow.
        rows = list(
            dict.fromkeys((start_ms + round(1000 * p.seconds), p.step, float(p.value)) for p in curve)
        )
        points += [(name, value, at, mlflow_id, step, 0) for at, step, value in rows]
        if rows:
            at, step, value = max(rows, key=lambda row: (row[1], row[0], row[2]))
            latest.append((name, value, at, mlflow_id, step, 0))
    place = "(key, value, timestamp, run_uuid, step, is_nan) VALUES (?, ?, ?, ?, ?, ?)"
    named = "(key, value, run_uuid) VALUES (?, ?, ?)"
    with contextlib.closing(_connected(database)) as connection, connection:
        connection.executemany(f"INSERT INTO metrics {place}", points)
        connection.executemany(f"INSERT INTO latest_metrics {place}", latest)
        connection.executemany(f"INSERT INTO params {named}", [(k, v, mlflow_id) for k, v in params.items()])
        connection.executemany(
            f"INSERT OR REPLACE INTO tags {named}", [(k, v, mlflow_id) for k, v in tags.items()]
        )


def _connected(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(database, timeout=BUSY_SECONDS)


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")}
