"""A run of a method that trains itself: the same folder, record, progress and scores as every other run."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from benchmark.data.nifti import open_volume, read_voxels
from benchmark.evaluate import LabelMap, Predicted
from benchmark.open_run import OpenRun
from benchmark.protocols import ExternalJob, ExternalMethod

log = logging.getLogger(__name__)


def execute_external(run: OpenRun, method: ExternalMethod) -> None:
    """Let the method train and predict in its own way, then score its masks.

    MissingPackageError where what it needs is not installed; InterruptedError when asked to stop.
    """
    method.check_installed()
    assert run.record.steps is not None
    job = ExternalJob(
        train=[case.original() for case in run.data.train],
        validation=[case.original() for case in run.data.validation],
        work=run.folder.path / "external",
        shared=run.order.results / "external",
        steps=run.record.steps,
        seed=run.config.seed,
        checkpoint=run.config.training.checkpoint,
        device=run.order.resources.device,
        threads=run.record.threads or 1,
        checkpoint_seconds=run.order.resources.checkpoint_seconds,
        tell=run.beat.tell,
        log=lambda text: log.info("%s", text),
        asked_to_stop=run.asked_to_stop,
    )
    trained = method.train(job)
    run.folder.write_history([dict(row) for row in trained.history])
    run.note(
        parameters=trained.parameters,
        train_seconds=trained.seconds,
        peak_memory_mb=trained.peak_memory_mb,
        facts={**run.record.facts, **trained.facts},
    )

    # Only here, when nothing can be chosen any more, are the test cases opened.
    masks = job.work / "predictions"
    seconds = method.predict(job, [case.original() for case in run.data.test], masks)

    def predicted() -> Iterator[Predicted]:
        for case in run.data.test:
            voxels = read_voxels(open_volume(masks / f"{case.case_id}.nii.gz")).astype("uint8")
            geometry = run.data.references[case.case_id].geometry
            yield case.case_id, {"": LabelMap(voxels, geometry, native=True)}

    run.score(predicted())
    cost = {
        "parameters": trained.parameters,
        "gflops": trained.flops / 1e9,
        "patch_size": list(trained.patch_size),
        "inference_seconds_per_case": seconds,
        "timed_cases": len(run.data.test),
    }
    run.note(costs={"": cost}, inference_seconds_per_case=seconds)
