"""Middle fusion: its sizes, and which encoder reaches the decoder by which way."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from drawn import BRAIN, PET_CT, SMALL, batch, parameters

from baselines.middle_fusion import MiddleFusion
from benchmark.contract import THREE_MODALITIES
from benchmark.nn.unet import UNet
from benchmark.vocabulary import BenchError, DatasetSpec, UnsupportedDatasetError

SIZES = {"concatenate": 9_401_903, "bottleneck": 9_110_735, "sum": 8_668_367}


def small(spec: DatasetSpec = PET_CT, **settings: Any) -> MiddleFusion:
    torch.manual_seed(0)
    return MiddleFusion(spec, (16, 16, 16), channels=SMALL, **settings)


@pytest.mark.parametrize(("variant", "expected"), SIZES.items())
def test_the_variants_have_their_sizes(variant: str, expected: int) -> None:
    with torch.device("meta"):
        assert parameters(MiddleFusion(PET_CT, (96, 96, 96), variant=variant)) == expected


def test_the_decoder_is_as_wide_as_what_is_concatenated() -> None:
    with torch.device("meta"):
        widths = {
            variant: [layer[0].conv.in_channels for layer in method.decoder.layers.values()]
            for variant in SIZES
            for method in [MiddleFusion(PET_CT, (96, 96, 96), variant=variant)]
        }
        brain = MiddleFusion(BRAIN, (96, 96, 96))
    assert widths["concatenate"] == [768, 192, 96, 48]
    assert widths["bottleneck"] == [640, 128, 64, 32]
    assert widths["sum"] == [384, 128, 64, 32]
    assert brain.decoder.layers["6"][0].conv.in_channels == 4 * (256 + 128)


def test_the_sum_of_two_equal_encoders_on_one_image_is_a_unet_with_doubled_features() -> None:
    method = small(variant="sum").eval()
    one, other = method.encoders["CT"], method.encoders["PET"]
    other.load_state_dict(one.state_dict())
    net = UNet(1, 2, channels=SMALL).eval()
    net.load_state_dict({**one.state_dict(), **method.decoder.state_dict()})
    image = torch.rand(1, 1, 16, 16, 16)
    with torch.no_grad():
        bottleneck, skips = net.encode(image)
        expected = net.decode(2 * bottleneck, [2 * skip for skip in skips])
        torch.testing.assert_close(method(image.repeat(1, 2, 1, 1, 1)), expected)


def test_only_the_leading_modality_sends_skips_in_the_bottleneck_variant() -> None:
    """With a decoder that ignores the bottleneck, the other modality has no way to the logits."""
    method = small(variant="bottleneck", skips_from="CT").eval()
    first = method.decoder.layers["6"][0].conv
    with torch.no_grad():
        # Transposed: the first axis of the weight is the input, skips before bottlenecks.
        first.weight[SMALL[3] :] = 0
        image, other = batch().image, batch().image
        other[:, 1] = 0
        assert torch.equal(method(image), method(other))
        other[:, 0] = 0
        assert not torch.allclose(method(image), method(other))


@pytest.mark.parametrize("variant", SIZES)
@pytest.mark.parametrize("spec", [PET_CT, BRAIN], ids=["PET/CT", "brain"])
def test_every_modality_moves_the_logits(variant: str, spec: DatasetSpec) -> None:
    settings = {"skips_from": spec.modalities[-1]} if variant == "bottleneck" else {}
    method = small(spec, variant=variant, **settings)
    image = batch(spec).image
    with torch.no_grad():
        logits = method(image)
        for channel in range(len(spec.modalities)):
            other = image.clone()
            other[:, channel] = 0
            assert not torch.allclose(method(other), logits)
    assert logits.shape == (2, spec.n_classes, 16, 16, 16)


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(BenchError, match="Did you mean 'concatenate'"):
        small(variant="concat")
    with pytest.raises(BenchError, match="skips_from has no effect in middle fusion 'sum'"):
        small(variant="sum", skips_from="PET")
    with pytest.raises(BenchError, match="multiples of 16"):
        MiddleFusion(PET_CT, (16, 24, 16), channels=SMALL)


def test_a_leading_modality_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(UnsupportedDatasetError, match="'PET', but msd has FLAIR, T1w, T1Gd, T2w"):
        small(BRAIN, variant="bottleneck", skips_from="PET")


def test_the_skips_are_those_of_the_leading_modality_where_no_one_says_otherwise() -> None:
    assert small(variant="bottleneck").skips_from == "PET"
    assert small(BRAIN, variant="bottleneck").skips_from == "FLAIR"
    with pytest.raises(UnsupportedDatasetError, match="declares no pair of branches; write skips_from: A"):
        small(THREE_MODALITIES, variant="bottleneck")
