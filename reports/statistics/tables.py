"""The standings of a table's cells in print: a table of statistics, and the sentences under the table itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from reports.ground.addresses import together
from reports.ground.cells import WITHIN
from reports.ground.frames import DECIMALS
from reports.ground.measures import Measure, Measures
from reports.ground.notes import MISSING
from reports.ground.printing import Cell, PrintedTable, Row, Span
from reports.ground.words import enumerated, p_text, signed, spread
from reports.statistics.resampling import MIN_PATIENTS
from reports.statistics.standing import LEVEL, Grouping


def statistics_table(
    frames: Mapping[str, pd.DataFrame],
    groupings: Sequence[Grouping],
    *,
    measures: Measures,
    label: Callable[[Mapping[Any, Any]], tuple[str, str]],
    number: str,
    title: str,
    stub: tuple[str, ...],
) -> PrintedTable:
    """The `standings` of every measure: a row a cell and measure. `label` gives a row's group and its label.

    Columns: the mean with its interval, standard deviation and median of the cases, counts, and for every grouping the
    distance to the best, p and effect. Where frames have a column `address`, the means and counts have it, and
    comparisons that of both cells.
    """
    rows = [
        _row(record, groupings, measures[key], bests, several=len(frames) > 1, label=label)
        for key, frame in frames.items()
        for bests in (_bests(frame, groupings),)
        for record in frame.to_dict("records")
    ]
    bounded = " [95 %]" if any(frame["low"].notna().any() for frame in frames.values()) else ""
    against = [
        column
        for grouping in groupings
        for column in (f"Best of {grouping.best_of} − this{bounded}", "p (Holm)", "Rank-biserial r")
    ]
    measure = ("Metric",) if len(frames) > 1 else ()
    return PrintedTable(
        number=number,
        title=title,
        stub=stub,
        columns=(
            *measure,
            f"Mean{bounded}",
            "SD",
            "Median",
            "n used",
            "n undefined",
            "n missed lesions",
            *against,
        ),
        rows=tuple(rows),
        notes=tuple(statistics_notes(frames, groupings, measures, label=label)),
        align="l" if measure else "",
    )


def _row(
    record: Mapping[Any, Any],
    groupings: Sequence[Grouping],
    measure: Measure,
    bests: Bests,
    *,
    several: bool,
    label: Callable[[Mapping[Any, Any]], tuple[str, str]],
) -> Row:
    group, name = label(record)
    value = DECIMALS.format(record["value"]) if not pd.isna(record["value"]) else MISSING
    bounds = _bounds(record["low"], record["high"])
    linked = record.get("address", "") if value != MISSING else ""
    cells: list[Cell] = [(Span(measure.title),)] if several else []
    cells.append((Span(value, address=linked), Span(bounds)))
    cells += [
        (Span(DECIMALS.format(record[name]), address=linked) if not pd.isna(record[name]) else Span(MISSING),)
        for name in ("sd", "median")
    ]
    known = not pd.isna(record["n_missed"])
    texts = [str(int(record["n_used"])), str(int(record["n_undefined"]))]
    texts.append(f"{record['n_missed']:.0f} of {record['n_lesions']:.0f}" if known else MISSING)
    cells += [(Span(text, address=linked if text != MISSING else ""),) for text in texts]
    for grouping in groupings:
        best = bests.get(_group(record, grouping), "")
        cells += _against(record, grouping.name, together(best, linked) if best and linked else "")
    return Row(group, name, tuple(cells))


Bests = Mapping[tuple[str, ...], str]
"""By a grouping's name and what its group has in common: the address of the group's best."""


def _bests(frame: pd.DataFrame, groupings: Sequence[Grouping]) -> Bests:
    return {
        _group(record, grouping): record["address"]
        for grouping in groupings
        for record in frame[frame[f"{grouping.name}_best"]].to_dict("records")
        if "address" in record
    }


def _group(record: Mapping[Any, Any], grouping: Grouping) -> tuple[str, ...]:
    return grouping.name, *(str(record[column]) for column in grouping.within)


def _against(record: Mapping[Any, Any], name: str, linked: str) -> list[Cell]:
    if record[f"{name}_best"]:
        return [(Span("best", bold=True),), (Span(""),), (Span(""),)]
    if pd.isna(record[f"{name}_difference"]):
        return [(Span(MISSING),)] * 3
    difference = (
        f"{signed(record[f'{name}_difference'])}{_bounds(record[f'{name}_low'], record[f'{name}_high'])}"
    )
    effect = record[f"{name}_effect"]
    shown = MISSING if pd.isna(effect) else signed(effect)
    texts = (difference, p_text(record[f"{name}_p_adjusted"]), shown)
    return [(Span(text, address=linked if text != MISSING else ""),) for text in texts]


def _bounds(low: float, high: float) -> str:
    return "" if pd.isna(low) else f" [{signed(low, plus='')}, {signed(high, plus='')}]"


def statistics_notes(
    frames: Mapping[str, pd.DataFrame],
    groupings: Sequence[Grouping],
    measures: Measures,
    *,
    label: Callable[[Mapping[Any, Any]], tuple[str, str]],
) -> Iterator[str]:
    """What the columns are, which chance the intervals cover, and what a missing p means."""
    yield covers_note(frames) or (
        f"Fewer than {MIN_PATIENTS} patients have a value: there are no intervals, tests or effect sizes."
    )
    if groupings:
        yield (
            "The best is compared with each other cell of its group on the cases that both have. p: Wilcoxon's "
            "signed-rank test over patients, two-sided, zeros after Pratt, adjusted by Holm over all pairs of cells "
            "that compete, since the best was chosen by the same scores. r: matched-pairs rank-biserial correlation, "
            "from −1 to 1, above 0 where the best has the higher scores. p and r are of the trainings at hand, whose "
            "scores of a patient are averaged; retraining is in the intervals alone."
        )
        yield from _families(frames, groupings)
        yield from zeros_notes(frames, groupings, measures, label=label)
    yield (
        "SD (n − 1) and median: of the cases with a defined score, each averaged over its seeds, whatever their fold. "
        "n used: cases with a defined score. n undefined: scored cases without one. n missed lesions: "
        "18-connected components of the reference of which no voxel was found, of all, over all finished runs."
    )
    yield from unjudged_note(frames, groupings, measures)


def zeros_notes(
    frames: Mapping[str, pd.DataFrame],
    groupings: Sequence[Grouping],
    measures: Measures,
    *,
    label: Callable[[Mapping[Any, Any]], tuple[str, str]],
) -> Iterator[str]:
    """Where patients without a difference decide: how many there are, and what other rules for them give."""
    for g in groupings:
        for key, frame in frames.items():
            for record in frame[frame[f"{g.name}_disputed"]].to_dict("records"):
                group, name = label(record)
                cell = f"{group}, {name}" if group else name
                by_rule = [
                    f"{p_text(record[f'{g.name}_{column}'])} {words}"
                    if not pd.isna(record[f"{g.name}_{column}"])
                    else f"none {words}"
                    for column, words in (
                        ("p_adjusted", "after Pratt"),
                        ("p_zsplit", "where zeros are split between the signs"),
                        ("p_wilcox", "without them"),
                    )
                ]
                yield (
                    f"{measures[key].name} of {cell} against the best of {g.best_of}: "
                    f"{record[f'{g.name}_n_zero']:.0f} of {record[f'{g.name}_n_patients']:.0f} patients have no "
                    f"difference, and the rule for them decides about the sign. p (Holm): {', '.join(by_rule)}."
                )


def covers_note(frames: Mapping[str, pd.DataFrame]) -> str:
    """What the intervals cover; empty where there are none."""
    known = [frame for frame in frames.values() if frame["low"].notna().any()]
    if not known:
        return ""
    scheme = "95 % intervals: bootstrap, patients drawn within folds with all their cases"
    if {str(cover) for frame in known for cover in frame["covers"]} == {"patients and seeds"}:
        return (
            f"{scheme}, and seeds; Student's t with Satterthwaite's degrees of freedom. They cover other patients and "
            "retraining (instead of 95 %, with two seeds 84 to 97 % of them do, with three 90 % or more)."
        )
    return (
        f"{scheme}. They cover other patients, not retraining: for that every cell needs two seeds or more "
        "(--seeds 0,1,2)."
    )


def unjudged_note(
    frames: Mapping[str, pd.DataFrame], groupings: Sequence[Grouping], measures: Measures
) -> Iterator[str]:
    """Where nothing is marked because nothing could be significant."""
    for g in groupings:
        compared = [key for key, frame in frames.items() if frame[f"{g.name}_difference"].notna().any()]
        silent = [key for key in compared if not frames[key][f"{g.name}_judged"].any()]
        if silent:
            of = "" if silent == compared else f" in {enumerated([measures[key].name for key in silent])}"
            yield (
                f"Differences from the best of {g.best_of}{of} are not marked: with so few patients and so many pairs "
                f"none could be significant (at least {MIN_PATIENTS} patients, and 2 / 2^n at most {LEVEL:g} / pairs)."
            )


def standing_notes(
    frames: Mapping[str, pd.DataFrame], groupings: Sequence[Grouping], *, measures: Measures, where: str
) -> Iterator[str]:
    """What stands under the table itself: the marks, and n used, undefined and missed.

    `where` names the table of statistics.
    """
    judged = [g for g in groupings if any(frame[f"{g.name}_judged"].any() for frame in frames.values())]
    for g in judged:
        yield f"{g.mark} is not significantly different from the best of {g.best_of}."
    if judged:
        yield (
            f"Significantly different from the best: p at most {LEVEL:g} (Wilcoxon's signed-rank test over patients, "
            "Pratt, Holm over all pairs that compete), and the 95 % interval of the difference "
            "does not hold 0, both in favour of the best. Numbers without such a sign are the best, or worse than it. "
            f"Intervals, p and effects: {where}."
        )
    for g in judged:
        counts = {measures[key].name: int(frame[f"{g.name}_disputed"].sum()) for key, frame in frames.items()}
        if each := [f"{n} in {name}" for name, n in counts.items() if n]:
            yield (
                f"{g.mark} depends on what the test does with patients without a difference in {enumerated(each)}: "
                f"{where} says what other rules give."
            )
    yield from _uncompared(frames, groupings, measures)
    yield from unjudged_note(frames, groupings, measures)
    yield from count_notes(frames, measures)


def _families(frames: Mapping[str, pd.DataFrame], groupings: Sequence[Grouping]) -> Iterator[str]:
    """Over how many pairs Holm's correction runs."""
    first = next(iter(frames.values()))
    counts = {g.best_of: int(first[f"{g.name}_n_pairs"].max()) for g in groupings if len(first)}
    each = [f"{n} pairs for the best of {of}" for of, n in counts.items() if n]
    if each:
        together = ", of all metrics of this table together" if len(frames) > 1 else ""
        apart = ", each by itself" if len(each) > 1 else ""
        yield f"Holm's correction is over {enumerated(each)}{together}{apart}."


def _uncompared(
    frames: Mapping[str, pd.DataFrame], groupings: Sequence[Grouping], measures: Measures
) -> Iterator[str]:
    """Numbers without a sign that were not compared with the best, for want of patients."""
    for g in groupings:
        counts = {}
        for key, frame in frames.items():
            lacking = frame[f"{g.name}_judged"] & frame[f"{g.name}_rival"] & frame[f"{g.name}_p"].isna()
            if lacking.any():
                counts[measures[key].name] = int(lacking.sum())
        if counts:
            each = [f"{n} in {name}" for name, n in counts.items()]
            yield (
                f"Not compared with the best of {g.best_of}, and without a sign: {enumerated(each)}; fewer than "
                f"{MIN_PATIENTS} patients have both."
            )


def count_notes(frames: Mapping[str, pd.DataFrame], measures: Measures) -> Iterator[str]:
    """n used, n undefined and n missed, over the cells that have scores."""
    said: dict[str, list[str]] = {}
    for key, frame in frames.items():
        begun = frame[frame["n_used"].add(frame["n_undefined"]).gt(0)]
        if begun.empty:
            continue
        counts = f"n used {spread(begun['n_used'])}, n undefined {spread(begun['n_undefined'])}"
        counted = begun[begun["n_missed"].notna()]
        if not counted.empty:
            missed, whole = spread(counted["n_missed"]), spread(counted["n_lesions"])
            counts += f", n missed lesions {missed} of {whole}"
        said.setdefault(counts, []).append(measures[key].name)
    for counts, names in said.items():
        yield (
            f"{enumerated(names)}: {counts} (cases of a number; lesions: components of the reference, missed where no "
            "voxel was found, over all runs)."
        )


def within_note(frame: pd.DataFrame, paper: pd.DataFrame, *, on: Sequence[str]) -> str:
    """What the sign behind a difference to a published number means; empty where there is none.

    `frame` has the `standings`, `paper` the published `value` of the same cells.
    """
    keys = list(on)
    both = frame[[*keys, "low", "high"]].merge(paper[[*keys, "value"]], on=keys)
    if not both["value"].between(both["low"], both["high"]).any():
        return ""
    return (
        f"{WITHIN} behind a difference: the published number lies within the own number's 95 % interval; the published "
        "one has an uncertainty of its own that nobody printed."
    )
