"""Which launches there is a report of, where grids were launched several times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmark.results.manifests import GridManifest, manifests
from reports.ground.runs import current_runs, seen

SEARCH = "search_"
"""How the grids of a search's trials begin; they are no grids of their own."""

Launches = list[tuple[GridManifest, int]]
"""Launches, each with how many others its grid has."""


def newest_launches(results: Path) -> Launches:
    """Of every grid on every data set with every profile the newest launch that has a finished run, or, where none has
    one, the newest of all; by grid, newer ones first."""
    kinds = _kinds(results)
    n_launches = Counter(manifest.grid for found in kinds for manifest in found)
    chosen = [shown_of(results, found) for found in kinds]
    chosen.sort(key=lambda manifest: (manifest.grid, -manifest.created))
    return [(manifest, n_launches[manifest.grid] - 1) for manifest in chosen]


def shown_of(results: Path, launches: Sequence[GridManifest]) -> GridManifest:
    """Of launches, the newest first, the first that has a finished run, or, where none has one, the first."""
    if len(launches) == 1:
        return launches[0]
    return next(filter(partial(_has_finished, results), launches), launches[0])


def newer_unfinished(results: Path, chosen: Launches) -> list[tuple[GridManifest, GridManifest]]:
    """Launches that are newer than the chosen one of their grid, data set and profile, each beside that one."""
    names = {manifest.name for manifest, _ in chosen}
    return [
        (newer, manifest)
        for found in _kinds(results)
        for place, manifest in enumerate(found)
        if manifest.name in names
        for newer in found[:place]
    ]


def folder_names(launches: Launches) -> list[str]:
    """What the folders of these launches are called: as their grid, where it is there once."""
    n_chosen = Counter(manifest.grid for manifest, _ in launches)
    return [manifest.grid if n_chosen[manifest.grid] == 1 else manifest.name for manifest, _ in launches]


def _kinds(results: Path) -> list[list[GridManifest]]:
    """The launches of each grid, data set and profile, the newest first."""
    kinds: dict[tuple[str, str, str], list[GridManifest]] = {}
    for manifest in manifests(results):
        if not manifest.grid.startswith(SEARCH):
            kinds.setdefault((manifest.grid, manifest.dataset, manifest.profile), []).append(manifest)
    return list(kinds.values())


def _has_finished(results: Path, manifest: GridManifest) -> bool:
    return any(seen(results, run.run_id).state == "done" for run in current_runs(manifest))
