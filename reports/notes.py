"""The sentences under every table: over how many runs and cases its numbers are, and how they were made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from reports.frames import MEASURES, Behind, progress

MISSING = "–"
UNDEFINED = "n/a"
PARTIAL = "†"
COUNTS = ["n_runs", "n_expected", "n_seeds", "n_folds", "n_cases"]

Frames = Mapping[str, pd.DataFrame]
"""The `cells_frame` of each metric a table shows, all with the same cells."""


def own_notes(own: Frames, behind: Behind, *, noun: str = "cell") -> Iterator[str]:
    """All that is to be said of own numbers: progress, counts, conditions, and what the marks mean."""
    yield progress_note(next(iter(own.values())), behind, noun=noun)
    yield from _counts(own, behind, noun=noun)
    yield from _conditions(behind, noun=noun)
    yield from _marks(own, noun=noun)


def published_notes(table: int, behind: Behind | None) -> Iterator[str]:
    """Where published numbers come from, and whether own ones may be compared with them."""
    yield (
        f"Published numbers: Mirror U-Net, ICCV Workshops 2023, Table {table}. AutoPET, 811 studies for training and "
        "203 for test. The paper prints one number a cell and does not state seeds, nor over how many cases the "
        "Dice is defined; its checkpoint was chosen on the reported split."
    )
    if behind is not None:
        yield "Difference = own − published."
        if behind.dataset != "autopet" or behind.profile != "paper":
            yield (
                f"The two are not comparable here: own numbers are of data set {behind.dataset} under "
                f"profile {behind.profile}, published ones of AutoPET with the paper's recipe."
            )


def uniform_counts(own: Frames) -> bool:
    """Whether all numbers of a metric stand on the same counts of runs, seeds, folds and cases."""
    return all(
        len(frame.loc[frame["n_runs"] > 0, [*COUNTS, "n_defined"]].drop_duplicates()) <= 1
        for frame in own.values()
    )


def progress_note(own: pd.DataFrame, behind: Behind, *, noun: str = "cell") -> str:
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


def _counts(own: Frames, behind: Behind, *, noun: str) -> Iterator[str]:
    filled = {metric: frame[frame["n_runs"] > 0] for metric, frame in own.items()}
    first = next(iter(filled.values()))
    if first.empty:
        return
    seeds, folds = listed(behind.seeds), listed(behind.folds)
    defined = {metric: spread(frame["n_defined"]) for metric, frame in filled.items()}
    if uniform_counts(own):
        runs, planned, n_seeds, n_folds, cases = (int(first[column].iloc[0]) for column in COUNTS)
        yield (
            f"Behind each number: {counted(runs, 'run')} of {planned}, {counted(n_seeds, 'seed')} ({seeds}), "
            f"{counted(n_folds, 'fold')} ({folds}), {counted(cases, 'test case')}, of which {_defined(defined)}."
        )
        return
    spreads = {column: spread(first[column]) for column in COUNTS}
    with_value = ", ".join(f"with a defined {MEASURES[metric].name} {n}" for metric, n in defined.items())
    yield (
        f"The counts behind the numbers differ: runs {spreads['n_runs']}, seeds {spreads['n_seeds']} (of {seeds}), "
        f"folds {spreads['n_folds']} (of {folds}), test cases {spreads['n_cases']}, {with_value}. Each {noun}'s "
        "counts are in the table of counts and in the CSV of the cells."
    )


def _defined(counts: Mapping[str, str]) -> str:
    """`2 with a defined Dice and 3 with a defined FPV and FNV`."""
    names: dict[str, list[str]] = {}
    for metric, count in counts.items():
        names.setdefault(count, []).append(MEASURES[metric].name)
    return enumerated([f"{count} with a defined {enumerated(group)}" for count, group in names.items()])


def _conditions(behind: Behind, *, noun: str) -> Iterator[str]:
    fingerprint, rules = behind.data_fingerprint or "unknown", " and ".join(behind.checkpoints) or "unknown"
    grids = " and ".join(behind.grids) or "unknown"
    yield (
        f"Grid {behind.manifest}, data set {behind.dataset} (fingerprint {fingerprint}), profile "
        f"{behind.profile}. Checkpoint rule: {rules}. Scored on the grid: {grids}."
    )
    if len(behind.checkpoints) > 1 or len(behind.grids) > 1:
        yield "Warning: the runs differ in checkpoint rule or scoring grid; their numbers are not comparable."
    if behind.excluded_cases:
        cases = counted(len(behind.excluded_cases), "broken case")
        yield f"Left out: {cases} ({', '.join(behind.excluded_cases)})."
    if behind.n_superseded:
        earlier = counted(behind.n_superseded, "run")
        yield f"Not shown: {earlier} planned earlier for {noun}s that were planned anew since."


def _marks(own: Frames, *, noun: str) -> Iterator[str]:
    first = next(iter(own.values()))
    done = first["n_runs"] > 0
    if not done.all():
        yield f"{MISSING} no finished run."
    if (done & first["n_runs"].lt(first["n_expected"])).any():
        yield f"{PARTIAL} fewer runs than planned."
    for metric, frame in own.items():
        name = MEASURES[metric].name
        if (done & frame["value"].isna()).any():
            yield f"{UNDEFINED}: the {noun} has runs, but none of their test cases has a defined {name}."
        undefined = int(frame.loc[frame["value"].notna(), "n_undefined"].sum())
        if undefined:
            of = "" if len(own) == 1 else f" of the {name}"
            yield f"{counted(undefined, 'run')} without a single defined value left out of the means{of}."


def counted(number: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def listed(numbers: Sequence[int]) -> str:
    """`0, 1, 2`."""
    return ", ".join(map(str, numbers))


def enumerated(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def spread(values: pd.Series) -> str:
    """`3` or `1 to 3`."""
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low} to {high}"
