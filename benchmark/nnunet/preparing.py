"""Fingerprint, plan and preprocessing of nnU-Net, once for all runs on the same fold with the same plan."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import nibabel as nib
import nnunetv2
import numpy as np
from nnunetv2.configuration import ANISO_THRESHOLD
from nnunetv2.experiment_planning.dataset_fingerprint import fingerprint_extractor
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props
from nnunetv2.preprocessing.preprocessors import default_preprocessor
from nnunetv2.utilities.find_class_by_name import recursive_find_python_class
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from benchmark.files.places import inside
from benchmark.files.schemas import read_mapping
from benchmark.files.writing import exclusive, write_json
from benchmark.nnunet.loading import read_plans
from benchmark.nnunet.plan import Plan, shrunk_patch
from benchmark.nnunet.raw import SPLIT_IMAGES, RawDataset, write_raw, write_splits
from benchmark.nnunet.task import Training
from benchmark.vocabulary import BenchError, DataError

MARKER = "preprocessed.json"
SMALLEST_MAPS = (4, 2)
"""Shortest side of the deepest feature maps: nnU-Net's 4, and 2 where a network of so many stages needs it."""

MOST_SAMPLES = 10**6
"""Intensities sampled from a case's foreground. Only below 100 cases less than nnU-Net's 10^8 in all, which are two
gigabytes drawn again and again from the same voxels."""


def prepare(task: Training, tell: Callable[[int, int], None]) -> Path:
    """Make the preprocessed data set unless it is there; returns its folder. `tell`: cases done, of how many.

    The marker is written last: what a killed process left behind is made again.
    """
    shared, dataset = Path(task.shared), task.dataset
    preprocessed = shared / "preprocessed" / dataset.name
    with exclusive(shared.with_name(f"{shared.name}.lock"), wait=True):
        if (shared / MARKER).exists():
            return preprocessed
        kind = _planner(task.plan.planner)
        _check_stages(task.plan, dataset)
        shutil.rmtree(shared, ignore_errors=True)
        tell(0, len(dataset.cases))
        write_raw(dataset, shared / "raw" / dataset.name, split=shared.with_name(SPLIT_IMAGES))
        preprocessed.mkdir(parents=True)
        write_splits(dataset, preprocessed)
        with _pools(threads=task.threads):
            _extract_fingerprint(dataset, processes=min(8, task.threads))
            plans_name = _write_plans(kind, dataset, task.plan, preprocessed)
            manager = PlansManager(str(preprocessed / f"{plans_name}.json"))
            configuration = manager.get_configuration(task.plan.configuration)
            preprocessor = configuration.preprocessor_class(verbose=False)
            preprocessor.show_progress_bar = False
            with _counting(preprocessed / configuration.data_identifier, len(dataset.cases), tell):
                preprocessor.run(
                    dataset.name, task.plan.configuration, plans_name, num_processes=min(4, task.threads)
                )
        write_json(shared / MARKER, {"plans": plans_name, "nnunetv2": version("nnunetv2")})
    return preprocessed


def plans_of(task: Training) -> dict[str, Any]:
    """The plans that the preprocessed data were made with."""
    shared = Path(task.shared)
    name = str(read_mapping(shared / MARKER, below=shared).get("plans"))
    return read_plans(inside(shared, f"preprocessed/{task.dataset.name}/{name}.json"))


def _extract_fingerprint(dataset: RawDataset, *, processes: int) -> None:
    extractor = fingerprint_extractor.DatasetFingerprintExtractor(dataset.name, processes, verbose=False)
    extractor.show_progress_bar = False
    extractor.num_foreground_voxels_for_intensitystats = min(
        extractor.num_foreground_voxels_for_intensitystats, MOST_SAMPLES * len(dataset.cases)
    )
    extractor.run(overwrite_existing=True)


def _planner(name: str) -> type[Any]:
    folder = str(Path(nnunetv2.__path__[0]) / "experiment_planning")
    kind = recursive_find_python_class(folder, name, "nnunetv2.experiment_planning")
    if not (isinstance(kind, type) and issubclass(kind, ExperimentPlanner)):
        raise BenchError(f"nnU-Net {version('nnunetv2')} has no planner {name!r}.")
    return kind


def _check_stages(plan: Plan, dataset: RawDataset) -> None:
    """BenchError for a patch and stages that do not go together, by the headers alone, before voxels are read.

    Not foreseen, and found by `_edit`: what follows from sizes after cropping, as the shrinking of patches, the low
    resolution, and the spacing of data whose voxels are much longer along one axis.
    """
    if plan.patch_size is None or plan.shrink_patch or plan.configuration != "3d_fullres":
        return
    headers = [nib.load(case.images[0].path).header for case in dataset.cases.values()]
    edges = [[float(edge) for edge in header.get_zooms()[:3]] for header in headers]
    finest = plan.spacing == "finest"
    # nnU-Net's order of axes: the file's reversed, then the coarsest to the front.
    z, y, x = reversed(np.min(edges, axis=0) if finest else np.median(edges, axis=0))
    coarsest = max(range(3), key=(z, y, x).__getitem__)
    first, *others = [(z, y, x)[axis] for axis in sorted(range(3), key=lambda axis: axis != coarsest)]
    if finest or first <= ANISO_THRESHOLD * max(others):
        _stages([first, *others], plan.patch_size, plan)


def _write_plans(kind: type[Any], dataset: RawDataset, plan: Plan, preprocessed: Path) -> str:
    """Let the planner plan, then put in what `plan` decides; returns the plans' name."""
    spacing = None
    if plan.spacing == "finest":
        fingerprint = json.loads((preprocessed / "dataset_fingerprint.json").read_text())
        spacing = [float(edge) for edge in np.min(fingerprint["spacings"], axis=0)]
    planner = kind(dataset.name, overwrite_target_spacing=spacing)
    planner.plan_experiment()
    file = preprocessed / f"{planner.plans_identifier}.json"
    plans = json.loads(file.read_text())
    if plan.configuration not in plans["configurations"]:
        there = ", ".join(plans["configurations"]) or "none"
        raise DataError(
            f"nnU-Net plans no {plan.configuration} for these images, but only: {there}. Name one of them as the "
            "method's argument configuration, or leave the method out."
        )
    _edit(plans["configurations"][plan.configuration], plan, planner)
    write_json(file, plans)
    return str(planner.plans_identifier)


def _edit(configuration: dict[str, Any], plan: Plan, planner: Any) -> None:
    """Put the plan's patch, batch and stages into nnU-Net's; the rest stays the planner's."""
    if plan.batch_size is not None:
        configuration["batch_size"] = plan.batch_size
    if plan.patch_size is None and plan.features is None:
        return
    patch: Sequence[int] = plan.patch_size or configuration["patch_size"]
    if plan.shrink_patch:
        patch = shrunk_patch(patch, configuration["median_image_size_in_voxels"])
    strides, kernels = _stages(configuration["spacing"], patch, plan)
    features = plan.features or [
        min(planner.UNet_max_features_3d, planner.UNet_base_num_features * 2**i) for i in range(len(strides))
    ]
    arguments = configuration["architecture"]["arch_kwargs"]
    # Plain networks have convolutions in a stage of the encoder, residual ones blocks.
    blocks = "n_blocks_per_stage" if "n_blocks_per_stage" in arguments else "n_conv_per_stage"
    arguments |= {
        "n_stages": len(strides),
        "features_per_stage": list(features),
        "strides": strides,
        "kernel_sizes": kernels,
        blocks: list(planner.UNet_blocks_per_stage_encoder[: len(strides)]),
        "n_conv_per_stage_decoder": list(planner.UNet_blocks_per_stage_decoder[: len(strides) - 1]),
    }
    configuration["patch_size"] = list(patch)


def _stages(
    spacing: Sequence[float], patch: Sequence[int], plan: Plan
) -> tuple[list[list[int]], list[list[int]]]:
    """Strides and kernel sizes by nnU-Net's rule, cut to the plan's stages; BenchError for a patch they do not fit."""
    strides, kernels = _topology(spacing, patch, len(plan.features or ()) or None)
    step = np.prod(strides, axis=0)
    if (np.array(patch) % step).any():
        raise BenchError(
            f"nnU-Net's stages halve a patch of {list(patch)} until its sides are no longer whole; "
            f"they must be multiples of {step.tolist()}."
        )
    return strides, kernels


def _topology(
    spacing: Sequence[float], patch: Sequence[int], stages: int | None
) -> tuple[list[list[int]], list[list[int]]]:
    """Strides and kernel sizes by nnU-Net's rule, cut to the first `stages`."""
    for smallest in SMALLEST_MAPS:
        _, strides, kernels, _, _ = get_pool_and_conv_props(spacing, patch, smallest, 999999)
        if len(strides) >= (stages or 1):
            count = stages or len(strides)
            return [list(s) for s in strides[:count]], [list(k) for k in kernels[:count]]
    raise BenchError(
        f"A patch of {list(patch)} can be halved {len(strides) - 1} times, which makes {len(strides)} stages; "
        f"features names {stages}. Take a larger patch or fewer stages."
    )


@contextlib.contextmanager
def _pools(*, threads: int) -> Iterator[None]:
    """With one or two threads, work in this process: starting nnU-Net's others takes longer than most of the work."""
    modules: tuple[ModuleType, ...] = (fingerprint_extractor, default_preprocessor)
    if threads > 2:
        yield
        return
    before = [module.multiprocessing for module in modules]
    # One thread: nnU-Net's search for its own classes is not safe for several.
    alone = SimpleNamespace(get_context=lambda _: SimpleNamespace(Pool=lambda _: ThreadPool(1)))
    for module in modules:
        module.multiprocessing = alone  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module, original in zip(modules, before, strict=True):
            module.multiprocessing = original  # type: ignore[attr-defined]


@contextlib.contextmanager
def _counting(folder: Path, total: int, tell: Callable[[int, int], None]) -> Iterator[None]:
    """Tell every second how many cases are written, by whichever process."""
    ended = threading.Event()

    def count() -> None:
        while not ended.wait(1.0):
            tell(len(list(folder.glob("*.pkl"))), total)

    thread = threading.Thread(target=count, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    tell(total, total)
