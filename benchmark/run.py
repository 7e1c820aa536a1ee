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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmark import environment
from benchmark.config import InferenceConfig, RunConfig
from benchmark.costs import network_costs, parameters
from benchmark.data.patches import PatchSampler
from benchmark.data.splits import stored_splits
from benchmark.data.store import PreparedCase, Store, data_fingerprint
from benchmark.evaluate import LabelMap, Predicted, mean_dice, score_cases
from benchmark.execution.order import RunOrder
from benchmark.external import execute_external
from benchmark.inference import predict
from benchmark.protocols import ExternalMethod, Method
from benchmark.registry import build_method, dataset
from benchmark.results import FailureClass, Heartbeat, RunFolder, RunRecord
from benchmark.train import DivergedError, InterruptedRunError, Progress, load_weights, total_steps, train
from benchmark.vocabulary import (
    BenchError,
    DataError,
    DatasetSpec,
    MissingPackageError,
    UnsupportedDatasetError,
)

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 1.0


def planned_method(config: RunConfig) -> Method | ExternalMethod:
    """The run's method, built without memory.

    BenchError for arguments, loss weights or patch sizes that cannot work.
    """
    with torch.device("meta"):
        return build_method(
            config.method,
            config.method_args,
            spec=dataset(config.dataset).spec,
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
    if isinstance(error, InterruptedRunError | InterruptedError | KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, UnsupportedDatasetError | MissingPackageError):
        return "unsupported"
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


@dataclass(frozen=True)
class RunData:
    """The cases of a run's fold in the method's preparation, and in the usual one for scoring (`references`)."""

    spec: DatasetSpec
    train: Sequence[PreparedCase]
    validation: Sequence[PreparedCase]
    test: Sequence[PreparedCase]
    references: Mapping[str, PreparedCase]


def _open_data(order: RunOrder) -> RunData:
    config = order.config
    store, scored_on = Store(order.store), Store(order.scored_on)
    references = scored_on.cases
    cases = {case_id: case for case_id, case in store.cases.items() if case_id in references}
    splits = stored_splits(order.splits, [case.summary for case in cases.values()])
    if data_fingerprint(store, splits.fingerprint, scored_on=scored_on) != order.data_fingerprint:
        raise DataError(
            f"The data in {order.store} has changed since this run was planned; start the grid again."
        )
    if config.fold >= len(splits.folds):
        raise BenchError(f"There is no fold {config.fold} in {order.splits}; it has {len(splits.folds)}.")
    fold = splits.folds[config.fold]
    if empty := [name for name, ids in fold.parts().items() if not ids]:
        raise DataError(f"Fold {config.fold} of {order.splits} has no case left in {' and '.join(empty)}.")
    train, validation, test = ([cases[case_id] for case_id in ids] for ids in fold.parts().values())
    return RunData(dataset(config.dataset).spec, train, validation, test, references)


def _execute(order: RunOrder, folder: RunFolder, record: RunRecord, stopped: threading.Event) -> RunRecord:
    config, training = order.config, order.config.training
    device = torch.device(order.resources.device)
    environment.set_up(device, threads=record.threads or 1, deterministic=training.deterministic)
    data = _open_data(order)
    warnings = _warnings(config, data.train)
    for warning in warnings:
        log.warning(warning)
    record = replace(record, warnings=warnings, facts=environment.facts(device, threads=record.threads or 1))

    def new_method() -> Method | ExternalMethod:
        torch.manual_seed(config.seed)
        return build_method(
            config.method,
            config.method_args,
            spec=data.spec,
            patch_size=training.patch_size,
            loss_weights=config.loss_weights,
        )

    beat = Beat(folder, device)
    method = new_method()
    sampler = PatchSampler(
        data.train, training.patch_size, training.batch_size, training.lesion_fraction, seed=config.seed
    )
    steps = total_steps(training, sampler)
    record = replace(record, steps=steps)
    folder.write_record(record)
    beat.tell("train", 0, steps)

    def score(predicted: Iterable[Predicted]) -> None:
        scores = score_cases(
            predicted,
            data.references,
            spec=data.spec,
            config=config,
            run_id=order.run_id,
            predictions=folder.predictions if order.resources.save_predictions else None,
        )
        folder.write_scores(scores)
        log.info("done: %s", _summary(scores))

    if isinstance(method, ExternalMethod):
        return execute_external(method, order, folder, record, data, beat, score, stopped.is_set)

    record = replace(
        record,
        parameters=parameters(method),
        costs=network_costs(
            config.method, config.method_args, spec=data.spec, patch_size=training.patch_size
        ),
    )
    folder.write_record(record)

    def labels_of(
        case: PreparedCase, *, network: Method | None = None, readings: Sequence[str] | None = None
    ) -> dict[str, np.ndarray]:
        def attempt(inference: InferenceConfig) -> dict[str, np.ndarray]:
            return predict(
                network or current,
                case,
                config=inference,
                precision=training.precision,
                device=device,
                channels_last=training.channels_last,
                readings=readings,
            )

        try:
            return attempt(config.inference)
        except torch.OutOfMemoryError:
            log.warning("out of memory predicting %s; trying again window by window", case.case_id)
        torch.cuda.empty_cache()
        return attempt(config.inference.model_copy(update={"windows_per_batch": 1}))

    def validate() -> float:
        first = current.readings[0]

        def telling(case: PreparedCase) -> np.ndarray:
            beat.tell("validate")
            return labels_of(case, readings=[first])[first]

        return mean_dice(telling, data.validation, spec=data.spec)

    def on_step(progress: Progress, steps: int) -> None:
        beat.tell("train", progress.step, steps, loss=progress.loss, val_dice=progress.val_dice)

    current = method
    while True:
        try:
            progress = train(
                current,
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
        del method, current
        if device.type == "cuda":
            torch.cuda.empty_cache()
        method = new_method()
        assert isinstance(method, Method)
        current = method

    record = replace(record, train_seconds=progress.seconds)
    folder.write_record(record)
    if training.checkpoint == "best":
        if not folder.best_weights_file.exists():
            raise DataError(
                f"No validation case of fold {config.fold} has a lesion, so no checkpoint is the best."
            )
        load_weights(current, folder.best_weights_file)

    # Only here, when nothing can be chosen any more, are the test cases opened.
    seconds: list[float] = []

    def predicted() -> Iterator[Predicted]:
        for done, case in enumerate(data.test):
            if stopped.is_set():
                raise InterruptedRunError(f"Stopped while scoring case {done} of {len(data.test)}.")
            started = time.perf_counter()
            labels = labels_of(case)
            seconds.append(time.perf_counter() - started)
            yield case.case_id, {name: LabelMap(own, case.geometry) for name, own in labels.items()}
            beat.tell("evaluate", done + 1, len(data.test), loss=progress.loss, val_dice=progress.val_dice)

    score(predicted())
    per_case = float(np.mean(seconds))
    costs = {
        reading: {**cost, **_timed(current, reading, data.test, per_case, labels_of)}
        for reading, cost in record.costs.items()
    }
    return replace(
        record,
        state="done",
        costs=costs,
        inference_seconds_per_case=per_case,
        peak_memory_mb=environment.peak_memory_mb(device),
    )


TIMED_CASES = 3


def _timed(
    method: Method,
    reading: str,
    cases: Sequence[PreparedCase],
    all_readings: float,
    labels_of: Callable[..., dict[str, np.ndarray]],
) -> dict[str, Any]:
    """The seconds a case takes where this reading alone is asked for; timed anew where it needs less of the network."""
    part = method.only(reading)
    if part is method:
        return {"inference_seconds_per_case": all_readings, "timed_cases": len(cases)}
    some = cases[:TIMED_CASES]
    started = time.perf_counter()
    for case in some:
        labels_of(case, network=part)
    return {
        "inference_seconds_per_case": (time.perf_counter() - started) / len(some),
        "timed_cases": len(some),
    }


def _summary(scores: pd.DataFrame) -> str:
    means = scores.groupby(["reading", "region", "metric"], as_index=False)["value"].mean()
    return ", ".join(
        f"{row.reading} {row.region} {row.metric} {row.value:.4g}".strip() for row in means.itertuples()
    )


def _warnings(config: RunConfig, train_cases: Sequence[PreparedCase]) -> tuple[str, ...]:
    with_lesion = sum(case.has_lesion for case in train_cases)
    if "class" in config.loss_weights and with_lesion in (0, len(train_cases)):
        kind = "have a lesion" if with_lesion else "are tumour-free"
        return (f"All {len(train_cases)} training cases {kind}: the classifier sees one class only.",)
    return ()


class Beat:
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
