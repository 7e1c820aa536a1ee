"""The scores of single cases by method and region: the numbers of the box plots."""

from __future__ import annotations

import pandas as pd

from reports.ground.boxes import box_statistics
from reports.ground.measures import DICE, HD95
from reports.ground.runs import scored_in
from reports.ground.score_files import SOURCE
from reports.tables.comparison.frames import Comparison, methods

SHOWN = {measure.metric: measure for measure in (DICE, HD95)}
BOX = ["metric", "region", "method"]


def box_cases(comparison: Comparison, planned: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """One row per metric (Dice, HD95), region, method and test case, from `planned_runs` and
    `reported_scores`.

    `value` in the printed unit and `missed`, `invented` (shares between 0 and 1; NaN where they were not
    scored) are means over the case's `n_seeds` runs. Methods in the table's order, regions in the data set's;
    what was not scored has no rows.
    """
    done = planned.loc[planned["state"] == "done", ["method", *SOURCE]].astype(scores[SOURCE].dtypes)
    keys = ["region", "method", "case_id"]
    wide = (
        done.merge(scores, on=["run_id", "reading"])
        .pivot_table(
            index=[*keys, "run_id", "reading"], columns="metric", values="value", dropna=False, observed=True
        )
        .dropna(how="all")
    )
    by_case = wide.groupby(level=keys, sort=False)
    cases = by_case.mean().assign(n_seeds=by_case.size())
    for name in (*SHOWN, "missed", "invented"):
        if name not in cases:
            cases[name] = float("nan")
    blocks = [
        cases.assign(metric=metric, value=cases[metric] * measure.scale).reset_index()
        for metric, measure in SHOWN.items()
        if metric in wide
    ]
    columns = [*BOX, "case_id", "n_seeds", "value", "missed", "invented"]
    if not blocks:
        return pd.DataFrame(columns=columns)
    names = dict.fromkeys(keys, str)
    frame = pd.concat([block.astype(names) for block in blocks], ignore_index=True)[columns]
    orders = {
        "metric": list(SHOWN),
        "region": list(scored_in(scores).regions),
        "method": list(methods(comparison, planned)["method"]),
    }
    ranked = frame.assign(**{name: frame[name].map(order.index) for name, order in orders.items()})
    return frame.loc[ranked.sort_values([*BOX, "case_id"]).index].reset_index(drop=True)


def boxes(cases: pd.DataFrame) -> pd.DataFrame:
    """One row per metric, region and method: the `box_statistics` of its cases, and `n_missed` and
    `n_invented`.

    These count the cases in which at least one of the runs missed or invented the whole structure; NaN: not
    scored.
    """
    frame = box_statistics(cases, BOX)
    for name in ("missed", "invented"):
        counts = cases.groupby(BOX, sort=False)[name].agg(
            lambda shares: shares.gt(0).sum() if shares.notna().any() else float("nan")
        )
        frame[f"n_{name}"] = counts.to_numpy()
    return frame
