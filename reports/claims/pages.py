"""A page for every claim: what it says, every verdict, and all comparisons behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reports.claims.frames import caveat_text
from reports.claims.judging import Judged
from reports.claims.printed import VERDICT, comparisons_table, effect_text
from reports.ground.printing import markdown, markdown_text
from reports.ground.words import p_text


def claim_page(found: Sequence[Judged], *, apart: str = "") -> str:
    """The page of one claim in Markdown; `found` are its judgements, one a source, `apart` says why those of two are
    not comparable."""
    claim = found[0].stated.claim
    lines = [f"# {markdown_text(claim.id)}", "", markdown_text(claim.says), ""]
    facts = {
        "Paper": found[0].stated.paper,
        "Place": claim.place,
        "Read as": claim.reading,
        "Kind": "logic: it must hold in every case, whatever the data" if claim.kind == "logic" else "",
        "Stated in": found[0].stated.file,
    }
    lines += [f"* {name}: {markdown_text(text)}" for name, text in facts.items() if text]
    lines += [f"* Caveat: {markdown_text(caveat_text(caveat))}" for caveat in claim.caveats]
    if found[0].verdict == "untestable":
        lines += ["", f"Untestable. {markdown_text(found[0].sentence)}"]
        return "\n".join(lines) + "\n"
    lines += ["", f"**{markdown_text(apart)}**"] if apart else []
    for number, one in enumerate(found, start=1):
        lines += ["", f"## {VERDICT[one.source]}: {one.verdict}", "", markdown_text(one.sentence)]
        facts_of_source = [f"* {markdown_text(line)}" for line in _facts(one)]
        lines += ["", *facts_of_source] if facts_of_source else []
        lines += _list("Against it", one.counterexamples)
        lines += _list("Missing", one.missing)
        lines += ["", markdown(comparisons_table(one, number=number))]
    cells = ", ".join(f"`{cell}`" for cell in found[-1].cells)
    lines += ["## Cells", "", cells]
    return "\n".join(lines).rstrip() + "\n"


def _facts(one: Judged) -> Iterator[str]:
    if one.decisive and one.source == "runs":
        yield f"Decisive: {one.decisive}; margin {effect_text(one)}."
    if one.interval is not None and one.interval.known:
        yield f"The interval covers {one.interval.covers}."
    if one.probability == one.probability:
        yield f"The whole claim holds in {100 * one.probability:.1f} % of the resamples."
    if one.p == one.p:
        yield f"p {p_text(one.p)}, adjusted over all claims {p_text(one.p_adjusted)}; {one.n_patients} patients."


def _list(title: str, texts: Sequence[str]) -> list[str]:
    return ["", f"{title}:", "", *(f"* {markdown_text(text)}" for text in texts)] if texts else []
