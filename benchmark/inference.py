"""A case's label maps: sliding windows over the prepared image, then decode, then back into the full volume."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import UInt8
from monai.inferers import sliding_window_inference

from benchmark.config import InferenceConfig, Precision
from benchmark.data.store import PreparedCase
from benchmark.protocols import Method

AUTOCAST: dict[Precision, torch.dtype] = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The context that a run's forward passes share."""
    return torch.autocast(device.type, AUTOCAST.get(precision, torch.bfloat16), enabled=precision in AUTOCAST)


@torch.inference_mode()
def predict(
    method: Method,
    case: PreparedCase,
    *,
    config: InferenceConfig,
    precision: Precision,
    device: torch.device,
    channels_last: bool = False,
    readings: Sequence[str] | None = None,
) -> dict[str, UInt8[np.ndarray, "x y z"]]:
    """The labels of every reading (None: all of the method's) on the full volume at the preparation's spacing.

    The network runs once, however many readings there are. Outside the body the labels are background.
    """
    method.eval()
    # Windows are added up in the image's type, so it must not be the store's float16.
    image = torch.from_numpy(case.image().astype(np.float32)).unsqueeze(0).to(device)

    def window(patch: torch.Tensor) -> torch.Tensor:
        if channels_last:
            patch = patch.contiguous(memory_format=torch.channels_last_3d)
        with autocast(device, precision):
            return method(patch).float()

    # Windows are averaged with equal weights, as in the authors' evaluation; smaller volumes are padded.
    output = sliding_window_inference(
        image, method.patch_size, config.windows_per_batch, window, overlap=config.overlap, mode="constant"
    )
    full = {}
    for reading in method.readings if readings is None else readings:
        labels = method.decode(output, reading)[0, 0].to(torch.uint8).cpu().numpy()
        full[reading] = np.zeros(case.geometry.grid_shape, np.uint8)
        full[reading][case.geometry.crop] = labels
    return full
