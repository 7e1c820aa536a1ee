"""A bound to what reading a foreign file may take of memory, where the file itself cannot be believed about it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

MOST_MORE_BYTES = 4 * 2**30
"""Beyond what the process has, while a table is read: four times its columns, as they may be."""


@contextlib.contextmanager
def bounded_memory(most: int = MOST_MORE_BYTES) -> Iterator[None]:
    """Within the block, allocations that would take the process beyond so many bytes more are a MemoryError.

    The bound is that of the process: threads beside share it. Where the system does not tell a process's size, there
    is none.
    """
    if sys.platform != "linux":
        yield
        return
    import resource

    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limits = [size + most, *(limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_AS, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
