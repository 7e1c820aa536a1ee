"""Seeded patches from the store, read ahead by threads.

The batch of step s is a function of the seed and s alone. A training that continues at step s therefore
needs no sampler state to see what it would have seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from jaxtyping import Bool, Float16, UInt8

from benchmark.data.store import PreparedCase
from benchmark.vocabulary import IGNORED, BenchError, Size3

T = TypeVar("T")
_LOOKS = 100


@dataclass(frozen=True)
class PatchArrays:
    """A batch in the store's types; the training device casts it."""

    image: Float16[np.ndarray, "b m x y z"]
    label: UInt8[np.ndarray, "b 1 x y z"]
    has_lesion: Bool[np.ndarray, "b"]
    case_ids: tuple[str, ...]
    step: int


@dataclass(frozen=True)
class PatchSampler:
    """Draws `crops_per_case` patches a case, the cases in a new random order every epoch, or in theirs always.

    With probability `lesion_fraction` a patch of a case with lesions is centred on a lesion voxel (all voxels
    equally likely), as far as the volume's border allows; otherwise it lies anywhere or, with `other_patches`
    "background", is centred on a voxel without lesion. Where a data set has the
    label `ignore`, it is centred on an annotated voxel then, as nnU-Net's are: of sparse annotations a patch anywhere
    would hardly ever hold one. Volumes smaller than the patch are padded with zeros on both sides, the label with
    background, as nnU-Net's.
    """

    cases: Sequence[PreparedCase]
    patch_size: Size3
    batch_size: int
    lesion_fraction: float
    seed: int
    crops_per_case: int = 1
    shuffle: bool = True
    other_patches: Literal["anywhere", "background"] = "anywhere"

    def __post_init__(self) -> None:
        if not self.cases:
            raise BenchError("There is no training case to draw patches from; check the splits.")

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.cases) * self.crops_per_case // self.batch_size)

    def batch(self, step: int) -> PatchArrays:
        """The batch of optimiser step `step`, counted from 0."""
        chosen = [self._case(step * self.batch_size + i) for i in range(self.batch_size)]
        n_modalities = chosen[0].image().shape[0]
        image = np.zeros((self.batch_size, n_modalities, *self.patch_size), np.float16)
        label = np.zeros((self.batch_size, 1, *self.patch_size), np.uint8)
        for i, case in enumerate(chosen):
            self._read_patch(case, np.random.default_rng([self.seed, 1, step, i]), image[i], label[i, 0])
        return PatchArrays(
            image=image,
            label=label,
            has_lesion=np.array([case.has_lesion for case in chosen]),
            case_ids=tuple(case.case_id for case in chosen),
            step=step,
        )

    def prefetched(
        self, start: int, stop: int, *, threads: int, finish: Callable[[PatchArrays], T]
    ) -> Iterator[T]:
        """The batches [start, stop) in order, read ahead and passed through `finish` by `threads` threads."""
        with ThreadPoolExecutor(threads, thread_name_prefix="patches") as pool:
            ahead: deque[Future[T]] = deque()
            try:
                for step in range(start, stop):
                    ahead.append(pool.submit(lambda step: finish(self.batch(step)), step))
                    if len(ahead) > 2 * threads:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                for future in ahead:
                    future.cancel()

    def _case(self, draw: int) -> PreparedCase:
        epoch, position = divmod(draw // self.crops_per_case, len(self.cases))
        if not self.shuffle:
            return self.cases[position]
        order = np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.cases))
        return self.cases[order[position]]

    def _read_patch(
        self, case: PreparedCase, rng: np.random.Generator, image: np.ndarray, label: np.ndarray
    ) -> None:
        size = case.geometry.crop_shape
        lesion = case.lesion_voxels()
        if len(lesion) and rng.random() < self.lesion_fraction:
            centre: Sequence[int] | None = lesion[rng.integers(len(lesion))].tolist()
        elif self.other_patches == "background":
            centre = _voxel(case.label()[case.geometry.crop], rng, wanted=lambda value: value == 0)
        elif case.ignore is not None:
            centre = _voxel(case.label()[case.geometry.crop], rng, wanted=lambda value: value != IGNORED)
        else:
            centre = None
        if centre is not None:
            start = [c - p // 2 for c, p in zip(centre, self.patch_size, strict=True)]
        else:
            start = [int(rng.integers(max(n - p, 0) + 1)) for n, p in zip(size, self.patch_size, strict=True)]
        source, target, in_label = [], [], []
        for s, n, p, offset in zip(start, size, self.patch_size, case.geometry.crop_start, strict=True):
            if n >= p:
                s = min(max(s, 0), n - p)
                source.append(slice(s, s + p))
                target.append(slice(0, p))
            else:
                source.append(slice(0, n))
                target.append(slice((p - n) // 2, (p - n) // 2 + n))
            in_label.append(slice(source[-1].start + offset, source[-1].stop + offset))
        image[(slice(None), *target)] = case.image()[(slice(None), *source)]
        label[tuple(target)] = case.label()[tuple(in_label)]


def _voxel(
    label: UInt8[np.ndarray, "x y z"], rng: np.random.Generator, *, wanted: Callable[[Any], Any]
) -> Sequence[int] | None:
    """A voxel whose value is wanted, all equally likely; None where there is none."""
    # A few looks at single voxels of the mapped file are enough, but where next to nothing is wanted.
    for _ in range(_LOOKS):
        voxel: list[int] = [int(rng.integers(n)) for n in label.shape]
        if wanted(label[tuple(voxel)]):
            return voxel
    places = np.flatnonzero(wanted(label))
    if not places.size:
        return None
    chosen = places[rng.integers(places.size)]
    return [int(i) for i in np.unravel_index(chosen, label.shape)]
