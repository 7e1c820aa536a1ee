"""Convolutions as matrix products, against torch's: values, gradients, and the same bits in every process."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.nn import matmul_convolution
from benchmark.nn.matmul_convolution import gradients
from benchmark.vocabulary import Size3

CASES = [
    # channels in, out, size, kernel, padding
    (1, 1, (5, 6, 37), (3, 3, 3), (1, 1, 1)),
    (2, 3, (7, 5, 9), (3, 3, 3), (0, 1, 2)),
    (3, 2, (4, 6, 8), (1, 1, 1), (0, 0, 0)),
    (4, 4, (6, 7, 8), (5, 3, 1), (2, 1, 0)),
    (1, 2, (7, 7, 7), (2, 2, 2), (0, 0, 0)),
    (16, 20, (4, 4, 4), (3, 3, 3), (1, 1, 1)),
]


def drawn(channels_in: int, channels_out: int, size: Size3, kernel: Size3) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    maps = torch.randn(2, channels_in, *size, dtype=torch.float64)
    return maps, torch.randn(channels_out, channels_in, *kernel, dtype=torch.float64)


def torch_s(maps: Tensor, weight: Tensor, gradient: Tensor, padding: Size3) -> tuple[Tensor, ...]:
    leaves = maps.detach().requires_grad_(), weight.detach().requires_grad_()
    return torch.autograd.grad(F.conv3d(*leaves, padding=padding), leaves, gradient)


@pytest.mark.parametrize(("channels_in", "channels_out", "size", "kernel", "padding"), CASES)
@pytest.mark.parametrize("rows", [7, 8192])
def test_gradients_are_torch_s(
    channels_in: int,
    channels_out: int,
    size: Size3,
    kernel: Size3,
    padding: Size3,
    rows: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(matmul_convolution, "ROWS", rows)
    maps, weight = drawn(channels_in, channels_out, size, kernel)
    gradient = torch.randn_like(F.conv3d(maps, weight, padding=padding))
    both = gradients(maps, weight, gradient, padding=padding)
    torch.testing.assert_close(both, torch_s(maps, weight, gradient, padding))


def test_float32_is_as_exact_as_torch_s() -> None:
    """Both against float64: no farther off than four times torch's own rounding."""
    maps, weight = drawn(2, 2, (24, 24, 24), (3, 3, 3))
    gradient = torch.randn_like(maps)
    exact = torch_s(maps, weight, gradient, (1, 1, 1))
    single = maps.float(), weight.float(), gradient.float()
    theirs, ours = torch_s(*single, (1, 1, 1)), gradients(*single, padding=(1, 1, 1))
    for right, their, our in zip(exact, theirs, ours, strict=True):
        assert (our - right).abs().max() < 4 * (their - right).abs().max()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
def test_results_lie_in_memory_as_the_input_does(memory_format: torch.memory_format) -> None:
    maps, weight = drawn(2, 3, (5, 6, 7), (3, 3, 3))
    maps = maps.contiguous(memory_format=memory_format)
    to_maps, _ = gradients(maps, weight, F.conv3d(maps, weight, padding=1), padding=(1, 1, 1))
    assert to_maps.is_contiguous(memory_format=memory_format)


PROGRAM = """
import hashlib, torch
from benchmark.nn.matmul_convolution import gradients
torch.set_num_threads(1)
torch.manual_seed(0)
maps, weight = torch.randn(2, 2, 20, 21, 22), torch.randn(2, 2, 3, 3, 3)
tensors = gradients(maps, weight, torch.randn(2, 2, 20, 21, 22), padding=(1, 1, 1))
print(hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors)).hexdigest())
"""


def test_another_call_and_another_process_give_the_same_bits(capsys: pytest.CaptureFixture[str]) -> None:
    told = {
        subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    for _ in range(2):
        exec(PROGRAM, {})
        told.add(capsys.readouterr().out)
    assert len(told) == 1
