"""Tables of methods as numbers: which methods they compare, in which columns, and the scores of each.

A further table of methods is one more `Comparison`; any other grid of methods gets one by `comparison_of`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pandas as pd

from benchmark.names import unique_names
from benchmark.results.manifests import GridManifest
from benchmark.vocabulary import BenchError
from reports.ground.addresses import address
from reports.ground.frames import cells_frame
from reports.ground.measures import DICE, MEASURES, Measures, measures_of, usual_measures
from reports.ground.publications import MIRROR_UNET, Publication, published
from reports.ground.runs import Coordinates, Scored, seen
from reports.ground.words import enumerated


def nothing_printed() -> pd.DataFrame:
    """The published scores of a table that nobody published."""
    return pd.DataFrame({"method": []}, dtype=str)


def cell_of(factors: Mapping[str, str]) -> dict[str, str]:
    """A run's row from the factors of its grid: its method, and nothing else."""
    if set(factors) != {"method"}:
        raise BenchError(
            f"A cell with the factors {dict(factors)} has no place in a table of methods: its only factor must be "
            "method, whose value is the row's name. Give variants of a method names of their own."
        )
    return {"method": factors["method"]}


PLACE = Coordinates(("method",), cell_of)


@dataclass(frozen=True)
class Comparison:
    """A table that compares methods. One of the paper (`number`) has the names and order of its published
    CSV.

    `measures` are its columns; `facts` are columns that say something of a method, with their headings in
    print. `printed` reads the published scores, with a column `method` and one for every `Measure.printed_as`
    there is. `claim` is what the text says of the methods `claimed`; none named: of the table's Mirror U-Net
    rows.
    """

    grid: str
    title: str
    number: int | None = None
    claim: str = ""
    claimed: tuple[str, ...] = ()
    methods_across: bool = False
    """Whether the paper prints a column a method and a row a metric, not the other way round."""
    facts: Mapping[str, str] = field(default_factory=dict)
    measures: Measures = field(default_factory=lambda: MEASURES)
    printed: Callable[[], pd.DataFrame] = nothing_printed
    publication: Publication | None = None
    place: Coordinates = PLACE
    """Where a run stands: its row, by the factors of its grid."""
    factors: tuple[str, ...] = ()
    """Of a grid with factors of its own, their names."""
    coordinates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By row its levels of the `factors`, by which addresses name it."""

    @property
    def noun(self) -> str:
        """What a row is."""
        return "cell" if self.coordinates else "method"

    @property
    def name(self) -> str:
        """What follows "Table" in print."""
        return self.grid if self.number is None else str(self.number)


NO_LEVEL = "–"
FACTS = {"tasks": "Tasks", "multimodal_fission": "Multimodal fission", "multi_task": "Multi-task"}
TABLE3 = Comparison(
    "table3",
    "Baselines with the same U-Net backbone as Mirror U-Net (EF early, MF middle, LF late fusion)",
    number=3,
    claim="all variants of Mirror U-Net outperform the baselines on all metrics",
    methods_across=True,
    printed=partial(published, 3),
    publication=MIRROR_UNET[3],
)
TABLE4 = Comparison(
    "table4",
    "Fission-only and multi-task-only methods and the state of the art",
    number=4,
    claim="Mirror U-Net outperforms all other models",
    facts=FACTS,
    printed=partial(published, 4),
    publication=MIRROR_UNET[4],
)
TABLE5 = Comparison(
    "table5",
    "Brain tumours: Mirror U-Net and other methods on four MRI contrasts",
    number=5,
    claim="Mirror U-Net (v2) outperforms all other methods on all 3 tumor classes",
    claimed=("Mirror U-Net v2",),
    measures=measures_of(*map(DICE.of, ("whole tumor", "edema", "tumor core"))),
    printed=partial(published, 5),
    publication=MIRROR_UNET[5],
)


def comparison_of(manifest: GridManifest) -> Comparison:
    """A table of the grid's own: a row a method or, where its factors are others, a row a cell."""
    if is_of_methods(manifest):
        return Comparison(manifest.grid, f"Methods of the grid {manifest.grid}", facts=FACTS)
    keys = factors_of(manifest)
    levels = dict.fromkeys(coordinates_of(cell.factors, keys) for cell in manifest.cells)
    names = unique_names([_named(keys, level) for level in levels], str)
    rows = dict(zip(levels, names.values(), strict=True))

    def of(factors: Mapping[str, str]) -> dict[str, str]:
        return {"method": rows[coordinates_of(factors, keys)]}

    return Comparison(
        manifest.grid,
        f"All cells of the grid {manifest.grid}, by {enumerated(keys)}",
        facts=FACTS,
        place=Coordinates(("method",), of),
        factors=keys,
        coordinates={row: level for level, row in rows.items()},
    )


def is_of_methods(manifest: GridManifest) -> bool:
    """Whether each of its cells is a method and nothing else."""
    return all(set(cell.factors) == {"method"} for cell in manifest.cells)


WHOLE = "cell"
"""The only coordinate of a grid without factors, and its value."""


def factors_of(manifest: GridManifest) -> tuple[str, ...]:
    """All factors of a grid, in the order in which its cells name them."""
    return tuple(dict.fromkeys(name for cell in manifest.cells for name in cell.factors)) or (WHOLE,)


def coordinates_of(factors: Mapping[str, str], keys: Sequence[str]) -> tuple[str, ...]:
    """A cell's levels of these factors; a dash for one that its block does not have."""
    if keys == (WHOLE,):
        return (WHOLE,)
    return tuple(factors.get(key, NO_LEVEL) for key in keys)


def factor_place(manifest: GridManifest) -> Coordinates:
    """Where a run stands among the factors of its grid."""
    keys = factors_of(manifest)
    return Coordinates(keys, lambda factors: dict(zip(keys, coordinates_of(factors, keys), strict=True)))


def _named(keys: Sequence[str], levels: Sequence[str]) -> str:
    """`depth=3, width=8`; what a cell does not have is left out."""
    said = [f"{key}={level}" for key, level in zip(keys, levels, strict=True) if level != NO_LEVEL]
    return ", ".join(said) if keys != (WHOLE,) else WHOLE


def on_data(comparison: Comparison, scored: Scored) -> Comparison:
    """The comparison with columns for what was scored.

    A published table keeps its columns on data of its kind: the one region of Tables 3 and 4, the regions of
    Table 5, after which come the Dice of regions it lacks. Everything else has the `usual_measures`.
    """
    if not scored.regions:
        return comparison
    usual = usual_measures(scored.regions, scored.metrics)
    own_regions = {measure.region for measure in comparison.measures.values()}
    if comparison.publication is None or comparison.number is None:
        return replace(comparison, measures=usual)
    if own_regions == {""}:
        return comparison if len(scored.regions) == 1 else replace(comparison, measures=usual)
    if not own_regions & set(scored.regions):
        return replace(comparison, measures=usual)
    every = [*own_regions, *scored.regions]
    more = [DICE.of(region, every) for region in scored.regions if region not in own_regions]
    return replace(comparison, measures={**comparison.measures, **measures_of(*more)})


def methods(comparison: Comparison, runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """The published methods in their order (column `method`); what `runs` have besides comes after, in
    theirs."""
    names = list(comparison.printed()["method"])
    if runs is not None:
        names += list(runs["method"])
    return pd.DataFrame({"method": list(dict.fromkeys(names))})


def addresses(comparison: Comparison, methods: Iterable[str], measure: str) -> list[str]:
    """The addresses of a measure's numbers."""
    shown = "" if measure == next(iter(comparison.measures)) else measure
    return [address(comparison.grid, comparison.coordinates.get(m, (m,)), shown) for m in methods]


def comparison_frames(comparison: Comparison, runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """For every measure the `cells_frame` of all methods, from the rows of `run_cells`."""
    rows = methods(comparison, runs)
    return {key: cells_frame(runs, rows, measure) for key, measure in comparison.measures.items()}


def published_frames(comparison: Comparison) -> dict[str, pd.DataFrame]:
    """For every measure that was published its `method` and `value`, in percent, ml and mm."""
    printed = comparison.printed()
    return {
        key: printed[["method"]].assign(value=printed[measure.printed_as])
        for key, measure in comparison.measures.items()
        if measure.printed_as in printed
    }


def own_facts(results: Path, runs: pd.DataFrame) -> dict[str, dict[str, str]]:
    """What finished runs say of their methods, by method, in the words of Table 4."""
    facts = {}
    for run in runs[runs["state"] == "done"].itertuples():
        said = seen(results, str(run.run_id)).facts
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
        for remark in seen(results, str(run.run_id)).facts.get("remarks", ()):
            named = methods_by_remark.setdefault(str(remark), [])
            if run.method not in named:
                named.append(str(run.method))
    return methods_by_remark


def published_facts(comparison: Comparison) -> dict[str, dict[str, str]]:
    """What the paper says of each method besides its scores, by method and column of the CSV."""
    printed = comparison.printed().set_index("method")
    if not set(comparison.facts) <= set(printed):
        return {}
    return {
        str(method): {fact: str(row[fact]) for fact in comparison.facts} for method, row in printed.iterrows()
    }
