"""The sentences under every table: over how many runs and cases its numbers are, and how they were made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from reports.ground.frames import TableFacts, progress
from reports.ground.measures import MEASURES, Measures
from reports.ground.words import counted, enumerated, listed, spread

MISSING = "–"
UNDEFINED = "n/a"
PARTIAL = "†"
COUNTS = ["n_runs", "n_expected", "n_seeds", "n_folds", "n_cases"]

Frames = Mapping[str, pd.DataFrame]
"""The `cells_frame` of each measure a table shows, by its key, all with the same cells."""


def own_notes(
    own: Frames, behind: TableFacts, *, noun: str = "cell", measures: Measures = MEASURES
) -> Iterator[str]:
    """All that is to be said of own numbers: progress, counts, conditions, and what the marks mean."""
    names = {key: measures[key].name for key in own}
    yield from behind.unsound
    yield progress_note(next(iter(own.values())), behind, noun=noun)
    yield from _counts(own, names, behind, noun=noun)
    yield from _conditions(behind, noun=noun)
    yield from _marks(own, names, noun=noun)


def uniform_counts(own: Frames) -> bool:
    """Whether all numbers of a metric stand on the same counts of runs, seeds, folds and cases."""
    return all(
        len(frame.loc[frame["n_runs"] > 0, [*COUNTS, "n_defined"]].drop_duplicates()) <= 1
        for frame in own.values()
    )


def progress_note(own: pd.DataFrame, behind: TableFacts, *, noun: str = "cell") -> str:
    """How far the grid is, and how its means are taken."""
    cells = progress(own)
    partial = f", {cells.n_partial} more in part" if cells.n_partial else ""
    unsupported = f", {cells.n_unsupported} unsupported" if cells.n_unsupported else ""
    others = [f"{count} {state}" for state, count in sorted(behind.states.items()) if state != "done"]
    states = f" ({', '.join(others)})" if others else ""
    deviation = "; ± is the standard deviation over seeds" if own["std"].notna().any() else ""
    return (
        f"Own numbers: {cells.n_done} of {counted(cells.n_cells, noun)} complete{partial}{unsupported}; "
        f"{behind.n_runs} of {counted(behind.n_planned, 'planned run')} done{states}. Means are over cases within a "
        f"run, then over folds, then over seeds{deviation}."
    )


def _counts(own: Frames, names: Mapping[str, str], behind: TableFacts, *, noun: str) -> Iterator[str]:
    filled = {names[key]: frame[frame["n_runs"] > 0] for key, frame in own.items()}
    first = next(iter(filled.values()))
    if first.empty:
        return
    seeds, folds = listed(behind.seeds), listed(behind.folds)
    defined = {name: spread(frame["n_defined"]) for name, frame in filled.items()}
    if uniform_counts(own):
        runs, planned, n_seeds, n_folds, cases = (int(first[column].iloc[0]) for column in COUNTS)
        yield (
            f"Behind each number: {counted(runs, 'run')} of {planned}, {counted(n_seeds, 'seed')} ({seeds}), "
            f"{counted(n_folds, 'fold')} ({folds}), {counted(cases, 'test case')}, of which {_defined(defined)}."
        )
        return
    spreads = {column: spread(first[column]) for column in COUNTS}
    with_value = ", ".join(f"with a defined {name} {n}" for name, n in defined.items())
    yield (
        f"The counts behind the numbers differ: runs {spreads['n_runs']}, seeds {spreads['n_seeds']} (of {seeds}), "
        f"folds {spreads['n_folds']} (of {folds}), test cases {spreads['n_cases']}, {with_value}. Each {noun}'s "
        "counts are in the table of counts and in the CSV of the cells."
    )


def _defined(counts: Mapping[str, str]) -> str:
    """`2 with a defined Dice and 3 with a defined FPV and FNV`."""
    names: dict[str, list[str]] = {}
    for name, count in counts.items():
        names.setdefault(count, []).append(name)
    return enumerated([f"{count} with a defined {enumerated(group)}" for count, group in names.items()])


def _conditions(behind: TableFacts, *, noun: str) -> Iterator[str]:
    fingerprint, rules = behind.data_fingerprint or "unknown", " and ".join(behind.checkpoints) or "unknown"
    grids = " and ".join(behind.grids) or "unknown"
    yield (
        f"Grid {behind.manifest}, data set {behind.dataset} (fingerprint {fingerprint}), profile "
        f"{behind.profile}. Checkpoint rule: {rules}. Scored on the grid: {grids}."
    )
    if len(behind.checkpoints) > 1 or len(behind.grids) > 1:
        yield "Warning: the runs differ in checkpoint rule or scoring grid; their numbers are not comparable."
    yield from behind.mixed
    for words in behind.damaged:
        yield f"Left out: {words}"
    if behind.excluded_cases:
        cases = counted(len(behind.excluded_cases), "broken case")
        yield f"Left out: {cases} ({', '.join(behind.excluded_cases)})."
    if behind.n_superseded:
        earlier = counted(behind.n_superseded, "run")
        yield f"Not shown: {earlier} planned earlier for {noun}s that were planned again since."


def _marks(own: Frames, names: Mapping[str, str], *, noun: str) -> Iterator[str]:
    first = next(iter(own.values()))
    done = first["n_runs"] > 0
    if not done.all():
        yield f"{MISSING} no finished run."
    if (done & first["n_runs"].lt(first["n_expected"])).any():
        yield f"{PARTIAL} fewer runs than planned."
    for key, frame in own.items():
        name = names[key]
        if (done & frame["value"].isna() & frame["n_scored"].gt(0)).any():
            yield f"{UNDEFINED}: the {noun} has runs, but none of their test cases has a defined {name}."
        undefined = int(frame.loc[frame["value"].notna(), "n_undefined"].sum())
        if undefined:
            of = "" if len(own) == 1 else f" of the {name}"
            yield f"{counted(undefined, 'run')} without a single defined value left out of the means{of}."
