"""What a data set is like: cases, patients, grids, lesions, values; for a person who looks at it for the first time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmark.data.findings import THE_DATA_SET, Finding
from benchmark.data.images import Volume
from benchmark.data.lesions import components
from benchmark.data.patients import UNKNOWN, alike_patients, patients_words, shared_beginnings
from benchmark.data.prepare import ras_spacing
from benchmark.vocabulary import Case, DatasetSpec, Spacing
from benchmark.words import counted

_UNUSUAL = 2.0
"""Times the median, or a part of it: a voxel edge."""
Values = tuple[float, float, float, float, float]
"""Minimum, 1st, 50th and 99th percentile, maximum."""


@dataclass(frozen=True)
class CaseFacts:
    """`spacing_mm` along right, anterior and superior. Of a case whose voxels were not read, lesions and values are not
    known."""

    case_id: str
    patient: str
    shape: tuple[int, ...]
    spacing_mm: Spacing
    lesion_ml: float | None = None
    n_lesions: int | None = None
    values: Mapping[str, Values] = field(default_factory=dict)


def facts_of(
    case: Case,
    volume: Volume,
    *,
    label: np.ndarray | None = None,
    spec: DatasetSpec | None = None,
    values: Mapping[str, Values] | None = None,
) -> CaseFacts | None:
    """Of a case by one of its files and, where they were read, its label and the values of its images."""
    if len(volume.shape) < 3 or not volume.is_placed:
        return None
    lesion_ml, n_lesions = None, None
    if label is not None and label.ndim == 3:
        ignore = spec.ignore if spec else None
        lesion = (label != 0) & (label != ignore) if ignore is not None else label != 0
        lesion_ml = float(np.count_nonzero(lesion)) * volume.voxel_ml
        n_lesions = components(lesion, lesion).n
    shape = tuple(volume.shape[:3])
    return CaseFacts(
        case.case_id, case.patient, shape, ras_spacing(volume.affine), lesion_ml, n_lesions, values or {}
    )


def summary(cases: Sequence[Case], facts: Sequence[CaseFacts], spec: DatasetSpec) -> str:
    """Some lines about a data set: how many cases, of whom, on what grids, with what lesions and values."""
    lines = [f"{spec.name}: {patients_words(cases)}"]
    if facts:
        shapes = np.array([fact.shape for fact in facts])
        spacings = np.array([fact.spacing_mm for fact in facts])
        lines.append(f"  voxels   {_ranges(spacings, '{:.3g}')} mm (right, anterior, superior)")
        lines.append(f"  shapes   {_ranges(shapes, '{:.0f}')} as stored")
    read = [fact for fact in facts if fact.lesion_ml is not None]
    if read:
        volumes = np.array([fact.lesion_ml for fact in read if fact.lesion_ml])
        free = len(read) - len(volumes)
        lesions = sum(fact.n_lesions or 0 for fact in read)
        of = (
            f", {_range(volumes, '{:.3g}')} ml a case (median {np.median(volumes):.3g})"
            if len(volumes)
            else ""
        )
        lines.append(
            f"  lesions  {counted(lesions, 'component')} in {counted(len(volumes), 'case')}{of}; {free} without"
        )
    for modality in spec.modalities:
        rows = np.array([fact.values[modality] for fact in facts if modality in fact.values])
        if len(rows):
            _, p1, median, p99, _ = np.median(rows, axis=0)
            lines.append(
                f"  {modality:<8} {p1:.4g} to {p99:.4g} (1st and 99th percentile), median {median:.4g}; medians over "
                f"the cases, whose extremes are {rows[:, 0].min():.4g} and {rows[:, 4].max():.4g}"
            )
    return "\n".join(lines)


def _ranges(rows: np.ndarray, form: str) -> str:
    return " x ".join(_range(column, form) for column in rows.T)


def _range(values: np.ndarray, form: str) -> str:
    low, high = form.format(values.min()), form.format(values.max())
    return low if low == high else f"{low}-{high}"


def dataset_findings(cases: Sequence[Case], facts: Sequence[CaseFacts]) -> list[Finding]:
    """What is odd about the whole: patients that are guessed and look wrong, no lesion anywhere, unlike grids."""
    return [*patient_findings(cases), *_no_lesion(facts), *_unlike_grids(facts)]


def patient_findings(cases: Sequence[Case]) -> list[Finding]:
    """Where several cases may be one patient's without anything saying so."""
    found = []
    own = {case.name or case.case_id: case for case in cases if case.patient_rule == UNKNOWN}
    if groups := shared_beginnings(own):
        examples = [f"{' and '.join(names[:3])} ({start!r})" for start, names in list(groups.items())[:2]]
        found.append(
            Finding(
                THE_DATA_SET,
                f"{len(own)} of {counted(len(cases), 'case')} count as patients of their own, but names share "
                f"beginnings as studies of one patient do: {'; '.join(examples)}",
                'If they are, say so in the block "mirror_bench" of dataset.json, or training sees what is tested: '
                '"patients": {"<case>": "<patient>", ...} or a pattern whose first group is the patient, "(.+)_[^_]+". '
                'If they are not, "(.+)" says that.',
                severity="warning",
            )
        )
    found += [
        Finding(
            THE_DATA_SET,
            f"the patients {' and '.join(map(repr, names))} differ in case or white space alone",
            "Give them one name if they are one; else training sees what is tested.",
            severity="warning",
        )
        for names in alike_patients(case.patient for case in cases)
    ]
    return found


def _no_lesion(facts: Sequence[CaseFacts]) -> list[Finding]:
    known = [fact.lesion_ml for fact in facts if fact.lesion_ml is not None]
    if not known or any(known):
        return []
    problem = f"no case has a labelled voxel ({counted(len(known), 'case')})"
    return [
        Finding(THE_DATA_SET, problem, "Nothing can be learned or scored. See that these are the labels.")
    ]


def _unlike_grids(facts: Sequence[CaseFacts]) -> list[Finding]:
    if len(facts) < 3:
        return []
    middle = np.median([fact.spacing_mm for fact in facts], axis=0)
    unlike = []
    for fact in facts:
        ratio = np.array(fact.spacing_mm) / middle
        if ratio.max() > _UNUSUAL or ratio.min() < 1 / _UNUSUAL:
            unlike.append(f"{fact.case_id} ({' x '.join(f'{edge:.3g}' for edge in fact.spacing_mm)} mm)")
    if not unlike:
        return []
    more = f" and {len(unlike) - 3} more" if len(unlike) > 3 else ""
    usual = " x ".join(f"{edge:.3g}" for edge in middle)
    problem = f"voxels unlike the others' ({usual} mm in the median): {', '.join(unlike[:3])}{more}"
    return [Finding(THE_DATA_SET, problem, "See that their headers are right.", severity="warning")]
