"""The table of trials and that of the comparison, ready to be rendered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from reports.evidence.run_rows import VALIDATION
from reports.ground.addresses import run_address, together
from reports.ground.measures import Measure, measure_of
from reports.ground.printing import Cell, PrintedTable, Row, Span
from reports.ground.words import counted
from reports.search.frames import Definition
from reports.search.pairs import LEVEL, Compared, Paired

NONE = "–"


def metrics_of(trials: pd.DataFrame, definition: Definition) -> list[str]:
    """The metrics that the table shows: objectives, constraints, and what else is known of every trial."""
    names = list(trials.columns)
    between = names[names.index("run") + 1 : names.index("feasible")]
    return [name for name in between if name not in definition.parameters]


def trials_table(
    trials: pd.DataFrame,
    definition: Definition,
    *,
    best: int | None,
    front: Sequence[int] = (),
    averaged: str = "",
) -> PrintedTable:
    """One row a trial, best first, then what is pruned, failed and running; the best, or the Pareto front, in bold.
    `averaged` says under it what its numbers are means of, where the title does not."""
    metrics = metrics_of(trials, definition)
    (objective, direction), *_ = definition.objectives.items()
    ranks = {"complete": 0, "pruned": 1, "failed": 2, "running": 3, "waiting": 4}
    ordered = trials.assign(
        rank=trials["state"].map(ranks) + 0.5 * ~trials["feasible"],
        sign=-trials[objective] if direction == "maximize" else trials[objective],
    ).sort_values(["rank", "sign", "trial"])
    rows = []
    for trial in ordered.to_dict("records"):
        bold = trial["trial"] == best or trial["trial"] in front
        linked = run_address(trial["run"], VALIDATION) if trial["run"] else ""
        cells = [_cell(str(trial["state"]), bold=bold)]
        cells += [_cell(_value(trial[name]), bold=bold) for name in definition.parameters]
        for metric in metrics:
            cells.append(_cell(_number(trial[metric], measure_of(metric)), bold=bold, address=linked))
        cells.append(_cell(_note(trial), bold=bold))
        rows.append(Row("", str(trial["trial"]), tuple(cells)))
    columns = ("state", *definition.parameters, *(measure_of(metric).title for metric in metrics), "note")
    return PrintedTable(
        number="S1",
        title=f"Trials of the search {definition.name}, means over the validation part",
        stub=("trial",),
        columns=columns,
        rows=tuple(rows),
        notes=(*filter(None, [averaged]), *_notes(trials, definition, best=best, front=front)),
        align="l" + "r" * (len(columns) - 2) + "l",
    )


def _note(trial: Mapping[object, object]) -> str:
    broken = "" if trial["feasible"] else "breaks a constraint"
    return "; ".join(filter(None, [str(trial["note"]), broken]))


def _notes(
    trials: pd.DataFrame, definition: Definition, *, best: int | None, front: Sequence[int]
) -> list[str]:
    goals = ", ".join(
        f"{direction} {measure_of(metric).kind}" for metric, direction in definition.objectives.items()
    )
    limits = ", ".join(
        f"{measure_of(metric).kind} at most {limit:g}" for metric, limit in definition.constraints.items()
    )
    notes = [
        f"Searched to {goals}{f', with {limits}' if limits else ''}, on {definition.dataset} with profile "
        f"{definition.profile}, fold {definition.fold}; sampler {definition.sampler}, pruner "
        f"{definition.pruner}, seed {definition.seed}."
    ]
    if best is not None:
        notes.append(f"Bold: the best trial. {NONE} not a value of this trial, or not known.")
    elif front:
        notes.append(f"Bold: the Pareto front. {NONE} not a value of this trial, or not known.")
    if (trials["state"] == "pruned").any():
        pruned = trials[trials["state"] == "pruned"]
        notes.append(
            f"{counted(len(pruned), 'trial')} pruned; a pruned run keeps its curve and its checkpoint, and did "
            "not fail."
        )
    notes.append(
        "These are cases that the values were chosen on: the best value is better than it will be elsewhere."
    )
    return notes


def comparison_table(
    compared: Mapping[str, Compared], *, best: str, paper: str, number: str = "S2"
) -> PrintedTable:
    """A row a part of the data: Dice with the best values, with the paper's, and the difference with its interval."""
    rows = []
    for part, sides in compared.items():
        pair = sides.pair
        texts = [
            f"{100 * pair.ours:.2f}",
            f"{100 * pair.theirs:.2f}",
            f"{100 * pair.difference:+.2f}",
            _interval(pair),
            f"{pair.n_better} of {pair.n_patients}",
        ]
        linked = (sides.ours, sides.theirs, *[together(sides.ours, sides.theirs)] * 3)
        cells = [_cell(text, address=address) for text, address in zip(texts, linked, strict=True)]
        rows.append(Row("", part, tuple(cells)))
    return PrintedTable(
        number=number,
        title="The best values against the paper's, Dice [%] on the same cases",
        stub=("part",),
        columns=("best", "paper's", "difference", f"{LEVEL:.0%} interval", "patients better"),
        rows=tuple(rows),
        notes=(
            f"Best: {best}. Paper's: {paper}; all other choices are those of the best trial.",
            "Difference per patient, both on the same cases; bootstrap over patients, 10,000 resamples.",
            "The validation part is what the best values were chosen on, which favours them; the test part is opened "
            "by --final alone, once, after both were trained again over seeds.",
        ),
    )


def _interval(pair: Paired) -> str:
    if math.isnan(pair.low):
        return f"{counted(pair.n_patients, 'patient')}: none"
    return f"{100 * pair.low:+.2f} to {100 * pair.high:+.2f}"


def _cell(text: str, *, bold: bool = False, address: str = "") -> Cell:
    return (Span(text, bold=bold and bool(text), address="" if text == NONE else address),)


def _value(value: object) -> str:
    if value is None or value != value:
        return NONE
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _number(value: float, measure: Measure) -> str:
    return NONE if math.isnan(value) else f"{measure.scale * value:.2f}"
