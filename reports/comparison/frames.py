"""Tables 3 and 4 as numbers: which methods they compare, and the scores of each.

A further table of methods is one more `Comparison`; any other grid of methods gets one by `comparison_of`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from benchmark.results import GridManifest, RunFolder
from benchmark.vocabulary import BenchError
from reports.frames import MEASURES, Place, cells_frame, published


@dataclass(frozen=True)
class Comparison:
    """A table that compares methods. One of the paper (`number`) has the names and order of its published CSV.

    `facts` are the CSV's columns that say something of a method, with their headings in print. `claim` is what the
    text says of the table's Mirror U-Net rows.
    """

    grid: str
    title: str
    number: int | None = None
    claim: str = ""
    methods_across: bool = False
    """Whether the paper prints a column a method and a row a metric, not the other way round."""
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What follows "Table" in print."""
        return self.grid if self.number is None else str(self.number)


FACTS = {"tasks": "Tasks", "multimodal_fission": "Multimodal fission", "multi_task": "Multi-task"}
TABLE3 = Comparison(
    "table3",
    "Baselines with the same U-Net backbone as Mirror U-Net (EF early, MF middle, LF late fusion)",
    number=3,
    claim="all variants of Mirror U-Net outperform the baselines on all metrics",
    methods_across=True,
)
TABLE4 = Comparison(
    "table4",
    "Fission-only and multi-task-only methods and the state of the art",
    number=4,
    claim="Mirror U-Net outperforms all other models",
    facts=FACTS,
)


def comparison_of(manifest: GridManifest) -> Comparison | None:
    """A table of the grid's own; None where its cells are not methods."""
    if any(set(cell.factors) != {"method"} for cell in manifest.cells):
        return None
    return Comparison(manifest.grid, f"Methods of the grid {manifest.grid}", facts=FACTS)


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
    names = list(_printed(comparison)["method"])
    if runs is not None:
        names += list(runs["method"])
    return pd.DataFrame({"method": list(dict.fromkeys(names))})


def comparison_frames(comparison: Comparison, runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """For every metric the `cells_frame` of all methods, from the rows of `run_cells`."""
    rows = methods(comparison, runs)
    return {metric: cells_frame(runs, rows, metric=metric) for metric in MEASURES}


def published_frames(comparison: Comparison) -> dict[str, pd.DataFrame]:
    """For every metric the paper's `method` and `value`, in percent and ml."""
    printed = _printed(comparison)
    return {
        metric: printed[["method"]].assign(value=printed[measure.printed_as])
        for metric, measure in MEASURES.items()
    }


def _printed(comparison: Comparison) -> pd.DataFrame:
    if comparison.number is None:
        return pd.DataFrame({"method": []}, dtype=str)
    return published(comparison.number)


def own_facts(results: Path, runs: pd.DataFrame) -> dict[str, dict[str, str]]:
    """What finished runs say of their methods, by method, in the words of Table 4."""
    facts = {}
    for run in runs[runs["state"] == "done"].itertuples():
        said = RunFolder(results, str(run.run_id)).record().facts
        if "tasks" in said:
            facts[str(run.method)] = {
                "tasks": " + ".join(said["tasks"]),
                "multimodal_fission": "yes" if said["fusion"] == "fission" else "no",
                "multi_task": "yes" if len(said["tasks"]) > 1 else "no",
            }
    return facts


def remarks(results: Path, runs: pd.DataFrame) -> dict[str, list[str]]:
    """What finished runs want a reader to know of their methods: the methods by remark."""
    methods_by_remark: dict[str, list[str]] = {}
    for run in runs[runs["state"] == "done"].itertuples():
        for remark in RunFolder(results, str(run.run_id)).record().facts.get("remarks", ()):
            named = methods_by_remark.setdefault(str(remark), [])
            if run.method not in named:
                named.append(str(run.method))
    return methods_by_remark


def published_facts(comparison: Comparison) -> dict[str, dict[str, str]]:
    """What the paper says of each method besides its scores, by method and column of the CSV."""
    printed = _printed(comparison).set_index("method")
    return {
        str(method): {fact: str(row[fact]) for fact in comparison.facts} for method, row in printed.iterrows()
    }
