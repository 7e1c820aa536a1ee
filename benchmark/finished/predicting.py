"""Masks of cases that nobody has labelled, by a finished run's method, on the images' own grids."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from benchmark.data.images import ending_of, open_volume, read_voxels, shape_text, write_mask
from benchmark.data.naming import resolve_cases
from benchmark.data.store import read_case, store_case
from benchmark.datasets.registry import dataset
from benchmark.files.writing import read_json, write_json
from benchmark.finished.reopened import ReopenedRun
from benchmark.protocols import ExternalMethod, Method
from benchmark.scoring.evaluate import LabelMap
from benchmark.vocabulary import BenchError, Case, DataError, did_you_mean

ENDING = ".nii.gz"
NOTE = ".predicted_by.json"
"""In the folder of masks: whose they are. Hidden, so that the folder can be handed in as it is."""

WORK = ".unfinished"
"""Beside it: what a method that predicts from files has written so far."""


@dataclass(frozen=True)
class Masks:
    """What a folder of masks holds; `written`: those of this time."""

    files: tuple[Path, ...]
    written: int


def cases_to_predict(
    run: ReopenedRun, *, data: tuple[str, Path] | None = None, wanted: Sequence[str] | None = None
) -> list[Case]:
    """The unlabelled cases of the run's data set, or of another folder with the same modalities and labels.

    `wanted`: these cases alone, which may be labelled ones, too.
    """
    name, root = data or (run.config.dataset, run.order.root)
    reader = dataset(name)
    spec = reader.spec_of(root)
    if (spec.modalities, dict(spec.labels)) != (run.spec.modalities, dict(run.spec.labels)):
        raise BenchError(
            f"{name} in {root} has the modalities {', '.join(spec.modalities)} and the labels {dict(spec.labels)}; run "
            f"{run.folder.run_id} was trained on {', '.join(run.spec.modalities)} and {dict(run.spec.labels)}."
        )
    unlabelled = reader.unlabelled(root)
    if wanted is None:
        if not unlabelled:
            raise BenchError(
                f"There is no unlabelled case in {root}. Name cases with --cases, or another folder with --data."
            )
        return unlabelled
    known = {case.case_id: case for case in (*reader.discover(root), *unlabelled)}
    found = resolve_cases(wanted, known, where=f"--cases in {root}")
    return [known[case_id] for case_id in dict.fromkeys(found.values())]


def predict_masks(
    run: ReopenedRun,
    cases: Sequence[Case],
    out: Path,
    *,
    reading: str | None = None,
    again: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Masks:
    """Write a mask for every case: uint8 labels on the image's own voxels, under its own header.

    Files are named as the data set's files name the case (`T 2_0000.nii.gz` gives `T 2.nii.gz`), and `<case_id>.nii.gz`
    where studies are folders; other formats than NIfTI keep theirs. What an earlier call finished is kept, unless
    `again`. `reading` None: the method's first.
    """
    reading = _checked_reading(run, reading)
    masks_of = _masks_of(out, run.folder.run_id, reading)
    targets = {case.case_id: out / mask_name(case) for case in cases}
    if len(set(targets.values())) < len(cases):
        raise DataError("Two of the cases have images of the same name; predict them one at a time.")
    due = [
        case
        for case in cases
        if again or masks_of.get(case.case_id) != _images(case) or not targets[case.case_id].exists()
    ]
    done = len(cases) - len(due)
    progress(done, len(cases))
    work = out / WORK
    if again:
        shutil.rmtree(work, ignore_errors=True)
    if isinstance(run.method, Method):
        masks = _in_loop(run, due, reading)
    else:
        earlier = done
        masks = _outside(run, due, work, lambda more, _: progress(earlier + more, len(cases)))
    for case, mask in zip(due, masks, strict=True):
        write_mask(targets[case.case_id], mask.voxels, affine=mask.affine, header=mask.header)
        masks_of[case.case_id] = _images(case)
        write_json(out / NOTE, {"run": run.folder.run_id, "reading": reading, "masks_of": masks_of})
        done += 1
        progress(done, len(cases))
    shutil.rmtree(work, ignore_errors=True)
    return Masks(tuple(targets.values()), len(due))


def mask_name(case: Case) -> str:
    """What a challenge calls the mask of a case."""
    # A name that a listing made up may hold anything.
    name = case.name if case.name and "/" not in case.name and not case.name.startswith(".") else case.case_id
    ending = ending_of(next(iter(case.images.values())).name).lower()
    return f"{name}{ENDING if ending.startswith('.nii') or not ending else ending}"


@dataclass(frozen=True)
class _Mask:
    """Labels `[i, j, k]` on the voxels of an image, and where these lie: its affine and, of NIfTI, its header."""

    voxels: UInt8[np.ndarray, "i j k"]
    affine: np.ndarray
    header: bytes


def _in_loop(run: ReopenedRun, cases: Sequence[Case], reading: str) -> Iterator[_Mask]:
    for case in cases:
        with tempfile.TemporaryDirectory(prefix="bench-predict-") as folder:
            place = Path(folder) / case.case_id
            store_case(case, place, spec=run.spec, preparation=run.preparation)
            prepared = read_case(place)
            labels = LabelMap(run.predictor(prepared, [reading])[reading], prepared.geometry)
            geometry = prepared.geometry
            yield _Mask(labels.on_native(), np.array(geometry.native_affine), geometry.native_header)


def _outside(
    run: ReopenedRun, cases: Sequence[Case], work: Path, progress: Callable[[int, int], None]
) -> Iterator[_Mask]:
    """The masks of a method that predicts from files, all in one go: starting it may take long.

    They wait in `work`, where the next call finds those that an interrupted one left.
    """
    assert isinstance(run.method, ExternalMethod)

    def tell(phase: str, done: int, total: int, **_: float | None) -> None:
        progress(done, total)

    if cases:
        run.method.predict(run.external_job(tell), cases, work)
    for case in cases:
        image = open_volume(case.images[run.spec.modalities[0]])
        mask = open_volume(work / f"{case.case_id}{ENDING}")
        if mask.shape != image.shape[:3]:
            raise DataError(
                f"{case.case_id}: {run.config.method} wrote a mask of {shape_text(mask)} voxels; the image has "
                f"{shape_text(image)}."
            )
        yield _Mask(read_voxels(mask).astype(np.uint8), image.affine, image.header)


def _checked_reading(run: ReopenedRun, wanted: str | None) -> str:
    readings = run.method.readings
    if wanted is None:
        return readings[0]
    if wanted not in readings:
        named = [name for name in readings if name]
        hint = did_you_mean(wanted, named) if named else "It has one reading; leave the name out."
        raise BenchError(f"{run.config.method} has no reading {wanted!r}. {hint}")
    return wanted


def _images(case: Case) -> list[str]:
    return [str(path.resolve()) for path in case.images.values()]


def _masks_of(out: Path, run_id: str, reading: str) -> dict[str, list[str]]:
    """The images of the masks in a folder, by case; BenchError where they are of another run or reading."""
    path = out / NOTE
    if not path.exists():
        return {}
    earlier = read_json(path)
    if (earlier.get("run"), earlier.get("reading")) != (run_id, reading):
        raise BenchError(
            f"{out} holds masks of run {earlier.get('run')} (reading {earlier.get('reading')!r}); choose another "
            "folder."
        )
    return dict(earlier.get("masks_of", {}))
