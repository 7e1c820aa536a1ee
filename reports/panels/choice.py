"""Which cases are shown: the ones named, or the ones that a reader should see, chosen by numbers alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmark.data.store import read_case
from benchmark.results.means import over_regions
from benchmark.results.runs import RunFolder
from benchmark.vocabulary import BenchError, did_you_mean
from reports.panels.rows import scores_of_run

AUTO = "auto"
REASONS = {
    "largest": "largest lesion volume",
    "median-lesion": "median lesion volume",
    "tumour-free": "without a lesion",
    "best": "best Dice",
    "median": "median Dice",
    "worst": "worst Dice",
    "differ": "largest difference in Dice",
}
"""What `--cases` knows besides `auto`, which is all of them, and the ids of cases."""


@dataclass(frozen=True)
class Chosen:
    """A case, and why it is shown; empty: it was named."""

    case_id: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Known:
    """What is known of the test cases of all runs that are shown: the lesion's volume in ml by case, and the Dice in
    [0, 1] (mean over regions), a row a case, a column a run; NaN: undefined."""

    lesion_ml: Mapping[str, float]
    dice: pd.DataFrame


def chosen_cases(wanted: Sequence[str], known: Known) -> list[Chosen]:
    """The cases for these words and ids, each once, with all reasons for it, in the order of the words.

    BenchError for a word that is neither, and where no case is left.
    """
    reasons: dict[str, list[str]] = {}
    for word in wanted:
        for kind in REASONS if word == AUTO else [word]:
            if kind in REASONS:
                case_id = _chosen(kind, known)
                if case_id is not None:
                    reasons.setdefault(case_id, []).append(REASONS[kind])
            elif kind in known.lesion_ml:
                reasons.setdefault(kind, [])
            else:
                names = [AUTO, *REASONS, *known.lesion_ml]
                raise BenchError(
                    f"There is no test case {kind!r} in all of these runs, nor is it a rule. "
                    f"{did_you_mean(kind, names)}"
                )
    if not reasons:
        raise BenchError(
            f"No test case is {' or '.join(wanted)}; name others, e.g. with --cases {AUTO} for all rules."
        )
    return [Chosen(case_id, tuple(dict.fromkeys(why))) for case_id, why in reasons.items()]


def _chosen(kind: str, known: Known) -> str | None:
    """Of equal cases the first by name."""
    by_volume = sorted(known.lesion_ml, key=lambda case: (known.lesion_ml[case], case))
    ill = [case for case in by_volume if known.lesion_ml[case] > 0]
    rules: dict[str, Callable[[], str | None]] = {
        "largest": lambda: ill[-1] if ill else None,
        "median-lesion": lambda: ill[(len(ill) - 1) // 2] if ill else None,
        "tumour-free": lambda: by_volume[0] if len(by_volume) > len(ill) else None,
        "differ": lambda: _most_different(known.dice),
    }
    if kind in rules:
        return rules[kind]()
    # Means over the runs that are shown, of the cases in which all of them have a Dice.
    means = known.dice.dropna().mean(axis=1)
    ranked = sorted(means.index, key=lambda case: (means[case], case))
    places = {"best": len(ranked) - 1, "median": (len(ranked) - 1) // 2, "worst": 0}
    return str(ranked[places[kind]]) if ranked else None


def _most_different(dice: pd.DataFrame) -> str | None:
    """The case in which the best and the worst run are farthest apart; None for one run, and where none are."""
    if dice.shape[1] < 2:
        return None
    spread = dice.max(axis=1) - dice.min(axis=1)
    ranked = sorted(spread.dropna().index, key=lambda case: (-spread[case], case))
    return str(ranked[0]) if ranked and spread[ranked[0]] > 0 else None


def known_of(results: Path, runs: Sequence[tuple[str, str]]) -> Known:
    """What is known of the cases that all these runs, each with a reading, have scored.

    BenchError where there are none: runs of different folds share no test case; DataError where the prepared
    cases are gone.
    """
    columns = []
    for run_id, reading in runs:
        scores = scores_of_run(results, run_id, reading)
        columns.append(over_regions(scores[scores["metric"] == "dice"]))
    table = pd.concat(columns, axis=1, join="inner", keys=range(len(columns)))
    if table.empty:
        raise BenchError("The runs have no test case in common. Choose runs of one fold, e.g. with --fold 0.")
    cases = RunFolder(results, runs[0][0]).data().scored_on / "cases"
    lesions = {str(case): read_case(cases / str(case)).lesion_ml for case in sorted(table.index)}
    return Known(lesions, table)
