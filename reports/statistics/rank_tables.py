"""Rank stability of a table of methods as it is printed, drawn and written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import pandas as pd

from benchmark.vocabulary import BenchError
from reports.ground.cells import titled
from reports.ground.frames import DECIMALS
from reports.ground.measures import Measure
from reports.ground.printing import PrintedTable, Row, Span
from reports.ground.words import counted
from reports.ground.writer import Outputs, ReadyFigure, ReadyTable
from reports.statistics.rank_figure import CAPTION, draw_ranks
from reports.statistics.ranks import Ranking, rankings
from reports.statistics.scores import CaseScores

COLUMNS = ("Rank", "Mean rank", "95 % of ranks", "First in [%]")


def rank_tables(
    scores: Sequence[CaseScores],
    names: Sequence[str],
    *,
    address_of: Callable[[str, Measure], str],
    number: str,
    stem: str,
    note: str = "",
) -> Outputs:
    """The ranks of methods in every measure: a table each, and one figure; `names` are the rows' of `scores`.

    `address_of` gives the address of a name's number; `note` goes into the titles.
    """
    found: dict[str, Ranking] = {}
    reasons = []
    for measure_scores in scores:
        try:
            found[measure_scores.measure.heading] = rankings(measure_scores, names)[""]
        except BenchError as error:
            reasons.append(f"Rank stability of Table {number}: {error}")
    if not found:
        return Outputs(reasons=tuple(reasons))
    by_key = {ranking.measure.key: ranking for ranking in found.values()}
    frame = ranks_frame(by_key, "metric", "method")
    table = ReadyTable(
        tuple(ranks_table(one, address_of=address_of, number=number, note=note) for one in found.values()),
        layout=frame.drop(columns=["tau", "tau_low", "tau_high"]).round(2),
        cells=frame,
        stem=f"{stem}_ranks",
    )
    title = titled(f"Table {number}: stability of the ranks", note)
    figure = ReadyFigure(
        partial(draw_ranks, found, title),
        title,
        CAPTION,
        shares_frame(by_key, "metric", "method"),
        f"{stem}_rank_figure",
    )
    return Outputs((table,), (figure,), tuple(reasons))


def ranks_table(
    ranking: Ranking, *, address_of: Callable[[str, Measure], str], number: str, note: str = ""
) -> PrintedTable:
    """One ranking, best first; bold are those whose interval of ranks reaches the first place."""
    rows = []
    for row in ranking.frame.to_dict("records"):
        texts = (
            DECIMALS.format(row["value"]),
            f"{row['rank']:g}",
            f"{row['mean_rank']:.1f}",
            f"{row['low']:.0f} to {row['high']:.0f}",
            f"{row['first']:.0f}",
        )
        linked = address_of(row["name"], ranking.measure)
        spans = [Span(text, bold=row["low"] <= 1, address=linked) for text in texts]
        rows.append(Row("", str(row["name"]), tuple((span,) for span in spans)))
    return PrintedTable(
        number=f"{number} (ranks, {ranking.measure.name})",
        title=titled(f"Ranks by mean {ranking.measure.title} in resamples of the patients", note),
        stub=("Method",),
        columns=(ranking.measure.heading, *COLUMNS),
        rows=tuple(rows),
        notes=("Bold: 95 % of the ranks include the first.", *rank_notes({"": ranking})),
    )


def rank_notes(rankings: Mapping[str, Ranking]) -> Iterator[str]:
    """What must be known to read ranks; the rankings are of the same measure and resamples."""
    first = next(iter(rankings.values()))
    drawn = "within folds" if first.covers == "patients" else "within folds, and seeds,"
    yield (
        f"Ranks in {first.n_resamples} resamples in which {counted(first.n_patients, 'patient')} "
        f"({counted(first.n_cases, 'case')} with a value) are drawn again {drawn} the same for every row; 1 "
        "is the best; equal means share their ranks and, where they are the best, the first place."
    )
    taus = [
        f"{name + ' ' if name else ''}{one.tau:.2f}{_tau_interval(one)}" for name, one in rankings.items()
    ]
    yield f"Kendall's tau-b between a resample's order and that of all patients, median and 95 %: {'; '.join(taus)}."
    if first.covers == "patients":
        yield "Retraining (with another seed) would change ranks further; that is in none of these numbers."
    else:
        yield (
            "Of few seeds little is known of retraining: with fewer than five the 95 % of the ranks are too narrow "
            "where training noise is large."
        )
    yield (
        "These shares are no p values: where true means are close, resamples are too sure of the order that "
        "was seen. Whether two rows differ is a paired comparison's question."
    )
    for one in rankings.values():
        if one.left_out:
            yield one.left_out


def _tau_interval(ranking: Ranking) -> str:
    known = ranking.tau_interval
    return f" ({known.low:.2f} to {known.high:.2f})" if known.known else ""


def ranks_frame(rankings: Mapping[str, Ranking], key: str, name: str) -> pd.DataFrame:
    """All rankings' frames under one another, with the ranking's name as the column `key`, and its tau."""
    frames = [
        one.frame.rename(columns={"name": name}).assign(
            tau=one.tau, tau_low=one.tau_interval.low, tau_high=one.tau_interval.high
        )
        for one in rankings.values()
    ]
    return pd.concat(frames, keys=list(rankings), names=[key, None]).reset_index(0).reset_index(drop=True)


def shares_frame(rankings: Mapping[str, Ranking], key: str, name: str) -> pd.DataFrame:
    """How often every row takes every rank: the points of the figure."""
    frames = [one.shares.rename(columns={"name": name}) for one in rankings.values()]
    return pd.concat(frames, keys=list(rankings), names=[key, None]).reset_index(0).reset_index(drop=True)
