"""Solid shapes as signed distances in mm, and smooth random fields. The geometry of the phantoms; numpy only.

A shape answers, for any points, how far they are outside (> 0) or inside (< 0). Points come as three
arrays that broadcast against each other, so a grid costs three vectors and a list of points works too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline, CubicSpline, PchipInterpolator

Array = NDArray[np.floating[Any]]
Point = tuple[float, float, float]
Distance = Callable[[Array, Array, Array], Array]

EVERYWHERE: tuple[Point, Point] = ((-1e4, -1e4, -1e4), (1e4, 1e4, 1e4))
_TINY = np.float32(1e-6)


@dataclass(frozen=True)
class Shape:
    """A solid. `low` and `high` bound it (mm); outside the box it is not evaluated."""

    distance: Distance
    low: Point
    high: Point

    def __or__(self, other: Shape) -> Shape:
        return Shape(
            lambda x, y, z: np.minimum(self.distance(x, y, z), other.distance(x, y, z)),
            _each(min, self.low, other.low),
            _each(max, self.high, other.high),
        )

    def __and__(self, other: Shape) -> Shape:
        return Shape(
            lambda x, y, z: np.maximum(self.distance(x, y, z), other.distance(x, y, z)),
            _each(max, self.low, other.low),
            _each(min, self.high, other.high),
        )

    def __sub__(self, other: Shape) -> Shape:
        return Shape(
            lambda x, y, z: np.maximum(self.distance(x, y, z), -other.distance(x, y, z)), self.low, self.high
        )

    def grown(self, mm: float) -> Shape:
        """The shape with its surface moved outwards (inwards where `mm` < 0)."""
        low = _each(lambda a, _: a - mm, self.low, self.low)
        high = _each(lambda a, _: a + mm, self.high, self.high)
        return Shape(lambda x, y, z: self.distance(x, y, z) - mm, low, high)

    def wall(self, mm: float) -> Shape:
        """The layer of thickness `mm` under the surface."""
        return self - self.grown(-mm)

    def depth(self, point: Sequence[float]) -> float:
        """How deep a point lies inside, in mm; negative outside."""
        x, y, z = (np.full(1, value, np.float32) for value in point)
        return -float(self.distance(x, y, z)[0])


def _each(choose: Callable[[float, float], float], a: Point, b: Point) -> Point:
    return choose(a[0], b[0]), choose(a[1], b[1]), choose(a[2], b[2])


def region(distance: Distance, low: Point = EVERYWHERE[0], high: Point = EVERYWHERE[1]) -> Shape:
    """Any distance function as a shape; unbounded ones are meant to be cut with bounded ones."""
    return Shape(distance, low, high)


def ellipsoid(
    center: Sequence[float], radii: Sequence[float], *, turn: Sequence[float] | None = None
) -> Shape:
    """An ellipsoid; `turn` are angles in degrees about x, y and z. The distance is exact to first order."""
    cx, cy, cz = (float(c) for c in center)
    rx, ry, rz = (float(r) for r in radii)
    axes = None if turn is None else _rotation(turn).tolist()

    def distance(x: Array, y: Array, z: Array) -> Array:
        u, v, w = x - cx, y - cy, z - cz
        if axes is not None:
            u, v, w = (a[0] * u + a[1] * v + a[2] * w for a in axes)
        u, v, w = u / rx, v / ry, w / rz
        k = np.sqrt(u * u + v * v + w * w)
        slope = np.sqrt((u / rx) ** 2 + (v / ry) ** 2 + (w / rz) ** 2)
        return k * (k - 1) / np.maximum(slope, _TINY)

    reach = (rx, ry, rz) if turn is None else (max(rx, ry, rz),) * 3
    return Shape(
        distance, (cx - reach[0], cy - reach[1], cz - reach[2]), (cx + reach[0], cy + reach[1], cz + reach[2])
    )


def _rotation(degrees: Sequence[float]) -> NDArray[np.float64]:
    a, b, c = np.deg2rad(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), np.sin(a)], [0, -np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, -np.sin(b)], [0, 1, 0], [np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), np.sin(c), 0], [-np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


def cone(start: Sequence[float], end: Sequence[float], start_radius: float, end_radius: float) -> Shape:
    """A tapered cylinder with round ends."""
    a, b = [float(v) for v in start], [float(v) for v in end]
    along = [q - p for p, q in zip(a, b, strict=True)]
    length2 = max(sum(v * v for v in along), 1e-6)
    r, taper = float(start_radius), float(end_radius - start_radius)

    def distance(x: Array, y: Array, z: Array) -> Array:
        u, v, w = x - a[0], y - a[1], z - a[2]
        t = np.clip((u * along[0] + v * along[1] + w * along[2]) / length2, 0, 1)
        return np.sqrt((u - t * along[0]) ** 2 + (v - t * along[1]) ** 2 + (w - t * along[2]) ** 2) - (
            r + taper * t
        )

    reach = max(r, r + taper)
    low = (min(a[0], b[0]) - reach, min(a[1], b[1]) - reach, min(a[2], b[2]) - reach)
    high = (max(a[0], b[0]) + reach, max(a[1], b[1]) + reach, max(a[2], b[2]) + reach)
    return Shape(distance, low, high)


def tube(points: Sequence[Sequence[float]], radii: Sequence[float], *, pieces: int = 0) -> tuple[Shape, ...]:
    """A curved tube through `points` as tapered cylinders; `pieces` > 0 rounds it with a spline first."""
    path, width = np.asarray(points, dtype=float), np.asarray(radii, dtype=float)
    if pieces:
        knots, fine = np.linspace(0, 1, len(path)), np.linspace(0, 1, pieces + 1)
        path, width = CubicSpline(knots, path)(fine), np.interp(fine, knots, width)
    steps = zip(path[:-1], path[1:], width[:-1], width[1:], strict=True)
    return tuple(cone(a.tolist(), b.tolist(), float(ra), float(rb)) for a, b, ra, rb in steps)


def column(
    z: Sequence[float],
    half_width: Sequence[float],
    half_depth: Sequence[float],
    middle: Sequence[float],
    *,
    power: float = 2.0,
) -> Shape:
    """A body whose cross-section at each height `z` is a superellipse about (0, middle), with flat ends."""
    widths, depths, middles = (PchipInterpolator(z, values) for values in (half_width, half_depth, middle))
    bottom, top = float(z[0]), float(z[-1])

    def distance(x: Array, y: Array, z: Array) -> Array:
        inside = np.clip(z, bottom, top)
        a, b, c = (f(inside).astype(np.float32) for f in (widths, depths, middles))
        u, v = np.abs(x) / a, np.abs(y - c) / b
        k = (u**power + v**power) ** np.float32(1 / power)
        slope = np.sqrt((u ** (power - 1) / a) ** 2 + (v ** (power - 1) / b) ** 2)
        # |grad k| = slope * k^(1 - power)
        flat = (k - 1) * np.maximum(k, _TINY) ** np.float32(power - 1) / np.maximum(slope, _TINY)
        return np.maximum(flat, np.maximum(bottom - z, z - top))

    wide, deep = max(half_width), max(half_depth)
    return Shape(distance, (-wide, min(middle) - deep, bottom), (wide, max(middle) + deep, top))


@dataclass(frozen=True)
class SmoothField:
    """A random field of mean 0 and variance 1 that varies over about `pitch` mm: a spline through noise.

    It is defined in space, so it is the same at every voxel size.
    """

    knots: NDArray[np.float32]
    origin: Point
    pitch: float

    @classmethod
    def draw(cls, rng: np.random.Generator, *, low: Point, high: Point, pitch: float) -> SmoothField:
        origin = _each(lambda a, _: a - 2 * pitch, low, low)
        counts = [int((h - o) / pitch) + 4 for h, o in zip(high, origin, strict=True)]
        # A cubic B-spline of unit noise has the mean variance 0.4794 an axis.
        noise = rng.standard_normal(counts, dtype=np.float32) / np.float32(0.4794**1.5)
        return cls(noise, origin, pitch)

    def on(self, x: Array, y: Array, z: Array) -> Array:
        """Values on the grid that the three coordinate vectors span."""
        weights = [self._weights(v.ravel(), axis) for axis, v in enumerate((x, y, z))]
        block: Array = self.knots[tuple(slice(start, start + w.shape[1]) for start, w in weights)]
        for _, w in reversed(weights):
            # Contract the last axis and bring the new one to the front.
            block = np.moveaxis(block @ w.T, -1, 0)
        return np.ascontiguousarray(block)

    def _weights(self, positions: Array, axis: int) -> tuple[int, Array]:
        t = (positions.astype(np.float64) - self.origin[axis]) / self.pitch
        t = np.clip(t, 0, self.knots.shape[axis] - 3.001)
        cell = np.floor(t).astype(int)
        first = int(cell.min())
        weights = np.zeros((len(t), int(cell.max()) - first + 4), np.float32)
        for k in range(4):
            weights[np.arange(len(t)), cell - first + k] = _CUBIC(t - cell - k + 3)
        return first, weights


_CUBIC = BSpline.basis_element([0, 1, 2, 3, 4])


@dataclass(frozen=True)
class Grid:
    """Voxel centres of a volume in body coordinates: x to the right, y to the front, z to the head (mm).

    The array's first axis runs to the left, as in files made from DICOM (orientation LAS).
    """

    low: Point
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    @classmethod
    def over(cls, low: Point, high: Point, spacing_mm: tuple[float, float, float]) -> Grid:
        """The smallest grid of this spacing that covers the box."""
        nx, ny, nz = (int(np.ceil((h - a) / s - 1e-6)) for a, h, s in zip(low, high, spacing_mm, strict=True))
        return cls(low, (nx, ny, nz), spacing_mm)

    @cached_property
    def axes(self) -> tuple[Array, Array, Array]:
        """The three coordinate vectors, shaped to broadcast."""
        x, y, z = (
            (low + (np.arange(n) + 0.5) * s).astype(np.float32)
            for low, n, s in zip(self.low, self.shape, self.spacing_mm, strict=True)
        )
        return x[::-1, None, None], y[None, :, None], z[None, None, :]

    def affine(self, offset: Point = (0.0, 0.0, 0.0)) -> NDArray[np.float64]:
        """Voxel indices to RAS mm, with the body moved by `offset` (where it lay on the table)."""
        x, y, z = (float(axis.ravel()[0]) for axis in self.axes)
        affine = np.diag([-self.spacing_mm[0], self.spacing_mm[1], self.spacing_mm[2], 1.0])
        affine[:3, 3] = x + offset[0], y + offset[1], z + offset[2]
        return affine
