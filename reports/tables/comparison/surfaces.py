"""How far surfaces lie from one another, by method and region, and which structures were missed or
invented."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from reports.ground.addresses import address
from reports.ground.cells import own_cell, side_by_side, titled
from reports.ground.measures import DICE, HD95, SURFACE_DICE, measures_of
from reports.ground.notes import MISSING
from reports.ground.printing import Cell, PrintedTable, Row, Span
from reports.ground.runs import Scored, with_means
from reports.ground.score_files import SOURCE
from reports.tables.comparison.frames import Comparison, comparison_frames

SHOWN = (HD95, SURFACE_DICE)


def has_surfaces(scored: Scored) -> bool:
    """Whether there is anything to show."""
    return bool(scored.metrics & {measure.metric for measure in SHOWN})


def surfaces_frame(
    comparison: Comparison, planned: pd.DataFrame, scores: pd.DataFrame, *, regions: Sequence[str]
) -> pd.DataFrame:
    """One row per method and region, from `planned_runs` and their `reported_scores`.

    For each of SHOWN `<metric>` and its `_std` in the printed unit, `_bold` where it is the region's best,
    `_undefined` and `_partial` as in a `side_by_side` frame; and the `structure_counts`. `regions` are named
    as measures name them.
    """
    blocks = []
    for region in regions:
        measures = measures_of(*(measure.of(region, regions) for measure in SHOWN))
        frames = comparison_frames(
            replace(comparison, measures=measures), with_means(planned, scores, measures=measures)
        )
        block = next(iter(frames.values()))[["method", "n_runs", "n_expected"]].assign(region=region)
        for measure in measures.values():
            marked = side_by_side(
                frames[measure.key], None, measure, keys=["method"], bold=[], underlined=None
            )
            marks = ("std", "own_bold", "undefined", "partial")
            block[measure.metric] = marked["own"]
            for mark in marks:
                block[f"{measure.metric}_{mark.removeprefix('own_')}"] = marked[mark]
        blocks.append(block.merge(structure_counts(planned, scores, region=region), how="left", on="method"))
    frame = pd.concat(blocks, ignore_index=True)
    # By method first; the regions keep their order.
    order = {method: row for row, method in enumerate(dict.fromkeys(frame["method"]))}
    return frame.sort_values("method", key=lambda names: names.map(order), kind="stable", ignore_index=True)


def structure_counts(planned: pd.DataFrame, scores: pd.DataFrame, *, region: str) -> pd.DataFrame:
    """By method over all finished runs: `n_missed` of `n_with` structures, `n_invented` in `n_without` cases
    without.

    A method that was not scored in this way has NaN.
    """
    done = planned.loc[planned["state"] == "done", ["method", *SOURCE]].astype(scores[SOURCE].dtypes)
    if region:
        scores = scores[scores["region"] == region]
    merged = done.merge(scores[[*SOURCE, "metric", "value"]], on=SOURCE)
    by_method = merged.groupby(["method", "metric"], sort=False, observed=True)["value"]
    # Dice is defined where there is a reference, and nowhere else.
    counts = pd.DataFrame(
        {
            "n_missed": by_method.sum().unstack().get("missed"),
            "n_with": by_method.count().unstack().get(DICE.metric),
            "n_invented": by_method.sum().unstack().get("invented"),
            "n_without": (by_method.size() - by_method.count()).unstack().get(DICE.metric),
        }
    )
    return counts.astype(float).rename_axis("method").reset_index()


def surfaces_table(comparison: Comparison, frame: pd.DataFrame, *, note: str) -> PrintedTable:
    """The `surfaces_frame` as a table: a row per method and region, best of each region bold."""
    regions = list(dict.fromkeys(frame["region"].astype(str)))
    several = len(regions) > 1
    rows = [
        Row(str(row["method"]), str(row["region"]), _cells(comparison, row, regions))
        if several
        else Row("", str(row["method"]), _cells(comparison, row, regions))
        for row in frame.to_dict("records")
    ]
    return PrintedTable(
        number=f"{comparison.name} (surfaces)",
        title=titled("Distances between predicted and true surfaces", note),
        stub=("Method", "Region") if several else ("Method",),
        columns=(*(measure.heading for measure in SHOWN), "Missed", "Invented"),
        rows=tuple(rows),
        notes=tuple(surfaces_notes(frame)),
    )


def _cells(comparison: Comparison, row: Mapping[Any, Any], regions: Sequence[str]) -> tuple[Cell, ...]:
    values = []
    name = str(row["method"])
    place = comparison.coordinates.get(name, (name,))
    for measure in SHOWN:
        part = {
            "own": row[measure.metric],
            "own_bold": row[f"{measure.metric}_bold"],
            "own_underlined": False,
            "std": row[f"{measure.metric}_std"],
            "undefined": row[f"{measure.metric}_undefined"],
            "partial": row[f"{measure.metric}_partial"],
            "address": address(comparison.grid, place, measure.of(str(row["region"]), regions).key),
        }
        values.append(own_cell(part))
    linked = address(comparison.grid, place)
    counts = ((row["n_missed"], row["n_with"]), (row["n_invented"], row["n_without"]))
    return (*values, *(_of(number, total, linked) for number, total in counts))


def _of(number: float, total: float, linked: str) -> Cell:
    if pd.isna(number):
        return (Span(MISSING),)
    return (Span(f"{number:.0f} of {total:.0f}", address=linked),)


def surfaces_notes(frame: pd.DataFrame) -> Iterator[str]:
    """What the columns mean, and what of them may not be compared."""
    yield (
        "Defined for every case, as in the BraTS challenge: where reference and prediction are both empty 0 mm and "
        "100 %; where a whole structure was missed or invented, the volume's diagonal and 0 %. These penalties are "
        "part of the means: read HD95 beside the counts."
    )
    yield (
        "Missed: structures without a single predicted voxel in the case, of those there are. Invented: cases with "
        "predicted voxels, of those without the structure. Both over the test cases of all finished runs."
    )
    older = frame["n_runs"].gt(0) & frame[HD95.metric].notna() & frame["n_missed"].isna()
    if older.any():
        names = ", ".join(dict.fromkeys(frame.loc[older, "method"]))
        yield (
            f"Warning: {names} was scored by an earlier version, which left HD95 undefined where there is no "
            "reference; it is not comparable with the others'."
        )


def surfaces_csv(frame: pd.DataFrame) -> pd.DataFrame:
    """The numbers of the table alone."""
    names = [name for measure in SHOWN for name in (measure.metric, f"{measure.metric}_std")]
    counts = ["n_missed", "n_with", "n_invented", "n_without"]
    return frame[["method", "region", *names, *counts, "n_runs", "n_expected"]].astype(
        dict.fromkeys(counts, "Int64")
    )
