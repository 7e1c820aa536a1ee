"""DeepMTS: its sizes, and how classification and segmentation depend on one another."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from drawn import BRAIN, PET_CT, SMALL, batch, parameters
from torch import Tensor, nn

from baselines.deep_mts import AdditiveBlock, DeepMTS, DenseNet, JointHead
from benchmark.protocols import DatasetSpec
from benchmark.vocabulary import BenchError, Size3

VARIANTS = ("transplanted", "native")


def small(spec: DatasetSpec = PET_CT, patch: Size3 = (16, 16, 16), **settings: Any) -> DeepMTS:
    torch.manual_seed(0)
    return DeepMTS(spec, patch, **{"channels": SMALL, **settings})


def test_transplanted_it_is_early_fusion_taps_a_densenet_and_heads() -> None:
    with torch.device("meta"):
        method = DeepMTS(PET_CT, (96, 96, 96))
        light = DeepMTS(PET_CT, (96, 96, 96), cascade=False)
    assert method.cascade is not None
    assert parameters(method.taps) == 44_392
    assert parameters(method.cascade) == 1_018_960
    assert parameters(method.head) == 23_297
    assert parameters(method) == 5_896_430
    assert parameters(light) == 4_870_174


def test_the_native_network_has_the_size_of_the_authors() -> None:
    """2.68 million parameters with the taps; 3.71 million in all, without their clinical input."""
    with torch.device("meta"):
        method = DeepMTS(PET_CT, (96, 96, 96), variant="native")
    assert parameters(method.net) + parameters(method.taps) == 2_675_350
    assert parameters(method) == 2_675_350 + 1_018_960 + (124 + 1 + 112 + 1) * 64 + 129 == 3_709_671


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ((96, 96, 96), [(23, 23, 23), (11, 11, 11), (5, 5, 5)]),
        ((48, 48, 48), [(11, 11, 11), (5, 5, 5), (2, 2, 2)]),
        ((32, 32, 32), [(7, 7, 7), (3, 3, 3), (3, 3, 3)]),
        ((16, 96, 32), [(3, 23, 7), (3, 11, 3), (3, 5, 3)]),
    ],
)
def test_the_features_of_small_patches_do_not_vanish(patch: Size3, expected: list[Size3]) -> None:
    sizes: list[tuple[int, ...]] = []
    with torch.device("meta"):
        network = DenseNet(3)
        for tap in network.taps:
            tap.register_forward_hook(lambda _, inputs, __: sizes.append(tuple(inputs[0].shape[2:])))
        assert network(torch.empty(2, 3, *patch)).shape == (2, 112)
    assert sizes == expected


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_class_teaches_the_segmentation_through_the_densenet_alone(variant: str) -> None:
    decoder = "net.up." if variant == "native" else "net.layers.6."
    for cascade in (True, False):
        method = small(variant=variant, cascade=cascade)
        method.losses(batch())["class"].backward()
        grads = [p.grad for name, p in method.named_parameters() if name.startswith(decoder)]
        assert any(grad is not None and bool(grad.abs().sum() > 0) for grad in grads) == cascade


@pytest.mark.parametrize("spec", [PET_CT, BRAIN], ids=["PET/CT", "brain"])
def test_the_densenet_sees_the_images_and_the_probability_of_every_foreground_class(
    spec: DatasetSpec,
) -> None:
    method, asked = small(spec).eval(), batch(spec)
    seen: list[Tensor] = []
    assert method.cascade is not None
    method.cascade.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    method.losses(asked)
    n = len(spec.modalities)
    assert torch.equal(seen[0][:, :n], asked.image)
    probability = method(asked.image).softmax(dim=1)
    torch.testing.assert_close(seen[0][:, n:], probability[:, 1:])


@pytest.mark.parametrize("variant", VARIANTS)
def test_inference_runs_the_backbone_alone(variant: str) -> None:
    method, image = small(variant=variant).eval(), batch().image
    with torch.no_grad():
        before = method(image)
        for name, parameter in method.named_parameters():
            if not name.startswith("net."):
                parameter.fill_(torch.nan)
        assert torch.equal(method(image), before)


def test_the_class_label_speaks_of_the_volume_or_of_the_patch() -> None:
    """Both patches have lesion voxels; of the volumes, says the batch, the first has a lesion."""
    for class_label, present in (("volume", [1.0, 0.0]), ("patch", [1.0, 1.0])):
        method = small(class_label=class_label).eval()
        logits: list[Tensor] = []
        method.head.register_forward_hook(lambda _, __, output, logits=logits: logits.append(output))
        loss = method.losses(batch())["class"]
        p, y = logits[0].sigmoid(), torch.tensor(present)
        torch.testing.assert_close(loss, -(y * p.log() + (1 - y) * (1 - p).log()).mean())


def test_l2_is_the_sum_of_the_squared_weights_of_the_dense_layers() -> None:
    head = JointHead([3, 2])
    for parameter in head.parameters():
        nn.init.constant_(parameter, 0.5)
    # 64 x 3, 64 x 2 and 128 weights, a quarter each; biases do not count.
    assert float(head.squared_weights().detach()) == 0.25 * (192 + 128 + 128)
    method = small(variant="native")
    assert torch.equal(method.losses(batch())["l2"], method.head.squared_weights())


def test_only_the_native_variant_decays_its_dense_layers() -> None:
    assert small().default_loss_weights() == {"seg": 0.5, "class": 1e-3}
    assert small(variant="native").default_loss_weights() == {"seg": 1.0, "class": 1.0, "l2": 0.1}


def test_an_additive_block_doubles_its_sum_with_every_layer_that_repeats_it() -> None:
    """The sum starts as x; layers that repeat their input make it x + x, then 2x + 2x, then 4x + 4x."""
    block = AdditiveBlock(2, 2, 3)
    block.shortcut = nn.Sequential()
    block.layers = nn.ModuleList(nn.Identity() for _ in range(3))
    x = torch.randn(1, 2, 4, 4, 4)
    assert torch.equal(block(x), 8 * x)


def test_the_native_loss_is_the_dice_of_the_softmax() -> None:
    """Logits of 1 and 3 are p = sigmoid(2) of lesion; a quarter of the voxels is lesion: 2 * p/4 / (p + 1/4)."""
    logits = torch.full((1, 2, 4, 4, 4), 3.0)
    logits[:, 0] = 1
    label = torch.zeros(1, 1, 4, 4, 4, dtype=torch.uint8)
    label[..., 0] = 1
    p = 1 / (1 + math.exp(-2))
    loss = small(variant="native").segmentation_loss(logits, label)
    assert float(loss) == pytest.approx(1 - 0.5 * p / (p + 0.25), abs=1e-5)


def test_only_the_native_variant_remarks_on_the_original_s_training() -> None:
    assert small().remarks == ()
    assert small(variant="native").remarks == ("trained without the original's augmentation",)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variant": "Native"}, "Did you mean 'native'"),
        ({"class_label": "voxel"}, "volume, patch"),
        ({"patch": (16, 24, 16)}, "multiples of 16"),
        ({"patch": (8, 8, 8), "channels": (4, 8, 8)}, "sides of 16"),
        ({"variant": "native", "channels": (4, 8, 8)}, "5 channels"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        small(**settings)
