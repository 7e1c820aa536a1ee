"""A trace in words, as pairs of a label and a text: an empty label goes on with the one before.

    number_words(trace)   the cell, its number from the rows, what was published, the neighbours
    run_words(run)        how a run was made, and whether its files are still those it was scored with

The texts of single facts (`commit_text`, `difference_text`, ...) are for whoever arranges them in
another way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmark.files.places import exists
from reports.evidence.configs import Difference
from reports.evidence.evidence import Commit, FileEvidence
from reports.provenance.tree import MlflowLink, Neighbours, RunTrace, Trace

Words = Iterator[tuple[str, str]]
SHORT = 12
"""Digits of a commit or digest where not all are wanted."""


def number_words(found: Trace) -> Words:
    """What is known of a cell besides its runs."""
    place = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in found.cell.items())
    yield "cell", f"{found.table}: {place}"
    if found.manifest:
        yield "launch", f"{found.manifest}, profile {found.profile}, data set {found.dataset}"
        yield "from the rows", _recomputed(found)
    else:
        yield "own runs", "none"
    if found.published is not None:
        yield "published", f"{found.published.value:.2f} ({found.published.source})"
        yield "", f"{found.published.file}, line {found.published.line}: {found.published.row}"
        if found.published.apart:
            yield "", f"not comparable with the own number: {found.published.apart}"
    for near in found.neighbours:
        along = near.along.replace("_", " ")
        yield f"other {along}", f"{', '.join(near.cells)}; {neighbours_text(near)}"


def neighbours_text(near: Neighbours) -> str:
    """`the configurations differ in training.steps: 9, there 12`."""
    return f"the configurations differ in {'; '.join(map(difference_text, near.differences)) or 'nothing'}"


def _recomputed(found: Trace) -> str:
    done = [run for run in found.runs if run.state == "done"]
    defined = sum(case.value is not None for run in done for case in run.cases)
    cases = sum(len(run.cases) for run in done)
    if not done:
        return "no finished run"
    number = "undefined" if found.recomputed is None else f"{found.recomputed:.6f}"
    verdict = "agrees with the table" if found.agrees else f"the table has {found.value!r}"
    return f"{number} (runs: {len(done)}, case rows: {cases}, defined: {defined}); {verdict}"


def run_words(run: RunTrace, *, places: bool = True, digits: int | None = SHORT) -> Words:
    """How a run was made. Without `places` neither its machine's name nor folders are told, which is for those who pass
    it on; `digits` of commits and digests, None: all."""
    if run.error:
        yield "error", run.error
    if run.state == "pending":
        return
    if places:
        yield "folder", run.folder
    yield "configuration", f"config.yaml, which {run.config_state}" if run.config else "missing"
    if run.unlike_defaults:
        yield "not the default", defaults_text(run.unlike_defaults)
    yield "code", f"commit {commit_text(run.commit, digits=digits)}"
    if run.versions:
        yield "versions", ", ".join(f"{name} {version}" for name, version in run.versions.items())
    protocol = "not recorded (an earlier version of the suite)" if run.protocol is None else str(run.protocol)
    yield "protocol", protocol
    yield from _of_data(run, places=places, digits=digits)
    if run.state == "done":
        weights = file_text(run.weights, "scored", digits=digits)
        yield "weights", f"checkpoint rule {run.checkpoint or 'unknown'}: {weights}"
        scores = file_text(run.scores, "written", digits=digits)
        yield "scores", f"{scores}; on the grid {run.score_grid or 'unknown'}"
    yield from _of_training(run, places=places)
    if run.mlflow is not None:
        yield "MLflow", link_text(run.mlflow)


def _of_training(run: RunTrace, *, places: bool) -> Words:
    if run.machine:
        named = ("gpu", "cpu", "device", "threads", "precision", *(("host",) if places else ()))
        yield "machine", ", ".join(f"{name} {run.machine[name]}" for name in named if name in run.machine)
    if run.train_seconds is not None:
        yield "training", f"{run.steps} steps in {run.train_seconds:.1f} s"
    for warning in run.warnings:
        yield "warning", warning


def _of_data(run: RunTrace, *, places: bool, digits: int | None) -> Words:
    data = run.data
    parts = ", ".join(f"{name} {value}" for name, value in data.parts.items())
    yield "data", f"fingerprint {data.fingerprint or 'unknown'}" + (f" ({parts})" if parts else "")
    if places and (root := data.places.get("root")):
        gone = "" if exists(Path(root)) else ", which is not on this machine"
        yield "", f"files in {root}{gone}"
    if data.excluded_cases:
        yield "", f"left out: {', '.join(data.excluded_cases)}"
    if not data.splits.path:
        return
    path = data.splits.path if places else Path(data.splits.path).name
    if data.splits.state == "missing":
        yield "splits", f"{path}, which is not on this machine"
        return
    yield "splits", path + (f", sha256 {data.splits.sha256[:digits]}" if data.splits.sha256 else "")
    scored = f"; scored: {data.n_test} of its {data.n_fold} test cases" if data.n_test is not None else ""
    same = {"unchanged": ", the membership that the run saw", "changed": ", edited since it was written"}
    yield "", f"{data.splits_source}{same.get(data.splits.state, '')}{scored}"


def file_text(file: FileEvidence, done: str, *, digits: int | None = SHORT) -> str:
    """A file, and whether it is the one that was `done`: scored, or written."""
    name = Path(file.path).name
    recorded = f" (sha256 when {done}: {file.recorded[:digits]})" if file.recorded else ""
    if file.state == "missing":
        return f"{name} is gone{recorded}"
    if file.state == "not looked at":
        return f"{name}{recorded}, not looked at"
    words = {
        "unchanged": f"the file that was {done}",
        "changed": f"NOT the file that was {done}, whose sha256 is {file.recorded[:digits]}",
        "not recorded": f"its sha256 was not recorded when it was {done}",
    }
    return f"{name}, sha256 {file.sha256[:digits]}, {words[file.state]}"


def commit_text(commit: Commit, *, digits: int | None = SHORT) -> str:
    """The commit, and whether the sources had changes besides."""
    return commit.commit[:digits] + (" with changes that no commit holds" if commit.dirty else "")


def defaults_text(found: Iterable[Difference]) -> str:
    """`training.steps 120 (none); ...`: the settings, with their defaults in brackets."""
    return "; ".join(f"{each.key} {value_text(each.here)} ({value_text(each.there[0])})" for each in found)


def link_text(link: MlflowLink) -> str:
    """The address of a run in MLflow with how to get there, or the one of them that there is."""
    return f"{link.url} ({link.text})" if link.url and link.text else link.url or link.text


def difference_text(found: Difference) -> str:
    """`training.steps: 9, there 12 or 15`."""
    there = " or ".join(map(value_text, found.there))
    return f"{found.key}: {value_text(found.here)}, there {there}"


def value_text(value: Any) -> str:
    """A setting's value."""
    if value is None:
        return "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
