"""Which patients train, validate and test: drawn once, stored as JSON, read ever after.

A patient is never split: all studies of a patient are in one part of a fold. `test` is what a run is scored
on; `validation` is carved out of the training patients, and is all that choosing a checkpoint or a
hyperparameter may look at. The stored file:

    {"format": "splits 2", "seed": 0, "source": "...", "fingerprint": "...",
     "folds": [{"train": ["<case>", ...], "validation": [...], "test": [...]}, ...],
     "patients": {"<case>": "<patient>", ...}}

`splits 1` had no patients, and was drawn when those of AutoPET's names `PETCT_<id>_<study>` and of some statements in
`dataset.json` were not recognised: see `benchmark.datasets.torn`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.data.naming import case_id_from, resolve_cases, some
from benchmark.data.user_files import read_user_json
from benchmark.files.writing import exclusive, write_json
from benchmark.vocabulary import CaseSummary, DataError

PARTS = ("train", "validation", "test")
_OTHER_PATIENTS = (
    "It was written when other patients were known of these cases. Runs on it may have been trained on what they test; "
    "`bench report` names them, and they must not be published. Start another results folder (--results), or remove "
    "this file and those runs."
)
VALIDATION_FRACTION = 0.2
"""Of the training patients: 16 % of all patients with five folds, which leaves 64 % to train on."""
_FORMAT, _EARLIER = "splits 2", "splits 1"
_NEEDS = 'it needs a list of {"train": [...], "val": [...]}, or what is stored here'


@dataclass(frozen=True)
class Fold:
    """Case ids, sorted."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def parts(self) -> dict[str, tuple[str, ...]]:
        """The case ids by the part's name, in the order of `PARTS`."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


@dataclass(frozen=True)
class Splits:
    """`seed` is what the drawn parts were drawn with; `source` tells people where the splits come from.

    `patients` are those of the cases when the splits were written; empty for splits of an earlier format.
    """

    folds: tuple[Fold, ...]
    seed: int
    source: str
    patients: Mapping[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that name the membership, whatever its source and seed."""
        membership = [{name: sorted(ids) for name, ids in fold.parts().items()} for fold in self.folds]
        return hashlib.sha256(json.dumps(membership, sort_keys=True).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "seed": self.seed,
            "source": self.source,
            "fingerprint": self.fingerprint,
            "folds": [{name: list(ids) for name, ids in fold.parts().items()} for fold in self.folds],
            "patients": dict(sorted(self.patients.items())),
        }

    @classmethod
    def from_json(cls, content: Any, *, source: str) -> Splits:
        """`source` names the file in errors. The membership is checked by whoever knows the cases."""
        folds = content.get("folds") if isinstance(content, dict) else None
        known = isinstance(content, dict) and content.get("format") in (_FORMAT, _EARLIER)
        if not known or not isinstance(folds, list):
            raise DataError(f'{source} does not hold splits: it needs "format": "{_FORMAT}" and "folds".')
        listed = [_listed_fold(fold, f"{source}, fold {number}", PARTS) for number, fold in enumerate(folds)]
        parts = tuple(Fold(fold["train"], fold["validation"], fold["test"]) for fold in listed)
        seed = content.get("seed", 0)
        if not isinstance(seed, int):
            raise DataError(f"{source}: the seed {seed!r} is no whole number. Correct it.")
        patients = content.get("patients", {})
        if not isinstance(patients, dict) or not all(isinstance(p, str) for p in patients.values()):
            raise DataError(f'{source}: "patients" must name a patient for each case. Correct or remove it.')
        return cls(parts, seed, str(content.get("source", source)), patients)


def make_splits(
    cases: Sequence[CaseSummary],
    *,
    n_folds: int = 5,
    validation_fraction: float = VALIDATION_FRACTION,
    seed: int = 0,
) -> Splits:
    """Patient-grouped folds, stratified by lesion presence and total lesion volume; pure in its arguments.

    Patients with lesions, from the largest total volume to the smallest, are dealt in rounds of `n_folds`:
    each fold gets one of the largest `n_folds`, one of the next, and so on; tumour-free patients are dealt
    likewise. Within a round chance decides, except that the folds with the fewest cases get the patients with
    the most. The order of `cases` does not matter. With as many patients as folds (3 at least) no part is
    empty; DataError with fewer.
    """
    patients = _patients(cases)
    if n_folds < 2:
        raise DataError(f"Splits need 2 folds at least, not {n_folds}.")
    needed = max(n_folds, 3)
    if len(patients) < needed:
        raise DataError(
            f"{n_folds} folds need {needed} patients at least, so that each can train, validate and test, "
            f"but there are {len(patients)} ({len(cases)} cases). Add patients, ask for fewer folds (n_folds in a "
            "profile, --n-folds of `bench data prepare`), or give folds of your own (--splits)."
        )
    tested: list[list[_Patient]] = [[] for _ in range(n_folds)]
    for stratum in _strata(patients):
        for start in range(0, len(stratum), n_folds):
            _deal(stratum[start : start + n_folds], tested, seed=seed)
    folds = []
    for number, test in enumerate(tested):
        names = {patient.name for patient in test}
        rest = [patient for patient in patients if patient.name not in names]
        train, validation = _carve(rest, validation_fraction, seed=seed, fold=number)
        folds.append(Fold(_case_ids(train), _case_ids(validation), _case_ids(test)))
    return Splits(tuple(folds), seed, _drawn_source(n_folds, seed), _patient_names(cases))


def read_splits(
    path: Path,
    cases: Sequence[CaseSummary],
    *,
    validation_fraction: float = VALIDATION_FRACTION,
    seed: int = 0,
    left_out: Collection[str] = (),
) -> Splits:
    """A user's own splits, in the format stored here or in nnU-Net's (`splits_final.json`).

    nnU-Net's is a list of {"train": [...], "val": [...]}; its `val` is the part it reports on, hence the test
    part here, and validation is carved out of its `train`. Cases may be named as in the data set's files.
    Cases on disk that the file does not name stay unused; `left_out` are ids that the file may name although
    they are not among `cases` (excluded by a check).

    Raises DataError for a patient on two sides, unknown or repeated cases, and empty parts.
    """
    content = read_user_json(path, needs=_NEEDS)
    if isinstance(content, list):
        folds = content
    elif isinstance(content, dict) and isinstance(content.get("folds"), list):
        folds = content["folds"]
    else:
        raise DataError(f'{path} holds no splits: it must be a list of {{"train": [...], "val": [...]}}.')
    if not folds:
        raise DataError(f"{path} holds no folds. Add at least one.")
    by_id = {case.case_id: case for case in cases}
    read = []
    for number, fold in enumerate(folds):
        where = f"{path}, fold {number}"
        named = {"train", "val"} if isinstance(fold, dict) and set(fold) == {"train", "val"} else set(PARTS)
        listed = _listed_fold(fold, where, named)
        known = {name: _resolved(ids, by_id, left_out, where=where) for name, ids in listed.items()}
        _check_fold(known, by_id, where=where)
        if named == {"train", "val"}:
            train = _patients([by_id[case_id] for case_id in known["train"]])
            if len(train) < 2:
                raise DataError(f"{where}: training needs 2 patients at least, one of them to validate.")
            kept, validation = _carve(train, validation_fraction, seed=seed, fold=number)
            read.append(Fold(_case_ids(kept), _case_ids(validation), known["val"]))
        else:
            read.append(Fold(known["train"], known["validation"], known["test"]))
    return Splits(tuple(read), seed, _users_source(path), _patient_names(cases))


def _patient_names(cases: Iterable[CaseSummary]) -> dict[str, str]:
    return {case.case_id: case.patient for case in cases}


def splits_file(folder: Path, *, n_folds: int, seed: int = 0, user_file: Path | None = None) -> Path:
    """Where `load_or_make_splits` should keep splits in `folder`: drawn and users' splits live side by side.

    Drawn ones are named by what they are drawn with, a user's by a hash of the file, so that an edited file
    is another split, and the runs of the earlier one keep theirs.
    """
    if user_file is None:
        return folder / f"splits-{n_folds}-folds-seed-{seed}.json"
    return folder / f"splits-{case_id_from(user_file.stem)}-{_digest(user_file)}.json"


def _digest(user_file: Path) -> str:
    try:
        return hashlib.sha256(user_file.read_bytes()).hexdigest()[:8]
    except OSError as error:
        raise DataError(f"Cannot read the splits {user_file}: {error.strerror}. Check --splits.") from error


def n_folds_in(path: Path) -> int:
    """How many folds a user's splits file holds."""
    content = read_user_json(path, needs=_NEEDS)
    folds = content.get("folds", []) if isinstance(content, dict) else content
    return len(folds) if isinstance(folds, list) else 0


def load_or_make_splits(
    path: Path,
    cases: Sequence[CaseSummary],
    *,
    n_folds: int = 5,
    user_file: Path | None = None,
    seed: int = 0,
    left_out: Collection[str] = (),
) -> Splits:
    """The splits stored at `path` (see `splits_file`); drawn, or read from `user_file`, the first time.

    What is stored is never drawn again and never changed, whoever calls and however often. Otherwise as
    `stored_splits`; and DataError when drawn splits do not know one of `cases`, or when the file holds
    another split than the one asked for.
    """
    if not path.exists():
        with exclusive(path.with_name(f".{path.name}.lock"), wait=True):
            if not path.exists():
                if user_file is None:
                    splits = make_splits(cases, n_folds=n_folds, seed=seed)
                else:
                    splits = read_splits(user_file, cases, seed=seed, left_out=left_out)
                write_json(path, splits.to_json())
    stored = read_stored_splits(path)
    _refuse_another(stored, path, n_folds=n_folds, user_file=user_file, seed=seed)
    if user_file is None:
        _refuse_new_cases(stored, cases, path)
    return stored_splits(path, cases)


def stored_splits(path: Path, cases: Sequence[CaseSummary]) -> Splits:
    """The splits that were written to `path`, without the cases that are no longer among `cases`.

    The file stays as it is, and a part may be empty then. Raises DataError when a patient is on both sides
    because patients were renamed, and when the file was edited.
    """
    stored = read_stored_splits(path)
    by_id = {case.case_id: case for case in cases}
    folds = []
    for number, fold in enumerate(stored.folds):
        present = {name: tuple(i for i in ids if i in by_id) for name, ids in fold.parts().items()}
        where = f"{path}, fold {number}, without the cases that are gone"
        _check_fold(present, by_id, where=where, may_be_empty=True, remedy=_OTHER_PATIENTS)
        folds.append(Fold(present["train"], present["validation"], present["test"]))
    return Splits(tuple(folds), stored.seed, stored.source, _patient_names(cases))


def read_stored_splits(path: Path) -> Splits:
    """The splits that were written to `path`, whatever cases there are now; DataError when the file was edited."""
    content = read_user_json(path, needs=_NEEDS)
    stored = Splits.from_json(content, source=str(path))
    if content.get("fingerprint") != stored.fingerprint:
        raise DataError(
            f"{path} was edited after it was written, but splits stay as they are. Restore it; or copy the "
            "edited one elsewhere, remove it here, and name the copy with --splits."
        )
    return stored


def _drawn_source(n_folds: int, seed: int) -> str:
    return f"{n_folds} folds by patient, stratified by lesion volume, seed {seed}"


def _users_source(user_file: Path) -> str:
    return f"read from {user_file.name} ({_digest(user_file)})"


def _refuse_another(stored: Splits, path: Path, *, n_folds: int, user_file: Path | None, seed: int) -> None:
    if user_file is not None:
        same, wanted = stored.source == _users_source(user_file), str(user_file)
    else:
        same = stored.source == _drawn_source(n_folds, seed)
        wanted = f"the {n_folds} folds with seed {seed}"
    if not same:
        raise DataError(
            f"{path} holds other splits ({stored.source}) than {wanted} asked for. Ask for those that it "
            "holds, or store the new ones in another file."
        )


def _refuse_new_cases(stored: Splits, cases: Iterable[CaseSummary], path: Path) -> None:
    known = {case_id for fold in stored.folds for ids in fold.parts().values() for case_id in ids}
    new = sorted({case.case_id for case in cases} - known)
    if new:
        raise DataError(
            f"{path} was written without {some(new)} (new, or repaired since), and splits "
            "are never redrawn. Take these cases out of the data, start another results folder (--results), "
            "or remove this file if no run that used it matters any more."
        )


@dataclass(frozen=True)
class _Patient:
    name: str
    case_ids: tuple[str, ...]
    lesion_ml: float


def _patients(cases: Iterable[CaseSummary]) -> list[_Patient]:
    """Sorted by name, whatever the order of the cases."""
    cases = sorted(cases, key=lambda case: case.case_id)
    repeated = [case_id for case_id, times in Counter(case.case_id for case in cases).items() if times > 1]
    if repeated:
        raise DataError(f"Case ids must be unique, but there are several of {some(repeated)}. Rename them.")
    grouped: dict[str, list[CaseSummary]] = defaultdict(list)
    for case in cases:
        if not 0 <= case.lesion_ml < float("inf"):
            raise DataError(
                f"Case {case.case_id} has a lesion volume of {case.lesion_ml} ml. Check its label."
            )
        grouped[case.patient].append(case)
    return [
        _Patient(name, tuple(case.case_id for case in own), sum(case.lesion_ml for case in own))
        for name, own in sorted(grouped.items())
    ]


def _strata(patients: Iterable[_Patient]) -> tuple[list[_Patient], list[_Patient]]:
    """Patients with lesions and without, each from the largest lesion volume to the smallest."""
    ordered = sorted(patients, key=lambda patient: (-patient.lesion_ml, patient.name))
    return [p for p in ordered if p.lesion_ml > 0], [p for p in ordered if p.lesion_ml == 0]


def _chance(seed: int, *what: object) -> float:
    """In [0, 1), a pure function of its arguments: the same on every machine and in every Python."""
    digest = hashlib.sha256(json.dumps([seed, *map(str, what)]).encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48


def _deal(group: Sequence[_Patient], tested: list[list[_Patient]], *, seed: int) -> None:
    """One patient to each of as many folds, the folds with the fewest cases first."""
    first = group[0].name
    folds = sorted(
        range(len(tested)),
        key=lambda f: (sum(len(p.case_ids) for p in tested[f]), _chance(seed, "fold", first, f)),
    )
    ordered = sorted(group, key=lambda p: (-len(p.case_ids), _chance(seed, "patient", p.name)))
    for fold, patient in zip(folds, ordered, strict=False):
        tested[fold].append(patient)


def _carve(
    patients: Sequence[_Patient], fraction: float, *, seed: int, fold: int
) -> tuple[list[_Patient], list[_Patient]]:
    """Training and validation patients; each stratum gives its share, spread evenly over lesion volumes.

    Neither part is empty. Both have a lesion when two patients have one: without any, neither training nor a
    validation Dice would mean much.
    """
    if not 0 < fraction < 1:
        raise DataError(f"The validation fraction must lie between 0 and 1, not be {fraction}.")
    with_lesion, without = _strata(patients)
    wanted = min(max(1, round(fraction * len(patients))), len(patients) - 1)
    share = round(wanted * len(with_lesion) / len(patients))
    share = min(max(share, 1), len(with_lesion) - 1) if len(with_lesion) > 1 else 0
    share = max(min(share, wanted), wanted - len(without))
    validation: list[_Patient] = []
    for name, stratum, n in (("lesion", with_lesion, share), ("none", without, wanted - share)):
        offset = _chance(seed, "validation", fold, name)
        # Tumour-free patients have no volume to be spread over: chance orders them.
        ordered = stratum if name == "lesion" else sorted(stratum, key=lambda p: _chance(seed, fold, p.name))
        validation += [ordered[int((i + offset) * len(ordered) / n)] for i in range(n)]
    chosen = {patient.name for patient in validation}
    return [patient for patient in patients if patient.name not in chosen], validation


def _case_ids(patients: Iterable[_Patient]) -> tuple[str, ...]:
    return tuple(sorted(case_id for patient in patients for case_id in patient.case_ids))


def _listed_fold(fold: Any, where: str, names: Collection[str]) -> dict[str, tuple[str, ...]]:
    """The case names of a fold by part, sorted; the parts must be exactly `names`."""
    if not isinstance(fold, dict) or set(fold) != set(names):
        has = sorted(map(str, fold)) if isinstance(fold, dict) else type(fold).__name__
        raise DataError(f'{where}: has {has}; needs "train" and "val", or "train", "validation" and "test".')
    for name, ids in fold.items():
        if not isinstance(ids, list) or not all(isinstance(case_id, str) for case_id in ids):
            raise DataError(f"{where}: {name!r} must be a list of case names.")
    return {name: tuple(sorted(fold[name])) for name in fold}


def _resolved(
    names: Iterable[str], by_id: Mapping[str, CaseSummary], left_out: Collection[str], *, where: str
) -> tuple[str, ...]:
    """Case ids of names that may be written as in the data set's files."""
    names = list(names)
    found = resolve_cases(names, {*by_id, *left_out}, where=where)
    return tuple(sorted(found[name] for name in names if found[name] in by_id))


def _check_fold(
    parts: Mapping[str, tuple[str, ...]],
    by_id: Mapping[str, CaseSummary],
    *,
    where: str,
    may_be_empty: bool = False,
    remedy: str = "Move all to one part.",
) -> None:
    empty = [name for name, ids in parts.items() if not ids]
    if empty and not may_be_empty:
        raise DataError(f"{where}: no case is left in {' and '.join(empty)}. Put cases there.")
    times = Counter(case_id for ids in parts.values() for case_id in ids)
    repeated = sorted(case_id for case_id, n in times.items() if n > 1)
    if repeated:
        raise DataError(f"{where}: named more than once: {some(repeated)}. Keep each case in one part.")
    sides: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, ids in parts.items():
        for case_id in ids:
            sides[by_id[case_id].patient][name].append(case_id)
    torn = {patient: own for patient, own in sorted(sides.items()) if len(own) > 1}
    if torn:
        patient, own = next(iter(torn.items()))
        both = " and ".join(f"{', '.join(ids)} in {name}" for name, ids in own.items())
        more = f" ({len(torn) - 1} more patients likewise)" if len(torn) > 1 else ""
        raise DataError(f"{where}: patient {patient} is on both sides: {both}{more}. {remedy}")
