"""Gaussian blur and correlated noise that mean the same on every grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d
from scipy.special import ive

from benchmark.data.phantoms.shapes import Array

_FWHM_TO_SIGMA = 1 / 2.354820045


def blur(image: Array, fwhm_mm: float | Sequence[float], spacing_mm: Sequence[float]) -> NDArray[np.float32]:
    """Gaussian blur that keeps its width on any grid (Lindeberg's discrete Gaussian); one width, or one an axis."""
    widths = [fwhm_mm] * len(spacing_mm) if isinstance(fwhm_mm, int | float) else fwhm_mm
    for axis, (width, spacing) in enumerate(zip(widths, spacing_mm, strict=True)):
        image = correlate1d(image, _kernel(width, spacing), axis=axis, mode="nearest")
    return np.asarray(image, np.float32)


def _kernel(fwhm_mm: float, spacing: float) -> NDArray[np.float64]:
    variance = (fwhm_mm * _FWHM_TO_SIGMA / spacing) ** 2
    radius = int(np.ceil(4.5 * np.sqrt(variance) + 1))
    weights = ive(np.abs(np.arange(-radius, radius + 1)), variance)
    return np.asarray(weights / weights.sum())


def grain(
    shape: tuple[int, ...],
    fwhm_mm: float,
    spacing_mm: Sequence[float],
    rng: np.random.Generator,
    *,
    reference_mm: Sequence[float],
) -> NDArray[np.float32]:
    """Correlated noise, of standard deviation 1 in voxels of `reference_mm` and less in larger ones."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    scale = 1.0
    for axis, (spacing, reference) in enumerate(zip(spacing_mm, reference_mm, strict=True)):
        kernel = _kernel(fwhm_mm, spacing)
        noise = correlate1d(noise, kernel, axis=axis, mode="wrap")
        # White noise behind blur and voxel average: variance goes as one over the effective width.
        width, usual = (np.sqrt((fwhm_mm * _FWHM_TO_SIGMA) ** 2 + s * s / 12) for s in (spacing, reference))
        scale *= float(np.sqrt(usual / width / (kernel**2).sum()))
    return np.asarray(noise * np.float32(scale), np.float32)
