"""Who the phantoms are: random patients, their tissues and lesions. See docs/phantoms.md for the sources.

Everything is drawn from the seed and the patient's number alone; no voxel size is known here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from benchmark.data.phantoms.body import DISCS, Body, Part, point_inside
from benchmark.data.phantoms.shapes import Array, Point, Shape, SmoothField
from benchmark.vocabulary import BenchError, did_you_mean

FIELD_OF_VIEW_MM = (490.0, 376.0)
"""Left to right and back to front; the length follows the patient's height, from vertex to thigh."""
VERTEX, MID_THIGH = 836.0, -130.0
FINEST_LESION_MM, LARGEST_LESION_MM = 8.0, 50.0
FAINTEST_SUV, HOTTEST_SUV = 2.3, 28.0
"""Of a lesion."""
WIDEST_SPREAD = 2.0
"""A standard deviation of a logarithm: most values then within a factor of 7."""
ROOM_FOR_LARGER = 1.5
"""A site takes lesions of so many medians at least, however small its usual ones are."""


@dataclass(frozen=True)
class Tissue:
    """Mean HU without and with contrast (portal venous phase), mean SUV, and how patients differ from it.

    `hu_spread` is a standard deviation in HU, `suv_spread` that of the SUV's logarithm.
    """

    hu: float
    hu_contrast: float
    suv: float
    hu_spread: float = 4.0
    suv_spread: float = 0.2


TISSUES: dict[str, Tissue] = {
    "fat": Tissue(-105, -105, 0.25),
    "visceral fat": Tissue(-100, -100, 0.35),
    "muscle": Tissue(50, 60, 0.65),
    "skin and gland": Tissue(20, 30, 0.6),
    "lung": Tissue(-830, -820, 0.45, 25.0),
    "air": Tissue(-1000, -1000, 0.15, 0.0),
    "blood": Tissue(42, 145, 1.6, 10.0, 0.15),
    "myocardium": Tissue(45, 105, 3.2, 8.0, 0.75),
    "liver": Tissue(57, 108, 2.2, 9.0, 0.18),
    "spleen": Tissue(47, 118, 1.8, 8.0, 0.18),
    "kidney": Tissue(32, 180, 2.8, 15.0, 0.2),
    "renal pelvis": Tissue(5, 20, 9.0, 5.0, 0.6),
    "urine": Tissue(5, 8, 18.0, 3.0, 0.6),
    "bladder wall": Tissue(35, 60, 1.2),
    "pancreas": Tissue(40, 90, 1.3, 7.0),
    "gallbladder": Tissue(8, 8, 0.6, 4.0),
    "stomach wall": Tissue(40, 75, 2.1, 5.0, 0.3),
    "stomach content": Tissue(15, 15, 0.5, 10.0),
    "bowel": Tissue(35, 65, 1.4, 6.0, 0.4),
    "stool": Tissue(20, 20, 0.8, 20.0, 0.3),
    "esophagus": Tissue(38, 60, 1.6),
    "grey matter": Tissue(37, 42, 9.5, 1.5, 0.18),
    "white matter": Tissue(28, 30, 3.2, 1.5, 0.18),
    "cerebellum": Tissue(35, 40, 8.0, 1.5, 0.18),
    "spinal cord": Tissue(35, 38, 1.7, 2.0),
    "cerebrospinal fluid": Tissue(8, 8, 0.6, 2.0),
    "eye": Tissue(12, 12, 0.7, 2.0),
    "tongue": Tissue(50, 70, 1.6),
    "tonsil": Tissue(45, 80, 3.45, 5.0, 0.35),
    "salivary gland": Tissue(30, 70, 2.0, 8.0, 0.3),
    "thyroid": Tissue(100, 160, 1.4, 12.0, 0.3),
    "larynx": Tissue(60, 70, 1.7, 5.0, 0.3),
    "prostate": Tissue(40, 70, 1.6),
    "uterus": Tissue(45, 100, 1.7, 8.0, 0.3),
    "testis": Tissue(30, 40, 2.57, 3.0, 0.22),
    "cortical bone": Tissue(700, 700, 0.6, 80.0),
    "vertebral cortex": Tissue(350, 350, 0.9, 40.0),
    "marrow": Tissue(150, 155, 1.2, 30.0, 0.25),
    "fatty marrow": Tissue(-20, -20, 0.4, 15.0),
    "disc": Tissue(80, 85, 0.8, 8.0),
    "cartilage": Tissue(110, 110, 0.6, 15.0),
    "skull": Tissue(900, 900, 0.5, 80.0),
    "brown fat": Tissue(-80, -75, 6.0, 8.0, 0.5),
    "inflammation": Tissue(40, 70, 3.5, 8.0, 0.4),
    "pneumonia": Tissue(-250, -220, 2.6, 80.0, 0.35),
    "table": Tissue(-650, -650, 0.0, 20.0),
}


@dataclass(frozen=True)
class Lesion:
    """A tumour: `center` in reference mm, its SUV, its HU (None: that of its surroundings)."""

    site: str
    center: Point
    diameter_mm: float
    suv: float
    hu: float | None
    elongation: Point
    bumps: tuple[tuple[float, ...], ...]
    necrosis: float = 0.0

    def shape(self, scale: Point) -> Shape:
        """The true extent in reference coordinates of a body of this scale."""
        radii = [self.diameter_mm / 2 * e / s for e, s in zip(self.elongation, scale, strict=True)]
        cx, cy, cz = self.center
        rx, ry, rz = radii
        mean = self.diameter_mm / 2

        def distance(x: Array, y: Array, z: Array) -> Array:
            u, v, w = (x - cx) / rx, (y - cy) / ry, (z - cz) / rz
            k = np.sqrt(u * u + v * v + w * w)
            norm = np.maximum(k, np.float32(1e-3))
            surface = np.float32(1)
            for amplitude, a, b, c, phase in self.bumps:
                surface = surface + amplitude * np.sin((a * u + b * v + c * w) / norm + phase)
            return (k - surface) * mean

        reach = 1.0 + sum(abs(bump[0]) for bump in self.bumps)
        return Shape(
            distance,
            (cx - reach * rx, cy - reach * ry, cz - reach * rz),
            (cx + reach * rx, cy + reach * ry, cz + reach * rz),
        )


@dataclass(frozen=True)
class Study:
    """One examination of a patient: what changes from day to day, and the lesions of that day."""

    number: int
    lesions: tuple[Lesion, ...]
    tissues: dict[str, tuple[float, float]]
    parts: tuple[Part, ...]
    field: SmoothField
    noise: float
    bed: Point


@dataclass(frozen=True)
class Patient:
    """A person. `scale` maps reference millimetres to this body's."""

    index: int
    seed: int
    sex: str
    age: int
    height_m: float
    bmi: float
    contrast: bool
    diagnosis: str
    scale: Point
    coarse: SmoothField = field(repr=False)
    fine: SmoothField = field(repr=False)
    studies: tuple[Study, ...] = field(repr=False)
    body: Body = field(repr=False)

    @property
    def extent(self) -> tuple[Point, Point]:
        """The scanned box in body coordinates, mm."""
        width, depth = FIELD_OF_VIEW_MM
        low = (-width / 2, -depth / 2 - 5.0, MID_THIGH * self.scale[2])
        return low, (width / 2, low[1] + depth, VERTEX * self.scale[2] + 12.0)

    @cached_property
    def organs(self) -> dict[str, tuple[Shape, ...]]:
        """The shapes of the first study by name, in reference coordinates."""
        return {part.name: part.shapes for part in self.studies[0].parts}


@dataclass(frozen=True)
class Population:
    """What phantoms may have otherwise than usual.

    Of `one_healthy_in` neighbouring patients one has no tumour. `lesion_mm` and `lesion_suv` are the medians of
    diameter and SUV over all lesions, `lesion_mm_spread` and `lesion_suv_spread` the standard deviations of their
    logarithms; their places stay. `suv` and `suv_spread` are those of a `Tissue`, by the tissue's name.
    """

    one_healthy_in: int = 2
    lesion_mm: float = 17.0
    lesion_suv: float = 6.5
    lesion_mm_spread: float = 0.5
    lesion_suv_spread: float = 0.6
    suv: Mapping[str, float] = field(default_factory=dict)
    suv_spread: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """BenchError for patients that cannot be drawn."""
        if self.one_healthy_in < 2:
            raise BenchError(
                f"One healthy patient in {self.one_healthy_in} leaves nobody with a tumour; choose 2 or more."
            )
        for name, (low, high) in {
            "lesion_mm": (FINEST_LESION_MM, LARGEST_LESION_MM),
            "lesion_suv": (FAINTEST_SUV, HOTTEST_SUV),
        }.items():
            if not low <= getattr(self, name) <= high:
                raise BenchError(
                    f"{name} is {getattr(self, name):g}; a median between {low:g} and {high:g} can be drawn."
                )
        for name, by_tissue in {"suv": self.suv, "suv_spread": self.suv_spread}.items():
            for tissue, value in by_tissue.items():
                if tissue not in TISSUES:
                    raise BenchError(
                        f"{name} names the tissue {tissue!r}. {did_you_mean(tissue, list(TISSUES))}"
                    )
                if not 0 <= value < math.inf:
                    raise BenchError(f"{name} of {tissue} is {value:g}; it must be a number from 0 on.")
        for name in ("lesion_mm_spread", "lesion_suv_spread"):
            if not 0 <= getattr(self, name) <= WIDEST_SPREAD:
                raise BenchError(
                    f"{name} is {getattr(self, name):g}; choose a number from 0 to {WIDEST_SPREAD:g}."
                )

    @cached_property
    def tissues(self) -> dict[str, Tissue]:
        """All tissues by name, as these patients have them."""
        return {
            name: replace(
                tissue,
                suv=self.suv.get(name, tissue.suv),
                suv_spread=self.suv_spread.get(name, tissue.suv_spread),
            )
            for name, tissue in TISSUES.items()
        }

    @property
    def unusual(self) -> dict[str, Any]:
        """What differs from the usual, by name."""
        return {name: value for name, value in asdict(self).items() if value != getattr(USUAL, name)}


USUAL = Population()

DIAGNOSES = ("MELANOMA", "LYMPHOMA", "LUNG_CANCER")
SITES_BY_DIAGNOSIS = {
    "MELANOMA": {"lung": 0.3, "node": 0.35, "liver": 0.15, "bone": 0.2},
    "LYMPHOMA": {"lung": 0.05, "node": 0.75, "liver": 0.05, "bone": 0.15},
    "LUNG_CANCER": {"lung": 0.4, "node": 0.3, "liver": 0.1, "bone": 0.2},
}
LESION_COUNTS = (0.28, 0.2, 0.15, 0.11, 0.09, 0.07, 0.05, 0.05)
"""Probabilities of 1 to 8 lesions in a patient who has any."""


def draw_patient(
    seed: int, index: int, *, healthy: bool, studies: int, population: Population = USUAL
) -> Patient:
    """Patient `index` of the population `seed`; the same whatever else is drawn."""
    rng = np.random.default_rng([seed, index, 0])
    sex = "M" if rng.random() < 0.56 else "F"
    age = int(np.clip(rng.normal(60, 16), 20, 90))
    height = float(np.clip(rng.normal(1.77 if sex == "M" else 1.65, 0.065), 1.50, 1.95))
    bmi = float(np.clip(rng.lognormal(math.log(26), 0.15), 18, 38))
    contrast = bool(rng.random() < 0.85)
    scale = (
        float(rng.normal(1.0 if sex == "M" else 0.94, 0.03)),
        float(rng.normal(1.0, 0.03)),
        height / 1.75,
    )
    body = Body(rng, sex=sex, age=age, bmi=bmi)
    diagnosis = "NEGATIVE" if healthy else str(rng.choice(DIAGNOSES))

    low, high = (-300.0, -240.0, MID_THIGH - 60), (300.0, 240.0, VERTEX + 60)
    fields = np.random.default_rng([seed, index, 1])
    coarse = SmoothField.draw(fields, low=low, high=high, pitch=30.0)
    fine = SmoothField.draw(fields, low=low, high=high, pitch=9.0)

    values = _patient_values(
        np.random.default_rng([seed, index, 2]), population.tissues, contrast=contrast, age=age
    )
    noise = 0.10 * (bmi / 25) ** 0.7 * float(rng.lognormal(0, 0.15))
    history: list[tuple[Lesion, ...]] = []
    lesion_rng = np.random.default_rng([seed, index, 3])
    for _ in range(studies):
        if diagnosis == "NEGATIVE":
            history.append(())
        elif not history:
            history.append(_draw_lesions(lesion_rng, body, diagnosis, values, contrast, population))
        else:
            history.append(_follow_up(lesion_rng, body, diagnosis, values, contrast, population, history[-1]))
    examined = []
    for number, lesions in enumerate(history):
        daily = np.random.default_rng([seed, index, 4 + number])
        examined.append(
            Study(
                number=number,
                lesions=lesions,
                tissues=_values_of_the_day(daily, values),
                parts=tuple(
                    body.parts(bladder_ml=float(np.clip(daily.lognormal(math.log(160), 0.5), 50, 500)))
                ),
                field=SmoothField.draw(daily, low=low, high=high, pitch=9.0),
                noise=noise * float(daily.lognormal(0, 0.08)),
                bed=(0.0, round(float(daily.normal(-180, 15)), 1), round(float(daily.normal(-900, 60)), 1)),
            )
        )
    return Patient(
        index=index,
        seed=seed,
        sex=sex,
        age=age,
        height_m=height,
        bmi=bmi,
        contrast=contrast,
        diagnosis=diagnosis,
        scale=scale,
        coarse=coarse,
        fine=fine,
        studies=tuple(examined),
        body=body,
    )


def _patient_values(
    rng: np.random.Generator, tissues: Mapping[str, Tissue], *, contrast: bool, age: int
) -> dict[str, tuple[float, float]]:
    """HU and SUV of each tissue in this patient."""
    values = {}
    for name, tissue in tissues.items():
        hu = float(rng.normal(tissue.hu_contrast if contrast else tissue.hu, tissue.hu_spread))
        suv = tissue.suv * float(np.exp(np.clip(rng.normal(0, 1), -2.2, 2.2) * tissue.suv_spread))
        values[name] = (hu, suv)
    # Trabecular bone loses 2.5 HU a year (Jang et al. 2019).
    marrow_hu, marrow_suv = values["marrow"]
    values["marrow"] = (max(marrow_hu - 2.5 * (age - 60), 50.0), marrow_suv)
    return values


def _values_of_the_day(
    rng: np.random.Generator, values: dict[str, tuple[float, float]]
) -> dict[str, tuple[float, float]]:
    """What one examination shows: organs repeat within some 8 %, heart, urine and bowel do not."""
    changing = {"myocardium": 0.4, "urine": 0.4, "renal pelvis": 0.4, "bowel": 0.3, "stool": 0.3}
    return {
        name: (hu, suv * float(np.exp(np.clip(rng.normal(0, 1), -2, 2) * changing.get(name, 0.08))))
        for name, (hu, suv) in values.items()
    }


NODE_STATIONS: dict[str, tuple[Point, ...]] = {
    "mediastinal": ((20, -2, 480), (-20, 2, 468), (4, -22, 432), (38, -14, 428), (-40, -16, 424)),
    "axillary": ((126, -2, 468), (-126, -2, 468), (124, 6, 490), (-124, -8, 450)),
    "cervical": ((40, 6, 600), (-40, 6, 600), (42, 2, 572), (-42, 2, 572), (52, 18, 545), (-52, 18, 545)),
    "retroperitoneal": ((-24, -8, 210), (32, -8, 205), (4, 6, 180), (-24, -8, 165), (-20, -8, 240)),
    "inguinal": ((80, 64, -12), (-80, 64, -12), (82, 62, -34), (-82, 62, -34), (52, 12, 70), (-52, 12, 70)),
}


def _draw_lesions(
    rng: np.random.Generator,
    body: Body,
    diagnosis: str,
    values: dict[str, tuple[float, float]],
    contrast: bool,
    population: Population,
    taken: Sequence[Lesion] = (),
    count: int | None = None,
) -> tuple[Lesion, ...]:
    if count is None:
        count = int(rng.choice(len(LESION_COUNTS), p=LESION_COUNTS)) + 1
    sites = SITES_BY_DIAGNOSIS[diagnosis]
    found: list[Lesion] = []
    for number in range(count):
        site = str(rng.choice(list(sites), p=list(sites.values())))
        if diagnosis == "LUNG_CANCER" and number == 0 and not taken:
            site = "lung"
        for _ in range(20):
            lesion = _draw_lesion(rng, body, site, values, contrast, population)
            if all(_apart(lesion, other) for other in (*taken, *found)):
                found.append(lesion)
                break
    return tuple(found)


def _apart(a: Lesion, b: Lesion) -> bool:
    return math.dist(a.center, b.center) > 0.35 * (a.diameter_mm + b.diameter_mm)


def _draw_lesion(
    rng: np.random.Generator,
    body: Body,
    site: str,
    values: dict[str, tuple[float, float]],
    contrast: bool,
    population: Population,
) -> Lesion:
    largest = {"lung": LARGEST_LESION_MM, "liver": LARGEST_LESION_MM, "node": 42.0, "bone": 34.0}[site]
    largest = max(largest, ROOM_FOR_LARGER * population.lesion_mm)
    size = rng.lognormal(math.log(population.lesion_mm), population.lesion_mm_spread)
    diameter = float(np.clip(size, FINEST_LESION_MM, largest))
    enhanced = 30.0 if contrast else 0.0
    uptake = rng.lognormal(math.log(population.lesion_suv), population.lesion_suv_spread)
    suv = float(np.clip(uptake, FAINTEST_SUV, HOTTEST_SUV))
    hu: float | None
    if site == "lung":
        center = point_inside(rng, body.lungs, min(0.45 * diameter, 22.0))
        hu = float(rng.normal(30, 8)) + 0.8 * enhanced
    elif site == "liver":
        center = point_inside(rng, body.liver, min(0.5 * diameter + 3, 26.0))
        hu = values["liver"][0] - float(rng.uniform(12, 25)) - enhanced
        suv = max(suv, 1.5 * values["liver"][1])
    elif site == "bone":
        center = _bone_point(rng, body)
        kind = rng.random()
        hu = None if kind < 0.25 else float(rng.normal(55, 15) if kind < 0.6 else rng.normal(550, 120))
    else:
        station = str(rng.choice(list(NODE_STATIONS)))
        spots = NODE_STATIONS[station]
        x, y, z = (float(v) for v in rng.normal(spots[int(rng.integers(len(spots)))], 4.0))
        center = (x, y, z)
        hu = float(rng.normal(40, 6)) + enhanced
    stretch = np.exp(rng.normal(0, 0.14, 3))
    elongation = stretch / np.cbrt(stretch.prod())
    irregular = float(rng.uniform(0.02, 0.07))
    bumps = tuple(
        (irregular, *(float(v) for v in rng.normal(0, 2.6, 3)), float(rng.uniform(0, 2 * math.pi)))
        for _ in range(5)
    )
    necrosis = float(rng.uniform(0.4, 0.65)) if diameter > 28 and rng.random() < 0.4 else 0.0
    ex, ey, ez = elongation.tolist()
    return Lesion(site, center, diameter, suv, hu, (ex, ey, ez), bumps, necrosis)


def _bone_point(rng: np.random.Generator, body: Body) -> Point:
    if rng.random() < 0.65:
        lowest = int(rng.integers(0, 15))
        z = float(DISCS[lowest : lowest + 2].mean())
        y, wide, deep = body.spine(z)
        return float(rng.normal(0, 0.3 * wide)), y + float(rng.normal(0, 0.25 * deep)), z
    spots: tuple[Point, ...] = (
        (0, -68, 50),
        (22, -68, 58),
        (92, -40, 92),
        (-92, -40, 92),
        (80, -18, 14),
        (-80, -18, 14),
        (90, 0, -2),
        (-92, 0, -2),
    )
    x, y, z = (float(v) for v in rng.normal(spots[int(rng.integers(len(spots)))], 2.5))
    return x, y, z


def _follow_up(
    rng: np.random.Generator,
    body: Body,
    diagnosis: str,
    values: dict[str, tuple[float, float]],
    contrast: bool,
    population: Population,
    before: Sequence[Lesion],
) -> tuple[Lesion, ...]:
    """The lesions some months later: treated, they shrink, cool or vanish; else they grow."""
    responds = rng.random() < 0.5
    after: list[Lesion] = []
    for lesion in before:
        vanishes = rng.random() < 0.3
        size = float(rng.uniform(0.45, 0.9) if responds else rng.uniform(1.0, 1.5))
        heat = float(rng.uniform(0.35, 0.9) if responds else rng.uniform(0.9, 1.4))
        if responds and vanishes:
            continue
        after.append(
            Lesion(
                site=lesion.site,
                center=lesion.center,
                diameter_mm=float(np.clip(lesion.diameter_mm * size, FINEST_LESION_MM, LARGEST_LESION_MM)),
                suv=float(np.clip(lesion.suv * heat, FAINTEST_SUV, HOTTEST_SUV)),
                hu=lesion.hu,
                elongation=lesion.elongation,
                bumps=lesion.bumps,
                necrosis=lesion.necrosis,
            )
        )
    if not responds and len(after) < len(LESION_COUNTS) and rng.random() < 0.5:
        after += _draw_lesions(rng, body, diagnosis, values, contrast, population, taken=after, count=1)
    return tuple(after)
