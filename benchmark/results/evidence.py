"""What is written down of an evaluation, so that its numbers can be checked later, and not be mixed with others.

Needs no torch: reports read it. In `facts` of run.json:

    protocol         PROTOCOL_VERSION of the suite that scored the run
    scores_sha256    of scores.parquet, as it was written
    weights_file     the file of the weights that were scored, inside the run's folder
    weights_sha256   of that file, as it was scored
    precision        of training and inference
    data             fingerprints of what makes up the run's data (see `benchmark.training.fold`)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.files.places import inside
from benchmark.results.runs import RunFolder

PROTOCOL_VERSION = 2
"""What decides a score besides configuration, weights and data: how metrics are defined (`metrics`, `mask_pair`), how
windows are laid and stitched (`inference`, `stitching`), how label maps come onto the scored grid (`evaluate`,
`Geometry`), and how cases are prepared (`prepare.FORMAT`).

Raise it by one with every change to these that can move the score of a run that is already done, however little, and
say in the changelog what moved. Reports refuse tables whose runs have different ones. A refactoring under which
`bench evaluate` reproduces old runs exactly leaves it alone.
"""


EVIDENCE = ("protocol", "scores_sha256", "weights_file", "weights_sha256", "precision", "data")
"""The facts that are listed above."""


def sha256_of(path: Path) -> str:
    """The file's SHA-256 in hexadecimal digits. OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_facts(folder: RunFolder, weights: Path | None) -> dict[str, Any]:
    """Which weights a run is about to be scored with; nothing for a method that names no file of them."""
    if weights is None or not weights.exists():
        return {}
    inside = weights.resolve().is_relative_to(folder.path.resolve())
    name = weights.resolve().relative_to(folder.path.resolve()) if inside else weights.absolute()
    return {"weights_file": str(name), "weights_sha256": sha256_of(weights)}


def weights_named(folder: RunFolder, facts: Mapping[str, Any]) -> Path | None:
    """The file of weights that a run's facts name; None where they name none. DamagedFileError where it is not in the
    run's folder: the facts may be a stranger's, and lead anywhere."""
    name = facts.get("weights_file")
    return inside(folder.path, str(name)) if name else None


def scores_facts(folder: RunFolder) -> dict[str, Any]:
    """By which protocol the scores came about that were just written, or reproduced, and their digest."""
    return {"protocol": PROTOCOL_VERSION, "scores_sha256": sha256_of(folder.scores_file)}
