"""A published number, and the row of the file that it comes from."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from reports.ground.publications import MIRROR_UNET, PUBLISHED, Publication


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


def of_mirror_unet(table: int, cell: Mapping[str, str], column: str) -> PublishedNumber | None:
    """What a table of the Mirror U-Net paper prints in a column of a cell; None where nothing."""
    path = PUBLISHED / f"table{table}.csv"
    for line, row in _rows(path):
        if all(row[key] == value for key, value in cell.items()) and row.get(column):
            return number_in(path, line, float(row[column]), MIRROR_UNET[table])
    return None


def number_in(path: Path, line: int, value: float, publication: Publication) -> PublishedNumber:
    """The number in a line of a file, counted from 1."""
    text = _lines(path)[line - 1]
    file = f"reports/published/{path.name}"
    return PublishedNumber(value, file, line, text, publication.source, publication.setting)


@cache
def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        return [(reader.line_num, row) for row in reader]


@cache
def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()
