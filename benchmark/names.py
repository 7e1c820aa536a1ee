"""Names for places that take fewer signs than names have: one of its own for each, whatever its signs and case."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable

DIGITS = 8


def unique_names(
    names: Iterable[str], slug: Callable[[str], str], *, longest: int | None = None
) -> dict[str, str]:
    """Every name's own: its slug where no other name has it, else the slug with a hash of the name.

    Slugs that differ in case, or in how accents are composed, are the same: some file systems do not tell them apart.
    `longest`: in characters.
    """
    asked = list(dict.fromkeys(names))
    slugs = {name: slug(name)[:longest] for name in asked}
    taken = Counter(map(_folded, slugs.values()))
    found = {
        name: text if text and taken[_folded(text)] == 1 else _told_apart(name, text, longest)
        for name, text in slugs.items()
    }
    twice = {text for text, n in Counter(map(_folded, found.values())).items() if n > 1}
    # A name that looks like another's with its hash.
    return {
        name: _told_apart(name, text, longest) if _folded(text) in twice else text
        for name, text in found.items()
    }


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _told_apart(name: str, text: str, longest: int | None) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]
    kept = text if longest is None else text[: longest - DIGITS - 1]
    return f"{kept}_{digest}" if kept else digest
