"""What all phantoms promise about their folder: one writer, one set of parameters, finished cases kept, same seed
same bytes."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from benchmark.files.writing import exclusive, write_json, written_whole
from benchmark.processes.side_by_side import side_by_side
from benchmark.vocabulary import BenchError, Spacing

PARAMETERS_FILE = "phantom.json"
FIRST_KIND = "pet-ct"
"""The kind of a folder whose parameters name none."""

Item = TypeVar("Item")


def checked_parameters(
    *,
    generation: int,
    cases: int,
    seed: int,
    spacing_mm: Spacing,
    jobs: int,
    between_mm: tuple[float, float],
    grid: str,
) -> dict[str, Any]:
    """What `phantom.json` will hold. Voxel edges must lie `between_mm`; `grid` names it in the error.

    Raises BenchError when a parameter makes no sense.
    """
    if cases < 1:
        raise BenchError(f"{cases} phantoms cannot be written; ask for at least one with --cases.")
    if seed < 0:
        raise BenchError(f"The seed {seed} is negative; choose a whole number from 0 on with --seed.")
    if jobs < 1:
        raise BenchError(f"{jobs} jobs cannot work; ask for at least one with --jobs.")
    finest, coarsest = between_mm
    if len(spacing_mm) != 3 or not all(finest <= s <= coarsest for s in spacing_mm):
        shown = " x ".join(f"{s:g}" for s in spacing_mm)
        raise BenchError(
            f"Voxels of {shown} mm are no sensible {grid}; give --spacing three lengths "
            f"between {finest:g} and {coarsest:g} mm."
        )
    return {
        "generation": generation,
        "seed": seed,
        "spacing_mm": [float(s) for s in spacing_mm],
        "cases": cases,
    }


@contextmanager
def claimed(out: Path, parameters: dict[str, Any]) -> Iterator[None]:
    """Hold `out` for this process, with the parameters noted in it.

    Raises BenchError when another process holds it, or when it holds something else, phantoms of other
    parameters, or more cases.
    """
    with exclusive(out / ".lock") as held:
        if not held:
            raise BenchError(
                f"Another process is writing phantoms to {out}. Wait for it or choose another --out."
            )
        _note(out, parameters)
        yield


def _note(out: Path, parameters: dict[str, Any]) -> None:
    file = out / PARAMETERS_FILE
    if not file.exists():
        found = sorted(path.name for path in out.iterdir() if not path.name.startswith("."))
        if found:
            raise BenchError(
                f"{out} is not empty ({found[0]}, ...) and holds no phantoms. Choose another --out."
            )
        write_json(file, parameters)
        return
    wanted = {"kind": FIRST_KIND, **parameters}
    try:
        there = {"kind": FIRST_KIND, **json.loads(file.read_text(encoding="utf-8"))}
        n_there = int(there.pop("cases"))
        always = {key: there[key] for key in ("kind", "generation", "seed", "spacing_mm")}
    except (ValueError, KeyError, TypeError) as error:
        raise BenchError(
            f"{file} is damaged ({error}). Remove {out} and write the phantoms again."
        ) from error
    # What only unusual phantoms have is not named in the others' files.
    decisive = dict.fromkeys(key for key in (*always, *there, *wanted) if key != "cases")
    different = [key for key in decisive if there.get(key) != wanted.get(key)]
    if different:
        shown = "; ".join(
            f"{key} {there.get(key, 'as usual')}, not {wanted.get(key, 'as usual')}" for key in different
        )
        raise BenchError(f"{out} holds phantoms with {shown}. Choose another --out, or remove that folder.")
    if n_there > parameters["cases"]:
        raise BenchError(
            f"{out} holds {n_there} phantoms, more than {parameters['cases']}. "
            f"Ask for --cases {n_there} or more, or choose another --out."
        )
    if n_there < parameters["cases"]:
        write_json(file, parameters)


def all_written(missing: Sequence[Item], write: Callable[[Item], None], *, jobs: int) -> Iterator[None]:
    """Call `write` for every missing item, in any order; yields when the files of one are there.

    With several jobs `write` and the items must be picklable. Raises BenchError when a worker dies.
    """
    for _ in side_by_side(write, dict(enumerate(missing)), jobs=jobs):
        yield


def write_nifti(path: Path, values: NDArray[Any], affine: NDArray[np.float64]) -> None:
    """Write an image whole, in mm; the same values give the same bytes."""
    image = nib.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    # No file name and no time in the gzip header: same seed, same bytes.
    with (
        written_whole(path) as temporary,
        temporary.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=raw, mtime=0) as packed,
    ):
        packed.write(image.to_bytes())
