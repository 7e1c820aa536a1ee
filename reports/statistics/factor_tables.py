"""What the factors of a table contribute, by the mixed models of its cells: printed and drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from benchmark.vocabulary import BenchError
from reports.ground.cells import titled
from reports.ground.frames import DECIMALS
from reports.ground.measures import Measure
from reports.ground.notes import MISSING
from reports.ground.printing import PrintedTable, Row, Span
from reports.ground.words import counted, enumerated, listed, p_text, signed
from reports.statistics.mixed import TIMES, MixedModel, mixed_model
from reports.statistics.mixed_figure import CAPTION, draw_models
from reports.statistics.outputs import Outputs, ReadyFigure, ReadyTable
from reports.statistics.scores import CaseScores

NO_WEIGHT = 1e-9
"""Weights up to here are rounding errors of 0."""


@dataclass(frozen=True, eq=False)
class Part:
    """Cells of a table that one model is of.

    `scores.cells` have the columns `factors`, as they are printed; `names` are the cells'; `address_of` gives the
    address of the cells in these rows.
    """

    scores: CaseScores
    factors: tuple[str, ...]
    names: Sequence[str]
    address_of: Callable[[Sequence[int]], str]


@dataclass(frozen=True, eq=False)
class ModelCells:
    """The cells of a model: what the addresses of its numbers name.

    A number is of the cells that have a weight in it: F of all, a level's mean in a complete design of that level's.
    """

    model: MixedModel
    part: Part

    def address(self, weights: np.ndarray | None = None) -> str:
        """The address of the cells with a weight [cell]; without weights, of all."""
        return self._of(
            np.ones(len(self.model.kept), dtype=bool) if weights is None else np.abs(weights) > NO_WEIGHT
        )

    def _of(self, chosen: np.ndarray) -> str:
        return self.part.address_of(self.model.kept[chosen].tolist())

    def of_level(self, factor: str, level: str) -> str:
        """The address of the cells with this level."""
        return self._of((self.model.design.cells[factor] == level).to_numpy())

    def weights(self, factor: str, level: str) -> np.ndarray:
        """[cell]: the weights in a level's marginal mean."""
        plan = self.model.design
        return np.asarray(plan.level_weights()[factor][plan.levels[factor].index(level)])

    def contrast(self, term: str, levels: Sequence[str]) -> str:
        """The address of a term's largest contrast: an interaction's is of all cells."""
        if TIMES in term:
            return self.address()
        upper, lower = (self.weights(term, level) for level in levels)
        return self.address(upper - lower)


def factor_tables(
    parts: Mapping[str, Part],
    *,
    number: str,
    stem: str,
    remarks: Sequence[str] = (),
    note: str = "",
) -> Outputs:
    """The mixed models of all parts, by their names in print (empty: the only one): terms, marginal means, a figure.

    `number` is the table's, `stem` begins the files' names, `remarks` end the notes, `note` goes into the titles.
    """
    models: dict[str, MixedModel] = {}
    behind: dict[str, ModelCells] = {}
    reasons = []
    for name, part in parts.items():
        try:
            models[name] = model = mixed_model(part.scores, part.factors, names=part.names)
            behind[name] = ModelCells(model, part)
        except BenchError as error:
            reasons.append(f"Mixed-effects summary of Table {number}{name and f', {name}'}: {error}")
    if not models:
        return Outputs(reasons=tuple(reasons))
    measure = next(iter(parts.values())).scores.measure
    table = _Table(number, stem, measure, models, behind, note)
    title = titled(f"What the factors of Table {number} contribute to the {measure.name}", note)
    figure = ReadyFigure(
        partial(draw_models, models, title),
        title,
        CAPTION,
        _stacked(models, "levels"),
        f"{stem}_mixed_figure",
    )
    tables = (_terms_ready(table, remarks), _levels_ready(table))
    return Outputs(tables, (figure,), tuple(reasons))


@dataclass(frozen=True, eq=False)
class _Table:
    number: str
    stem: str
    measure: Measure
    models: Mapping[str, MixedModel]
    behind: Mapping[str, ModelCells]
    note: str


def _terms_ready(table: _Table, remarks: Sequence[str]) -> ReadyTable:
    models, behind = table.models, table.behind
    frame = _stacked(models, "terms")
    largest = _stacked(models, "largest")
    contrasts = {
        (part, term): behind[part].contrast(term, levels)
        for part, term, levels in zip(largest["cells"], largest["term"], largest["levels"], strict=True)
    }
    largest["levels"] = [
        " − ".join(levels) if TIMES not in term else " and ".join(levels)
        for term, levels in zip(largest["term"], largest["levels"], strict=True)
    ]
    cells = frame.merge(largest, how="left", on=["cells", "term"])
    layout = cells[
        [
            "cells",
            "term",
            "df",
            "F",
            "p_holm",
            "p_own_holm",
            "share",
            "share_beyond",
            "levels",
            "value",
            "low",
            "high",
        ]
    ]
    whole = {part: one.address() for part, one in behind.items()}
    linked = cells.assign(
        address=cells["cells"].map(whole),
        contrast_address=[contrasts.get(key, "") for key in zip(cells["cells"], cells["term"], strict=True)],
    )
    return ReadyTable((_terms_table(table, linked, remarks),), layout, cells, f"{table.stem}_mixed")


def _terms_table(table: _Table, cells: pd.DataFrame, remarks: Sequence[str]) -> PrintedTable:
    """The terms of all models; `cells` are they with their largest contrasts, and the addresses of both."""
    stub = ("Cells", "Term") if _named(table.models) else ("Term",)
    rows = [
        Row(_in_brackets(row["cells"]), str(row["term"]), tuple((span,) for span in _term(row)))
        for row in cells.to_dict("records")
    ]
    return PrintedTable(
        number=f"{table.number} (factors)",
        title=titled(
            f"What each factor of Table {table.number} contributes to the {table.measure.name}: linear mixed models, "
            "patient as random effect",
            table.note,
        ),
        stub=stub,
        columns=(
            "df",
            "F",
            "p",
            "p, own error",
            "Share [%]",
            "Beyond noise [%]",
            "Largest contrast [points]",
        ),
        rows=tuple(rows),
        notes=(*_terms_notes(table), *remarks),
        align="rrrrrrp",
    )


def _named(models: Mapping[str, MixedModel]) -> bool:
    return any(models)


def _in_brackets(part: str) -> str:
    return f"({part})" if part else ""


def _term(row: Mapping[Any, Any]) -> Iterator[Span]:
    linked = row["address"]
    yield _linked(f"{row['df']}, {row['df_error']}", linked)
    yield _linked(_number(row["F"]), linked)
    for name in ("p_holm", "p_own_holm"):
        yield _linked(p_text(row[name]), linked, bold=row[name] < 0.05)
    for name in ("share", "share_beyond"):
        yield _linked(_number(row[name], "{:.1f}"), linked)
    yield _linked(_contrast(row), row["contrast_address"])


def _linked(text: str, address: str, *, bold: bool = False) -> Span:
    return Span(text, bold=bold, address="" if text == MISSING else address)


def _number(value: float, form: str = DECIMALS) -> str:
    return MISSING if np.isnan(value) else form.format(value)


def _contrast(row: Mapping[Any, Any]) -> str:
    value, low, high = (row[name] for name in ("value", "low", "high"))
    if np.isnan(value):
        return MISSING
    return f"{row['levels']}: {signed(value)} [{signed(low)}, {signed(high)}]"


def _terms_notes(table: _Table) -> Iterator[str]:
    models, name = table.models, table.measure.name
    in_percent = " in percent" if table.measure.scale == 100 else ""
    yield (
        f"Score of a case in a cell ({name}{in_percent}, mean over seeds) = fixed effects of all factors and "
        "their interactions, sum-to-zero coded, + random intercept of the patient, and of the case where "
        "patients have several, + residual; REML, in closed form, which needs no iteration over the fixed "
        "effects."
    )
    yield (
        "F: type II, against the residual of cases × cells; exact in this design where Wald's chi2 (df × F) "
        "is asymptotic. p: of F, Holm over the terms of a model, bold below 0.05. p, own error: against "
        "how differently patients respond to the term (repeated-measures ANOVA, Greenhouse–Geisser), Holm; "
        "where the two disagree, patients do respond differently and this one is to be believed."
    )
    yield (
        "Share: the term's sum of squares in percent of that between all cells of the model. Beyond noise: "
        "the same after taking off df × the residual's mean square, what chance over patients gives to a "
        "term without any effect (negative is 0); what all terms lack to 100 % is such noise."
    )
    yield (
        "Largest contrast: of a factor its two levels farthest apart; of an interaction the combination "
        "that deviates most from what its parts add up to. Intervals: 95 %, over patients, simultaneous "
        "over all pairs or combinations (Bonferroni)."
    )
    for part, model in models.items():
        yield from _model_notes(_in_brackets(part), model, table.measure)
    first = next(iter(models.values()))
    n_trainings = len(first.folds) * len(first.seeds)
    averaged = f", averaged over the seeds {listed(first.seeds)}" if len(first.seeds) > 1 else ""
    pooled = f"; cases of all folds count alike, where Table {table.number} averages folds first"
    pooled = pooled if len(first.folds) > 1 else ""
    yield (
        f"The scores of a cell are of {counted(n_trainings, 'training')}{averaged}{pooled}. No term holds the noise of "
        "retraining: p and intervals concern other patients with these same networks, not other trainings."
    )


def _model_notes(part: str, model: MixedModel, measure: Measure) -> Iterator[str]:
    the = "the" if part else "The"
    part = f"{part}: " if part else ""
    between, found = model.variances, model.residuals
    n_cells = len(model.design.cells)
    cases = "patient and case" if np.isnan(between.case) else "patient"
    of_case = "" if np.isnan(between.case) else f", case of a patient {between.case:.2f}"
    yield (
        f"{part}{counted(model.n_cases, 'case')} of {counted(model.n_patients, 'patient')} in {n_cells} "
        f"of {model.design.n_planned} cells. Variances in squared points: {cases} "
        f"{between.patient:.2f}{of_case}, residual {between.residual:.2f}; intraclass correlation "
        f"{between.icc:.2f}."
    )
    if between.at_bound:
        yield f"{part}a variance is at its bound of 0; then F is more cautious than the model's own likelihood."
    if not between.converged:
        yield f"{part}the search for the variance between patients did not converge; F and p do not depend on it."
    yield (
        f"{part}{the} {measure.name} is bounded, which normal residuals are not; measured: skewness "
        f"{signed(found.skewness)}, excess kurtosis {signed(found.kurtosis)}, {found.beyond:.2f} % beyond "
        f"three standard deviations (normal: 0.27 %), standard deviations of cells up to {found.spread:.1f} "
        f"to 1; {found.lowest:.1f} % of the scores are 0, {found.highest:.1f} % are 100. F tests of means "
        "over many cases bear much of this."
    )
    undefined = (
        f"{counted(model.n_undefined, 'case')} without a defined {measure.name}" if model.n_undefined else ""
    )
    dropped = f"{counted(model.n_dropped, 'case')} undefined in some cells" if model.n_dropped else ""
    unused = f"{counted(model.n_unused, 'case')} not scored in all" if model.n_unused else ""
    if left := [text for text in (undefined, dropped, unused) if text]:
        yield f"{part}not in the model: {'; '.join(left)}."
    if model.left_out:
        yield f"{part}{model.left_out}"
    if not model.design.complete:
        untold = [str(row.term) for row in model.terms.itertuples() if row.df == 0]
        nothing = f" Nothing is left to tell of {', '.join(untold)}." if untold else ""
        yield (
            f"{part}the grid is incomplete. Type II sums of squares are over the cells there are, "
            "overlap, and need not add up to 100 %; marginal means are those of a model without "
            f"interactions.{nothing}"
        )


def _levels_ready(table: _Table) -> ReadyTable:
    models, behind = table.models, table.behind
    frame = _stacked(models, "levels")
    whole = {part: one.address() for part, one in behind.items()}
    levels = list(zip(frame["cells"], frame["factor"], frame["level"], strict=True))
    linked = frame.assign(
        cells_address=[behind[part].of_level(factor, level) for part, factor, level in levels],
        address=[behind[part].address(behind[part].weights(factor, level)) for part, factor, level in levels],
        deviation_address=frame["cells"].map(whole),
    )
    return ReadyTable((_levels_table(table, linked),), frame.round(4), frame, f"{table.stem}_mixed_means")


def _over_cells(models: Mapping[str, MixedModel]) -> str:
    incomplete = [_in_brackets(part) for part, model in models.items() if not model.design.complete]
    if not incomplete:
        return "over all its cells, alike"
    of = f"of {enumerated(incomplete)}: " if all(incomplete) else ""
    return f"over all its cells, alike ({of}that of a model without interactions)"


def _levels_table(table: _Table, frame: pd.DataFrame) -> PrintedTable:
    """The marginal means of all models' factors; `frame` has their levels, and the addresses of all numbers."""
    rows = []
    for row in frame.to_dict("records"):
        mean, low, high = (DECIMALS.format(row[name]) for name in ("mean", "low", "high"))
        from_mean = (
            f"{signed(row['deviation'])} [{signed(row['deviation_low'])}, {signed(row['deviation_high'])}]"
        )
        cells = (
            (Span(str(row["n_cells"]), address=row["cells_address"]),),
            (Span(f"{mean} [{low}, {high}]", address=row["address"]),),
            (Span(from_mean, address=row["deviation_address"]),),
        )
        rows.append(Row(f"{_in_brackets(row['cells'])} {row['factor']}".strip(), str(row["level"]), cells))
    return PrintedTable(
        number=f"{table.number} (marginal means)",
        title=titled(
            f"Marginal means of the factors of Table {table.number}, {table.measure.title}", table.note
        ),
        stub=("Factor", "Level"),
        columns=("Cells", "Mean [95 %]", "From the factor's mean [95 %]"),
        rows=tuple(rows),
        notes=(
            f"A level's mean is {_over_cells(table.models)}, and over cases. Its own interval holds how much "
            "patients differ; deviations are within patients and far more certain. Intervals: Student's "
            "over patients, one at a time.",
        ),
    )


def _stacked(models: Mapping[str, MixedModel], part: str) -> pd.DataFrame:
    frames = [getattr(model, part) for model in models.values()]
    return pd.concat(frames, keys=list(models), names=["cells", None]).reset_index(0).reset_index(drop=True)
