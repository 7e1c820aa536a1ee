"""What a search found, in sentences for the terminal and the top of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from reports.ground.measures import measure_of
from reports.ground.words import counted
from reports.search.frames import Definition, no_best_trial
from reports.search.pairs import Paired
from reports.search.tables import metrics_of

STATES = ("complete", "pruned", "failed", "running", "waiting")


def summary(
    trials: pd.DataFrame,
    definition: Definition,
    best: pd.Series | None,
    on_front: Sequence[int],
    pairs: Mapping[str, Paired],
    *,
    study: str,
) -> list[str]:
    """How many trials there are, the best or the Pareto front, the comparison with the paper, and every failure."""
    states = trials["state"].value_counts()
    so_far = ", ".join(f"{states[state]} {state}" for state in STATES if state in states)
    lines = [f"Search {study}: {counted(len(trials), 'trial')} ({so_far})."]
    if best is not None:
        lines += _best(trials, definition, best)
    elif why := no_best_trial(trials, definition.objectives):
        lines.append(why)
    elif on_front:
        lines.append(f"Pareto front: trials {', '.join(map(str, on_front))}.")
    else:
        lines.append("No complete trial keeps all constraints yet.")
    lines += [_against_the_paper(part, pair) for part, pair in pairs.items()]
    failed = trials[trials["state"] == "failed"].to_dict("records")
    return lines + [f"Failed: trial {trial['trial']}, {trial['note']}" for trial in failed]


def _best(trials: pd.DataFrame, definition: Definition, best: pd.Series) -> list[str]:
    means = ", ".join(
        f"{measure_of(m).title} {measure_of(m).scale * best[m]:.2f}" for m in metrics_of(trials, definition)
    )
    values = {name: best[name] for name in definition.parameters if best[name] == best[name]}
    lines = [f"Best: trial {best['trial']}, {values_text(values)}: {means} on the validation part."]
    if not definition.paper:
        return lines
    if all(best[name] == value for name, value in definition.paper.items() if best[name] == best[name]):
        lines.append("These are the paper's values: no trial of the search has better ones.")
        return lines
    beside = trials[trials["reference_for"] == best["trial"]]
    if beside.empty:
        lines.append(
            "The paper's values are not tried beside these yet; the search does so when its trials are done."
        )
    elif (state := str(beside.iloc[-1]["state"])) != "complete":
        lines.append(
            f"The paper's values beside these are trial {beside.iloc[-1]['trial']}, which is {state}."
        )
    return lines


def _against_the_paper(part: str, pair: Paired) -> str:
    interval = (
        f"95 % interval {100 * pair.low:+.2f} to {100 * pair.high:+.2f}"
        if pair.low == pair.low
        else "too few for an interval"
    )
    return (
        f"Against the paper's values on the {part}: Dice {100 * pair.difference:+.2f} points "
        f"({interval}, {counted(pair.n_patients, 'patient')})."
    )


def values_text(values: Mapping[str, Any]) -> str:
    """A trial's values for a sentence."""
    return ", ".join(
        f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items() if v is not None
    )
