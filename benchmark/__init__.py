"""The engine: data, training, evaluation and execution. Knows protocols, no paper and no table.

`plan_grid`, `run_grid`, `run_search` and `write_report` are the commands of `bench` as functions; see `benchmark.api`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.api import plan_grid, run_grid, run_search, write_report

__all__ = ["plan_grid", "run_grid", "run_search", "write_report"]


def __getattr__(name: str) -> object:
    # Not imported with the package: every worker imports it, and none needs the tables.
    if name in __all__:
        from benchmark import api

        return getattr(api, name)
    raise AttributeError(f"module 'benchmark' has no attribute {name!r}")
