"""A case's label maps: sliding windows over the prepared image, then decode, then back into the full volume."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8

from benchmark.config import InferenceConfig, Precision
from benchmark.data.store import PreparedCase
from benchmark.protocols import Method, modality_index
from benchmark.training.stitching import stitched

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
    zeroed: Sequence[str] = (),
) -> dict[str, UInt8[np.ndarray, "x y z"]]:
    """The labels of every reading (None: all of the method's) on the full volume at the preparation's spacing.

    The network runs once, however many readings there are. Outside the body the labels are background. `zeroed`: the
    modalities that the network is shown as zeros.
    """
    method.eval()
    hidden = [modality_index(method.dataset.modalities, name) for name in zeroed]

    def windows(patch: torch.Tensor) -> dict[str, torch.Tensor]:
        patch = as_inferred(patch, case)
        patch[:, hidden] = 0
        if channels_last:
            patch = patch.contiguous(memory_format=torch.channels_last_3d)
        with autocast(device, precision):
            return {"output": method(patch).float()}

    wanted = method.readings if readings is None else readings
    full = {reading: np.zeros(case.geometry.grid_shape, np.uint8) for reading in wanted}
    # Windows are averaged with equal weights, as in the authors' evaluation; smaller volumes are padded.
    slabs = stitched(
        case.image(),
        windows,
        window_size=method.patch_size,
        overlap=config.overlap,
        windows_per_batch=config.windows_per_batch,
        device=device,
    )
    pieces = ((place, outputs["output"]) for place, outputs in slabs)
    for place, output in pieces if decodes_voxelwise(method) else _in_one(pieces, case.image().shape[1]):
        for reading, labels in full.items():
            decoded = method.decode(output, reading)[0, 0]
            labels[case.geometry.crop][place] = decoded.to(torch.uint8).cpu().numpy()
    return full


def as_inferred(patch: Float[torch.Tensor, "b m x y z"], case: PreparedCase) -> torch.Tensor:
    """What a trained network is shown of a case: channels that training saw unclipped are clipped."""
    channels = list(case.unclipped)
    patch[:, channels] = patch[:, channels].clamp(0, 1)
    return patch


def decodes_voxelwise(method: Method) -> bool:
    """What the class says that defines `decode`: one that overrides it inherits no promise."""
    owner = next(kind for kind in type(method).__mro__ if "decode" in vars(kind))
    return bool(vars(owner).get("decodes_voxelwise", False))


def _in_one(
    pieces: Iterable[tuple[slice, torch.Tensor]], length: int
) -> Iterator[tuple[slice, torch.Tensor]]:
    """The slabs as one, `length` long."""
    whole = torch.empty(0)
    for place, output in pieces:
        if not whole.numel():
            whole = output.new_empty((*output.shape[:2], length, *output.shape[3:]))
        whole[:, :, place] = output
    yield slice(None), whole
