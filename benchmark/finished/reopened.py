"""A finished run, opened again: its configuration, its cases, its trained method, and what that predicts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from benchmark.config import Resources, RunConfig, run_config
from benchmark.data.store import PreparedCase
from benchmark.datasets.registry import dataset
from benchmark.protocols import ExternalJob, ExternalMethod, Method, ProgressCallback
from benchmark.registry import build_method, method_digest, method_names
from benchmark.results.order import RunOrder
from benchmark.results.runs import RunFolder, RunRecord, state_of
from benchmark.scoring.evaluate import LabelMap, Predicted
from benchmark.training import environment
from benchmark.training.checkpoint import load_weights
from benchmark.training.external import job_of, read_mask
from benchmark.training.fold import FoldData, open_fold, run_preparation
from benchmark.training.in_loop import Predictor, evaluated_weights
from benchmark.vocabulary import BenchError, Case, DatasetSpec, Preparation


@dataclass(frozen=True)
class ReopenedRun:
    """`method` has the weights that were scored; one that trains itself finds its own in the run's folder."""

    order: RunOrder
    folder: RunFolder
    record: RunRecord
    spec: DatasetSpec
    method: Method | ExternalMethod

    @property
    def config(self) -> RunConfig:
        return self.order.config

    @property
    def device(self) -> torch.device:
        return torch.device(self.order.resources.device)

    @cached_property
    def data(self) -> FoldData:
        """The run's cases; DataError when they are gone, or not those it saw."""
        return open_fold(self.order)

    @property
    def preparation(self) -> Preparation:
        """How the run's method wants a case prepared."""
        return run_preparation(self.method, self.config, self.spec)

    @property
    def predictor(self) -> Predictor:
        """For a method in our loop."""
        assert isinstance(self.method, Method)
        return Predictor(self.method, self.config, self.device)

    def predicted(self, cases: Sequence[PreparedCase]) -> Iterator[Predicted]:
        """The cases' label maps for every reading, as they were scored when the run was executed."""
        if isinstance(self.method, Method):
            for case in cases:
                labels = self.predictor(case)
                yield case.case_id, {name: LabelMap(own, case.geometry) for name, own in labels.items()}
        else:
            yield from self.predicted_outside([(case, case.original()) for case in cases])

    def predicted_outside(self, cases: Sequence[tuple[PreparedCase, Case]]) -> Iterator[Predicted]:
        """The label maps of a method that predicts from files: those of each `Case`."""
        assert isinstance(self.method, ExternalMethod)
        with tempfile.TemporaryDirectory(prefix="bench-masks-") as folder:
            masks = Path(folder)
            self.method.predict(self.external_job(), [files for _, files in cases], masks)
            for case, _ in cases:
                geometry = self.data.references[case.case_id].geometry
                yield case.case_id, {self.method.readings[0]: read_mask(masks, case.case_id, geometry)}

    def external_job(self, tell: ProgressCallback | None = None) -> ExternalJob:
        """What a method that trains itself is handed for its predictions."""

        def say_nothing(phase: str, done: int, total: int, **_: float | None) -> None: ...

        return job_of(
            self.order, self.record, self.data, tell=tell or say_nothing, asked_to_stop=lambda: False
        )


def reopen(results: Path, run_id: str, *, device: str = "cpu", threads: int | None = None) -> ReopenedRun:
    """Open a finished run. `threads` None: as many as it had, so that its sums are added in the same order.

    BenchError, with what to do, for a device that is not here, a run that is not done, whose method has changed or
    whose weights are gone.
    """
    place = environment.device_named(device)
    folder = RunFolder(results, run_id)
    state, failure = state_of(folder)
    if failure == "damaged":
        raise BenchError(str(folder.seen().error))
    if state != "done":
        word = failure if failure in ("interrupted", "unsupported") else state
        raise BenchError(
            f"Run {run_id} is {word}; only finished runs can be opened. `bench run` finishes them."
        )
    folder.refuse_odd_files()
    config, record, places = (
        run_config(folder.config(), source=str(folder.config_file)),
        folder.record(),
        folder.data(),
    )
    _check_source(run_id, config)
    order = RunOrder(
        results=results.resolve(),
        run_id=run_id,
        config=config,
        root=places.root,
        store=places.store,
        scored_on=places.scored_on,
        splits=places.splits,
        data_fingerprint=record.data_fingerprint,
        resources=Resources(device=device, threads=threads or record.threads or 1),
        excluded_cases=record.excluded_cases,
    )
    environment.set_up(place, threads=order.resources.threads, deterministic=config.training.deterministic)
    spec = dataset(config.dataset).spec_of(places.root)
    return ReopenedRun(order, folder, record, spec, _trained(folder, config, spec, place))


def _check_source(run_id: str, config: RunConfig) -> None:
    if config.method not in method_names():
        raise BenchError(
            f"Run {run_id} is one of the method {config.method!r}, which is not known here; name its file with "
            "--method-file."
        )
    if method_digest(config.method) != config.method_digest:
        raise BenchError(
            f"The source of {config.method} is not the one that run {run_id} was trained with. Undo the change, or "
            "start the grid again to train the method as it is now."
        )


def _trained(
    folder: RunFolder, config: RunConfig, spec: DatasetSpec, device: torch.device
) -> Method | ExternalMethod:
    method = build_method(
        config.method,
        config.method_args,
        spec=spec,
        patch_size=config.training.patch_size,
        loss_weights=config.loss_weights,
    )
    if isinstance(method, ExternalMethod):
        method.check_installed()
        return method
    weights = evaluated_weights(folder, config)
    if not weights.exists():
        raise BenchError(
            f"Run {folder.run_id} has no weights: {weights} is missing. Copy the file there, or remove {folder.path} "
            "and start its grid again."
        )
    load_weights(method, weights)
    memory_format = torch.channels_last_3d if config.training.channels_last else torch.contiguous_format
    return method.to(device).to(memory_format=memory_format).eval()  # type: ignore[call-overload]
