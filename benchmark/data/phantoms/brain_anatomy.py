"""A brain without disease: outline, cortex, ventricles, nuclei, cerebellum, vessels. See docs/phantoms.md.

Reference coordinates are millimetres near those of MNI's template: x to the right, y to the front, z to the head,
origin at the anterior commissure. Left and right are mirror images but for the cortex's folds, the outline's unevenness
and what a tumour displaces.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from benchmark.data.phantoms.shapes import Array, Point, Shape, SmoothField, ellipsoid, region, tube

LOW, HIGH = (-76.0, -112.0, -78.0), (76.0, 78.0, 84.0)
"""A box that holds every brain, in reference mm."""
CORTEX_MM = 2.8
_LOOKUP_MM = 2.5
_FOLD_RADIUS_MM = 50.0
_FOLDS_LOW, _FOLDS_HIGH = (-78.0, -112.0, -38.0), (78.0, 86.0, 70.0)

MAIN = ellipsoid((0, -18, 26), (66, 85, 49))
FRONTAL = ellipsoid((0, 30, 9), (47, 37, 32))
# Structures on both sides are given for the right and evaluated at |x|.
TEMPORAL = ellipsoid((46, -14, -14), (20, 40, 22), turn=(14, 0, 0))
OCCIPITAL = ellipsoid((21, -76, 5), (29, 26, 27))
BASE = ellipsoid((0, -14, -25), (20, 26, 18))
CEREBELLUM = ellipsoid((23, -64, -37), (27, 25, 19)) | ellipsoid((0, -66, -33), (12, 24, 19))
CEREBELLAR_CORE = ellipsoid((15, -55, -36), (15, 12, 8)) | ellipsoid((4, -54, -32), (8, 11, 9))
BRAINSTEM = tube(
    [(0, -14, -4), (0, -22, -16), (0, -25, -29), (0, -32, -44), (0, -40, -58), (0, -43, -76)],
    [14, 13, 15, 11, 7.5, 6.5],
)
COMMISSURES = ellipsoid((0, -5, 4), (400, 38, 24))
"""Where the two hemispheres hang together; elsewhere the falx parts them."""
CALLOSUM = ellipsoid((0, -5, 5), (22, 41, 27))
"""No sulcus enters it."""
INSULA = ellipsoid((38, -7, 3), (12, 25, 14), turn=(-26, 0, 0))
SYLVIAN = ellipsoid((70, -12, 2), (32, 31, 30))
CAUDATE = tube([(13, 24, 2), (13, 14, 11), (16, 0, 19), (19, -16, 21)], [6.5, 6, 4, 2.5])
PUTAMEN = ellipsoid((26, 2, 2), (5.5, 16, 10), turn=(0, 0, 8))
PALLIDUM = ellipsoid((19, -4, 0), (4, 9, 7), turn=(0, 0, 20))
THALAMUS = ellipsoid((11, -18, 8), (8.5, 14, 8.5), turn=(0, 0, 22))
PINEAL = ellipsoid((0, -31, 1), (2.5, 3.5, 2.5))
PLEXUS = (
    ellipsoid((23, -41, 12), (2.6, 8, 4.5), turn=(0, 0, -20)),
    ellipsoid((11, -14, 21), (2, 9, 1.6)),
)
VESSELS_OF_BOTH_SIDES = (
    *tube(
        [(5, 4, -18), (14, 4, -17), (26, 4, -14), (38, 6, -10), (41, -2, -2), (44, -14, 4)],
        [1.7] * 3 + [1.3] * 3,
    ),
    *tube([(9, 2, -22), (5, 4, -18)], [2.0, 2.0]),
    *tube([(3, -17, -18), (15, -26, -14), (22, -38, -8)], [1.3, 1.1, 1.0]),
    *tube([(2, 6, 17), (2, -14, 17), (1, -36, 10)], [0.9, 1.1, 1.4]),
)
VESSELS_OF_THE_MIDDLE = (
    *tube([(0, -14, -42), (0, -12, -28), (0, -15, -18)], [1.7, 1.6, 1.5]),
    *tube([(0, 8, -16), (0, 34, -2), (0, 36, 14), (0, 22, 32), (0, -6, 36)], [1.4, 1.3, 1.2, 1.1, 0.9]),
    *tube([(0, -38, 9), (0, -58, 6), (0, -84, 4)], [2.0, 2.4, 2.6]),
)
FOURTH_VENTRICLE = ellipsoid((0, -44, -32), (6.5, 5, 9))


@dataclass(frozen=True)
class Brain:
    """One person's brain. Distances are in mm, negative inside; points are reference coordinates."""

    age: int
    scale: Point
    sulcus_mm: float
    ventricles_mm: float
    lesion_load: float
    pulsation: float
    unevenness: SmoothField
    depths: SmoothField
    texture: SmoothField
    folds: NDArray[np.float32]
    fold_slopes: NDArray[np.float32]

    @classmethod
    def draw(cls, rng: np.random.Generator, *, age: int) -> Brain:
        old = max(age - 50, 0) / 30
        folds = SmoothField.draw(rng, low=_FOLDS_LOW, high=_FOLDS_HIGH, pitch=8.5).on(*_lookup_axes())
        gradient = np.gradient(folds, _LOOKUP_MM)
        slopes = np.sqrt(sum(g * g for g in gradient))
        return cls(
            age=age,
            scale=(
                float(np.clip(rng.normal(0.97, 0.025), 0.92, 1.03)),
                float(np.clip(rng.normal(0.97, 0.025), 0.92, 1.03)),
                float(np.clip(rng.normal(0.97, 0.02), 0.92, 1.02)),
            ),
            sulcus_mm=0.7 + 0.8 * old + float(rng.uniform(0, 0.5)),
            ventricles_mm=float(np.clip(rng.normal(-0.4 + 2.2 * old, 0.9), -1.5, 4.0)),
            lesion_load=float(rng.lognormal(math.log(0.5 + 0.9 * old), 0.6)),
            pulsation=float(max(rng.uniform(-1.0, 0.8), 0)),
            unevenness=SmoothField.draw(rng, low=LOW, high=HIGH, pitch=38.0),
            depths=SmoothField.draw(rng, low=LOW, high=HIGH, pitch=24.0),
            texture=SmoothField.draw(rng, low=LOW, high=HIGH, pitch=9.0),
            folds=np.asarray(folds, np.float32),
            fold_slopes=np.asarray(slopes, np.float32),
        )

    def envelope(self, x: Array, y: Array, z: Array, uneven: Array | float = 0.0) -> Array:
        """Distance from the cerebrum's surface, its sulci filled. `uneven`: `unevenness` at the points."""
        side = np.abs(x)
        cerebrum = melt(MAIN.distance(x, y, z), FRONTAL.distance(x, y, z), 12.0)
        cerebrum = melt(cerebrum, TEMPORAL.distance(side, y, z), 6.0)
        cerebrum = melt(cerebrum, OCCIPITAL.distance(side, y, z), 12.0)
        cerebrum = np.maximum(cerebrum, -BASE.distance(x, y, z))
        cerebrum = cerebrum + np.float32(1.6) * uneven
        return np.maximum(cerebrum, 2.5 - CEREBELLUM.distance(side, y, z))

    def outline(self, x: Array, y: Array, z: Array, envelope: Array) -> Array:
        """Distance from what is left after skull stripping: brain and the fluid about it."""
        low = melt(CEREBELLUM.distance(np.abs(x), y, z), stem(x, y, z), 10.0)
        return melt(envelope, low, 16.0) - np.float32(1.2)

    def cortex(
        self, points: tuple[Array, Array, Array], envelope: Array, *, deep: Array, texture: Array
    ) -> Array:
        """Depth below the nearest fluid on the cerebrum's surface: sulci, falx, Sylvian fissure; positive inside.

        `points` are full arrays; `deep` and `texture` are the fields `depths` and `texture` there.
        """
        x, y, z = points
        falx = np.abs(x + np.float32(0.7) * deep) - np.float32(0.4 + 0.35 * self.sulcus_mm)
        depth = np.minimum(-envelope, np.maximum(falx, CORTEX_MM - COMMISSURES.distance(x, y, z)))
        near = np.flatnonzero((depth > -2) & (depth < 26))
        inner = np.minimum(depth, self._sylvian(x, y + 3 * deep, z + 2 * texture))
        bend, wave = deep.ravel()[near], texture.ravel()[near]
        floor = 17.0 + 4.0 * bend + 1.5 * wave
        at = depth.ravel()[near]
        # Bent on their way in.
        sheet, radius = self._to_sulcus(
            x.ravel()[near] + 2 * wave, y.ravel()[near] + 3 * bend, z.ravel()[near] - 2 * wave
        )
        # Sheets crowd towards the middle of the hemisphere, so they end before it.
        floor = np.minimum(floor, at + radius - 17)
        u, v, w = (c.ravel()[near] for c in points)
        floor = np.minimum(floor, at + CALLOSUM.distance(u, v, w) - 1)
        # Wider where it opens.
        half = 0.5 * self.sulcus_mm * (1.25 - 0.5 * np.clip(at / np.maximum(floor, 4.0), 0, 1))
        flat = inner.ravel()
        flat[near] = np.minimum(flat[near], -melt(half - sheet, floor - at, 4.0))
        return flat.reshape(depth.shape)

    def _sylvian(self, x: Array, y: Array, z: Array) -> Array:
        side = np.abs(x)
        half = 0.5 * self.sulcus_mm + 0.4
        cleft = np.abs(z + 4.0 + 0.5 * y) * np.float32(0.894) - half
        cleft = np.maximum(cleft, SYLVIAN.distance(side, y, z))
        # The insula is a shallow dome.
        dome = 40.0 - ((y + 8) / 11) ** 2 - ((z - 3) / 8) ** 2
        island = np.maximum(np.abs(side - dome) - half, INSULA.distance(side, y, z))
        return np.minimum(cleft, island)

    def _to_sulcus(self, x: Array, y: Array, z: Array) -> tuple[Array, Array]:
        """How far off the nearest sulcus runs, and the middle of the hemisphere.

        Sulci are sheets at right angles to the surface: the zeros of a random field that does not change along
        rays from that middle.
        """
        u = x - np.copysign(np.float32(24), x)
        v = y - np.clip(y, -58, 30)
        w = z - np.float32(16)
        radius = np.sqrt(u * u + v * v + w * w) + np.float32(1)
        stretch = np.float32(_FOLD_RADIUS_MM) / radius
        at = (x + u * (stretch - 1), y + v * (stretch - 1), z + w * (stretch - 1))
        places = [(c - low) / _LOOKUP_MM for c, low in zip(at, _FOLDS_LOW, strict=True)]
        value = map_coordinates(self.folds, places, order=1, mode="nearest")
        slope = map_coordinates(self.fold_slopes, places, order=1, mode="nearest")
        return np.abs(value) / np.maximum(slope, np.float32(0.06)) / stretch, radius

    @property
    def lateral_ventricle(self) -> Shape:
        """The right one."""
        wide = self.ventricles_mm
        body = tube(
            [(8, 31, 3), (10, 20, 10), (11, 2, 19), (14, -20, 21), (22, -38, 15), (25, -54, 9), (23, -68, 7)],
            [3.5 + 0.6 * wide, 5 + wide, 4 + wide, 4.5 + wide, 7 + wide, 4.5 + wide, 2 + 0.6 * wide],
        )
        horn = tube([(24, -40, 12), (31, -33, -4), (32, -22, -14), (30, -10, -20)], [6 + wide, 3.5, 2.8, 2.5])
        shape = body[0]
        for piece in (*body[1:], *horn):
            shape = shape | piece
        # Septum between the two.
        return shape & region(lambda x, y, z: 0.8 - x + 0 * y + 0 * z)

    @property
    def third_ventricle(self) -> Shape:
        return ellipsoid((0, -12, -3), (max(1.6 + 0.6 * self.ventricles_mm, 1.2), 14, 9))


def _lookup_axes() -> tuple[Array, Array, Array]:
    x, y, z = (
        np.arange(low, high + _LOOKUP_MM, _LOOKUP_MM, dtype=np.float32)
        for low, high in zip(_FOLDS_LOW, _FOLDS_HIGH, strict=True)
    )
    return x[:, None, None], y[None, :, None], z[None, None, :]


def stem(x: Array, y: Array, z: Array) -> Array:
    """Distance from midbrain, pons and medulla."""
    found = BRAINSTEM[0].distance(x, y, z)
    for piece in BRAINSTEM[1:]:
        found = np.minimum(found, piece.distance(x, y, z))
    return found


def melt(a: Array, b: Array, width_mm: float) -> Array:
    """The union of two distances with the edge between them filled over `width_mm`."""
    h = np.clip(0.5 + 0.5 * (b - a) / width_mm, 0, 1)
    return np.asarray(b + (a - b) * h - np.float32(width_mm) * h * (1 - h))
