"""Windows stitched band by band, against MONAI's sliding window over the whole volume."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference
from torch import Tensor

from benchmark.training.stitching import stitched

CPU = torch.device("cpu")


def drawn(shape: Sequence[int]) -> np.ndarray:
    return np.random.default_rng(0).random((2, *shape), np.float32).astype(np.float16)


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Conv3d(2, 3, 3, padding=1)


@pytest.mark.parametrize("shape", [(37, 29, 23), (10, 40, 17), (16, 16, 16), (8, 9, 10)])
@pytest.mark.parametrize("window", [(16, 16, 16), (32, 8, 12), (16, 16, 1)])
@pytest.mark.parametrize(("overlap", "n"), [(0.0, 1), (0.25, 4), (0.7, 3)])
@torch.inference_mode()
def test_slabs_put_together_are_monai_s_output_bit_for_bit(
    shape: tuple[int, int, int], window: tuple[int, int, int], overlap: float, n: int
) -> None:
    image, net = drawn(shape), network()
    whole = sliding_window_inference(
        torch.from_numpy(image.astype(np.float32))[None], window, n, net, overlap=overlap, mode="constant"
    )
    slabs = [
        (place, outputs["out"].clone())
        for place, outputs in stitched(
            image,
            lambda patch: {"out": net(patch)},
            window_size=window,
            overlap=overlap,
            windows_per_batch=n,
            device=CPU,
        )
    ]
    covered = [x for place, _ in slabs for x in range(place.start, place.stop)]
    assert covered == list(range(shape[0]))
    assert torch.equal(torch.cat([output for _, output in slabs], dim=2), whole)


def test_no_more_than_a_window_s_width_of_the_output_is_in_memory() -> None:
    """64 voxels in windows of 8: the widest slab, and what is left of its band, is 8 wide."""
    image = drawn((64, 8, 8))
    widths = [
        output["out"].shape[2]
        for _, output in stitched(
            image,
            lambda patch: {"out": patch},
            window_size=(8, 8, 8),
            overlap=0.5,
            windows_per_batch=1,
            device=CPU,
        )
    ]
    assert widths == [4] * 14 + [8]


def test_a_replaced_output_is_the_last_window_s_and_others_are_averaged() -> None:
    """Windows of 4 at 0 and 2 of 6 voxels, numbered 1 and 2: the middle is 2, or their mean."""
    numbers = iter((1.0, 2.0))

    def windows(patch: Tensor) -> dict[str, Tensor]:
        number = torch.full_like(patch[:, :1], next(numbers))
        return {"last": number, "mean": number.clone()}

    slabs = stitched(
        drawn((6, 4, 4)),
        windows,
        window_size=(4, 4, 4),
        overlap=0.5,
        windows_per_batch=1,
        device=CPU,
        replaced=["last"],
    )
    along = {"last": [], "mean": []}
    for _, outputs in slabs:
        for name, output in outputs.items():
            along[name] += output[0, 0, :, 0, 0].tolist()
    assert along == {"last": [1, 1, 2, 2, 2, 2], "mean": [1, 1, 1.5, 1.5, 2, 2]}
