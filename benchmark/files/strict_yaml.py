"""YAML files that people write: read safely, a key that appears twice or that nobody knows is an error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import Resolver
from yaml.scanner import Scanner

from benchmark.files.places import DamagedFileError, read_text
from benchmark.vocabulary import BenchError

if yaml.__with_libyaml__:
    from yaml._yaml import CParser

Model = TypeVar("Model", bound=BaseModel)

MOST_BYTES = 2**20
MOST_NODES = 50_000
"""Values and keys of a file, those behind aliases counted as often as they are used."""
DEEPEST = 50


if yaml.__with_libyaml__:

    class _Parsing(Composer, CParser):
        """The events of libyaml, composed as PyYAML does: reading letter by letter in Python takes most of the time."""

        def __init__(self, text: str) -> None:
            CParser.__init__(self, text)
            Composer.__init__(self)

else:

    class _Parsing(Reader, Scanner, Parser, Composer):  # type: ignore[no-redef]
        """PyYAML's own."""

        def __init__(self, text: str) -> None:
            Reader.__init__(self, text)
            Scanner.__init__(self)
            Parser.__init__(self)
            Composer.__init__(self)


class _BoundedLoader(_Parsing, SafeConstructor, Resolver):
    """YAML lets a key appear twice and drops the first; here that is an error. A few lines of aliases to aliases stand
    for more values than any memory holds, and brackets for any depth: both are refused before anything is built."""

    def __init__(self, text: str) -> None:
        self._may_repeat = "&" in text
        _Parsing.__init__(self, text)
        SafeConstructor.__init__(self)
        Resolver.__init__(self)
        self._depth = self._n_nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        self._n_nodes += 1
        if self._depth > DEEPEST or self._n_nodes > MOST_NODES:
            mark: Any = getattr(self.peek_event(), "start_mark", None)
            raise yaml.composer.ComposerError(None, None, self._too_much(), mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def _too_much(self) -> str:
        return f"more than {DEEPEST} levels" if self._depth > DEEPEST else f"more than {MOST_NODES:,} values"

    def bounded(self) -> Any:
        """The document's content."""
        node = self.get_single_node()
        if node is None:
            return None
        # Without an anchor every value stands for itself, and was counted.
        if self._may_repeat and _expanded(node, {}) > MOST_NODES:
            raise yaml.composer.ComposerError(
                None, None, f"its aliases stand for more than {MOST_NODES:,} values", node.start_mark
            )
        return self.construct_document(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        merged = "tag:yaml.org,2002:merge"
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != merged]
        # What cannot be a key is the safe loader's to refuse.
        counts = Counter(key for key in keys if isinstance(key, Hashable))
        twice = [key for key, n in counts.items() if n > 1]
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {twice[0]!r} appears twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


def _expanded(node: yaml.Node, sizes: dict[int, int]) -> int:
    """How many values a node stands for; what contains itself, more than any bound."""
    if id(node) not in sizes:
        sizes[id(node)] = MOST_NODES + 1
        children = (
            [each for pair in node.value for each in pair] if isinstance(node, yaml.MappingNode) else []
        )
        children = list(node.value) if isinstance(node, yaml.SequenceNode) else children
        sizes[id(node)] = 1 + sum(_expanded(child, sizes) for child in children)
    return sizes[id(node)]


def read_yaml(path: Path, *, below: Path | None = None) -> dict[str, Any]:
    """A YAML file's mapping; a key that appears twice is an error. `below`: the folder under which nothing may be a
    link; None: the user named the file."""
    try:
        text = read_text(path, below=below, most=MOST_BYTES)
    except DamagedFileError as error:
        raise BenchError(f"Cannot read {path}: {error}.") from error
    try:
        content = _BoundedLoader(text).bounded()
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise BenchError(f"{path.name} is not valid YAML: {' '.join(str(error).split())}.") from error
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
