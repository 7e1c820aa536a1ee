"""Faults of the disk, injected into every Python process that finds this folder on its path.

`BENCH_FAULT=KIND:CHANCE:SEED`: with that chance a file that is written whole meets the fault. `EIO`, `ENOSPC`: the
system says so; `torn`: half of the temporary file is there when the power goes; `lost`: the rename is not.
"""

import errno
import os
import random
import signal
from typing import Any


def _inject(kind: str, chance: float, seed: int) -> None:
    replace, fsync = os.replace, os.fsync
    state: dict[int, random.Random] = {}

    def strikes() -> bool:
        # Forked processes must not all meet the same fate.
        own = state.setdefault(os.getpid(), random.Random(seed * 1_000_003 + os.getpid()))
        return own.random() < chance

    def failing_fsync(descriptor: int) -> None:
        if strikes():
            number = getattr(errno, kind)
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    def failing_replace(source: Any, target: Any, **options: Any) -> None:
        if strikes():
            if kind == "torn":
                os.truncate(source, os.path.getsize(source) // 2)  # noqa: PTH202
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target, **options)

    if kind in ("EIO", "ENOSPC"):
        os.fsync = failing_fsync
    else:
        os.replace = failing_replace


if "BENCH_FAULT" in os.environ:
    _kind, _chance, _seed = os.environ["BENCH_FAULT"].split(":")
    _inject(_kind, float(_chance), int(_seed))
