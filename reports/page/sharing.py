"""Texts for whoever the page is given to: of folders of this machine they keep what is relative to the results."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.credentials import without_secrets

_FOLDERS = re.compile(
    r"(?P<page>https?://\S+)|(?:(?<=sqlite://)|(?<=file://)|(?<![\w./:<-]))/+(?:[^\s/'\"`<>()|,;]+/)+",
    re.IGNORECASE,
)
"""The folders of an absolute path, also behind the scheme of a file's address; or the address of a web page."""


_ENCODED = re.compile(
    r"(?<![\w%])(?:(?!https?(?:%3A|:))[a-z][a-z+.-]*(?:%3A|:)(?:%2F|/)|%2F)[^\s'\"`<>()|,;]*", re.IGNORECASE
)
"""An absolute path whose colons and slashes may be percent-encoded, with or without the scheme of its address."""


_NUMBERS = {int, float, bool, type(None)}


def without_folders(value: Any, results: Path) -> Any:
    """The text, or all texts of lists and mappings, with paths relative to `results`; of a path that is elsewhere the
    folders are left out."""
    if isinstance(value, str):
        return _relative(value, results)
    if isinstance(value, Mapping):
        return {key: without_folders(inner, results) for key, inner in value.items()}
    if isinstance(value, Sequence):
        # Curves are long.
        texts = not {type(inner) for inner in value} <= _NUMBERS
        return [without_folders(inner, results) for inner in value] if texts else value
    return value


def _decoded(path: str) -> str:
    """Only what separates folders: a space would end the path for whoever reads on."""
    return re.sub("%2F", "/", re.sub("%3A", ":", path, flags=re.IGNORECASE), flags=re.IGNORECASE)


def _relative(text: str, results: Path) -> str:
    text = _ENCODED.sub(lambda found: _decoded(found[0]), text)
    if "/" not in text:
        return text
    text = without_secrets(text)
    for root in (results.resolve(), results.absolute()):
        text = text.replace(f"{root}/", "")
    if not results.is_absolute() and results.name:
        text = re.sub(rf"(?<![\w./-]){re.escape(str(results))}/", "", text)
    return _FOLDERS.sub(lambda found: found["page"] or "…/", text)
