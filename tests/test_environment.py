"""Libraries that are known to be bad for what a run does."""

from __future__ import annotations

import pytest
import torch

from benchmark.training.environment import library_warnings

SLOW, WRONG = "four times slower", "wrong 3-D convolutions in bfloat16"


@pytest.mark.parametrize(
    ("device", "precision", "torch_version", "cudnn", "expected"),
    [
        ("cuda:0", "bfloat16", "2.9.0+cu128", 91002, SLOW),
        ("cuda:0", "float16", "2.9.0+cu130", 91501, SLOW),
        ("cuda:1", "bfloat16", "2.9.1+cu128", 91300, SLOW),
        ("cuda:0", "bfloat16", "2.9.1+cu128", 91501, None),
        ("cuda:0", "bfloat16", "2.8.0+cu128", 91002, WRONG),
        ("cuda:0", "bfloat16", "2.7.1+cu126", 90800, WRONG),
        ("cuda:0", "float16", "2.8.0+cu128", 91002, None),
        ("cuda:0", "bfloat16", "2.8.0+cu128", 90701, None),
        ("cuda:0", "bfloat16", "2.10.0+cu128", 91002, None),
        ("cuda:0", "float32", "2.9.0+cu128", 91002, None),
        ("cpu", "bfloat16", "2.9.0+cpu", 0, None),
        ("cpu", "bfloat16", "2.8.0+cu128", 91002, None),
    ],
)
def test_libraries_known_to_be_bad_are_named_where_they_are_used(
    device: str, precision: str, torch_version: str, cudnn: int, expected: str | None
) -> None:
    told = library_warnings(torch.device(device), precision, torch_version=torch_version, cudnn_version=cudnn)
    assert [str(expected) in text for text in told] == ([True] if expected else [])
    for text in told:
        assert "Install" in text
        assert f"{cudnn // 10000}.{cudnn // 100 % 100}.{cudnn % 100}" in text
