"""Which parts of a volume a panel shows: an axial slice through the largest lesion, and a coronal view.

Volumes have the axes right, front, up (RAS). Views are in radiological convention: the patient's right is on
the left of the picture, the front or the head at its top.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
from jaxtyping import Bool, Shaped

from benchmark.data.lesions import CONNECTIVITY
from benchmark.vocabulary import Spacing

Box = tuple[slice, slice, slice]
RIGHT, FRONT, UP = 0, 1, 2
MARGIN_MM = 10.0
AIR = 0.05
"""Prepared values nearer to zero than this are not taken for a part of the body when a view is cropped."""


@dataclass(frozen=True)
class View:
    """A plane across the volume's `axis`, at `index`, or with None the maximum along the axis; cropped to
    `box`. What must not be projected is cut at `cut` instead.

    `marks` are the patient's sides at the picture's left, right, top and bottom.
    """

    name: str
    axis: int
    index: int | None
    box: Box
    spacing_mm: Spacing
    marks: tuple[str, str, str, str]
    cut: int

    @property
    def size_mm(self) -> tuple[float, float]:
        """Width and height of the picture."""
        across, along = (axis for axis in (RIGHT, FRONT, UP) if axis != self.axis)
        width, height = (
            (self.box[axis].stop - self.box[axis].start) * self.spacing_mm[axis] for axis in (across, along)
        )
        return width, height

    def picture(
        self, volume: Shaped[np.ndarray, "X Y Z"], *, projected: bool = True
    ) -> Shaped[np.ndarray, "rows columns"]:
        """What the view shows of a volume, row 0 at the top; a slice in any case if it must not be
        `projected`."""
        inside = volume[self.box]
        if self.index is None and projected:
            return self.turned(inside.max(axis=self.axis))
        return self.turned(np.take(inside, self.cut - self.box[self.axis].start, axis=self.axis))

    def turned(self, plane: Shaped[np.ndarray, "across along"]) -> Shaped[np.ndarray, "rows columns"]:
        """A plane of the volume in the picture's rows and columns."""
        return plane[::-1, ::-1].T


def views_of(
    image: Shaped[np.ndarray, "m X Y Z"],
    reference: Shaped[np.ndarray, "X Y Z"],
    prediction: Shaped[np.ndarray, "X Y Z"],
    *,
    spacing_mm: Spacing,
    projected: bool,
    cut: str = "",
) -> tuple[View, View]:
    """The axial slice where the largest lesion is largest, and a coronal view.

    The lesion is the largest component of the reference, else of the prediction; without both, slices go
    through the middle. The coronal view is a maximum-intensity projection where some modality is `projected`,
    as PET is; else, as of MRI, a slice through the same lesion, through which CT beside a projection is cut
    too: its brightest voxels along a ray are bones. `cut` names what is.
    """
    box = shown_box(image, (reference > 0) | (prediction > 0), spacing_mm=spacing_mm)
    lesion = largest_component(reference) if reference.any() else largest_component(prediction)
    through = "through the largest\n" + ("lesion" if reference.any() else "false positive")
    if not lesion.any():
        through = "through the middle,\nas there is no lesion"
    slices = {axis: fullest(lesion, axis, box=box) for axis in (UP, FRONT)}
    across = View(
        f"Axial slice {slices[UP]},\n{through}",
        UP,
        slices[UP],
        box,
        spacing_mm,
        ("R", "L", "A", "P"),
        slices[UP],
    )
    name = f"Coronal slice {slices[FRONT]},\n{through}"
    if projected:
        name = "Coronal maximum-intensity\nprojection" + (f"; {cut}: slice {slices[FRONT]}" if cut else "")
    index = None if projected else slices[FRONT]
    return across, View(name, FRONT, index, box, spacing_mm, ("R", "L", "S", "I"), slices[FRONT])


def largest_component(mask: Shaped[np.ndarray, "X Y Z"]) -> Bool[np.ndarray, "X Y Z"]:
    """The component with most voxels, of a mask or of all labels of a label map; the first of equal ones."""
    components, number = cc3d.connected_components(
        np.ascontiguousarray(mask > 0), connectivity=CONNECTIVITY, binary_image=True, return_N=True
    )
    if not number:
        return np.zeros(mask.shape, dtype=bool)
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    largest: np.ndarray[Any, np.dtype[np.bool_]] = components == int(sizes.argmax())
    return largest


def fullest(mask: Bool[np.ndarray, "X Y Z"], axis: int, *, box: Box) -> int:
    """The index of the slice across `axis` with most voxels of the mask; the middle of the box for an empty
    one."""
    if not mask.any():
        return (box[axis].start + box[axis].stop) // 2
    return int(mask.sum(axis=tuple(other for other in range(3) if other != axis)).argmax())


def shown_box(
    image: Shaped[np.ndarray, "m X Y Z"], lesions: Bool[np.ndarray, "X Y Z"], *, spacing_mm: Spacing
) -> Box:
    """The part of the volume with the body and all lesions, and a margin; all of it where nothing stands
    out."""
    inside = lesions.copy()
    for modality in image:
        inside |= np.abs(modality) > AIR
    if not inside.any():
        inside[:] = True
    return _grown(
        [
            np.flatnonzero(inside.any(axis=tuple(other for other in range(3) if other != axis)))
            for axis in range(3)
        ],
        inside.shape,
        spacing_mm,
    )


def _grown(inside: Sequence[np.ndarray], shape: Sequence[int], spacing_mm: Spacing) -> Box:
    ends = []
    for indices, length, edge in zip(inside, shape, spacing_mm, strict=True):
        margin = round(MARGIN_MM / edge)
        ends.append(slice(max(int(indices[0]) - margin, 0), min(int(indices[-1]) + 1 + margin, length)))
    return ends[0], ends[1], ends[2]


def scale_bar_mm(width_mm: float) -> float:
    """The longest of 1, 2, 5, 10, 20, 50, ... mm that is at most a third of the width."""
    power = 10.0 ** np.floor(np.log10(width_mm / 3))
    return float(max(step * power for step in (1, 2, 5) if step * power <= width_mm / 3))
