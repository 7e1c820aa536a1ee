"""Judged claims as frames: one row a claim and source, one row a comparison."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from reports.claims.judging import Judged
from reports.claims.language import Caveat, Claim

CLAIM = ["claim", "table", "place", "says", "reading", "kind"]
JUDGEMENT = [
    "source",
    "verdict",
    "sentence",
    "effect",
    "unit",
    "decisive",
    "low",
    "high",
    "covers",
    "probability",
    "p",
    "p_adjusted",
    "n_patients",
    "n_comparisons",
    "n_against",
    "cells",
    "counterexamples",
    "missing",
    "caveats",
]
BETWEEN = "; "


def claims_frame(judged: Sequence[Judged]) -> pd.DataFrame:
    """One row a claim and source, with everything that was found.

    `effect`, `low` and `high` are in `unit`; NaN where there is none. Cells, counterexamples, missing cells and
    caveats are lists in one text.
    """
    rows = [{**_said(one.stated.claim), **_found(one)} for one in judged]
    return pd.DataFrame(rows, columns=[*CLAIM, *JUDGEMENT])


def _said(claim: Claim) -> dict[str, str]:
    return {
        "claim": claim.id,
        "table": claim.table or "",
        "place": claim.place,
        "says": claim.says,
        "reading": claim.reading,
        "kind": claim.kind,
    }


def _found(one: Judged) -> dict[str, object]:
    interval = one.interval if one.interval is not None and one.interval.known else None
    return {
        "source": one.source,
        "verdict": one.verdict,
        "sentence": one.sentence,
        "effect": one.effect,
        "unit": one.unit,
        "decisive": one.decisive,
        "low": interval.low if interval is not None else float("nan"),
        "high": interval.high if interval is not None else float("nan"),
        "covers": interval.covers if interval is not None else "",
        "probability": one.probability,
        "p": one.p,
        "p_adjusted": one.p_adjusted,
        "n_patients": one.n_patients,
        "n_comparisons": len(one.findings),
        "n_against": one.n_against,
        "cells": BETWEEN.join(one.cells),
        "counterexamples": BETWEEN.join(one.counterexamples),
        "missing": BETWEEN.join(one.missing),
        "caveats": BETWEEN.join(map(caveat_text, one.stated.claim.caveats)),
    }


def caveat_text(caveat: Caveat) -> str:
    """A caveat in one line, with its counts of weights."""
    counts = ", ".join(f"{name} {count:,}" for name, count in caveat.parameters.items())
    return f"{caveat.text} {counts}." if counts else caveat.text


def comparisons_frame(judged: Sequence[Judged]) -> pd.DataFrame:
    """One row for every comparison of every claim and source.

    `left`, `right`, `margin` and its interval are in the printed unit; `holds` is yes, no, or empty where it is
    unknown or a tie; the p are one-sided.
    """
    rows = [
        {
            "claim": one.id,
            "source": one.source,
            "comparison": finding.comparison.text,
            "left": finding.left,
            "right": finding.right,
            "margin": finding.margin,
            "holds": {True: "yes", False: "no", None: ""}[finding.holds],
            "low": finding.interval.low if finding.interval is not None else float("nan"),
            "high": finding.interval.high if finding.interval is not None else float("nan"),
            "p_holds": finding.p_holds,
            "p_fails": finding.p_fails,
            "n_patients": finding.n_patients,
            "missing": BETWEEN.join(finding.missing),
        }
        for one in judged
        for finding in one.findings
    ]
    columns = [
        *("claim", "source", "comparison", "left", "right", "margin", "holds"),
        *("low", "high", "p_holds", "p_fails", "n_patients", "missing"),
    ]
    return pd.DataFrame(rows, columns=columns)
