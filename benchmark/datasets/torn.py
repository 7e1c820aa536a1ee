"""Whether the folds that a run was scored on put one patient on both sides, by what is known of patients now.

Folds are drawn once, and what tells patients has become better since: names `PETCT_<id>_<study>` of AutoPET in
nnU-Net's layout, `BraTS-<task>-<id>-<time>`, and cases that `mirror_bench.patients` names by their ids, each counted as
a patient of its own while folds had the format `splits 1`. Scores of a run on such folds are partly of training data.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from benchmark.data import readers
from benchmark.data.patients import patients_of
from benchmark.data.splits import Fold, Splits
from benchmark.vocabulary import BenchError
from benchmark.words import counted


@dataclass(frozen=True)
class Torn:
    """A patient with cases in the test part of a fold and in its other parts."""

    patient: str
    tested: tuple[str, ...]
    trained: tuple[str, ...]


def torn_patients(fold: Fold, patients: Mapping[str, str]) -> list[Torn]:
    """Patients on both sides of a fold, sorted by name. Cases that `patients` does not name are nobody's."""
    sides: dict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for part, ids in fold.parts().items():
        for case_id in ids:
            if case_id in patients:
                sides[patients[case_id]][part != "test"].append(case_id)
    return [
        Torn(patient, tuple(tested), tuple(trained))
        for patient, (tested, trained) in sorted(sides.items())
        if tested and trained
    ]


def torn_words(fold: Fold, number: int, patients: Mapping[str, str]) -> str:
    """A sentence about a fold that tears patients apart; empty for a sound one."""
    torn = torn_patients(fold, patients)
    if not torn:
        return ""
    first = torn[0]
    cases = {case for one in torn for case in one.tested}
    return (
        f"fold {number} tests what it trained on: {counted(len(torn), 'patient')} on both sides, with "
        f"{len(cases)} of {len(fold.test)} test cases ({first.patient}: {first.tested[0]} is tested, "
        f"{first.trained[0]} trained on). These scores must not be published; remove the folds' file and the runs on "
        "it, and run again"
    )


def known_patients(splits: Splits, *, reader: str, root: Path) -> dict[str, str]:
    """The patients of the cases in the folds, as well as they are known now.

    By the data set where it is at hand, else by what was written down with the folds, else by the cases' names.
    """
    ids = {case_id for fold in splits.folds for part in fold.parts().values() for case_id in part}
    by_name = patients_of(sorted(ids), None, path=root)
    named = {case_id: whose.patient for case_id, whose in by_name.items()}
    known = named | dict(splits.patients) | dict(_told_by_data(reader, root))
    return {case_id: known[case_id] for case_id in ids}


@lru_cache(maxsize=64)
def _told_by_data(reader: str, root: Path) -> Mapping[str, str]:
    """Nothing where the data set is elsewhere, or cannot be read any more: that is no fault of the folds."""
    known = {module.name for module in pkgutil.iter_modules(readers.__path__)}
    if reader not in known or not root.is_dir():
        return {}
    # Not by the registry, which also finds methods, and with them torch.
    module = importlib.import_module(f"{readers.__name__}.{reader}")
    try:
        return {case.case_id: case.patient for case in module.discover(root)}
    except (BenchError, OSError):
        return {}
