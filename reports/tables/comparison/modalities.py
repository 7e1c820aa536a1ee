"""What is left of a method where a modality is missing: complete, and without each one that was left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.results.runs import RunFolder
from reports.evidence.run_rows import TEST, without
from reports.ground.addresses import run_address, together
from reports.ground.cells import own_cell, titled
from reports.ground.frames import cells_frame
from reports.ground.notes import MISSING, PARTIAL
from reports.ground.printing import Cell, PrintedTable, Row, Span
from reports.ground.runs import of_readings, with_means
from reports.ground.words import enumerated
from reports.tables.comparison.frames import Comparison

OWN_ANSWER = "own answer"
COMPLETE = ""
"""The name of no modality: that of the rows where none is missing."""


def without_runs(results: Path, planned: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What `bench evaluate --without` left behind, of the finished rows of `planned_runs`.

    First one row per run, reading and modality that was left out: the run's columns, `modality`, `manner`,
    `n_unchanged` of `n_compared` label maps that are as with all modalities, and `changed_voxels`, the most
    in a case. Then all their scores, in the columns SCORES and `modality`.
    """
    rows, scores = [], []
    for run in planned[planned["state"] == "done"].to_dict("records"):
        folder = RunFolder(results, run["run_id"])
        for modality in folder.evaluated_without():
            if (found := folder.without(modality)) is None:
                continue
            of_run, facts = found
            changed = list(facts.changed_voxels.get(run["reading"], {}).values())
            said = {
                "modality": modality,
                "manner": facts.manner,
                "n_unchanged": sum(voxels == 0 for voxels in changed),
                "n_compared": len(changed),
                "changed_voxels": max(changed, default=0),
            }
            rows.append(run | said)
            scores.append(of_readings(of_run, folder, readings=[run["reading"]]).assign(modality=modality))
    columns = [*planned.columns, "modality", "manner", "n_unchanged", "n_compared", "changed_voxels"]
    frame = pd.DataFrame(rows, columns=columns)
    # A run that several methods are read from the same way is there once.
    joined = pd.concat(scores, ignore_index=True).drop_duplicates() if scores else pd.DataFrame()
    return frame, joined


def modalities_frame(
    comparison: Comparison, results: Path, planned: pd.DataFrame, scores: pd.DataFrame
) -> pd.DataFrame:
    """One row per method and missing modality, after one with all of them; empty where nothing was left out.

    For each measure of the comparison its key (printed unit), `_std` and `_scored`; `manner`, `n_unchanged`
    of `n_compared` label maps, `n_runs` of `n_finished`, and the `address` of the rows. The complete scores are
    those of the runs that were evaluated without some modality, so that a row compares the same trainings.
    """
    left_out, left_out_scores = without_runs(results, planned)
    if left_out.empty:
        return pd.DataFrame()
    own = list(planned.columns)
    evaluated = left_out[own].drop_duplicates()
    finished = planned[planned["state"] == "done"].groupby("method").size()
    complete = _block(comparison, with_means(evaluated, scores, measures=comparison.measures), COMPLETE)
    blocks = [complete.merge(_addresses(evaluated, TEST), how="left", on="method")]
    for modality in dict.fromkeys(left_out["modality"]):
        runs = left_out[left_out["modality"] == modality]
        of_modality = left_out_scores[left_out_scores["modality"] == modality]
        means = with_means(runs[own], of_modality, measures=comparison.measures)
        facts = runs.groupby("method").agg(
            manner=("manner", lambda manners: enumerated(sorted(set(manners)))),
            n_unchanged=("n_unchanged", "sum"),
            n_compared=("n_compared", "sum"),
            changed_voxels=("changed_voxels", "max"),
        )
        facts = facts.join(_addresses(runs, without(modality)))
        blocks.append(_block(comparison, means, modality).merge(facts, how="left", on="method"))
    frame = pd.concat(blocks, ignore_index=True)
    frame["n_finished"] = frame["method"].map(finished)
    texts = ["manner", "address"]
    frame[texts] = frame[texts].fillna("")
    counts = ["n_unchanged", "n_compared", "changed_voxels"]
    frame[counts] = frame[counts].astype("Int64")
    order = {method: row for row, method in enumerate(dict.fromkeys(planned["method"]))}
    return frame.sort_values("method", key=lambda names: names.map(order), kind="stable", ignore_index=True)


def _addresses(runs: pd.DataFrame, part: str) -> pd.Series:
    """By method the address of its runs' rows on a part."""

    def of(rows: pd.DataFrame) -> str:
        each = zip(rows["run_id"], rows["reading"], strict=True)
        return together(*(run_address(run_id, part, reading) for run_id, reading in each))

    found = {method: of(rows) for method, rows in runs.groupby("method", sort=False)}
    return pd.Series(found, name="address").rename_axis("method")


def _block(comparison: Comparison, runs: pd.DataFrame, modality: str) -> pd.DataFrame:
    methods = runs[["method"]].drop_duplicates()
    block = methods.assign(without=modality)
    for key, measure in comparison.measures.items():
        cells = cells_frame(runs, methods, measure)
        block[[key, f"{key}_std", f"{key}_scored"]] = cells[["value", "std", "n_scored"]].to_numpy()
        block["n_runs"] = cells["n_runs"].to_numpy()
    return block


def modalities_table(comparison: Comparison, frame: pd.DataFrame, *, note: str) -> PrintedTable:
    """The `modalities_frame` as a table: a method's rows are what it was shown."""
    rows = tuple(
        Row(str(row["method"]), _shown(str(row["without"])), _cells(comparison, row))
        for row in frame.to_dict("records")
    )
    headings = [measure.heading for measure in comparison.measures.values()]
    return PrintedTable(
        number=f"{comparison.name} (missing modalities)",
        title=titled("Scores of the same trained networks where a modality is missing", note),
        stub=("Method", "Shown"),
        columns=(*headings, "Answers by", "Masks unchanged"),
        rows=rows,
        notes=tuple(modalities_notes(frame)),
        align="r" * len(headings) + "l",
    )


def _shown(modality: str) -> str:
    return f"without {modality}" if modality else "all"


def _cells(comparison: Comparison, row: Mapping[Any, Any]) -> tuple[Cell, ...]:
    partial = PARTIAL if row["n_runs"] < row["n_finished"] else ""
    values = []
    for key in comparison.measures:
        part = {
            "own": row[key],
            "own_bold": False,
            "own_underlined": False,
            "std": row[f"{key}_std"],
            "undefined": row[f"{key}_scored"] > 0 and pd.isna(row[key]),
            "partial": bool(partial),
            "address": row["address"],
        }
        values.append(own_cell(part))
    if not row["without"]:
        return (*values, (Span(""),), (Span(""),))
    masks = f"{row['n_unchanged']} of {row['n_compared']}" if row["n_compared"] else MISSING
    linked = "" if masks == MISSING else row["address"]
    return (*values, (Span(row["manner"]),), (Span(masks, address=linked),))


def modalities_notes(frame: pd.DataFrame) -> Iterator[str]:
    """What was done, and which methods do not look at a modality at all."""
    yield (
        "No network was retrained: each was trained with all modalities and predicts without one. Own answer: the "
        "method says how it predicts then; zeros: it has no answer, and sees zeros in place of the prepared images. "
        "Images keep the crop that all modalities together were prepared with."
    )
    yield (
        "Masks unchanged: label maps that equal, voxel by voxel, those predicted from all modalities, empty ones "
        "included; test cases of all runs that were evaluated so. Scores with all modalities are of the same runs."
    )
    answered = frame[frame["manner"].eq(OWN_ANSWER) & frame["n_compared"].gt(0)]
    same = answered[answered["n_unchanged"] == answered["n_compared"]]
    for modality, rows in same.groupby("without", sort=False):
        yield f"Not needed to predict: {modality} by {enumerated(list(rows['method']))}."
    keys = [str(column).removesuffix("_scored") for column in frame if str(column).endswith("_scored")]
    if any((frame["without"].ne(COMPLETE) & frame[f"{key}_scored"].eq(0)).any() for key in keys):
        yield f"{MISSING} in a region that the method cannot tell from what it was shown."
    if frame["n_runs"].lt(frame["n_finished"]).any():
        yield f"{PARTIAL} not all finished runs of the method were evaluated so."


def modalities_csv(comparison: Comparison, frame: pd.DataFrame) -> pd.DataFrame:
    """The numbers of the table alone."""
    values: Sequence[str] = [name for key in comparison.measures for name in (key, f"{key}_std")]
    facts = ["manner", "n_unchanged", "n_compared", "changed_voxels", "n_runs", "n_finished"]
    return frame[["method", "without", *values, *facts]]
