"""Sliding windows over an image that is never held as a whole in float32, nor are its outputs.

Windows follow one another along the first axis. As soon as no further window reaches a part of the volume, that part
is finished and handed over: what is in memory is one band of the outputs, as wide as a window.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import product

import numpy as np
import torch
from jaxtyping import Float, Float16
from torch import Tensor

from benchmark.vocabulary import Size3

Windows = Callable[[Float[Tensor, "b m x y z"]], Mapping[str, Float[Tensor, "b ..."]]]
"""A batch of windows to named outputs `b c x y z` of the windows' size."""


def stitched(
    image: Float16[np.ndarray, "m x y z"],
    windows: Windows,
    *,
    window_size: Size3,
    overlap: float,
    windows_per_batch: int,
    device: torch.device,
    replaced: Collection[str] = (),
) -> Iterator[tuple[slice, dict[str, Float[Tensor, "1 c x y z"]]]]:
    """The outputs slab by slab along the first axis, each with its place; together they cover the image once.

    Where windows overlap, outputs are averaged with equal weights in float32, those named in `replaced` are the last
    window's. An image smaller than the window is padded with zeros around it, which are cut off again.
    """
    size = tuple(map(max, image.shape[1:], window_size))
    before = [(padded - length) // 2 for padded, length in zip(size, image.shape[1:], strict=True)]
    axes = [_starts(padded, window, overlap) for padded, window in zip(size, window_size, strict=True)]
    counts = [
        _counts(starts, window, padded).to(device)
        for starts, window, padded in zip(axes, window_size, size, strict=True)
    ]
    bands: dict[str, Tensor] = {}
    done = 0
    places: list[Size3] = list(product(*axes))  # type: ignore[arg-type]
    for first in range(0, len(places), windows_per_batch):
        batch = places[first : first + windows_per_batch]
        outputs = windows(_read(image, batch, window_size, before, device))
        for number, (_, y, z) in enumerate(batch):
            for name in outputs:
                if name not in bands:
                    n_channels = outputs[name].shape[1]
                    bands[name] = outputs[name].new_zeros((1, n_channels, window_size[0], *size[1:]))
                part = bands[name][0, :, :, y : y + window_size[1], z : z + window_size[2]]
                if name in replaced:
                    part.copy_(outputs[name][number])
                else:
                    part += outputs[name][number]
            following = first + number + 1
            finished = places[following][0] if following < len(places) else size[0]
            if finished > done:
                slab = _finished(bands, done, finished, counts, replaced)
                yield from _without_padding(slab, done, finished, before, image.shape[1:])
                if finished < size[0]:
                    _move_on(bands, finished - done)
                done = finished
        # Else they would take memory while the network computes the next.
        del outputs


def _starts(length: int, window: int, overlap: float) -> list[int]:
    """Where windows begin along an axis: at equal steps, the last moved back to end with the volume."""
    if window == length:
        return [0]
    step = max(1, int(window * (1 - overlap)))
    return [min(k * step, length - window) for k in range(math.ceil((length - window) / step) + 1)]


def _counts(starts: Sequence[int], window: int, length: int) -> Float[Tensor, "n"]:
    """Along one axis, how many windows cover each voxel; in the volume it is the product over the axes."""
    counts = torch.zeros(length)
    for start in starts:
        counts[start : start + window] += 1
    return counts


def _read(
    image: Float16[np.ndarray, "m x y z"],
    places: Sequence[Size3],
    window_size: Size3,
    before: Sequence[int],
    device: torch.device,
) -> Float[Tensor, "b m i j k"]:
    """Windows of the padded image, whose corners lie at `places`."""
    # To another device half the bytes are sent, and cast there.
    patches = np.zeros(
        (len(places), len(image), *window_size), np.float32 if device.type == "cpu" else image.dtype
    )
    for patch, place in zip(patches, places, strict=True):
        inside, target = [], []
        for start, window, pad, length in zip(place, window_size, before, image.shape[1:], strict=True):
            low, high = max(0, start - pad), min(length, start - pad + window)
            inside.append(slice(low, high))
            target.append(slice(low - start + pad, high - start + pad))
        patch[:, target[0], target[1], target[2]] = image[:, inside[0], inside[1], inside[2]]
    return torch.from_numpy(patches).to(device).float()


def _move_on(bands: Mapping[str, Tensor], by: int) -> None:
    """Let the bands begin further along the first axis."""
    for band in bands.values():
        rest = band[:, :, by:].clone()
        band[:, :, : rest.shape[2]] = rest
        band[:, :, rest.shape[2] :] = 0


def _finished(
    bands: Mapping[str, Tensor], start: int, stop: int, counts: Sequence[Tensor], replaced: Collection[str]
) -> dict[str, Float[Tensor, "1 c x y z"]]:
    x, y, z = counts
    count = x[start:stop, None, None] * y[:, None] * z
    return {
        name: band[:, :, : stop - start].div_(1 if name in replaced else count)
        for name, band in bands.items()
    }


def _without_padding(
    outputs: Mapping[str, Tensor], start: int, stop: int, before: Sequence[int], shape: Sequence[int]
) -> Iterator[tuple[slice, dict[str, Float[Tensor, "1 c x y z"]]]]:
    low, high = max(start, before[0]), min(stop, before[0] + shape[0])
    if low >= high:
        return
    y, z = (slice(pad, pad + length) for pad, length in zip(before[1:], shape[1:], strict=True))
    cut = {name: output[:, :, low - start : high - start, y, z] for name, output in outputs.items()}
    yield slice(low - before[0], high - before[0]), cut
