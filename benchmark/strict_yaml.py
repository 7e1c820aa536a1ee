"""YAML files that people write: read safely, a key that appears twice or that nobody knows is an error."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from benchmark.vocabulary import BenchError

Model = TypeVar("Model", bound=BaseModel)


class _UniqueKeys(yaml.SafeLoader):
    """YAML lets a key appear twice and drops the first; here that is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        merged = "tag:yaml.org,2002:merge"
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != merged]
        twice = [key for key in keys if keys.count(key) > 1]
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {twice[0]!r} appears twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file's mapping; a key that appears twice is an error."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)  # noqa: S506 (a safe loader)
    except yaml.YAMLError as error:
        raise BenchError(f"{path.name} is not valid YAML: {' '.join(str(error).split())}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"Cannot read {path}: {error}.") from error
    if not isinstance(content, dict):
        raise BenchError(f"{path.name} must be a mapping at its top level.")
    return content


def parse(model: type[Model], content: Mapping[str, Any], *, source: str) -> Model:
    """A checked model; BenchError names every wrong key."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        faults = []
        for fault in error.errors():
            where = ".".join(map(str, fault["loc"]))
            unknown = "unknown key" if fault["type"] == "extra_forbidden" else fault["msg"]
            faults.append(f"{where}: {unknown}")
        raise BenchError(f"{source}: {'; '.join(faults)}.") from error
