"""What own runs are an experiment on: which data, which folds, which recipe; as far as the results say.

    experiment_of(results, manifest)   the facts of a launch's finished runs

Names decide nothing: a reader, or a folder, may have the name of a data set without holding it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.config import flat
from benchmark.data.splits import Splits, read_stored_splits
from benchmark.data.store import Store
from benchmark.results.manifests import GridManifest
from benchmark.results.runs import RunFolder
from benchmark.vocabulary import BenchError
from reports.evidence.unsound import splits_path
from reports.ground.remembering import remembered
from reports.ground.runs import config_of, current_runs, places_of, seen

PHANTOMS = ("phantom", "brain_phantom")
"""The readers of data that the suite writes itself; a converted copy keeps the name."""
BANNER = "Phantoms: scores are not results"


@dataclass(frozen=True)
class Folds:
    """How the cases were divided: of the `n_cases` of all parts the test part of each fold, in cases."""

    n_cases: int
    test_cases: tuple[int, ...]


@dataclass(frozen=True)
class Cases:
    """The data set that scores are computed on, counted."""

    modalities: tuple[str, ...]
    n_cases: int
    n_patients: int
    n_with_lesions: int


@dataclass(frozen=True)
class Experiment:
    """The facts of a launch. `folds` and `cases` None: the results do not hold them; `settings` are those of every
    finished run, with one key a setting, by run."""

    dataset: str
    phantoms: bool
    folds: Folds | None
    cases: Cases | None
    settings: Mapping[str, Mapping[str, Any]]


def experiment_of(results: Path, manifest: GridManifest) -> Experiment:
    """What is known of the finished runs of a launch; what cannot be read is not known."""
    return remembered(("experiment", results, manifest.name), lambda: _experiment_of(results, manifest))


def _experiment_of(results: Path, manifest: GridManifest) -> Experiment:
    settings: dict[str, Mapping[str, Any]] = {}
    splits: dict[Path, Splits | None] = {}
    stores: dict[Path, Cases | None] = {}
    tested: set[tuple[Path, int]] = set()
    for run_id, fold in dict.fromkeys((run.run_id, run.fold) for run in current_runs(manifest)):
        folder = RunFolder(results, run_id)
        if seen(results, run_id).state != "done":
            continue
        settings[run_id] = {}
        with suppress(BenchError, OSError):
            settings[run_id] = flat(config_of(results, run_id))
        with suppress(BenchError):
            places = places_of(results, run_id)
            path = splits_path(folder, str(places.splits))
            tested.add((path, fold))
            if path not in splits:
                splits[path] = _splits(path)
            if places.scored_on not in stores:
                stores[places.scored_on] = _cases(places.scored_on, results)
    return Experiment(
        dataset=manifest.dataset,
        phantoms=is_of_phantoms(manifest, (str(own.get("dataset", "")) for own in settings.values())),
        folds=_folds(splits, tested),
        cases=next(iter(stores.values())) if len(stores) == 1 else None,
        settings=settings,
    )


def is_of_phantoms(manifest: GridManifest, readers: Iterable[str] = ()) -> bool:
    """Whether a launch is on the suite's own phantoms, by the name of its data or by its runs' readers."""
    return bool({manifest.dataset, manifest.reader, *readers} & set(PHANTOMS))


def banner_of(results: Path, manifest: GridManifest) -> str:
    """What stands above all that is shown of a launch; empty for data of patients."""
    return BANNER if is_of_phantoms(manifest, _first_reader(results, manifest)) else ""


def banner_of_run(run_id: str, listed: Iterable[GridManifest], *, reader: str) -> str:
    """The same of a single run, by the launches that have it and by what read its data."""
    launches = [one for one in listed if any(cell.run_id == run_id for cell in one.cells)]
    return BANNER if reader in PHANTOMS or any(map(is_of_phantoms, launches)) else ""


def _first_reader(results: Path, manifest: GridManifest) -> list[str]:
    """What read the data, by the first configuration that can be read; of a launch that does not say it itself."""
    for run in manifest.cells if not manifest.reader else ():
        with suppress(BenchError, OSError):
            return [str(config_of(results, run.run_id).get("dataset", ""))]
    return []


def _splits(path: Path) -> Splits | None:
    with suppress(BenchError, OSError):
        return read_stored_splits(path)
    return None


def _folds(splits: Mapping[Path, Splits | None], tested: Iterable[tuple[Path, int]]) -> Folds | None:
    """Of runs that share one file of folds; None where they do not, or it is not here."""
    if len(splits) != 1 or (only := next(iter(splits.values()))) is None:
        return None
    cases = {case for fold in only.folds for part in fold.parts().values() for case in part}
    sizes = [len(only.folds[fold].test) for _, fold in sorted(tested) if fold < len(only.folds)]
    return Folds(len(cases), tuple(sizes))


def _cases(store: Path, results: Path) -> Cases | None:
    """A store counted; only one of these results is looked at."""
    # A link that leads to itself is a RuntimeError.
    with suppress(BenchError, OSError, KeyError, TypeError, ValueError, RuntimeError):
        if not store.resolve().is_relative_to(results.resolve()):
            return None
        found = Store(store)
        labelled = [case for case in found.cases.values() if case.is_labelled]
        return Cases(
            modalities=tuple(map(str, found.identity["modalities"])),
            n_cases=len(labelled),
            n_patients=len({case.patient for case in labelled}),
            n_with_lesions=sum(case.has_lesion for case in labelled),
        )
    return None
