"""What stands behind one run: its files, and whether they are still those it was scored with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from benchmark.data.splits import Splits, read_stored_splits
from benchmark.files.places import DamagedFileError, exists, is_regular
from benchmark.results.evidence import sha256_of, weights_named
from benchmark.results.manifests import CellRun
from benchmark.results.runs import RunFolder, RunRecord
from benchmark.vocabulary import BenchError
from reports.evidence.configs import gives_id
from reports.evidence.recomputing import RunRows
from reports.evidence.unsound import splits_path, unsound_of
from reports.ground.runs import places_of
from reports.ground.words import counted, enumerated

FileState = Literal["unchanged", "changed", "missing", "not recorded", "not looked at"]


@dataclass(frozen=True)
class FileEvidence:
    """A file beside the digest that was written down of it. `sha256` is the present one; empty: not computed."""

    path: str
    recorded: str
    sha256: str
    state: FileState


@dataclass(frozen=True)
class Commit:
    """Of the suite. `dirty`: its sources had changes that no commit holds."""

    commit: str
    dirty: bool


@dataclass(frozen=True)
class DataEvidence:
    """The data of a run. `parts`: the fingerprints it is made of; `places`: where they lay; `splits`: the file of the
    folds, whose recorded digest is that of the membership; `n_test` of the fold's `n_fold` test cases are scored, None
    where the file is not on this machine."""

    fingerprint: str
    parts: Mapping[str, str]
    places: Mapping[str, str]
    splits: FileEvidence
    splits_source: str
    n_test: int | None
    n_fold: int | None
    excluded_cases: tuple[str, ...]


def commit_of(facts: Mapping[str, Any]) -> Commit:
    """From what `benchmark.training.environment` wrote down; `unknown` where it wrote nothing."""
    commit, plus, _ = str(facts.get("git_commit") or "unknown").partition("+")
    return Commit(commit, bool(plus))


def scores_file(folder: RunFolder, facts: Mapping[str, Any], *, verify: bool) -> FileEvidence:
    """The scores beside their digest."""
    return _beside(folder.scores_file, str(facts.get("scores_sha256", "")), verify=verify)


def weights_file(folder: RunFolder, facts: Mapping[str, Any], *, rule: str, verify: bool) -> FileEvidence:
    """The weights that were scored, by the checkpoint rule where the run does not name their file."""
    usual = folder.best_weights_file if rule == "best" else folder.weights_file
    recorded = str(facts.get("weights_sha256", ""))
    try:
        path = weights_named(folder, facts) or usual
    except DamagedFileError:
        # Weights elsewhere on the machine that made the run, or a detour: nobody's files are digested for it.
        return FileEvidence(str(facts["weights_file"]), recorded, "", "not looked at")
    return _beside(path, recorded, verify=verify)


def _beside(path: Path, recorded: str, *, verify: bool) -> FileEvidence:
    if not is_regular(path):
        return FileEvidence(str(path), recorded, "", "missing")
    if not verify:
        return FileEvidence(str(path), recorded, "", "not looked at")
    found = sha256_of(path)
    state: FileState = "unchanged" if found == recorded else "changed" if recorded else "not recorded"
    return FileEvidence(str(path), recorded, found, state)


def data_of(
    folder: RunFolder, record: RunRecord, *, fold: int, rows: RunRows | None, verify: bool
) -> tuple[DataEvidence, list[str]]:
    """The run's data, and what is wrong with them."""
    parts: dict[str, str] = dict(record.facts.get("data", {}))
    places: dict[str, str] = {}
    faults: list[str] = []
    results = folder.path.parents[1]
    if folder.data_file.exists():
        try:
            places = {name: str(path) for name, path in vars(places_of(results, folder.run_id)).items()}
        except DamagedFileError as error:
            faults.append(str(error))
    path = splits_path(folder, places.get("splits", ""))
    splits, n_test, n_fold = None, None, None
    digest: FileState = "missing"
    if places and exists(path, as_file=True):
        digest = "not recorded"
        try:
            splits = _splits(path, path.stat().st_mtime_ns)
        except (BenchError, OSError) as error:
            digest = "changed"
            faults.append(str(error))
    if unsound := unsound_of(results, folder.run_id, fold):
        faults.append(f"Run {folder.run_id}: {unsound}.")
    if splits is not None and fold < len(splits.folds):
        test = set(splits.folds[fold].test)
        n_fold = len(test - set(record.excluded_cases))
        scored = {case.case_id for case in rows.cases} if rows is not None else set()
        n_test = len(scored & test)
        faults += _strangers(scored - test, splits, fold=fold, path=path)
        if "splits" in parts and not record.excluded_cases:
            digest = "unchanged" if splits.fingerprint == parts["splits"] else "changed"
            if digest == "changed":
                faults.append(f"{path} holds other folds than run {folder.run_id} saw ({parts['splits']}).")
    sha256 = sha256_of(path) if verify and digest != "missing" else ""
    evidence = DataEvidence(
        fingerprint=record.data_fingerprint,
        parts=parts,
        places=places,
        splits=FileEvidence(str(path) if places else "", parts.get("splits", ""), sha256, digest),
        splits_source=splits.source if splits is not None else "",
        n_test=n_test,
        n_fold=n_fold,
        excluded_cases=tuple(record.excluded_cases),
    )
    return evidence, faults


@lru_cache(maxsize=16)
def _splits(path: Path, mtime_ns: int) -> Splits:
    """Cached: all runs of a grid have the same folds; `mtime_ns` tells the file from an earlier one."""
    return read_stored_splits(path)


def _strangers(strangers: set[str], splits: Splits, *, fold: int, path: Path) -> Iterator[str]:
    """Scored cases that are not of the fold's test part."""
    if strangers:
        parts = splits.folds[fold].parts()
        seen = sorted({name for case in strangers for name, ids in parts.items() if case in ids})
        where = f"it is in {enumerated(seen)}" if seen else "no part of it holds them"
        yield (
            f"{counted(len(strangers), 'scored case')} not of the test part of fold {fold} in {path}, "
            f"{where}: {', '.join(sorted(strangers)[:3])}."
        )


def faults_of(
    run: CellRun, record: RunRecord, rows: RunRows, *, scores: FileEvidence, weights: FileEvidence
) -> Iterator[str]:
    """What is wrong with a finished run, in sentences."""
    name = f"Run {run.run_id}"
    if scores.state == "changed":
        yield (
            f"{name}: {scores.path} is not as the run wrote it (sha256 {scores.sha256[:12]}, recorded "
            f"{scores.recorded[:12]}). `bench evaluate {run.run_id}` says what the weights give."
        )
    if weights.state == "changed":
        yield (
            f"{name}: {weights.path} is not the file that was scored (sha256 {weights.sha256[:12]}, recorded "
            f"{weights.recorded[:12]})."
        )
    if run.data_fingerprint and record.data_fingerprint and run.data_fingerprint != record.data_fingerprint:
        yield (
            f"{name} saw the data {record.data_fingerprint}, but its grid was planned for {run.data_fingerprint}."
        )
    for what, said, planned in (
        ("run", rows.run_ids, run.run_id),
        ("fold", rows.folds, run.fold),
        ("seed", rows.seeds, run.seed),
    ):
        if rows.cases and said != (planned,):
            yield f"{name}: its scores say {what} {', '.join(map(str, said))}, its grid says {planned}."
    ids = Counter((case.case_id, case.region) for case in rows.cases)
    if twice := sorted({case for (case, _), n in ids.items() if n > 1}):
        yield f"{name}: {counted(len(twice), 'case')} scored twice: {', '.join(twice[:3])}."


def config_state(folder: RunFolder, config: Mapping[str, Any], record: RunRecord) -> str:
    """Whether the configuration is the one the run is named after."""
    if not config:
        return "missing"
    if gives_id(config, record.data_fingerprint, folder.run_id):
        return "gives the run's id"
    return "does not give the run's id: edited, or written by another version"
