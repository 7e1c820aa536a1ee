"""What a trace is made of: plain data, `dataclasses.asdict` of it is JSON.

Numbers are in the printed unit, None is undefined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from reports.evidence.configs import Difference
from reports.evidence.evidence import Commit, DataEvidence, FileEvidence
from reports.evidence.recomputing import CaseRow
from reports.ground.published_numbers import PublishedNumber


@dataclass(frozen=True)
class MlflowLink:
    """A run in MLflow: the page in its user interface, or, with an empty `url`, why there is none. `text` says how to
    get there."""

    url: str
    text: str


Links = Callable[[str], MlflowLink | None]
"""A run's link; whoever may import MLflow's side of the suite hands it in."""


@dataclass(frozen=True)
class Neighbours:
    """The cells that differ in one coordinate alone, and the settings in which this cell's runs differ from theirs."""

    along: str
    cells: tuple[str, ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class RunTrace:
    """One run of a cell. `mean` is over its `cases`; both are empty where it is not done."""

    run_id: str
    reading: str
    fold: int
    seed: int
    state: str
    failure: str
    error: str
    mean: float | None
    cases: tuple[CaseRow, ...]
    folder: str
    config: Mapping[str, Any]
    config_state: str
    unlike_defaults: tuple[Difference, ...]
    commit: Commit
    versions: Mapping[str, str]
    machine: Mapping[str, Any]
    """`host`, `device`, `gpu`, `cpu`, `threads`, `precision`, as far as they were written down."""
    protocol: int | None
    data: DataEvidence
    checkpoint: str
    score_grid: str
    weights: FileEvidence
    scores: FileEvidence
    steps: int | None
    train_seconds: float | None
    warnings: tuple[str, ...]
    mlflow: MlflowLink | None


@dataclass(frozen=True)
class Trace:
    """`value` is the report's number and `printed` how it prints it; `recomputed` is the one from the rows. `address`
    names the launch, so that it means this number also when another launch is the newest.

    `faults`: why the number is not to be trusted, whole sentences; `remarks`: what else a reader should know.
    """

    address: str
    table: str
    manifest: str
    profile: str
    dataset: str
    cell: Mapping[str, str]
    measure: str
    title: str
    value: float | None
    printed: str
    recomputed: float | None
    agrees: bool
    runs: tuple[RunTrace, ...]
    neighbours: tuple[Neighbours, ...]
    published: PublishedNumber | None
    faults: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
