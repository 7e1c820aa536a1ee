"""How far a threshold on the PET gets on the phantoms of a profile: `python -m tests.phantom_thresholds [demo]`.

The numbers stand in docs/phantoms.md. Thresholds see SUV on the phantoms' own grid. One is the best of the fold's
training cases, one the best band between two, for organs that are hotter than lesions; the others are usual ones:
SUV 4, and 41 % of the volume's largest SUV.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from benchmark.data.phantoms.pet_ct import write_phantoms
from benchmark.data.splits import stored_splits
from benchmark.data.store import Store
from benchmark.datasets.pipeline import ready_data
from benchmark.datasets.registry import dataset
from benchmark.planning.grid import load_profile
from benchmark.scoring.metrics import dice

Volumes = tuple[np.ndarray, np.ndarray]
"""SUV and label of a case."""


def mean_dice(cases: Sequence[Volumes], segment: Callable[[np.ndarray], np.ndarray]) -> float:
    """Over the cases with a lesion."""
    return float(np.nanmean([dice(segment(suv), label) for suv, label in cases]))


def best_threshold(cases: Sequence[Volumes]) -> float:
    """The SUV, in steps of a half, above which everything a lesion scores best."""
    return float(max(np.arange(1, 30, 0.5), key=lambda t: mean_dice(cases, lambda suv: suv > t)))


def best_band(cases: Sequence[Volumes]) -> tuple[float, float]:
    """The two SUV, in steps of one and two, between which everything a lesion scores best."""
    bands = ((low, high) for low in np.arange(1.0, 15) for high in np.arange(low + 2, 40, 2))
    return max(bands, key=lambda b: mean_dice(cases, lambda suv: (suv > b[0]) & (suv < b[1])))


def thresholds(train: Sequence[Volumes], test: Sequence[Volumes]) -> dict[str, float]:
    """Mean Dice of every rule over the test cases."""
    best, (low, high) = best_threshold(train), best_band(train)
    return {
        f"SUV above {best:g}, the best in training": mean_dice(test, lambda suv: suv > best),
        f"SUV between {low:g} and {high:g}, the best in training": mean_dice(
            test, lambda suv: (suv > low) & (suv < high)
        ),
        "SUV above 4": mean_dice(test, lambda suv: suv > 4),
        "above 41 % of the largest SUV": mean_dice(test, lambda suv: suv > 0.41 * suv.max()),
    }


def parts(profile: str, folder: Path) -> dict[str, list[Volumes]]:
    """The cases of fold 0's parts, on the profile's phantoms, written to `folder`."""
    size = load_profile(profile)
    wanted = size.phantoms["phantom"]
    spacing = wanted.spacing_mm or (2.04, 2.04, 3.0)
    root, reader = folder / "phantoms", dataset("phantom")
    write_phantoms(root, cases=wanted.cases, seed=wanted.seed, spacing_mm=spacing, jobs=2, **wanted.unusual)
    ready = ready_data(
        "phantom",
        root,
        results=folder,
        preparation=reader.spec_of(root).preparation_at(spacing),
        n_folds=size.n_folds,
    )
    summaries = [case.summary for case in Store(ready.store).cases.values()]
    cases = {case.case_id: case for case in reader.discover(root)}
    fold = stored_splits(ready.splits, summaries).folds[0]
    return {name: [_volumes(cases[one]) for one in ids] for name, ids in fold.parts().items()}


def _volumes(case) -> Volumes:  # type: ignore[no-untyped-def]
    suv, label = case.images["PET"], case.label
    return np.asarray(nib.load(suv).dataobj), np.asarray(nib.load(label).dataobj) > 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        of_part = parts(*(sys.argv[1:] or ["demo"]), Path(folder))
    with_lesion = sum(bool(label.any()) for _, label in of_part["test"])
    print(f"{len(of_part['test'])} test cases, {with_lesion} with lesions")
    for rule, value in thresholds(of_part["train"], of_part["test"]).items():
        print(f"{rule}: Dice {100 * value:.1f} %")
