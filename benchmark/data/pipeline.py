"""From a folder on disk to a store and splits that runs can use."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

from benchmark.data.check import check_cases, report_faults
from benchmark.data.splits import load_or_make_splits
from benchmark.data.splits import splits_file as splits_path_in
from benchmark.data.store import (
    Store,
    preparation_identity,
    preparation_key,
    read_case,
    store_case,
    why_stale,
)
from benchmark.registry import dataset
from benchmark.results import exclusive, write_json
from benchmark.vocabulary import Case, DataError, DatasetSpec, Preparation, Spacing

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
    spacing_mm: Spacing | None = None,
    n_folds: int = 5,
    splits_file: Path | None = None,
    skip_bad_cases: bool = False,
    jobs: int = 1,
    progress: Progress = lambda what, done, total: None,
) -> ReadyData:
    """Check the files (cheaply), prepare what is not prepared yet, and make or read the splits.

    Broken cases are refused by name, or left out with `skip_bad_cases`. May be interrupted at any time and called
    from several processes at once.
    """
    reader = dataset(name)
    cases = reader.discover(root)
    faults = check_cases(
        cases,
        reader.spec,
        thorough=False,
        jobs=jobs,
        progress=lambda done, total: progress("check", done, total),
    )
    broken = {fault.case_id for fault in faults}
    if broken and not skip_bad_cases:
        raise DataError(
            f"{report_faults(faults)}\n{len(broken)} of {len(cases)} cases in {root} cannot be used. "
            "Mend them, or go on without them with --skip-bad-cases."
        )
    sound = [case for case in cases if case.case_id not in broken]
    if not sound:
        raise DataError(f"No case in {root} can be used:\n{report_faults(faults)}")

    preparation = reader.spec.preparation
    if spacing_mm is not None:
        preparation = replace(preparation, spacing_mm=spacing_mm)
    folder = results / "stores" / f"{name}-{preparation_key(reader.spec, preparation, root)}"
    with exclusive(folder / ".lock", wait=True):
        rebuilt = _prepare(sound, folder, reader.spec, preparation, jobs, progress)
    store = Store(folder)

    summaries = [case.summary for case in store.cases.values()]
    splits_path = splits_path_in(folder, n_folds=n_folds, user_file=splits_file)
    splits = load_or_make_splits(
        splits_path, summaries, n_folds=n_folds, user_file=splits_file, left_out=tuple(broken)
    )
    fingerprint = hashlib.sha256(f"{store.fingerprint} {splits.fingerprint}".encode()).hexdigest()[:16]
    return ReadyData(
        store=folder,
        splits=splits_path,
        fingerprint=fingerprint,
        excluded_cases=tuple(sorted(broken)),
        n_cases=len(summaries),
        n_folds=len(splits.folds),
        rebuilt=rebuilt,
    )


def _prepare(
    cases: list[Case],
    folder: Path,
    spec: DatasetSpec,
    preparation: Preparation,
    jobs: int,
    progress: Progress,
) -> dict[str, str]:
    identity = preparation_identity(spec, preparation)
    stale = {}
    for done, case in enumerate(cases):
        reason = why_stale(case, folder / "cases" / case.case_id, identity=identity)
        if reason is not None:
            stale[case.case_id] = reason
        progress("look at the store", done + 1, len(cases))
    todo = [case for case in cases if case.case_id in stale]
    jobs = min(jobs, len(todo))
    if jobs <= 1:
        for done, case in enumerate(todo):
            store_case(case, folder / "cases" / case.case_id, spec=spec, preparation=preparation)
            progress("prepare", done + 1, len(todo))
    else:
        with ProcessPoolExecutor(jobs, mp_context=get_context("forkserver")) as pool:
            running = [
                pool.submit(
                    store_case, case, folder / "cases" / case.case_id, spec=spec, preparation=preparation
                )
                for case in todo
            ]
            for done, future in enumerate(as_completed(running)):
                try:
                    future.result()
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
                progress("prepare", done + 1, len(todo))
    for case in todo:
        read_case(folder / "cases" / case.case_id)
    write_json(folder / "store.json", {"identity": identity, "cases": sorted(case.case_id for case in cases)})
    return stale
