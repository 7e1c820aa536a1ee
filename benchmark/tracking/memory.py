"""What MLflow has been told, remembered beside the results; one entry a tracking store."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmark.credentials import without_secrets
from benchmark.files.places import DamagedFileError
from benchmark.files.schemas import STRICT, checked, read_mapping
from benchmark.files.writing import write_json
from benchmark.results.runs import RunFolder, state_of
from benchmark.tracking.content import GridMembership, Point, digest, signature_of

SAVE_SECONDS = 2.0
SAVING_SHARE = 0.02


@dataclass
class Delivered:
    """One MLflow run as it was left. `series` maps a metric to how many points it has and their digest."""

    __pydantic_config__ = STRICT

    mlflow_id: str
    parent: str = ""
    start_ms: int = 0
    status: str = "RUNNING"
    state: str = ""
    signature: str = ""
    params: bool = False
    series: dict[str, list[Any]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    artifacts: dict[str, list[int]] = field(default_factory=dict)

    def contradicts(self, series: Mapping[str, Sequence[Point]], *, complete: bool) -> bool:
        """Whether MLflow shows points that the run folder does not have.

        A run that is not `complete` may have fewer: it went back to its checkpoint and catches up.
        """
        for name, (count, earlier) in self.series.items():
            points = series.get(name, ())
            if (complete and len(points) < count) or (
                len(points) >= count and digest(points[:count]) != earlier
            ):
                return True
        return False


@dataclass
class _Told:
    """What one store has been told, as it stands in the file."""

    __pydantic_config__ = STRICT

    store: str = ""
    runs: dict[str, Delivered] = field(default_factory=dict)
    grids: dict[str, Delivered] = field(default_factory=dict)


class Memory:
    """Everything one store has been told. A lost or damaged file does no harm."""

    def __init__(self, results: Path, uri: str) -> None:
        self.file = results / "mlflow_delivered.json"
        self.uri = without_secrets(uri)
        self.store = ""
        self.runs: dict[str, Delivered] = {}
        self.grids: dict[str, Delivered] = {}
        self.other_stores: dict[str, Any] = {}
        self._next_save = 0.0
        try:
            content = read_mapping(self.file, below=results)
            told = {uri: checked(_Told, of_store, source=str(self.file)) for uri, of_store in content.items()}
        except DamagedFileError:
            return
        mine = told.pop(self.uri, _Told())
        self.store, self.runs, self.grids = mine.store, mine.runs, mine.grids
        self.other_stores = {uri: asdict(of_store) for uri, of_store in told.items()}

    def belongs_to(self, store: str) -> None:
        """Forget what was told to another store at the same address (a deleted database, say)."""
        if self.store != store:
            self.store, self.runs, self.grids = store, {}, {}

    def is_current(self, results: Path, run_id: str, place: GridMembership) -> bool:
        """Whether MLflow knows the run in its present state."""
        entry = self.runs.get(run_id)
        folder = RunFolder(results, run_id)
        if entry is None or entry.signature != signature_of(folder, place):
            return False
        if place.grids and entry.parent not in {grid.mlflow_id for grid in self.grids.values()}:
            return False
        if entry.status not in ("RUNNING", "KILLED"):
            return True
        try:
            # A run that dies, or is taken up again, may leave its files as they are; only its lock tells.
            state, failure = state_of(folder)
            return state == entry.state and failure != "damaged"
        except Exception:
            # A damaged folder can raise anything; whoever reads it for delivery reports it.
            return False

    def save_now_and_then(self) -> None:
        """Save, but spend no more than a small part of the time with it, however much there is to save.

        What a killed process had not saved is looked up in MLflow.
        """
        if time.monotonic() >= self._next_save:
            began = time.monotonic()
            self.save()
            now = time.monotonic()
            self._next_save = now + max(SAVE_SECONDS, (now - began) / SAVING_SHARE)

    def save(self) -> None:
        mine = {
            "store": self.store,
            "runs": {run_id: vars(entry) for run_id, entry in self.runs.items()},
            "grids": {name: vars(entry) for name, entry in self.grids.items()},
        }
        write_json(self.file, {**self.other_stores, self.uri: mine})
