"""Which code a process runs: the commit of this suite and the packages around it. Needs no torch."""

from __future__ import annotations

import hashlib
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path


def version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


@cache
def git_commit() -> str:
    """The commit of this suite's sources, with `+changes` if they differ from it; `unknown` outside a checkout."""
    here = Path(__file__).resolve().parent
    try:
        head = _git(here, "rev-parse", "HEAD")
        return f"{head}+changes" if _git(here, "status", "--porcelain", "--untracked-files=no") else head
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _git(folder: Path, *words: str) -> str:
    answer = subprocess.run(
        ["git", *words], cwd=folder, capture_output=True, text=True, timeout=10, check=True
    )
    return answer.stdout.strip()


@cache
def packages_digest() -> str:
    """16 hexadecimal digits that stand for every installed package with its version."""
    found = sorted({f"{one.name}=={one.version}".lower() for one in distributions()})
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:16]
