"""A finished run scored with a modality missing: by the method's own answer, or shown zeros."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from benchmark.data.images import open_volume, write_mask
from benchmark.data.store import PreparedCase
from benchmark.finished.reopened import ReopenedRun
from benchmark.protocols import Method
from benchmark.results.runs import WithoutFacts
from benchmark.scoring.evaluate import LabelMap, Predicted, score_cases
from benchmark.training.in_loop import Predictor
from benchmark.vocabulary import BenchError, Case, did_you_mean


def evaluate_without(run: ReopenedRun, modalities: Sequence[str]) -> None:
    """Score the run's test cases without each of the modalities, one at a time; the run's own scores stay as they are.

    What changes is counted against predictions from all modalities, made now, in the same way. BenchError for a
    method whose own answer depends on what is shown in the missing modality's place.
    """
    for name in modalities:
        if name not in run.spec.modalities:
            raise BenchError(
                f"{run.spec.name} has no modality {name!r}. {did_you_mean(name, run.spec.modalities)}"
            )
    answers = [_Answer(run, name) for name in modalities]
    scores: dict[str, list[pd.DataFrame]] = defaultdict(list)
    changed: dict[str, dict[str, dict[str, int]]] = {name: {} for name in modalities}
    streams = [answer.predicted(run.data.test) for answer in answers]
    for case, (_, complete), *missing in zip(
        run.data.test, run.predicted(run.data.test), *streams, strict=True
    ):
        for answer, predicted in zip(answers, missing, strict=True):
            _, label_maps = predicted
            different = _different(complete, label_maps)
            answer.check_honest(case, label_maps, complete)
            for reading, voxels in different.items():
                changed[answer.modality].setdefault(reading, {})[case.case_id] = voxels
            scores[answer.modality].append(_scored(run, predicted, told=answer.predicted_regions))
    for answer in answers:
        facts = WithoutFacts(answer.modality, answer.manner, changed[answer.modality])
        run.folder.write_without(pd.concat(scores[answer.modality], ignore_index=True), facts)


@dataclass
class _Answer:
    """What a run's method says without a modality."""

    run: ReopenedRun
    modality: str

    def __post_init__(self) -> None:
        method = self.run.method
        self._own = method.without(self.modality) if isinstance(method, Method) else None
        self._checked = False

    @property
    def manner(self) -> Literal["own answer", "zeros"]:
        return "zeros" if self._own is None else "own answer"

    @property
    def predicted_regions(self) -> tuple[str, ...] | None:
        """A part of a network may tell fewer regions than the whole."""
        return (self._own or self.run.method).predicted_regions

    def predicted(self, cases: Sequence[PreparedCase]) -> Iterator[Predicted]:
        """The label maps for the run's readings; whatever is missing is shown as zeros, even to a method that says it
        does not look."""
        if not isinstance(self.run.method, Method):
            yield from self._predicted_outside(cases)
            return
        for case in cases:
            yield case.case_id, self._label_maps(case, zeroed=(self.modality,))

    def check_honest(
        self, case: PreparedCase, label_maps: Mapping[str, LabelMap], complete: Mapping[str, LabelMap]
    ) -> None:
        """An answer of its own is the same whatever stands in the place of the missing modality."""
        if self._own is None:
            return
        shown = complete
        if self._own is not self.run.method:
            if self._checked:
                return
            shown, self._checked = self._label_maps(case, zeroed=()), True
        if different := sum(_different(shown, label_maps).values()):
            raise BenchError(
                f"{self.run.config.method} says that it predicts without {self.modality}, but {different} voxels of "
                f"{case.case_id} depend on what is shown there. Its without({self.modality!r}) must not look at it, "
                "or return None."
            )

    def _label_maps(self, case: PreparedCase, *, zeroed: Sequence[str]) -> dict[str, LabelMap]:
        method = self.run.method
        assert isinstance(method, Method)
        part = self._own or method
        labels = Predictor(part, self.run.config, self.run.device)(case, zeroed=zeroed)
        # A part may have fewer readings than the whole; its first then stands for those that it lacks.
        return {
            reading: LabelMap(labels.get(reading, labels[part.readings[0]]), case.geometry)
            for reading in method.readings
        }

    def _predicted_outside(self, cases: Sequence[PreparedCase]) -> Iterator[Predicted]:
        with tempfile.TemporaryDirectory(prefix="bench-zeros-") as folder:
            shown = [(case, _with_zeros(case.original(), self.modality, Path(folder))) for case in cases]
            yield from self.run.predicted_outside(shown)


def _with_zeros(case: Case, modality: str, folder: Path) -> Case:
    """The case with a file of zeros, in the file's own unit, in place of the modality's."""
    volume = open_volume(case.images[modality])
    path = folder / f"{case.case_id}.nii.gz"
    write_mask(path, np.zeros(volume.shape[:3], np.uint8), affine=volume.affine, header=volume.header)
    channels = {name: index for name, index in case.channels.items() if name != modality}
    return replace(case, images={**case.images, modality: path}, channels=channels)


def _different(some: Mapping[str, LabelMap], others: Mapping[str, LabelMap]) -> dict[str, int]:
    """By reading, in how many voxels two predictions of a case differ."""
    return {
        reading: int(np.count_nonzero(some[reading].voxels != others[reading].voxels)) for reading in some
    }


def _scored(run: ReopenedRun, predicted: Predicted, *, told: Sequence[str] | None) -> pd.DataFrame:
    return score_cases(
        [predicted],
        run.data.references,
        spec=run.spec,
        config=run.config,
        run_id=run.folder.run_id,
        told=told,
    )
