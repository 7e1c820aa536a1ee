"""The glioma of a brain phantom: where it grows, how large, its core, rim and oedema. See docs/phantoms.md."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from benchmark.data.phantoms.brain_anatomy import Brain, melt
from benchmark.data.phantoms.shapes import Array, Point, SmoothField

LOBES: dict[str, tuple[float, Point, Point]] = {
    "frontal": (0.40, (27, 36, 20), (8, 12, 12)),
    "temporal": (0.29, (44, -14, -13), (4, 13, 5)),
    "parietal": (0.14, (28, -48, 38), (8, 11, 9)),
    "occipital": (0.03, (25, -76, 12), (6, 6, 8)),
    "deep": (0.14, (18, -8, 14), (5, 14, 7)),
}
"""Share of gliomas, and the mean and the spread of their middle in the right hemisphere (reference mm)."""
CORE_ML, CORE_SPREAD, CORE_RANGE_ML = 42.0, 0.75, (4.0, 140.0)
OEDEMA_MM, OEDEMA_SPREAD, OEDEMA_RANGE_MM = 26.0, 0.45, (7.0, 45.0)
LOW_GRADE_OEDEMA_MM = 6.0


@dataclass(frozen=True)
class Glioma:
    """A tumour in reference mm. `satellite` is the middle of a second focus and its share of the radius.

    `water` says how far the oedema's signal lies between that of white matter (0) and full oedema (1).
    """

    lobe: str
    low_grade: bool
    center: Point
    radius_mm: float
    stretch: Point
    roughness: float
    rim_mm: float
    oedema_mm: float
    water: float
    push_mm: float
    crosses: bool
    satellite: tuple[Point, float] | None
    bleeds: bool
    coarse: SmoothField
    fine: SmoothField
    patches: SmoothField
    fingers: SmoothField

    @classmethod
    def draw(cls, rng: np.random.Generator, brain: Brain, *, low_grade: bool) -> Glioma:
        names = list(LOBES)
        lobe = str(rng.choice(names, p=[LOBES[name][0] for name in names]))
        core_ml = float(np.clip(rng.lognormal(math.log(CORE_ML), CORE_SPREAD), *CORE_RANGE_ML))
        radius = (core_ml * 1000 * 3 / (4 * math.pi)) ** (1 / 3)
        crosses = lobe == "deep" and bool(rng.random() < 0.3)
        center = _place(rng, brain, lobe, radius, crosses=crosses)
        stretch = np.exp(rng.normal(0, 0.16, 3))
        sx, sy, sz = (stretch / np.cbrt(stretch.prod())).tolist()
        multifocal = not low_grade and bool(rng.random() < 0.15)
        satellite = _second_focus(rng, brain, center, radius) if multifocal else None
        oedema = LOW_GRADE_OEDEMA_MM if low_grade else OEDEMA_MM
        oedema = float(np.clip(rng.lognormal(math.log(oedema), OEDEMA_SPREAD), *OEDEMA_RANGE_MM))
        reach = 2.2 * radius + 2 * oedema
        low = (center[0] - reach, center[1] - reach, center[2] - reach)
        high = (center[0] + reach, center[1] + reach, center[2] + reach)
        return cls(
            lobe=lobe,
            low_grade=low_grade,
            center=center,
            radius_mm=radius,
            stretch=(sx, sy, sz),
            roughness=float(rng.uniform(0.10, 0.22)),
            rim_mm=float(np.clip(rng.lognormal(math.log(5.0), 0.3), 3.0, 0.45 * radius + 2)),
            oedema_mm=oedema,
            water=float(rng.uniform(0.45, 1.0)),
            push_mm=float(rng.uniform(0.05, 0.28 if not low_grade else 0.15)) * radius,
            crosses=crosses,
            satellite=satellite,
            bleeds=not low_grade and bool(rng.random() < 0.2),
            coarse=SmoothField.draw(rng, low=low, high=high, pitch=max(0.8 * radius, 8.0)),
            fine=SmoothField.draw(rng, low=low, high=high, pitch=6.0),
            patches=SmoothField.draw(rng, low=low, high=high, pitch=max(0.45 * radius, 6.0)),
            fingers=SmoothField.draw(rng, low=low, high=high, pitch=14.0),
        )

    @property
    def reach_mm(self) -> float:
        """No part of the tumour or its oedema is farther from the middle."""
        return 2.2 * self.radius_mm + 2 * self.oedema_mm

    def displaced(self, x: Array, y: Array, z: Array, depth: Array) -> tuple[Array, Array, Array]:
        """Where the tissue at these points was before the tumour pushed it; `depth` below the cerebrum's surface."""
        u, v, w = (c - o for c, o in zip((x, y, z), self.center, strict=True))
        r = np.sqrt(u * u + v * v + w * w) + np.float32(1e-3)
        push = self.push_mm * np.minimum(r / self.radius_mm, np.exp((self.radius_mm - r) / np.float32(25)))
        push = push * np.clip(depth / 14, 0, 1) / r
        return x - u * push, y - v * push, z - w * push

    def core(self, x: Array, y: Array, z: Array, *, coarse: Array, fine: Array, before_x: Array) -> Array:
        """Distance from the core, without the brain's own limits. `before_x`: x before displacement."""
        body = self._ball(x, y, z, self.center, self.radius_mm)
        body = body + np.float32(self.roughness * self.radius_mm) * (coarse + np.float32(0.35) * fine)
        if self.satellite is not None:
            center, share = self.satellite
            small = self._ball(x, y, z, center, self.radius_mm * share) + np.float32(1.2) * fine
            body = np.minimum(body, small)
        if not self.crosses:
            # The falx holds it.
            beyond = 1.5 - np.copysign(1.0, self.center[0]) * before_x
            body = -melt(-body, -beyond, 8.0)
        return np.asarray(body, np.float32)

    def _ball(self, x: Array, y: Array, z: Array, center: Point, radius: float) -> Array:
        u, v, w = ((c - o) / s for c, o, s in zip((x, y, z), center, self.stretch, strict=True))
        return np.asarray(np.sqrt(u * u + v * v + w * w) - np.float32(radius))

    def enhancing(self, core: Array, *, fine: Array, patches: Array) -> Array:
        """Distance from the part of the core that takes up contrast: a rim of uneven width, and nodes within."""
        rim = np.maximum(core, -core - np.float32(self.rim_mm) * (1 + np.float32(0.35) * fine))
        nodes = np.maximum(core, (np.float32(1.25) - patches) * 4)
        gaps = (np.float32(-1.35) - patches) * 4
        return np.asarray(np.maximum(np.minimum(rim, nodes), gaps))

    def oedema(self, core: Array, *, cortex: Array, coarse: Array, fingers: Array, before_x: Array) -> Array:
        """Distance from the oedema's outer edge. It follows white matter; `cortex`: depth below fluid there."""
        reach = np.float32(self.oedema_mm) * (1 + np.float32(0.25) * fingers + np.float32(0.2) * coarse)
        far = core - np.maximum(reach, 1.0)
        # White matter begins below the cortex; next to the core the cortex swells too.
        far = np.maximum(far, np.minimum(3.2 - cortex, core - 1.5))
        if not self.crosses:
            behind = -np.copysign(1.0, self.center[0]) * before_x
            far = far + np.maximum(behind, 0) * 2
        return np.asarray(far, np.float32)


def _second_focus(
    rng: np.random.Generator, brain: Brain, center: Point, radius: float
) -> tuple[Point, float] | None:
    """A place beside the tumour in the same hemisphere; None where there is no room."""
    for _ in range(20):
        way = rng.normal(size=3)
        way *= radius * float(rng.uniform(1.4, 1.8)) / np.linalg.norm(way)
        x, y, z = (float(c + w) for c, w in zip(center, way, strict=True))
        if _depth(brain, (x, y, z)) > 8 and x * center[0] > 0:
            return (x, y, z), float(rng.uniform(0.25, 0.45))
    return None


def _depth(brain: Brain, point: Point) -> float:
    x, y, z = (np.full((1, 1, 1), value, np.float32) for value in point)
    return -float(brain.envelope(x, y, z)[0, 0, 0])


def _place(rng: np.random.Generator, brain: Brain, lobe: str, radius: float, *, crosses: bool) -> Point:
    """A point of the lobe, deep enough for most of the tumour to lie within the brain."""
    _, mean, spread = LOBES[lobe]
    side = 1.0 if rng.random() < 0.5 else -1.0
    best, most = (side * mean[0], mean[1], mean[2]), 0.0
    for _ in range(40):
        x, y, z = (float(v) for v in rng.normal(mean, spread))
        if crosses:
            x, y, z = float(rng.uniform(2, 8)), float(rng.choice([27.0, -36.0])), float(rng.normal(14, 3))
        spot = (side * x, y, z)
        depth = _depth(brain, spot)
        if depth > max(0.6 * radius, 9.0) and (crosses or x > 0.5 * radius):
            return spot
        if depth > most and x > 4:
            best, most = spot, depth
    return best
