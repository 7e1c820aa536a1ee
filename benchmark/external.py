"""A run of a method that trains itself: the same folder, record, progress and scores as every other run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmark.data.nifti import open_volume, read_voxels
from benchmark.evaluate import LabelMap, Predicted
from benchmark.execution.order import RunOrder
from benchmark.protocols import ExternalJob, ExternalMethod
from benchmark.results import RunFolder, RunRecord

if TYPE_CHECKING:
    from benchmark.run import Beat, RunData

log = logging.getLogger(__name__)


def execute_external(
    method: ExternalMethod,
    order: RunOrder,
    folder: RunFolder,
    record: RunRecord,
    data: RunData,
    beat: Beat,
    score: Callable[[Iterable[Predicted]], None],
    asked_to_stop: Callable[[], bool],
) -> RunRecord:
    """Let the method train and predict in its own way, then score its masks; returns the finished record.

    MissingPackageError where what it needs is not installed; InterruptedError when asked to stop.
    """
    method.check_installed()
    config, resources = order.config, order.resources
    assert record.steps is not None
    job = ExternalJob(
        train=[case.original() for case in data.train],
        validation=[case.original() for case in data.validation],
        work=folder.path / "external",
        shared=order.results / "external",
        steps=record.steps,
        seed=config.seed,
        checkpoint=config.training.checkpoint,
        device=resources.device,
        threads=record.threads or 1,
        checkpoint_seconds=resources.checkpoint_seconds,
        tell=beat.tell,
        log=lambda text: log.info("%s", text),
        asked_to_stop=asked_to_stop,
    )
    trained = method.train(job)
    folder.write_history([dict(row) for row in trained.history])
    record = replace(
        record,
        parameters=trained.parameters,
        train_seconds=trained.seconds,
        peak_memory_mb=trained.peak_memory_mb,
        facts={**record.facts, **trained.facts},
    )
    folder.write_record(record)

    # Only here, when nothing can be chosen any more, are the test cases opened.
    masks = job.work / "predictions"
    seconds = method.predict(job, [case.original() for case in data.test], masks)

    def predicted() -> Iterator[Predicted]:
        for case in data.test:
            voxels = read_voxels(open_volume(masks / f"{case.case_id}.nii.gz")).astype("uint8")
            geometry = data.references[case.case_id].geometry
            yield case.case_id, {"": LabelMap(voxels, geometry, native=True)}

    score(predicted())
    cost = {
        "parameters": trained.parameters,
        "gflops": trained.flops / 1e9,
        "patch_size": list(trained.patch_size),
        "inference_seconds_per_case": seconds,
        "timed_cases": len(data.test),
    }
    return replace(record, state="done", costs={"": cost}, inference_seconds_per_case=seconds)
