"""Linear algebra on one thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from threadpoolctl import threadpool_limits

P = ParamSpec("P")
T = TypeVar("T")


def on_one_thread(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate what writes a report: NumPy and SciPy then use one thread in it.

    Its products are small: two threads take nine times the processor's time of one, most of it waiting for one another.
    And sums on two threads differ in their last bits from sums on one: a report's numbers do not depend on the cores.
    """
    limited: Callable[P, T] = threadpool_limits.wrap(limits=1, user_api="blas")(function)
    return limited
