"""A run of a method in our training loop: train, with less memory a step where there is not enough, then predict."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmark.config import InferenceConfig, RunConfig
from benchmark.data.patches import PatchSampler
from benchmark.data.store import PreparedCase
from benchmark.protocols import Method
from benchmark.results.runs import RunFolder
from benchmark.scoring.evaluate import LabelMap, Predicted, mean_dice
from benchmark.training import environment
from benchmark.training.checkpoint import load_weights
from benchmark.training.costs import network_costs, parameters
from benchmark.training.inference import predict
from benchmark.training.open_run import OpenRun
from benchmark.training.progress import InterruptedRunError, Progress
from benchmark.training.train import Hooks, total_steps, train
from benchmark.vocabulary import DataError

log = logging.getLogger(__name__)

TIMED_CASES = 3
"""Over how many cases a reading is timed that needs less of the network than the others."""


@dataclass(frozen=True)
class Predictor:
    """A method's label maps under the run's configuration; window by window where memory is short."""

    method: Method
    config: RunConfig
    device: torch.device

    def __call__(
        self, case: PreparedCase, readings: Sequence[str] | None = None, *, zeroed: Sequence[str] = ()
    ) -> dict[str, np.ndarray]:
        try:
            return self._predict(case, readings, self.config.inference, zeroed)
        except torch.OutOfMemoryError:
            log.warning("out of memory predicting %s; trying again window by window", case.case_id)
        torch.cuda.empty_cache()
        one_by_one = self.config.inference.model_copy(update={"windows_per_batch": 1})
        return self._predict(case, readings, one_by_one, zeroed)

    def _predict(
        self,
        case: PreparedCase,
        readings: Sequence[str] | None,
        inference: InferenceConfig,
        zeroed: Sequence[str],
    ) -> dict[str, np.ndarray]:
        training = self.config.training
        return predict(
            self.method,
            case,
            config=inference,
            precision=training.precision,
            device=self.device,
            channels_last=training.channels_last,
            readings=readings,
            zeroed=zeroed,
        )


def execute_in_loop(run: OpenRun, sampler: PatchSampler, planned: Method) -> None:
    """Train what is left to train, then score the test cases for every reading; for a search the validation part.

    `planned`: the run's method on the meta device.
    """
    config = run.config
    run.note(costs=network_costs(planned))
    method, progress = _train(run, sampler)
    run.note(train_seconds=progress.seconds)
    weights = evaluated_weights(run.folder, config)
    if config.training.checkpoint == "best":
        if not run.folder.best_weights_file.exists():
            raise DataError(
                f"No {config.training.best_on} case of fold {config.fold} has a lesion, so no checkpoint is the best."
            )
        load_weights(method, weights)

    # Only here, when nothing can be chosen any more, are the test cases opened (but by `best_on: test`).
    predictor, cases, seconds = Predictor(method, config, run.device), run.scored_cases, list[float]()

    def predicted() -> Iterator[Predicted]:
        for done, case in enumerate(cases):
            if run.asked_to_stop():
                raise InterruptedRunError(f"Stopped while scoring case {done} of {len(cases)}.")
            started = time.perf_counter()
            labels = predictor(case)
            seconds.append(time.perf_counter() - started)
            yield case.case_id, {name: LabelMap(own, case.geometry) for name, own in labels.items()}
            run.beat.tell("evaluate", done + 1, len(cases), loss=progress.loss, val_dice=progress.val_dice)

    run.score(predicted(), told=method.predicted_regions, weights=weights)
    if run.order.trial is not None:
        run.note(peak_memory_mb=progress.peak_memory_mb)
        return
    per_case = float(np.mean(seconds))
    costs = {
        reading: {**cost, **_timed(run, method, reading, all_readings=per_case)}
        for reading, cost in run.record.costs.items()
    }
    run.note(
        costs=costs,
        inference_seconds_per_case=per_case,
        peak_memory_mb=max(progress.peak_memory_mb, environment.peak_memory_mb(run.device)),
    )


def evaluated_weights(folder: RunFolder, config: RunConfig) -> Path:
    """The file of the weights that are scored, by the run's rule."""
    return folder.best_weights_file if config.training.checkpoint == "best" else folder.weights_file


def _train(run: OpenRun, sampler: PatchSampler) -> tuple[Method, Progress]:
    """Train until it fits: each time memory runs out, with twice as many accumulated parts a step."""
    training = run.config.training

    def on_step(progress: Progress, steps: int) -> None:
        run.beat.tell("train", progress.step, steps, loss=progress.loss, val_dice=progress.val_dice)

    judge = _judge(run, total_steps(training, sampler))
    while True:
        method = run.new_method()
        assert isinstance(method, Method)
        run.note(parameters=parameters(method))
        try:
            progress = train(
                method,
                sampler,
                config=training,
                loss_weights=run.config.loss_weights,
                device=run.device,
                folder=run.folder,
                hooks=Hooks(
                    validate=_validation(run, method),
                    asked_to_stop=run.asked_to_stop,
                    on_step=on_step,
                    pruned=judge,
                ),
                accumulation=run.record.accumulation,
                loader_threads=run.order.resources.loader_threads,
                checkpoint_seconds=run.order.resources.checkpoint_seconds,
                further_validations=run.order.trial.validations if run.order.trial else 0,
            )
            return method, progress
        except torch.OutOfMemoryError:
            accumulation = run.record.accumulation
            if accumulation >= training.batch_size:
                raise
            run.note(accumulation=min(2 * accumulation, training.batch_size))
            log.warning(
                "out of memory; trying again with %d accumulated parts a step", run.record.accumulation
            )
        # Outside the handler, whose traceback keeps the failed step's tensors alive.
        del method
        if run.device.type == "cuda":
            torch.cuda.empty_cache()


def _judge(run: OpenRun, steps: int) -> Callable[[int, float], bool]:
    """Who may end the training early: the search that the run is a trial of."""
    if run.order.trial is None:
        return lambda step, val_dice: False
    from benchmark.search.pruning import Judge

    return Judge(run.order.trial, steps)


def _validation(run: OpenRun, method: Method) -> Callable[[], float]:
    """The mean Dice of the first reading on the validation part, or on what the configuration chooses by instead."""
    first = method.readings[0]
    cases = run.data.test if run.config.training.best_on == "test" else run.data.validation

    def labels(case: PreparedCase) -> np.ndarray:
        run.beat.tell("validate")
        return Predictor(method, run.config, run.device)(case, [first])[first]

    return lambda: mean_dice(labels, cases, spec=run.data.spec, told=method.predicted_regions)


def _timed(run: OpenRun, method: Method, reading: str, *, all_readings: float) -> dict[str, Any]:
    """The seconds a case takes where this reading alone is wanted."""
    part = method.only(reading)
    if part is method:
        return {"inference_seconds_per_case": all_readings, "timed_cases": len(run.data.test)}
    cases = run.data.test[:TIMED_CASES]
    predictor = Predictor(part, run.config, run.device)
    started = time.perf_counter()
    for case in cases:
        predictor(case)
    return {
        "inference_seconds_per_case": (time.perf_counter() - started) / len(cases),
        "timed_cases": len(cases),
    }
