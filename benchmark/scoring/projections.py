"""Where a run is right and wrong, seen from the front: small pictures of every test case, kept with its scores.

    <run>/projections.npz    uint8 [X, Z] of codes by reading, case and region: the coronal projection of the errors on
                             the full grid that is scored on, axes to the right and upwards; `modality`, the image
                             over which they are best shown; `regions`, in the data set's order

Codes are HIT, MISS and FALSE, nothing is 0; along a ray a hit hides a miss, and a miss a false positive. A run that is
scored on the original files' voxels has them on the grid of the data set's preparation all the same: their axes are to
the right, to the front and upwards in every case. Reading needs no torch.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np
from jaxtyping import Shaped, UInt8

from benchmark.files.arrays import Archive
from benchmark.files.places import DamagedFileError, is_there
from benchmark.files.writing import written_whole
from benchmark.vocabulary import BenchError, Region

HIT, MISS, FALSE = 1, 2, 3
HIDING = (FALSE, MISS, HIT)
"""Each hides those before it."""
MOST_BYTES = 16 * 2**20
"""Of one picture; of 400 x 400 x 326 voxels it is 130 kB."""
FRONT = 1
"""The axis along which the patient is seen."""
_DATE = (1980, 1, 1, 0, 0, 0)
"""No date, so that equal masks give equal files."""

Codes = UInt8[np.ndarray, "X Z"]


def projected_errors(
    prediction: Shaped[np.ndarray, "X Y Z"],
    reference: Shaped[np.ndarray, "X Y Z"],
    regions: Sequence[Region],
) -> dict[str, Codes]:
    """The codes of every region of two label maps on one grid, in which every label is one that was annotated."""
    planes = {
        region.name: np.zeros((prediction.shape[0], prediction.shape[2]), np.uint8) for region in regions
    }
    box = _box_around(np.bitwise_or(prediction, reference))
    if box is None:
        return planes
    predicted, true = prediction[box], reference[box]
    for region in regions:
        found, real = np.isin(predicted, region.labels), np.isin(true, region.labels)
        seen = {HIT: found & real, MISS: real & ~found, FALSE: found & ~real}
        plane = planes[region.name][box[0], box[2]]
        for code in HIDING:
            plane[seen[code].any(axis=FRONT)] = code
    return planes


def _box_around(labels: Shaped[np.ndarray, "X Y Z"]) -> tuple[slice, slice, slice] | None:
    """The smallest box around all labels. Of 50 million voxels a few thousand have one; `max` is the quickest look."""
    front = labels.max(axis=0)
    lines = (labels.reshape(len(labels), -1).max(axis=1), front.max(axis=1), front.max(axis=0))
    inside = [np.flatnonzero(line) for line in lines]
    if not inside[0].size:
        return None
    x, y, z = (slice(int(line[0]), int(line[-1]) + 1) for line in inside)
    return x, y, z


class Projections:
    """The pictures of a run, as they are made: compressed one by one, so that a thousand cases are a megabyte."""

    def __init__(self, modality: str, regions: Sequence[str]) -> None:
        self._content = io.BytesIO()
        self._zip = zipfile.ZipFile(self._content, "w", zipfile.ZIP_DEFLATED)
        self._write("modality", np.array(modality))
        self._write("regions", np.array(list(regions)))

    def add(self, codes: Codes, *, reading: str, case_id: str, region: str) -> None:
        self._write(_member(reading, case_id, region), codes)

    def write(self, path: Path) -> None:
        """End with the file at `path`; nothing can be added any more."""
        self._zip.close()
        with written_whole(path) as temporary:
            temporary.write_bytes(self._content.getbuffer())

    def _write(self, name: str, array: np.ndarray) -> None:
        file = io.BytesIO()
        np.save(file, array, allow_pickle=False)
        entry = zipfile.ZipInfo(f"{name}.npy", _DATE)
        self._zip.writestr(entry, file.getvalue(), zipfile.ZIP_DEFLATED, 9)


class ProjectionReader:
    """The pictures of a run; each is decompressed when it is asked for."""

    def __init__(self, archive: Archive) -> None:
        self._archive, self._names = archive, frozenset(archive.names)
        self.modality = str(self._array("modality"))
        self.regions = tuple(map(str, self._array("regions")))

    def codes(self, reading: str, case_id: str, region: str) -> Codes | None:
        """The picture of a case; None where the run has none of it, or the method does not tell the region."""
        name = _member(reading, case_id, region)
        if name not in self._names:
            return None
        codes = self._array(name)
        if codes.dtype != np.uint8 or codes.ndim != 2 or not codes.size:
            raise _damaged(self._archive.path, f"{name} is {codes.dtype} of {codes.shape}")
        return codes

    def cases(self, reading: str) -> list[str]:
        """The cases that there are pictures of, in the order in which they were scored."""
        parts = [name.split("/") for name in self._archive.names if name.count("/") == 2]
        return list(dict.fromkeys(unquote(case) for of, case, _ in parts if of == _part(reading)))

    def _array(self, name: str) -> np.ndarray:
        try:
            return self._archive.array(name)
        except DamagedFileError as error:
            raise _damaged(self._archive.path, error) from error


@contextmanager
def open_projections(path: Path) -> Iterator[ProjectionReader | None]:
    """The pictures in a run's `projections.npz`; None where there are none. BenchError for a damaged file."""
    if not is_there(path):
        yield None
        return
    try:
        archive = Archive(path, most=MOST_BYTES, below=path.parent)
    except DamagedFileError as error:
        raise _damaged(path, error) from error
    with archive:
        yield ProjectionReader(archive)


def _member(reading: str, case_id: str, region: str) -> str:
    return "/".join(map(_part, (reading, case_id, region)))


def _part(name: str) -> str:
    # A method with one reading has no name for it; the part of a path must have one, which no other name becomes.
    return quote(name, safe="") or "%"


def _damaged(path: Path, error: object) -> BenchError:
    words = str(error) if str(path) in str(error) else f"{path} is damaged ({error})"
    return BenchError(f"{words}. Remove it; `bench evaluate {path.parent.name}` writes it again.")
