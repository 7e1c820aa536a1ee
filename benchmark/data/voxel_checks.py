"""What only the voxels of a case tell: values that its modality cannot have, labels that are none, one image or label
twice.

`bench data check` and every preparation read all voxels anyway, and both ask here. What stays unseen: a CT a few
millimetres off its PET where the lesion is not at the body's surface. (Shifting one over the other for the best
normalised mutual information, or for the best correlation of the body's outline with uptake, was tried on 51 real cases
of which one has a CT 7 mm off: both move a dozen sound cases further, or with more gain. Lesion voxels in the air
around the body name exactly that one.)
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cc3d
import numpy as np
from jaxtyping import Bool, Float
from nibabel.orientations import apply_orientation, io_orientation

from benchmark.data.findings import Finding, Severity
from benchmark.data.images import Volume
from benchmark.vocabulary import Case, DatasetSpec, kind_of

SUV_P99_LIMIT = 500.0
"""SUV is about 1 on average over a body, and below 20 in 99 % of the voxels even in crops around a tumour;
that percentile is above 10,000 in Bq/ml. Not the maximum: tracer in a bladder may exceed SUV 1000."""
SUV_NEGATIVE = (-0.1, 0.01)
"""Value and share of the voxels below it. Interpolation undershoots around hot spots, in few voxels."""
SUV_TISSUE = 1.5
"""The median over soft tissue is 0.3 to 1 (51 sarcomas: 0.35 to 0.95); in kBq/ml some four times as much."""
HU_AIR_OR_FAT = -50.0
"""Any part of a body shows air (-1000 HU) or fat (-100 HU); unsigned and rescaled values are never so low."""
HU_TISSUE = (-200.0, 200.0, 0.01)
"""Bounds of fat, muscle and organs, and the least share of voxels within: some 0.08 in a whole-body scan, 0.2
to 0.8 in crops. Values with a wrong offset, and a CT resampled to where it has no slices, have hardly any."""
HU_LIMIT = 40_000.0
"""Beyond what 16 bits hold, with metal or without."""
LESION_OUTSIDE = (-300.0, 0.05)
"""HU below which there is air, and the share of a lesion's voxels in the air around the body: 0.184 in a case whose CT
lies 7 mm off, below 0.008 in 50 others."""
OUTSIDE_EDGE_MM = 10.0
"""Voxels with a longer edge hold body and air at once, and say nothing about a displacement of some millimetres."""
WHOLE = 1e-4
"""How far a label that is stored as a float may lie off a whole number; old BraTS files have 0.99999997."""
_SAMPLE = 1_000_000
"""Voxels for the shares and percentiles above, at equal distances."""
_SIGNATURE = 512
"""Voxels, at equal distances, by which an image is known again."""
_ALIKE = (0.02, 32)
"""Standard deviations by which images that are one may differ at these voxels (rounding to 8 bits: 0.01), and how many
of them must differ from the most common value."""
_HASHED_AT_ONCE = 1 << 22
LABEL = "label"
_DRAWN = 100
"""Voxels of a lesion from which on nobody draws the same twice, at the same place. Smaller ones, as a threshold leaves
them, and whole boxes, of whatever size, may be marked alike in two cases."""


@dataclass(frozen=True)
class Signature:
    """What an image is known by when it was saved again: in another type, unit, compression or orientation.

    `values` are those of some voxels, standardised, in the order of axes that point right, anterior and superior.
    """

    shape: tuple[int, ...]
    digest: str
    values: np.ndarray = field(repr=False, default_factory=lambda: np.empty(0, np.float32))
    """Of a label none: it is the same, or it is not."""

    def is_alike(self, others: np.ndarray) -> np.ndarray:
        """Of signatures of equal shape, whose values are the rows of `others`, which are this image."""
        _, counts = np.unique(self.values, return_counts=True)
        if len(self.values) - counts.max() < _ALIKE[1]:
            return np.zeros(len(others), bool)
        same: np.ndarray = np.abs(others - self.values).max(axis=1) <= _ALIKE[0]
        return same

    def to_json(self) -> dict[str, Any]:
        packed = base64.b64encode(self.values.astype("<f4").tobytes()).decode()
        return {"shape": list(self.shape), "digest": self.digest, "values": packed}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Signature:
        values = np.frombuffer(base64.b64decode(content["values"]), "<f4")
        return cls(tuple(content["shape"]), content["digest"], values)


@dataclass(frozen=True)
class Inspection:
    """What the voxels of a case told: findings, signatures and values (minimum, 1st, 50th and 99th percentile, maximum)
    by modality. Among the signatures is that of the LABEL, if it is known again."""

    findings: tuple[Finding, ...]
    signatures: Mapping[str, Signature]
    values: Mapping[str, tuple[float, float, float, float, float]]


class Inspector:
    """Looks at a case's volumes as they are read: the label first, then the images.

    Arrays have three axes; `volume` is the file they come from.
    """

    def __init__(self, case: Case, spec: DatasetSpec) -> None:
        self._case, self._spec = case, spec
        self._findings: list[Finding] = []
        self._signatures: dict[str, Signature] = {}
        self._values: dict[str, tuple[float, float, float, float, float]] = {}
        self._lesion: np.ndarray | None = None
        self._drawn: Signature | None = None
        self._tissue: np.ndarray | None = None
        self._pet: np.ndarray | None = None

    def label(self, voxels: np.ndarray, volume: Volume) -> None:
        """Values, and what the metadata say of the lesion."""
        spec = self._spec
        if other := strange_values(voxels, spec.label_values):
            some = ", ".join(f"{value:g}" for value in other[:5]) + (", ..." if len(other) > 5 else "")
            allowed = sorted(spec.label_values)
            cut = "; if it is a probability, cut it at one half" if allowed == [0, 1] else ""
            self._report(
                f"the label has the values {some}, not only {listed(allowed)}",
                f"Map the labels to these values{cut}.",
                "label",
            )
        self._lesion = (voxels != 0) if spec.ignore is None else (voxels != 0) & (voxels != spec.ignore)
        self._hold_against_metadata(np.count_nonzero(self._lesion) * volume.voxel_ml)
        self._drawn = label_signature(self._lesion, volume)

    def image(self, modality: str, voxels: np.ndarray, volume: Volume) -> None:
        """Values that the modality's name rules out, NaN and infinity, and what the image is known by."""
        before = len(self._findings)
        kind = kind_of(modality)
        broken = voxels.size - int(np.count_nonzero(np.isfinite(voxels))) if voxels.dtype.kind == "f" else 0
        if broken:
            share = f"{broken:,} of {voxels.size:,} voxels"
            self._report(f"{modality} is NaN or infinite in {share}", "Convert the image again.", modality)
        flat = voxels.reshape(-1, order="F")
        # NaN and infinity, reported above, must not hide the rest.
        finite = flat[np.isfinite(flat)] if broken else flat
        if not finite.size:
            return
        low, high = float(finite.min()), float(finite.max())
        if max(-low, high) > float(np.finfo(np.float32).max):
            self._report(
                f"{modality} reaches from {low:.3g} to {high:.3g}, beyond what 32 bits hold",
                "Convert the image again.",
                modality,
            )
            return
        sample = finite[:: max(1, finite.size // _SAMPLE)].astype(np.float64)
        percentiles = np.percentile(sample, [1, 50, 99])
        self._values[modality] = (low, *map(float, percentiles), high)  # type: ignore[assignment]
        if kind == "PET":
            self._check_suv(modality, sample, high)
            self._pet = voxels
        if kind == "CT":
            self._check_hu(modality, sample, low, high)
            self._tissue = (voxels > HU_TISSUE[0]) & (voxels < HU_TISSUE[1])
            if len(self._findings) == before:
                self._check_body(modality, voxels, volume)
        if low == high and len(self._findings) == before:
            self._report(
                f"{modality} is {low:g} in every voxel",
                "Convert the image again, or leave the case out.",
                modality,
            )
        self._signatures[modality] = signature_of(voxels, volume)

    def done(self) -> Inspection:
        """After the last image."""
        self._check_tissue()
        by_digest: dict[str, list[str]] = {}
        for modality, signature in self._signatures.items():
            by_digest.setdefault(signature.digest, []).append(modality)
        for alike in by_digest.values():
            if len(alike) > 1:
                names = sorted(alike)
                self._report(
                    f"{' and '.join(names)} are copies of one image",
                    "Put each modality into its own file, or into its own place along the fourth axis.",
                    *names,
                )
        signatures = {
            modality: s for modality, s in self._signatures.items() if len(by_digest[s.digest]) == 1
        }
        if self._drawn is not None:
            signatures[LABEL] = self._drawn
        return Inspection(tuple(self._findings), signatures, self._values)

    def _report(self, problem: str, remedy: str, *roles: str, severity: Severity = "fault") -> None:
        files = tuple(dict.fromkeys(self._case.files[role] for role in roles))
        self._findings.append(Finding(self._case.case_id, problem, remedy, files, severity))

    def _hold_against_metadata(self, lesion_ml: float) -> None:
        case = self._case
        diagnosis = case.metadata.get("diagnosis", "a lesion" if case.has_lesion else "no lesion")
        if case.has_lesion is False and lesion_ml > 0:
            self._report(
                f"the metadata say {diagnosis}, but the label marks {lesion_ml:.2f} ml",
                "Correct the row in the CSV or the label.",
                "label",
            )
        if case.has_lesion is True and lesion_ml == 0:
            self._report(
                f"the metadata say {diagnosis}, but the label is empty",
                "Correct the row in the CSV (NEGATIVE for a study without lesion) or the label.",
                "label",
            )

    @property
    def _exchanged(self) -> str:
        kinds = {kind_of(modality) for modality in self._spec.modalities}
        return "; see that the files of CT and PET are not exchanged" if {"CT", "PET"} <= kinds else ""

    def _check_suv(self, name: str, sample: np.ndarray, high: float) -> None:
        typical = float(np.percentile(sample, 99))
        negative = float(np.mean(sample < SUV_NEGATIVE[0]))
        if typical > SUV_P99_LIMIT:
            self._report(
                f"{name} cannot be SUV: 1 % of the voxels are above {typical:,.0f}, which looks like Bq/ml",
                "Convert it to SUV: multiply by body weight in g and divide by the decay-corrected dose in Bq.",
                name,
            )
        if high <= 1:
            self._report(
                f"{name} cannot be SUV: no voxel is above 1 (the highest is {high:.3g}); it seems to be rescaled",
                "Use the image in SUV, before any scaling.",
                name,
            )
        if negative > SUV_NEGATIVE[1]:
            self._report(
                f"{name} cannot be SUV: {negative:.0%} of the voxels are negative",
                f"Use the image in SUV{self._exchanged}.",
                name,
            )

    def _check_hu(self, name: str, sample: np.ndarray, low: float, high: float) -> None:
        tissue = float(np.mean((sample >= HU_TISSUE[0]) & (sample <= HU_TISSUE[1])))
        if low > HU_AIR_OR_FAT:
            self._report(
                f"{name} cannot be in HU: no voxel is below {low:.3g}, where air is -1000 and fat -100",
                f"Apply the slope and intercept of the DICOM files{self._exchanged}.",
                name,
            )
        elif max(-low, high) > HU_LIMIT:
            self._report(
                f"{name} cannot be in HU: it reaches from {low:.3g} to {high:.3g}", "Convert it again.", name
            )
        elif tissue < HU_TISSUE[2]:
            self._report(
                f"{name} cannot be in HU: only {tissue:.1%} of the voxels lie between {HU_TISSUE[0]:g} and "
                f"{HU_TISSUE[1]:g}, where all soft tissue is",
                "Apply slope and intercept of the DICOM files once; see that the CT was resampled to this case's grid.",
                name,
            )

    def _check_body(self, name: str, voxels: np.ndarray, volume: Volume) -> None:
        """A lesion that was drawn on a PET lies in the body of its CT."""
        lesion = self._lesion
        if lesion is None or lesion.shape != voxels.shape or not lesion.any():
            return
        if np.linalg.norm(volume.affine[:3, :3], axis=0).max() > OUTSIDE_EDGE_MM:
            return
        share = share_outside(voxels, lesion, volume.affine)
        if share > LESION_OUTSIDE[1]:
            self._report(
                f"{share:.0%} of the lesion's voxels lie outside of the body ({name} below {LESION_OUTSIDE[0]:g} HU, "
                "connected to the border)",
                f"See in a viewer whether {name} and label lie on each other; a displaced {name} misleads.",
                name,
                "label",
                severity="warning",
            )

    def _check_tissue(self) -> None:
        pet, tissue, faulty = self._pet, self._tissue, {f.files for f in self._findings if f.is_fault}
        if pet is None or tissue is None or pet.shape != tissue.shape:
            return
        name = next(modality for modality in self._spec.modalities if kind_of(modality) == "PET")
        if (self._case.files[name],) in faulty:
            return
        outside = (
            tissue if self._lesion is None or self._lesion.shape != pet.shape else tissue & ~self._lesion
        )
        values = pet[outside]
        values = values[:: max(1, values.size // _SAMPLE)]
        typical = float(np.median(values)) if values.size else 0.0
        if typical > SUV_TISSUE:
            self._report(
                f"half of the soft tissue has a {name} above {typical:.1f}, where SUV is 0.3 to 1: it may be in kBq/ml",
                "See that it is SUV: kBq/ml times body weight in kg, divided by the decay-corrected dose in MBq.",
                name,
                severity="warning",
            )


def share_outside(
    ct: np.ndarray, lesion: Bool[np.ndarray, "i j k"], affine: Float[np.ndarray, "4 4"]
) -> float:
    """The share of a lesion's voxels that lie in the air around the body: of air, in HU, that is connected to the sides
    of the volume. Its ends along the body do not count, for a scan may begin within the lungs."""
    air = ct < LESION_OUTSIDE[0]
    if not air[lesion].any():
        return 0.0
    parts = cc3d.connected_components(air.view(np.uint8), connectivity=6)
    along = int(np.argmax(np.abs(affine[2, :3])))
    sides = [np.take(parts, end, axis) for axis in range(3) if axis != along for end in (0, -1)]
    around = np.unique(np.concatenate([side.ravel() for side in sides]))
    return float(np.mean(np.isin(parts[lesion], around[around > 0])))


def strange_values(voxels: np.ndarray, known: Collection[int]) -> list[float]:
    """The values of a label file that are none of the known ones, up to the rounding of floats."""
    allowed = sorted(known)
    if voxels.dtype.kind == "f":
        values = np.unique(voxels)
        whole = np.round(values)
        with np.errstate(invalid="ignore"):
            # Infinity less infinity is no number, and so no label.
            off = ~(np.abs(values - whole) <= WHOLE) | ~np.isin(whole, allowed)
        return [float(value) for value in values[off]]
    # Without gaps the extremes tell all, far faster than a list of all values.
    gapless = len(allowed) == 1 + max(allowed)
    if gapless and voxels.min() >= 0 and voxels.max() <= max(allowed):
        return []
    return [value for value in np.unique(voxels).tolist() if value not in allowed]


def whole_labels(voxels: np.ndarray) -> np.ndarray:
    """uint8: the values of a label file without strange ones, rounded where they are stored as floats."""
    return (np.round(voxels) if voxels.dtype.kind == "f" else voxels).astype(np.uint8)


def listed(values: Sequence[int]) -> str:
    *before, last = map(str, values)
    return f"{', '.join(before)} and {last}"


def signature_of(voxels: np.ndarray, volume: Volume) -> Signature:
    """By what an image of three axes is known again."""
    turned = apply_orientation(voxels, io_orientation(volume.affine))
    flat = turned.reshape(-1, order="F")
    digest = hashlib.blake2b(repr(turned.shape).encode(), digest_size=16)
    with np.errstate(over="ignore"):
        for start in range(0, flat.size, _HASHED_AT_ONCE):
            # Adding zero makes -0.0 and 0.0 equal.
            digest.update((flat[start : start + _HASHED_AT_ONCE].astype("<f4") + 0.0).tobytes())
    places = np.linspace(0, flat.size - 1, min(flat.size, _SIGNATURE)).round().astype(int)
    values = np.nan_to_num(flat[places].astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    deviation = values.std() or 1.0
    standardised = ((values - values.mean()) / deviation).astype(np.float32)
    return Signature(tuple(turned.shape), digest.hexdigest(), standardised)


def label_signature(lesion: Bool[np.ndarray, "..."], volume: Volume) -> Signature | None:
    """By what a label is known again: the voxels of its lesions, whatever the affine and the numbers of the labels.

    None where two cases may well have the same: see `_DRAWN`. A label that was resampled is not known again.
    """
    n = int(np.count_nonzero(lesion))
    if lesion.ndim != 3 or n < _DRAWN or n == _box_of(lesion):
        return None
    turned = apply_orientation(lesion, io_orientation(volume.affine))
    digest = hashlib.blake2b(repr(turned.shape).encode(), digest_size=16)
    digest.update(np.packbits(turned).tobytes())
    return Signature(tuple(turned.shape), digest.hexdigest())


def _box_of(lesion: Bool[np.ndarray, "i j k"]) -> int:
    """How many voxels the smallest box around a mask has."""
    others = [tuple(other for other in range(3) if other != axis) for axis in range(3)]
    marked = (np.flatnonzero(lesion.any(axis=axes)) for axes in others)
    return int(np.prod([places[-1] - places[0] + 1 for places in marked]))


def copies(signatures: Mapping[tuple[str, str], Signature], cases: Mapping[str, Case]) -> list[Finding]:
    """Files that several cases share, by (case id, modality or LABEL).

    An image is a fault across patients and a warning for one patient, a label with other images always a warning.
    """
    found = _shared(signatures)
    of_images: dict[str, set[str]] = {}
    for (case_id, role), others in found.items():
        if role != LABEL:
            of_images.setdefault(case_id, set()).update(others)
    findings = []
    for (case_id, role), others in found.items():
        if role != LABEL:
            findings.append(_same_image(cases[case_id], role, [cases[other] for other in others]))
        elif new := [other for other in others if other not in of_images.get(case_id, ())]:
            findings.append(_same_label(cases[case_id], [cases[other] for other in new]))
    return findings


def _shared(signatures: Mapping[tuple[str, str], Signature]) -> dict[tuple[str, str], list[str]]:
    """By (case id, modality or LABEL) the other cases that have the same."""
    found: dict[tuple[str, str], list[str]] = {}
    groups: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for (case_id, role), signature in signatures.items():
        groups.setdefault((role, signature.shape), []).append(case_id)
    for (role, _), ids in groups.items():
        if len(ids) < 2:
            continue
        own = [signatures[case_id, role] for case_id in ids]
        values, digests = np.stack([s.values for s in own]), np.array([s.digest for s in own])
        for number, signature in enumerate(own):
            same = digests == signature.digest
            if role != LABEL:
                same |= signature.is_alike(values)
            same[number] = False
            if same.any():
                found[ids[number], role] = [ids[k] for k in np.flatnonzero(same)]
    return found


def _same_image(case: Case, modality: str, others: Sequence[Case]) -> Finding:
    foreign = [other for other in others if other.patient != case.patient]
    named = foreign or others
    remedy = (
        "Remove the copy, or give the cases one patient; else training may see what is tested."
        if foreign
        else "Remove the copy, unless the study is meant to count twice."
    )
    return Finding(
        case.case_id,
        f"the {modality} image is the same as that of {_named(named)}",
        remedy,
        (case.images[modality], *(other.images[modality] for other in named)),
        "fault" if foreign else "warning",
    )


def _same_label(case: Case, others: Sequence[Case]) -> Finding:
    return Finding(
        case.case_id,
        f"the label marks the same voxels as that of {_named(others)}, whose images are others",
        "See in a viewer which case it was drawn on; the label of another one misleads.",
        tuple(each.files[LABEL] for each in (case, *others)),
        "warning",
    )


def _named(cases: Sequence[Case]) -> str:
    return ", ".join(f"{case.case_id} (patient {case.patient})" for case in cases)
