"""A tracking store and the suite's experiment in it. Opening one imports MLflow, nothing else does."""

from __future__ import annotations

import contextlib
import logging
import os
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from benchmark.credentials import without_secrets
from benchmark.files import exclusive, write_text, written_whole
from benchmark.foreign.places import DamagedFileError, is_name, read_text, refuse_links
from benchmark.tracking.content import shortened
from benchmark.vocabulary import BenchError

EXPERIMENT = "bench"
FOLDER = "bench.folder"
"""The tag that says which results folder a run came from."""


def default_uri(results: Path) -> str:
    return f"sqlite:///{results.resolve() / 'mlflow.db'}"


def store_uri(results: Path) -> str:
    """Where runs are mirrored to: MLFLOW_TRACKING_URI, or an SQLite file in the results folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or default_uri(results)


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
            f"{file} is damaged (it names no folder). Remove it; `bench sync` writes another."
        )
    return name


def reason(error: BaseException, uri: str) -> str:
    """The first line of an error, without the address's secrets."""
    text = str(error).strip() or type(error).__name__
    return shortened(without_secrets(text.splitlines()[0], uri), 1000)


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


class Store:
    """An experiment of a tracking store, created if need be. Raises whatever MLflow raises."""

    def __init__(self, results: Path, uri: str) -> None:
        _quiet_mlflow()
        from mlflow.tracking import MlflowClient

        self.name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        # A server decides itself where its artifacts are; a database without a server cannot.
        artifacts = (results.resolve() / "mlflow_artifacts").as_uri()
        location = None if uri.startswith(("http:", "https:", "databricks")) else artifacts
        database = results.resolve() / "mlflow.db"
        if uri == default_uri(results) and not database.exists():
            # Built aside: MLflow cannot go on from a database whose first migration was cut short.
            with written_whole(database) as temporary:
                MlflowClient(f"sqlite:///{temporary}").create_experiment(
                    self.name, artifact_location=location
                )
        self._artifacts = results.resolve() / "mlflow_artifacts" if uri == default_uri(results) else None
        self.client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self.experiment = self._experiment(location)
        if uri == default_uri(results) and self.experiment.artifact_location != artifacts:
            raise BenchError(
                f"{database} belongs to a results folder at another place, its artifacts are under"
                f" {self.experiment.artifact_location}. Remove the file and run `bench sync` to rebuild it."
            )

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
                "there and run `bench sync` to rebuild it."
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
