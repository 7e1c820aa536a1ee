"""How names found on disk become case ids that are safe as file names."""

from __future__ import annotations

import hashlib
import re
import unicodedata

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
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{safe[: _LONGEST - 9].lstrip('.-')}_{digest}"
