"""Layers with other gradients than torch's: the same numbers, in fewer cases than one would think."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from monai.networks.nets import UNet as MonaiUNet
from torch import Tensor, nn

from baselines.mirror_unet import MirrorUNet
from benchmark.config import TrainingConfig
from benchmark.data.readers.autopet import SPEC
from benchmark.nn import quick_layers
from benchmark.nn.convolution import Conv3d
from benchmark.nn.quick_layers import (
    QuickConv3d,
    QuickConvTranspose3d,
    QuickPReLU,
    Way,
    _Convolution,
    _Doubling,
    _PReLUGradient,
    cube_weights,
    with_quick_layers,
)
from benchmark.training.step import HostBatch, OptimiserStep

FORMATS = [torch.contiguous_format, torch.channels_last_3d]


@pytest.fixture(autouse=True)
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """On whatever processor the tests run, with however many threads."""
    monkeypatch.setattr(quick_layers, "_is_measured_here", lambda: True)


def with_gradients(module: nn.Module, image: Tensor) -> list[Tensor]:
    asked = image.clone(memory_format=torch.preserve_format).requires_grad_()
    module.zero_grad()
    y = module(asked)
    y.backward(torch.linspace(-1, 2, y.numel()).view_as(y))
    assert asked.grad is not None
    return [y.detach(), asked.grad, *(p.grad for p in module.parameters() if p.grad is not None)]


def assert_equal_up_to_rounding(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


def quick(module: nn.Module) -> nn.Module:
    """The same layers with the same values, quick ones."""
    ours = copy.deepcopy(module)
    network = nn.Sequential(ours)
    with_quick_layers(network)
    return ours


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize(
    ("channels", "size", "way"),
    [
        ((1, 1), (2, 20, 20, 21), "products"),
        ((2, 1), (2, 20, 20, 21), "products"),
        ((2, 2), (1, 24, 26, 28), "products"),
        ((16, 12), (1, 20, 21, 22), "products"),
        ((3, 4), (2, 10, 11, 12), "channels last"),
        ((8, 16), (2, 10, 11, 12), "channels last"),
    ],
)
def test_a_convolution_is_torch_s_bit_for_bit_and_its_gradients_up_to_rounding(
    channels: tuple[int, int],
    size: tuple[int, int, int, int],
    way: Way,
    memory_format: torch.memory_format,
) -> None:
    torch.manual_seed(0)
    theirs = nn.Conv3d(*channels, 3, padding=1).to(memory_format=memory_format)  # type: ignore[call-overload]
    ours = quick(theirs)
    b, *voxels = size
    image = torch.randn(b, channels[0], *voxels).contiguous(memory_format=memory_format)
    assert isinstance(ours, QuickConv3d)
    if memory_format == torch.contiguous_format or way == "products":
        assert ours._way(image.requires_grad_()) == way
    results, expected = with_gradients(ours, image.detach()), with_gradients(theirs, image.detach())
    assert torch.equal(results[0], expected[0])
    assert_equal_up_to_rounding(results[1:], expected[1:])


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("channels_out", [1, 2])
def test_a_transposed_convolution_and_its_gradients_are_torch_s_up_to_rounding(
    channels_out: int, memory_format: torch.memory_format
) -> None:
    torch.manual_seed(0)
    theirs = nn.ConvTranspose3d(4, channels_out, 3, stride=2, padding=1, output_padding=1)
    theirs.to(memory_format=memory_format)  # type: ignore[call-overload]
    ours = quick(theirs)
    image = torch.randn(2, 4, 16, 17, 18).contiguous(memory_format=memory_format)
    assert isinstance(ours, QuickConvTranspose3d)
    assert ours._gains(image)
    results = with_gradients(ours, image)
    assert results[0].is_contiguous(memory_format=memory_format)
    assert_equal_up_to_rounding(results, with_gradients(theirs, image))


def test_a_middle_tap_reaches_even_voxels_and_the_outer_ones_odd_voxels() -> None:
    weight = torch.arange(27.0).view(1, 1, 3, 3, 3)
    cubes = cube_weights(weight).view(2, 2, 2, 2, 2, 2)
    assert cubes[0, 0, 0].tolist() == [[[13, 0], [0, 0]], [[0, 0], [0, 0]]]
    assert cubes[0, 0, 1, 0, 0].tolist() == [14, 12]
    assert cubes[1, 1, 1].flatten().tolist() == [26, 24, 20, 18, 8, 6, 2, 0]


def test_gradients_are_those_of_the_function_in_float64() -> None:
    torch.manual_seed(0)
    maps, weight, bias = (
        torch.randn(shape, dtype=torch.float64, requires_grad=True)
        for shape in ((2, 2, 3, 4, 5), (3, 2, 3, 3, 3), (3,))
    )
    for way in ("products", "channels last"):
        assert torch.autograd.gradcheck(
            lambda *tensors, way=way: _Convolution.apply(*tensors, (1, 1, 1), way), (maps, weight, bias)
        )
    turned = weight.detach()[:2].requires_grad_()
    assert torch.autograd.gradcheck(_Doubling.apply, (maps, turned, bias.detach()[:2].requires_grad_()))
    slope = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
    # Its sum is float32.
    assert torch.autograd.gradcheck(_PReLUGradient.apply, (maps, slope), atol=1e-4)


def test_elsewhere_every_layer_is_torch_s(monkeypatch: pytest.MonkeyPatch) -> None:
    few, strided, doubling = (
        QuickConv3d(2, 2, 3, padding=1),
        QuickConv3d(2, 2, 3, stride=2),
        QuickConvTranspose3d(2, 2, 3, stride=2, padding=1, output_padding=1),
    )
    large = torch.randn(2, 2, 24, 24, 24, requires_grad=True)
    assert few._way(large) == "products"
    assert doubling._gains(large)
    assert few._way(large[..., :4].contiguous()) is None
    assert few._way(large.detach()) is None
    assert few._way(large.double()) is None
    assert few._way(torch.empty(2, 2, 24, 24, 24, device="meta", requires_grad=True)) is None
    assert strided._way(large) is None
    assert QuickConv3d(2, 2, 1)._way(large) is None
    assert QuickConv3d(2, 2, 3, padding="same")._way(large) is None
    assert QuickConv3d(2, 2, 3, padding=1, padding_mode="circular")._way(large) is None
    assert QuickConv3d(2, 2, 3, groups=2)._way(large) is None
    assert QuickConv3d(2, 8, 3)._way(large) is None
    assert not QuickConvTranspose3d(2, 2, 2, stride=2)._gains(large)
    assert not QuickConvTranspose3d(2, 4, 3, stride=2, padding=1, output_padding=1)._gains(large)
    with torch.no_grad():
        assert few._way(large) is None
        assert not doubling._gains(large)
    with torch.autocast("cpu", torch.bfloat16):
        assert few._way(large) is None
    monkeypatch.setattr(quick_layers, "_is_measured_here", lambda: False)
    assert few._way(large) is None
    assert not doubling._gains(large)


def test_the_layers_of_a_network_from_elsewhere_become_quick_and_keep_names_and_values() -> None:
    torch.manual_seed(0)
    theirs = MonaiUNet(3, 1, 2, channels=(4, 8), strides=(2,), num_res_units=1)
    image = torch.randn(2, 1, 32, 32, 32)
    ours = copy.deepcopy(theirs)
    with_quick_layers(ours)
    kinds = {type(module) for module in ours.modules()}
    assert {QuickConv3d, QuickConvTranspose3d, QuickPReLU} <= kinds
    assert not {nn.Conv3d, nn.ConvTranspose3d, nn.PReLU} & kinds
    after, before = with_gradients(ours, image), with_gradients(theirs, image)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    # Biases before a normalisation have gradients of 0, up to rounding of what is added up.
    largest = max(float(gradient.abs().max()) for gradient in before)
    for one, other in zip(after, before, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6 * largest)
    again = with_gradients(ours, image)
    assert all(torch.equal(one, other) for one, other in zip(after, again, strict=True))
    with torch.no_grad():
        assert torch.equal(ours.eval()(image), theirs.eval()(image))


def test_a_step_on_a_cpu_trains_quick_layers_and_takes_the_same_way_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bit for bit, from the same weights: what a training that goes on from a checkpoint needs."""
    ways: list[Way | None] = []
    choose = QuickConv3d._way

    def noted(layer: QuickConv3d, maps: Tensor) -> Way | None:
        ways.append(choose(layer, maps))
        return ways[-1]

    monkeypatch.setattr(QuickConv3d, "_way", noted)
    patch = (32, 32, 32)
    config = TrainingConfig(patch_size=patch, batch_size=2, steps=9, precision="float32", validations=0)
    generator = torch.Generator().manual_seed(0)
    image, label = torch.rand(2, 2, *patch, generator=generator), torch.zeros(2, 1, *patch, dtype=torch.uint8)
    label[:, :, 8:16, 8:16, 8:16] = 1
    states = []
    for _ in range(2):
        torch.manual_seed(0)
        method = MirrorUNet(SPEC, patch, version="v2", channels=[4, 8, 8, 8, 8])
        step = OptimiserStep(
            method,
            config,
            loss_weights=method.default_loss_weights(),
            device=torch.device("cpu"),
            seed=0,
            steps=9,
            accumulation=1,
        )
        for number in range(2):
            step(HostBatch(image, label, torch.ones(2, dtype=torch.bool), ("a", "b"), number))
        states.append(method.state_dict())
    assert {"products", "channels last"} <= set(ways)
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_a_class_derived_from_torch_s_stays_what_it_is() -> None:
    network = nn.Sequential(Conv3d(1, 1, 3), nn.Linear(2, 2))
    with_quick_layers(network)
    assert [type(module) for module in network] == [Conv3d, nn.Linear]


def test_prelu_and_its_gradients_are_torch_s() -> None:
    torch.manual_seed(0)
    theirs = nn.PReLU(init=0.3)
    for size in ((2, 3, 4, 5, 6), (2, 3, 16, 17, 24)):
        x = torch.randn(size)
        assert_equal_up_to_rounding(with_gradients(quick(theirs), x), with_gradients(theirs, x))


COMPILED = """
import copy, torch
from torch import nn
from baselines.mirror_unet import MirrorUNet
from benchmark.config import TrainingConfig
from benchmark.data.readers.autopet import SPEC
from benchmark.nn import quick_layers
quick_layers._is_measured_here = lambda: True
torch.manual_seed(0)
doubling = nn.ConvTranspose3d(2, 1, 3, stride=2, padding=1, output_padding=1)
theirs = nn.Sequential(nn.Conv3d(2, 2, 3, padding=1), nn.PReLU(), doubling)
ours = copy.deepcopy(theirs)
quick_layers.with_quick_layers(ours)
compiled = torch.compile(ours, backend="aot_eager", fullgraph=True)
image, gradients = torch.randn(2, 2, 24, 24, 24, requires_grad=True), []
for network in (compiled, theirs):
    image.grad = None
    network(image).square().mean().backward()
    gradients.append([image.grad, *(parameter.grad for parameter in network.parameters())])
for one, other in zip(*gradients, strict=True):
    torch.testing.assert_close(one, other)
"""


def test_compiled_layers_are_one_graph_with_the_same_gradients() -> None:
    """In a process of its own: a compiler cannot trace the annotations' checks."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", COMPILED], check=True)
