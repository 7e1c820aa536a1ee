"""From a study to its runs: what they are, which are still to be done, what came of them. Needs no torch.

How a run is executed is handed in; see `benchmark.execution.pool`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.config import RunConfig, merge, run_config, run_id
from benchmark.results import CellRun, FailureClass, GridManifest, RunFolder, State, state_of
from benchmark.vocabulary import BenchError, Spacing
from studies.grid import Profile, Study, describe, select


@dataclass(frozen=True)
class PlannedRun:
    """One run of a grid before its data are at hand. `chosen`: whether --only lets it run."""

    factors: Mapping[str, str]
    config: RunConfig
    chosen: bool = True

    def cell(self, data_fingerprint: str) -> CellRun:
        """The run's place in the table and its name."""
        config = self.config
        return CellRun(dict(self.factors), config.fold, config.seed, run_id(config, data_fingerprint))


@dataclass(frozen=True)
class Part:
    """The runs of a grid that see the same prepared data."""

    dataset: str
    spacing_mm: Spacing | None
    runs: tuple[PlannedRun, ...]


def plan(
    study: Study,
    profile: Profile,
    *,
    datasets: Sequence[str],
    folds: Sequence[int],
    seeds: Sequence[int],
    only: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    bfloat16: bool = False,
) -> list[PlannedRun]:
    """Every run of the study on those folds and seeds, checked.

    A cell that names no data set runs on the only one of `datasets`, else on the study's. `overrides` are
    settings from the command line; `bfloat16` says what `auto` means on this machine. The runs of a fold and
    seed lie together, so that a table is complete for one fold before the next begins.
    """
    chosen = select(study, only)
    runs = []
    for fold in folds:
        for seed in seeds:
            for cell, is_chosen in zip(study.cells(), chosen, strict=True):
                settings = merge(cell.settings(profile), dict(overrides or {}), {"fold": fold, "seed": seed})
                settings.setdefault("dataset", datasets[0] if len(datasets) == 1 else study.dataset)
                source = f"{study.source} with profile {profile.name}, cell {describe(cell.factors)}"
                config = run_config(_decide_auto(settings, bfloat16), source=source)
                runs.append(PlannedRun(cell.factors, config, is_chosen))
    _check_data(study, runs, datasets)
    _check_distinct(study, runs)
    return runs


def parts(runs: Sequence[PlannedRun]) -> list[Part]:
    """The runs by the prepared data they need."""
    groups: dict[tuple[str, Spacing | None], list[PlannedRun]] = {}
    for run in runs:
        groups.setdefault((run.config.dataset, run.config.spacing_mm), []).append(run)
    return [Part(dataset, spacing, tuple(group)) for (dataset, spacing), group in groups.items()]


def manifest(
    study: Study,
    profile: Profile,
    part: Part,
    *,
    data_root: Path,
    data_fingerprint: str,
    excluded_cases: Sequence[str] = (),
) -> GridManifest:
    """What a report needs to know of the grid. Its key stands for everything but folds and seeds."""
    questions = sorted(
        json.dumps(
            [dict(run.factors), run.config.model_dump(mode="json", exclude={"fold", "seed"})], sort_keys=True
        )
        for run in part.runs
    )
    identity = json.dumps([study.name, profile.name, data_fingerprint, *dict.fromkeys(questions)])
    return GridManifest(
        grid=study.name,
        key=hashlib.sha256(identity.encode()).hexdigest()[:8],
        profile=profile.name,
        dataset=part.dataset,
        data_root=str(data_root),
        data_fingerprint=data_fingerprint,
        created=time.time(),
        cells=tuple(run.cell(data_fingerprint) for run in part.runs),
        excluded_cases=tuple(excluded_cases),
    )


@dataclass(frozen=True)
class Standing:
    """How a run stands. `elsewhere`: another launcher works on it."""

    cell: CellRun
    state: State
    failure: FailureClass | None = None

    @property
    def word(self) -> str:
        """The state for people: interrupted runs continue, so they are not called failed."""
        return "interrupted" if self.failure == "interrupted" else self.state


def standings(results: Path, cells: Sequence[CellRun]) -> list[Standing]:
    """How every run of a grid stands now."""
    return [Standing(cell, *state_of(RunFolder(results, cell.run_id))) for cell in cells]


def is_due(state: State, failure: FailureClass | None, *, retry_failed: bool) -> bool:
    """Whether a launch runs it: what is missing or was interrupted, and what failed when asked to."""
    return state in ("pending", "running") or (
        state == "failed" and (retry_failed or failure == "interrupted")
    )


def launch(
    results: Path,
    cells: Sequence[CellRun],
    *,
    retry_failed: bool,
    execute: Callable[[Sequence[CellRun]], object],
) -> list[Standing]:
    """Do what is missing of `cells`, then say how each stands. A run that is done is never done again."""
    due = [s.cell for s in standings(results, cells) if is_due(s.state, s.failure, retry_failed=retry_failed)]
    if due:
        execute(due)
    return standings(results, cells)


def counts(standings: Sequence[Standing]) -> dict[str, int]:
    """How many runs are done, running, failed, interrupted, pending; all five, in this order."""
    counted = Counter(standing.word for standing in standings)
    return {word: counted[word] for word in ("done", "running", "failed", "interrupted", "pending")}


def _decide_auto(settings: dict[str, Any], bfloat16: bool) -> dict[str, Any]:
    training = dict(settings.get("training", {}))
    if training.get("precision") == "auto":
        training["precision"] = "bfloat16" if bfloat16 else "float32"
    if training.get("channels_last") == "auto":
        training["channels_last"] = training.get("precision") == "bfloat16"
    return {**settings, "training": training}


def _check_data(study: Study, runs: Sequence[PlannedRun], datasets: Sequence[str]) -> None:
    needed = dict.fromkeys(run.config.dataset for run in runs)
    if missing := [name for name in needed if name not in datasets]:
        raise BenchError(f"{study.source} needs {', '.join(missing)}: say where, --data {missing[0]}=DIR.")
    if idle := [name for name in datasets if name not in needed]:
        raise BenchError(
            f"--data {idle[0]}: no run of {study.source} uses it; its runs need {', '.join(needed)}."
        )


def _check_distinct(study: Study, runs: Sequence[PlannedRun]) -> None:
    seen: dict[str, PlannedRun] = {}
    for run in runs:
        twin = seen.setdefault(run.config.canonical_json(), run)
        if twin is not run:
            raise BenchError(
                f"{study.source}: {describe(twin.factors)} and {describe(run.factors)} are one training: "
                "a factor sets nothing, or another setting overrides it."
            )
