"""The folders are layers: what knows what. `lint-imports` has the layers' order; this is what it cannot say."""

from __future__ import annotations

import ast
import graphlib
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("benchmark", "reports", "baselines", "studies")
TOOLBOX = ("benchmark.nn", "benchmark.nnunet", "benchmark.protocols", "benchmark.vocabulary")
"""What a method may know of the suite."""


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imported(path: Path) -> set[str]:
    """The suite's modules that a file imports anywhere, inside of functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            while name and name not in MODULES:
                name = name.rpartition(".")[0]
            found.add(name)
    return found - {""}


def between(rooms: bool) -> dict[str, set[str]]:
    """Who imports whom: files, or with `rooms` the folders they lie in."""
    graph: dict[str, set[str]] = defaultdict(set)
    for name, path in MODULES.items():
        if name == "benchmark":
            # The front door: it passes on what the layer above everything offers.
            continue
        for other in imported(path):
            ends = (str(path.parent), str(MODULES[other].parent)) if rooms else (name, other)
            if ends[0] != ends[1]:
                graph[ends[0]].add(ends[1])
    return graph


@pytest.mark.parametrize("rooms", [False, True], ids=["files", "folders"])
def test_nothing_imports_itself_in_a_circle(rooms: bool) -> None:
    graph = between(rooms)
    assert len(graph) > (30 if rooms else 250)
    graphlib.TopologicalSorter(graph).prepare()


def test_a_circle_is_found() -> None:
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(
            {**between(True), str(ROOT / "benchmark"): {str(ROOT / "benchmark/cli")}}
        ).prepare()


def test_a_method_knows_the_toolbox_alone() -> None:
    strangers = {
        f"{path.name}: {other}"
        for name, path in MODULES.items()
        for other in imported(path)
        if name.startswith("baselines.") and not other.startswith(TOOLBOX)
    }
    assert not strangers
