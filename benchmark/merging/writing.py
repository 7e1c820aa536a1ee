"""The copying: a run's folder appears whole, the grids that show it come last."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmark.merging.planning import MergePlan
from benchmark.merging.sources import RunCopy
from benchmark.results import RunFolder, exclusive, write_manifest, written_whole
from benchmark.vocabulary import BenchError

STAGE = ".merging"
"""In the target: where a run's folder is copied to before it takes its place."""
NOT_COPIED = (".lock", "heartbeat.json", "*.tmp")
HEAVY = ("*.safetensors", "checkpoint.pt", "external", "predictions")
"""Weights, and what is only needed to go on with a training or made on request."""
EVALUATIONS = ("without/*.parquet", "without/*.json", "panels/*", "validation.parquet")
"""What an evaluation later than the run may have added; what says that it is there comes last."""


def carry_out(plan: MergePlan, *, weights: bool = True) -> None:
    """Copy what the plan says; `weights` False leaves them, checkpoints and masks where they are.

    Killed, it leaves whole runs that no grid shows yet; repeated, it does the rest. BenchError where another process
    joins into the same folder, or where the disk is full.
    """
    with exclusive(plan.into / ".merging.lock") as held:
        if not held:
            raise BenchError(
                f"Another process is joining results into {plan.into}; try again when it has ended."
            )
        stage = plan.into / STAGE
        try:
            shutil.rmtree(stage, ignore_errors=True)
            for copy in plan.copies:
                _copy_run(copy, plan.into, stage, weights=weights)
            for run_id, others in plan.more.items():
                _add_evaluations(RunFolder(plan.into, run_id), others)
            for place, path in plan.files.items():
                _copy_file(path, plan.into / place)
        except OSError as error:
            raise BenchError(
                f"{error.filename or plan.into}: {error.strerror or error}. Free space there or choose another "
                "folder; the same command goes on."
            ) from error
        finally:
            shutil.rmtree(stage, ignore_errors=True)
        for manifest in plan.launches.manifests:
            write_manifest(plan.into, manifest)


def _copy_run(copy: RunCopy, into: Path, stage: Path, *, weights: bool) -> None:
    target = RunFolder(into, copy.folder.run_id)
    left = NOT_COPIED if weights else (*NOT_COPIED, *HEAVY)
    staged = stage / copy.folder.run_id
    shutil.copytree(copy.folder.path, staged, ignore=shutil.ignore_patterns(*left))
    target.path.parent.mkdir(parents=True, exist_ok=True)
    if not target.path.exists():
        staged.rename(target.path)
        return
    # An unfinished run of the target gives way to the finished one, unless somebody takes it up at this moment.
    with target.claimed() as held:
        if not held or target.record().state == "done":
            raise BenchError(f"Run {copy.folder.run_id} in {into} has changed meanwhile; start again.")
        target.path.rename(stage / f"{copy.folder.run_id}.unfinished")
        staged.rename(target.path)


def _add_evaluations(target: RunFolder, others: tuple[RunCopy, ...]) -> None:
    for other in others:
        for pattern in EVALUATIONS:
            for path in sorted(other.folder.path.glob(pattern)):
                place = target.path / path.relative_to(other.folder.path)
                if path.is_file() and not place.exists() and path.suffix != ".tmp":
                    _copy_file(path, place)


def _copy_file(path: Path, place: Path) -> None:
    with written_whole(place) as temporary:
        shutil.copyfile(path, temporary)
