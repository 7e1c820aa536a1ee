"""The copying: a run's folder appears whole, the grids that show it come last."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from benchmark.files.writing import exclusive, written_whole
from benchmark.merging.completing import Completion
from benchmark.merging.copying import copy_folder
from benchmark.merging.planning import NOT_COPIED, MergePlan, left_out
from benchmark.merging.sources import RunCopy
from benchmark.results.manifests import write_manifest
from benchmark.results.runs import RunFolder
from benchmark.search.cards import clean_card, is_card
from benchmark.vocabulary import BenchError

STAGE = ".merging"
"""In the target: where a run's folder is copied to before it takes its place."""


def carry_out(plan: MergePlan) -> None:
    """Copy what the plan says.

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
                _copy_run(copy, plan.into, stage, weights=plan.weights)
            for run_id, gained in plan.completions.items():
                _complete(RunFolder(plan.into, run_id), gained, stage)
            for place, path in plan.files.items():
                _copy_file(path, plan.into / place)
                if is_card(plan.into / place):
                    clean_card(plan.into / place)
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
    staged = stage / copy.folder.run_id
    copy_folder(copy.folder.path, staged, leaving=left_out(weights=weights))
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


def _complete(target: RunFolder, gained: Completion, stage: Path) -> None:
    """Add what an identical copy has besides; the facts, which speak of the files, come last."""
    with target.claimed() as held:
        if not held or target.record_file.read_bytes() != gained.written:
            raise BenchError(
                f"Run {target.run_id} in {target.path.parents[1]} has changed meanwhile; start again."
            )
        for name, path in gained.files.items():
            place = target.path / name
            if path.is_file():
                _copy_file(path, place)
            elif not place.exists():
                copy_folder(path, stage / name, leaving=NOT_COPIED)
                place.parent.mkdir(parents=True, exist_ok=True)
                (stage / name).rename(place)
        if gained.facts:
            record = target.record()
            target.write_record(replace(record, facts={**gained.facts, **record.facts}))


def _copy_file(path: Path, place: Path) -> None:
    with written_whole(place) as temporary:
        shutil.copyfile(path, temporary)
