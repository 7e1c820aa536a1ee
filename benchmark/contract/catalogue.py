"""What is known of the methods without training them: `bench methods`."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from benchmark.datasets.registry import dataset, dataset_names
from benchmark.protocols import BaseMethod, ExternalMethod, Method
from benchmark.registry import build_without_memory, method_classes
from benchmark.vocabulary import BenchError, DatasetSpec, MissingPackageError, Size3, UnsupportedDatasetError

PATCHES: tuple[Size3, ...] = ((96, 96, 96), (128, 128, 128))
"""A method's sizes are those on the first that it does not refuse."""


def summary(name: str) -> dict[str, Any]:
    """A method in one row: its first variant with its defaults, or with the first example that serves a data set.

    `shown_with` names the example; `problem`: why it cannot be used here, or None.
    """
    row: dict[str, Any] = {
        "method": name,
        "paper": "",
        "tasks": [],
        "fusion": "",
        "parameters": None,
        "trains_itself": False,
        "takes_modalities": "",
        "takes_labels": "",
        "shown_with": "",
        "datasets": {},
        "variants": [],
        "examples": [],
        "problem": None,
    }
    try:
        kinds = method_classes(name)
    except BenchError as error:
        return row | {"problem": str(error)}
    kind = next(iter(kinds.values()))
    shown_with, facts = _first_served(name, kind)
    examples = list(dict.fromkeys(example for each in kinds.values() for example in each.examples))
    return row | {
        "paper": kind.paper,
        "tasks": facts["tasks"],
        "fusion": facts["fusion"],
        "parameters": facts["parameters"],
        "trains_itself": issubclass(kind, ExternalMethod),
        "takes_modalities": kind.takes_modalities,
        "takes_labels": kind.takes_labels,
        "shown_with": shown_with,
        "datasets": facts["datasets"],
        "variants": list(kinds) if len(kinds) > 1 else _variants(kind),
        "examples": examples,
        "problem": facts["problem"],
    }


def _first_served(name: str, kind: type[BaseMethod]) -> tuple[str, dict[str, Any]]:
    """The facts of the defaults, or, where they must be told something, of the first example that serves a data set."""
    defaults = _facts(name, {})
    if not defaults["datasets"] or None in defaults["datasets"].values():
        return "", defaults
    for example, arguments in kind.examples.items():
        facts = _facts(name, arguments)
        if None in facts["datasets"].values():
            return example, facts
    return "", defaults


def _variants(kind: type[BaseMethod]) -> list[str]:
    """What the argument that chooses between networks is in the defaults and the examples."""
    parameters = inspect.signature(kind).parameters
    for chooser in ("variant", "version"):
        if chooser in parameters:
            chosen = [
                parameters[chooser].default,
                *(e[chooser] for e in kind.examples.values() if chooser in e),
            ]
            return sorted(dict.fromkeys(map(str, chosen)), key=lambda value: value != str(chosen[0]))
    return []


def description(name: str) -> dict[str, Any]:
    """Everything that a method says of itself, variant by variant."""
    kinds = method_classes(name)
    return {
        "method": name,
        "variants": [_variant(name, kind, several=len(kinds) > 1) for kind in kinds.values()],
    }


def _variant(name: str, kind: type[BaseMethod], *, several: bool) -> dict[str, Any]:
    fixed = {"variant": kind.variant} if several else {}
    parameters = list(inspect.signature(kind).parameters.values())[2:]
    return {
        "class": kind.__name__,
        "variant": kind.variant,
        "paper": kind.paper,
        "trains_itself": issubclass(kind, ExternalMethod),
        "takes_modalities": kind.takes_modalities,
        "takes_labels": kind.takes_labels,
        "text": inspect.getdoc(kind) or "",
        "arguments": [
            {
                "name": p.name,
                "type": "" if p.annotation is p.empty else _type(p.annotation),
                "default": None if p.default is p.empty else p.default,
                "required": p.default is p.empty,
            }
            for p in parameters
        ],
        "examples": [
            {"name": example, "arguments": dict(arguments), **_facts(name, {**fixed, **arguments})}
            for example, arguments in {"defaults": {}, **kind.examples}.items()
        ],
    }


def _type(annotation: object) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _datasets() -> Iterator[tuple[str, DatasetSpec]]:
    """Those whose facts are known without a folder; phantoms have the facts of what they stand for."""
    for name in dataset_names():
        known = dataset(name)
        if known.phantoms is not None:
            continue
        with contextlib.suppress(BenchError):
            yield name, known.spec_of(None)


def _built(name: str, arguments: Mapping[str, Any], spec: DatasetSpec) -> Method | ExternalMethod:
    refused: BenchError | None = None
    for patch_size in PATCHES:
        try:
            return build_without_memory(name, arguments, spec=spec, patch_size=patch_size, loss_weights=None)
        except UnsupportedDatasetError:
            raise
        except BenchError as error:
            refused = refused or error
    assert refused is not None
    raise refused


def _facts(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What the method is with these arguments, on the first data set that it serves."""
    served: dict[str, str | None] = {}
    built: Method | ExternalMethod | None = None
    problem: str | None = None
    for known, spec in _datasets():
        try:
            method = _built(name, arguments, spec)
        except UnsupportedDatasetError as reason:
            served[known] = str(reason)
        except BenchError as error:
            problem = str(error)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        else:
            served[known] = None
            built = built or method
    if isinstance(built, ExternalMethod):
        try:
            built.check_installed()
        except MissingPackageError as missing:
            problem = str(missing)
    return {
        "tasks": list(built.tasks) if built else [],
        "fusion": built.fusion if built else "",
        "parameters": sum(p.numel() for p in built.parameters()) if isinstance(built, nn.Module) else None,
        "loss_weights": built.default_loss_weights() if built else {},
        "readings": list(built.readings) if built else [],
        "datasets": served,
        "problem": problem,
    }
