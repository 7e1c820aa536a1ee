"""Many new runs at once, into a database of our own.

MLflow makes an object of each point, at a fifth of a millisecond, and waits for the disk a dozen times a run; a run has
a thousand points, and a grid may have thousands of runs. What new runs have to say is written in one transaction
instead, into tables that are as they are known here. Where they are not, and for every other store, MLflow does it.
"""

from __future__ import annotations

import contextlib
import math
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from benchmark.tracking.content import Point

_METRICS = ("key", "value", "timestamp", "run_uuid", "step", "is_nan")
_TEXTS = ("key", "value", "run_uuid")
_RUNS = (
    "run_uuid",
    "name",
    "source_type",
    "source_name",
    "entry_point_name",
    "user_id",
    "status",
    "start_time",
    "end_time",
    "deleted_time",
    "source_version",
    "lifecycle_stage",
    "artifact_uri",
    "experiment_id",
)
COLUMNS = {"runs": _RUNS, "metrics": _METRICS, "latest_metrics": _METRICS, "params": _TEXTS, "tags": _TEXTS}
BUSY_SECONDS = 30.0
CACHE_KIB = 128 * 1024
"""Of a database's pages in memory. A grid of thousands of runs has millions of points, under keys of many runs."""


@dataclass(frozen=True)
class NewRun:
    """A run that MLflow does not know; `end_ms` None: it goes on."""

    mlflow_id: str
    name: str
    artifact_uri: str
    status: str
    start_ms: int
    end_ms: int | None
    series: Mapping[str, Sequence[Point]]
    params: Mapping[str, str]
    tags: Mapping[str, str]

    @property
    def is_plain(self) -> bool:
        """Whether all values are such as are stored as they are."""
        return all(math.isfinite(point.value) for points in self.series.values() for point in points)


def has_known_tables(database: Path) -> bool:
    """Whether the database's tables are those known here."""
    with contextlib.closing(_connected(database)) as connection:
        return all(_columns(connection, table) == set(columns) for table, columns in COLUMNS.items())


def write(database: Path, experiment_id: str, runs: Sequence[NewRun]) -> None:
    """All of these runs or, with an sqlite3.Error, none."""
    rows: dict[str, list[tuple[object, ...]]] = {table: [] for table in COLUMNS}
    for run in runs:
        told = (
            run.status,
            run.start_ms,
            run.end_ms,
            None,
            "",
            "active",
            run.artifact_uri,
            int(experiment_id),
        )
        rows["runs"].append((run.mlflow_id, run.name, "UNKNOWN", "", "", "unknown", *told))
        for name, curve in run.series.items():
            # Equal points of a curve are one, as for MLflow.
            points = {(run.start_ms + round(1000 * p.seconds), p.step, float(p.value)): None for p in curve}
            rows["metrics"] += [(name, value, at, run.mlflow_id, step, 0) for at, step, value in points]
            if points:
                at, step, value = max(points, key=lambda point: (point[1], point[0], point[2]))
                rows["latest_metrics"].append((name, value, at, run.mlflow_id, step, 0))
        rows["params"] += [(name, value, run.mlflow_id) for name, value in run.params.items()]
        tags = {"mlflow.runName": run.name, **run.tags}
        rows["tags"] += [(name, value, run.mlflow_id) for name, value in tags.items()]
    # In the order of the tables' keys, so that neighbours lie on one page.
    rows["metrics"].sort(key=itemgetter(0, 2, 4))
    with contextlib.closing(_connected(database)) as connection, connection:
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        for table, columns in COLUMNS.items():
            places = ", ".join("?" * len(columns))
            connection.executemany(
                f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", rows[table]
            )


def move_artifacts(database: Path, experiment_id: str, before: str, after: str) -> None:
    """From now on the artifacts of an experiment, and those of its runs that lay below `before`, lie below `after`."""
    own, below = (experiment_id,), f"{before}/"
    with contextlib.closing(_connected(database)) as connection, connection:
        connection.execute(
            "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (after, *own)
        )
        connection.execute(
            "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) WHERE experiment_id = ?"
            " AND substr(artifact_uri, 1, ?) = ?",
            (f"{after}/", len(below) + 1, *own, len(below), below),
        )


def _connected(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(database, timeout=BUSY_SECONDS)


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")}
