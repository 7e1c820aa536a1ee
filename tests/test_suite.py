"""The tests themselves: which are left out day by day, and whose annotations are checked."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import ROOT, annotated_modules, pytest_collection_modifyitems
from jaxtyping import TypeCheckError
from slow_tests import is_listed, listed, slow_after

from benchmark.nn.dice import soft_dice


def item(name: str, *marks: str) -> Any:
    return SimpleNamespace(
        name=name,
        nodeid=f"tests/test_a.py::{name}",
        get_closest_marker=lambda mark: mark if mark in marks else None,
    )


@pytest.mark.parametrize(("every", "kept"), [(False, ["a", "c"]), (True, ["a", "b", "c"])])
def test_slow_tests_are_left_out_and_counted_unless_all_are_asked_for(every: bool, kept: list[str]) -> None:
    items, left_out = [item("a"), item("b", "slow"), item("c", "real_data")], []
    hook = SimpleNamespace(pytest_deselected=lambda items: left_out.extend(items))
    pytest_collection_modifyitems(SimpleNamespace(option=SimpleNamespace(all_tests=every), hook=hook), items)
    assert [one.name for one in items] == kept
    assert [one.name for one in left_out] == ([] if every else ["b"])


def test_the_list_of_slow_tests_names_tests_that_there_are() -> None:
    sources: dict[str, str] = {}
    for name in listed():
        file, _, test = name.partition("::")
        text = sources.setdefault(file, (ROOT / "tests" / file).read_text(encoding="utf-8"))
        assert f"def {test.partition('[')[0]}(" in text, name
    some = next(name for name in sorted(listed()) if "[" not in name)
    assert is_listed(f"tests/{some}")
    assert is_listed(f"tests/{some}[any]")
    assert not is_listed(f"tests/{some}_else")


def test_the_first_parameters_are_those_of_every_day() -> None:
    first, second, third = slow_after(1, ["x", "y", ("z", 3)])
    assert first == "x"
    assert [one.values for one in (second, third)] == [("y",), ("z", 3)]
    assert [mark.name for one in (second, third) for mark in one.marks] == ["slow", "slow"]


def test_modules_with_arrays_or_tensors_are_found_wherever_they_are(tmp_path: Path) -> None:
    sources = {
        "benchmark/new/shapes.py": "from jaxtyping import Float\n",
        "reports/arrays.py": "from __future__ import annotations\nfrom numpy.typing import NDArray\n",
        "baselines/tensors.py": "import torch\nfrom torch import Tensor, nn\n",
        "benchmark/words.py": '"""from jaxtyping import nothing"""\nimport torch\n',
        "benchmark/data/phantoms/small.py": "from jaxtyping import Float\n",
    }
    for name, source in sources.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    found = annotated_modules(tmp_path)
    assert found[-3:] == ["baselines.tensors", "benchmark.new.shapes", "reports.arrays"]
    assert "benchmark.words" not in found
    checked = set(annotated_modules(ROOT))
    assert {
        "baselines",
        "benchmark.nn",
        "benchmark.scoring.mask_pair",
        "benchmark.protocols",
        "reports.panels.tiles",
    } <= checked


def test_an_annotation_that_does_not_hold_is_an_error() -> None:
    with pytest.raises(TypeCheckError, match="probability"):
        soft_dice(torch.zeros(2, 3), torch.zeros(1, 1, 2, 2, 2, dtype=torch.uint8))
