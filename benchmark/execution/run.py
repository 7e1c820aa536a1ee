"""One run: configuration -> training -> evaluation -> a folder on disk."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import FrameType

import torch

from benchmark.config import RunConfig, TrainingConfig
from benchmark.credentials import without_secrets
from benchmark.data.patches import PatchSampler
from benchmark.data.store import PreparedCase
from benchmark.finished.validation import score_validation_part
from benchmark.protocols import BaseMethod, ExternalMethod, Method
from benchmark.registry import build_without_memory, method_digest
from benchmark.results import attempts
from benchmark.results.heartbeat import Beat
from benchmark.results.order import RunOrder, has_all
from benchmark.results.runs import DataPlaces, FailureClass, RunFolder, RunRecord
from benchmark.training import environment
from benchmark.training.external import execute_external
from benchmark.training.fold import open_fold
from benchmark.training.in_loop import execute_in_loop
from benchmark.training.open_run import OpenRun
from benchmark.training.progress import DivergedError, InterruptedRunError, PrunedRunError
from benchmark.training.train import total_steps
from benchmark.vocabulary import (
    BenchError,
    DataError,
    DatasetSpec,
    MissingPackageError,
    UnsupportedDatasetError,
)

log = logging.getLogger(__name__)


def planned_method(config: RunConfig, spec: DatasetSpec) -> Method | ExternalMethod:
    """The run's method for a data set, built without memory.

    BenchError for arguments, loss weights or patch sizes that cannot work.
    """
    return build_without_memory(
        config.method,
        config.method_args,
        spec=spec,
        patch_size=config.training.patch_size,
        loss_weights=config.loss_weights,
    )


def execute_run(order: RunOrder) -> RunRecord:
    """Train what is left to train, score the test part, write everything; never raises for the run's own faults.

    Returns at once when the run is done or another process works on it. An exception becomes state "failed"
    with its class; SIGTERM leaves a checkpoint and the class "interrupted". For a trial of a search the validation
    part is scored instead (state "trained"), and the training may end early ("pruned"), with a checkpoint.
    """
    folder = RunFolder(order.results, order.run_id)
    with folder.claimed() as held:
        record = folder.record()
        if not held or has_all(order, record.state):
            return record
        if record.state == "done":
            score_validation_part(order)
            return record
        accumulation = record.accumulation
        # A run that was tried before keeps what it learned about memory; everything else is told again.
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
        attempts.begin(folder)
        folder.write_config(order.config.model_dump(mode="json"))
        folder.write_data(DataPlaces(order.root, order.store, order.scored_on, order.splits))
        folder.write_record(record)
        with _log_to(folder), _stop_flag() as stopped:
            try:
                record = _execute(order, folder, record, stopped.is_set)
            except PrunedRunError as error:
                log.info("pruned: %s", error)
                record = replace(folder.record(), state="pruned", error=f"Search {_trial(order)}: {error}")
            except Exception as error:
                failure = failure_class(error)
                log.error("failed (%s)\n%s", failure, traceback.format_exc())
                # What was learned on the way stands in the folder, so that nothing is lost here.
                record = replace(folder.record(), state="failed", failure=failure, error=_one_line(error))
            folder.write_record(record)
            attempts.end(folder, record.failure or record.state)
        folder.heartbeat_file.unlink(missing_ok=True)
        if record.state == "done":
            # The moments are of no use to a finished run, and twice as large as its weights.
            folder.checkpoint_file.unlink(missing_ok=True)
    return record


def _trial(order: RunOrder) -> str:
    return f"{order.trial.study}, trial {order.trial.number}" if order.trial else ""


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
    """A deterministic run keeps the number of threads it began with; on the CPU its configuration says it."""
    earlier = folder.record().threads
    if order.config.training.deterministic and earlier:
        return earlier
    return order.config.threads if order.resources.device == "cpu" else order.resources.threads


def _execute(
    order: RunOrder, folder: RunFolder, record: RunRecord, asked_to_stop: Callable[[], bool]
) -> RunRecord:
    config, training, threads = order.config, order.config.training, record.threads or 1
    device = torch.device(order.resources.device)
    environment.set_up(device, threads=threads, deterministic=training.deterministic)
    if method_digest(config.method) != config.method_digest:
        raise BenchError(
            f"The source of {config.method} has changed since this run was planned; start again."
        )
    data = open_fold(order)
    if order.trial is not None:
        data = data.without_test()
    run = OpenRun(order, folder, record, data, Beat(folder, device), asked_to_stop)
    sampler = PatchSampler(
        run.data.train,
        training.patch_size,
        training.batch_size,
        training.lesion_fraction,
        seed=config.seed,
        crops_per_case=training.crops_per_case,
        shuffle=training.shuffle,
        other_patches=training.other_patches,
    )
    steps = total_steps(training, sampler)
    made = {"precision": training.precision, "data": dict(run.data.fingerprints)}
    run.note(facts=environment.facts(device, threads=threads) | made, steps=steps)
    run.beat.tell("train", 0, steps)
    method = planned_method(config, run.data.spec)
    known = environment.library_warnings(device, training.precision)
    warnings = (*_warnings(method, training, run.data.train), *known)
    for warning in warnings:
        log.warning(warning)
    told = {"tasks": list(method.tasks), "fusion": method.fusion, "remarks": list(method.remarks)}
    run.note(warnings=warnings, facts={**run.record.facts, **told})
    if isinstance(method, ExternalMethod):
        execute_external(run, method)
    else:
        execute_in_loop(run, sampler, method)
    return replace(run.record, state="trained" if order.trial else "done")


def _warnings(
    method: BaseMethod, training: TrainingConfig, train_cases: Sequence[PreparedCase]
) -> tuple[str, ...]:
    warnings = []
    with_lesion = sum(case.has_lesion for case in train_cases)
    if method.class_label == "volume" and with_lesion in (0, len(train_cases)):
        kind = "have a lesion" if with_lesion else "are tumour-free"
        warnings.append(f"All {len(train_cases)} training cases {kind}: the classifier sees one class only.")
    if training.best_on == "test":
        warnings.append(
            "The checkpoint is chosen on the test cases (best_on: test), so these scores flatter."
        )
    return tuple(warnings)


class _WithoutSecrets(logging.Formatter):
    """Errors of databases quote the addresses that they were given."""

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


@contextlib.contextmanager
def _log_to(folder: RunFolder) -> Iterator[None]:
    handler = logging.FileHandler(folder.log_file, encoding="utf-8")
    handler.setFormatter(_WithoutSecrets("%(asctime)s %(levelname)s %(message)s"))
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
