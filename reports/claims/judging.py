"""Whether numbers carry a claim: supported, contradicted, undecided, or untestable.

The decision rule. A claim is a tree of comparisons joined by "at least k of n hold" (`reports.claims.tree`).

Printed numbers are taken as they stand. The claim is supported where enough of its comparisons hold, contradicted where
too many do not, undecided where numbers that are not printed, or equal in print, would decide. There are no intervals
and no p: the paper prints one number a cell.

Own runs are a sample of patients (and seeds). Every comparison has two one-sided p, that it holds and that it does not
(`reports.claims.testing`): the larger of the signed-rank test's over patients and of the mean's over its bootstrap
error, so that both must agree. The tree joins them by the partial conjunction test with Bonferroni's combination: to
show that all of n hold, the largest p counts (intersection-union test: each must be shown by itself); to show that one
holds, n times the smallest. What contradicts a claim that all hold is one comparison that fails, so there n times the
smallest p counts. An argmax is "the winner beats every other one", an ordering "each step holds": both are shown
against the nearest rival. The claim's p is twice the smaller of its two; Holm's correction runs over all claims that
are tested in one report. With an adjusted p of at most 0.05 the claim is supported or contradicted, by the side that
was shown, and else undecided: not shown is not refuted. Cells without all their planned runs take no part (a comparison
with one counts as p = 1), and are named. The bootstrap probability is the share of resamples, the same patients for all
cells, in which the whole claim holds; it is told and decides nothing.

A claim of logic must hold in every case, whatever the data: own runs support it where it does, contradict it where it
fails in a single case, and no test is made.

The effect is the margin of the decisive comparison, on which the verdict hangs (of "all hold", the smallest), in the
printed unit: above 0 the numbers are on the claim's side. Where measures of several units meet, margins are put in
order relative to the numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from benchmark.vocabulary import BenchError, did_you_mean
from reports.claims.findings import Finding, Source, SourceName
from reports.claims.meaning import meaning
from reports.claims.reading import Stated
from reports.claims.tables import Table
from reports.claims.telling import lost_race, unit_of
from reports.claims.tree import (
    AtLeast,
    Comparison,
    Node,
    against,
    comparisons,
    decisive,
    held_margins,
    p_values,
    truth,
)
from reports.ground.words import counted, p_text, signed
from reports.statistics.paired import holm
from reports.statistics.resampling import MIN_PATIENTS, Interval

Verdict = Literal["supported", "contradicted", "undecided", "untestable"]
LEVEL = 0.05
NAN = float("nan")


@dataclass(frozen=True)
class Counterexample:
    """What speaks against a claim, in words, and the address of the cells it is about."""

    text: str
    address: str


@dataclass(frozen=True, eq=False)
class Judged:
    """A claim and what one source of numbers says of it; see the module for the rule.

    `effect` is the margin of the comparison `decisive`, with its unit and, of own runs, its interval; `p` is
    two-sided, `p_adjusted` Holm's over the report; both NaN without a test. `probability`: of the claim in resamples.
    `cells` are addresses, `address` is that of all of them and `decisive_address` that of the decisive
    comparison's. `against_it` speaks against it, exceptions that it allows included. `findings` are all
    comparisons, `n_against` of which do not hold.
    """

    stated: Stated
    source: SourceName
    verdict: Verdict
    sentence: str
    effect: float = NAN
    unit: str = ""
    decisive: str = ""
    interval: Interval | None = None
    probability: float = NAN
    p: float = NAN
    p_adjusted: float = NAN
    side: Literal[1, 0, -1] = 0
    """Which side the numbers are on, shown or not; 0: missing numbers or ties leave it open."""
    leaning: Literal[1, 0, -1] = 0
    """Which of the two p is the smaller one: that it holds (1) or that it does not (-1)."""
    cells: tuple[str, ...] = ()
    address: str = ""
    decisive_address: str = ""
    against_it: tuple[Counterexample, ...] = ()
    missing: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    n_patients: int = 0

    @property
    def id(self) -> str:
        return self.stated.claim.id

    @property
    def place(self) -> str:
        return self.stated.claim.place

    @property
    def counterexamples(self) -> tuple[str, ...]:
        """What speaks against it, in words."""
        return tuple(one.text for one in self.against_it)

    @property
    def n_against(self) -> int:
        return sum(finding.holds is False for finding in self.findings)


def judge(claims: Sequence[Stated], sources: Sequence[Source]) -> list[Judged]:
    """One judgement a claim and source, claim after claim.

    Raises `BenchError` where a claim names a table, an axis or a cell that none of the sources has.
    """
    tables = {one.claim.table: _table(one, sources) for one in claims if one.claim.table is not None}
    meanings = {
        one.name: meaning(one.claim, tables[one.claim.table], file=one.file)
        for one in claims
        if one.claim.table is not None
    }
    by_source = {}
    for source in sources:
        found = {
            grid: _findings(source, table, _asked(claims, meanings, grid)) for grid, table in tables.items()
        }
        judged = [
            _Bench(one, source, tables[one.claim.table], meanings[one.name], found[one.claim.table]).judged()
            if one.claim.table is not None
            else _untestable(one, source)
            for one in claims
        ]
        by_source[source.name] = _decided(judged)
    return [judged[number] for number in range(len(claims)) for judged in by_source.values()]


def _table(stated: Stated, sources: Sequence[Source]) -> Table:
    """The claim's table: as own runs have it where they do, since that has the paper's cells and perhaps more."""
    grid = str(stated.claim.table)
    found = [table for source in sources if (table := source.table(grid)) is not None]
    if not found:
        known = dict.fromkeys(name for source in sources for name in source.grids())
        raise BenchError(
            f"{stated.file}: claim {stated.name}: there is no table {grid!r}. {did_you_mean(grid, known)}"
        )
    return max(found, key=lambda table: (len(table.all_places()), len(table.measures)))


def _asked(claims: Sequence[Stated], meanings: Mapping[str, Node], grid: str) -> list[Comparison]:
    """The comparisons of all claims about a table, each once."""
    asked = (comparisons(meanings[one.name]) for one in claims if one.claim.table == grid)
    return list(dict.fromkeys(itertools.chain.from_iterable(asked)))


def _findings(source: Source, table: Table, asked: Sequence[Comparison]) -> dict[Comparison, Finding]:
    return dict(zip(asked, source.findings(table, asked), strict=True))


def _untestable(stated: Stated, source: Source) -> Judged:
    return Judged(stated, source.name, "untestable", str(stated.claim.untestable))


@dataclass(frozen=True, eq=False)
class _Bench:
    """A claim before one source, with the findings about its table."""

    stated: Stated
    source: Source
    table: Table
    node: Node
    found: Mapping[Comparison, Finding]

    def finding(self, comparison: Comparison) -> Finding:
        return self.found[comparison]

    def holds(self, comparison: Comparison) -> bool | None:
        return self.finding(comparison).holds

    def judged(self) -> Judged:
        asked = list(comparisons(self.node))
        findings = tuple(map(self.finding, asked))
        cells = dict.fromkeys(cell for comparison in asked for cell in comparison.cells)
        holds = truth(self.node, self.holds)
        margin = self._order(asked)
        hanging = decisive(self.node, margin)
        found = self.finding(hanging) if hanging is not None else None
        judged = Judged(
            self.stated,
            self.source.name,
            "undecided" if holds is None else "supported" if holds else "contradicted",
            "",
            effect=NAN if found is None else found.margin,
            unit="" if hanging is None else unit_of(self.table.measures[hanging.measure]),
            decisive="" if found is None else found.text,
            interval=None if found is None else found.interval,
            side=0 if holds is None else 1 if holds else -1,
            cells=tuple(map(self.table.address, cells)),
            address=self.table.address_of(list(cells)),
            decisive_address="" if hanging is None else self.table.address_of(hanging.cells),
            against_it=self._counterexamples(margin),
            missing=tuple(dict.fromkeys(why for finding in findings for why in finding.missing)),
            findings=findings,
        )
        if self.source.name == "paper":
            return replace(judged, sentence=_sentence_of_paper(judged))
        if self.stated.claim.kind == "logic":
            return self._by_logic(judged, asked)
        return self._tested(judged)

    def _order(self, asked: Sequence[Comparison]) -> Callable[[Comparison], float]:
        """What puts margins in order: their size, relative to the numbers where there are several units."""
        units = {unit_of(self.table.measures[comparison.measure]) for comparison in asked}

        def margin(comparison: Comparison) -> float:
            finding = self.finding(comparison)
            if len(units) == 1:
                return finding.margin
            size = max(abs(finding.left), abs(finding.right))
            return finding.margin / size if size else finding.margin

        return margin

    def _counterexamples(self, margin: Callable[[Comparison], float]) -> tuple[Counterexample, ...]:
        found = []
        for node in against(self.node, self.holds, margin):
            if isinstance(node, AtLeast) and node.race is not None:
                text = lost_race(node.race, lambda operand: self.source.value(self.table, operand))
                operands = [operand for one in node.race.competitors for operand in one.operands]
                cells = [cell for operand in operands for cell in operand.cells]
                found.append(Counterexample(text, self.table.address_of(cells)))
            elif isinstance(node, Comparison):
                found.append(Counterexample(self.finding(node).text, self.table.address_of(node.cells)))
        return tuple(dict.fromkeys(found))

    def _tested(self, judged: Judged) -> Judged:
        """With p and the bootstrap probability, where there is anything to test; `_decided` has the last word."""
        complete = [finding for finding in judged.findings if not finding.missing]
        if not complete:
            return replace(judged, verdict="undecided")
        n_patients = min(finding.n_patients for finding in complete)
        if n_patients < MIN_PATIENTS:
            return replace(judged, verdict="undecided", n_patients=n_patients)

        def one_sided(comparison: Comparison) -> tuple[float, float]:
            finding = self.finding(comparison)
            return (1.0, 1.0) if finding.missing else (finding.p_holds, finding.p_fails)

        p_holds, p_fails = p_values(self.node, one_sided)
        p = min(1.0, 2 * min(p_holds, p_fails))
        probability = NAN
        if not judged.missing:
            margins = held_margins(self.node, self._resampled)
            known = margins[~np.isnan(margins)]
            probability = float(np.mean(known > 0)) if len(known) else NAN
        leaning: Literal[1, -1] = 1 if p_holds < p_fails else -1
        return replace(judged, p=p, leaning=leaning, probability=probability, n_patients=n_patients)

    def _resampled(self, comparison: Comparison) -> np.ndarray:
        margins = self.finding(comparison).resampled
        assert margins is not None
        # Only their signs are asked for, and signs of all units are alike.
        signs = np.sign(np.where(np.abs(margins) < 1e-9, 0.0, margins))
        return signs if comparison.strict else np.where(np.isnan(signs), np.nan, signs + 0.5)

    def _by_logic(self, judged: Judged, asked: Sequence[Comparison]) -> Judged:
        """The whole claim in every single case; no test is made."""
        checks = {comparison: self.source.every_case(self.table, comparison) for comparison in asked}
        known = {c: check for c, check in checks.items() if check is not None and not isinstance(check, str)}
        cases = dict.fromkeys(case for check in known.values() for case in check)
        found = {
            case: truth(self.node, lambda c, at=case: known[c].get(at) if c in known else None)  # type: ignore[misc]
            for case in cases
        }
        told = {case: holds for case, holds in found.items() if holds is not None}
        broken = [case for case, holds in told.items() if not holds]
        if broken:
            fold, name, seed = broken[0]
            first = f"first in {name} (fold {fold}, seed {seed})"
            sentence = f"Fails in {len(broken)} of {counted(len(told), 'case')}, {first}: an error."
            return replace(judged, verdict="contradicted", sentence=sentence)
        reasons = [
            check or "there are no cases" for check in checks.values() if not isinstance(check, Mapping)
        ]
        if reasons or not told:
            why = reasons[0] if reasons else "no case has all its numbers"
            return replace(judged, verdict="undecided", sentence=f"Not asked case by case: {why}.")
        sentence = f"Holds in every one of {counted(len(told), 'case')}."
        return replace(judged, verdict="supported", sentence=sentence)


def _decided(judged: Sequence[Judged]) -> list[Judged]:
    """The verdicts of own runs, with Holm's correction over all claims that were tested."""
    adjusted = holm(np.array([one.p for one in judged]))
    decided = []
    for one, p in zip(judged, adjusted, strict=True):
        if one.source == "paper" or one.verdict == "untestable" or one.sentence:
            decided.append(one)
            continue
        shown = not np.isnan(p) and p <= LEVEL
        verdict: Verdict = "undecided" if not shown else "supported" if one.leaning > 0 else "contradicted"
        one = replace(one, verdict=verdict, p_adjusted=float(p))
        decided.append(replace(one, sentence=_sentence_of_runs(one)))
    return decided


def _sentence_of_paper(one: Judged) -> str:
    n = len(one.findings)
    n_ties = sum(finding.holds is None and not finding.missing for finding in one.findings)
    ties = f", {n_ties} equal in print" if n_ties else ""
    nearest = f" Decided by {one.decisive} ({signed(one.effect)} {one.unit})." if one.decisive else ""
    n_holding = sum(finding.holds is True for finding in one.findings)
    if one.verdict == "supported":
        so = "all hold" if n_holding == n else f"{n_holding} hold, and no more are needed"
        exceptions = f" Exceptions that it allows: {len(one.counterexamples)}." if one.counterexamples else ""
        return f"The printed numbers are so ({counted(n, 'comparison')}, {so}).{exceptions}{nearest}"
    if one.verdict == "contradicted":
        follows = f" {one.stated.claim.if_contradicted}" if one.stated.claim.if_contradicted else ""
        so = f"{one.n_against} of {counted(n, 'comparison')} do not hold{ties}"
        return f"The printed numbers are not so: {so}.{nearest}{follows}"
    if one.missing:
        return f"The paper does not print {counted(len(one.missing), 'number')} that it needs."
    return f"Numbers that are equal in print decide.{nearest}"


def _sentence_of_runs(one: Judged) -> str:
    if one.missing and len(one.missing) == len(one.cells):
        return "There are no finished cells to test it on."
    without = f" {counted(len(one.missing), 'cell')} of {len(one.cells)} missing." if one.missing else ""
    if all(finding.missing for finding in one.findings):
        return f"No comparison has all its cells.{without}"
    if one.p != one.p:
        return f"{counted(one.n_patients, 'patient')}: fewer than {MIN_PATIENTS} allow no test.{without}"
    p = f"adjusted p {p_text(one.p_adjusted)}"
    if one.verdict == "supported":
        return f"Shown ({p}).{without}"
    if one.verdict == "contradicted":
        follows = f" {one.stated.claim.if_contradicted}" if one.stated.claim.if_contradicted else ""
        return f"The opposite is shown ({p}).{without}{follows}"
    sides: Mapping[int, str] = {
        1: "The means are so, which is not shown",
        -1: "The means are not so, which is not shown either",
        0: "The means leave it open",
    }
    return f"{sides[one.side]} ({p}).{without}"
