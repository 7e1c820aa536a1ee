"""Reads files of claims; every wrong key is an error that names the file, the claim and the nearest word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from benchmark.files.strict_yaml import read_yaml
from benchmark.vocabulary import BenchError
from reports.claims.language import Claim, ClaimFile
from reports.ground.words import enumerated


@dataclass(frozen=True)
class Stated:
    """A claim, the name of the file's list of claims, its paper, and the file it was read from."""

    claim: Claim
    collection: str
    paper: str
    file: str

    @property
    def name(self) -> str:
        return self.claim.id


def load_claims(files: Sequence[Path]) -> list[Stated]:
    """The claims of these files, in their order; BenchError where two have the same id."""
    stated: dict[str, Stated] = {}
    for path in files:
        content = _parsed(path)
        for claim in content.claims:
            if claim.id in stated:
                other = stated[claim.id].file
                both = f"in {other} and {path.name}" if other != path.name else f"twice in {path.name}"
                raise BenchError(f"The claim {claim.id} is {both}; give one of them another id.")
            stated[claim.id] = Stated(claim, content.name, content.paper, path.name)
    return list(stated.values())


def claim_files(folder: Path) -> list[Path]:
    """The files of claims in a folder, by name."""
    return sorted(folder.glob("*.yaml"))


def _parsed(path: Path) -> ClaimFile:
    content = read_yaml(path)
    try:
        return ClaimFile.model_validate(content)
    except ValidationError as error:
        # A list whose items are wrong is reported as too short as well.
        found = error.errors()
        real = [fault for fault in found if fault["type"] != "too_short"] or found
        faults = [_fault(content, fault["loc"], fault["msg"]) for fault in real]
        raise BenchError(f"{path.name}: {'; '.join(dict.fromkeys(faults))}") from error


def _fault(content: Mapping[str, Any], place: tuple[int | str, ...], message: str) -> str:
    """`claim shuffle-wins: test.holds: no test begins with 'beter'. Did you mean 'better'?`"""
    text = message.removeprefix("Value error, ")
    text = text if text.endswith((".", "?")) else f"{text}."
    named = ""
    if len(place) > 1 and place[0] == "claims" and isinstance(place[1], int):
        named, place = f"claim {_id_of(content['claims'][place[1]], place[1])}: ", place[2:]
    where = ".".join(map(str, place))
    return f"{named}{where}: {text}" if where else f"{named}{text}"


def _id_of(claim: object, number: int) -> str:
    """The id as it stands in the file, or the claim's number, from 1, where it has none."""
    return str(claim["id"]) if isinstance(claim, Mapping) and "id" in claim else f"number {number + 1}"


def choose(claims: Sequence[Stated], *, table: str | None) -> list[Stated]:
    """Those about one table; all where none is named. BenchError where there is none."""
    if table is None:
        return list(claims)
    found = [one for one in claims if one.claim.table == table]
    if not found:
        tables = dict.fromkeys(one.claim.table for one in claims if one.claim.table is not None)
        raise BenchError(f"No claim is about the table {table}, only about {enumerated(list(tables))}.")
    return found
