"""What the runs of a table do not have in common, and whether they may stand in one table all the same.

    conditions(results, runs)   under which conditions each finished run was made
    mixed(conditions)           in what they differ
    checked(behind, ...)        for reports: refuses what must not be mixed, and says the rest under the table

A trace says the same of the runs of one cell (`reports.provenance.trace`).

Refused: scores of different protocol versions, and of different data or folds where the preparation is the same. A
method may want its data prepared in its own way, so that different fingerprints alone are no fault. Flagged: what
leaves scores comparable, or is said for readers to judge.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.files.places import DamagedFileError
from benchmark.notices import notice
from benchmark.results.runs import RunFolder, RunRecord
from benchmark.vocabulary import BenchError
from reports.evidence.evidence import commit_of
from reports.evidence.unsound import unsound_notes
from reports.ground.frames import TableFacts
from reports.ground.runs import places_of, seen
from reports.ground.words import counted, enumerated

UNKNOWN = ""
"""A condition that a run of an earlier version of the suite did not write down."""
CONDITIONS = [
    "run_id",
    "protocol",
    "data",
    "preparation",
    "store",
    "scored_on",
    "splits",
    "excluded",
    "checkpoint",
    "grid",
    "commit",
    "torch",
    "device",
    "precision",
    "steps",
]
SAID = ("checkpoint", "grid")
"""What the notes under every table say anyway."""
NAMES = {
    "protocol": "protocol version",
    "checkpoint": "checkpoint rule",
    "grid": "scoring grid",
    "commit": "commit of the suite",
    "excluded": "cases left out",
    "torch": "torch",
    "device": "device",
    "precision": "precision",
    "steps": "training steps",
    "data": "data fingerprint",
}
Rows = Sequence[Mapping[str, str]]
"""The rows of `conditions`."""
LISTED = 4
"""So many runs are named of a group; the others are counted."""


@dataclass(frozen=True)
class Mixed:
    """A condition in which runs differ: by value, the runs that have it. `refused`: they must not be in one table."""

    condition: str
    name: str
    runs: Mapping[str, tuple[str, ...]]
    refused: bool = False

    @property
    def counts(self) -> str:
        """`1 (12 runs) and not recorded (3 runs)`."""
        return enumerated([f"{value or 'not recorded'} ({len(runs)})" for value, runs in self.runs.items()])


def conditions(results: Path, runs: pd.DataFrame) -> pd.DataFrame:
    """One row, with CONDITIONS as text, for each finished run among the rows of `run_cells`."""
    done = runs[runs["state"] == "done"].drop_duplicates("run_id")
    rows = [
        {"run_id": run_id, "checkpoint": checkpoint, "grid": grid}
        | _of_record(results, seen(results, run_id))
        for run_id, checkpoint, grid in zip(done["run_id"], done["checkpoint"], done["grid"], strict=True)
    ]
    return pd.DataFrame(rows, columns=CONDITIONS, dtype=str)


def _of_record(results: Path, record: RunRecord) -> dict[str, str]:
    facts, commit = record.facts, commit_of(record.facts)
    parts = dict(facts.get("data", {})) or _places(results, record.run_id)
    device = facts.get("gpu") or facts.get("cpu") or facts.get("device")
    return {
        "protocol": _text(facts.get("protocol")),
        "data": record.data_fingerprint,
        **{name: _text(parts.get(name)) for name in ("preparation", "store", "scored_on", "splits")},
        "excluded": ", ".join(record.excluded_cases) or "none",
        "commit": "" if commit.commit == "unknown" else commit.commit[:12] + "+changes" * commit.dirty,
        "torch": _text(facts.get("versions", {}).get("torch")),
        "device": _text(device),
        "precision": _text(facts.get("precision")),
        "steps": _text(record.steps),
    }


def _places(results: Path, run_id: str) -> dict[str, str]:
    """Of a run that did not note its preparation: the folder of its prepared cases stands for it."""
    try:
        there = RunFolder(results, run_id).data_file.exists()
        places = places_of(results, run_id) if there else None
    except DamagedFileError as error:
        notice(str(error))
        return {}
    if places is None:
        return {}
    return {"preparation": f"{places.store} scored on {places.scored_on}"}


def _text(value: Any) -> str:
    return UNKNOWN if value is None else str(value)


def mixed(made: pd.DataFrame) -> tuple[Mixed, ...]:
    """In what the rows of `conditions` differ, the refused before the flagged."""
    # Of a few rows a thousand times: without pandas, which takes a millisecond for each condition.
    rows = [{str(name): value for name, value in row.items()} for row in made.to_dict("records")]
    return tuple(sorted(_mixed(rows), key=lambda each: not each.refused))


def _mixed(made: Rows) -> Iterator[Mixed]:
    if found := _groups(made, "protocol"):
        known = [value for value in found if value != UNKNOWN]
        yield Mixed("protocol", NAMES["protocol"], found, refused=len(known) > 1)
    yield from _mixed_data(made)
    for condition in ("excluded", *SAID, "commit", "torch", "device", "precision", "steps"):
        if found := _groups([row for row in made if row[condition] != UNKNOWN], condition):
            yield Mixed(condition, NAMES[condition], found)


def _mixed_data(made: Rows) -> Iterator[Mixed]:
    """Where the same preparation met other data. Cases that were left out are other data by design."""
    noted = [row for row in made if row["store"] != UNKNOWN]
    unnoted = [row for row in made if row["store"] == UNKNOWN]
    older = [row for row in unnoted if row["preparation"] != UNKNOWN]
    for rows, within, condition, name in (
        (noted, ["excluded"], "splits", "folds"),
        (noted, ["excluded", "grid"], "scored_on", "data that are scored on"),
        (noted, ["excluded", "preparation"], "store", "data of one preparation"),
        (older, ["excluded", "preparation"], "data", "data fingerprint of one preparation"),
    ):
        groups: dict[tuple[str, ...], list[Mapping[str, str]]] = {}
        for row in rows:
            groups.setdefault(tuple(row[name] for name in within), []).append(row)
        for group in groups.values():
            if found := _groups(group, condition):
                yield Mixed(condition, name, found, refused=True)
    silent = [row for row in unnoted if row["preparation"] == UNKNOWN and row["data"] != UNKNOWN]
    if found := _groups(silent, "data"):
        yield Mixed("data", NAMES["data"], found)


def _groups(made: Rows, condition: str) -> dict[str, tuple[str, ...]]:
    """The runs by the condition's value, the most common first; empty where all have the same."""
    groups: dict[str, list[str]] = {}
    for row in made:
        if not pd.isna(row[condition]):
            groups.setdefault(str(row[condition]), []).append(str(row["run_id"]))
    if len(groups) < 2:
        return {}
    return {value: tuple(runs) for value, runs in sorted(groups.items(), key=lambda item: -len(item[1]))}


REMEDIES = {
    "protocol": "`bench evaluate RUN` scores a run again, and notes the present version where nothing moved; where "
    "something did, remove the run's folder and start the grid again",
}
OTHER_REMEDY = (
    "Report the launches apart with --manifest, or remove the folders of the runs that do not belong here and start "
    "the grid again"
)


def refusal(found: Sequence[Mixed], table: str) -> str:
    """Why a table must not be made, with the runs and the remedy; empty where it may."""
    refused = [each for each in found if each.refused]
    if not refused:
        return ""
    lists = [f"{each.name} {_named(each)}" for each in refused]
    remedy = REMEDIES.get(refused[0].condition, OTHER_REMEDY)
    return f"{table} would mix runs whose numbers are not comparable: {'; '.join(lists)}. {remedy}."


def _named(each: Mixed) -> str:
    return enumerated([f"{value or 'not recorded'} ({_some(runs)})" for value, runs in each.runs.items()])


def _some(runs: Sequence[str]) -> str:
    more = f" and {len(runs) - LISTED} more" if len(runs) > LISTED else ""
    return f"{counted(len(runs), 'run')}: {', '.join(runs[:LISTED])}{more}"


def mixing_notes(found: Sequence[Mixed], *, unsaid: Collection[str] = SAID) -> Iterator[str]:
    """What is said under a table, or beside a number, of runs that were not made alike; nothing of `unsaid`."""
    flagged = [each for each in found if not each.refused and each.condition not in unsaid]
    if not flagged:
        return
    lists = [f"{each.name} {each.counts}" for each in flagged]
    timing = "device" in {each.condition for each in flagged}
    aside = " Seconds and memory compare on the same device alone." if timing else ""
    yield f"Not all runs were made alike (in brackets: how many): {'; '.join(lists)}.{aside}"


def checked(behind: TableFacts, results: Path, runs: pd.DataFrame) -> TableFacts:
    """`behind` with what is to be said of the rows of `run_cells`; BenchError for runs that must not be mixed.

    Runs whose folds tear patients apart are named, and stay: whoever made them shall see it.
    """
    found = mixed(conditions(results, runs))
    if why_not := refusal(found, f"The report of {behind.manifest}"):
        raise BenchError(why_not)
    return replace(behind, mixed=tuple(mixing_notes(found)), unsound=tuple(unsound_notes(results, runs)))
