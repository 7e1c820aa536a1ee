"""Runs whose scores flatter: a patient on both sides of their fold (see `datasets.torn`), or a checkpoint chosen by its
Dice on the test cases."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pandas as pd

from benchmark.data.splits import Splits, read_stored_splits
from benchmark.datasets.torn import known_patients, torn_words
from benchmark.files.places import exists
from benchmark.results.runs import RunFolder
from benchmark.vocabulary import BenchError
from benchmark.words import counted
from reports.ground.runs import config_of, places_of

NAMED = 4
"""So many runs are named; the others are counted."""


CHOSEN_ON_TEST = (
    "the checkpoint was chosen by the Dice of the test cases (training.best_on: test), as in the authors' code: the "
    "scores are too high by what the choice gained"
)


def torn_fold(splits: Splits, fold: int, *, reader: str, root: Path) -> str:
    """What is wrong with the patients of a fold, as a sentence's end; empty where nothing is."""
    if not 0 <= fold < len(splits.folds):
        return ""
    return torn_words(splits.folds[fold], fold, known_patients(splits, reader=reader, root=root))


def unsound_of(results: Path, run_id: str, fold: int) -> str:
    """Why a run's scores flatter, as a sentence's end; empty where nothing is known that says so."""
    try:
        if config_of(results, run_id).get("training", {}).get("best_on") == "test":
            return CHOSEN_ON_TEST
        places, folder = places_of(results, run_id), RunFolder(results, run_id)
        path = splits_path(folder, str(places.splits))
        return _torn(path, path.stat().st_mtime_ns, fold, places.root, folder.path.parent)
    except (BenchError, OSError):
        return ""


@lru_cache(maxsize=256)
def _torn(path: Path, mtime_ns: int, fold: int, root: Path, runs: Path) -> str:
    """Cached: of a grid all runs of a fold have the same answer. Which reader it was, any of them says."""
    return torn_fold(read_stored_splits(path), fold, reader=_reader_of(path, runs), root=root)


def _reader_of(splits: Path, runs: Path) -> str:
    """What the first run on these folds was read with."""
    for folder in (RunFolder(runs.parent, path.name) for path in sorted(runs.iterdir())):
        try:
            if folder.data().splits.name == splits.name:
                return str(folder.config().get("dataset", ""))
        except (BenchError, OSError):
            continue
    return ""


def unsound_notes(results: Path, runs: pd.DataFrame) -> list[str]:
    """What a table must say of the finished rows of `run_cells` before anything else."""
    done = runs[runs["state"] == "done"].drop_duplicates("run_id")
    found: dict[str, list[str]] = {}
    for run_id, fold in zip(done["run_id"], done["fold"], strict=True):
        if words := unsound_of(results, str(run_id), int(fold)):
            found.setdefault(words, []).append(str(run_id))
    return [f"NOT SOUND: {counted(len(ids), 'run')} ({_some(ids)}): {words}." for words, ids in found.items()]


def _some(ids: list[str]) -> str:
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return f"{', '.join(ids[:NAMED])}{more}"


def splits_path(folder: RunFolder, written: str) -> Path:
    """Where the run's folds lie: as it says, or, for a run of another machine, among the results it is in."""
    path = Path(written)
    here = folder.path.parents[1] / "splits" / path.parent.name / path.name
    return here if written and not exists(path, as_file=True) and exists(here, as_file=True) else path
