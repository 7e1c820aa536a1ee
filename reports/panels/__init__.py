"""Figures 7 and 8: what every branch of a network says of a case. `bench panels` writes the arrays, this
draws them."""

from reports.panels.figure import write_panel

__all__ = ["write_panel"]
