"""A run of a method that trains itself: the same folder, record, progress and scores as every other run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmark.data.images import open_volume, read_voxels
from benchmark.data.prepare import Geometry
from benchmark.protocols import ExternalJob, ExternalMethod, ProgressCallback
from benchmark.results.order import RunOrder
from benchmark.results.runs import RunFolder, RunRecord
from benchmark.scoring.evaluate import LabelMap, Predicted
from benchmark.training.fold import FoldData
from benchmark.training.open_run import OpenRun

log = logging.getLogger(__name__)


def job_of(
    order: RunOrder,
    record: RunRecord,
    data: FoldData,
    *,
    tell: ProgressCallback,
    asked_to_stop: Callable[[], bool],
) -> ExternalJob:
    """What the method of this run is handed, whether it trains or, once trained, predicts."""
    assert record.steps is not None
    return ExternalJob(
        train=[case.original() for case in data.train],
        validation=[case.original() for case in data.validation],
        work=RunFolder(order.results, order.run_id).path / "external",
        shared=order.results / "external",
        steps=record.steps,
        seed=order.config.seed,
        checkpoint=order.config.training.checkpoint,
        device=order.resources.device,
        threads=record.threads or 1,
        checkpoint_seconds=order.resources.checkpoint_seconds,
        tell=tell,
        log=lambda text: log.info("%s", text),
        asked_to_stop=asked_to_stop,
    )


def read_mask(masks: Path, case_id: str, geometry: Geometry) -> LabelMap:
    """A mask that `ExternalMethod.predict` wrote."""
    voxels = read_voxels(open_volume(masks / f"{case_id}.nii.gz")).astype("uint8")
    return LabelMap(voxels, geometry, native=True)


def execute_external(run: OpenRun, method: ExternalMethod) -> None:
    """Let the method train and predict in its own way, then score its masks.

    MissingPackageError where what it needs is not installed; InterruptedError when asked to stop.
    """
    method.check_installed()
    job = job_of(run.order, run.record, run.data, tell=run.beat.tell, asked_to_stop=run.asked_to_stop)
    trained = method.train(job)
    run.folder.write_history([dict(row) for row in trained.history])
    run.note(
        parameters=trained.parameters,
        train_seconds=trained.seconds,
        peak_memory_mb=trained.peak_memory_mb,
        facts={**run.record.facts, **trained.facts},
    )

    # Only here, when nothing can be chosen any more, are the test cases opened.
    cases = run.scored_cases
    masks = job.work / "predictions"
    seconds = method.predict(job, [case.original() for case in cases], masks)

    def predicted() -> Iterator[Predicted]:
        for case in cases:
            geometry = run.data.references[case.case_id].geometry
            yield case.case_id, {method.readings[0]: read_mask(masks, case.case_id, geometry)}

    run.score(predicted(), told=method.predicted_regions, weights=trained.weights)
    cost = {
        "parameters": trained.parameters,
        "gflops": trained.flops / 1e9,
        "patch_size": list(trained.patch_size),
        "inference_seconds_per_case": seconds,
        "timed_cases": len(cases),
    }
    run.note(costs={"": cost}, inference_seconds_per_case=seconds)
