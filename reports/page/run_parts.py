"""Rows of single runs that numbers of the page were computed from: trials of searches, answers without a modality."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmark.results import RunFolder, RunRecord
from benchmark.vocabulary import BenchError
from reports.page.cells import curves, known_facts
from reports.page.model import Page, Section
from reports.provenance.addresses import RUN, parse_places
from reports.provenance.evidence import commit_of
from reports.provenance.run_rows import TEST, VALIDATION, PartRows, RunPart, part_rows, parts_of
from reports.provenance.words import commit_text

PARTS = {VALIDATION: "validation part", TEST: "test part"}


@dataclass(frozen=True, eq=False)
class ShownPart:
    """A part of a run's rows, with the run's folder."""

    rows: PartRows
    folder: RunFolder

    @property
    def address(self) -> str:
        return self.rows.part.address


def shown_parts(page: Page, results: Path) -> list[ShownPart]:
    """All parts that numbers of the page lead to, as far as their rows are in these results."""
    wanted = dict.fromkeys(part for address in _addresses(page) for part in parts_of(parse_places(address)))
    return [shown for part in wanted if (shown := _shown(part, results)) is not None]


def _addresses(page: Page) -> Iterable[str]:
    sections: list[Section] = [*page.sections, *([page.claims] if page.claims else [])]
    tables = (table for section in sections for group in section.groups for table in group.printed)
    spans = (span for table in tables for row in table.rows for cell in row.cells for span in cell)
    return dict.fromkeys(span.address for span in spans if span.address.startswith(f"{RUN}:"))


def _shown(part: RunPart, results: Path) -> ShownPart | None:
    try:
        return ShownPart(part_rows(results, part), RunFolder(results, part.run_id))
    except BenchError:
        return None


def part_content(shown: ShownPart) -> dict[str, object]:
    """What the page tells of a part: its rows in the printed units, and how the run was made."""
    rows, folder = shown.rows, shown.folder
    record = folder.record()
    names = ["case_id", "patient", *(["region"] if rows.rows["region"].nunique() > 1 else [])]
    return {
        "run": rows.part.run_id,
        "part": PARTS.get(rows.part.part, rows.part.part),
        "reading": rows.part.reading,
        "fold": None,
        "state": record.state,
        "error": record.error,
        "facts": _facts(record),
        "config": _config(folder),
        "curves": curves(folder.history()),
        "pictures": [],
        "columns": [name.removesuffix("_id").capitalize() for name in names],
        "measures": [measure.title for measure in rows.measures],
        "cases": rows.rows[names].astype(str).to_numpy().tolist(),
        "values": rows.rows[[measure.metric for measure in rows.measures]].to_numpy(),
    }


def _facts(record: RunRecord) -> dict[str, str]:
    versions = record.facts.get("versions", {})
    return known_facts(
        {
            "Git commit": commit_text(commit_of(record.facts), digits=None),
            "Protocol version": record.facts.get("protocol"),
            "Data fingerprint": record.data_fingerprint,
            "Device": record.facts.get("gpu") or record.facts.get("cpu"),
            "Optimiser steps": record.steps,
            "Parameters": None if record.parameters is None else f"{record.parameters:,}",
            "Versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
            "Warnings": " ".join(record.warnings),
        }
    )


def _config(folder: RunFolder) -> str:
    try:
        return yaml.safe_dump(folder.config(), sort_keys=False) if folder.config_file.exists() else ""
    except BenchError:
        return ""
