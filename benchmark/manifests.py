"""Which runs make up a grid: `results/grids/<name>-<key>.json`, written by the launcher, read by all reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmark.files import exclusive, read_json, write_json
from benchmark.vocabulary import BenchError


@dataclass(frozen=True)
class CellRun:
    """One run of a grid: where it stands in the table, and which run it is.

    `factors` are the table's coordinates as strings, e.g. {"version": "v3", "level": "shuffle",
    "shared_layers": "5"}. Cells that differ in `reading` alone share a run. `data_fingerprint` is that of the
    prepared data the run sees.
    """

    factors: Mapping[str, str]
    fold: int
    seed: int
    run_id: str
    reading: str = ""
    data_fingerprint: str = ""


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

    grid: str
    key: str
    profile: str
    dataset: str
    data_root: str
    data_fingerprint: str
    created: float
    cells: tuple[CellRun, ...]
    excluded_cases: tuple[str, ...] = ()
    reader: str = ""
    asked: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.grid}-{self.key}"


def manifest_file(results: Path, name: str) -> Path:
    return results / "grids" / f"{name}.json"


def write_manifest(results: Path, manifest: GridManifest) -> GridManifest:
    """Store the manifest; cells of earlier launches of the same grid (other folds, other seeds) are kept."""
    path = manifest_file(results, manifest.name)
    with exclusive(path.with_suffix(".lock"), wait=True):
        if path.exists():
            earlier = read_manifest(path)
            known = {(cell.run_id, cell.reading) for cell in manifest.cells}
            kept = tuple(cell for cell in earlier.cells if (cell.run_id, cell.reading) not in known)
            asked = (
                tuple(dict.fromkeys(earlier.asked + manifest.asked))
                if earlier.asked and manifest.asked
                else ()
            )
            manifest = replace(manifest, cells=kept + manifest.cells, asked=asked)
        write_json(path, asdict(manifest))
    return manifest


def read_manifest(path: Path) -> GridManifest:
    content = read_json(path)
    try:
        cells = tuple(CellRun(**cell) for cell in content.pop("cells"))
        excluded, asked = (tuple(content.pop(name, ())) for name in ("excluded_cases", "asked"))
        return GridManifest(cells=cells, excluded_cases=excluded, asked=asked, **content)
    except (KeyError, TypeError) as error:
        raise BenchError(
            f"{path} is not a grid's manifest ({error}). Run the grid again to write it anew."
        ) from error


def manifests(results: Path, grid: str | None = None) -> list[GridManifest]:
    """All grids of a results folder, the newest first."""
    found = [read_manifest(path) for path in (results / "grids").glob("*.json")]
    return sorted((m for m in found if grid in (None, m.grid)), key=lambda m: m.created, reverse=True)
