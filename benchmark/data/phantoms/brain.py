"""Brain phantoms: synthetic MRI of gliomas as NIfTI files in the layout of the decathlon's BrainTumour.

    <out>/dataset.json                    as the decathlon's; written last
    <out>/imagesTr/BRATS_001.nii.gz       FLAIR, T1w, T1Gd and T2w along the fourth axis, zero outside the brain
    <out>/labelsTr/BRATS_001.nii.gz       1 oedema, 2 non-enhancing and 3 enhancing tumour
    <out>/imagesTs/BRATS_T001.nii.gz      without label; one for every ten labelled ones begun
    <out>/phantom.json                    the parameters; written first

Every patient has a glioma, one in six of low grade. Case k depends on the seed and k only, so more can be added to a
folder later. What is modelled, and from which sources: docs/phantoms.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.phantoms.brain_patient import draw_patient
from benchmark.data.phantoms.brain_scan import scan
from benchmark.data.phantoms.writing import all_written, checked_parameters, claimed, write_nifti
from benchmark.files.writing import write_json
from benchmark.vocabulary import DataError, Spacing

DEFAULT_SPACING_MM: Spacing = (1.0, 1.0, 1.0)
KIND = "brain"
GENERATION = 1
"""Raised whenever the same seed would give other images."""
_UNLABELLED_FROM = 1_000_000
"""Patients from this number on are those without labels."""


@dataclass(frozen=True)
class Examination:
    """One planned case: whose, of which grade, and its files relative to the folder. `label` None: without."""

    patient: int
    low_grade: bool
    image: str
    label: str | None


def write_brain_phantoms(
    out: Path,
    *,
    cases: int,
    seed: int,
    spacing_mm: Spacing = DEFAULT_SPACING_MM,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write `cases` labelled cases, and a tenth as many without label; what an earlier start finished is kept.

    `progress(done, all)` counts both. The same seed gives the same bytes, for any `jobs`. A case is 0.8 GB of work
    memory and some three seconds at 1 mm, a quarter of a second at 4 mm.

    Raises BenchError when `out` holds something else, phantoms of other parameters, or more cases.
    """
    out = Path(out)
    parameters = checked_parameters(
        generation=GENERATION,
        cases=cases,
        seed=seed,
        spacing_mm=spacing_mm,
        jobs=jobs,
        between_mm=(0.5, 12.0),
        grid="grid for a brain",
    )
    with claimed(out, {"kind": KIND, **parameters}):
        planned = plan(cases, seed=seed)
        missing = [case for case in planned if not _is_complete(out, case)]
        done = len(planned) - len(missing)
        if progress:
            progress(done, len(planned))
        for _ in all_written(missing, partial(_write, out, seed=seed, spacing_mm=spacing_mm), jobs=jobs):
            done += 1
            if progress:
                progress(done, len(planned))
        write_json(out / "dataset.json", dataset_json(planned))


def plan(cases: int, *, seed: int) -> list[Examination]:
    """The labelled cases, then those without labels. Of six neighbours one has a glioma of low grade, by lot."""
    labelled = [
        Examination(
            patient=number,
            low_grade=_is_low_grade(seed, number),
            image=f"imagesTr/BRATS_{number + 1:03d}.nii.gz",
            label=f"labelsTr/BRATS_{number + 1:03d}.nii.gz",
        )
        for number in range(cases)
    ]
    others = [
        Examination(
            patient=_UNLABELLED_FROM + number,
            low_grade=_is_low_grade(seed, _UNLABELLED_FROM + number),
            image=f"imagesTs/BRATS_T{number + 1:03d}.nii.gz",
            label=None,
        )
        for number in range(-(-cases // 10))
    ]
    return labelled + others


def _is_low_grade(seed: int, patient: int) -> bool:
    return bool(np.random.default_rng([seed, patient // 6, 2000]).integers(6) == patient % 6)


def _is_complete(out: Path, case: Examination) -> bool:
    return (out / case.image).is_file() and (case.label is None or (out / case.label).is_file())


def _write(out: Path, case: Examination, *, seed: int, spacing_mm: Spacing) -> None:
    for path in (out / name for name in (case.image, case.label) if name):
        for leftover in path.parent.glob(f".{path.name}.*.tmp"):
            leftover.unlink(missing_ok=True)
    patient = draw_patient(seed, case.patient, low_grade=case.low_grade)
    volumes = scan(patient, spacing_mm=spacing_mm)
    expected = [0, 1, 2] if case.low_grade else [0, 1, 2, 3]
    if np.unique(volumes.label).tolist() != expected:
        raise DataError(f"{case.image}: the labels contradict the plan. This is a fault of the generator.")
    write_nifti(out / case.image, volumes.image, volumes.affine)
    if case.label is not None:
        write_nifti(out / case.label, volumes.label, volumes.affine)


def dataset_json(planned: list[Examination]) -> dict[str, Any]:
    """The decathlon's description of a data set, in its spelling."""
    labelled = [case for case in planned if case.label is not None]
    others = [case for case in planned if case.label is None]
    return {
        "name": "BRATS phantoms",
        "description": "Synthetic gliomas in synthetic brains; no patients",
        "reference": "docs/phantoms.md",
        "licence": "Apache-2.0",
        "release": f"generation {GENERATION}",
        "tensorImageSize": "4D",
        "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
        "labels": {
            "0": "background",
            "1": "edema",
            "2": "non-enhancing tumor",
            "3": "enhancing tumour",
        },
        "numTraining": len(labelled),
        "numTest": len(others),
        "training": [{"image": f"./{case.image}", "label": f"./{case.label}"} for case in labelled],
        "test": [f"./{case.image}" for case in others],
    }
