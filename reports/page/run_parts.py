"""Rows of single runs that numbers of the page were computed from: trials of searches, answers without a modality."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.results.runs import RunFolder, RunRecord
from benchmark.vocabulary import BenchError
from reports.evidence.evidence import commit_of
from reports.evidence.run_rows import TEST, VALIDATION, PartRows, RunPart, part_rows, parts_of
from reports.ground.addresses import RUN, parse_places
from reports.page.cells import curves, known_facts
from reports.page.model import Page, Section
from reports.page.text import yaml_text
from reports.provenance.words import commit_text

PARTS = {VALIDATION: "validation part", TEST: "test part"}


@dataclass(frozen=True)
class ShownPart:
    """A part of a run's rows: its address, and what the page tells of it."""

    address: str
    content: Mapping[str, object]


def shown_parts(page: Page, results: Path) -> list[ShownPart]:
    """All parts that numbers of the page lead to, as far as their rows are in these results and can be read."""
    found: dict[RunPart, None] = {}
    for address in _addresses(page):
        with suppress(BenchError):
            found |= dict.fromkeys(parts_of(parse_places(address)))
    shown = []
    for part in found:
        with suppress(BenchError):
            rows = part_rows(results, part)
            shown.append(ShownPart(part.address, part_content(rows, RunFolder(results, part.run_id))))
    return shown


def _addresses(page: Page) -> Iterable[str]:
    sections: list[Section] = [*page.sections, *([page.claims] if page.claims else [])]
    tables = (table for section in sections for group in section.groups for table in group.printed)
    spans = (span for table in tables for row in table.rows for cell in row.cells for span in cell)
    return dict.fromkeys(span.address for span in spans if span.address.startswith(f"{RUN}:"))


def part_content(found: PartRows, folder: RunFolder) -> dict[str, object]:
    """The rows of a part in the printed units, and how its run was made; BenchError where its record is damaged."""
    record, rows = folder.record(), found.rows
    names = ["case_id", "patient", *(["region"] if rows["region"].nunique() > 1 else [])]
    metrics = [measure.metric for measure in found.measures]
    return {
        "run": found.part.run_id,
        "part": PARTS.get(found.part.part, found.part.part),
        "reading": found.part.reading,
        "fold": None,
        "state": record.state,
        "error": record.error,
        "facts": _facts(record),
        "config": _config(folder),
        "curves": curves(folder.curves()),
        "pictures": [],
        "faults": list(found.faults),
        "columns": [name.removesuffix("_id").capitalize() for name in names],
        "measures": [measure.title for measure in found.measures],
        "cases": rows[names].astype(str).to_numpy().tolist(),
        "values": rows[metrics].to_numpy(),
        "means": [
            [title, np.array([numbers[name] for name in metrics])] for title, numbers in found.summary()
        ],
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
        return yaml_text(folder.config()) if folder.config_file.exists() else ""
    except BenchError:
        return ""
