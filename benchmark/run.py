"""One run: configuration -> training -> evaluation -> a folder on disk."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import FrameType
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmark import environment
from benchmark.config import InferenceConfig, RunConfig
from benchmark.data.patches import PatchSampler
from benchmark.data.splits import stored_splits
from benchmark.data.store import PreparedCase, Store, data_fingerprint
from benchmark.evaluate import mean_dice, score_cases
from benchmark.execution.order import RunOrder
from benchmark.inference import predict
from benchmark.protocols import Method
from benchmark.registry import build_method, dataset
from benchmark.results import FailureClass, Heartbeat, RunFolder, RunRecord
from benchmark.train import DivergedError, InterruptedRunError, Progress, load_weights, total_steps, train
from benchmark.vocabulary import BenchError, DataError

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 1.0


def check_config(config: RunConfig) -> None:
    """Build the method without memory; BenchError for arguments, loss weights or patch sizes that cannot work."""
    spec = dataset(config.dataset).spec
    with torch.device("meta"):
        build_method(
            config.method,
            config.method_args,
            spec=spec,
            patch_size=config.training.patch_size,
            loss_weights=config.loss_weights,
        )


def execute_run(order: RunOrder) -> RunRecord:
    """Train what is left to train, score the test part, write everything; never raises for the run's own faults.

    Returns at once when the run is done or another process works on it. An exception becomes state "failed"
    with its class; SIGTERM leaves a checkpoint and the class "interrupted".
    """
    folder = RunFolder(order.results, order.run_id)
    with folder.claimed() as held:
        record = folder.record()
        if not held or record.state == "done":
            return record
        accumulation = record.accumulation
        # A run that was tried before keeps what it learned about memory; everything else is told anew.
        record = RunRecord(
            order.run_id,
            state="running",
            attempts=record.attempts + 1,
            data_fingerprint=order.data_fingerprint,
            accumulation=accumulation,
            excluded_cases=order.excluded_cases,
            threads=_threads(folder, order),
        )
        folder.remove_leftovers()
        folder.write_config(order.config.model_dump(mode="json"))
        folder.write_record(record)
        with _log_to(folder), _stop_flag() as stopped:
            try:
                record = _execute(order, folder, record, stopped)
            except Exception as error:
                failure = failure_class(error)
                log.error("failed (%s)\n%s", failure, traceback.format_exc())
                # _execute writes its progress to the folder, so that nothing it learned is lost here.
                record = replace(folder.record(), state="failed", failure=failure, error=_one_line(error))
        folder.write_record(record)
        folder.heartbeat_file.unlink(missing_ok=True)
        if record.state == "done":
            # The moments are of no use to a finished run, and twice as large as its weights.
            folder.checkpoint_file.unlink(missing_ok=True)
    return record


def failure_class(error: BaseException) -> FailureClass:
    """Which kind of failure an exception is."""
    if isinstance(error, InterruptedRunError | KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, DivergedError):
        return "diverged"
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error):
        return "memory"
    if isinstance(error, DataError | OSError):
        return "data"
    return "code"


def _one_line(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return text if isinstance(error, BenchError) else f"{type(error).__name__}: {text}"


def _threads(folder: RunFolder, order: RunOrder) -> int:
    """A deterministic run keeps the number of threads it began with: sums depend on it in their last bits."""
    earlier = folder.record().threads
    if order.config.training.deterministic and earlier:
        return earlier
    return order.resources.threads


def _execute(order: RunOrder, folder: RunFolder, record: RunRecord, stopped: threading.Event) -> RunRecord:
    config, training = order.config, order.config.training
    device = torch.device(order.resources.device)
    environment.set_up(device, threads=record.threads or 1, deterministic=training.deterministic)
    spec = dataset(config.dataset).spec
    store = Store(order.store)
    cases = store.cases
    splits = stored_splits(order.splits, [case.summary for case in cases.values()])
    if data_fingerprint(store, splits.fingerprint) != order.data_fingerprint:
        raise DataError(
            f"The data in {order.store} has changed since this run was planned; start the grid again."
        )
    if config.fold >= len(splits.folds):
        raise BenchError(f"There is no fold {config.fold} in {order.splits}; it has {len(splits.folds)}.")
    fold = splits.folds[config.fold]
    if empty := [name for name, ids in fold.parts().items() if not ids]:
        raise DataError(f"Fold {config.fold} of {order.splits} has no case left in {' and '.join(empty)}.")
    train_cases = [cases[case_id] for case_id in fold.train]
    validation_cases = [cases[case_id] for case_id in fold.validation]
    warnings = _warnings(config, train_cases)
    for warning in warnings:
        log.warning(warning)
    record = replace(record, warnings=warnings, facts=environment.facts(device, threads=record.threads or 1))

    def new_method() -> Method:
        torch.manual_seed(config.seed)
        return build_method(
            config.method,
            config.method_args,
            spec=spec,
            patch_size=training.patch_size,
            loss_weights=config.loss_weights,
        )

    method = new_method()
    sampler = PatchSampler(
        train_cases, training.patch_size, training.batch_size, training.lesion_fraction, seed=config.seed
    )
    record = replace(
        record,
        parameters=sum(p.numel() for p in method.parameters()),
        steps=total_steps(training, sampler),
    )
    folder.write_record(record)
    beat = _Beat(folder, device)
    beat.tell("train", 0, total_steps(training, sampler))

    def predict_with(case: PreparedCase, inference: InferenceConfig) -> np.ndarray:
        return predict(
            method,
            case,
            config=inference,
            precision=training.precision,
            device=device,
            channels_last=training.channels_last,
        )

    def predictor(case: PreparedCase) -> np.ndarray:
        try:
            return predict_with(case, config.inference)
        except torch.OutOfMemoryError:
            log.warning("out of memory predicting %s; trying again window by window", case.case_id)
        torch.cuda.empty_cache()
        return predict_with(case, config.inference.model_copy(update={"windows_per_batch": 1}))

    def validate() -> float:
        def telling(case: PreparedCase) -> np.ndarray:
            beat.tell("validate")
            return predictor(case)

        return mean_dice(telling, validation_cases, spec=spec)

    def on_step(progress: Progress, steps: int) -> None:
        beat.tell("train", progress.step, steps, loss=progress.loss, val_dice=progress.val_dice)

    while True:
        try:
            progress = train(
                method,
                sampler,
                config=training,
                loss_weights=config.loss_weights,
                device=device,
                folder=folder,
                validate=validate,
                accumulation=record.accumulation,
                loader_threads=order.resources.loader_threads,
                checkpoint_seconds=order.resources.checkpoint_seconds,
                asked_to_stop=stopped.is_set,
                on_step=on_step,
            )
            break
        except torch.OutOfMemoryError:
            if record.accumulation >= training.batch_size:
                raise
            record = replace(record, accumulation=min(2 * record.accumulation, training.batch_size))
            log.warning("out of memory; trying again with %d accumulated parts a step", record.accumulation)
        # Outside the handler, whose traceback keeps the failed step's tensors alive.
        folder.write_record(record)
        del method
        if device.type == "cuda":
            torch.cuda.empty_cache()
        method = new_method()

    record = replace(record, train_seconds=progress.seconds)
    folder.write_record(record)
    if training.checkpoint == "best":
        if not folder.best_weights_file.exists():
            raise DataError(
                f"No validation case of fold {config.fold} has a lesion, so no checkpoint is the best."
            )
        load_weights(method, folder.best_weights_file)
    # Only here, when nothing can be chosen any more, are the test cases opened.
    test_cases = [cases[case_id] for case_id in fold.test]

    def on_case(done: int) -> None:
        if stopped.is_set():
            raise InterruptedRunError(f"Stopped while scoring case {done} of {len(test_cases)}.")
        beat.tell("evaluate", done, len(test_cases), loss=progress.loss, val_dice=progress.val_dice)

    scores, seconds_per_case = score_cases(
        predictor,
        test_cases,
        spec=spec,
        config=config,
        run_id=order.run_id,
        predictions=folder.predictions if order.resources.save_predictions else None,
        on_case=on_case,
    )
    folder.write_scores(scores)
    log.info("done: %s", _summary(scores))
    return replace(
        record,
        state="done",
        inference_seconds_per_case=seconds_per_case,
        peak_memory_mb=environment.peak_memory_mb(device),
    )


def _summary(scores: pd.DataFrame) -> str:
    means = scores.groupby(["region", "metric"], as_index=False)["value"].mean()
    return ", ".join(f"{row.region} {row.metric} {row.value:.4g}" for row in means.itertuples())


def _warnings(config: RunConfig, train_cases: Sequence[PreparedCase]) -> tuple[str, ...]:
    with_lesion = sum(case.has_lesion for case in train_cases)
    if "class" in config.loss_weights and with_lesion in (0, len(train_cases)):
        kind = "have a lesion" if with_lesion else "are tumour-free"
        return (f"All {len(train_cases)} training cases {kind}: the classifier sees one class only.",)
    return ()


class _Beat:
    """Writes the heartbeat, about once a second."""

    def __init__(self, folder: RunFolder, device: torch.device) -> None:
        self.folder = folder
        self._beat = Heartbeat("train", 0, 0, pid=os.getpid(), host=os.uname().nodename, device=str(device))

    def tell(
        self, phase: str, done: int | None = None, total: int | None = None, **numbers: float | None
    ) -> None:
        """What is not said stays as it was."""
        told: dict[str, Any] = {"phase": phase} | ({} if done is None else {"done": done, "total": total})
        told |= {name: value for name, value in numbers.items() if value is not None and math.isfinite(value)}
        self._beat = replace(self._beat, **told)
        if time.time() - self._beat.time >= HEARTBEAT_SECONDS:
            self._beat = replace(self._beat, time=time.time())
            self.folder.write_heartbeat(self._beat)


@contextlib.contextmanager
def _log_to(folder: RunFolder) -> Iterator[None]:
    handler = logging.FileHandler(folder.log_file, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("benchmark")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


@contextlib.contextmanager
def _stop_flag() -> Iterator[threading.Event]:
    """An event that SIGTERM sets, where this is the process's main thread."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return

    def on_term(_: int, __: FrameType | None) -> None:
        stopped.set()

    before = signal.signal(signal.SIGTERM, on_term)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGTERM, before)
