"""An end to waiting for a tracking server, however slowly it answers.

A server that sends a byte now and then keeps every single request alive; what is bounded here is the whole.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

QUIET_SECONDS = 60.0
"""So long nothing may come to its end."""
SECONDS_A_PIECE = 1.0
"""For each run or file beyond that, on the whole."""
POLL_SECONDS = 0.1

T = TypeVar("T")


class TooSlowError(Exception):
    """The deadline has passed."""


class Deadline:
    """Of a delivery of so many pieces."""

    def __init__(self, pieces: int = 0) -> None:
        self._began = self._heard = time.monotonic()
        self.extend(pieces)

    def extend(self, pieces: int) -> None:
        """There are so many pieces."""
        self._seconds = QUIET_SECONDS + pieces * SECONDS_A_PIECE

    def step(self) -> None:
        """A piece has come to its end."""
        self._heard = time.monotonic()

    @property
    def passed(self) -> bool:
        now = time.monotonic()
        return now - self._began > self._seconds or now - self._heard > QUIET_SECONDS

    def keep(self, work: Callable[[], T]) -> T:
        """What `work` returns, or raises. TooSlowError when the deadline passes: the work then goes on in the
        background, for nobody, until this process ends."""
        told: list[T] = []
        failed: list[BaseException] = []

        def run() -> None:
            try:
                told.append(work())
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=run, daemon=True, name="delivery")
        thread.start()
        while thread.is_alive():
            thread.join(POLL_SECONDS)
            if self.passed and thread.is_alive():
                raise TooSlowError(
                    f"the server answers too slowly; given up after {time.monotonic() - self._began:.0f} s"
                )
        if failed:
            raise failed[0]
        return told[0]
