"""All that there are runs for: every grid's newest launch, every search, claims; each in a folder, or as a page."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmark.results import GridManifest, manifests, read_json
from benchmark.vocabulary import BenchError
from reports.cells import Source
from reports.claims.report import claims_report
from reports.files import ReportFiles
from reports.page.coverage import STATES, Coverage, coverage
from reports.page.grids import shown_grid
from reports.page.model import CoverageRow, Page, Section, section_of
from reports.page.write import MOST_THUMBNAILS, Thumbnail, prepare_folder, write_page
from reports.panels.thumbnails import thumbnail_png
from reports.provenance.trace import Links
from reports.report import REPORTS, write_launch
from reports.runs import Place, planned_runs
from reports.words import counted

CLAIMS = "claims"
SEARCH = "search_"
"""How the grids of a search's trials begin."""


@dataclass(frozen=True)
class Part:
    """A grid's launch or a search: its report, or why there is none."""

    name: str
    report: ReportFiles | None
    reason: str = ""
    manifest: GridManifest | None = None

    @property
    def line(self) -> str:
        """For the terminal."""
        if self.report is None:
            return f"{self.name}: not shown. {self.reason}"
        return f"{self.name}: {counted(len(self.report.files), 'file')}. {self.report.title}"


@dataclass(frozen=True)
class WrittenPage:
    """The files of a page, its index first, and what is in it."""

    files: tuple[Path, ...]
    parts: tuple[Part, ...]


def newest_launches(results: Path) -> list[tuple[GridManifest, int]]:
    """The newest launch of every grid, by the grids' names, and how many others it has. Trials of searches are no
    grids."""
    launches: dict[str, list[GridManifest]] = {}
    for manifest in manifests(results):
        if not manifest.grid.startswith(SEARCH):
            launches.setdefault(manifest.grid, []).append(manifest)
    return [(found[0], len(found) - 1) for _, found in sorted(launches.items())]


def write_everything(
    results: Path, out: Path, *, source: Source, claims: Sequence[Path] = (), storage: str | None = None
) -> list[Part]:
    """The report of every grid and search, and on claims, each to a folder in `out`; BenchError where there is no
    run. `storage`: where the trials are of searches whose own address lacks a password."""
    launches = newest_launches(results)
    parts = [
        _part(results, manifest, others, source=source, out=out / manifest.grid)
        for manifest, others in launches
    ]
    parts += _searches(results, out, storage)
    if not parts:
        raise _no_runs(results)
    return [*parts, *_claims(results, claims, source=source, out=out / CLAIMS)]


def write_html(
    results: Path,
    out: Path,
    *,
    source: Source,
    launches: list[tuple[GridManifest, int]] | None = None,
    thumbnail: Thumbnail | None = thumbnail_png,
    most_thumbnails: int = MOST_THUMBNAILS,
    links: Links | None = None,
    claims: Sequence[Path] = (),
    storage: str | None = None,
) -> WrittenPage:
    """The page of these launches, or of all grids and searches, in the folder `out`, with the reports' own files.

    Of a single launch the claims about its table are judged, on its runs. `storage`: as in `write_everything`.
    """
    chosen = newest_launches(results) if launches is None else launches
    if not chosen:
        raise _no_runs(results)
    prepare_folder(out)
    parts = [
        _part(results, manifest, others, source=source, out=out / "files" / manifest.grid)
        for manifest, others in chosen
    ]
    rows, sections, grids = [], [], []
    for part in parts:
        assert part.manifest is not None
        rows.append(CoverageRow(_coverage(results, part.manifest), part.report is not None, part.reason))
        if part.report is not None:
            grids.append(shown_grid(results, part.manifest))
            sections.append(section_of(part.report, out, grids[-1], short=_short(part.manifest.grid)))
    if launches is None:
        searches = _searches(results, out / "files", storage)
        sections += [
            section_of(part.report, out, None, short=part.name)
            for part in searches
            if part.report is not None
        ]
        parts += searches
    judged = _claims(
        results,
        claims,
        source="both" if source == "both" else "runs",
        out=out / "files" / CLAIMS,
        launch=launches[0][0] if launches is not None and len(launches) == 1 else None,
    )
    parts += judged
    page = _page(results, rows, sections, next(iter(judged), None), out)
    files = write_page(
        page, grids, out, results=results, thumbnail=thumbnail, most_thumbnails=most_thumbnails, links=links
    )
    reported = [path for part in parts if part.report is not None for path in part.report.files]
    return WrittenPage((*files, *reported), tuple(parts))


def _page(
    results: Path, rows: list[CoverageRow], sections: list[Section], judged: Part | None, out: Path
) -> Page:
    present = {state for row in rows for state in row.coverage.states}
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return Page(
        title=f"Benchmark report: {results.absolute().parent.name}/{results.absolute().name}",
        sections=tuple(sections),
        coverage=tuple(rows),
        states=tuple(state for state in STATES if state in present),
        claims=section_of(judged.report, out, None, short="Claims")
        if judged is not None and judged.report is not None
        else None,
        no_claims=judged.reason if judged is not None else "No file of claims was given.",
        made_by=(
            f"Made by mirror-bench {version('mirror-bench')} on {when} from {results.absolute()}.",
            "Tables by DataTables (MIT), plots by Plotly.js (MIT). Nothing of this page is loaded from a network.",
        ),
    )


def _part(results: Path, manifest: GridManifest, others: int, *, source: Source, out: Path) -> Part:
    asked: Source = source if manifest.grid in REPORTS else "runs"
    try:
        report = write_launch(results, manifest, source=asked, out=out, others=others)
    except BenchError as error:
        return Part(manifest.grid, None, str(error), manifest)
    return Part(manifest.grid, report, manifest=manifest)


def _claims(
    results: Path, files: Sequence[Path], *, source: Source, out: Path, launch: GridManifest | None = None
) -> list[Part]:
    """The verdicts on the claims of these files, if there are any; of a launch, on those about its table."""
    if not files:
        return []
    about = {} if launch is None else {"grid": launch.grid, "manifest": launch.name}
    try:
        return [Part(CLAIMS, claims_report(results, files, source=source, out=out, **about))]
    except BenchError as error:
        return [Part(CLAIMS, None, str(error))]


def _no_runs(results: Path) -> BenchError:
    return BenchError(f"There are no runs in {results}. Start some with `bench run --grid table2`.")


def _searches(results: Path, out: Path, storage: str | None = None) -> Iterator[Part]:
    """The reports of all searches; Optuna is imported only where there is one."""
    cards = [
        read_json(path)
        for path in sorted((results / "searches").glob("*.json"))
        if not path.name.endswith(".final.json")
    ]
    for card in cards:
        from reports.search.report import open_search, write_search_report

        name = str(card["study"])
        try:
            study = open_search(results, name, storage=storage if card["has_password"] else None)
            yield Part(name, write_search_report(results, study, out=out / f"search-{name}").files)
        except BenchError as error:
            yield Part(name, None, str(error))


def _coverage(results: Path, manifest: GridManifest) -> Coverage:
    """By all factors, whatever they are: a launch without a table is covered, too."""
    keys = tuple(sorted({name for cell in manifest.cells for name in cell.factors}))
    place = Place(keys, lambda factors: {key: factors.get(key, "") for key in keys})
    return coverage(manifest, planned_runs(results, manifest, place), keys)


def _short(grid: str) -> str:
    """A grid's name in the navigation: table2 as Table 2."""
    number = grid.removeprefix("table")
    return f"Table {number}" if grid.startswith("table") and number.isdigit() else grid
