"""Whether the values of an image can be what its modality's name says: PET in SUV, CT in HU; none may be NaN."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from benchmark.vocabulary import DatasetSpec

Report = Callable[[str, str, Iterable[str]], None]
"""Problem, remedy, and the roles of the files concerned."""
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


def check_values(voxels: np.ndarray, modality: str, spec: DatasetSpec, report: Report) -> None:
    """Report NaN and infinity, and what a modality called PET or CT cannot be; other names promise no unit."""
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
    both = {"CT", "PET"} <= set(spec.modalities)
    exchanged = "; see that the files of CT and PET are not exchanged" if both else ""
    if modality == "PET":
        _check_suv(sample, high, exchanged, report)
    if modality == "CT":
        _check_hu(sample, low, high, exchanged, report)


def _check_suv(sample: np.ndarray, high: float, exchanged: str, report: Report) -> None:
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
            f"Use the image in SUV{exchanged}.",
            ["PET"],
        )


def _check_hu(sample: np.ndarray, low: float, high: float, exchanged: str, report: Report) -> None:
    tissue = float(np.mean((sample >= HU_TISSUE[0]) & (sample <= HU_TISSUE[1])))
    if low > HU_AIR_OR_FAT:
        report(
            f"CT cannot be in HU: no voxel is below {low:.3g}, where air is -1000 and fat -100",
            f"Apply the slope and intercept of the DICOM files{exchanged}.",
            ["CT"],
        )
    elif max(-low, high) > HU_LIMIT:
        report(f"CT cannot be in HU: it reaches from {low:.3g} to {high:.3g}", "Convert it again.", ["CT"])
    elif tissue < HU_TISSUE[2]:
        report(
            f"CT cannot be in HU: only {tissue:.1%} of the voxels lie between {HU_TISSUE[0]:g} and "
            f"{HU_TISSUE[1]:g}, where all soft tissue is",
            "Apply slope and intercept of the DICOM files once; see that the CT was resampled to this case's grid.",
            ["CT"],
        )
