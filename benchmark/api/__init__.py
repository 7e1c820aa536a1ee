"""The commands of `bench` as functions of Python."""

from benchmark.api.commands import plan_grid, run_grid, run_search, write_report

__all__ = ["plan_grid", "run_grid", "run_search", "write_report"]
