"""Layers with other gradients than torch's: the same numbers, in fewer cases than one would think."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import UNet as MonaiUNet
from torch import Tensor, nn

from benchmark.nn import quick_gradients
from benchmark.nn.convolution import Conv3d
from benchmark.nn.quick_gradients import QuickConv3d, QuickPReLU, with_quick_gradients


@pytest.fixture(autouse=True)
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """On whatever processor the tests run, with however many threads."""
    monkeypatch.setattr(quick_gradients, "_is_measured_here", lambda: True)


def with_gradients(module: nn.Module, image: Tensor) -> list[Tensor]:
    asked = image.clone(memory_format=torch.preserve_format).requires_grad_()
    module.zero_grad()
    y = module(asked)
    y.backward(torch.linspace(-1, 1, y.numel()).view_as(y))
    assert asked.grad is not None
    return [y.detach(), asked.grad, *(p.grad for p in module.parameters() if p.grad is not None)]


def of_few_channels(*arguments: int, **settings: int) -> tuple[QuickConv3d, nn.Conv3d]:
    ours, theirs = QuickConv3d(*arguments, **settings), nn.Conv3d(*arguments, **settings)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize(("channels_in", "channels_out"), [(1, 1), (2, 2), (3, 4), (4, 1)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
def test_the_output_is_torch_s_bit_for_bit_and_the_gradients_up_to_rounding(
    channels_in: int, channels_out: int, memory_format: torch.memory_format
) -> None:
    torch.manual_seed(0)
    ours, theirs = of_few_channels(channels_in, channels_out, 3, padding=1)
    image = torch.randn(1, channels_in, 32, 33, 36).contiguous(memory_format=memory_format)
    results, expected = (
        with_gradients(module.to(memory_format=memory_format), image) for module in (ours, theirs)
    )
    assert torch.equal(results[0], expected[0])
    for one, other in zip(results[1:], expected[1:], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


def test_small_maps_wide_layers_and_inputs_that_are_data_keep_torch_s_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: object) -> Tensor:
        raise AssertionError("not here")

    monkeypatch.setattr(quick_gradients._FewChannels, "apply", refused)
    few, wide, strided = QuickConv3d(2, 2, 3), QuickConv3d(2, 8, 3), QuickConv3d(2, 2, 3, stride=2)
    large, small = torch.randn(1, 2, 34, 34, 34, requires_grad=True), torch.randn(1, 2, 16, 16, 16)
    few(small.requires_grad_())
    wide(large)
    strided(large)
    few(large.detach())
    with torch.no_grad():
        few(large)
    with torch.autocast("cpu", torch.bfloat16):
        few(large)
    with pytest.raises(AssertionError, match="not here"):
        few(large)


def test_the_layers_of_a_network_from_elsewhere_become_quick_and_keep_names_and_values() -> None:
    torch.manual_seed(0)
    network = MonaiUNet(3, 1, 2, channels=(4, 8), strides=(2,), num_res_units=1)
    image = torch.randn(1, 1, 32, 32, 32)
    before, state = with_gradients(network, image), dict(network.state_dict())
    with_quick_gradients(network)
    kinds = {type(module) for module in network.modules()}
    assert {QuickConv3d, QuickPReLU} <= kinds
    assert not {nn.Conv3d, nn.PReLU} & kinds
    after = with_gradients(network, image)
    assert list(network.state_dict()) == list(state)
    # Biases before a normalisation have gradients of 0, up to rounding of what is added up.
    largest = max(float(gradient.abs().max()) for gradient in before)
    for one, other in zip(after, before, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6 * largest)


def test_a_class_derived_from_torch_s_stays_what_it_is() -> None:
    network = nn.Sequential(Conv3d(1, 1, 3), nn.Linear(2, 2))
    with_quick_gradients(network)
    assert [type(module) for module in network] == [Conv3d, nn.Linear]


def test_prelu_and_its_gradients_are_torch_s() -> None:
    torch.manual_seed(0)
    ours, theirs = QuickPReLU(init=0.3), nn.PReLU(init=0.3)
    x = torch.randn(2, 3, 4, 5, 6)
    for one, other in zip(with_gradients(ours, x), with_gradients(theirs, x), strict=True):
        torch.testing.assert_close(one, other)


def test_a_compiled_layer_is_one_graph_with_the_same_gradients() -> None:
    torch.manual_seed(0)
    ours, theirs = of_few_channels(2, 2, 3, padding=1)
    compiled = torch.compile(ours, backend="aot_eager", fullgraph=True)
    image = torch.randn(1, 2, 32, 32, 32)
    for one, other in zip(with_gradients(compiled, image), with_gradients(theirs, image), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))
