"""The attempts at a run: on which machine, when, how each ended; and whether the run takes its machine with it.

    results/runs/<run_id>/attempts.json     one entry an attempt, the oldest first

Whoever sees an attempt end writes that down: the worker, or the launcher of a worker that could not. An attempt without
an end was cut short together with its launcher. On a machine that has not been started again since, and in a job that
still goes on, that was somebody's `kill -9`; else the machine, or the whole job, was gone, and the run may be why.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from benchmark.files.places import DamagedFileError, is_there
from benchmark.files.schemas import STRICT, Amount, Text, read_as
from benchmark.files.writing import write_json
from benchmark.results.runs import RunFolder

DEADLY_ATTEMPTS = 3
"""After so many attempts in a row that ended with their machine, and none of which came further, a run has failed."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")
Time = Annotated[Amount, Field(le=1e11)]
"""Seconds since 1970; later ones have no date."""
_JOBS = ("SLURM_JOB_ID", "SLURM_RESTART_COUNT", "PBS_JOBID", "LSB_JOBID", "JOB_ID")


@dataclass(frozen=True)
class Attempt:
    """`start` and `end` are seconds since 1970 by the clock of `node`; `boot` and `job` name what it was part of;
    `progress` changes with the run's checkpoints."""

    __pydantic_config__ = STRICT

    node: Text
    start: Time
    end: Time | None = None
    cause: Text | None = None
    boot: Text = ""
    job: Text = ""
    progress: Text = ""


@dataclass(frozen=True)
class _Written:
    """The file."""

    __pydantic_config__ = STRICT

    attempts: tuple[Attempt, ...]


def written_attempts(folder: RunFolder) -> list[Attempt]:
    """All that were written down; DamagedFileError where they cannot be read."""
    if not is_there(_file(folder)):
        return []
    return list(read_as(_Written, _file(folder), below=folder.path.parent).attempts)


def attempts(folder: RunFolder) -> list[Attempt]:
    """The same for who goes on with the run: none where the file is damaged, which stops nobody."""
    try:
        return written_attempts(folder)
    except DamagedFileError:
        return []


def begin(folder: RunFolder) -> None:
    """Write down that an attempt begins here and now; only for who holds the claim."""
    here = Attempt(os.uname().nodename, time.time(), boot=_boot(), job=_job(), progress=_progress(folder))
    _write(folder, [*attempts(folder), here])


def end(folder: RunFolder, cause: str) -> None:
    """Write down how the last attempt ended, if nobody has."""
    known = attempts(folder)
    if known and known[-1].end is None:
        _write(folder, [*known[:-1], replace(known[-1], end=time.time(), cause=cause)])


def deadly(folder: RunFolder) -> list[Attempt]:
    """The last attempts in a row that ended with their machine or job and left the run where it was, the oldest
    first."""
    found: list[Attempt] = []
    progress = _progress(folder)
    for attempt in reversed(attempts(folder)):
        if attempt.end is not None or attempt.progress != progress:
            break
        if (attempt.node, attempt.boot, attempt.job) != (os.uname().nodename, _boot(), _job()):
            found.insert(0, attempt)
    return found


def told(found: list[Attempt]) -> str:
    """What `deadly` found, as an error."""
    when = ", ".join(f"{a.node} at {time.strftime('%Y-%m-%d %H:%M', time.localtime(a.start))}" for a in found)
    return (
        f"{len(found)} attempts ended with their machine or job, and none came further than the one before ({when}). "
        "Perhaps the run needs more memory than there is; with --retry-failed it is tried again."
    )


def _file(folder: RunFolder) -> Path:
    return folder.path / "attempts.json"


def _write(folder: RunFolder, known: list[Attempt]) -> None:
    write_json(_file(folder), {"attempts": [asdict(attempt) for attempt in known]})


def _boot() -> str:
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _job(environment: Mapping[str, str] = os.environ) -> str:
    return " ".join(environment[name] for name in _JOBS if name in environment)


def _progress(folder: RunFolder) -> str:
    """Of a training, ours or nnU-Net's: when its checkpoints were written."""
    files = [folder.checkpoint_file, *sorted((folder.path / "external").rglob("checkpoint_*.pth"))]
    return " ".join(str(file.stat().st_mtime_ns) for file in files if file.exists())
