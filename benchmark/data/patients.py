"""Whose a case is: as the data set states it, or as its name tells by a rule that is said.

A patient with cases on both sides of a fold is tested on what was trained on. Hence a guess is never silent: every case
carries the rule by which its patient is known, none at all counts as a patient of its own, and names that look as if
several cases were one patient's are reported.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.data.naming import case_id_from, printable, resolve_keys
from benchmark.vocabulary import Case, DataError
from benchmark.words import counted

STATED = "mirror_bench.patients"
"""The rule of cases whose patient `dataset.json` states."""
UNKNOWN = ""
"""The rule of cases of which nothing tells the patient."""
_PIECE = re.compile(r"[^\W_]*\d(?=[^\W\d_](?:[\W_]|$))|[^\W_]+")
_MOST_CASES_A_PATIENT = 8
"""On average. Names that share a beginning in larger groups share that of a centre or a tracer."""


@dataclass(frozen=True)
class IdentifiedPatient:
    """A patient, and the rule that says so; `UNKNOWN`: none does, and the case counts as a patient of its own."""

    patient: str
    rule: str


@dataclass(frozen=True)
class _NameRule:
    pattern: re.Pattern[str]
    words: str


_NAME_RULES = (
    _NameRule(
        re.compile(r"(?P<patient>(?:fdg|psma)_[^_]+)_(?P<study>.+)", re.IGNORECASE),
        "names <tracer>_<id>_<study> of AutoPET",
    ),
    _NameRule(
        re.compile(r"(?P<patient>PETCT_(?P<id>[^_]+))_(?P<study>.+)", re.IGNORECASE),
        "names PETCT_<id>_<study> of AutoPET",
    ),
    _NameRule(
        re.compile(r"(?P<patient>BraTS-[A-Za-z]+-\d{5})-(?P<study>\d{3})"),
        "names BraTS-<task>-<id>-<time> of BraTS",
    ),
)


def by_name(name: str) -> tuple[IdentifiedPatient, str]:
    """Whose a case of this name is, and what is left of the name for the study."""
    for rule in _NAME_RULES:
        if match := rule.pattern.fullmatch(name):
            return IdentifiedPatient(printable(match["patient"]), rule.words), match["study"]
    return IdentifiedPatient(printable(name), UNKNOWN), name


def patients_of(
    names: Sequence[str], stated: Mapping[str, str] | str | None, *, path: Path
) -> dict[str, IdentifiedPatient]:
    """The patients of a data set's cases, by their names in its files.

    `stated` is what the `dataset.json` at `path` says: a mapping from cases, by name or id, to patients, or a pattern
    whose first group in a case's name is the patient; None: nothing. What it says nothing of is told by the rules for
    names.

    Raises:
        DataError: for a mapping of cases that do not exist, and for a pattern that some name does not match.
    """
    if isinstance(stated, str):
        return {name: _by_pattern(name, stated, path) for name in names}
    ids = {case_id_from(name): name for name in names}
    by_id = resolve_keys(stated or {}, ids, where=f'{path}: "patients" of "mirror_bench"')
    patients = {
        ids[case_id]: IdentifiedPatient(patient.strip(), STATED) for case_id, patient in by_id.items()
    }
    guessed = {name: by_name(name)[0] for name in names if name not in patients}
    return {**_without_shared_ids(guessed), **patients}


def _by_pattern(name: str, pattern: str, path: Path) -> IdentifiedPatient:
    try:
        match = re.fullmatch(pattern, name)
        patient = match[1].strip() if match and match[1] else ""
    except (re.error, IndexError) as error:
        raise DataError(
            f'{path}: the pattern "patients": "{pattern}" of "mirror_bench" is none with a group ({error}). An '
            'example: "(.+)_[^_]+".'
        ) from error
    if not patient:
        raise DataError(
            f'{path}: the pattern "patients": "{pattern}" of "mirror_bench" finds no patient in the case {name!r}.'
        )
    return IdentifiedPatient(printable(patient), STATED)


def _without_shared_ids(guessed: Mapping[str, IdentifiedPatient]) -> dict[str, IdentifiedPatient]:
    """`PETCT_STS_001`, `PETCT_STS_002`, ...: a word that all names share is a collection's, not a patient's."""
    same = {whose.patient for whose in guessed.values() if whose.patient.upper().startswith("PETCT_")}
    shared = {patient for patient in same if len(same) == 1 and not re.search(r"\d", patient)}
    return {
        name: IdentifiedPatient(printable(name), UNKNOWN) if whose.rule and whose.patient in shared else whose
        for name, whose in guessed.items()
    }


def patients_words(cases: Collection[Case]) -> str:
    """`24 cases of 12 patients, by the names PETCT_<id>_<study> of AutoPET (20) and each its own (4)`."""
    counts = Counter(case.patient_rule for case in cases)
    rules = [rule or "each case as a patient of its own, since nothing tells" for rule in counts]
    told = (
        rules[0]
        if len(counts) == 1
        else ", ".join(f"{r} ({n})" for r, n in zip(rules, counts.values(), strict=True))
    )
    of = counted(len({case.patient for case in cases}), "patient")
    return f"{counted(len(cases), 'case')} of {of}, told by {told}"


def shared_beginnings(names: Iterable[str]) -> dict[str, list[str]]:
    """Names by a beginning that several share, where they look like several cases of one patient; else nothing.

    A name is cut at signs that are no letters and digits, and before a letter that ends a number, as in `001B`. The
    shortest beginning counts by which the names fall into groups of more than one and of few on average.
    """
    names = sorted(set(names))
    cuts = {name: [match.end() for match in _PIECE.finditer(name)] for name in names}
    for length in range(1, max(map(len, cuts.values()), default=1)):
        groups: dict[str, list[str]] = defaultdict(list)
        for name in names:
            ends = cuts[name]
            groups[name[: ends[length - 1]] if len(ends) >= length else name].append(name)
        if 1 < len(groups) < len(names) <= _MOST_CASES_A_PATIENT * len(groups):
            return {beginning: own for beginning, own in groups.items() if len(own) > 1}
    return {}


def alike_patients(patients: Iterable[str]) -> list[tuple[str, ...]]:
    """Patients whose names differ in case and white space alone."""
    spelled: dict[str, set[str]] = defaultdict(set)
    for patient in patients:
        spelled["".join(patient.casefold().split())].add(patient)
    return sorted(tuple(sorted(own)) for own in spelled.values() if len(own) > 1)
