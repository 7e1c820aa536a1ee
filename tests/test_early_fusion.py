"""Early fusion: its size, and that it looks at every modality."""

from __future__ import annotations

import pytest
import torch
from drawn import BRAIN, PET_CT, SMALL, batch, parameters

from baselines.early_fusion import EarlyFusion
from benchmark.nn.losses import dice_ce
from benchmark.nn.unet import UNet
from benchmark.vocabulary import BenchError, DatasetSpec


def test_it_is_the_backbone_with_a_channel_for_each_modality() -> None:
    with torch.device("meta"):
        assert parameters(EarlyFusion(PET_CT, (96, 96, 96))) == 4_809_781
        brain = EarlyFusion(BRAIN, (96, 96, 96))
    # Two 3^3 filters of the first residual unit (its convolution and its shortcut) see 4 channels instead of 2;
    # the head has 4 classes instead of 2: a transposed convolution from 32, a convolution, two biases, one norm.
    head = 32 * 27 * 2 + 27 * (4 * 4 - 2 * 2) + 2 + 2 + 2 * 2
    assert parameters(brain) == 4_809_781 + 2 * 2 * 27 * 16 + head


@pytest.mark.parametrize("spec", [PET_CT, BRAIN], ids=["PET/CT", "brain"])
def test_every_modality_moves_the_logits(spec: DatasetSpec) -> None:
    torch.manual_seed(0)
    method = EarlyFusion(spec, (16, 16, 16), channels=SMALL).eval()
    image = batch(spec).image
    with torch.no_grad():
        logits = method(image)
        for channel in range(len(spec.modalities)):
            other = image.clone()
            other[:, channel] = 0
            assert not torch.allclose(method(other), logits)
    assert logits.shape == (2, spec.n_classes, 16, 16, 16)


def test_the_loss_is_that_of_the_backbone_on_the_stacked_image() -> None:
    torch.manual_seed(0)
    backbone = UNet(2, 2, channels=SMALL)
    torch.manual_seed(0)
    method, asked = EarlyFusion(PET_CT, (16, 16, 16), channels=SMALL), batch()
    assert torch.equal(method.losses(asked)["seg"], dice_ce(backbone(asked.image), asked.label))


def test_a_patch_that_does_not_halve_four_times_is_refused() -> None:
    with pytest.raises(BenchError, match="multiples of 16"):
        EarlyFusion(PET_CT, (16, 24, 16), channels=SMALL)
