"""The sentences under a table: over how many runs and cases its numbers are, and how they were made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from reports.frames import Behind, Measure, progress

MISSING = "–"
UNDEFINED = "n/a"
PARTIAL = "†"
COUNTS = ["n_runs", "n_expected", "n_seeds", "n_folds", "n_cases", "n_defined"]

PUBLISHED_NOTE = (
    "Published numbers: Mirror U-Net, ICCV Workshops 2023, Table 2. AutoPET, 811 studies for training and "
    "203 for test. The paper prints one number a cell and does not state seeds, nor over how many cases the "
    "Dice is defined; its checkpoint was chosen on the reported split."
)


def table2_notes(
    own: pd.DataFrame | None, paper: pd.DataFrame | None, *, behind: Behind | None, measure: Measure
) -> Iterator[str]:
    """All notes of Table 2, for own and published numbers as given."""
    best = "Best" if measure.higher_is_better else "Best (lowest)"
    among = "" if own is None or progress(own).finished else ", among the cells that are there"
    yield (
        f"{best} of each box (one version, one L) in bold, ties included; best of each version "
        f"underlined{among}."
    )
    if own is not None and behind is not None:
        yield progress_note(own, behind)
        yield from _counts(own, behind, measure)
        yield from _conditions(behind)
        yield from _marks(own, measure)
    if paper is not None:
        yield PUBLISHED_NOTE
    if paper is not None and behind is not None:
        yield "Difference = own − published."
        if behind.dataset != "autopet" or behind.profile != "paper":
            yield (
                f"The two are not comparable here: own numbers are of data set {behind.dataset} under "
                f"profile {behind.profile}, published ones of AutoPET with the paper's recipe."
            )


def uniform_counts(own: pd.DataFrame) -> bool:
    """Whether all numbers of a table stand on the same counts of runs, seeds, folds and cases."""
    return len(own.loc[own["n_runs"] > 0, COUNTS].drop_duplicates()) <= 1


def progress_note(own: pd.DataFrame, behind: Behind) -> str:
    """How far the grid is, and how its means are taken."""
    cells = progress(own)
    partial = f", {cells.n_partial} more in part" if cells.n_partial else ""
    others = [f"{count} {state}" for state, count in sorted(behind.states.items()) if state != "done"]
    states = f" ({', '.join(others)})" if others else ""
    deviation = "; ± is the standard deviation over seeds" if own["std"].notna().any() else ""
    return (
        f"Own numbers: {cells.n_done} of {cells.n_cells} cells complete{partial}; {behind.n_runs} of "
        f"{counted(behind.n_planned, 'planned run')} done{states}. Means are over cases within a run, then "
        f"over folds, then over seeds{deviation}."
    )


def _counts(own: pd.DataFrame, behind: Behind, measure: Measure) -> Iterator[str]:
    filled = own[own["n_runs"] > 0]
    if filled.empty:
        return
    seeds, folds = listed(behind.seeds), listed(behind.folds)
    if not uniform_counts(own):
        runs, n_seeds, n_folds, cases, defined = (
            spread(filled[column]) for column in ("n_runs", "n_seeds", "n_folds", "n_cases", "n_defined")
        )
        yield (
            f"The counts behind the numbers differ: runs {runs}, seeds {n_seeds} (of {seeds}), folds "
            f"{n_folds} (of {folds}), test cases {cases}, with a defined {measure.name} {defined}. Each "
            "cell's counts are in the table of counts and in the CSV of the cells."
        )
        return
    first = {column: int(filled[column].iloc[0]) for column in COUNTS}
    yield (
        f"Behind each number: {counted(first['n_runs'], 'run')} of {first['n_expected']}, "
        f"{counted(first['n_seeds'], 'seed')} ({seeds}), {counted(first['n_folds'], 'fold')} ({folds}), "
        f"{counted(first['n_cases'], 'test case')}, of which {first['n_defined']} with a defined "
        f"{measure.name}."
    )


def _conditions(behind: Behind) -> Iterator[str]:
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
        yield f"Not shown: {earlier} planned earlier for cells that were planned anew since."


def _marks(own: pd.DataFrame, measure: Measure) -> Iterator[str]:
    done = own["n_runs"] > 0
    if not done.all():
        yield f"{MISSING} no finished run."
    if (done & own["n_runs"].lt(own["n_expected"])).any():
        yield f"{PARTIAL} fewer runs than planned."
    if (done & own["value"].isna()).any():
        yield f"{UNDEFINED}: the cell has runs, but none of their test cases has a defined {measure.name}."
    undefined = int(own.loc[own["value"].notna(), "n_undefined"].sum())
    if undefined:
        yield f"{counted(undefined, 'run')} without a single defined value left out of the means."


def counted(number: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def listed(numbers: Sequence[int]) -> str:
    """`0, 1, 2`."""
    return ", ".join(map(str, numbers))


def spread(values: pd.Series) -> str:
    """`3` or `1 to 3`."""
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low} to {high}"
