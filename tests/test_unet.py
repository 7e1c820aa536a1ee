"""The backbone: the same network as MONAI's, and sharing by aliasing."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import UNet as MonaiUNet

from benchmark.nn.unet import Decoder, Encoder, UNet, check_patch_size
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


def test_the_output_is_shared_when_it_is_asked_for() -> None:
    a, b = UNet(1, 2, channels=(4, 8, 16)), UNet(1, 2, channels=(4, 8, 16))
    b.share_layers(a, {4})
    assert b.layers["output"] is not a.layers["output"]
    b.share_layers(a, set(), output=True)
    assert b.layers["output"] is a.layers["output"]
    assert b.layers["3"] is not a.layers["3"]


def test_an_encoder_and_a_decoder_are_a_unet_in_two_parts() -> None:
    """The same names, the same order of drawing weights, the same function."""
    channels = (4, 8, 16)
    torch.manual_seed(0)
    whole = UNet(2, 3, channels=channels).eval()
    torch.manual_seed(0)
    encoder, decoder = Encoder(2, channels=channels).eval(), Decoder(3, channels=channels).eval()
    parts = {**encoder.state_dict(), **decoder.state_dict()}
    assert list(parts) == list(whole.state_dict())
    assert all(torch.equal(parts[name], value) for name, value in whole.state_dict().items())
    image = torch.randn(2, 2, 8, 4, 12)
    with torch.no_grad():
        assert torch.equal(decoder(*encoder(image)), whole(image))


def test_a_decoder_of_several_encoders_is_as_much_wider() -> None:
    decoder = Decoder(3, channels=(4, 8, 16), bottlenecks=2, skips=3)
    assert [layer[0].conv.in_channels for layer in decoder.layers.values()] == [2 * 16 + 3 * 8, 4 + 3 * 4]


def test_every_side_of_a_patch_must_halve_as_often_as_the_network_does() -> None:
    check_patch_size((32, 16, 48))
    check_patch_size((4, 8, 12), (4, 8, 16))
    with pytest.raises(BenchError, match="multiples of 4"):
        check_patch_size((4, 8, 10), (4, 8, 16))


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


def test_layers_of_other_shapes_cannot_be_shared() -> None:
    narrow, wide = UNet(1, 2, channels=(4, 8, 8)), UNet(2, 2, channels=(4, 8, 8))
    wide.share_layers(narrow, [2, 3, 4], output=True)
    with pytest.raises(BenchError, match="Layer 1 cannot be shared: its weights have other shapes"):
        wide.share_layers(narrow, [1])
    with pytest.raises(BenchError, match="Layer output cannot be shared"):
        UNet(1, 3, channels=(4, 8, 8)).share_layers(narrow, [], output=True)
