"""A running run's sign of life."""

from __future__ import annotations

import math
import os
import time
from dataclasses import replace
from typing import Any

import torch

from benchmark.results.runs import Heartbeat, RunFolder

HEARTBEAT_SECONDS = 1.0


class Beat:
    """Writes the heartbeat, about once a second."""

    def __init__(self, folder: RunFolder, device: torch.device) -> None:
        self.folder = folder
        self._beat = Heartbeat("train", 0, 0, pid=os.getpid(), host=os.uname().nodename, device=str(device))
        self._last = -math.inf

    def tell(
        self, phase: str, done: int | None = None, total: int | None = None, **numbers: float | None
    ) -> None:
        """What is not said stays as it was."""
        told: dict[str, Any] = {"phase": phase} | ({} if done is None else {"done": done, "total": total})
        told |= {name: value for name, value in numbers.items() if value is not None and math.isfinite(value)}
        self._beat = replace(self._beat, **told)
        # The time of day may be set back at any moment; the pace must not follow it.
        if time.monotonic() - self._last >= HEARTBEAT_SECONDS:
            self._last = time.monotonic()
            self._beat = replace(self._beat, time=time.time())
            self.folder.write_heartbeat(self._beat)
