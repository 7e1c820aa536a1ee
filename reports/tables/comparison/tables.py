"""A table of methods as it is printed and as CSV, and the tables of its costs and counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from reports.ground.cells import (
    difference_cell,
    own_cell,
    paper_cell,
    parts_of,
    side_by_side,
    titled,
    unfinished,
    value_cell,
)
from reports.ground.measures import Measures
from reports.ground.notes import MISSING, Frames
from reports.ground.printing import Cell, PrintedTable, Row, Span
from reports.tables.comparison.costs import time_unit
from reports.tables.comparison.frames import Comparison, addresses, methods
from reports.tables.comparison.notes import JOINT

Facts = Mapping[str, Mapping[str, str]]
"""By method: its tasks and the like, in the words of the published CSV."""
MARKS = {"yes": "✓", "no": ""}
PARTS: dict[str, tuple[str, Callable[[Mapping[Any, Any]], Cell]]] = {
    "own": ("own", own_cell),
    "paper": ("published", paper_cell),
    "difference": ("difference", difference_cell),
}


def comparison_table(
    comparison: Comparison,
    own: Frames | None,
    paper: Frames | None,
    *,
    facts: Facts,
    notes: Sequence[str],
) -> PrintedTable:
    """A table of methods in the paper's layout, best of each metric bold.

    `own` and `paper` are the `comparison_frames` and `published_frames`, at least one of them; `facts` say of
    each method what `comparison.facts` asks. With both, a method's row reads own / published (difference);
    where methods stand across, these are rows of their own.
    """
    frames = {
        key: frame.assign(address=addresses(comparison, frame["method"], key))
        for key, frame in _side_by_side(own, paper, comparison.measures).items()
    }
    whose = "" if paper is None else ": own / published (difference)"
    if own is None:
        whose = ", as published"
    elif comparison.methods_across:
        whose = whose and ": own and published"
    title = titled(f"{comparison.title}{whose}", unfinished(_first(own), noun=comparison.noun))
    if comparison.methods_across:
        return _methods_across(comparison, frames, title=title, notes=tuple(notes))
    return _methods_down(comparison, frames, facts, title=title, notes=tuple(notes))


def _side_by_side(own: Frames | None, paper: Frames | None, measures: Measures) -> dict[str, pd.DataFrame]:
    """Every measure with its own and its published numbers, as far as there are any."""
    sources = {
        key: (own[key] if own is not None else None, paper.get(key) if paper is not None else None)
        for key in measures
    }
    return {
        key: side_by_side(ours, printed, measures[key], keys=["method"], bold=[], underlined=None)
        for key, (ours, printed) in sources.items()
        if ours is not None or printed is not None
    }


def _first(own: Frames | None) -> pd.DataFrame | None:
    return next(iter(own.values())) if own is not None else None


def _methods_down(
    comparison: Comparison, frames: Frames, facts: Facts, *, title: str, notes: tuple[str, ...]
) -> PrintedTable:
    records = [frame.to_dict("records") for frame in frames.values()]
    known = set(methods(comparison)["method"])
    nothing = dict.fromkeys(comparison.facts, MISSING)
    rows = []
    for scores in zip(*records, strict=True):
        method = str(scores[0]["method"])
        said = facts.get(method, nothing)
        words = tuple((Span(MARKS.get(said[fact], said[fact])),) for fact in comparison.facts)
        rows.append(Row("paper" if method in known else "own", method, (*map(value_cell, scores), *words)))
    # Words to the left, check marks in the middle.
    marks = {fact for said in facts.values() for fact, word in said.items() if word in MARKS}
    return PrintedTable(
        number=comparison.name,
        title=title,
        stub=(comparison.noun.capitalize(),),
        columns=(*(comparison.measures[key].heading for key in frames), *comparison.facts.values()),
        rows=tuple(rows),
        notes=notes,
        align="r" * len(frames) + "".join("c" if fact in marks else "l" for fact in comparison.facts),
    )


def _methods_across(
    comparison: Comparison, frames: Frames, *, title: str, notes: tuple[str, ...]
) -> PrintedTable:
    parts = _all_parts(frames)
    rows = []
    for key, frame in frames.items():
        heading = comparison.measures[key].heading
        for part in parts_of(frame):
            label, printed = PARTS[part]
            cells = tuple(printed(record) for record in frame.to_dict("records"))
            rows.append(Row(heading, label, cells) if len(parts) > 1 else Row("", heading, cells))
    return PrintedTable(
        number=comparison.name,
        title=title,
        stub=("Metric", "") if len(parts) > 1 else ("Metric",),
        columns=tuple(map(str, next(iter(frames.values()))["method"])),
        rows=tuple(rows),
        notes=notes,
    )


def _all_parts(frames: Frames) -> list[str]:
    """What a row is of: own, paper, difference, as far as any measure has it."""
    return max(map(parts_of, frames.values()), key=len)


def comparison_layout(
    comparison: Comparison, own: Frames | None, paper: Frames | None, *, facts: Facts
) -> pd.DataFrame:
    """The table as numbers in the paper's layout, for CSV; what has no value is NaN.

    Where methods stand across: `metric`, `source` and a column a method. Else: `method`, `source`, a column a
    metric, and `facts` of the method. With both sources every row comes three times: own, paper, difference.
    """
    frames = _side_by_side(own, paper, comparison.measures)
    parts = _all_parts(frames)
    names = list(next(iter(frames.values()))["method"])
    if comparison.methods_across:
        return pd.DataFrame(
            [
                {"metric": key, "source": part, **dict(zip(names, frame[part], strict=True))}
                for key, frame in frames.items()
                for part in parts_of(frame)
            ]
        )
    nothing = dict.fromkeys(comparison.facts, None)
    return pd.DataFrame(
        [
            {"method": name, "source": part}
            | {key: frame[part].iloc[row] if part in frame else float("nan") for key, frame in frames.items()}
            | {fact: facts.get(name, nothing)[fact] for fact in comparison.facts}
            for row, name in enumerate(names)
            for part in parts
        ]
    )


def comparison_cells(comparison: Comparison, own: Frames | None, paper: Frames | None) -> pd.DataFrame:
    """One row per method and measure with every number, mark and count, unrounded, for further work."""
    blocks = []
    for key, frame in _side_by_side(own, paper, comparison.measures).items():
        block = frame.drop(columns=[column for column in frame if str(column).endswith("_underlined")])
        if own is not None:
            counts = [column for column in own[key] if str(column).startswith("n_")]
            block = block.merge(own[key][["method", *counts]], how="left", on="method")
        block.insert(1, "metric", key)
        blocks.append(block)
    return pd.concat(blocks, ignore_index=True)


def counts_table(comparison: Comparison, own: Frames) -> PrintedTable:
    """What stands behind each method's numbers: runs done of planned, seeds, folds, cases, and defined
    scores."""
    first = next(iter(own.values()))
    rows = []
    for index, counts in enumerate(first.to_dict("records")):
        numbers = [f"{counts['n_runs']}/{counts['n_expected']}"]
        numbers += [str(counts[column]) for column in ("n_seeds", "n_folds", "n_cases")]
        numbers += [str(frame["n_defined"].iloc[index]) for frame in own.values()]
        shown = numbers if counts["n_expected"] else [MISSING] * len(numbers)
        (linked,) = addresses(comparison, [counts["method"]], next(iter(own))) if counts["n_runs"] else [""]
        rows.append(Row("", str(counts["method"]), tuple((Span(text, address=linked),) for text in shown)))
    defined = [f"Cases with {comparison.measures[key].name}" for key in own]
    return PrintedTable(
        number=f"{comparison.name} (counts)",
        title=titled(
            f"What stands behind each number of Table {comparison.name}",
            unfinished(first, noun=comparison.noun),
        ),
        stub=(comparison.noun.capitalize(),),
        columns=("Runs done/planned", "Seeds", "Folds", "Test cases", *defined),
        rows=tuple(rows),
    )


def costs_table(
    comparison: Comparison,
    costs: pd.DataFrame,
    *,
    joint: Sequence[str],
    notes: Sequence[str],
    note: str = "",
) -> PrintedTable:
    """What the numbers of each method cost, from a `costs_frame`; `joint` are methods that share a
    training."""
    train, inference = time_unit(costs["train_seconds"]), time_unit(costs["inference_seconds_per_case"])
    known = set(methods(comparison)["method"])
    rows = []
    for row in costs.to_dict("records"):
        shared = JOINT if row["method"] in joint else ""
        (linked,) = addresses(comparison, [row["method"]], next(iter(comparison.measures)))
        costs_of = (
            _cost(row["parameters"], "{:.3f}", per=1e6),
            _cost(row["train_seconds"], per=train.seconds, mark=shared),
            _cost(row["inference_seconds_per_case"], per=inference.seconds),
            _cost(row["peak_memory_mib"], "{:.2f}", per=1024, mark=shared),
            _cost(row["gflops"]),
        )
        cells = tuple((Span(text, address=linked if text != MISSING else ""),) for text in costs_of)
        rows.append(Row("paper" if row["method"] in known else "own", str(row["method"]), cells))
    return PrintedTable(
        number=f"{comparison.name} (costs)",
        title=titled(f"What the numbers of Table {comparison.name} cost", note),
        stub=(comparison.noun.capitalize(),),
        columns=(
            "Parameters [M]",
            f"Training [{train.name}]",
            f"Inference [{inference.name}/case]",
            "Peak memory [GiB]",
            "Forward pass [GFLOPs]",
        ),
        rows=tuple(rows),
        notes=tuple(notes),
    )


def _cost(value: float, form: str | None = None, *, per: float = 1.0, mark: str = "") -> str:
    if pd.isna(value):
        return MISSING
    return (form.format(value / per) if form else three_digits(value / per)) + mark


def three_digits(value: float) -> str:
    """Three significant digits, never an exponent, at most four decimals: 0, 0.0012, 0.123, 12.3, 1234."""
    decimals = 0 if value == 0 else 2 - math.floor(math.log10(abs(value)))
    return f"{value:.{min(max(decimals, 0), 4)}f}"
