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

from benchmark.data.check_values import Report, check_values
from benchmark.data.nifti import (
    CONVERT,
    CONVERT_TO_3D,
    UnreadableError,
    Volume,
    open_volume,
    read_voxels,
    shape_text,
)
from benchmark.vocabulary import Case, DatasetSpec
from benchmark.words import counted

AFFINE_TOLERANCE = 0.25
"""Of the smallest voxel edge, at the volume's corners. Rounded headers differ by less, and a mix-up of voxel
centres and corners, the smallest fault that matters, by half an edge."""
VOXEL_EDGE_MM = (0.1, 20.0)
"""Outside these bounds the header's unit is not mm."""
_HASHED_AT_ONCE = 1 << 22

Progress = Callable[[int, int], None]


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

    Cheap: missing, empty and truncated files, headers that are no NIfTI, shapes, affines, voxel sizes, the number of
    modalities in a file with four axes, the type of the label. `thorough` adds checksums, NaN and infinity, label
    values, a modality PET that is no SUV, a CT that is no HU, metadata that contradict the label, and the same image
    under two patients. It takes some seconds and, per job, a gigabyte for a whole-body case. `jobs` threads;
    `progress` is told (cases done, cases).
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
    if not faults:
        return "No faults found." if cases is None else f"No faults found in {counted(cases, 'case')}."
    grouped: dict[str, list[Fault]] = defaultdict(list)
    for fault in faults:
        grouped[fault.case_id].append(fault)
    among = counted(len(grouped), "case") if cases is None else f"{len(grouped)} of {counted(cases, 'case')}"
    lines = [f"{counted(len(faults), 'fault')} in {among}"]
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


@dataclass(frozen=True)
class _File:
    """A file of a case that could be opened, and what it holds: modalities, or the label."""

    roles: tuple[str, ...]
    volume: Volume
    channels: Mapping[str, int]
    """Index along the fourth axis by modality; empty for a file that should have three axes."""

    @property
    def name(self) -> str:
        return "/".join(self.roles)

    @property
    def sound_shape(self) -> bool:
        if not self.channels:
            return len(self.volume.shape) == 3
        return len(self.volume.shape) == 4 and self.volume.shape[3] == 1 + max(self.channels.values())


def _check_case(case: Case, spec: DatasetSpec, *, thorough: bool) -> tuple[list[Fault], dict[str, str]]:
    """The case's faults, and hashes of its images by modality."""
    faults: list[Fault] = []
    files: list[_File] = []

    def report(problem: str, remedy: str, roles: Iterable[str]) -> None:
        paths = dict.fromkeys(case.files[role] for role in roles)
        faults.append(Fault(case.case_id, problem, remedy, tuple(paths)))

    for roles in _roles_by_file(case):
        try:
            volume = open_volume(case.files[roles[0]])
        except UnreadableError as error:
            report(error.problem, error.remedy, roles)
        else:
            channels = {role: case.channels[role] for role in roles if role in case.channels}
            files.append(_File(roles, volume, channels))
    _check_geometry(files, report)
    for file in files:
        if file.roles == ("label",):
            _check_label_type(file.volume, spec, report)
    hashes: dict[str, str] = {}
    for file in files if thorough else ():
        try:
            voxels = read_voxels(file.volume)
        except UnreadableError as error:
            report(error.problem, error.remedy, file.roles)
            continue
        except MemoryError:
            problem = f"{file.volume.path.name} does not fit into memory"
            report(problem, "Check with fewer jobs at a time.", file.roles)
            continue
        if file.roles == ("label",):
            _check_label(voxels, file.volume, case, spec, report)
        elif file.sound_shape or not file.channels:
            for role in file.roles:
                channel = voxels[..., file.channels[role]] if role in file.channels else voxels
                hashes[role] = _content_hash(channel)
                check_values(channel, role, spec, report)
    if alike := sorted(role for role, one in hashes.items() if list(hashes.values()).count(one) > 1):
        remedy = "Put each modality into its own file, or into its own place along the fourth axis."
        report(f"{' and '.join(alike)} are copies of one image", remedy, alike)
        hashes = {role: one for role, one in hashes.items() if role not in alike}
    return faults, hashes


def _roles_by_file(case: Case) -> list[tuple[str, ...]]:
    """Modalities of one file together, if the case says where each lies in it; all else alone."""
    shared: dict[Path, list[str]] = {}
    alone = []
    for role, path in case.files.items():
        if role in case.channels:
            shared.setdefault(path, []).append(role)
        else:
            alone.append((role,))
    return [*map(tuple, shared.values()), *alone]


def _check_geometry(files: Sequence[_File], report: Report) -> None:
    for file in files:
        if not file.sound_shape:
            there = f"its shape is {shape_text(file.volume)}"
            if file.channels:
                n = 1 + max(file.channels.values())
                problem = f"{file.volume.path.name} does not hold {counted(n, 'volume')} along a fourth axis: {there}"
                report(problem, f"Store {', '.join(file.roles)} there, in the data set's order.", file.roles)
            else:
                report(f"{file.volume.path.name} is not a volume: {there}", CONVERT_TO_3D, file.roles)
    if len({_grid(file) for file in files}) > 1:
        shapes = ", ".join(f"{file.name} {shape_text(file.volume)}" for file in files)
        roles = [role for file in files for role in file.roles]
        model = next((name for name in ("PET", "label") if name in roles), roles[0])
        report(f"the shapes differ: {shapes}", f"Resample all images to the grid of the {model}.", roles)
    placed = []
    for file in files:
        if not file.sound_shape:
            continue
        affine = file.volume.affine
        edges = np.linalg.norm(affine[:3, :3], axis=0)
        if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            report(f"{file.volume.path.name} has no usable affine", CONVERT, file.roles)
        elif edges.min() < VOXEL_EDGE_MM[0] or edges.max() > VOXEL_EDGE_MM[1]:
            size = " x ".join(f"{edge:.3g}" for edge in edges)
            problem = f"{file.volume.path.name} has voxels of {size} mm"
            report(problem, "Correct the header: its unit is mm.", file.roles)
        else:
            placed.append(file)
    for one, other in itertools.combinations(placed, 2):
        apart = _corners_apart_mm(one.volume, other.volume)
        edge = np.linalg.norm(one.volume.affine[:3, :3], axis=0).min()
        if _grid(one) == _grid(other) and apart > AFFINE_TOLERANCE * edge:
            report(
                f"the affines differ: {one.name} and {other.name} lie up to {apart:.1f} mm apart",
                "Resample both to one grid, or copy the affine if only the header is wrong.",
                [*one.roles, *other.roles],
            )


def _grid(file: _File) -> tuple[int, ...]:
    """The lengths of the axes, without the fourth where it should be there."""
    return file.volume.shape[:3] if file.channels else file.volume.shape


def _corners_apart_mm(first: Volume, second: Volume) -> float:
    corners = np.array(list(itertools.product(*((0, length - 1) for length in first.shape[:3]), (1,))), float)
    difference = corners @ (first.affine - second.affine).T
    return float(np.linalg.norm(difference[:, :3], axis=1).max())


def _check_label_type(image: Volume, spec: DatasetSpec, report: Report) -> None:
    if image.dtype.kind == "f" or image.is_scaled:
        how = f"as {image.dtype}" if image.dtype.kind == "f" else "with a scale factor"
        remedy = f"Store it as 8-bit integers, after rounding to {_listed(_values_of(spec))}."
        report(f"the label is stored {how}", remedy, ["label"])


def _values_of(spec: DatasetSpec) -> list[int]:
    """What a label's voxels may be."""
    return sorted({0, *spec.labels.values()})


def _listed(values: Sequence[int]) -> str:
    *before, last = map(str, values)
    return f"{', '.join(before)} and {last}"


def _check_label(voxels: np.ndarray, image: Volume, case: Case, spec: DatasetSpec, report: Report) -> None:
    allowed = _values_of(spec)
    gapless = len(allowed) == 1 + max(allowed) and voxels.dtype.kind != "f"
    # Without gaps the extremes tell all, far faster than a list of all values.
    if voxels.size and not (gapless and voxels.min() >= 0 and voxels.max() <= max(allowed)):
        other = [value for value in np.unique(voxels).tolist() if value not in allowed]
        if other:
            some = ", ".join(f"{value:g}" for value in other[:5]) + (", ..." if len(other) > 5 else "")
            cut = "; if it is a probability, cut it at one half" if allowed == [0, 1] else ""
            report(
                f"the label has the values {some}, not only {_listed(allowed)}",
                f"Map the labels to these values{cut}.",
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
