"""Whether somebody far away is alive, told from signs of life whose times are of another clock.

Clocks of machines differ, and one may be set back or forward at any moment. What counts is how long an observer has
seen the same sign, by a clock of its own that only goes forward.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable

LARGEST_SKEW_SECONDS = 86400.0
"""By more than this no two clocks differ: a sign that claims to be older is older, without having been watched."""


class Watch:
    """An observer's memory of signs of life."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, now: Callable[[], float] = time.time
    ) -> None:
        """`clock` never goes back; `now` is the time of day, in seconds."""
        self._clock, self._now = clock, now
        self._seen: dict[Hashable, tuple[object, float]] = {}

    def silent_for(self, who: Hashable, sign: object, *, told_at: float) -> float:
        """For how many seconds at least `who` has given no other sign; `told_at`: its time, by the clock of `who`."""
        last, since = self._seen.get(who, (None, 0.0))
        if who not in self._seen or sign != last:
            since = self._clock()
            self._seen[who] = sign, since
        return max(self._clock() - since, self._now() - told_at - LARGEST_SKEW_SECONDS)
