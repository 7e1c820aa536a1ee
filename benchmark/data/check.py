"""Faults in a data set's files: all of them at once, each with the case, what is wrong and what to do.

The cheap check opens headers only (a few ms a case); the thorough one reads every voxel as well (see
`benchmark.data.voxel_checks`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from benchmark.data.facts import CaseFacts, facts_of
from benchmark.data.findings import Finding, Severity
from benchmark.data.images import (
    CONVERT,
    CONVERT_TO_3D,
    UnreadableError,
    Volume,
    open_volume,
    read_voxels,
    same_place,
    shape_text,
)
from benchmark.data.images.grid import corners_apart_mm
from benchmark.data.voxel_checks import Inspection, Inspector, Signature, copies, listed
from benchmark.vocabulary import Case, DatasetSpec
from benchmark.words import counted

VOXEL_EDGE_MM = (0.1, 20.0)
"""Outside these bounds the header's unit is not what it says."""
SHEAR = 0.01
"""Of the volume of a voxel whose edges were perpendicular: how much less it may be."""
FEW_SLICES = 4
"""Fewer along an axis leave a network for volumes little to see."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Checked:
    """All findings, in the order of the cases, and what is known of each case that could be read."""

    findings: list[Finding]
    facts: list[CaseFacts] = field(default_factory=list)


def check_cases(
    cases: Sequence[Case],
    spec: DatasetSpec,
    *,
    thorough: bool,
    jobs: int = 1,
    progress: Progress | None = None,
) -> list[Finding]:
    """The findings of `checked_cases`."""
    return checked_cases(cases, spec, thorough=thorough, jobs=jobs, progress=progress).findings


def checked_cases(
    cases: Sequence[Case],
    spec: DatasetSpec,
    *,
    thorough: bool,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Checked:
    """All findings about all cases, in the order of `cases`.

    Cheap: missing, empty and truncated files, headers that are none or contradict themselves, shapes, affines, voxel
    sizes, the number of modalities in a file with four axes, the type of the label. `thorough` adds checksums, NaN and
    infinity, label values, what values a CT or a PET cannot have, metadata that contradict the label, and one image or
    label in two cases. It takes some seconds and, per job, a gigabyte for a whole-body case. `jobs` threads; `progress`
    is told (cases done, cases).
    """

    def checked(case: Case) -> _CheckedCase:
        return _check_case(case, spec, thorough=thorough)

    findings: list[Finding] = []
    facts: list[CaseFacts] = []
    signatures: dict[tuple[str, str], Signature] = {}
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        try:
            for done, (case, found) in enumerate(zip(cases, pool.map(checked, cases), strict=True), 1):
                findings += found.findings
                facts += [found.facts] if found.facts else []
                signatures |= {(case.case_id, role): s for role, s in found.signatures.items()}
                if progress is not None:
                    progress(done, len(cases))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    findings += copies(signatures, {case.case_id: case for case in cases})
    order = {case.case_id: number for number, case in enumerate(cases)}
    return Checked(sorted(findings, key=lambda finding: order[finding.case_id]), facts)


@dataclass(frozen=True)
class _CheckedCase:
    findings: list[Finding]
    signatures: Mapping[str, Signature]
    facts: CaseFacts | None


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


class _Findings:
    """Those of one case."""

    def __init__(self, case: Case) -> None:
        self.case, self.all = case, list[Finding]()

    def report(self, problem: str, remedy: str, roles: Iterable[str], severity: Severity = "fault") -> None:
        paths = dict.fromkeys(self.case.files[role] for role in roles)
        self.all.append(Finding(self.case.case_id, problem, remedy, tuple(paths), severity))

    def warn(self, problem: str, remedy: str, roles: Iterable[str]) -> None:
        self.report(problem, remedy, roles, "warning")


def _check_case(case: Case, spec: DatasetSpec, *, thorough: bool) -> _CheckedCase:
    found = _Findings(case)
    files: list[_File] = []
    for roles in _roles_by_file(case):
        try:
            volume = open_volume(case.files[roles[0]])
        except UnreadableError as error:
            found.report(error.problem, error.remedy, roles)
        else:
            channels = {role: case.channels[role] for role in roles if role in case.channels}
            files.append(_File(roles, volume, channels))
            for remark in volume.remarks:
                found.warn(remark.problem, remark.remedy, roles)
    _check_geometry(files, found)
    for file in files:
        if file.roles == ("label",):
            _check_label_type(file.volume, spec, found)
    if not thorough:
        return _CheckedCase(found.all, {}, facts_of(case, files[0].volume) if files else None)
    inspection, label = _inspected(files, Inspector(case, spec), found)
    facts = (
        facts_of(case, files[0].volume, label=label, spec=spec, values=inspection.values) if files else None
    )
    return _CheckedCase([*found.all, *inspection.findings], inspection.signatures, facts)


def _inspected(
    files: Sequence[_File], inspector: Inspector, found: _Findings
) -> tuple[Inspection, np.ndarray | None]:
    """What the voxels of all files tell, the label first: the images are held against it; and the label's voxels."""
    label = None
    for file in sorted(files, key=lambda file: file.roles != ("label",)):
        voxels = _voxels(file, found) if file.volume.is_placed else None
        if voxels is None:
            continue
        if file.roles == ("label",):
            inspector.label(voxels, file.volume)
            label = voxels
        elif file.sound_shape:
            for role in file.roles:
                channel = voxels[..., file.channels[role]] if role in file.channels else voxels
                inspector.image(role, channel, file.volume)
    return inspector.done(), label


def _voxels(file: _File, found: _Findings) -> np.ndarray | None:
    """None, and a finding, where they cannot be read."""
    try:
        return read_voxels(file.volume)
    except UnreadableError as error:
        found.report(error.problem, error.remedy, file.roles)
    except MemoryError:
        problem = f"{file.volume.path.name} does not fit into memory"
        found.report(problem, "Check with fewer jobs at a time.", file.roles)
    return None


def _roles_by_file(case: Case) -> list[tuple[str, ...]]:
    """Modalities of one file together, if the case says where each lies in it; all else alone."""
    shared: dict[object, list[str]] = {}
    alone = []
    for role, path in case.files.items():
        if role in case.channels:
            shared.setdefault(path, []).append(role)
        else:
            alone.append((role,))
    return [*map(tuple, shared.values()), *alone]


def _check_geometry(files: Sequence[_File], found: _Findings) -> None:
    for file in files:
        if not file.sound_shape:
            there = f"its shape is {shape_text(file.volume)}"
            if file.channels:
                n = counted(1 + max(file.channels.values()), "volume")
                problem = f"{file.volume.path.name} does not hold {n} along a fourth axis: {there}"
                found.report(
                    problem, f"Store {', '.join(file.roles)} there, in the data set's order.", file.roles
                )
            else:
                found.report(f"{file.volume.path.name} is not a volume: {there}", CONVERT_TO_3D, file.roles)
        else:
            _check_slices(file, found)
    if len({_grid(file) for file in files}) > 1:
        shapes = ", ".join(f"{file.name} {shape_text(file.volume)}" for file in files)
        roles = [role for file in files for role in file.roles]
        model = next((name for name in ("PET", "label") if name in roles), roles[0])
        found.report(
            f"the shapes differ: {shapes}", f"Resample all images to the grid of the {model}.", roles
        )
    placed = [file for file in files if file.sound_shape and _is_placed(file, found)]
    for one, other in itertools.combinations(placed, 2):
        if _grid(one) == _grid(other) and not same_place(one.volume, other.volume):
            apart = corners_apart_mm(one.volume.affine, other.volume.affine, one.volume.shape)
            found.report(
                f"the affines differ: {one.name} and {other.name} lie up to {apart:.1f} mm apart",
                "Resample both to one grid, or copy the affine if only the header is wrong.",
                [*one.roles, *other.roles],
            )


def _check_slices(file: _File, found: _Findings) -> None:
    shortest = min(file.volume.shape[:3])
    there = f"its shape is {shape_text(file.volume)}"
    if shortest == 1:
        problem = f"{file.volume.path.name} is one slice, not a volume: {there}"
        found.report(problem, "Leave the case out: all methods here are for volumes.", file.roles)
    elif shortest < FEW_SLICES:
        found.warn(
            f"{file.volume.path.name} has {shortest} slices along one axis: {there}",
            "See whether the case is whole.",
            file.roles,
        )


def _is_placed(file: _File, found: _Findings) -> bool:
    """Whether the affine can be compared with others; findings about it."""
    affine, name = file.volume.affine, file.volume.path.name
    if not file.volume.is_placed:
        found.report(f"{name} has no usable affine", CONVERT, file.roles)
        return False
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    volume = abs(float(np.linalg.det(affine[:3, :3])))
    if edges.min() < VOXEL_EDGE_MM[0] or edges.max() > VOXEL_EDGE_MM[1]:
        size = " x ".join(f"{edge:.3g}" for edge in edges)
        problem = f"{name} has voxels of {size} mm"
        found.report(
            problem, "Correct the header: lengths are in the unit it names, mm if it names none.", file.roles
        )
        return False
    if volume < (1 - SHEAR) * float(np.prod(edges)):
        found.warn(
            f"the axes of {name} are not perpendicular: its voxels are {1 - volume / np.prod(edges):.0%} smaller than "
            "their edges say",
            "Resample the case to a grid with perpendicular axes: surface distances take them for that.",
            file.roles,
        )
    return True


def _grid(file: _File) -> tuple[int, ...]:
    """The lengths of the axes, without the fourth where it should be there."""
    return file.volume.shape[:3] if file.channels else file.volume.shape


def _check_label_type(image: Volume, spec: DatasetSpec, found: _Findings) -> None:
    if image.dtype.kind == "f" or image.is_scaled:
        how = f"as {image.dtype}" if image.dtype.kind == "f" else "with a scale factor"
        remedy = f"Store it as 8-bit integers, after rounding to {listed(sorted(spec.label_values))}."
        found.warn(f"the label is stored {how}", remedy, ["label"])
