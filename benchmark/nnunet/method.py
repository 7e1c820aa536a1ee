"""What all methods that nnU-Net trains have in common."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import mean
from typing import Any

from benchmark.data.numbering import consecutive, is_consecutive
from benchmark.files.places import inside, refuse_links, refuse_links_in
from benchmark.files.schemas import STRICT, UNDEFINED, Amount, Positive, Text, Whole, read_as
from benchmark.nnunet.launch import run_process
from benchmark.nnunet.plan import Plan, Schedule
from benchmark.nnunet.raw import FILE_ENDING, SPLIT_IMAGES, case_images, raw_dataset
from benchmark.nnunet.task import Prediction, Training, weights_file
from benchmark.protocols import (
    BenchError,
    Case,
    DatasetSpec,
    ExternalJob,
    ExternalMethod,
    ExternalTraining,
    MissingPackageError,
    Size3,
    UnsupportedDatasetError,
)

MOST_WORKERS = 12
"""nnU-Net's own number of augmenting processes."""


@dataclass(frozen=True)
class _Trained:
    """What the process of nnU-Net wrote of its training: `training.json`."""

    __pydantic_config__ = UNDEFINED

    model: Text
    parameters: Whole
    flops: Amount
    patch_size: tuple[Positive, Positive, Positive]
    seconds: Amount
    peak_memory_mb: Amount
    history: list[dict[Text, float]]
    facts: dict[Text, Any]


@dataclass(frozen=True)
class _Seconds:
    """What it wrote beside a mask."""

    __pydantic_config__ = STRICT

    seconds: Amount


def _trained(job: ExternalJob) -> _Trained:
    return read_as(_Trained, job.work / "training.json", below=job.work)


def _model(job: ExternalJob, trained: _Trained) -> Path:
    """The folder of the trained network, in the run's folder, wherever that lay when it was trained."""
    # nnU-Net's own results, data set, and trainer with plan and configuration.
    return inside(job.work.resolve(), "/".join(Path(trained.model).parts[-3:]))


class NnUNetMethod(ExternalMethod):
    """A plan for nnU-Net, with what the plan does not hold.

    `channels`: the modalities in the order of the network's input; None: the data set's. `compile`: torch.compile on
    CUDA, nnU-Net's default, which pays off in long trainings.

    Of a run's settings, nnU-Net follows `fold`, `seed`, `training.checkpoint` and the number of steps (`steps`, or
    `epochs` with `batch_size` where `steps` is not given); its masks are scored on the run's `score_grid`. It does not
    follow, because it decides these itself:

    * `spacing_mm`, `patch_size`, `batch_size`: the plan's. `lesion_fraction`: a third of a batch's patches, and at
      least one, is centred on foreground.
    * `optimiser`, `learning_rate`, `momentum`, `nesterov`, `weight_decay`, `schedule`: SGD from `initial_lr`, Nesterov
      momentum 0.99, weight decay 3e-5, polynomial decay by epochs.
    * `precision`: float16 autocast on CUDA, float32 on CPUs. `channels_last`: no. `compile`: the argument.
    * `validations`: after each of its epochs, on patches.
    * `inference.*` but `score_grid`: windows overlap by half and are weighted by a Gaussian.
    * `deterministic`: on CPUs a resumed training is equal bit for bit with the same number of threads. On CUDA it is
      not: nnU-Net's cuDNN benchmark is on, and picks algorithms by their speed.
    """

    def __init__(
        self,
        dataset: DatasetSpec,
        patch_size: Size3,
        *,
        plan: Plan,
        channels: Sequence[str] | None,
        initial_lr: float,
        mirror_tta: bool,
        iterations_per_epoch: int | None,
        compile: bool,
    ) -> None:
        super().__init__(dataset, patch_size)
        channels = tuple(channels or dataset.modalities)
        if missing := [name for name in channels if name not in dataset.modalities]:
            raise UnsupportedDatasetError(
                f"{dataset.name} has no {' and no '.join(missing)}; it has {', '.join(dataset.modalities)}."
            )
        if len(set(channels)) < len(channels):
            raise BenchError(f"channels {list(channels)} names a modality twice.")
        if initial_lr <= 0:
            raise BenchError(f"initial_lr is {initial_lr}; it must be positive.")
        if iterations_per_epoch is not None and iterations_per_epoch < 1:
            raise BenchError(f"iterations_per_epoch is {iterations_per_epoch}; it must be positive, or None.")
        self.plan, self.channels, self.initial_lr = plan, channels, initial_lr
        self.mirror_tta, self.iterations_per_epoch, self.compile = mirror_tta, iterations_per_epoch, compile
        mirrored = " and averaged over mirrored images" if mirror_tta else ""
        self.remarks = (
            "trained with nnU-Net's augmentation",
            f"predicted with half-overlapping Gaussian-weighted windows{mirrored}",
            "seconds a case include reading and preparing the files, which other methods have done in advance; "
            "peak memory is that of the training process",
        )

    def check_installed(self) -> None:
        if importlib.util.find_spec("nnunetv2") is None:
            raise MissingPackageError(
                "nnU-Net is not installed. Install it with: pip install 'mirror-bench[nnunet]' "
                '(or the package alone: pip install "nnunetv2>=2.6")'
            )

    def train(self, job: ExternalJob) -> ExternalTraining:
        """Preprocess (once for all seeds) and train; `seconds` are those of the training iterations with their data."""
        self.check_installed()
        trained = job.work / "training.json"
        if not trained.exists():
            task = self.training_task(job)
            run_process(task, job, name="nnunet-train", settings=self._settings(job, task))
        told = _trained(job)
        return ExternalTraining(
            parameters=told.parameters,
            flops=told.flops,
            patch_size=told.patch_size,
            seconds=told.seconds,
            peak_memory_mb=told.peak_memory_mb,
            history=told.history,
            facts=told.facts,
            weights=weights_file(str(_model(job, told)), job.checkpoint),
        )

    def training_task(self, job: ExternalJob) -> Training:
        """What the process is told. In `job.shared`, a folder is named after all that preprocessed data depend on."""
        dataset = raw_dataset(self.dataset, self.channels, train=job.train, validation=job.validation)
        shared = job.shared / f"nnunet-{dataset.identity(self.plan, version('nnunetv2'))}"
        refuse_links(shared, below=job.shared)
        refuse_links_in(job.shared / SPLIT_IMAGES)
        return Training(
            dataset=dataset,
            plan=self.plan,
            schedule=Schedule.of(job.steps, self.iterations_per_epoch),
            shared=str(shared.resolve()),
            work=str(job.work.resolve()),
            initial_lr=self.initial_lr,
            seed=job.seed,
            checkpoint=job.checkpoint,
            checkpoint_seconds=job.checkpoint_seconds,
            device=job.device,
            threads=job.threads,
            workers=_workers(job),
        )

    def predict(self, job: ExternalJob, cases: Sequence[Case], out: Path) -> float:
        """Write the masks that are missing. The seconds of a case include its preprocessing and its resampling back;
        they stand beside its mask, in `<case_id>.json`."""
        self.check_installed()
        files = {case.case_id: case_images(case, self.channels) for case in cases}
        if not all((out / f"{case_id}{FILE_ENDING}").exists() for case_id in files):
            task = Prediction(
                model=str(_model(job, _trained(job))),
                checkpoint=job.checkpoint,
                cases=files,
                out=str(out.resolve()),
                mirror_tta=self.mirror_tta,
                device=job.device,
                threads=job.threads,
                values=_values(self.dataset),
            )
            run_process(task, job, name="nnunet-predict", settings=self._settings(job))
        told = [read_as(_Seconds, out / f"{case_id}.json", below=out) for case_id in files]
        return mean(each.seconds for each in told)

    def _settings(self, job: ExternalJob, task: Training | None = None) -> dict[str, str]:
        """nnU-Net's environment variables."""
        threads = str(max(1, job.threads))
        folders = {"nnUNet_results": str((job.work / "results").resolve())}
        if task is not None:
            folders |= {f"nnUNet_{part}": f"{task.shared}/{part}" for part in ("raw", "preprocessed")}
        return folders | {
            "nnUNet_compile": "t" if self.compile else "f",
            "nnUNet_def_n_proc": threads,
            "nnUNet_n_proc_DA": threads,
            "nnUNet_wandb_enabled": "0",
            "OMP_NUM_THREADS": threads,
            "MPLBACKEND": "Agg",
            "PYTHONUNBUFFERED": "1",
        }


def _values(dataset: DatasetSpec) -> tuple[int, ...]:
    """The data set's value of each of nnU-Net's classes; nothing where they are the same."""
    numbering = consecutive(dataset.labels, None)
    return () if is_consecutive(numbering) else tuple(numbering)


def _workers(job: ExternalJob) -> int:
    """Augmenting processes: as many as threads are left beside a GPU; beside a CPU, which is slower, an eighth."""
    if job.device == "cpu":
        return job.threads // 8
    return min(MOST_WORKERS, job.threads - 1) if job.threads > 2 else 0
