"""Who lies in which scanner: a brain, its glioma, its old small lesions, four sequences. See docs/phantoms.md.

Everything is drawn from the seed and the patient's number alone; no voxel size is known here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from benchmark.data.phantoms import brain_anatomy as anatomy
from benchmark.data.phantoms.brain_anatomy import Brain
from benchmark.data.phantoms.brain_contrast import Acquisition, Signals, draw_acquisitions, draw_signals
from benchmark.data.phantoms.brain_glioma import Glioma
from benchmark.data.phantoms.shapes import Point


@dataclass(frozen=True)
class Patient:
    """A person with a glioma on the day of the examination. `lesions`: centre and radius of old small lesions."""

    seed: int
    index: int
    brain: Brain
    glioma: Glioma
    lesions: tuple[tuple[Point, float], ...] = field(repr=False)
    acquisitions: dict[str, Acquisition] = field(repr=False)
    signals: Signals = field(repr=False)


def draw_patient(seed: int, index: int, *, low_grade: bool) -> Patient:
    """Patient `index` of the population `seed`; the same whatever else is drawn."""
    rng = np.random.default_rng([seed, index, 0])
    age = int(np.clip(rng.normal(43 if low_grade else 60, 12), 20, 85))
    brain = Brain.draw(rng, age=age)
    glioma = Glioma.draw(np.random.default_rng([seed, index, 1]), brain, low_grade=low_grade)
    rng = np.random.default_rng([seed, index, 2])
    count = int(min(rng.poisson(7 * brain.lesion_load), 40))
    lesions = []
    for _ in range(count):
        x, y, z = float(rng.uniform(14, 40)), float(rng.uniform(-70, 45)), float(rng.uniform(10, 45))
        radius = float(np.clip(rng.lognormal(math.log(2.0), 0.4), 1.2, 5.0))
        lesions.append(((x if rng.random() < 0.5 else -x, y, z), radius))
    rng = np.random.default_rng([seed, index, 3])
    acquisitions = draw_acquisitions(rng, anatomy.LOW, anatomy.HIGH)
    signals = draw_signals(rng, acquisitions)
    return Patient(seed, index, brain, glioma, tuple(lesions), acquisitions, signals)
