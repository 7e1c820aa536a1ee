"""How a table says which of its numbers can be told apart: marks, notes, and a table of the statistics themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from reports.frames import DECIMALS
from reports.measures import Measures
from reports.notes import MISSING, UNDEFINED, Frames
from reports.printing import Cell, Row, Span
from reports.statistics.best import ALPHA, AgainstBest, Grouping
from reports.statistics.resampling import MIN_PATIENTS
from reports.words import counted, enumerated, p_text

Found = Mapping[str, AgainstBest]
"""By measure."""
ENOUGH_SEEDS = 5
"""With fewer, resampled seeds show too little of what training anew changes."""


def with_statistics(own: Frames, found: Found, groupings: Sequence[Grouping]) -> dict[str, pd.DataFrame]:
    """Each `cells_frame` with `low`, `high`, `confidence`, `covers`, and `marks`, the signs behind its numbers."""
    return {
        key: _with_intervals(frame, found[key]).assign(marks=found[key].marks(groupings))
        for key, frame in own.items()
    }


def _with_intervals(frame: pd.DataFrame, found: AgainstBest) -> pd.DataFrame:
    return pd.concat([frame.reset_index(drop=True), found.cells], axis="columns")


def statistics_frame(
    own: Frames, found: Found, *, keys: Sequence[str], label: Callable[[Mapping[Any, Any]], str]
) -> pd.DataFrame:
    """One row a measure, cell with a run, and grouping: every number of the statistics, in the printed unit.

    `measure`, the table's keys, `mean`, `low`, `high`, `confidence`, `covers`, `n_used` cases, `n_undefined` (scored,
    without a value), `n_missed`; then what `AgainstBest.frame` says, `best` by its label.
    """
    blocks = []
    for key, frame in own.items():
        cells = _with_intervals(frame[list(keys)].assign(mean=frame["value"]), found[key]).assign(
            n_used=frame["n_defined"],
            n_undefined=frame["n_scored"] - frame["n_defined"],
            n_missed=frame["n_missed"],
            cell=range(len(frame)),
        )
        names = [label(cell) for cell in frame.to_dict("records")]
        compared = found[key].frame.assign(best=[names[best] for best in found[key].frame["best"]])
        block = cells[frame["n_runs"] > 0].merge(compared, how="left", on="cell")
        block.insert(0, "measure", key)
        blocks.append(block.drop(columns="cell"))
    return pd.concat(blocks, ignore_index=True)


def pairs_frame(own: Frames, found: Found, *, label: Callable[[Mapping[Any, Any]], str]) -> pd.DataFrame:
    """One row a pair that was tested: `measure`, `first`, `second`, `p`, `p_adjusted`."""
    blocks = []
    for key, frame in own.items():
        names = [label(cell) for cell in frame.to_dict("records")]
        pairs = found[key].pairs
        block = pairs.assign(**{side: [names[cell] for cell in pairs[side]] for side in ("first", "second")})
        block.insert(0, "measure", key)
        blocks.append(block)
    return pd.concat(blocks, ignore_index=True)


def statistics_columns(groupings: Sequence[Grouping]) -> tuple[str, ...]:
    """The columns of a printed table of statistics."""
    of_grouping = [
        heading
        for grouping in groupings
        for heading in (f"Difference to the best{_of(grouping, groupings)}", "p (Holm)", "Effect")
    ]
    return ("Mean", "95 % interval", "n used", "n undefined", "n missed", *of_grouping)


def _of(grouping: Grouping, groupings: Sequence[Grouping]) -> str:
    return f" of its {grouping.called}" if len(groupings) > 1 else ""


def statistics_rows(
    frame: pd.DataFrame,
    groupings: Sequence[Grouping],
    *,
    keys: Sequence[str],
    names: Callable[[Mapping[Any, Any]], tuple[str, str]],
) -> tuple[Row, ...]:
    """The rows of a printed table of statistics, from a `statistics_frame`; `names` are a row's group and label."""
    rows = []
    for _, ways in frame.groupby(["measure", *keys], sort=False):
        first = ways.to_dict("records")[0]
        by_grouping = {record["against"]: record for record in ways.to_dict("records")}
        cells = [_value(first), _bounds(first["low"], first["high"])]
        cells += [(Span(_count(first[name])),) for name in ("n_used", "n_undefined", "n_missed")]
        for grouping in groupings:
            cells += _against(by_grouping.get(grouping.called))
        rows.append(Row(*names(first), tuple(cells)))
    return tuple(rows)


def _value(record: Mapping[Any, Any]) -> Cell:
    return (Span(UNDEFINED if pd.isna(record["mean"]) else DECIMALS.format(record["mean"])),)


def _bounds(low: float, high: float) -> Cell:
    return (Span(MISSING if pd.isna(low) else f"{signed(low)} to {signed(high)}"),)


def signed(value: float) -> str:
    """Two decimals, with a minus as in print."""
    size = DECIMALS.format(abs(value))
    return f"−{size}" if value < 0 and float(size) else size


def _count(value: float) -> str:
    return MISSING if pd.isna(value) else f"{value:.1f}".removesuffix(".0")


def _against(record: Mapping[Any, Any] | None) -> list[Cell]:
    if record is None or pd.isna(record["best"]):
        return [(Span(MISSING),)] * 3
    if pd.isna(record["difference"]):
        return [(Span("best"),), (Span(""),), (Span(""),)]
    low, high = record["difference_low"], record["difference_high"]
    bounds = "" if pd.isna(low) else f" ({signed(low)} to {signed(high)})"
    effect = MISSING if pd.isna(record["effect"]) else signed(record["effect"])
    return [
        (Span(signed(record["difference"]) + bounds),),
        (Span(p_text(record["p_adjusted"])),),
        (Span(effect),),
    ]


STATISTICS_NOTE = (
    "Difference: cell − best, the mean over the cases both have, within folds, then over folds; its interval is that "
    "of one comparison, p is adjusted. Effect: matched-pairs rank-biserial correlation, −1 where the best has the "
    "higher value in every patient. All pairs that were tested are in the CSV of the cells."
)


def best_notes(
    found: Found, groupings: Sequence[Grouping], measures: Measures, *, noun: str
) -> Iterator[str]:
    """What the marks mean, or why there are none, and what the intervals cover."""
    judged = [key for key in found if found[key].can_tell]
    if judged:
        yield _meaning({key: found[key] for key in judged}, groupings, measures, noun=noun)
    for reason, keys in _silent(found, noun=noun).items():
        names = "" if not judged and len(keys) == len(found) else f" of the {_names(keys, measures)}"
        yield f"No differences{names} are marked: {reason}."
    if any(each.cells["low"].notna().any() for each in found.values()):
        yield from _covered(found)


def _meaning(found: Found, groupings: Sequence[Grouping], measures: Measures, *, noun: str) -> str:
    signs = [f"{grouping.mark} not told from the best{_of(grouping, groupings)}" for grouping in groupings]
    tested = next(iter(found.values())).n_tested
    by_count: dict[int, list[str]] = {}
    for key, each in found.items():
        by_count.setdefault(each.n_patients, []).append(key)
    patients = [
        counted(n, "patient") + (f" ({_names(keys, measures)})" if len(by_count) > 1 else "")
        for n, keys in by_count.items()
    ]
    within = f" within a {groupings[-1].called}" if groupings[-1].by else ""
    return (
        f"{', '.join(signs)}: p ≥ {ALPHA:g}, two-sided Wilcoxon signed-rank test (zeros after Pratt) over the mean "
        f"differences of {enumerated(patients)}. p is Holm's over all {counted(tested, 'pair')} of {noun}s{within}, "
        f"since the best is chosen by its value. Without a mark: the best itself, or p < {ALPHA:g}."
    )


def _silent(found: Found, *, noun: str) -> dict[str, list[str]]:
    """Why nothing can be marked in some measures: the measures by reason."""
    reasons: dict[str, list[str]] = {}
    for key, each in found.items():
        if each.can_tell:
            continue
        patients = counted(each.n_patients, "patient")
        if each.n_patients < MIN_PATIENTS:
            reason = (
                f"a test needs {MIN_PATIENTS} patients with a value, and there are {each.n_patients}; with fewer no "
                f"two-sided p can be below {ALPHA:g}"
            )
        elif each.frame.empty:
            reason = f"there are not two {noun}s to compare"
        else:
            reason = (
                f"with {patients} and {counted(each.n_tested, 'pair')} no adjusted p can be below {ALPHA:g}"
            )
        reasons.setdefault(reason, []).append(key)
    return reasons


def _covered(found: Found) -> Iterator[str]:
    kinds = {covers for each in found.values() for covers in each.cells["covers"].unique()}
    n_seeds = max(each.n_seeds for each in found.values())
    if "patients and seeds" in kinds:
        few = f"; {n_seeds} seeds show too little of it" if n_seeds < ENOUGH_SEEDS else ""
        yield (
            "95 % intervals (bootstrap of patients within folds, and of seeds) are in the table of statistics; they "
            f"cover other patients and training anew{few}. p is of these trainings, on other patients."
        )
        return
    why = "over one seed they do not" if n_seeds == 1 else "since not all have two seeds, they do not"
    yield (
        "95 % intervals (bootstrap of patients within folds) are in the table of statistics. Like p, they cover other "
        f"patients; {why} cover training anew."
    )


def _names(keys: Sequence[str], measures: Measures) -> str:
    return enumerated([measures[key].name for key in keys])
