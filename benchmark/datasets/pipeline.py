"""From a folder on disk to a store and splits that runs can use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchmark.data.check import checked_cases
from benchmark.data.facts import dataset_findings
from benchmark.data.findings import THE_DATA_SET, Finding, report_findings
from benchmark.data.naming import printable
from benchmark.data.patients import patients_words
from benchmark.data.splits import load_or_make_splits, stored_splits
from benchmark.data.splits import splits_file as splits_path_in
from benchmark.data.store import (
    PreparedCase,
    Store,
    data_fingerprint,
    preparation_identity,
    read_case,
    splits_folder,
    store_case,
    store_fingerprint,
    store_folder,
    why_stale,
)
from benchmark.data.voxel_checks import copies
from benchmark.datasets.registry import dataset
from benchmark.files.writing import exclusive, write_json
from benchmark.processes.side_by_side import side_by_side
from benchmark.vocabulary import Case, DataError, DatasetSpec, Preparation
from benchmark.words import counted, named_data

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
    patients: str = ""
    """How many cases of how many patients there are, and by what rule they are told."""
    warnings: tuple[Finding, ...] = ()
    """What a person should know of the data, and what keeps no case out."""
    data: str = ""
    """The data set and its folder, as `bench data check` takes them."""


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
    """Check the files, prepare what is not prepared yet, and make or read the splits.

    Headers are checked first, voxels as they are prepared.

    `preparation` None: the data set's usual one. The splits do not depend on it. `scored_on` is the store on whose grid
    scores are computed; None: this one.

    Broken cases are refused by name, or left out with `skip_bad_cases`; so are cases of different patients that share
    an image. May be interrupted at any time and called from several processes at once.
    """
    reader = dataset(name)
    spec, cases = reader.spec_of(root), reader.discover(root)
    if not cases:
        raise DataError(
            f"There is no labelled case in {root}, so that nothing can be trained or scored. Cases without "
            f"labels can be predicted: bench predict RUN --data {named_data(name, root)}."
        )
    data = named_data(name, root)
    checked = checked_cases(
        cases,
        spec,
        thorough=False,
        jobs=jobs,
        progress=lambda done, total: progress("check", done, total),
    )
    findings = [*reader.remarks(root), *checked.findings, *dataset_findings(cases, checked.facts)]
    broken = {finding.case_id for finding in findings if finding.is_fault}
    _refuse(findings, broken, cases, data, skip_bad_cases=skip_bad_cases, cannot="be used")
    sound = [case for case in cases if case.case_id not in broken]
    if not sound:
        raise DataError(f"No case in {root} can be used:\n{report_findings(findings)}")

    preparation = preparation or spec.preparation
    folder = store_folder(results, spec, preparation, root)
    with exclusive(folder / ".lock", wait=True):
        rebuilt, failed = _prepare(sound, folder, spec, preparation, jobs, progress)
        if failed and not skip_bad_cases:
            raise DataError(
                "\n".join([*failed.values(), _way_out(len(failed), len(cases), data, cannot="be prepared")])
            )
        prepared = {case.case_id: case for case in sound if case.case_id not in failed}
        if not prepared:
            raise DataError(f"No case in {root} can be prepared. {next(iter(failed.values()))}")
        stored = {case_id: read_case(folder / "cases" / case_id) for case_id in prepared}
        copies = _copies(stored, prepared)
        torn = {finding.case_id for finding in copies if finding.is_fault}
        _refuse(copies, torn, cases, data, skip_bad_cases=skip_bad_cases, cannot="be used")
        broken |= {*failed, *torn}
        usable = sorted(set(prepared) - torn)
        if not usable:
            raise DataError(f"No case in {root} can be used:\n{report_findings(copies)}")
        identity = preparation_identity(spec, preparation)
        write_json(folder / "store.json", {"identity": identity, "cases": usable})
        store = Store(folder)
        summaries = [case.summary for case in store.cases.values()]
    if not any(case.lesion_ml for case in summaries):
        raise DataError(
            f"No case in {root} has a labelled voxel ({counted(len(summaries), 'case')}), so that nothing can be "
            "learned or scored. See that these are the labels."
        )
    findings += [*copies, *(finding for case in stored.values() for finding in case.findings)]

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
        patients=f"{spec.name}: {patients_words([prepared[case_id] for case_id in usable])}",
        warnings=tuple(finding for finding in findings if not finding.is_fault),
        data=data,
    )


def warning_lines(ready: ReadyData, *, most: int = 3) -> list[str]:
    """What to tell a person of the data before they are used: the patients, and the first warnings."""
    lines = [ready.patients] if ready.patients else []
    lines += [
        f"Warning: {finding.case_id or 'the data'}: {finding.problem}" for finding in ready.warnings[:most]
    ]
    if more := len(ready.warnings) - most:
        told = f"; `bench data check {ready.data}` lists all, with remedies." if ready.data else "."
        lines += [f"{counted(more, 'more warning')}{told}"] * (more > 0)
    return [printable(line) for line in lines]


def _refuse(
    findings: list[Finding],
    broken: set[str],
    cases: list[Case],
    data: str,
    *,
    skip_bad_cases: bool,
    cannot: str,
) -> None:
    """DataError for faults, unless they are of cases that are to be left out."""
    faults = [finding for finding in findings if finding.is_fault]
    if faults and (not skip_bad_cases or THE_DATA_SET in broken):
        n_broken = len(broken - {THE_DATA_SET})
        raise DataError(f"{report_findings(faults)}\n{_way_out(n_broken, len(cases), data, cannot=cannot)}")


def _way_out(n_broken: int, n: int, data: str, *, cannot: str) -> str:
    return (
        f"{n_broken} of {counted(n, 'case')} cannot {cannot}. `bench data check {data}` lists all faults. Mend them, "
        "or go on without these cases with --skip-bad-cases."
    )


def _copies(stored: Mapping[str, PreparedCase], cases: Mapping[str, Case]) -> list[Finding]:
    signatures = {
        (case_id, role): signature
        for case_id, case in stored.items()
        for role, signature in case.signatures.items()
    }
    return copies(signatures, cases)


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
