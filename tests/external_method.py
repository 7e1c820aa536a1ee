"""A method that trains itself and knows the answer: it copies the labels, and writes down what it was given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import nibabel as nib
import numpy as np

from benchmark.protocols import (
    Case,
    DatasetSpec,
    ExternalJob,
    ExternalMethod,
    ExternalTraining,
    MissingPackageError,
    Size3,
)


class Oracle(ExternalMethod):
    """Copies labels."""

    paper: ClassVar[str] = "Pythia, Delphi"
    remarks = ("sees the labels",)

    def __init__(
        self, dataset: DatasetSpec, patch_size: Size3, *, installed: bool = True, stop_once: bool = False
    ) -> None:
        super().__init__(dataset, patch_size)
        self.installed, self.stop_once = installed, stop_once

    def check_installed(self) -> None:
        if not self.installed:
            raise MissingPackageError("The oracle is away; install it with `pip install oracle`.")

    def train(self, job: ExternalJob) -> ExternalTraining:
        job.work.mkdir(parents=True, exist_ok=True)
        given = {"train": [c.case_id for c in job.train], "validation": [c.case_id for c in job.validation]}
        (job.work / "given.json").write_text(json.dumps({**given, "steps": job.steps, "seed": job.seed}))
        job.tell("train", 1, job.steps, loss=0.5)
        if self.stop_once and not (job.work / "stopped").exists():
            (job.work / "stopped").touch()
            raise InterruptedError("asked to stop")
        history = [{"step": job.steps, "seconds": 2.0, "loss": 0.5}]
        return ExternalTraining(7, 3e9, (8, 8, 8), 2.0, 100.0, history, {"oracle": "1.0"})

    def predict(self, job: ExternalJob, cases: Sequence[Case], out: Path) -> float:
        out.mkdir(parents=True, exist_ok=True)
        for case in cases:
            label = nib.load(case.label)
            mask = np.asarray(label.dataobj).astype(np.uint8)
            nib.save(nib.Nifti1Image(mask, label.affine), out / f"{case.case_id}.nii.gz")
        (job.work / "predicted.json").write_text(json.dumps([case.case_id for case in cases]))
        return 4.0
