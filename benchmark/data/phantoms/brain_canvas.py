"""The noiseless signals of a brain and its glioma, painted layer by layer. See docs/phantoms.md."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmark.data.phantoms import brain_anatomy as anatomy
from benchmark.data.phantoms.brain_anatomy import CORTEX_MM, melt
from benchmark.data.phantoms.brain_contrast import CONTRASTS
from benchmark.data.phantoms.brain_grid import Grid
from benchmark.data.phantoms.brain_patient import Patient
from benchmark.data.phantoms.shapes import Array, Point, Shape, ellipsoid

Box = tuple[slice, slice, slice]
_EVERYWHERE: Box = (slice(None), slice(None), slice(None))


class Canvas:
    """The four noiseless signals on the pieces; a piece on a border is shared."""

    def __init__(self, grid: Grid, patient: Patient) -> None:
        self.patient = patient
        self.brain = brain = patient.brain
        self.grid = grid
        self.axes = x, y, z = grid.piece_axes
        self.envelope = brain.envelope(x, y, z, brain.unevenness.on(x, y, z))
        self.outline = brain.outline(x, y, z, self.envelope)
        self.inside = self._share(self.outline)
        self.before = patient.glioma.displaced(x, y, z, -self.envelope)
        self.deep = brain.depths.on(x, y, z)
        self.texture = brain.texture.on(x, y, z)
        self.cortex = brain.cortex(self.before, self.envelope, deep=self.deep, texture=self.texture)
        self.white = self._share(np.float32(CORTEX_MM) - self.cortex)
        self.nuclei = np.zeros_like(self.envelope)
        ventricle = brain.lateral_ventricle
        low, high = ventricle.low, ventricle.high
        self.ventricle_box = box = self._box((-high[0], low[1], low[2]), high)
        u, v, w = (c[box] for c in self.before)
        self.ventricle = ventricle.distance(np.abs(u), v, w) + np.float32(0.5) * self.texture[box]
        fluid = patient.signals["cerebrospinal fluid"]
        self.signal = np.empty((len(CONTRASTS), *self.envelope.shape), np.float32)
        self.signal[:] = fluid[:, None, None, None]

    def _share(self, distance: Array) -> NDArray[np.float32]:
        """How much of each piece lies inside, from the distance of its middle."""
        return np.clip(np.float32(0.5) - distance * np.float32(1 / self.grid.piece_mm), 0, 1)

    def _box(self, low: Point, high: Point, margin: float = 12.0) -> Box:
        """The pieces near a box; the margin allows for what a tumour displaces."""
        found = []
        for axis, a, b in zip(self.axes, low, high, strict=True):
            held = np.flatnonzero((axis.ravel() > a - margin) & (axis.ravel() < b + margin))
            found.append(slice(int(held[0]), int(held[-1]) + 1) if len(held) else slice(0, 0))
        return found[0], found[1], found[2]

    def _axes(self, box: Box) -> tuple[Array, Array, Array]:
        x, y, z = self.axes
        return x[box[0]], y[:, box[1]], z[:, :, box[2]]

    def _fill(self, tissue: str, share: Array, box: Box = _EVERYWHERE) -> None:
        for at, value in enumerate(self.patient.signals[tissue]):
            part = self.signal[(at, *box)]
            part += share * (value - part)

    def _paint(self, tissue: str, shape: Shape, *, both: bool = False, nucleus: bool = False) -> None:
        """A structure of the midline, or of the right side and its mirror image."""
        low, high = shape.low, shape.high
        box = self._box((-high[0], low[1], low[2]), high) if both else self._box(low, high)
        x, y, z = (c[box] for c in self.before)
        share = self._share(shape.distance(np.abs(x) if both else x, y, z))
        self._fill(tissue, share, box)
        if nucleus:
            np.maximum(self.nuclei[box], share, out=self.nuclei[box])

    def paint_brain(self) -> None:
        brain = self.brain
        # Fluid that pulses in the cisterns comes between FLAIR's two pulses and is not suppressed.
        x, y, z = self.axes
        near = np.exp(-((x / 28) ** 2 + ((y + 18) / 30) ** 2 + ((z + 22) / 22) ** 2))
        self.signal[0] += np.float32(brain.pulsation) * self.patient.signals["oedema"][0] * near
        self._fill("grey matter", self._share(-self.cortex))
        self._fill("white matter", self.white)
        self._paint_below()
        for name, shape in (
            ("thalamus", anatomy.THALAMUS),
            ("caudate and putamen", anatomy.PUTAMEN),
            ("pallidum", anatomy.PALLIDUM),
        ):
            self._paint(name, shape, both=True, nucleus=True)
        for piece in anatomy.CAUDATE:
            self._paint("caudate and putamen", piece, both=True, nucleus=True)
        self._paint_ventricles()
        for center, radius in self.patient.lesions:
            spot = ellipsoid(center, (radius, radius * 1.2, radius * 0.9))
            box = self._box(spot.low, spot.high)
            x, y, z = (c[box] for c in self.before)
            self._fill("white matter lesion", self._share(spot.distance(x, y, z)) * self.white[box], box)
        # Fibre bundles and cell layers are not uniform: what lengthens T1 lengthens T2.
        for at, name in enumerate(CONTRASTS):
            sign = 1.0 if name in ("T1w", "T1Gd") else -1.0
            self.signal[at] *= 1 + np.float32(0.03 * sign) * self.texture
        self._paint_vessels()

    def _paint_below(self) -> None:
        """Cerebellum and brainstem."""
        reach = anatomy.CEREBELLUM.high[0]
        box = self._box((-reach, -95.0, -80.0), (reach, 0.0, 12.0), 2.0)
        x, y, z = self._axes(box)
        side = np.abs(x)
        surface = anatomy.CEREBELLUM.distance(side, y, z) + np.float32(0.8) * self.deep[box]
        self._fill("grey matter", self._share(surface), box)
        core = anatomy.CEREBELLAR_CORE.distance(side, y, z) + np.float32(2.0) * self.texture[box]
        self._fill("white matter", self._share(core), box)
        # Folia: clefts that radiate from the fourth ventricle.
        back, up = -(y + 46.0), z + 32.0
        radius = np.sqrt(back * back + up * up) + np.float32(1e-3)
        phase = np.arctan2(up, back) * 30 + 5 * self.deep[box] + 0.9 * self.texture[box] + side * 0.12
        cleft = np.abs(phase / (2 * np.pi) - np.rint(phase / (2 * np.pi))) * (2 * np.pi / 30) * radius
        cleft = np.maximum(cleft - 0.3, 3.5 + 2 * self.texture[box] - core)
        cleft = np.maximum(cleft, surface)
        self._fill("cerebrospinal fluid", 0.55 * self._share(cleft), box)
        self._fill("brainstem", self._share(anatomy.stem(x, y, z)), box)
        self._paint("cerebrospinal fluid", anatomy.FOURTH_VENTRICLE)

    def _paint_ventricles(self) -> None:
        brain, box, distance = self.brain, self.ventricle_box, self.ventricle
        # Caps and bands of old small-vessel disease.
        width = np.float32(4.0 * brain.lesion_load) * np.maximum(0.45 + 0.8 * self.deep[box], 0)
        tips = np.clip((np.abs(self.before[1][box] + 8) - 22) / 20, 0, 1)
        halo = self._share(distance - np.minimum(width * (0.6 + tips), 9.0)) * self.white[box]
        self._fill("white matter lesion", halo * np.clip(0.8 + 0.3 * self.texture[box], 0.3, 1), box)
        self._fill("cerebrospinal fluid", self._share(distance), box)
        self._paint("cerebrospinal fluid", brain.third_ventricle)
        for plexus in anatomy.PLEXUS:
            self._paint("choroid plexus", plexus, both=True)
        self._paint("choroid plexus", anatomy.PINEAL)

    def _paint_vessels(self) -> None:
        """Arteries, veins in sulci and along the falx, remains of the meninges: all take up contrast."""
        for piece in anatomy.VESSELS_OF_BOTH_SIDES:
            self._paint("blood", piece, both=True)
        for piece in anatomy.VESSELS_OF_THE_MIDDLE:
            self._paint("blood", piece)
        x, _, z = self.axes
        sinus = np.maximum(np.abs(x) - 2.4, np.abs(self.envelope + 0.8) - 2.0)
        self._fill("blood", self._share(np.maximum(sinus, 30.0 - z)))
        vein = np.maximum(np.abs(self.texture) * 5 - 0.6, self.cortex - 0.2)
        vein = np.maximum(np.maximum(vein, self.envelope - 1.0), 4 * (0.4 - self.deep))
        self._fill("blood", self._share(vein))
        shell = np.maximum(-1.6 - self.outline, (0.9 - self.deep) * 6)
        self._fill("meninges", self._share(shell))

    def paint_glioma(self) -> tuple[Array, Array, Array]:
        """Paint it; the shares of oedema, non-enhancing and enhancing tumour in every piece."""
        tumour = self.patient.glioma
        reach = tumour.reach_mm
        cx, cy, cz = tumour.center
        box = self._box((cx - reach, cy - reach, cz - reach), (cx + reach, cy + reach, cz + reach), 0.0)
        axes = self._axes(box)
        coarse, fine, patches, fingers = (
            noise.on(*axes) for noise in (tumour.coarse, tumour.fine, tumour.patches, tumour.fingers)
        )
        before_x, cortex = self.before[0][box], self.cortex[box]
        skin = self.envelope[box] + np.float32(1.0)
        core = -melt(-tumour.core(*axes, coarse=coarse, fine=fine, before_x=before_x), -skin, 5.0)
        solid = self._share(core)

        water = np.full_like(self.envelope, 99.0)
        water[self.ventricle_box] = self.ventricle
        swollen = tumour.oedema(core, cortex=cortex, coarse=coarse, fingers=fingers, before_x=before_x)
        swollen = np.maximum(np.maximum(swollen, skin), -water[box])
        # Nuclei are spared unless the tumour is upon them.
        room = (1 - solid) * (1 - self.nuclei[box] * (core > 5))
        around = self._share(swollen) * room
        # In white matter its edge is diffuse.
        seep = np.clip(np.float32(0.5) - swollen / 4, 0, 1) * self.white[box] * (water[box] > 0) * room
        strength = 1.0 + 0.15 * patches - 0.45 * np.clip(core / (1.4 * tumour.oedema_mm), 0, 1)
        self._fill("oedema", np.maximum(around, seep) * tumour.water * np.clip(strength, 0.5, 1.15), box)
        self._fill("non-enhancing tumour", solid, box)
        bright = np.zeros_like(solid)
        if tumour.low_grade:
            for signal in self.signal:
                signal[box] *= 1 + np.float32(0.06) * solid * fine
        else:
            bright = np.minimum(self._share(tumour.enhancing(core, fine=fine, patches=patches)), solid)
            dead = (solid - bright) * self._share(core + 2.0)
            self._fill("necrosis", dead * np.clip(0.75 + 0.5 * coarse, 0, 1), box)
            self._fill(
                "enhancing tumour", bright * np.clip(0.95 + 0.15 * patches + 0.1 * fine, 0.5, 1.2), box
            )
        if tumour.bleeds:
            self._fill("haemorrhage", solid * self._share((np.float32(0.8) - patches) * 4), box)
        return (
            self._everywhere(around, box),
            self._everywhere(solid - bright, box),
            self._everywhere(bright, box),
        )

    def _everywhere(self, part: Array, box: Box) -> Array:
        whole = np.zeros_like(self.envelope)
        whole[box] = part
        return whole
