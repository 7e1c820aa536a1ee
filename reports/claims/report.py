"""`bench report --claims`: every claim with its verdict, as tables, CSV and one page each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import get_args

from benchmark.files.writing import write_text
from benchmark.vocabulary import BenchError
from reports.claims.findings import Source as Numbers
from reports.claims.frames import claims_frame, comparisons_frame
from reports.claims.judging import LEVEL, Judged, Verdict, judge
from reports.claims.own import RESAMPLES, Launch, OwnNumbers
from reports.claims.pages import claim_page
from reports.claims.printed import VERDICT, by_claim, claims_tables, in_pages
from reports.claims.published import PublishedNumbers
from reports.claims.reading import Stated, choose, load_claims
from reports.evidence.comparable import apart_note, publication_of, why_not
from reports.evidence.experiments import banner_of
from reports.evidence.mixing import mixing_notes
from reports.ground import banner
from reports.ground.addresses import of_launch, parse_places
from reports.ground.cells import Source
from reports.ground.files import SHOWN, ReportFiles, WrittenTable, write_csv, write_index
from reports.ground.hypertext import standalone
from reports.ground.latex import latex
from reports.ground.printing import markdown, markdown_text
from reports.ground.threads import on_one_thread
from reports.ground.words import counted, enumerated
from reports.statistics.resampling import MIN_PATIENTS


def numbers_of(
    results: Path | None,
    source: Source,
    *,
    manifest: str | None = None,
    profile: str | None = None,
    dataset: str | None = None,
) -> list[Numbers]:
    """Where claims are tested: on the printed numbers, on own runs in `results`, or on both.

    BenchError where own runs are asked for and there is not a single launch of a grid.
    """
    found: list[Numbers] = [PublishedNumbers()] if source != "runs" else []
    if source == "paper":
        return found
    if results is None:
        raise BenchError(
            "Own numbers need a folder with results: name it with --results, or use --source paper."
        )
    own = OwnNumbers(results, manifest=manifest, profile=profile, dataset=dataset)
    if not own.launches:
        raise BenchError(
            f"There are no runs in {results} that claims could be tested on. Start them with `bench run`, name another "
            "folder with --results, or test the claims on the published numbers with --source paper."
        )
    return [*found, own]


@on_one_thread
def claims_report(
    results: Path | None,
    files: Sequence[Path],
    *,
    source: Source,
    out: Path,
    grid: str | None = None,
    manifest: str | None = None,
    profile: str | None = None,
    dataset: str | None = None,
) -> ReportFiles:
    """Judge the claims of these files and write the report to the folder `out`.

    `grid`: only those about one table. Raises `BenchError` for claims that cannot be read, or name what no table
    has.
    """
    claims = choose(load_claims(files), table=grid)
    sources = numbers_of(results, source, manifest=manifest, profile=profile, dataset=dataset)
    judged = judge(claims, sources)
    named = partial(_of_its_launch, launches=_launches(sources))
    shown = _shown_launches(judged, sources)
    banners = {grid: text for grid, one in shown.items() if (text := banner_of(one.results, one.manifest))}
    apart = _apart(judged, shown)
    tables = claims_tables(judged, notes=tuple(_notes(judged, sources)), apart=apart, banners=banners)
    tables = [table.with_addresses(named) for table in tables]
    stem = out / "claims"
    paths = [stem.with_name(f"claims{end}") for end in (".md", ".tex", ".csv", "_comparisons.csv", ".html")]
    write_text(paths[0], "\n".join(map(markdown, tables)))
    write_text(paths[1], latex(in_pages(tables)))
    write_csv(paths[2], claims_frame(judged))
    write_csv(paths[3], comparisons_frame(judged))
    write_text(paths[4], standalone(tables))
    written = WrittenTable(tuple(tables), tuple(paths))
    for name, found in by_claim(judged).items():
        paths.append(stem / f"{name}.md")
        write_text(paths[-1], claim_page(found, apart=apart.get(str(found[0].stated.claim.table), "")))
    title = f"Claims: {SHOWN[source]}"
    texts = [*map(markdown, tables), _contents(claims)]
    above = " ".join(f"{text} ({enumerated(grids)})." for text, grids in _by_text(banners).items())
    aside = " ".join(f"{enumerated(grids)}: {text}" for text, grids in _by_text(apart).items())
    with banner.under(above):
        return write_index(
            *(out, title), lines=list(_lines(judged)), texts=texts, files=paths, tables=[written], apart=aside
        )


def _by_text(texts: Mapping[str, str]) -> dict[str, list[str]]:
    """Each text once, with the grids it is of."""
    found: dict[str, list[str]] = {}
    for grid, text in texts.items():
        found.setdefault(text, []).append(grid)
    return found


def _shown_launches(judged: Sequence[Judged], sources: Sequence[Numbers]) -> dict[str, Launch]:
    """The launches that claims were tested on, by grid."""
    asked = {one.stated.claim.table for one in judged}
    own = [numbers for numbers in sources if isinstance(numbers, OwnNumbers)]
    return {grid: one for numbers in own for grid, one in numbers.launches.items() if grid in asked}


def _apart(judged: Sequence[Judged], launches: Mapping[str, Launch]) -> dict[str, str]:
    """Why verdicts on own runs stand apart from those on the printed numbers, by grid."""
    if len({one.source for one in judged}) < 2:
        return {}
    found = {}
    for grid, launch in launches.items():
        publication = publication_of(grid)
        reasons = why_not(launch.results, launch.manifest, publication)
        if publication is not None and reasons:
            found[grid] = apart_note(reasons, publication)
    return found


def _launches(sources: Sequence[Numbers]) -> dict[str, str]:
    """By grid the launch that claims about it were tested on."""
    own = [numbers for numbers in sources if isinstance(numbers, OwnNumbers)]
    return {grid: launch.manifest.name for numbers in own for grid, launch in numbers.launches.items()}


def _of_its_launch(address: str, *, launches: Mapping[str, str]) -> str:
    grid = parse_places(address).grid
    return of_launch(address, launches[grid]) if grid in launches else address


def _contents(claims: Sequence[Stated]) -> str:
    links = [f"* [{markdown_text(one.name)}](claims/{one.name}.md)" for one in claims]
    return "\n".join(["### A page for every claim, with all comparisons", "", *links]) + "\n"


def _lines(judged: Sequence[Judged]) -> Iterator[str]:
    """For the terminal: how many of each verdict, and what is contradicted."""
    for source in dict.fromkeys(one.source for one in judged):
        of_source = [one for one in judged if one.source == source]
        counts = Counter(one.verdict for one in of_source)
        told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in get_args(Verdict) if counts[verdict])
        yield f"{VERDICT[source]}: {counted(len(of_source), 'claim')}, {told}."
        for one in of_source:
            if one.verdict == "contradicted":
                against = f" ({one.counterexamples[0]})" if one.counterexamples else ""
                more = f", and {len(one.counterexamples) - 1} more" if len(one.counterexamples) > 1 else ""
                yield f"{VERDICT[source]}, contradicted: {one.id}{against}{more}."


def _notes(judged: Sequence[Judged], sources: Sequence[Numbers]) -> Iterator[str]:
    """What stands under every table of claims."""
    yield (
        "Margin: of the comparison on which the verdict hangs; above 0 the numbers are on the claim's side. Cells: "
        "how many numbers it needs. The pages of the claims have every comparison."
    )
    if any(one.source == "paper" for one in judged):
        yield (
            "As printed: the paper's numbers as they stand, one a cell, without intervals or tests; supported and "
            "contradicted say what the numbers say, not what further patients or seeds would."
        )
    own = [source for source in sources if isinstance(source, OwnNumbers)]
    for numbers in own:
        yield from _own_notes(judged, numbers)


def _own_notes(judged: Sequence[Judged], own: OwnNumbers) -> Iterator[str]:
    tested = [one for one in judged if one.source == "runs" and one.p == one.p]
    covers = dict.fromkeys(one.interval.covers for one in tested if one.interval is not None)
    covered = f" that cover {' or '.join(covers)}" if covers else ""
    yield (
        f"Own runs: 95 % intervals{covered}, from {RESAMPLES} resamples common to all cells; p: two-sided, the "
        "larger of the signed-rank test's over patients and of the mean's over its bootstrap error, joined over the "
        "comparisons of a claim (all must be shown for supported, one against it for contradicted), after Holm over "
        f"the {counted(len(tested), 'claim')} tested here. Spreads (range, sd, iqr) have no rank test. Undecided: p "
        f"above {LEVEL}, fewer than {MIN_PATIENTS} patients, or missing cells would decide."
    )
    for grid, launch in _shown_launches(judged, [own]).items():
        manifest = launch.manifest
        yield f"{grid}: launch {manifest.name}, data set {manifest.dataset}, profile {manifest.profile}."
        if launch.refusal:
            yield f"Nothing is decided on {manifest.name}: {launch.refusal}"
        yield from mixing_notes(launch.mixed)
        if why_not(launch.results, manifest, publication_of(grid)):
            yield "That is another experiment than the paper's: own verdicts are about these runs, not about the paper."
