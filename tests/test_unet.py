"""The backbone: the same network as MONAI's, and sharing by aliasing."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import UNet as MonaiUNet

from benchmark.nn.unet import UNet, _PReLU
from benchmark.vocabulary import BenchError


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_backbone_computes_what_monais_unet_computes() -> None:
    channels = (4, 8, 16, 32)
    ours = UNet(2, 3, channels=channels)
    theirs = MonaiUNet(3, 2, 3, channels=channels, strides=(2, 2, 2), num_res_units=2, norm="batch")
    # MONAI nests its levels, down and up around the next one: the order of its parameters is down, inner, up.
    ordered = [ours.layers[name] for name in ("1", "2", "3", "4", "5", "6", "output")]
    values = [value for layer in ordered for value in layer.state_dict().values()]
    theirs.load_state_dict(dict(zip(theirs.state_dict(), values, strict=True)))
    image = torch.randn(2, 2, 16, 8, 24)
    torch.testing.assert_close(ours.eval()(image), theirs.eval()(image))


@pytest.mark.parametrize(("channels_in", "expected"), [(1, 4_808_917), (2, 4_809_781)])
def test_the_papers_backbone_has_its_number_of_parameters(channels_in: int, expected: int) -> None:
    assert parameters(UNet(channels_in, 2)) == expected


def test_a_shared_layer_is_one_module_and_its_statistics_see_both_branches() -> None:
    a, b = UNet(1, 2, channels=(4, 8, 16)), UNet(1, 2, channels=(4, 8, 16))
    b.share_layers(a, {3})
    assert b.layers["3"] is a.layers["3"]
    assert b.layers["2"] is not a.layers["2"]


def test_a_layer_that_does_not_exist_cannot_be_shared() -> None:
    with pytest.raises(BenchError, match=r"no layer \[9\]"):
        UNet(1, 2).share_layers(UNet(1, 2), [5, 9])


def test_prelu_and_its_gradients_are_torch_s() -> None:
    torch.manual_seed(0)
    ours, theirs = _PReLU(init=0.3), torch.nn.PReLU(init=0.3)
    x = torch.randn(2, 3, 4, 5, 6)
    results = []
    for module in (ours, theirs):
        asked = x.clone().requires_grad_()
        y = module(asked)
        y.square().sum().backward()
        results.append((y, asked.grad, module.weight.grad))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("side", [16, 32, 48])
def test_bfloat16_weight_gradients_are_those_of_float32_whatever_the_size_of_the_bottleneck(
    side: int,
) -> None:
    """Where a feature map is 2 voxels wide, torch's own bfloat16 gradients are wrong on CPUs."""
    torch.manual_seed(0)
    network = UNet(1, 2, channels=(4, 8, 8, 16, 16)).to(memory_format=torch.channels_last_3d)
    # Enough patches for the statistics of a bottleneck of one voxel.
    image = torch.randn(16 if side == 16 else 2, 1, side, side, side)
    image = image.contiguous(memory_format=torch.channels_last_3d)
    gradients = []
    for enabled in (False, True):
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            network(image).float().square().mean().backward()
        gradients.append(
            {n: p.grad for n, p in network.named_parameters() if p.ndim == 5 and p.grad is not None}
        )
    for name, exact in gradients[0].items():
        assert (exact - gradients[1][name]).norm() < 0.3 * exact.norm() + 1e-6, name
