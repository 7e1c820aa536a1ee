"""Convolutions as matrix products, against torch's: values, gradients, and the same bits in every process."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.nn import matmul_convolution
from benchmark.nn.matmul_convolution import convolve, gradients, weight_gradient
from benchmark.vocabulary import Size3

CASES = [
    # channels in, out, size, kernel, stride, padding
    (1, 1, (5, 6, 37), (3, 3, 3), (1, 1, 1), (1, 1, 1)),
    (2, 3, (7, 5, 9), (3, 3, 3), (1, 1, 1), (0, 1, 2)),
    (3, 2, (4, 6, 8), (1, 1, 1), (1, 1, 1), (0, 0, 0)),
    (4, 4, (6, 7, 8), (5, 3, 1), (1, 1, 1), (2, 1, 0)),
    (1, 4, (8, 9, 33), (3, 3, 3), (2, 2, 2), (1, 1, 1)),
    (2, 2, (9, 8, 7), (3, 3, 3), (2, 1, 3), (1, 0, 1)),
    (1, 2, (7, 7, 7), (2, 2, 2), (2, 2, 2), (0, 0, 0)),
    (16, 20, (4, 4, 4), (3, 3, 3), (1, 1, 1), (1, 1, 1)),
]


def drawn(channels_in: int, channels_out: int, size: Size3, kernel: Size3) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    maps = torch.randn(2, channels_in, *size, dtype=torch.float64)
    weight = torch.randn(channels_out, channels_in, *kernel, dtype=torch.float64)
    return maps, weight, torch.randn(channels_out, dtype=torch.float64)


@pytest.mark.parametrize(("channels_in", "channels_out", "size", "kernel", "stride", "padding"), CASES)
@pytest.mark.parametrize("rows", [7, 8192])
def test_values_and_gradients_are_torch_s(
    channels_in: int,
    channels_out: int,
    size: Size3,
    kernel: Size3,
    stride: Size3,
    padding: Size3,
    rows: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(matmul_convolution, "ROWS", rows)
    maps, weight, bias = (
        tensor.requires_grad_() for tensor in drawn(channels_in, channels_out, size, kernel)
    )
    expected = F.conv3d(maps, weight, bias, stride=stride, padding=padding)
    gradient = torch.randn_like(expected)
    to_maps, to_weight = torch.autograd.grad(expected, (maps, weight), gradient)
    with torch.no_grad():
        torch.testing.assert_close(convolve(maps, weight, bias, stride=stride, padding=padding), expected)
        torch.testing.assert_close(
            weight_gradient(maps, gradient, kernel=kernel, stride=stride, padding=padding), to_weight
        )
        if set(stride) == {1}:
            both = gradients(maps, weight, gradient, padding=padding)
            torch.testing.assert_close(both, (to_maps, to_weight))


def test_float32_is_as_exact_as_torch_s() -> None:
    """Both against float64: no farther off than four times torch's own rounding."""
    maps, weight, bias = drawn(2, 2, (24, 24, 24), (3, 3, 3))
    exact = F.conv3d(maps, weight, bias, padding=1)
    maps, weight, bias = maps.float(), weight.float(), bias.float()
    theirs = (F.conv3d(maps, weight, bias, padding=1) - exact).abs().max()
    ours = (convolve(maps, weight, bias, stride=(1, 1, 1), padding=(1, 1, 1)) - exact).abs().max()
    assert ours < 4 * theirs


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
def test_results_lie_in_memory_as_the_input_does(memory_format: torch.memory_format) -> None:
    maps, weight, bias = drawn(2, 3, (5, 6, 7), (3, 3, 3))
    maps = maps.contiguous(memory_format=memory_format)
    out = convolve(maps, weight, bias, stride=(1, 1, 1), padding=(1, 1, 1))
    to_maps, _ = gradients(maps, weight, out, padding=(1, 1, 1))
    assert out.is_contiguous(memory_format=memory_format)
    assert to_maps.is_contiguous(memory_format=memory_format)


PROGRAM = """
import hashlib, torch
from benchmark.nn.matmul_convolution import convolve, gradients
torch.set_num_threads(1)
torch.manual_seed(0)
maps, weight = torch.randn(2, 2, 20, 21, 22), torch.randn(2, 2, 3, 3, 3)
out = convolve(maps, weight, None, stride=(1, 1, 1), padding=(1, 1, 1))
tensors = (out, *gradients(maps, weight, out, padding=(1, 1, 1)))
print(hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors)).hexdigest())
"""


def test_another_call_and_another_process_give_the_same_bits() -> None:
    told = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(2)
    }
    torch.set_num_threads(1)
    torch.manual_seed(0)
    maps, weight = torch.randn(2, 2, 20, 21, 22), torch.randn(2, 2, 3, 3, 3)
    for _ in range(2):
        out = convolve(maps, weight, None, stride=(1, 1, 1), padding=(1, 1, 1))
        tensors = (out, *gradients(maps, weight, out, padding=(1, 1, 1)))
        told.add(hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors)).hexdigest())
    assert len(told) == 1
