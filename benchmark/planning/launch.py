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
from types import MappingProxyType
from typing import Any

from benchmark.config import RunConfig, merge, run_config, run_id
from benchmark.planning.grid import Profile, Study, describe, select
from benchmark.results.manifests import CellRun, GridManifest, one_a_run
from benchmark.results.order import is_due
from benchmark.results.runs import FailureClass, RunFolder, State, state_of
from benchmark.vocabulary import BenchError


@dataclass(frozen=True)
class PlannedRun:
    """One cell's run before its data are at hand. `chosen`: whether --only lets it run."""

    factors: Mapping[str, str]
    config: RunConfig
    reading: str = ""
    chosen: bool = True

    def cell(self, data_fingerprint: str) -> CellRun:
        """The run's place in the table and its name."""
        config = self.config
        named = run_id(config, data_fingerprint)
        return CellRun(dict(self.factors), config.fold, config.seed, named, self.reading, data_fingerprint)


def plan(
    study: Study,
    profile: Profile,
    *,
    datasets: Sequence[str],
    data_names: Mapping[str, str] = MappingProxyType({}),
    folds: Sequence[int],
    seeds: Sequence[int],
    only: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    bfloat16: bool = False,
    digest: Callable[[str], str | None] = lambda method: None,
) -> list[PlannedRun]:
    """Every run of the study on those folds and seeds, checked.

    A cell that names no data set runs on the only one of `datasets`, else on the study's. `data_names`: what a data set
    calls itself, by its reader's name. `overrides` are
    settings from the command line; `bfloat16` says what `auto` means on this machine; `digest` names the source of a
    method from outside the suite. The runs of a fold and seed lie together, so that a table is complete for one fold
    before the next begins.
    """
    chosen = select(study, only)
    runs = []
    for fold in folds:
        for seed in seeds:
            for cell, is_chosen in zip(study.cells(), chosen, strict=True):
                dataset = cell.dataset or (datasets[0] if len(datasets) == 1 else study.dataset)
                here = {"fold": fold, "seed": seed}
                of_cell = cell.settings(profile, dataset, data_name=data_names.get(dataset))
                settings = merge(of_cell, dict(overrides or {}), here)
                if (source_digest := digest(str(settings.get("method")))) is not None:
                    settings["method_digest"] = source_digest
                source = f"{study.source} with profile {profile.name}, cell {describe(cell.factors)}"
                config = run_config(decide_auto(settings, bfloat16), source=source)
                runs.append(PlannedRun(cell.factors, config, cell.reading, is_chosen))
    _check_data(study, runs, datasets)
    _check_distinct(study, runs)
    return runs


def manifest(
    study: Study,
    profile: Profile,
    dataset: str,
    runs: Sequence[tuple[PlannedRun, str]],
    *,
    data_root: Path,
    excluded_cases: Sequence[str] = (),
    reader: str = "",
) -> GridManifest:
    """What a report needs to know of the grid: `runs` on one data set, each with its data's fingerprint.

    The key stands for everything but folds and seeds.
    """
    questions = sorted(
        json.dumps(
            [dict(run.factors), run.reading, run.config.model_dump(mode="json", exclude={"fold", "seed"})],
            sort_keys=True,
        )
        for run, _ in runs
    )
    fingerprints = list(dict.fromkeys(fingerprint for _, fingerprint in runs))
    together = fingerprints[0] if len(fingerprints) == 1 else _digest(sorted(fingerprints))[:16]
    identity = [study.name, profile.name, together, *dict.fromkeys(questions)]
    cells = [(run, run.cell(fingerprint)) for run, fingerprint in runs]
    part = (
        () if all(run.chosen for run, _ in runs) else tuple(cell.run_id for run, cell in cells if run.chosen)
    )
    return GridManifest(
        grid=study.name,
        key=_digest(identity)[:8],
        profile=profile.name,
        dataset=dataset,
        data_root=str(data_root),
        data_fingerprint=together,
        created=time.time(),
        cells=tuple(cell for _, cell in cells),
        excluded_cases=tuple(excluded_cases),
        reader=reader,
        asked=tuple(dict.fromkeys(part)),
    )


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


@dataclass(frozen=True)
class Standing:
    """How a run stands."""

    cell: CellRun
    state: State
    failure: FailureClass | None = None

    @property
    def word(self) -> str:
        """The state for people: interrupted runs continue, and unsupported ones are no fault of theirs."""
        return self.failure if self.failure in ("interrupted", "unsupported") else self.state


def standings(results: Path, cells: Sequence[CellRun]) -> list[Standing]:
    """How every run of a grid stands now."""
    return [Standing(cell, *state_of(RunFolder(results, cell.run_id))) for cell in cells]


def launch(
    results: Path,
    cells: Sequence[CellRun],
    *,
    retry_failed: bool,
    execute: Callable[[Sequence[CellRun]], object],
) -> list[Standing]:
    """Do what is missing of `cells`, then say how each stands. A run that is done is never done again.

    Of cells that share a run, the first stands for all of them.
    """
    cells = one_a_run(cells)
    due = [s.cell for s in standings(results, cells) if is_due(s.state, s.failure, retry_failed=retry_failed)]
    if due:
        execute(due)
    return standings(results, cells)


def counts(standings: Sequence[Standing]) -> dict[str, int]:
    """How many runs are done, running, failed, interrupted, unsupported, pending; all six, in this order.

    Then those that a search left trained or pruned, where there are some.
    """
    counted = Counter(standing.word for standing in standings)
    always = ("done", "running", "failed", "interrupted", "unsupported", "pending")
    searched = [word for word in ("trained", "pruned") if counted[word]]
    return {word: counted[word] for word in (*always, *searched)}


def decide_auto(settings: dict[str, Any], bfloat16: bool) -> dict[str, Any]:
    """The settings with a profile's `auto` decided for this machine."""
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
    seen: dict[tuple[str, str], PlannedRun] = {}
    for run in runs:
        twin = seen.setdefault((run.config.canonical_json(), run.reading), run)
        if twin is not run:
            raise BenchError(
                f"{study.source}: {describe(twin.factors)} and {describe(run.factors)} are one training: "
                "a factor sets nothing, or another setting overrides it."
            )
