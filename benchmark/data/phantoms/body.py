"""The geometry of a phantom's body: which organ lies where. See docs/phantoms.md.

Lengths are those of a reference adult of 175 cm, in mm, scaled to the patient elsewhere. Origin: between the
hip joints; x to the patient's right, y to the front, z to the head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.data.phantoms.shapes import Array, Point, Shape, column, cone, ellipsoid, region, tube

BACK = -118.0
"""Where the muscles of the back end; the table lies below them and the fat."""


@dataclass(frozen=True)
class Part:
    """Shapes of one tissue, laid over what was there before.

    `rough` moves the surface by that many mm (one standard deviation), `hu_texture` (HU) and
    `suv_texture` (of the logarithm) vary the inside. `fine` takes the 9 mm field instead of the 30 mm one
    for the surface; `daily` takes the study's own field, for what moves between two days. `within` is a
    smooth border that a rough surface does not cross.
    """

    name: str
    tissue: str
    shapes: tuple[Shape, ...]
    rough: float = 0.0
    hu_texture: float = 0.0
    suv_texture: float = 0.0
    fine: bool = False
    daily: bool = False
    within: Shape | None = None


class Body:
    """The geometry of one person in reference coordinates. Every random choice is made in the constructor."""

    def __init__(self, rng: np.random.Generator, *, sex: str, age: int, bmi: float) -> None:
        self.sex = sex
        self.fat_mm = float(np.clip(1.9 * (bmi - 18) * (1.15 if sex == "F" else 0.85) + 4, 4, 42))
        self.belly = float(np.clip(2.2 * (bmi - 23), -6, 34))
        self.dome = float(rng.normal(372, 8))
        self._rng = rng
        self.outline = self._outline()
        self.cage = self._cage()
        self.lungs = self._lungs()
        self.liver = self._liver()
        self.heart_center = self._near((-24, 32, self.dome + 24), 4)
        self._fixed = self._fixed_parts()
        self._stool_and_urine = self._moving_parts()
        self.brown_fat = self._brown_fat(age)
        self.inflammation = self._inflammation()

    def _near(self, point: Sequence[float], mm: float) -> Point:
        x, y, z = (float(v) for v in self._rng.normal(point, mm))
        return x, y, z

    def _sized(self, radii: Sequence[float], spread: float = 0.06) -> list[float]:
        size = float(np.exp(self._rng.normal(0, spread)))
        return [float(r) * size * float(np.exp(self._rng.normal(0, spread / 2))) for r in radii]

    # --- outlines -----------------------------------------------------------------------------------

    def _outline(self) -> Shape:
        """The muscular body, without the fat under the skin."""
        z: list[float] = [-78, -30, 30, 90, 140, 200, 260, 330, 400, 450, 490, 515, 535, 556, 580, 645]
        wide: list[float] = [60, 158, 166, 152, 139, 133, 138, 148, 155, 160, 168, 160, 118, 72, 57, 54]
        deep: list[float] = [46, 90, 96, 94, 92, 94, 98, 103, 103, 98, 88, 78, 68, 57, 55, 53]
        belly = [0, 0, 0.4, 0.9, 1, 1, 0.9, 0.5, 0.1, 0, 0, 0, 0, 0, 0, 0]
        wide = [w + 0.45 * self.belly * b for w, b in zip(wide, belly, strict=True)]
        deep = [d + 0.5 * self.belly * b for d, b in zip(deep, belly, strict=True)]
        # The back lies on the table: more depth means further to the front.
        middle = [max(-112 + d, -14) if height < 540 else -8 for d, height in zip(deep, z, strict=True)]
        return column(z, wide, deep, middle, power=2.3)

    def _cage(self) -> Shape:
        """The inside of the rib cage, and below it of the abdominal wall."""
        z: list[float] = [-12, 20, 60, 110, 160, 220, 270, 320, 380, 430, 470, 500, 525, 548]
        wide: list[float] = [70, 92, 108, 116, 114, 115, 122, 130, 133, 128, 116, 98, 72, 40]
        deep: list[float] = [58, 68, 72, 72, 72, 76, 84, 91, 92, 86, 76, 63, 48, 28]
        belly = [0, 0.3, 0.7, 1, 1, 1, 0.8, 0.4, 0.1, 0, 0, 0, 0, 0]
        wide = [w + 0.45 * self.belly * b for w, b in zip(wide, belly, strict=True)]
        deep = [d + 0.5 * self.belly * b for d, b in zip(deep, belly, strict=True)]
        back = [-60, -64, -62, -56, -54, -64, -82, -92, -93, -90, -86, -78, -66, -46]
        middle = [b + d for b, d in zip(back, deep, strict=True)]
        return column(z, wide, deep, middle, power=2.2)

    def _above_diaphragm(self, gap: float = 0.0) -> Shape:
        """Where the lungs are: above the two domes."""
        dome, low = self.dome + gap, 10.0

        def distance(x: Array, y: Array, z: Array) -> Array:
            right = dome - ((x - 68) ** 2 + 0.8 * (y + 4) ** 2) / 130
            left = dome - low - ((x + 68) ** 2 + 0.8 * (y + 4) ** 2) / 130
            return (np.maximum(right, left) - z) * np.float32(0.8)

        return region(distance, (-200, -200, 150), (200, 200, 600))

    def _below_diaphragm(self, gap: float) -> Shape:
        above = self._above_diaphragm(-gap)
        return region(
            lambda x, y, z: -above.distance(x, y, z), (-250, -250, -200), (250, 250, self.dome + 10)
        )

    def _lungs(self) -> Shape:
        def beside_mediastinum(x: Array, y: Array, z: Array) -> Array:
            # Wider where heart and great vessels are, narrow in front of the spine and behind the sternum.
            half = 23 + 12 * np.exp(-(((z - 430) / 45) ** 2)) - 12 * np.clip((y - 35) / 40, 0, 1)
            return half - np.abs(x + 4)

        pleura = self.cage.grown(-6) & self._above_diaphragm()
        return pleura & region(beside_mediastinum)

    def _liver(self) -> Shape:
        top = self.dome
        right = ellipsoid(self._near((68, -4, top - 78), 4), self._sized((76, 84, 88)), turn=(0, 12, 0))
        left = ellipsoid(self._near((2, 32, top - 52), 4), self._sized((78, 42, 42)), turn=(0, -14, 0))
        around_spine = cone((-4, -52, 180), (-4, -64, 420), 37, 34)
        return ((right | left) & self.cage.grown(-7) & self._below_diaphragm(5)) - around_spine

    def spine(self, z: float) -> tuple[float, float, float]:
        """Middle of the vertebral column at a height, and its half width and half depth."""
        y = float(np.interp(z, _SPINE_Z, _SPINE_Y))
        return y, float(np.interp(z, _SPINE_Z, _SPINE_WIDE)), float(np.interp(z, _SPINE_Z, _SPINE_DEEP))

    # --- organs -------------------------------------------------------------------------------------

    def parts(self, *, bladder_ml: float) -> list[Part]:
        """All parts in painting order."""
        radius = (bladder_ml * 1000 * 3 / (4 * math.pi)) ** (1 / 3)
        full = np.clip(radius / 34, 0.7, 1.45)
        radii = (radius * 1.18, radius * 0.95, radius * 0.89)
        bladder = ellipsoid((0.0, 14.0, 4.0 + radii[2] * 0.9), radii)
        return [
            *self._fixed,
            *self._stool_and_urine,
            Part("bladder wall", "bladder wall", (bladder.grown(4.5 - float(full) * 2),), rough=1.8),
            Part("bladder", "urine", (bladder,), rough=1.8),
            *self.brown_fat,
            *self.inflammation,
        ]

    def _fixed_parts(self) -> list[Part]:
        return [
            *self._surface(),
            *self._cavities(),
            *self._skeleton(),
            *self._chest(),
            *self._upper_abdomen(),
            *self._head_and_neck(),
            *self._pelvis_organs(),
        ]

    def _limbs(self) -> tuple[list[Shape], list[Shape]]:
        """Muscles and bones of thighs and raised arms."""
        muscles: list[Shape] = []
        bones: list[Shape] = []
        thigh = self._sized((84, 70), 0.04)
        for side in (1, -1):
            muscles += [
                cone((side * 86, -8, -10), (side * 84, -6, -240), thigh[0], thigh[1]),
                ellipsoid((side * 150, -18, 505), (42, 48, 52)),
                *tube([(side * 168, -12, 515), (side * 160, -4, 640), (side * 132, 8, 860)], [42, 35, 31]),
            ]
            bones += [
                *tube([(side * 116, -6, -35), (side * 96, -2, -120), (side * 88, 2, -260)], [15, 14, 14]),
                *tube([(side * 166, -10, 525), (side * 156, -3, 650), (side * 134, 6, 800)], [12, 11, 12]),
            ]
        return muscles, bones

    def _surface(self) -> list[Part]:
        """Table, fat under the skin, muscle."""
        muscles, _ = self._limbs()
        fat = self.fat_mm
        head = ellipsoid((0, 2, 736), (77, 98, 99))
        face = ellipsoid((0, 38, 676), (62, 66, 74))
        around = [self.outline.grown(fat * 0.8), head, face, *(m.grown(0.45 * fat + 2) for m in muscles)]
        hips = ellipsoid((0, -20, 5), (158 + 0.9 * fat, 88 + 0.6 * fat, 110))
        around.append(hips)
        extra: list[Part] = []
        if self.sex == "F":
            size = self._sized((46 + 0.5 * fat, 30 + 0.6 * fat, 46 + 0.5 * fat), 0.1)
            breasts = [ellipsoid((side * 78, 88 + 0.5 * fat, 415), size) for side in (1, -1)]
            around += breasts
            extra.append(
                Part(
                    "breast gland", "skin and gland", tuple(b.grown(-14) for b in breasts), rough=4, fine=True
                )
            )
        else:
            around.append(ellipsoid((0, 52, -78), (34, 30, 34)))
        table_top = BACK - 0.8 * fat

        def plate(x: Array, y: Array, z: Array) -> Array:
            return np.abs(y - (table_top + x * x / 900) + 12) - 6 + 0 * z

        table = region(plate, (-215, -400, -1000), (215, 0, 2000))
        muscle = (self.outline, *muscles, head.grown(-5), face.grown(-5))
        return [
            Part("table", "table", (table,)),
            Part("body", "fat", tuple(around), rough=1.5, hu_texture=5, suv_texture=0.1),
            Part("muscle", "muscle", muscle, rough=1.0, hu_texture=6, suv_texture=0.12),
            *extra,
        ]

    def _cavities(self) -> list[Part]:
        axilla = tuple(ellipsoid((s * 126, -4, 468), (20, 30, 42), turn=(0, s * 14, 0)) for s in (1, -1))
        groin = tuple(ellipsoid((s * 78, 62, -18), (26, 22, 44)) for s in (1, -1))
        neck = tuple(ellipsoid((s * 36, 2, 585), (12, 16, 45)) for s in (1, -1))
        pelvis = ellipsoid((0, -8, 30), (60, 62, 62))
        gap = region(lambda x, y, z: np.abs(x) - 5 + 0 * y + 0 * z, (-6, -200, -1000), (6, 200, -50))
        return [
            Part("axillary fat", "fat", axilla, rough=2),
            Part("inguinal fat", "fat", groin, rough=2),
            Part("neck fat", "fat", neck, rough=1),
            Part("thigh gap", "fat", (gap & self.outline,)),
            Part("cavity", "visceral fat", (self.cage, pelvis), hu_texture=8, suv_texture=0.15),
        ]

    def _skeleton(self) -> list[Part]:
        return [*self._ribs(), *self._spine_parts(), *self._pelvic_bones(), *self._shoulder_and_limb_bones()]

    def _ribs(self) -> list[Part]:
        cage = self.cage

        def ribs(x: Array, y: Array, z: Array) -> Array:
            height = z + 0.42 * y + 0.25 * np.abs(x)
            phase = np.abs(np.mod(height, 24.5) - 12.25) - 5.5
            margin = 270 + 0.55 * np.clip(y, 0, 100) - 0.35 * np.abs(x) * np.clip(y / 60, 0, 1)
            front = y + 0 * x - 66
            return np.maximum.reduce(np.broadcast_arrays(phase, margin - z, front, z - 540))

        ring = cage.grown(4.5) - cage.grown(-4.0)
        costal = cage.grown(3.5) - cage.grown(-3.0)

        def cartilage(x: Array, y: Array, z: Array) -> Array:
            height = z + 0.1 * y - 0.5 * np.abs(x)
            phase = np.abs(np.mod(height, 24.5) - 12.25) - 4.5
            return np.maximum.reduce(np.broadcast_arrays(phase, 63 - y, 330 - z, z - 500))

        sternum = ellipsoid((0, 74, 450), (19, 6, 66), turn=(18, 0, 0))
        return [
            Part("costal cartilage", "cartilage", (costal & region(cartilage),)),
            Part("ribs", "vertebral cortex", (ring & region(ribs),), hu_texture=30),
            Part("sternum", "vertebral cortex", (sternum,)),
            Part("sternum marrow", "marrow", (sternum.grown(-2),)),
        ]

    def _spine_parts(self) -> list[Part]:
        def middle(z: Array) -> Array:
            return np.interp(z, _SPINE_Z, _SPINE_Y).astype(np.float32)

        def body(x: Array, y: Array, z: Array) -> Array:
            a = np.interp(z, _SPINE_Z, _SPINE_WIDE).astype(np.float32)
            b = np.interp(z, _SPINE_Z, _SPINE_DEEP).astype(np.float32)
            k = np.sqrt((x / a) ** 2 + ((y - middle(z)) / b) ** 2)
            return np.maximum((k - 1) * np.minimum(a, b), np.maximum(75 - z, z - 674))

        def level(z: Array) -> tuple[Array, Array]:
            """Height above the nearest disc, and half the disc's thickness."""
            number = np.interp(z, DISCS, np.arange(len(DISCS)))
            nearest = np.clip(np.rint(number).astype(int), 0, len(DISCS) - 1)
            return np.abs(z - DISCS[nearest]), np.interp(z, _SPINE_Z, _DISC_HALF).astype(np.float32)

        def discs(x: Array, y: Array, z: Array) -> Array:
            height, half = level(z)
            return (height - half).astype(np.float32) + 0 * x + 0 * y

        def plates(x: Array, y: Array, z: Array) -> Array:
            return discs(x, y, z) - np.float32(1.5)

        def arch(x: Array, y: Array, z: Array) -> Array:
            b = np.interp(z, _SPINE_Z, _SPINE_DEEP).astype(np.float32)
            behind = y - (middle(z) - b - 9)
            ring = np.abs(np.sqrt(x * x + behind * behind) - 11.5) - 3
            height, _ = level(z)
            spinous = np.maximum(np.abs(x) - 3.5, np.abs(behind + 24) - 14)
            wings = np.maximum(np.abs(behind + 4) - 4.5, np.abs(x) - np.minimum(20 + b, 34))
            between = 6 - height.astype(np.float32)
            return np.maximum(
                np.minimum(ring, np.maximum(np.minimum(spinous, wings), between)), np.maximum(75 - z, z - 660)
            )

        def canal(x: Array, y: Array, z: Array) -> Array:
            b = np.interp(z, _SPINE_Z, _SPINE_DEEP).astype(np.float32)
            behind = y - (middle(z) - b - 9)
            return np.maximum(np.sqrt(x * x + behind * behind) - 8.5, np.maximum(60 - z, z - 690))

        low, high = (-40, -130, 55), (40, 40, 690)
        column_ = region(body, low, high)
        return [
            Part("vertebral arches", "vertebral cortex", (region(arch, low, high),)),
            Part("spinal canal", "cerebrospinal fluid", (region(canal, low, high),), suv_texture=0.1),
            Part(
                "spinal cord",
                "spinal cord",
                (*tube([(0, -79, 300), (0, -84, 430), (0, -50, 560), (0, -30, 690)], [4, 4, 5, 5]),),
            ),
            Part("vertebral column", "vertebral cortex", (column_,), rough=0.5),
            Part("vertebrae", "marrow", (column_.grown(-2.0),), hu_texture=12, suv_texture=0.08),
            Part("end plates", "vertebral cortex", (column_.grown(-1) & region(plates, low, high),)),
            Part("discs", "disc", (column_.grown(-0.5) & region(discs, low, high),)),
        ]

    def _pelvic_bones(self) -> list[Part]:
        def wing(x: Array, y: Array, z: Array) -> Array:
            t = np.clip((z - 10) / 110, 0, 1)
            a, b = 88 + 40 * t, 62 + 18 * t
            k = np.sqrt((x / a) ** 2 + ((y + 4) / b) ** 2)
            sheet = np.abs(k - 1) * (0.6 * a + 0.4 * b) - (9 - 4 * t)
            crest = z - (134 - 34 * ((y - 2) / 62) ** 2)
            return np.maximum.reduce(
                np.broadcast_arrays(sheet, crest, 5 - z, y - 46 + 0.25 * (120 - z), 26 - np.abs(x))
            )

        wings = region(wing, (-140, -110, 0), (140, 80, 138))
        sacrum = ellipsoid((0, -68, 44), (46, 19, 50), turn=(-18, 0, 0))
        shapes: list[Shape] = [wings, sacrum]
        for side in (1, -1):
            hip = ellipsoid((side * 80, -4, 2), (26, 30, 32)) - ellipsoid((side * 92, 0, -2), (25, 25, 25))
            shapes += [
                hip,
                *tube([(side * 66, 26, 10), (side * 38, 52, -6), (side * 10, 60, -18)], [9, 8, 9]),
                *tube(
                    [
                        (side * 68, -30, -10),
                        (side * 56, -30, -52),
                        (side * 34, 22, -52),
                        (side * 10, 56, -28),
                    ],
                    [12, 13, 7, 8],
                ),
                ellipsoid((side * 90, 0, -2), (23, 23, 23)),
                *tube([(side * 92, 0, -6), (side * 118, -6, -34)], [15, 19]),
            ]
        return [
            Part("pelvic bones", "vertebral cortex", tuple(shapes), rough=0.4),
            Part(
                "pelvic marrow", "marrow", tuple(s.grown(-3) for s in shapes), hu_texture=15, suv_texture=0.1
            ),
        ]

    def _shoulder_and_limb_bones(self) -> list[Part]:
        _, bones = self._limbs()
        flat: list[Shape] = []
        for side in (1, -1):
            flat += [
                *tube([(side * 16, 56, 520), (side * 70, 48, 535), (side * 125, 6, 545)], [7, 6, 6]),
                ellipsoid((side * 104, -88, 455), (34, 5, 62), turn=(0, side * 12, side * 28)),
                ellipsoid((side * 152, -14, 520), (24, 24, 24)),
            ]
        return [
            Part("shoulder girdle", "vertebral cortex", tuple(flat)),
            Part("shoulder marrow", "marrow", tuple(s.grown(-3) for s in flat)),
            Part("limb bones", "cortical bone", tuple(bones)),
            Part("limb marrow", "fatty marrow", tuple(s.grown(-6) for s in bones)),
        ]

    def _chest(self) -> list[Part]:
        hx, hy, hz = self.heart_center
        heart = ellipsoid((hx, hy, hz), self._sized((54, 44, 52), 0.05), turn=(20, -30, 20))
        axis = (-0.72, 0.42, -0.55)
        left = (hx - 14, hy + 0, hz - 4)
        chamber = self._sized((31, 31, 42), 0.05)
        turn = (-38, -50, 0)
        left_ventricle = ellipsoid(left, chamber, turn=turn)
        cavity = ellipsoid(
            (left[0] - 2 * axis[0], left[1] - 2 * axis[1], left[2] - 2 * axis[2] + 3),
            (chamber[0] - 11, chamber[1] - 11, chamber[2] - 9),
            turn=turn,
        )
        arch = tube(
            [(6, 22, hz + 28), (14, 28, hz + 62), (2, 4, hz + 86), (-16, -32, hz + 72), (-22, -46, hz + 30)],
            [15, 15, 13, 12, 11],
            pieces=8,
        )
        descending = tube(
            [(-22, -46, hz + 30), (-20, -44, hz - 60), (-12, -30, 280), (-8, -12, 190), (-3, -8, 132)],
            [11, 11, 10, 9, 8],
            pieces=8,
        )
        veins = (
            *tube([(14, -4, 132), (18, -10, 230), (22, -8, hz - 30)], [9, 10, 11]),
            *tube([(24, 12, hz + 20), (24, 16, 505)], [10, 8]),
        )
        great = []
        for side in (1, -1):
            great += [
                *tube([(-8, 24, hz + 40), (side * 30, -6, hz + 42), (side * 48, -18, hz + 34)], [13, 10, 7]),
                *tube([(side * 8, 8, 500), (side * 22, 0, 545), (side * 28, 2, 640)], [5.5, 4, 3.5]),
                *tube([(side * 20, 14, 505), (side * 30, 6, 550), (side * 36, 4, 640)], [6, 5.5, 4.5]),
                *tube(
                    [
                        (side * 4, -4, 130),
                        (side * 38, -8, 66),
                        (side * 64, 34, 12),
                        (side * 74, 54, -40),
                        (side * 72, 30, -200),
                    ],
                    [6.5, 5.5, 5, 4.5, 4],
                ),
                *tube(
                    [
                        (side * 8, -10, 128),
                        (side * 44, -18, 64),
                        (side * 58, 32, 8),
                        (side * 64, 46, -40),
                        (side * 66, 24, -200),
                    ],
                    [7.5, 6.5, 6, 5.5, 4],
                ),
            ]
        airway = (
            *tube([(0, 22, 690), (0, 16, 630), (0, 18, 590)], [7, 8, 5]),
            *tube([(0, 20, 575), (0, 4, 520), (0, -12, hz + 60)], [8, 8.5, 8.5]),
            *tube([(0, -12, hz + 60), (30, -20, hz + 38)], [7, 6]),
            *tube([(0, -12, hz + 60), (-34, -22, hz + 34)], [7, 5.5]),
        )
        esophagus = tube(
            [(0, 0, 560), (-4, -22, 500), (-2, -32, hz + 40), (-6, -34, hz - 20), (-22, -20, hz - 60)],
            [6.5, 7, 7, 7, 7],
        )
        vessels = self._lung_vessels(hz)
        return [
            Part("lungs", "lung", (self.lungs,), hu_texture=25, suv_texture=0.15),
            Part("lung vessels", "blood", vessels),
            Part("esophagus", "esophagus", esophagus),
            Part("heart", "blood", (heart,), rough=1.0),
            Part("myocardium", "myocardium", (left_ventricle,), rough=0.8, suv_texture=0.15),
            Part("left ventricle", "blood", (cavity,)),
            Part("aorta", "blood", (*arch, *descending)),
            Part("veins", "blood", veins),
            Part("great vessels", "blood", tuple(great)),
            Part("airways", "air", airway),
        ]

    def _lung_vessels(self, hz: float) -> tuple[Shape, ...]:
        found: list[Shape] = []
        for side in (1, -1):
            root = np.array((side * 48.0, -16.0, hz + 36))
            for angle in np.linspace(0, 2 * math.pi, 7, endpoint=False) + self._rng.uniform(0, 1):
                reach = np.array(
                    (side * self._rng.uniform(24, 42), 50 * math.cos(angle), 62 * math.sin(angle))
                )
                bend = root + 0.5 * reach + self._rng.normal(0, 6, 3)
                found += tube([root.tolist(), bend.tolist(), (root + reach).tolist()], [4.0, 2.6, 1.3])
        return tuple(s & self.lungs for s in found)

    def _upper_abdomen(self) -> list[Part]:
        spleen = ellipsoid(
            self._near((-94, -42, self.dome - 76), 4), self._sized((25, 42, 50), 0.1), turn=(18, 18, 0)
        )
        spleen = spleen & self.cage.grown(-6) & self._below_diaphragm(6)
        stomach = ellipsoid(
            self._near((-52, 26, self.dome - 72), 5), self._sized((36, 38, 58), 0.08), turn=(0, -24, 0)
        )
        stomach = stomach & self.cage.grown(-6) & self._below_diaphragm(6)
        level = float(self._rng.normal(38, 6))
        gas = region(lambda x, y, z: level - y + 0 * x + 0 * z)
        kidneys: list[Shape] = []
        pelves: list[Shape] = []
        ureters: list[Shape] = []
        for side in (1, -1):
            x, y, z = self._near((side * 58, -40, 226 - 6 * side), 3)
            turn = (8, side * 12, side * 22)
            radii = self._sized((25, 24, 54), 0.06)
            kidneys.append(ellipsoid((x, y, z), radii, turn=turn))
            pelves.append(ellipsoid((x - side * 11, y + 4, z), (8, 9, 20), turn=turn))
            path = [
                (x - side * 20, y + 6, z - 22),
                (side * 36, -18, 130),
                (side * 40, -26, 60),
                (side * 14, -14, 18),
            ]
            ureters += tube(path, [2.5, 2.2, 2.2, 2.2], pieces=6)
        # Peristalsis: urine shows in some stretches only.
        filled = tuple(u for u in ureters if self._rng.random() < 0.3)
        psoas: list[Shape] = []
        for side in (1, -1):
            psoas += tube(
                [(side * 30, -32, 240), (side * 44, -24, 140), (side * 62, 6, 50), (side * 84, 14, -20)],
                [10, 20, 20, 13],
            )
        return [
            Part("psoas", "muscle", tuple(psoas), rough=1.0, hu_texture=5),
            Part("liver", "liver", (self.liver,), rough=1.5, hu_texture=4, suv_texture=0.05),
            Part("gallbladder", "gallbladder", (ellipsoid((46, 44, self.dome - 118), (14, 14, 26)),)),
            Part("spleen", "spleen", (spleen,), rough=1.5, hu_texture=4, suv_texture=0.05),
            Part(
                "pancreas",
                "pancreas",
                tube([(30, 14, 226), (8, 16, 244), (-26, 0, 258), (-62, -22, 268)], [13, 10, 9, 8], pieces=5),
                rough=1.5,
                fine=True,
            ),
            Part("stomach", "stomach wall", (stomach,), rough=1.5, suv_texture=0.15),
            Part("stomach content", "stomach content", (stomach.grown(-6),), rough=1.5),
            Part("stomach gas", "air", (stomach.grown(-6) & gas,)),
            Part("kidneys", "kidney", tuple(kidneys), rough=1.0, hu_texture=8, suv_texture=0.1),
            Part("renal pelves", "renal pelvis", tuple(pelves), rough=1.5, fine=True, suv_texture=0.2),
            Part("ureters", "renal pelvis", filled, suv_texture=0.3),
        ]

    def _moving_parts(self) -> list[Part]:
        """Bowel: its place is the patient's, its content and uptake the day's."""
        out = 0.4 * self.belly
        colon = tube(
            [
                (96 + out, 10, 58),
                (104 + out, 6, 130),
                (98 + out, 12, 205),
                (52, 58 + out, 206),
                (0, 66 + out, 176),
                (-58, 56 + out, 214),
                (-104 - out, -10, 262),
                (-108 - out, -16, 170),
                (-102 - out, -10, 86),
                (-62, 16, 52),
                (-24, -14, 78),
                (0, -42, 52),
                (0, -44, -10),
            ],
            [26, 25, 22, 20, 20, 19, 18, 17, 17, 15, 15, 16, 15],
            pieces=26,
        )
        small = ellipsoid((0, 34 + 0.4 * out, 128), (88 + out, 44 + out, 66))
        cavity = self.cage.grown(-2) - self.liver.grown(3)
        return [
            Part(
                "small bowel",
                "bowel",
                (small,),
                rough=12,
                fine=True,
                hu_texture=12,
                suv_texture=0.5,
                daily=True,
                within=cavity,
            ),
            Part("colon", "bowel", colon, rough=1.5, suv_texture=0.5, daily=True, within=cavity),
            Part(
                "stool",
                "stool",
                tuple(c.grown(-4.5) for c in colon),
                rough=1.5,
                hu_texture=25,
                daily=True,
                within=cavity,
            ),
            Part(
                "bowel gas",
                "air",
                tuple(c.grown(-10) for c in colon),
                rough=9,
                fine=True,
                daily=True,
                within=cavity,
            ),
        ]

    def _pelvis_organs(self) -> list[Part]:
        if self.sex == "F":
            return [
                Part(
                    "uterus",
                    "uterus",
                    (ellipsoid(self._near((0, -14, 62), 3), self._sized((26, 32, 24), 0.1)),),
                    rough=1,
                )
            ]
        testes = tuple(ellipsoid((s * 16, 54, -82), (13, 14, 19)) for s in (1, -1))
        return [
            Part("prostate", "prostate", (ellipsoid((0, 4, -14), self._sized((22, 17, 17), 0.1)),), rough=1),
            Part("testes", "testis", testes),
        ]

    def _head_and_neck(self) -> list[Part]:
        skull = ellipsoid((0, 2, 740), (72, 92, 91))
        inner = skull.grown(-7) & region(lambda x, y, z: 683 + 0.22 * (y + 40) - z + 0 * x)
        vault = skull & region(lambda x, y, z: 678 + 0.22 * (y + 40) - z + 0 * x)
        brain = skull.grown(-9.5) & region(lambda x, y, z: 702 + 0.22 * (y + 40) - z + 0 * x)
        tentorium = region(
            lambda x, y, z: z - (724 + 0.3 * (y + 40)) + 0 * x, (-80, -100, 600), (80, -8, 740)
        )
        cerebellum = ellipsoid((0, -46, 712), (50, 34, 24)) & inner.grown(-1)
        nuclei = tuple(ellipsoid((s * 19, 6, 742), (10, 22, 13)) for s in (1, -1))
        ventricles = tuple(ellipsoid((s * 9, -2, 752), (4, 32, 8), turn=(-8, 0, s * 6)) for s in (1, -1))
        fissure = region(
            lambda x, y, z: np.abs(x) - 1.4 + 0 * y + 0 * z, (-3, -100, 715), (3, 100, 840)
        ) - ellipsoid((0, 0, 745), (60, 52, 26))
        jaw: list[Shape] = []
        parotid, sub = [], []
        for side in (1, -1):
            jaw += tube(
                [(side * 52, 2, 686), (side * 48, 14, 645), (side * 30, 66, 628), (0, 84, 626)], [6, 8, 8, 9]
            )
            parotid.append(ellipsoid((side * 56, -6, 664), (9, 16, 21)))
            sub.append(ellipsoid((side * 28, 36, 624), (9, 13, 11)))
        air = (
            ellipsoid((0, 74, 690), (12, 24, 20)),
            *(ellipsoid((s * 27, 62, 684), (12, 15, 15)) for s in (1, -1)),
            *(ellipsoid((s * 10, 84, 728), (9, 7, 10)) for s in (1, -1)),
        )
        skull_base = ellipsoid((0, -4, 689), (54, 58, 6), turn=(-12, 0, 0))
        upper_jaw = ellipsoid((0, 72, 655), (27, 22, 9))
        return [
            Part("skull", "skull", (vault,), rough=0.6, hu_texture=60),
            Part("skull base", "vertebral cortex", (skull_base,), rough=2, fine=True, hu_texture=150),
            Part("face bones", "cortical bone", (upper_jaw, *jaw), hu_texture=60),
            Part("intracranial space", "cerebrospinal fluid", (inner,)),
            Part("brain", "grey matter", (brain - fissure,), rough=1.2, fine=True, suv_texture=0.06),
            Part(
                "white matter",
                "white matter",
                ((brain - fissure).grown(-9),),
                rough=5.5,
                fine=True,
                suv_texture=0.05,
            ),
            Part("basal ganglia", "grey matter", nuclei, rough=1, fine=True),
            Part("ventricles", "cerebrospinal fluid", ventricles, rough=0.8),
            Part("tentorial gap", "cerebrospinal fluid", (brain & tentorium,)),
            Part("cerebellum", "cerebellum", (cerebellum,), rough=1, fine=True, suv_texture=0.1),
            Part(
                "brain stem", "white matter", tube([(0, -10, 738), (0, -18, 700), (0, -22, 686)], [14, 11, 7])
            ),
            Part("sinuses", "air", air, rough=1, fine=True),
            Part("eyes", "eye", tuple(ellipsoid((s * 32, 80, 716), (12, 12, 12)) for s in (1, -1))),
            Part("tongue", "tongue", (ellipsoid((0, 46, 644), (22, 28, 16)),), suv_texture=0.1),
            Part("tonsils", "tonsil", tuple(ellipsoid((s * 15, 24, 652), (7, 8, 11)) for s in (1, -1))),
            Part("parotids", "salivary gland", tuple(parotid), rough=1, fine=True),
            Part("submandibular glands", "salivary gland", tuple(sub)),
            Part(
                "larynx",
                "larynx",
                (ellipsoid((0, 26, 592), (17, 15, 15)) - ellipsoid((0, 20, 590), (6, 9, 25)),),
            ),
            Part("thyroid", "thyroid", tuple(ellipsoid((s * 15, 20, 560), (8, 9, 20)) for s in (1, -1))),
        ]

    def _brown_fat(self, age: int) -> list[Part]:
        """Active brown fat, more often in women and in the young (Cypess et al. 2009)."""
        chance = (0.16 if self.sex == "F" else 0.07) * (1.5 if age < 45 else 1.0)
        if self._rng.random() > chance:
            return []
        shapes: list[Shape] = []
        for side in (1, -1):
            shapes += tube(
                [(side * 34, 4, 590), (side * 48, 8, 552), (side * 92, 0, 536), (side * 122, -8, 500)],
                [7, 9, 10, 8],
                pieces=6,
            )
            shapes += [ellipsoid((side * 26, -62, z), (6, 6, 6)) for z in range(380, 520, 26)]
        return [Part("brown fat", "brown fat", tuple(shapes), rough=3.5, fine=True, suv_texture=0.35)]

    def _inflammation(self) -> list[Part]:
        """Benign foci, hot and unlabelled, in about four of ten patients."""
        if self._rng.random() > 0.4:
            return []
        found: list[Part] = []
        for kind in self._rng.choice(5, size=int(self._rng.integers(1, 4)), replace=False):
            side = 1 if self._rng.random() < 0.5 else -1
            size = self._sized((1, 1, 1), 0.2)
            if kind == 0:  # arthritis of a shoulder
                joint = ellipsoid((side * 152, -14, 520), (28, 28, 28)) - ellipsoid(
                    (side * 152, -14, 520), (23, 23, 23)
                )
                found.append(Part("arthritis", "inflammation", (joint,), rough=2, fine=True, suv_texture=0.3))
            elif kind == 1:  # pneumonia
                focus = self._inside(self.lungs, 12)
                blob = ellipsoid(focus, [20 * s for s in size]) & self.lungs
                found.append(
                    Part(
                        "pneumonia", "pneumonia", (blob,), rough=6, fine=True, hu_texture=150, suv_texture=0.3
                    )
                )
            elif kind == 2:  # reactive nodes
                nodes = tuple(
                    ellipsoid(self._near((side * 128, 0, 472), 12), [r * size[0] for r in (5, 4, 7)])
                    for _ in range(3)
                )
                found.append(Part("reactive nodes", "inflammation", nodes))
            elif kind == 3:  # bursitis or arthritis of a hip
                found.append(
                    Part(
                        "bursitis",
                        "inflammation",
                        (ellipsoid((side * 134, -14, -28), (6, 15, 18)),),
                        rough=2,
                        fine=True,
                    )
                )
            else:  # hilar nodes
                hz = self.heart_center[2]
                nodes = tuple(
                    ellipsoid((s * 42, -14, hz + 34), [r * size[0] for r in (7, 6, 9)]) for s in (1, -1)
                )
                found.append(Part("hilar nodes", "inflammation", nodes))
        return found

    def _inside(self, shape: Shape, depth: float) -> Point:
        return point_inside(self._rng, shape, depth)


_SPINE_Z = np.array([55, 75, 110, 180, 262, 350, 430, 500, 555, 640, 690], float)
_SPINE_Y = np.array([-62, -52, -38, -34, -46, -64, -70, -58, -36, -18, -16], float)
_SPINE_WIDE = np.array([26, 26, 25, 23, 20, 17, 16, 15, 13, 11, 10], float)
_SPINE_DEEP = np.array([17, 17, 17, 16.5, 15, 14, 13, 11, 9, 8, 8], float)
_DISC_HALF = np.array([4.5, 4.5, 4.5, 4.2, 3.2, 2.4, 2.2, 2.0, 2.2, 2.2, 2.0], float)
DISCS = np.array(
    [*(80 + 36.4 * np.arange(5)), *(262 + 24.4 * np.arange(12)), *(555 + 17 * np.arange(8))], float
)


def point_inside(rng: np.random.Generator, shape: Shape, depth: float) -> Point:
    """A random point at least `depth` mm inside; the deepest of many when there is none."""
    low, high = np.array(shape.low), np.array(shape.high)
    points = rng.uniform(low, high, (600, 3))
    x, y, z = points.T.astype(np.float32)
    inside = -shape.distance(x, y, z)
    enough = np.flatnonzero(inside >= depth)
    a, b, c = points[enough[0] if len(enough) else int(inside.argmax())].tolist()
    return a, b, c
