"""Numbers and names in sentences."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from benchmark.words import counted

__all__ = ["counted", "enumerated", "listed", "p_text", "signed", "spread"]

LEVEL_LABELS = {"none": "L2", "noise": "L2 + noise", "shuffle": "L2 + shuffling", "learnable": "Learnable θ"}


def listed(numbers: Sequence[int]) -> str:
    """`0, 1, 2`."""
    return ", ".join(map(str, numbers))


def enumerated(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def spread(values: pd.Series) -> str:
    """`3` or `1 to 3`."""
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low} to {high}"


def p_text(p: float) -> str:
    """A p value: `0.032`, `< 0.001`, or a dash."""
    if p != p:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def signed(value: float, *, plus: str = "+") -> str:
    """Two decimals with a sign: `+0.93`, `−0.05`; `0.00` without one."""
    size = f"{abs(value):.2f}"
    return size if float(size) == 0 else f"{'−' if value < 0 else plus}{size}"


def layers_label(shared_layers: str) -> str:
    """`4-5-6` as L = {4, 5, 6}."""
    return f"L = {{{', '.join(shared_layers.split('-'))}}}"


def level_label(factor: str, level: str) -> str:
    """A row of Table 2 in the paper's words."""
    if level in LEVEL_LABELS:
        return LEVEL_LABELS[level]
    return f"θ = {level}" if factor == "fusion_weight" else level
