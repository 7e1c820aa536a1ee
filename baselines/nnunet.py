"""nnU-Net: the package `nnunetv2`, with its own plan, preprocessing, augmentation, training and prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from benchmark.nnunet.method import NnUNetMethod
from benchmark.nnunet.plan import Plan
from benchmark.protocols import DatasetSpec, Size3


class NnUNet(NnUNetMethod):
    """nnU-Net v2 as its authors ship it, on the training part of our fold and for our number of optimiser steps.

    Needs the extra: pip install 'mirror-bench[nnunet]'. Everything an argument leaves at None is decided by nnU-Net's
    planner from the training and validation cases; test cases are neither linked nor looked at. `plan_patch_size` (in
    nnU-Net's order of axes, the coarsest first) and `features` (channels of each stage) are for small trials.

    Decisions:

    * The paper says "nnU-Net" and no more. We take version 2, the default planner (not the residual encoders that came
      after the paper; `planner="nnUNetPlannerResEncM"` is the first of those), configuration 3d_fullres, one fold.
    * The budget is that of all methods. It is cut into epochs of 250 iterations, or a twentieth of the budget if that
      is less, with 50 validation iterations to 250; the learning rate falls by epochs as in nnU-Net.
    * `checkpoint: best` is nnU-Net's best, by the moving average of its Dice on validation patches.
    * Not used, because nnU-Net decides it: the run's spacing, patch_size, batch_size (but where `steps` is not given,
      it makes `epochs` steps), lesion_fraction, optimiser, learning_rate, momentum, nesterov, weight_decay, schedule,
      precision, channels_last, compile (an argument here), validations, and inference except for score_grid.
    * `deterministic` holds on CPUs alone: a training that was interrupted is equal bit for bit with the same number of
      threads. On CUDA it is not, since nnU-Net's cudnn.benchmark is on.
    * Predictions use mirrored copies (`mirror_tta`), windows that overlap by half, and no postprocessing.
    * Below 100 cases, nnU-Net's statistics of foreground intensities draw 10^6 voxels a case instead of 10^8 in all.
    * Data are as on disk (HU, SUV), on their own grids; masks are scored on the same grid as everyone's.
    * Labels with gaps (1, 2, 4) are renumbered in the copies that nnU-Net reads, and its masks back.
    * Voxels that nobody annotated are its label `ignore`: no loss looks at them, and patches hold annotated voxels.
    """

    paper: ClassVar[str] = "Isensee et al., nnU-Net, Nature Methods 2021"
    examples: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "residual encoder": {"planner": "nnUNetPlannerResEncM"},
        "without mirroring": {"mirror_tta": False},
    }
    small: ClassVar[Mapping[str, Any]] = {
        "features": [4, 8, 8],
        "plan_patch_size": [32, 32, 32],
        "batch_size": 2,
    }

    def __init__(
        self,
        dataset: DatasetSpec,
        patch_size: Size3,
        *,
        configuration: str = "3d_fullres",
        planner: str = "ExperimentPlanner",
        plan_patch_size: Sequence[int] | None = None,
        batch_size: int | None = None,
        features: Sequence[int] | None = None,
        initial_lr: float = 1e-2,
        mirror_tta: bool = True,
        iterations_per_epoch: int | None = None,
        compile: bool = False,
    ) -> None:
        plan = Plan(
            planner=planner,
            configuration=configuration,
            patch_size=None if plan_patch_size is None else tuple(plan_patch_size),
            batch_size=batch_size,
            features=None if features is None else tuple(features),
        )
        super().__init__(
            dataset,
            patch_size,
            plan=plan,
            channels=None,
            initial_lr=initial_lr,
            mirror_tta=mirror_tta,
            iterations_per_epoch=iterations_per_epoch,
            compile=compile,
        )
