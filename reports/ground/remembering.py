"""What is read from the results once, however many parts of a report ask for it.

    with remembering():          while nobody expects the results to change: the parts of one page
        read_everything(...)
        forget("scores")         what takes much memory, and nobody asks for any more

Outside of such a block nothing is kept.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

_T = TypeVar("_T")
RARELY = 50_000
"""Objects more than there were, after which Python collects garbage while much is kept; else after some hundred."""
_KEPT: ContextVar[dict[Hashable, Any] | None] = ContextVar("kept", default=None)


@contextmanager
def remembering() -> Iterator[None]:
    """Keep what is asked for until the block ends."""
    token, usual = _KEPT.set({}), gc.get_threshold()
    # Each time it collects, Python looks through all that is kept, of which nothing is garbage.
    gc.set_threshold(RARELY, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        _KEPT.reset(token)


def forget(kind: str) -> None:
    """Keep no longer what was asked for under keys that begin with this."""
    kept = _KEPT.get() or {}
    for key in [key for key in kept if isinstance(key, tuple) and key[0] == kind]:
        del kept[key]


def is_remembering() -> bool:
    """Whether more may be read than is asked for, since others will ask for the rest."""
    return _KEPT.get() is not None


def remembered(key: Hashable, read: Callable[[], _T]) -> _T:
    """What `read` gives, or gave under this key since `remembering` began."""
    kept = _KEPT.get()
    if kept is None:
        return read()
    if key not in kept:
        kept[key] = read()
    found: _T = kept[key]
    return found
