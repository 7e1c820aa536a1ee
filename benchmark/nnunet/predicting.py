"""Masks of the original files by a trained nnU-Net, case by case."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from benchmark.data.channels import write_label
from benchmark.files.schemas import read_mapping
from benchmark.files.writing import write_json
from benchmark.nnunet.loading import load_checkpoint, read_plans
from benchmark.nnunet.network import planned_network
from benchmark.nnunet.raw import FILE_ENDING, link_images
from benchmark.nnunet.task import Prediction, weights_file


def predict(task: Prediction, device: torch.device, tell: Callable[[int, int], None]) -> None:
    """Write the masks that are missing, on their images' original grids; `tell`: cases done, of how many.

    nnU-Net's own pipeline in this process: preprocessing, overlapping windows with Gaussian weights, mirrored
    copies averaged if asked for, logits resampled to the original voxels. A mask appears when it is complete.
    """
    out = Path(task.out)
    out.mkdir(parents=True, exist_ok=True)
    missing = [case_id for case_id in task.cases if not mask_file(out, case_id).exists()]
    if not missing:
        return
    predictor = _predictor(task, device)
    for case_id in missing:
        tell(len(task.cases) - len(missing) + missing.index(case_id), len(task.cases))
        # nnU-Net writes notes of its own beside its masks.
        workplace = out / f".{case_id}"
        shutil.rmtree(workplace, ignore_errors=True)
        workplace.mkdir()
        links = link_images(case_id, task.cases[case_id], workplace, split=workplace / "split")
        images = [str(link) for link in links]
        started = time.perf_counter()
        predictor.predict_from_files_sequential([images], [str(workplace / case_id)])
        write_json(seconds_file(out, case_id), {"seconds": time.perf_counter() - started})
        if task.values:
            mask = mask_file(workplace, case_id)
            write_label(mask, mask, dict(enumerate(task.values)))
        mask_file(workplace, case_id).replace(mask_file(out, case_id))
        shutil.rmtree(workplace)
    tell(len(task.cases), len(task.cases))


def mask_file(folder: Path, case_id: str) -> Path:
    return folder / f"{case_id}{FILE_ENDING}"


def seconds_file(folder: Path, case_id: str) -> Path:
    return folder / f"{case_id}.json"


def _predictor(task: Prediction, device: torch.device) -> nnUNetPredictor:
    # By hand: nnU-Net's own loading imports every trainer there is in search of the right one, and with them
    # torchvision, which fails where its build does not fit torch's.
    model = Path(task.model)
    checkpoint = load_checkpoint(weights_file(task.model, task.checkpoint), device=torch.device("cpu"))
    plans, description = read_plans(model / "plans.json"), read_mapping(model / "dataset.json", below=model)
    manager = PlansManager(plans)
    configuration = checkpoint["init_args"]["configuration"]
    predictor = nnUNetPredictor(
        tile_step_size=0.5,
        use_gaussian=True,
        use_mirroring=task.mirror_tta,
        perform_everything_on_device=True,
        device=device,
        allow_tqdm=False,
    )
    predictor.manual_initialization(
        planned_network(plans, configuration, description),
        manager,
        manager.get_configuration(configuration),
        [checkpoint["network_weights"]],
        description,
        checkpoint["trainer_name"],
        checkpoint["inference_allowed_mirroring_axes"],
    )
    return predictor
