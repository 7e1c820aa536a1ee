"""Phi: what it changes, and what it must not."""

from __future__ import annotations

import pytest
import torch

from benchmark.nn.corruption import add_noise, default_cubes, shuffle_common_cubes, shuffle_cubes
from benchmark.vocabulary import BenchError


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_shuffling_moves_voxels_inside_cubes_of_16_and_nowhere_else() -> None:
    """With the voxel's own index as its value, 5 cubes of 4,096 voxels are permuted and the rest stay."""
    image = torch.arange(64**3, dtype=torch.float32).reshape(1, 1, 64, 64, 64)
    shuffled = shuffle_cubes(image, n_cubes=5, generator=seeded())
    assert torch.equal(shuffled.flatten().sort().values, image.flatten())
    moved = (shuffled != image).flatten().nonzero().flatten()
    assert 5 * 4096 * 0.99 < len(moved) <= 5 * 4096
    origin = shuffled.flatten()[moved].long()
    for there, here in ((moved, origin),):
        for divisor in (64 * 64, 64, 1):
            assert ((there // divisor % 64) - (here // divisor % 64)).abs().max() < 16


def test_every_patch_of_a_batch_is_shuffled_in_its_own_places() -> None:
    image = torch.rand(1, 1, 48, 48, 48).expand(2, -1, -1, -1, -1)
    shuffled = shuffle_cubes(image, n_cubes=2, generator=seeded())
    assert not torch.equal(shuffled[0], shuffled[1])


def test_the_cubes_move_from_draw_to_draw() -> None:
    image = torch.rand(1, 1, 40, 40, 40)
    touched = torch.zeros_like(image)
    for seed in range(200):
        touched += (shuffle_cubes(image, n_cubes=1, generator=seeded(seed)) != image).float()
    assert (touched > 0).float().mean() > 0.9


def test_common_cubes_lie_at_the_same_places_in_all_patches_and_may_overlap() -> None:
    """The code's way. 40 cubes of 16^3 do not fit side by side into 32^3, and anywhere is reached."""
    patch = torch.arange(32**3, dtype=torch.float32).reshape(1, 1, 32, 32, 32)
    image = torch.cat([patch, patch])
    shuffled = shuffle_common_cubes(image, n_cubes=1, generator=seeded())
    moved = shuffled != image
    assert 0.95 * 4096 < moved[0].sum() <= 4096
    corner = [int(axis.min()) for axis in moved[0, 0].nonzero(as_tuple=True)]
    assert [int(axis.min()) for axis in moved[1, 0].nonzero(as_tuple=True)] == corner
    assert not torch.equal(shuffled[0], shuffled[1])
    for many in (shuffled, shuffle_common_cubes(image, n_cubes=40, generator=seeded())):
        assert torch.equal(many.flatten(1).sort(dim=1).values, image.flatten(1))
    # What one cube took, another may carry on: further than a cube's edge.
    far = shuffle_common_cubes(image, n_cubes=40, generator=seeded())[0].flatten().long()
    assert ((far // 1024) - torch.arange(32**3) // 1024).abs().max() > 16
    with pytest.raises(BenchError, match="do not fit"):
        shuffle_cubes(image, n_cubes=40, generator=seeded())


def test_27_cubes_in_the_papers_patch_and_in_proportion_elsewhere() -> None:
    assert default_cubes((96, 96, 96)) == 27
    assert default_cubes((192, 96, 96)) == 54
    assert default_cubes((32, 32, 32)) == 1
    assert default_cubes((16, 16, 16)) == 1


def test_all_216_cubes_of_a_patch_can_be_asked_for_but_not_one_more() -> None:
    image = torch.rand(1, 1, 96, 96, 96)
    assert (shuffle_cubes(image, n_cubes=216, generator=seeded()) != image).float().mean() > 0.99
    with pytest.raises(BenchError, match="217"):
        shuffle_cubes(image, n_cubes=217, generator=seeded())


def test_a_patch_thinner_than_a_cube_is_shuffled_too() -> None:
    image = torch.rand(2, 1, 8, 32, 16)
    shuffled = shuffle_cubes(image, n_cubes=1, generator=seeded())
    assert torch.equal(shuffled.flatten(1).sort().values, image.flatten(1).sort().values)
    assert not torch.equal(shuffled, image)


def test_noise_has_the_deviation_it_is_given_and_follows_the_generator() -> None:
    image = torch.zeros(1, 1, 32, 32, 32)
    noisy = add_noise(image, std=0.3, generator=seeded(1))
    assert float(noisy.std()) == pytest.approx(0.3, rel=0.02)
    assert torch.equal(noisy, add_noise(image, std=0.3, generator=seeded(1)))
    assert not torch.equal(noisy, add_noise(image, std=0.3, generator=seeded(2)))
    assert float(image.abs().max()) == 0


def test_the_modalities_of_a_voxel_stay_together_when_it_is_shuffled() -> None:
    one = torch.rand(2, 1, 32, 32, 32)
    shuffled = shuffle_cubes(torch.cat([one, 10 * one], dim=1), n_cubes=3, generator=seeded())
    assert torch.equal(shuffled[:, :1], shuffle_cubes(one, n_cubes=3, generator=seeded()))
    assert torch.equal(shuffled[:, 1:], 10 * shuffled[:, :1])
