"""Judged claims as tables: one for every file of claims, one for the claims that no table can decide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from reports.claims.frames import caveat_text
from reports.claims.judging import Judged
from reports.claims.language import Claim
from reports.claims.reading import Stated
from reports.ground.frames import DECIMALS
from reports.ground.notes import MISSING
from reports.ground.printing import Cell, PrintedTable, Row, Span
from reports.ground.words import enumerated, p_text, signed

SHOWN_AT_MOST = 4
"""Counterexamples of a claim in the table; its page has all."""
ROWS_A_PAGE = 6
"""Of a table in LaTeX: claims are sentences, and a page holds so many of them."""
VERDICT = {"paper": "As printed", "runs": "Own runs"}

ByClaim = Mapping[str, Sequence[Judged]]
"""The judgements of a claim, one a source."""


def by_claim(judged: Sequence[Judged]) -> dict[str, list[Judged]]:
    """The judgements by the claim's id, in order."""
    found: dict[str, list[Judged]] = {}
    for one in judged:
        found.setdefault(one.id, []).append(one)
    return found


def claims_tables(
    judged: Sequence[Judged],
    *,
    notes: Sequence[str],
    apart: Mapping[str, str] = MappingProxyType({}),
    banners: Mapping[str, str] = MappingProxyType({}),
) -> list[PrintedTable]:
    """A table for the claims about each of the paper's (or own) tables, then one of the untestable ones.

    By grid: `apart` says why its sources have a table each, `banners` what stands above own runs.
    """
    testable = [one for one in judged if one.verdict != "untestable"]
    grids = dict.fromkeys(str(one.stated.claim.table) for one in testable)
    tables: list[PrintedTable] = []
    for grid in grids:
        about = [one for one in testable if one.stated.claim.table == grid]
        sources = list(dict.fromkeys(one.source for one in about))
        said = apart.get(grid, "") if len(sources) > 1 else ""
        for shown in [[source] for source in sources] if said else [sources]:
            rows = by_claim([one for one in about if one.source in shown])
            whose = f": {VERDICT[shown[0]].lower()}" if said else ""
            title, number = f"Claims about {grid}{whose}", f"C{len(tables) + 1}"
            table = _table(number, title, rows, notes=notes)
            first = (said,) if said else ()
            banner = banners.get(grid, "") if "runs" in shown else ""
            tables.append(replace(table, notes=(*first, *table.notes), banner=banner))
    untestable = by_claim([one for one in judged if one.verdict == "untestable"])
    if untestable:
        tables.append(_untestable_table(f"C{len(tables) + 1}", untestable))
    return tables


def _table(number: str, title: str, claims: ByClaim, *, notes: Sequence[str]) -> PrintedTable:
    sources = [one.source for one in next(iter(claims.values()))]
    columns, align = ["Place", "Says"], "pp"
    bounded = any(
        one.interval is not None and one.interval.known for found in claims.values() for one in found
    )
    for source in sources:
        margin = "Margin [95 %]" if bounded else "Margin"
        columns += [VERDICT[source], "Margin"] if source == "paper" else [VERDICT[source], margin, "p"]
        align += "lr" if source == "paper" else "lrr"
    columns += ["Cells", "Against it"]
    rows = tuple(Row("", name, tuple(_row(found))) for name, found in claims.items())
    notes = (*_caveats(claims), *notes)
    return PrintedTable(number, title, ("Claim",), tuple(columns), rows, notes, align + "rp")


def _caveats(claims: ByClaim) -> Iterator[str]:
    """Each caveat once, with the claims it is attached to."""
    attached: dict[str, list[str]] = {}
    for name, found in claims.items():
        for caveat in found[0].stated.claim.caveats:
            attached.setdefault(caveat_text(caveat), []).append(name)
    for text, names in attached.items():
        yield f"Caveat of {enumerated(names)}: {text}"


def _row(found: Sequence[Judged]) -> Iterator[Cell]:
    claim = found[0].stated.claim
    yield (Span(claim.place),)
    yield (Span(says(claim)),)
    for one in found:
        yield (Span(one.verdict, bold=one.verdict == "contradicted"),)
        yield (_linked(effect_text(one), one.decisive_address),)
        if one.source == "runs":
            yield (_linked(p_text(one.p_adjusted), one.address),)
    most = max(found, key=lambda one: len(one.cells))
    yield (Span(str(len(most.cells)), address=most.address),)
    yield tuple(_against(found))


def _linked(text: str, address: str) -> Span:
    return Span(text, address="" if text == MISSING else address)


def says(claim: Claim) -> str:
    """What is claimed, and how it is read."""
    return f"{claim.says} ({claim.reading.rstrip('.')}.)" if claim.reading else claim.says


def effect_text(one: Judged) -> str:
    """`+0.93 points [0.41, 1.45]`; a dash without one."""
    if one.effect != one.effect:
        return MISSING
    text = f"{signed(one.effect)} {one.unit}"
    if one.interval is not None and one.interval.known:
        text += f" [{_bound(one.interval.low)}, {_bound(one.interval.high)}]"
    return text


def _bound(value: float) -> str:
    return DECIMALS.format(value).replace("-", "−")


def _against(found: Sequence[Judged]) -> Iterator[Span]:
    """What speaks against it, source by source; what is missing, where nothing can be said."""
    before = ""
    for one in found:
        listed = [Span(each.text, address=each.address) for each in one.against_it[:SHOWN_AT_MOST]]
        if more := len(one.against_it) - len(listed):
            listed.append(Span(f"and {more} more"))
        if one.missing:
            text = f"missing: {len(one.missing)} of {len(one.cells)} cells"
            listed.append(Span(text, address=one.address))
        if not listed:
            continue
        whose = f"{VERDICT[one.source]}: " if len(found) > 1 else ""
        if before or whose:
            yield Span(f"{before}{whose}")
        for number, span in enumerate(listed):
            yield from (Span("; "), span) if number else (span,)
        yield Span(".")
        before = " "


def _untestable_table(number: str, claims: ByClaim) -> PrintedTable:
    rows = []
    for name, found in claims.items():
        stated: Stated = found[0].stated
        cells = ((Span(stated.claim.place),), (Span(says(stated.claim)),), (Span(found[0].sentence),))
        rows.append(Row("", name, cells))
    columns = ("Place", "Says", "Why no table can decide")
    return PrintedTable(
        number, "Claims that no table can decide", ("Claim",), columns, tuple(rows), (), "ppp"
    )


def in_pages(tables: Sequence[PrintedTable]) -> list[PrintedTable]:
    """The tables in parts that fit a page each; notes under the last part."""
    parts = []
    for table in tables:
        starts = range(0, len(table.rows), ROWS_A_PAGE)
        groups = [table.rows[start : start + ROWS_A_PAGE] for start in starts]
        for number, rows in enumerate(groups, start=1):
            last = number == len(groups)
            title = f"{table.title} ({number} of {len(groups)})" if len(groups) > 1 else table.title
            notes = table.notes if last else ()
            parts.append(replace(table, title=title, rows=rows, notes=notes))
    return parts


def comparisons_table(one: Judged, *, number: int) -> PrintedTable:
    """All comparisons of a claim in one source; those against it first in bold."""
    with_tests = one.source == "runs"
    columns = ["Left", "Right", "Margin", "Holds"]
    columns += ["95 % interval", "p it holds", "p it does not"] if with_tests else []
    rows = []
    for finding in one.findings:
        holds = {True: "yes", False: "no", None: "?" if finding.missing else "tie"}[finding.holds]
        margin = MISSING if finding.margin != finding.margin else signed(finding.margin)
        cells = [*map(_number, (finding.left, finding.right)), margin, holds]
        if with_tests:
            known = finding.interval is not None and finding.interval.known
            bounds = (finding.interval.low, finding.interval.high) if known and finding.interval else ()
            cells += [f"{_bound(bounds[0])} to {_bound(bounds[1])}" if bounds else MISSING]
            cells += [p_text(finding.p_holds), p_text(finding.p_fails)]
        against = finding.holds is False
        rows.append(Row("", finding.comparison.text, tuple((Span(text, bold=against),) for text in cells)))
    title = f"{VERDICT[one.source]}: {len(rows)} comparisons, those that do not hold in bold"
    return PrintedTable(str(number), title, ("Comparison",), tuple(columns), tuple(rows))


def _number(value: float) -> str:
    return MISSING if value != value else DECIMALS.format(value)
