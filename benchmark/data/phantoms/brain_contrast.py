"""How MRI sees the brain phantoms: relaxation, sequences, coil, resolution, noise. See docs/phantoms.md."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.data.phantoms.blur import blur
from benchmark.data.phantoms.shapes import Array, Point, SmoothField
from benchmark.vocabulary import Spacing

CONTRASTS = ("FLAIR", "T1w", "T1Gd", "T2w")
RESAMPLING_FWHM_MM = 1.0
_LARGEST = 32000
"""Images are stored as signed 16-bit integers."""


@dataclass(frozen=True)
class Tissue:
    """Relaxation times at 3 T in ms, and water content relative to fluid.

    `shortening` is by how many ms T1 falls after gadolinium. Patients differ from T1 and T2 by `spread`, a standard
    deviation of the logarithm; the share by which T1 falls differs by half of it.
    """

    t1: float
    t2: float
    density: float
    shortening: float = 0.0
    spread: float = 0.04


TISSUES: dict[str, Tissue] = {
    "cerebrospinal fluid": Tissue(4300, 1000, 1.0, 0, 0.02),
    "grey matter": Tissue(1820, 99, 0.80, 70),
    "white matter": Tissue(1084, 69, 0.70, 32),
    "caudate and putamen": Tissue(1500, 82, 0.78, 40),
    "pallidum": Tissue(1180, 60, 0.73, 40),
    "thalamus": Tissue(1420, 82, 0.76, 40),
    "brainstem": Tissue(1230, 78, 0.72, 35),
    "white matter lesion": Tissue(1450, 125, 0.77, 40, 0.06),
    "oedema": Tissue(1600, 130, 0.81, 123, 0.10),
    "enhancing tumour": Tissue(1550, 100, 0.82, 838, 0.08),
    "non-enhancing tumour": Tissue(1800, 150, 0.84, 100, 0.10),
    "necrosis": Tissue(2800, 280, 0.94, 150, 0.18),
    "haemorrhage": Tissue(620, 75, 0.80, 30, 0.15),
    "choroid plexus": Tissue(1800, 140, 0.82, 950, 0.10),
    "blood": Tissue(1932, 30, 0.80, 1380, 0.05),
    "meninges": Tissue(1300, 45, 0.55, 750, 0.10),
}

Signals = Mapping[str, NDArray[np.float32]]
"""Per tissue the noiseless signal in each of `CONTRASTS`."""


@dataclass(frozen=True)
class Sequence:
    """One contrast's timing in ms. `ti` None: spin echo; else inversion recovery, `echo` whether T2 weighs in."""

    tr: float
    te: float
    ti: float | None = None
    echo: bool = True

    def signal(self, t1: float, t2: float, density: float) -> float:
        if self.ti is None:
            recovered = 1 - math.exp(-self.tr / t1)
        elif self.echo:
            recovered = abs(1 - 2 * math.exp(-self.ti / t1) + math.exp(-self.tr / t1))
        else:
            recovered = abs(1 - 2 * math.exp(-self.ti / t1) / (1 + math.exp(-self.tr / t1)))
        return density * recovered * (math.exp(-self.te / t2) if self.echo else 1.0)


@dataclass(frozen=True)
class Acquisition:
    """One contrast of one examination: `fwhm_mm` along the array's axes, `noise` a share of white matter's signal in
    voxels of 1 mm^3, `gain` the stored value of white matter where the coil is even."""

    sequence: Sequence
    fwhm_mm: Point
    noise: float
    gain: float
    coil: SmoothField
    unevenness: float


def draw_acquisitions(rng: np.random.Generator, low: Point, high: Point) -> dict[str, Acquisition]:
    """What one scanner did on one day, over the box from `low` to `high` (mm)."""
    coil = SmoothField.draw(rng, low=low, high=high, pitch=90.0)
    unevenness = float(rng.uniform(0.06, 0.16))
    volumetric_t1 = bool(rng.random() < 0.5)
    found = {}
    for name in CONTRASTS:
        volumetric = bool(rng.random() < 0.4)
        if name == "FLAIR":
            tr = float(rng.uniform(8000, 11000))
            csf = TISSUES["cerebrospinal fluid"].t1
            null = csf * (math.log(2) - math.log1p(math.exp(-tr / csf)))
            sequence = Sequence(tr, float(rng.uniform(100, 145)), null * float(rng.uniform(0.98, 1.03)))
        elif name == "T2w":
            sequence = Sequence(float(rng.uniform(3500, 6000)), float(rng.uniform(85, 115)))
        else:
            same = name == "T1w" or rng.random() < 0.7
            volumetric = volumetric_t1 if same else not volumetric_t1
            if volumetric:
                sequence = Sequence(
                    float(rng.uniform(1800, 2300)), 3.0, float(rng.uniform(850, 1050)), echo=False
                )
            else:
                sequence = Sequence(float(rng.uniform(450, 650)), float(rng.uniform(8, 14)))
        in_plane = float(rng.uniform(0.9, 1.5))
        slices = in_plane if volumetric else float(rng.uniform(2.5, 4.5))
        axis = 2 if volumetric or rng.random() < 0.85 else int(rng.integers(2))
        fwhm = [in_plane] * 3
        fwhm[axis] = slices
        found[name] = Acquisition(
            sequence=sequence,
            fwhm_mm=(fwhm[0], fwhm[1], fwhm[2]),
            noise=float(rng.uniform(0.02, 0.06)),
            gain=float(np.clip(rng.lognormal(math.log(450), 0.6), 120, 2000)),
            coil=coil,
            unevenness=unevenness * float(rng.uniform(0.8, 1.2)),
        )
    return found


def draw_signals(rng: np.random.Generator, acquisitions: Mapping[str, Acquisition]) -> Signals:
    """The tissues of one patient as these acquisitions see them."""
    found = {}
    for name, tissue in TISSUES.items():
        longer, slower, taken = np.exp(np.clip(rng.normal(size=3), -2, 2) * tissue.spread).tolist()
        t1, t2 = tissue.t1 * longer, tissue.t2 * slower
        after = max(t1 - tissue.shortening * longer * math.sqrt(taken), 250.0)
        found[name] = np.array(
            [
                acquisitions[contrast].sequence.signal(
                    after if contrast == "T1Gd" else t1, t2, tissue.density
                )
                for contrast in CONTRASTS
            ],
            np.float32,
        )
    return found


def see(
    signal: Array,
    *,
    white_matter: float,
    acquisition: Acquisition,
    axes: tuple[Array, Array, Array],
    spacing_mm: Spacing,
    rng: np.random.Generator,
) -> NDArray[np.int16]:
    """A noiseless contrast as stored: coil, resolution, Rician noise, resampling, gain.

    `axes` are the voxels' coordinates (mm), `white_matter` its signal. Noise is white when acquired; its standard
    deviation falls with the root of the voxel's volume.
    """
    image = signal * np.exp(np.float32(acquisition.unevenness) * acquisition.coil.on(*axes))
    image = blur(image, acquisition.fwhm_mm, spacing_mm)
    sigma = np.float32(acquisition.noise * white_matter / math.sqrt(math.prod(spacing_mm)))
    image += sigma * rng.standard_normal(image.shape, dtype=np.float32)
    imaginary = sigma * rng.standard_normal(image.shape, dtype=np.float32)
    np.hypot(image, imaginary, out=image)
    image = blur(image, RESAMPLING_FWHM_MM, spacing_mm)
    return np.clip(np.rint(image * np.float32(acquisition.gain / white_matter)), 0, _LARGEST).astype(np.int16)
