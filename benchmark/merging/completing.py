"""What the copy of a run that is taken lacks, and identical copies have: evaluations, pictures, weights, facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.files.places import is_regular
from benchmark.merging.copying import why_not_copied
from benchmark.merging.sources import RunCopy
from benchmark.results.evidence import EVIDENCE, sha256_of, weights_named

EVALUATIONS = (
    "without/*.parquet",
    "without/*.json",
    "panels/*",
    "validation.parquet",
    "projections.npz",
)
"""What an evaluation later than the run may have added; what says that it is there comes last."""
WEIGHTS = ("*.safetensors", "external")
TO_GO_ON = ("checkpoint.pt",)
MASKS = ("predictions",)
"""Only where weights are asked for, and without a check: the scores are the same."""


@dataclass(frozen=True)
class Completion:
    """What a run whose run.json is `written` gets from its identical copies. `files`: by place in the run's folder the
    file or folder to be copied; `facts`: what run.json gets besides; `unlike`: weights that are not known to be those
    that were scored."""

    written: bytes
    files: Mapping[str, Path] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    unlike: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not self.files and not self.facts


def completion(taken: RunCopy, others: Sequence[RunCopy], *, weights: bool) -> Completion:
    """What `taken` gets of others with the same scores, or, unfinished, of the same attempt; of several that have a
    file, the first's.

    Weights must be those whose digest was recorded, or, where none was, of the same training.
    """
    files: dict[str, Path] = {}
    facts: dict[str, Any] = {}
    unlike: dict[str, str] = {}
    heavier = WEIGHTS if taken.state == "done" else (*WEIGHTS, *TO_GO_ON)
    for other in others:
        lacking = {place: path for place, path in _parts(other, EVALUATIONS) if not _has(taken, place, files)}
        if weights:
            lacking |= {place: path for place, path in _parts(other, MASKS) if not _has(taken, place, files)}
            heavy = {place: path for place, path in _parts(other, heavier) if not _has(taken, place, files)}
            if heavy and not _are_scored_weights(taken, other):
                run = other.folder.run_id
                unlike |= {place: f"runs/{run}/{place} of {other.source.name}" for place in heavy}
            else:
                lacking |= heavy
        files |= lacking
        facts = {**_facts(taken, other, files), **facts}
    left_out = tuple(name for place, name in unlike.items() if place not in files)
    return Completion(taken.written, files, facts, left_out)


def _parts(copy: RunCopy, patterns: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """By place in the run's folder its files, and folders, of these patterns."""
    for pattern in patterns:
        for path in sorted(copy.folder.path.glob(pattern)):
            is_folder = path.is_dir() and not path.is_symlink() and not path.parent.is_symlink()
            if path.suffix != ".tmp" and (is_folder or not why_not_copied(path)):
                yield str(path.relative_to(copy.folder.path)), path


def _has(taken: RunCopy, place: str, files: Mapping[str, Path]) -> bool:
    return place in files or (taken.folder.path / place).exists()


def _are_scored_weights(taken: RunCopy, other: RunCopy) -> bool:
    for facts in (taken.record.facts, other.record.facts):
        if facts.get("weights_sha256"):
            path = weights_named(other.folder, facts)
            return path is not None and is_regular(path) and sha256_of(path) == facts["weights_sha256"]
    return _is_one_training(taken, other)


def _is_one_training(one: RunCopy, other: RunCopy) -> bool:
    """Whether one is a copy of the other, not a repetition: none takes as long to the last bit."""
    seconds = one.record.train_seconds
    return one.is_copy_of(other) or (seconds is not None and seconds == other.record.train_seconds)


def _facts(taken: RunCopy, other: RunCopy, files: Mapping[str, Path]) -> dict[str, Any]:
    """What `other` noted of the evaluation and `taken` did not, as far as it holds for the files of `taken`."""
    noted = {
        key: other.record.facts[key]
        for key in EVIDENCE
        if key in other.record.facts and key not in taken.record.facts
    }
    if taken.record.data_fingerprint != other.record.data_fingerprint:
        noted.pop("data", None)
    if "scores_sha256" in noted and sha256_of(taken.folder.scores_file) != noted["scores_sha256"]:
        # The same scores in another order.
        del noted["scores_sha256"]
    if "weights_sha256" in noted:
        own = weights_named(taken.folder, noted) or taken.folder.weights_file
        path = files.get(str(noted.get("weights_file")), own)
        holds = (
            sha256_of(path) == noted["weights_sha256"] if is_regular(path) else _is_one_training(taken, other)
        )
        if not holds:
            noted = {key: value for key, value in noted.items() if not key.startswith("weights_")}
    return noted
