"""Phantoms: synthetic whole-body PET/CT as NIfTI files in AutoPET's TCIA layout.

    <out>/PETCT_<patient>/<study>/{CTres,SUV,SEG}.nii.gz
    <out>/Clinical Metadata FDG PET_CT Lesions.csv     AutoPET's columns, three rows a study (SEG, PT, CT)
    <out>/phantom.json                                 the parameters; written first

Half of the patients are healthy, one in seven has two studies. Study k depends on the seed and k only,
so more cases can be added to a folder later. What is modelled, and from which sources: docs/phantoms.md.
"""

from __future__ import annotations

import csv
import datetime
import hashlib
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.naming import TCIA_FILES
from benchmark.data.phantoms.anatomy import USUAL, Patient, Population, draw_patient
from benchmark.data.phantoms.scanner import Volumes, scan
from benchmark.data.phantoms.writing import all_written, checked_parameters, claimed, write_nifti
from benchmark.files.writing import write_text
from benchmark.vocabulary import DataError, Spacing

DEFAULT_SPACING_MM: Spacing = (2.04, 2.04, 3.0)
"""AutoPET's PET grid, rounded."""
METADATA_FILE = "Clinical Metadata FDG PET_CT Lesions.csv"
GENERATION = 1
"""Raised whenever the same seed would give other images."""
COLUMNS = [
    "Series UID",
    "Collection",
    "3rd Party Analysis",
    "Data Description URI",
    "Subject ID",
    "Study UID",
    "Study Description",
    "Study Date",
    "Series Description",
    "Manufacturer",
    "Modality",
    "SOP Class Name",
    "SOP Class UID",
    "Number of Images",
    "File Size",
    "File Location",
    "Download Timestamp",
    "diagnosis",
    "age",
    "sex",
]
_SERIES = (
    ("SEG", "Segmentation", "Segmentation Storage", "1.2.840.10008.5.1.4.1.1.66.4"),
    ("PT", "PET corr.", "Positron Emission Tomography Image Storage", "1.2.840.10008.5.1.4.1.1.128"),
    ("CT", "GK p.v.3", "CT Image Storage", "1.2.840.10008.5.1.4.1.1.2"),
)


@dataclass(frozen=True)
class Examination:
    """One planned study: whose, which of theirs, and where it is written."""

    patient: int
    number: int
    n_studies: int
    healthy: bool
    folder: str


def write_phantoms(
    out: Path,
    *,
    cases: int,
    seed: int,
    spacing_mm: Spacing = DEFAULT_SPACING_MM,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
    **unusual: Any,
) -> None:
    """Write `cases` studies to `out`; what an earlier start finished is kept. `progress(done, cases)`.

    `unusual`: fields of a `Population`. The same seed gives the same bytes, for any `jobs`. A study is half a
    gigabyte of work memory and seconds at AutoPET's spacing, a fraction of a second at 6 mm.

    Raises BenchError when `out` holds something else, phantoms of other parameters, or more cases.
    """
    out = Path(out)
    parameters = checked_parameters(
        generation=GENERATION,
        cases=cases,
        seed=seed,
        spacing_mm=spacing_mm,
        jobs=jobs,
        between_mm=(0.5, 20.0),
        grid="PET grid",
    )
    population = Population(**unusual)
    with claimed(out, parameters | population.unusual):
        planned = plan(cases, seed=seed, one_healthy_in=population.one_healthy_in)
        missing = [study for study in planned if not _is_complete(out / study.folder)]
        done = len(planned) - len(missing)
        if progress:
            progress(done, cases)
        write_study = partial(_write_study, out, seed=seed, spacing_mm=spacing_mm, population=population)
        for _ in all_written(missing, write_study, jobs=jobs):
            done += 1
            if progress:
                progress(done, cases)
        write_text(
            out / METADATA_FILE,
            metadata_csv(planned, seed=seed, spacing_mm=spacing_mm, population=population),
        )


def plan(cases: int, *, seed: int, one_healthy_in: int = USUAL.one_healthy_in) -> list[Examination]:
    """The first `cases` studies of the endless list that belongs to a seed.

    Of `one_healthy_in` neighbours one is healthy, and of seven patients one is examined twice, by lot: any beginning of
    the list is balanced, and no study depends on how many follow.
    """
    planned: list[Examination] = []
    patient = 0
    while len(planned) < cases:
        block, place = divmod(patient, one_healthy_in)
        healthy = bool(_lot(seed, 1, block, one_healthy_in) == place)
        n_studies = 2 if _lot(seed, 2, patient // 7, 7) == patient % 7 else 1
        name = f"PETCT_{patient:04d}{_digest(seed, patient)[:6]}"
        for number in range(n_studies):
            folder = f"{name}/{_study_folder(seed, patient, number)}"
            planned.append(Examination(patient, number, n_studies, healthy, folder))
        patient += 1
    return planned[:cases]


def _lot(seed: int, purpose: int, block: int, outcomes: int) -> int:
    return int(np.random.default_rng([seed, block, 1000 + purpose]).integers(outcomes))


def _digest(*values: int) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()


def _uid(*values: int) -> str:
    """A DICOM identifier of the branch that is free for all (2.25 and a 128-bit number)."""
    return f"2.25.{int(_digest(*values)[:32], 16)}"


def _study_date(seed: int, patient: int, number: int) -> datetime.date:
    first = datetime.date(2001, 1, 1) + datetime.timedelta(days=int(_digest(seed, patient, 7)[:8], 16) % 1500)
    return first + datetime.timedelta(days=number * (90 + int(_digest(seed, patient, 8)[:8], 16) % 120))


def _study_folder(seed: int, patient: int, number: int) -> str:
    date = _study_date(seed, patient, number).strftime("%m-%d-%Y")
    return f"{date}-NA-PET-CT Ganzkoerper Phantom-{_uid(seed, patient, number)[-5:]}"


def _write_study(
    out: Path, study: Examination, *, seed: int, spacing_mm: Spacing, population: Population
) -> None:
    folder = out / study.folder
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)
    patient = _patient(seed, study, population)
    volumes = scan(patient, patient.studies[study.number], spacing_mm=spacing_mm)
    _check_label(volumes, study, patient)
    files = TCIA_FILES
    write_nifti(folder / files["CT"], volumes.ct, volumes.affine)
    write_nifti(folder / files["PET"], volumes.suv, volumes.affine)
    write_nifti(folder / files["label"], volumes.label, volumes.affine)


def _patient(seed: int, study: Examination, population: Population) -> Patient:
    return draw_patient(
        seed, study.patient, healthy=study.healthy, studies=study.n_studies, population=population
    )


def _check_label(volumes: Volumes, study: Examination, patient: Patient) -> None:
    expected = bool(patient.studies[study.number].lesions)
    if bool(volumes.label.any()) != expected:
        raise DataError(f"{study.folder}: the label contradicts the plan. This is a fault of the generator.")


def _is_complete(folder: Path) -> bool:
    return all((folder / name).is_file() for name in TCIA_FILES.values())


def metadata_csv(
    planned: list[Examination], *, seed: int, spacing_mm: Spacing, population: Population
) -> str:
    """The clinical metadata in AutoPET's form: a row per DICOM series, the study as a part of the path."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for study in planned:
        patient = _patient(seed, study, population)
        date = _study_date(seed, study.patient, study.number)
        low, high = patient.extent
        slices = int(np.ceil((high[2] - low[2]) / spacing_mm[2]))
        lesions = patient.studies[study.number].lesions
        for at, (modality, description, sop_name, sop_uid) in enumerate(_SERIES):
            uid = _uid(seed, study.patient, study.number, at)
            series = f"{3 + 4 * at}.000000-{re.sub('[^A-Za-z0-9 .]', '', description)}-{uid[-5:]}"
            cells = {
                "Series UID": uid,
                "Collection": "Phantom",
                "3rd Party Analysis": "NO",
                "Subject ID": study.folder.split("/")[0],
                "Study UID": _uid(seed, study.patient, study.number),
                "Study Description": "PET-CT Ganzkoerper Phantom",
                "Study Date": f"{date.month}/{date.day}/{date.year}",
                "Series Description": description,
                "Manufacturer": "PHANTOM",
                "Modality": modality,
                "SOP Class Name": sop_name,
                "SOP Class UID": sop_uid,
                "Number of Images": 1 if modality == "SEG" else slices,
                "File Location": f"./Phantom/{study.folder}/{series}",
                "diagnosis": patient.diagnosis if lesions else "NEGATIVE",
                "age": f"{patient.age:03d}Y",
                "sex": patient.sex,
            }
            rows.writerow([cells.get(column, "") for column in COLUMNS])
    return text.getvalue()
