"""Faults in a data set's files: all of them at once, each with the case, what is wrong and what to do.

The cheap check opens headers only (a few ms a case); the thorough one reads every voxel as well. What cannot
be told: PET in kBq/ml, whose numbers look like SUV; and a CT that lies a few millimetres off its PET although
both headers agree. (Shifting one over the other for the best normalised mutual information, or for the best
correlation of the body's outline with uptake, was tried on 51 real cases of which one has a CT 7 mm off: both
move a dozen sound cases further, or with more gain, than that one.)
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nibabel.imageglobals import LoggingOutputSuppressor

from benchmark.data.nifti import CONVERT, UnreadableError, Volume, open_volume, read_voxels, shape_text
from benchmark.vocabulary import Case, DatasetSpec

AFFINE_TOLERANCE = 0.25
"""Of the smallest voxel edge, at the volume's corners. Rounded headers differ by less, and a mix-up of voxel
centres and corners, the smallest fault that matters, by half an edge."""
VOXEL_EDGE_MM = (0.1, 20.0)
"""Outside these bounds the header's unit is not mm."""
SUV_P99_LIMIT = 500.0
"""SUV is about 1 on average over a body, and below 20 in 99 % of the voxels even in crops around a tumour;
that percentile is above 10,000 in Bq/ml. Not the maximum: tracer in a bladder may exceed SUV 1000."""
SUV_NEGATIVE = (-0.1, 0.01)
"""Value and share of the voxels below it. Interpolation undershoots around hot spots, in few voxels."""
HU_AIR_OR_FAT = -50.0
"""Any part of a body shows air (-1000 HU) or fat (-100 HU); unsigned and rescaled values are never so low."""
HU_TISSUE = (-200.0, 200.0, 0.01)
"""Bounds of fat, muscle and organs, and the least share of voxels within: some 0.08 in a whole-body scan, 0.2
to 0.8 in crops. Values with a wrong offset, and a CT resampled to where it has no slices, have hardly any."""
HU_LIMIT = 40_000.0
"""Beyond what 16 bits hold, with metal or without."""
_SAMPLE = 1_000_000
"""Voxels for the shares and percentiles above, at equal distances."""
_HASHED_AT_ONCE = 1 << 22

Progress = Callable[[int, int], None]
_Report = Callable[[str, str, Iterable[str]], None]
"""Problem, remedy, and the roles of the files concerned."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with one case, in plain words."""

    case_id: str
    problem: str
    remedy: str
    files: tuple[Path, ...]


def check_cases(
    cases: Sequence[Case],
    spec: DatasetSpec,
    *,
    thorough: bool,
    jobs: int = 1,
    progress: Progress | None = None,
) -> list[Fault]:
    """All faults of all cases, in the order of `cases`.

    Cheap: missing, empty and truncated files, headers that are no NIfTI, shapes, affines, voxel sizes, the
    type of the label. `thorough` adds checksums, NaN and infinity, label values, PET that is no SUV, CT that
    is no HU, metadata that contradict the label, and the same image under two patients. It takes some seconds
    and, per job, a gigabyte for a whole-body case. `jobs` threads; `progress` is told (cases done, cases).
    """

    def checked(case: Case) -> tuple[list[Fault], dict[str, str]]:
        return _check_case(case, spec, thorough=thorough)

    faults: list[Fault] = []
    hashes: dict[tuple[str, str], list[Case]] = defaultdict(list)
    # nibabel prints what it repairs in damaged headers, in the middle of a progress bar.
    with LoggingOutputSuppressor(), ThreadPoolExecutor(max_workers=jobs) as pool:
        try:
            for done, (case, (found, content)) in enumerate(
                zip(cases, pool.map(checked, cases), strict=True), 1
            ):
                faults += found
                for modality, digest in content.items():
                    hashes[modality, digest].append(case)
                if progress is not None:
                    progress(done, len(cases))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    faults += _same_images(hashes)
    order = {case.case_id: number for number, case in enumerate(cases)}
    return sorted(faults, key=lambda fault: order[fault.case_id])


def report_faults(faults: Sequence[Fault], *, cases: int | None = None) -> str:
    """The faults as text for a person, grouped by case; `cases` is how many were checked."""
    of = "" if cases is None else f" of {cases}"
    if not faults:
        return "No faults found." if cases is None else f"No faults found in {_count(cases, 'case')}."
    grouped: dict[str, list[Fault]] = defaultdict(list)
    for fault in faults:
        grouped[fault.case_id].append(fault)
    lines = [f"{_count(len(faults), 'fault')} in {len(grouped)}{of} case{'s' if len(grouped) != 1 else ''}"]
    for case_id, own in grouped.items():
        lines += ["", case_id]
        for fault in own:
            lines += [f"  fault   {fault.problem}", f"  remedy  {fault.remedy}"]
            lines += [
                f"  {'file' if number == 0 else '    '}    {path}" for number, path in enumerate(fault.files)
            ]
    return "\n".join(lines)


def faults_json(faults: Iterable[Fault]) -> str:
    """The faults for scripts: a list of objects with `case_id`, `problem`, `remedy` and `files`."""
    rows = [
        {
            "case_id": f.case_id,
            "problem": f.problem,
            "remedy": f.remedy,
            "files": [str(path) for path in f.files],
        }
        for f in faults
    ]
    return json.dumps(rows, indent=1)


def _check_case(case: Case, spec: DatasetSpec, *, thorough: bool) -> tuple[list[Fault], dict[str, str]]:
    """The case's faults, and hashes of its images by modality."""
    faults: list[Fault] = []
    images: dict[str, Volume] = {}

    def report(problem: str, remedy: str, roles: Iterable[str]) -> None:
        faults.append(Fault(case.case_id, problem, remedy, tuple(case.files[role] for role in roles)))

    for role, path in case.files.items():
        try:
            images[role] = open_volume(path)
        except UnreadableError as error:
            report(error.problem, error.remedy, [role])
    _check_geometry(images, report)
    if "label" in images:
        _check_label_type(images["label"], report)
    hashes: dict[str, str] = {}
    for role, image in images.items() if thorough else ():
        try:
            voxels = read_voxels(image)
        except UnreadableError as error:
            report(error.problem, error.remedy, [role])
            continue
        except MemoryError:
            report(f"{image.path.name} does not fit into memory", "Check with fewer jobs at a time.", [role])
            continue
        if role == "label":
            _check_label(voxels, image, case, spec, report)
        else:
            hashes[role] = _content_hash(voxels)
            _check_values(voxels, role, report)
    if len(hashes) > len(set(hashes.values())):
        report(
            "the modalities are copies of one image", "Put each modality into its own file.", sorted(hashes)
        )
        hashes = {}
    return faults, hashes


def _check_geometry(images: Mapping[str, Volume], report: _Report) -> None:
    for role, image in images.items():
        if len(image.shape) != 3:
            report(f"{image.path.name} is not a volume: its shape is {shape_text(image)}", CONVERT, [role])
    if len({image.shape for image in images.values()}) > 1:
        shapes = ", ".join(f"{role} {shape_text(image)}" for role, image in images.items())
        report(f"the shapes differ: {shapes}", "Resample all images to the grid of the PET.", images)
    volumes = {role: image for role, image in images.items() if len(image.shape) == 3}
    placed = {}
    for role, image in volumes.items():
        edges = np.linalg.norm(image.affine[:3, :3], axis=0)
        if not np.isfinite(image.affine).all() or abs(np.linalg.det(image.affine[:3, :3])) < 1e-9:
            report(f"{image.path.name} has no usable affine", CONVERT, [role])
        elif edges.min() < VOXEL_EDGE_MM[0] or edges.max() > VOXEL_EDGE_MM[1]:
            size = " x ".join(f"{edge:.3g}" for edge in edges)
            report(
                f"{image.path.name} has voxels of {size} mm", "Correct the header: its unit is mm.", [role]
            )
        else:
            placed[role] = image
    for (one, first), (other, second) in itertools.combinations(placed.items(), 2):
        apart = _corners_apart_mm(first, second)
        edge = np.linalg.norm(first.affine[:3, :3], axis=0).min()
        if first.shape == second.shape and apart > AFFINE_TOLERANCE * edge:
            report(
                f"the affines differ: {one} and {other} lie up to {apart:.1f} mm apart",
                "Resample both to one grid, or copy the affine if only the header is wrong.",
                [one, other],
            )


def _corners_apart_mm(first: Volume, second: Volume) -> float:
    corners = np.array(list(itertools.product(*((0, length - 1) for length in first.shape), (1,))), float)
    difference = corners @ (first.affine - second.affine).T
    return float(np.linalg.norm(difference[:, :3], axis=1).max())


def _check_label_type(image: Volume, report: _Report) -> None:
    if image.dtype.kind == "f" or image.is_scaled:
        how = f"as {image.dtype}" if image.dtype.kind == "f" else "with a scale factor"
        report(
            f"the label is stored {how}", "Store it as 8-bit integers, after rounding to 0 and 1.", ["label"]
        )


def _check_label(voxels: np.ndarray, image: Volume, case: Case, spec: DatasetSpec, report: _Report) -> None:
    allowed = sorted({0, *spec.labels.values()})
    if voxels.size and (voxels.min() < 0 or voxels.max() > max(allowed) or voxels.dtype.kind == "f"):
        other = [value for value in np.unique(voxels).tolist() if value not in allowed]
        if other:
            some = ", ".join(f"{value:g}" for value in other[:5]) + (", ..." if len(other) > 5 else "")
            report(
                f"the label has the values {some}, not only {' and '.join(map(str, allowed))}",
                "Map the labels to these values; if it is a probability, cut it at one half.",
                ["label"],
            )
    lesion_ml = np.count_nonzero(voxels) * image.voxel_ml
    diagnosis = case.metadata.get("diagnosis", "a lesion" if case.has_lesion else "no lesion")
    if case.has_lesion is False and lesion_ml > 0:
        report(
            f"the metadata say {diagnosis}, but the label marks {lesion_ml:.2f} ml",
            "Correct the row in the CSV or the label.",
            ["label"],
        )
    if case.has_lesion is True and lesion_ml == 0:
        report(
            f"the metadata say {diagnosis}, but the label is empty",
            "Correct the row in the CSV (NEGATIVE for a study without lesion) or the label.",
            ["label"],
        )


def _check_values(voxels: np.ndarray, modality: str, report: _Report) -> None:
    broken = voxels.size - int(np.count_nonzero(np.isfinite(voxels))) if voxels.dtype.kind == "f" else 0
    if broken:
        share = f"{broken:,} of {voxels.size:,} voxels"
        report(f"{modality} is NaN or infinite in {share}", "Convert the image again.", [modality])
    flat = voxels.reshape(-1, order="F")
    sample = flat[:: max(1, flat.size // _SAMPLE)].astype(np.float64)
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return
    # NaN and infinity, reported above, must not hide the rest.
    finite = flat[np.isfinite(flat)] if broken else flat
    low, high = float(finite.min()), float(finite.max())
    if modality == "PET":
        _check_suv(sample, high, report)
    if modality == "CT":
        _check_hu(sample, low, high, report)


def _check_suv(sample: np.ndarray, high: float, report: _Report) -> None:
    typical = float(np.percentile(sample, 99))
    negative = float(np.mean(sample < SUV_NEGATIVE[0]))
    if typical > SUV_P99_LIMIT:
        report(
            f"PET cannot be SUV: 1 % of the voxels are above {typical:,.0f}, which looks like Bq/ml",
            "Convert it to SUV: multiply by body weight in g and divide by the decay-corrected dose in Bq.",
            ["PET"],
        )
    if high <= 1:
        report(
            f"PET cannot be SUV: no voxel is above 1 (the highest is {high:.3g}); it seems to be rescaled",
            "Use the image in SUV, before any scaling.",
            ["PET"],
        )
    if negative > SUV_NEGATIVE[1]:
        report(
            f"PET cannot be SUV: {negative:.0%} of the voxels are negative",
            "Use the image in SUV; see that the files of CT and PET are not exchanged.",
            ["PET"],
        )


def _check_hu(sample: np.ndarray, low: float, high: float, report: _Report) -> None:
    tissue = float(np.mean((sample >= HU_TISSUE[0]) & (sample <= HU_TISSUE[1])))
    if low > HU_AIR_OR_FAT:
        report(
            f"CT cannot be in HU: no voxel is below {low:.3g}, where air is -1000 and fat -100",
            "Apply the slope and intercept of the DICOM files; see that CT and PET are not exchanged.",
            ["CT"],
        )
    elif max(-low, high) > HU_LIMIT:
        report(f"CT cannot be in HU: it reaches from {low:.3g} to {high:.3g}", "Convert it again.", ["CT"])
    elif tissue < HU_TISSUE[2]:
        report(
            f"CT cannot be in HU: only {tissue:.1%} of the voxels lie between {HU_TISSUE[0]:g} and "
            f"{HU_TISSUE[1]:g}, where all soft tissue is",
            "Apply slope and intercept of the DICOM files once; see that the CT was resampled to this PET.",
            ["CT"],
        )


def _content_hash(voxels: np.ndarray) -> str:
    """Of shape and values, whatever the type, compression and header they are stored with."""
    digest = hashlib.blake2b(repr(voxels.shape).encode(), digest_size=16)
    flat = voxels.reshape(-1, order="F")
    for start in range(0, flat.size, _HASHED_AT_ONCE):
        # Adding zero makes -0.0 and 0.0 equal.
        digest.update((flat[start : start + _HASHED_AT_ONCE].astype("<f4") + 0.0).tobytes())
    return digest.hexdigest()


def _same_images(hashes: Mapping[tuple[str, str], Sequence[Case]]) -> list[Fault]:
    faults = []
    for (modality, _), cases in hashes.items():
        if len({case.patient for case in cases}) < 2:
            continue
        for case in cases:
            others = [other for other in cases if other.patient != case.patient]
            names = ", ".join(f"{other.case_id} (patient {other.patient})" for other in others)
            faults.append(
                Fault(
                    case.case_id,
                    f"the {modality} image is the same as that of {names}",
                    "Remove the copy, or give the cases one patient; else training may see what is tested.",
                    (case.images[modality], *(other.images[modality] for other in others)),
                )
            )
    return faults


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
