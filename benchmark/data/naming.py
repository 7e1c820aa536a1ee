"""Names of files, how they become case ids that are safe as file names, and how users' names find their cases."""

from __future__ import annotations

import difflib
import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence

from benchmark.vocabulary import DataError

TCIA_FILES = {"CT": "CTres.nii.gz", "PET": "SUV.nii.gz", "label": "SEG.nii.gz"}
"""Of a study of AutoPET as TCIA offers it."""
_LONGEST = 120
"""Characters. File names end at 255 bytes, and predictions, logs and locks add suffixes of their own."""


def case_id_from(name: str) -> str:
    """A case id of ASCII letters, digits, `.`, `_` and `-`. Equal names give equal ids, wherever read.

    Spaces and path separators become `_`, one by one. A name that needs more than that (other characters,
    too long) gets a hash of the whole name as its ending, so that different names stay different.
    """
    name = unicodedata.normalize("NFC", name)
    plain = re.sub(r"[\s/\\]", "_", name)
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", plain)
    if safe == plain and safe[:1] not in ("", ".", "-") and len(safe) <= _LONGEST:
        return safe
    # Bytes of a file's name that are no UTF-8 are lone surrogates in the text.
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{safe[: _LONGEST - 9].lstrip('.-')}_{digest}"


def printable(name: str) -> str:
    """The name as text that any terminal, table and JSON file takes: bytes that are no UTF-8 as `\\xfc`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def resolve_case(name: str, known: Collection[str]) -> str | None:
    """The case id among `known` that a user's name means: an id, or a case's name in its files; None for neither."""
    for candidate in (name, case_id_from(name), case_id_from(name.strip())):
        if candidate in known:
            return candidate
    return None


def resolve_cases(names: Iterable[str], known: Collection[str], *, where: str) -> dict[str, str]:
    """The case ids of names that a user wrote, by name; DataError that tells the nearest for names of no case.

    `where` opens the error: the file, or the option, in which the names stand.
    """
    found = {name: resolve_case(name, known) for name in names}
    unknown = [name for name, case_id in found.items() if case_id is None]
    if unknown:
        near = difflib.get_close_matches(case_id_from(unknown[0]), known, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise DataError(f"{where}: no such case as {some(unknown)}.{hint} Correct the name or add the data.")
    return {name: case_id for name, case_id in found.items() if case_id is not None}


def resolve_keys(stated: Mapping[str, str], known: Collection[str], *, where: str) -> dict[str, str]:
    """A user's mapping by case id; DataError for keys of no case, and for two that contradict each other."""
    resolved: dict[str, str] = {}
    for name, case_id in resolve_cases(stated, known, where=where).items():
        if resolved.setdefault(case_id, stated[name]) != stated[name]:
            raise DataError(
                f"{where}: case {case_id} is named twice, with {resolved[case_id]!r} and {stated[name]!r}. Keep one."
            )
    return resolved


def some(names: Sequence[str], most: int = 5) -> str:
    """The first names, quoted, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more
