"""From run folders to MLflow runs: a grid is a parent run, a run of the suite its child."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from benchmark.results.manifests import GridManifest, one_a_run
from benchmark.results.runs import RunFolder
from benchmark.tracking import bulk
from benchmark.tracking.content import (
    GRID,
    KIND,
    NOTE,
    PARENT,
    RUN_ID,
    TAG_LENGTH,
    GridMembership,
    RunContent,
    digest,
    read_run,
    shortened,
    stamp,
)
from benchmark.tracking.memory import Delivered, Memory
from benchmark.tracking.store import FOLDER, Store, folder_id, reason
from benchmark.words import counted

SERIES = "bench.delivered"
"""The tag that repeats `Delivered.series` in MLflow, for the day the file beside the results is lost."""

TOGETHER = 50
"""So many new runs are written at once."""
GOING_ON = ("RUNNING", "SCHEDULED")
"""States in MLflow of runs that have no end."""


class Delivery:
    """One pass over a results folder. After an interrupted pass the next repeats nothing."""

    def __init__(self, results: Path, uri: str, memory: Memory) -> None:
        self.results = results
        self.uri = uri
        self.store = Store(results, uri)
        self.client = self.store.client
        self.memory = memory
        self.memory.belongs_to(self.store.identity)
        self.origin = {FOLDER: folder_id(results), "bench.results": str(results.resolve())}
        self.problem: str | None = None
        """Why the store is not to be asked any more in this pass."""
        self._looked_up = False
        own = self.store.own_database
        self._database = own if own is not None and bulk.has_known_tables(own) else None
        """That takes many new runs at once."""

    def deliver_all(
        self,
        runs: Mapping[str, GridMembership],
        grids: Sequence[GridManifest],
        *,
        active: bool,
        stop: Callable[[], bool],
        delivered: Callable[[str], None] = lambda run_id: None,
    ) -> dict[str, str]:
        """Runs, then their grids; returns what was not delivered and why. One fault stops no other run.

        `delivered` is told every run as soon as it is.
        """
        failures: dict[str, str] = {}
        together: list[RunContent] = []

        def deliver(contents: list[RunContent]) -> None:
            faults = self._deliver_runs(contents)
            failures.update(faults)
            for content in contents:
                if content.run_id not in faults:
                    delivered(content.run_id)
            contents.clear()
            self.memory.save_now_and_then()

        for run_id, place in runs.items():
            if self.problem is None and stop():
                deliver(together)
                self.problem = "stopped before the end"
            try:
                content = read_run(RunFolder(self.results, run_id), place)
            except Exception as error:
                failures[run_id] = reason(error, self.uri)
                continue
            if not self._is_new(content):
                deliver([content])
                continue
            together.append(content)
            if len(together) >= TOGETHER:
                deliver(together)
        deliver(together)
        for manifest in grids:
            if fault := self._attempt(partial(self.deliver_grid, manifest, active=active)):
                failures[manifest.name] = fault
        return failures

    def _is_new(self, content: RunContent) -> bool:
        """Whether MLflow knows nothing of the run, and it can be told together with others."""
        if self._database is None or self.problem is not None or content.run_id in self.memory.runs:
            return False
        return not self._attempt(self._look_up) and content.run_id not in self.memory.runs

    def _deliver_runs(self, contents: Sequence[RunContent]) -> dict[str, str]:
        """What was not delivered and why."""
        if self._database is not None and self.problem is None and all(map(self._is_new, contents)):
            # Whatever is wrong with one of them, or with the database, MLflow itself says it better.
            with contextlib.suppress(sqlite3.Error, OSError):
                self._deliver_together(self._database, contents)
                return {}
        faults = {c.run_id: self._attempt(partial(self.deliver_run, c)) for c in contents}
        return {run_id: fault for run_id, fault in faults.items() if fault}

    def _deliver_together(self, database: Path, contents: Sequence[RunContent]) -> None:
        entries, runs = {}, []
        for content in contents:
            parent = self._parent_id(content.place, None)
            series = {name: [len(points), digest(points)] for name, points in content.series.items()}
            tags = content.tags | self.origin | ({PARENT: parent} if parent else {})
            tags[SERIES] = _series_tag(series)
            entry = Delivered(
                uuid.uuid4().hex,
                parent,
                content.start_ms,
                content.status,
                content.state,
                content.signature,
                params=bool(content.params),
                series=series,
                tags=tags,
            )
            run = bulk.NewRun(
                entry.mlflow_id,
                content.name,
                f"{self.store.experiment.artifact_location}/{entry.mlflow_id}/artifacts",
                content.status,
                content.start_ms,
                None if content.status in GOING_ON else content.end_ms,
                content.series,
                content.params,
                tags,
            )
            if not run.is_plain:
                raise sqlite3.DataError("a value that is not finite")
            folder = Path(url2pathname(urlsplit(run.artifact_uri).path))
            for file in content.artifacts:
                if now := stamp(file):
                    folder.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, folder / file.name)
                    entry.artifacts[file.name] = now
            entries[content.run_id] = entry
            runs.append(run)
        bulk.write(database, self.store.experiment.experiment_id, runs)
        self.memory.runs.update(entries)

    def _attempt(self, deliver: Callable[[], None]) -> str | None:
        """The fault, if any. A store that turns out to be away is not asked again in this pass."""
        if self.problem is not None:
            return self.problem
        try:
            deliver()
        except Exception as error:
            fault = reason(error, self.uri)
            if not self.store.is_there():
                self.problem = fault
            return fault
        return None

    def _look_up(self) -> None:
        """Recall from MLflow what the file beside the results does not know; once a pass."""
        if self._looked_up:
            return
        for run in self.store.runs_from(self.origin[FOLDER]):
            tags = dict(run.data.tags)
            entry = Delivered(
                mlflow_id=run.info.run_id,
                parent=tags.get(PARENT, ""),
                start_ms=run.info.start_time,
                status=run.info.status,
                tags=tags,
            )
            with contextlib.suppress(ValueError):
                entry.series = json.loads(tags.get(SERIES, "{}"))
            if tags.get(KIND) == "grid":
                self.memory.grids.setdefault(tags.get(GRID, ""), entry)
            else:
                self.memory.runs.setdefault(tags.get(RUN_ID, ""), entry)
        self._looked_up = True

    def _create(self, name: str, tags: Mapping[str, str], start_ms: int) -> Delivered:
        experiment = self.store.experiment.experiment_id
        run = self.client.create_run(experiment, start_time=start_ms, run_name=name, tags=dict(tags))
        return Delivered(run.info.run_id, tags.get(PARENT, ""), start_ms, tags=dict(tags))

    def _set_status(self, entry: Delivered, status: str, end_ms: int) -> None:
        if status == entry.status:
            return
        if status in GOING_ON:
            self.client.update_run(entry.mlflow_id, status=status)
        else:
            self.client.set_terminated(entry.mlflow_id, status, end_time=end_ms)
        entry.status = status

    def parent_of(self, manifest: GridManifest) -> Delivered:
        """The grid's own MLflow run, created if need be."""
        if manifest.name not in self.memory.grids:
            self._look_up()
        if manifest.name not in self.memory.grids:
            start_ms = round(manifest.created * 1000)
            self.memory.grids[manifest.name] = self._create(
                manifest.name, self._grid_tags(manifest), start_ms
            )
        return self.memory.grids[manifest.name]

    def _grid_tags(self, manifest: GridManifest) -> dict[str, str]:
        return self.origin | {
            KIND: "grid",
            GRID: manifest.name,
            "grid": manifest.grid,
            "profile": manifest.profile,
            "dataset": manifest.dataset,
            "data_fingerprint": manifest.data_fingerprint,
            "excluded_cases": shortened(" ".join(manifest.excluded_cases), TAG_LENGTH),
        }

    def deliver_grid(self, manifest: GridManifest, *, active: bool) -> None:
        """How far the grid is. `active`: a launcher is at work on it."""
        from mlflow.entities import RunTag

        planned = one_a_run(manifest.cells)
        # Nobody has asked for the others: a part that is done is no grid that was stopped.
        asked = [cell for cell in planned if cell.run_id in manifest.asked] if manifest.asked else planned
        known = [self.memory.runs.get(cell.run_id) for cell in asked]
        states = [entry.state if entry else "pending" for entry in known]
        n = {state: states.count(state) for state in ("done", "running", "failed", "pending")}
        n |= {state: states.count(state) for state in ("trained", "pruned") if state in states}
        if n["done"] + n.get("trained", 0) + n.get("pruned", 0) == len(states):
            status = "FINISHED"
        elif n["running"] or active:
            status = "RUNNING"
        else:
            status = "KILLED" if n["pending"] else "FAILED"
        so_far = ", ".join(f"{count} {state}" for state, count in n.items() if count)
        tags = self._grid_tags(manifest)
        tags |= {f"runs.{state}": str(count) for state, count in n.items()}
        tags["bench.part"] = (
            f"{len(asked)} of {counted(len(planned), 'run')}" if len(asked) < len(planned) else "all"
        )
        part = f" (asked for: {tags['bench.part']})" if len(asked) < len(planned) else ""
        tags[NOTE] = (
            f"Grid {manifest.grid}, profile {manifest.profile}, data {manifest.dataset}: {so_far}{part}."
        )
        entry = self.parent_of(manifest)
        if not _news(entry, tags) and status == entry.status:
            return
        if not self.store.is_active(entry.mlflow_id):
            del self.memory.grids[manifest.name]
            entry = self.parent_of(manifest)
        news = _news(entry, tags)
        self.client.log_batch(entry.mlflow_id, tags=[RunTag(name, value) for name, value in news.items()])
        entry.tags |= news
        self._set_status(entry, status, round(time.time() * 1000))

    def deliver_run(self, content: RunContent) -> None:
        """Tell MLflow what it does not know of a run yet."""
        if content.run_id not in self.memory.runs:
            self._look_up()
        entry = self.memory.runs.get(content.run_id)
        if entry is not None and entry.contradicts(content.series, complete=content.complete):
            # Trained or scored again with other numbers; MLflow cannot take points back.
            if self.store.is_active(entry.mlflow_id):
                self.client.delete_run(entry.mlflow_id)
            del self.memory.runs[content.run_id]
            entry = None
        try:
            self._update(content, entry)
        except Exception:
            if entry is None or not self.store.is_there() or self.store.is_active(entry.mlflow_id):
                raise
            del self.memory.runs[content.run_id]
            self._update(content, None)

    def _parent_id(self, place: GridMembership, entry: Delivered | None) -> str:
        """A run stays with the grid it was first delivered under."""
        if not place.grids:
            return ""
        known = [self.memory.grids[m.name].mlflow_id for m in place.grids if m.name in self.memory.grids]
        return entry.parent if entry and entry.parent in known else self.parent_of(place.grids[0]).mlflow_id

    def _update(self, content: RunContent, entry: Delivered | None) -> None:
        from mlflow.entities import Metric, Param, RunTag

        parent = self._parent_id(content.place, entry)
        tags = content.tags | self.origin | ({PARENT: parent} if parent else {})
        if entry is None:
            entry = self._create(content.name, tags, content.start_ms)
            self.memory.runs[content.run_id] = entry
        start_ms, series, metrics = entry.start_ms, dict(entry.series), []
        for name, points in content.series.items():
            count = series.get(name, [0])[0]
            if len(points) > count:
                metrics += [
                    Metric(name, p.value, start_ms + round(1000 * p.seconds), p.step) for p in points[count:]
                ]
                series[name] = [len(points), digest(points)]
        tags[SERIES] = _series_tag(series)
        params = [] if entry.params else [Param(name, value) for name, value in content.params.items()]
        news = _news(entry, tags)
        # The client cuts this into requests of at most 1000 metrics, 100 parameters and 100 tags.
        self.client.log_batch(entry.mlflow_id, metrics, params, [RunTag(k, v) for k, v in news.items()])
        entry.series, entry.parent = series, parent
        entry.params = entry.params or bool(params)
        entry.tags |= news
        for file in content.artifacts:
            now = stamp(file)
            if now and entry.artifacts.get(file.name) != now:
                self.store.require_own(entry.mlflow_id)
                self.client.log_artifact(entry.mlflow_id, str(file))
                entry.artifacts[file.name] = now
        self._set_status(entry, content.status, content.end_ms)
        entry.state, entry.signature = content.state, content.signature


def _series_tag(series: Mapping[str, list[Any]]) -> str:
    return shortened(json.dumps(series, separators=(",", ":")), TAG_LENGTH)


def _news(entry: Delivered, tags: Mapping[str, str]) -> dict[str, str]:
    """The tags MLflow does not have yet."""
    return {name: value for name, value in tags.items() if entry.tags.get(name) != value}
