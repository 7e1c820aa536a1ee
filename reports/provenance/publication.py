"""The published number that stands beside an own one, and the row of the CSV it comes from."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmark.results.manifests import GridManifest
from reports.evidence.comparable import publication_of
from reports.ground.measures import Measure
from reports.ground.publications import MIRROR_UNET, PUBLISHED, Publication
from reports.provenance.tables import PRINTED_TABLES
from reports.tables import aahn


@dataclass(frozen=True)
class PublishedNumber:
    """`value` in the printed unit; `row` is the text of the file's `line`, counted from 1; `apart` says why own numbers
    are not comparable with it, where they are not."""

    value: float
    file: str
    line: int
    row: str
    source: str
    setting: str
    apart: str = ""


def published_number(
    grid: str, cell: Mapping[str, str], measure: Measure, manifest: GridManifest | None = None
) -> PublishedNumber | None:
    """What was printed of a cell; None where nothing was."""
    if grid == "table2":
        return _of_mirror_unet(2, cell, measure.printed_as)
    if grid in PRINTED_TABLES:
        return _of_mirror_unet(PRINTED_TABLES[grid].number or 0, cell, measure.printed_as)
    if grid == "aahn" and manifest is not None:
        return _of_aahn(manifest.dataset, cell["method"], measure)
    return None


def publication_on(manifest: GridManifest) -> Publication | None:
    """What was printed of a launch's grid, on its data where that matters."""
    if manifest.grid == "aahn":
        return aahn.comparison_on(manifest.dataset, source="both").publication
    return publication_of(manifest.grid)


def _of_mirror_unet(number: int, cell: Mapping[str, str], column: str) -> PublishedNumber | None:
    path = PUBLISHED / f"table{number}.csv"
    for line, row in _rows(path):
        if all(row[key] == value for key, value in cell.items()) and row.get(column):
            return _found(path, line, float(row[column]), MIRROR_UNET[number])
    return None


def _of_aahn(dataset: str, method: str, measure: Measure) -> PublishedNumber | None:
    rows = aahn.rows_on(dataset)
    found = rows[(rows["method"] == method) & (rows["column"] == measure.printed_as)]
    publication = aahn.comparison_on(dataset, source="both").publication
    if found.empty or publication is None:
        return None
    # The frame's index counts the rows after the header.
    return _found(aahn.FILE, int(found.index[0]) + 2, float(found["value"].iloc[0]), publication)


@cache
def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        return [(reader.line_num, row) for row in reader]


@cache
def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _found(path: Path, line: int, value: float, publication: Publication) -> PublishedNumber:
    text = _lines(path)[line - 1]
    file = f"reports/published/{path.name}"
    return PublishedNumber(value, file, line, text, publication.source, publication.setting)
