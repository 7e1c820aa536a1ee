"""Tables 3 and 4 as numbers: which methods they compare, and the scores of each.

A further table of methods is one more `Comparison`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from benchmark.vocabulary import BenchError
from reports.frames import MEASURES, Place, cells_frame, published


@dataclass(frozen=True)
class Comparison:
    """A table of the paper that compares methods; their names and order are those of its published CSV.

    `facts` are the CSV's columns that say something of a method, with their headings in print. `claim` is what the
    text says of the table's Mirror U-Net rows.
    """

    number: int
    title: str
    claim: str
    methods_across: bool = False
    """Whether the paper prints a column a method and a row a metric, not the other way round."""
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        """The name of its grid and its files."""
        return f"table{self.number}"


TABLE3 = Comparison(
    3,
    "Baselines with the same U-Net backbone as Mirror U-Net (EF early, MF middle, LF late fusion)",
    claim="all variants of Mirror U-Net outperform the baselines on all metrics",
    methods_across=True,
)
TABLE4 = Comparison(
    4,
    "Fission-only and multi-task-only methods and the state of the art",
    claim="Mirror U-Net outperforms all other models",
    facts={"tasks": "Tasks", "multimodal_fission": "Multimodal fission", "multi_task": "Multi-task"},
)


def cell_of(factors: Mapping[str, str]) -> dict[str, str]:
    """A run's row from the factors of its grid: its method, and nothing else."""
    if set(factors) != {"method"}:
        raise BenchError(
            f"A cell with the factors {dict(factors)} has no place in a table of methods: its only factor must be "
            "method, whose value is the row's name. Give variants of a method names of their own."
        )
    return {"method": factors["method"]}


PLACE = Place(("method",), cell_of)


def methods(comparison: Comparison, runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """The paper's methods in its order (column `method`); what `runs` have besides comes after, in theirs."""
    names = list(published(comparison.number)["method"])
    if runs is not None:
        names += list(runs["method"])
    return pd.DataFrame({"method": list(dict.fromkeys(names))})


def comparison_frames(comparison: Comparison, runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """For every metric the `cells_frame` of all methods, from the rows of `run_cells`."""
    rows = methods(comparison, runs)
    return {metric: cells_frame(runs, rows, metric=metric) for metric in MEASURES}


def published_frames(comparison: Comparison) -> dict[str, pd.DataFrame]:
    """For every metric the paper's `method` and `value`, in percent and ml."""
    printed = published(comparison.number)
    return {
        metric: printed[["method"]].assign(value=printed[measure.printed_as])
        for metric, measure in MEASURES.items()
    }


def published_facts(comparison: Comparison) -> dict[str, dict[str, str]]:
    """What the paper says of each method besides its scores, by method and column of the CSV."""
    printed = published(comparison.number).set_index("method")
    return {
        str(method): {fact: str(row[fact]) for fact in comparison.facts} for method, row in printed.iterrows()
    }
