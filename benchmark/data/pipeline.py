"""From a folder on disk to a store and splits that runs can use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchmark.data.check import check_cases, report_faults
from benchmark.data.splits import load_or_make_splits, stored_splits
from benchmark.data.splits import splits_file as splits_path_in
from benchmark.data.store import (
    Store,
    data_fingerprint,
    preparation_identity,
    splits_folder,
    store_case,
    store_fingerprint,
    store_folder,
    why_stale,
)
from benchmark.execution.side_by_side import side_by_side
from benchmark.files import exclusive, write_json
from benchmark.registry import dataset
from benchmark.vocabulary import Case, DataError, DatasetSpec, Preparation

_WAY_OUT = "Mend them, or go on without them with --skip-bad-cases."
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many cases are finished and how many there are."""


@dataclass(frozen=True)
class ReadyData:
    """Prepared data. `fingerprint` covers the store and the splits and is part of every run's identity."""

    store: Path
    splits: Path
    fingerprint: str
    excluded_cases: tuple[str, ...]
    n_cases: int
    n_folds: int
    rebuilt: dict[str, str]
    """Cases that were prepared (again) this time, with the reason."""


def ready_data(
    name: str,
    root: Path,
    *,
    results: Path,
    preparation: Preparation | None = None,
    scored_on: Path | None = None,
    n_folds: int = 5,
    splits_file: Path | None = None,
    skip_bad_cases: bool = False,
    jobs: int = 1,
    progress: Progress = lambda what, done, total: None,
) -> ReadyData:
    """Check the files (cheaply), prepare what is not prepared yet, and make or read the splits.

    `preparation` None: the data set's usual one. The splits do not depend on it. `scored_on` is the store on whose grid
    scores are computed; None: this one.

    Broken cases are refused by name, or left out with `skip_bad_cases`. May be interrupted at any time and called
    from several processes at once.
    """
    reader = dataset(name)
    spec, cases = reader.spec_of(root), reader.discover(root)
    faults = check_cases(
        cases,
        spec,
        thorough=False,
        jobs=jobs,
        progress=lambda done, total: progress("check", done, total),
    )
    broken = {fault.case_id for fault in faults}
    if broken and not skip_bad_cases:
        raise DataError(
            f"{report_faults(faults)}\n{len(broken)} of {len(cases)} cases in {root} cannot be used. {_WAY_OUT}"
        )
    sound = [case for case in cases if case.case_id not in broken]
    if not sound:
        raise DataError(f"No case in {root} can be used:\n{report_faults(faults)}")

    preparation = preparation or spec.preparation
    folder = store_folder(results, spec, preparation, root)
    with exclusive(folder / ".lock", wait=True):
        rebuilt, failed = _prepare(sound, folder, spec, preparation, jobs, progress)
        if failed and not skip_bad_cases:
            listed = "\n".join(failed.values())
            raise DataError(
                f"{listed}\n{len(failed)} of {len(cases)} cases in {root} cannot be prepared. {_WAY_OUT}"
            )
        broken |= set(failed)
        prepared = sorted(case.case_id for case in sound if case.case_id not in failed)
        if not prepared:
            raise DataError(f"No case in {root} can be prepared. {next(iter(failed.values()))}")
        identity = preparation_identity(spec, preparation)
        write_json(folder / "store.json", {"identity": identity, "cases": prepared})
        store = Store(folder)
        summaries = [case.summary for case in store.cases.values()]

    splits_file = splits_file or reader.own_splits(root)
    splits_path = splits_path_in(splits_folder(results, spec, root), n_folds=n_folds, user_file=splits_file)
    splits = load_or_make_splits(
        splits_path, summaries, n_folds=n_folds, user_file=splits_file, left_out=tuple(broken)
    )
    return ReadyData(
        store=folder,
        splits=splits_path,
        fingerprint=data_fingerprint(
            store.fingerprint,
            splits.fingerprint,
            scored_on=Store(scored_on).fingerprint if scored_on else store.fingerprint,
        ),
        excluded_cases=tuple(sorted(broken)),
        n_cases=len(summaries),
        n_folds=len(splits.folds),
        rebuilt=rebuilt,
    )


def foreseen_data(
    name: str, root: Path, *, results: Path, preparation: Preparation, scored_on: ReadyData
) -> ReadyData:
    """What `ready_data` will return for another preparation of the cases in `scored_on`, without preparing any.

    It names runs that are planned but not to be executed now. (A case that this preparation cannot handle would change
    the name.)
    """
    spec = dataset(name).spec_of(root)
    scored = Store(scored_on.store)
    summaries = [case.summary for case in scored.cases.values()]
    foreseen = store_fingerprint(preparation_identity(spec, preparation), scored.cases.values())
    splits = stored_splits(scored_on.splits, summaries).fingerprint
    return replace(
        scored_on,
        store=store_folder(results, spec, preparation, root),
        fingerprint=data_fingerprint(foreseen, splits, scored_on=scored.fingerprint),
        rebuilt={},
    )


def _prepare(
    cases: list[Case],
    folder: Path,
    spec: DatasetSpec,
    preparation: Preparation,
    jobs: int,
    progress: Progress,
) -> tuple[dict[str, str], dict[str, str]]:
    """Prepare what is stale; returns the reasons, and the faults of the cases that could not be prepared."""
    identity = preparation_identity(spec, preparation)
    stale = {}
    for done, case in enumerate(cases):
        reason = why_stale(case, folder / "cases" / case.case_id, identity=identity)
        if reason is not None:
            stale[case.case_id] = reason
        progress("look at the store", done + 1, len(cases))
    todo = {case.case_id: case for case in cases if case.case_id in stale}
    prepare = partial(_store_or_fault, folder=folder / "cases", spec=spec, preparation=preparation)
    faults: dict[str, str | None] = {}
    for case_id, fault in side_by_side(prepare, todo, jobs=jobs):
        faults[case_id] = fault
        progress("prepare", len(faults), len(todo))
    failed = {case_id: fault for case_id in todo if (fault := faults[case_id]) is not None}
    return {case_id: reason for case_id, reason in stale.items() if case_id not in failed}, failed


def _store_or_fault(case: Case, *, folder: Path, spec: DatasetSpec, preparation: Preparation) -> str | None:
    try:
        store_case(case, folder / case.case_id, spec=spec, preparation=preparation)
    except DataError as error:
        return str(error)
    return None
