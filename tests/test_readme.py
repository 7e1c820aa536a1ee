"""The README's example is a method that works."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import torch

from benchmark.data.autopet import SPEC
from benchmark.protocols import Batch

README = Path(__file__).resolve().parent.parent / "README.md"


def test_the_method_in_the_readme_trains_and_predicts(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    path = tmp_path / "early_fusion_example.py"
    path.write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("early_fusion_example", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    method = module.EarlyFusion(SPEC, (16, 16, 16), channels=(4, 8, 8, 8, 8))
    image, label = torch.rand(2, 2, 16, 16, 16), torch.ones(2, 1, 16, 16, 16, dtype=torch.uint8)
    batch = Batch(
        image, label, torch.ones(2, dtype=torch.bool), SPEC.modalities, ("a", "b"), 0, torch.Generator()
    )
    losses = method.losses(batch)
    assert set(losses) == set(method.loss_names)
    losses["seg"].backward()
    assert method.decode(method(image)).shape == (2, 1, 16, 16, 16)
