"""Which runs make up a grid: `results/grids/<name>-<key>.json`, written by the launcher, read by all reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from benchmark.files.places import DamagedFileError, Name, regular_files
from benchmark.files.schemas import STRICT, Amount, Text, Whole, checked, read_as
from benchmark.files.writing import exclusive, write_json
from benchmark.notices import notice
from benchmark.vocabulary import BenchError

MOST_CELLS = 200_000


@dataclass(frozen=True)
class CellRun:
    """One run of a grid: where it stands in the table, and which run it is.

    `factors` are the table's coordinates as strings, e.g. {"version": "v3", "level": "shuffle",
    "shared_layers": "5"}. Cells that differ in `reading` alone share a run. `data_fingerprint` is that of the
    prepared data the run sees.
    """

    __pydantic_config__ = STRICT

    factors: Annotated[Mapping[Text, Text], Field(max_length=100)]
    fold: Whole
    seed: Whole
    run_id: Name
    reading: Text = ""
    data_fingerprint: Text = ""


def one_a_run(cells: Iterable[CellRun]) -> list[CellRun]:
    """Of the cells that share a run, the first; the others in their order."""
    first: dict[str, CellRun] = {}
    for cell in cells:
        first.setdefault(cell.run_id, cell)
    return list(first.values())


@dataclass(frozen=True)
class GridManifest:
    """Which runs make up a grid. Written by the launcher; all that a report needs to find its scores.

    `dataset` is what people call the data (`--data-name`, or the folder's name), `reader` what read them; empty in
    manifests of earlier versions, whose `dataset` is the reader. `data_fingerprint` stands for all prepared copies of
    the data set that the runs see. `asked`: the runs that launches were asked for; empty: all.
    """

    __pydantic_config__ = STRICT

    grid: Name
    key: Name
    profile: Text
    dataset: Text
    data_root: Text
    data_fingerprint: Text
    created: Annotated[Amount, Field(le=1e11)]
    cells: Annotated[tuple[CellRun, ...], Field(max_length=MOST_CELLS)]
    excluded_cases: tuple[Text, ...] = ()
    reader: Text = ""
    asked: tuple[Text, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.grid}-{self.key}"


def manifest_file(results: Path, name: str) -> Path:
    return results / "grids" / f"{name}.json"


def write_manifest(results: Path, manifest: GridManifest) -> GridManifest:
    """Store the manifest; cells of earlier launches of the same grid (other folds, other seeds) are kept."""
    path = manifest_file(results, manifest.name)
    checked(GridManifest, asdict(manifest), source=f"The manifest of {manifest.grid!r}")
    with exclusive(path.with_suffix(".lock"), wait=True):
        if path.exists():
            earlier = read_manifest(path)
            known = {(cell.run_id, cell.reading) for cell in manifest.cells}
            kept = tuple(cell for cell in earlier.cells if (cell.run_id, cell.reading) not in known)
            asked = asked_together(earlier, manifest)
            manifest = replace(manifest, cells=kept + manifest.cells, asked=asked)
        write_json(path, asdict(manifest))
    return manifest


def asked_together(one: GridManifest, other: GridManifest) -> tuple[str, ...]:
    """The runs that either launch was asked for; empty where one was asked for all."""
    return tuple(dict.fromkeys(one.asked + other.asked)) if one.asked and other.asked else ()


def read_manifest(path: Path) -> GridManifest:
    """BenchError for what is not a manifest, not in its place, or not of names that stay in the results folder."""
    try:
        manifest = read_as(GridManifest, path, below=path.parent)
        if manifest.name != path.stem:
            raise DamagedFileError(f"{path} is that of another launch, {manifest.name}")
    except DamagedFileError as error:
        raise DamagedFileError(
            f"{error}; it is no grid's manifest. Run the grid again to write it again, or remove it."
        ) from error
    return manifest


def readable_manifests(results: Path) -> tuple[list[GridManifest], dict[str, str]]:
    """The launches of a results folder, and, by file name, why others cannot be read."""
    found: list[GridManifest] = []
    damaged: dict[str, str] = {}
    for path in regular_files(results / "grids", "*.json", below=results / "grids"):
        try:
            found.append(read_manifest(path))
        except BenchError as error:
            damaged[path.name] = str(error)
    return found, damaged


def manifests(results: Path, grid: str | None = None) -> list[GridManifest]:
    """All grids of a results folder, the newest first; of those that cannot be read it is said why."""
    found, damaged = readable_manifests(results)
    for words in damaged.values():
        notice(words)
    return sorted((m for m in found if grid in (None, m.grid)), key=lambda m: m.created, reverse=True)
