"""Where a run is to be looked at in MLflow's user interface. Reads files only; asks no server."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmark.credentials import without_secrets
from benchmark.tracking.memory import Memory
from benchmark.tracking.store import default_uri, needs_escaping, store_uri
from benchmark.words import in_results

LOCAL = "http://127.0.0.1:5000"
"""Where `mlflow ui` listens when nobody says otherwise."""


@dataclass(frozen=True)
class Link:
    """The run's page; empty `url`: there is none. `text` says how to get there, or why not."""

    url: str
    text: str


@dataclass
class RunLinks:
    """The pages of runs of the suite in the store that runs are mirrored to; what it was told is read once."""

    results: Path
    tracking_uri: str | None = None

    @cached_property
    def _uri(self) -> str:
        return self.tracking_uri or store_uri(self.results)

    @cached_property
    def _memory(self) -> Memory:
        return Memory(self.results, self._uri)

    def of(self, run_id: str) -> Link:
        memory = self._memory
        entry = memory.runs.get(run_id)
        if entry is None:
            elsewhere = [
                other for other, told in memory.other_stores.items() if run_id in told.get("runs", {})
            ]
            known = f"; {', '.join(elsewhere)} has it (set MLFLOW_TRACKING_URI)" if elsewhere else ""
            return Link(
                "",
                f"not in {without_secrets(self._uri)}{known}; `bench sync{in_results(self.results)}` delivers it.",
            )
        return _page(self.results, self._uri, f"{_runs(memory)}/{entry.mlflow_id}")


def run_link(results: Path, run_id: str, *, tracking_uri: str | None = None) -> Link:
    """The page of one run."""
    return RunLinks(results, tracking_uri).of(run_id)


def runs_link(results: Path, *, tracking_uri: str | None = None) -> Link:
    """The list of all runs, grid by grid. MLflow itself opens at a page that shows none of them."""
    uri = tracking_uri or store_uri(results)
    memory = Memory(results, uri)
    if not memory.runs:
        return Link(
            "", f"no run is in {without_secrets(uri)}; `bench sync{in_results(results)}` delivers them."
        )
    return _page(results, uri, _runs(memory))


def _runs(memory: Memory) -> str:
    return f"#/experiments/{memory.store.partition('@')[0]}/runs"


def _page(results: Path, uri: str, page: str) -> Link:
    shown = without_secrets(uri)
    if uri.startswith(("http:", "https:")):
        return Link(f"{shown.rstrip('/')}/{page}", "")
    start = f"mlflow ui --backend-store-uri {shlex.quote(shown)}"
    if uri == default_uri(results) and needs_escaping(results.resolve()):
        start = (
            f"cd {shlex.quote(str(results.resolve()))} && mlflow ui --backend-store-uri sqlite:///mlflow.db"
        )
    if uri == default_uri(results) and not (results / "mlflow.db").exists():
        return Link("", f"{shown} is gone; `bench sync{in_results(results)}` rebuilds it.")
    return Link(f"{LOCAL}/{page}", f"after `{start}`")
