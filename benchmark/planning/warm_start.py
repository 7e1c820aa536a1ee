"""`bench search --warm-start GRID`: the finished runs of a grid become known trials."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.config import RunConfig, run_config, run_id
from benchmark.planning.grid import grid_name
from benchmark.planning.search_loop import Searching
from benchmark.planning.trials import Trainings
from benchmark.results.manifests import manifests
from benchmark.results.runs import RunFolder
from benchmark.search.trials import Trials
from benchmark.vocabulary import BenchError, did_you_mean


@dataclass
class WarmStartCounts:
    """How many of a grid's finished runs are trials of a search, how many are not, and of these, how many only for
    their data, or for their fold and seed."""

    inside: int = 0
    outside: int = 0
    other_data: int = 0
    elsewhere: dict[tuple[int, int], int] = field(default_factory=dict)


def warm(searching: Searching, grid: str) -> None:
    """Let the grid's finished runs that lie in the space be known trials, and say how many do."""
    trainings, settings = searching.trainings, searching.settings
    grid = grid_name(grid)
    warmth = warm_start(
        searching.trials, trainings, settings.results, grid, fingerprints=searching.fingerprints
    )
    if settings.quiet:
        return
    settings.screen.print(
        f"{grid}: {warmth.inside} of its finished runs are trials of this search, {warmth.outside} lie outside of its "
        "space.",
        soft_wrap=True,
    )
    if warmth.other_data:
        settings.screen.print(
            f"{warmth.other_data} of these only because they saw other data.", soft_wrap=True
        )
    for (fold, seed), count in warmth.elsewhere.items():
        settings.screen.print(
            f"{count} of these only because they are of fold {fold} and seed {seed}; this search is on fold "
            f"{trainings.fold} and seed {trainings.seed} (--fold {fold} searches there).",
            soft_wrap=True,
        )


def warm_start(
    trials: Trials, trainings: Trainings, results: Path, grid: str, *, fingerprints: Collection[str]
) -> WarmStartCounts:
    """Enqueue what is inside; BenchError for a grid there is not. `fingerprints`: of the data that trials see."""
    warmth = WarmStartCounts()
    for name, config in _finished(results, grid):
        here = config.model_copy(update={"fold": trainings.fold, "seed": trainings.seed})
        params = trainings.params_of(here)
        same_data = name in {run_id(config, fingerprint) for fingerprint in fingerprints}
        if params is not None and here == config and same_data:
            warmth.inside += 1
            trials.enqueue_known(params, grid=grid, run_id=name)
            continue
        warmth.outside += 1
        if params is not None and not same_data:
            warmth.other_data += 1
        elif params is not None:
            place = (config.fold, config.seed)
            warmth.elsewhere[place] = warmth.elsewhere.get(place, 0) + 1
    return warmth


def _finished(results: Path, grid: str) -> Iterator[tuple[str, RunConfig]]:
    every = manifests(results)
    found = [manifest for manifest in every if grid in (manifest.grid, manifest.name)]
    if not found:
        known = dict.fromkeys(manifest.grid for manifest in every)
        near = did_you_mean(grid, known) if known else "There is none yet."
        raise BenchError(f"--warm-start {grid}: there is no such grid in {results}. {near}")
    for name in dict.fromkeys(cell.run_id for manifest in found for cell in manifest.cells):
        folder = RunFolder(results, name)
        if folder.record().state == "done":
            yield name, run_config(folder.config(), source=str(folder.config_file))
