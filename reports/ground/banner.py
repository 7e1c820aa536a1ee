"""What stands above everything that a report shows: on every table, figure and page of it.

with under("Phantoms: ..."):      while it is written
    write_table(...), save(...)   both look here, so that no table and no figure can be forgotten
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_SHOWN: ContextVar[str] = ContextVar("banner", default="")


@contextmanager
def under(text: str) -> Iterator[None]:
    """Whatever is written meanwhile carries this text; nothing of an empty one."""
    token = _SHOWN.set(text)
    try:
        yield
    finally:
        _SHOWN.reset(token)


def shown() -> str:
    """The banner of what is written now; empty where there is none."""
    return _SHOWN.get()
