"""From a name to a method's class or a data set's reader."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.vocabulary import BenchError, Case, DatasetSpec

if TYPE_CHECKING:
    from benchmark.protocols import Method

DATASETS = ("autopet", "phantom")


@dataclass(frozen=True)
class Dataset:
    """A reader: the facts of the data set, and how its cases are found on disk."""

    spec: DatasetSpec
    discover: Callable[[Path], list[Case]]


def dataset(name: str) -> Dataset:
    """The reader of a data set."""
    if name not in DATASETS:
        raise BenchError(f"There is no data set {name!r}. {did_you_mean(name, DATASETS)}")
    module = importlib.import_module(f"benchmark.data.{name}")
    return Dataset(module.SPEC, module.discover)


def method_names() -> list[str]:
    """The files of `baselines/`. Imports none of them."""
    package = importlib.util.find_spec("baselines")
    if package is None or package.submodule_search_locations is None:
        raise BenchError(
            "The package `baselines` is not installed beside `benchmark`; install the suite again."
        )
    return sorted(module.name for module in pkgutil.iter_modules(package.submodule_search_locations))


def method_class(name: str) -> type[Method]:
    """The one Method that `baselines/<name>.py` defines."""
    from benchmark.protocols import Method

    names = method_names()
    if name not in names:
        raise BenchError(f"There is no baselines/{name}.py. {did_you_mean(name, names)}")
    module = importlib.import_module(f"baselines.{name}")
    found = [
        member
        for member in vars(module).values()
        if inspect.isclass(member) and issubclass(member, Method) and member.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise BenchError(f"baselines/{name}.py must define one subclass of Method; it defines {len(found)}.")
    return found[0]


def build_method(
    name: str,
    method_args: Mapping[str, Any],
    *,
    spec: DatasetSpec,
    patch_size: tuple[int, int, int],
    loss_weights: Mapping[str, float],
) -> Method:
    """A method with its arguments and the names of its losses checked: a knob that turns nothing is an error."""
    kind = method_class(name)
    known = [p for p in inspect.signature(kind).parameters if p not in ("dataset", "patch_size")]
    for argument in method_args:
        if argument not in known:
            raise BenchError(f"{name} has no argument {argument!r}. {did_you_mean(argument, known)}")
    method = kind(spec, patch_size, **method_args)
    if set(method.loss_names) != set(loss_weights):
        raise BenchError(
            f"{name} with {dict(method_args)} has the losses {sorted(method.loss_names)}, "
            f"but loss_weights names {sorted(loss_weights)}; they must be the same."
        )
    return method


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The nearest known name, or all of them."""
    names = list(known)
    near = difflib.get_close_matches(name, names, 1)
    return f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(names)}."
