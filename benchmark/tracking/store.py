"""A tracking store and the suite's experiment in it. Opening one imports MLflow, nothing else does."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sqlite3
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from benchmark.credentials import without_secrets
from benchmark.files.places import DamagedFileError, is_name, read_text, refuse_links
from benchmark.files.writing import exclusive, write_text, written_whole
from benchmark.tracking import bulk
from benchmark.tracking.content import shortened
from benchmark.vocabulary import BenchError
from benchmark.words import in_results

EXPERIMENT = "bench"
ARTIFACTS = "mlflow_artifacts"
"""Their folder, beside the database."""
FOLDER = "bench.folder"
"""The tag that says which results folder a run came from."""


def default_uri(results: Path) -> str:
    return sqlite_uri(results.resolve() / "mlflow.db")


def needs_escaping(file: Path) -> bool:
    """Whether a file's name means something else in an address."""
    return not re.fullmatch(r"[^?#%\ud800-\udfff]*", str(file))


def sqlite_uri(file: Path) -> str:
    """The address of a database file, whatever it and its folders are called."""
    if not needs_escaping(file):
        return f"sqlite:///{file}"
    # SQLite's own form, in which every character can be written; without slashes, since MLflow makes folders of what
    # is before the last. How it is written into an address depends on SQLAlchemy's version.
    from sqlalchemy.engine import URL

    path = quote(os.fsencode(file), safe="")
    return URL.create("sqlite", database=f"file:{path}", query={"uri": "true"}).render_as_string()


def store_uri(results: Path) -> str:
    """Where runs are mirrored to: MLFLOW_TRACKING_URI, or an SQLite file in the results folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or default_uri(results)


MOVE_AWAY = "Move it away; the next delivery then brings everything again."


def lock_file(results: Path) -> Path:
    """One process at a time delivers a results folder."""
    return results / "mlflow.lock"


def folder_id(results: Path) -> str:
    """Names a results folder in MLflow: two folders on one server may hold the same run."""
    file = results / ".mlflow_folder"
    if not file.exists():
        # Two launchers that begin at the same moment must not each take an id of their own.
        with exclusive(file.with_name(f"{file.name}.lock"), wait=True):
            if not file.exists():
                write_text(file, uuid.uuid4().hex[:12] + "\n")
    name = read_text(file, below=file.parent).strip()
    if not is_name(name):
        raise DamagedFileError(
            f"{file} is damaged (it names no folder). Remove it; `bench sync{in_results(results)}` writes another."
        )
    return name


def reason(error: BaseException, uri: str) -> str:
    """The first line of an error, without the address's secrets."""
    text = str(error).strip() or type(error).__name__
    first = shortened(without_secrets(text.splitlines()[0], uri), 1000)
    broken = any(words in text for words in ("malformed", "not a database"))
    return f"{first} The database is damaged. {MOVE_AWAY}" if broken and MOVE_AWAY not in first else first


def _quiet_mlflow() -> None:
    """No usage statistics leave the machine, nothing is printed, an absent server costs seconds."""
    for name, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "GIT_PYTHON_REFRESH": "quiet",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
        "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "30",
    }.items():
        os.environ.setdefault(name, value)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)


def _is_missing(database: Path) -> bool:
    return not database.exists() or (database.is_file() and database.stat().st_size == 0)


def _check_database(database: Path) -> None:
    """BenchError for a file that is no database of MLflow's."""
    try:
        # As an address: to open a file that is not there would create it.
        with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True)) as connection:
            tables = {
                name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            }
        fault = "" if {"alembic_version", "experiments", "runs"} <= tables else "it has not MLflow's tables"
    except sqlite3.Error as error:
        fault = str(error)
    if fault:
        raise BenchError(f"{database} is damaged, or no database of MLflow's ({fault}). {MOVE_AWAY}")


class Store:
    """An experiment of a tracking store, created if need be. Raises whatever MLflow raises."""

    def __init__(self, results: Path, uri: str) -> None:
        _quiet_mlflow()
        from mlflow.tracking import MlflowClient

        self.name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        # A server decides itself where its artifacts are; a database without a server cannot.
        artifacts = (results.resolve() / ARTIFACTS).as_uri()
        location = None if uri.startswith(("http:", "https:", "databricks")) else artifacts
        database = results.resolve() / "mlflow.db"
        if uri == default_uri(results):
            if _is_missing(database):
                # Of a database that was moved away these would be played back into the new one.
                for rest in ("-journal", "-wal", "-shm"):
                    database.with_name(f"{database.name}{rest}").unlink(missing_ok=True)
                # Built aside: MLflow cannot go on from a database whose first migration was cut short.
                with written_whole(database) as temporary:
                    MlflowClient(sqlite_uri(temporary)).create_experiment(
                        self.name, artifact_location=location
                    )
            # MLflow would try again and again for minutes.
            _check_database(database)
        self._artifacts = results.resolve() / ARTIFACTS if uri == default_uri(results) else None
        self.client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self.own_database = database if uri == default_uri(results) else None
        """The database in the results folder, where that is the store."""
        self.experiment = self._experiment(location)
        if uri == default_uri(results) and self.experiment.artifact_location != artifacts:
            self._follow(database, artifacts)

    def _follow(self, database: Path, artifacts: str) -> None:
        """After the results folder was moved or copied, with its artifacts: MLflow keeps absolute paths.

        BenchError where the database's artifacts are not those of a results folder.
        """
        before = self.experiment.artifact_location
        try:
            if before.rpartition("/")[2] != ARTIFACTS:
                raise ValueError("these are no artifacts of a results folder")
            bulk.move_artifacts(database, self.experiment.experiment_id, before, artifacts)
        except (ValueError, sqlite3.Error) as error:
            raise BenchError(
                f"{database} has its artifacts under {before}, and cannot be moved here ({error}). Remove the file and "
                f"run `bench sync{in_results(database.parent)}` to rebuild it."
            ) from error
        self.experiment = self._experiment(artifacts)

    def _experiment(self, location: str | None) -> Any:
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(self.name)
        if found is None:
            # Another launcher may create it at this very moment.
            with contextlib.suppress(MlflowException):
                self.client.create_experiment(self.name, artifact_location=location)
            found = self.client.get_experiment_by_name(self.name)
        if found is None or found.lifecycle_stage != "active":
            raise BenchError(
                f"MLflow's experiment {self.name!r} cannot be created or was deleted."
                " Restore it, or name another with MLFLOW_EXPERIMENT_NAME."
            )
        return found

    def require_own(self, mlflow_id: str) -> None:
        """BenchError where a run's artifacts would be written outside of the results folder: its database, and with it
        the run, may be a stranger's."""
        if self._artifacts is None:
            return
        place = self.client.get_run(mlflow_id).info.artifact_uri
        path = Path(unquote(place.removeprefix("file://")))
        try:
            refuse_links(path, below=self._artifacts)
        except (DamagedFileError, ValueError) as error:
            raise BenchError(
                f"MLflow's run {mlflow_id} has its files in {place}, not in this results folder. Remove mlflow.db "
                f"there and run `bench sync{in_results(self._artifacts.parent)}` to rebuild it."
            ) from error

    @property
    def identity(self) -> str:
        """Differs between two databases that were at the same address one after the other."""
        return f"{self.experiment.experiment_id}@{self.experiment.creation_time}"

    def is_there(self) -> bool:
        """Whether the store answers."""
        try:
            return self.client.get_experiment_by_name(self.name) is not None
        except Exception:
            return False

    def is_active(self, mlflow_id: str) -> bool:
        """Whether a run still exists; people delete runs in the user interface."""
        from mlflow.exceptions import MlflowException

        try:
            return self.client.get_run(mlflow_id).info.lifecycle_stage == "active"
        except MlflowException:
            return False

    def runs_from(self, folder: str) -> list[Any]:
        """All runs that a results folder has delivered, the oldest first."""
        found: list[Any] = []
        token = None
        while True:
            page = self.client.search_runs(
                [self.experiment.experiment_id],
                filter_string=f"tags.`{FOLDER}` = '{folder}'",
                order_by=["attributes.start_time ASC"],
                max_results=1000,
                page_token=token,
            )
            found += page
            token = page.token
            if not token:
                return found
