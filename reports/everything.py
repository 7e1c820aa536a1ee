"""All that there are runs for: every grid's newest launches, every search, claims; each in a folder, or as a page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

from benchmark.results.manifests import GridManifest
from benchmark.search.cards import is_elsewhere, search_cards
from benchmark.vocabulary import BenchError
from benchmark.words import in_results
from reports.claims.report import claims_report
from reports.ground.cells import Source
from reports.ground.files import ReportFiles
from reports.ground.launches import Launches, folder_names, newer_unfinished, newest_launches
from reports.ground.remembering import forget, remembering
from reports.ground.runs import SCORES_KEPT, Coordinates, planned_and_scored
from reports.ground.threads import on_one_thread
from reports.ground.words import counted
from reports.page.coverage import STATES, Coverage, coverage
from reports.page.folder import new_page, require_folder
from reports.page.grids import ShownGrid, shown_grid
from reports.page.linking import with_links
from reports.page.model import CoverageRow, Page, section_of
from reports.page.run_parts import shown_parts
from reports.page.sharing import without_folders
from reports.page.write import MOST_THUMBNAILS, Thumbnail, write_page
from reports.panels.thumbnails import thumbnail_png
from reports.provenance.trace import Links
from reports.tables.registry import TABLES
from reports.tables.report import write_launch

CLAIMS = "claims"


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


def write_everything(
    results: Path, out: Path, *, source: Source, claims: Sequence[Path] = (), storage: str | None = None
) -> list[Part]:
    """The report of every grid and search, and on claims, each to a folder in `out`; BenchError where there is no
    run. `storage`: where the trials are of searches whose own address lacks a password."""
    launches = newest_launches(results)
    require_folder(out)
    parts = _parts(results, launches, source=source, out=out)
    parts += _waiting(results, launches)
    parts += _searches(results, out, storage)
    if not parts:
        raise _no_runs(results)
    return [*parts, *_claims(results, claims, source=source, out=out / CLAIMS)]


@on_one_thread
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

    An older page stays until the new one is whole. Of a single launch the claims about its table are judged, on its
    runs. `storage`: as in `write_everything`. BenchError where there is no run, `out` has something else in it, or
    another process writes there.
    """
    chosen = newest_launches(results) if launches is None else launches
    if not chosen and not search_cards(results):
        raise _no_runs(results)
    with new_page(out) as building, remembering():
        parts = _parts(results, chosen, source=source, out=building / "files")
        waiting = _waiting(results, chosen) if launches is None else []
        searches = list(_searches(results, building / "files", storage)) if launches is None else []
        judged = _claims(
            results,
            claims,
            source="both" if source == "both" else "runs",
            out=building / "files" / CLAIMS,
            launch=launches[0][0] if launches is not None and len(launches) == 1 else None,
        )
        grids = [shown_grid(results, part.manifest) for part in parts if part.report and part.manifest]
        page = _page(results, building, grids, parts=parts, waiting=waiting, searches=searches, claims=judged)
        # What follows reads the scores again, cell by cell.
        forget(SCORES_KEPT)
        rows = shown_parts(page, results)
        files = write_page(
            with_links(page, grids, rows),
            grids,
            building,
            results=results,
            thumbnail=thumbnail,
            most_thumbnails=most_thumbnails,
            links=links,
            parts=rows,
        )
    parts = [*parts, *waiting, *searches, *judged]
    reported = [path for part in parts if part.report is not None for path in part.report.files]
    moved = partial(_moved, building, out)
    parts = [replace(part, report=part.report and _moved_report(part.report, moved)) for part in parts]
    return WrittenPage(tuple(map(moved, (*files, *reported))), tuple(parts))


def _moved(building: Path, out: Path, path: Path) -> Path:
    return out / path.relative_to(building)


def _moved_report(report: ReportFiles, moved: Callable[[Path], Path]) -> ReportFiles:
    return replace(
        report,
        files=tuple(map(moved, report.files)),
        tables=tuple(replace(table, files=tuple(map(moved, table.files))) for table in report.tables),
        figures=tuple(replace(figure, files=tuple(map(moved, figure.files))) for figure in report.figures),
    )


def _page(
    results: Path,
    folder: Path,
    grids: Sequence[ShownGrid],
    *,
    parts: Sequence[Part],
    waiting: Sequence[Part],
    searches: Sequence[Part],
    claims: Sequence[Part],
) -> Page:
    def share(text: str) -> str:
        return str(without_folders(text, results))

    section = partial(section_of, share=share)
    shown = [(part, part.report) for part in parts if part.report is not None]
    sections = [
        section(report, folder, grid, short=_short(grid.manifest, part), note=_note(grid.manifest, part))
        for (part, report), grid in zip(shown, grids, strict=True)
    ]
    sections += [section(part.report, folder, None, short=part.name) for part in searches if part.report]
    judged = next((part.report for part in claims if part.report is not None), None)
    rows = [
        CoverageRow(_coverage(results, part.manifest), part.report is not None, share(part.reason))
        for part in (*parts, *waiting)
        if part.manifest is not None
    ]
    states = {state for row in rows for state in row.coverage.states}
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    place = results.absolute()
    return Page(
        title=f"Benchmark report: {place.parent.name}/{place.name}",
        sections=tuple(sections),
        coverage=tuple(rows),
        states=tuple(state for state in STATES if state in states),
        claims=None if judged is None else section(judged, folder, None, short="Claims"),
        no_claims=share(claims[0].reason) if claims else "No file of claims was given.",
        not_shown=tuple(f"{part.name}: {share(part.reason)}" for part in searches if part.report is None),
        made_by=(
            f"Made by mirror-bench {version('mirror-bench')} on {when}.",
            "Tables by DataTables (MIT), plots by Plotly.js (MIT). Nothing of this page is loaded from a network.",
        ),
    )


def _parts(results: Path, launches: Launches, *, source: Source, out: Path) -> list[Part]:
    """The reports of these launches, each in a folder of its own in `out`."""
    return [
        _part(results, manifest, others, source=source, name=name, out=out / name)
        for (manifest, others), name in zip(launches, folder_names(launches), strict=True)
    ]


def _waiting(results: Path, launches: Launches) -> list[Part]:
    """The launches that an earlier one is shown for."""
    return [
        Part(
            newer.name,
            None,
            f"None of its runs has finished; {shown.name}, launched before, is shown.",
            newer,
        )
        for newer, shown in newer_unfinished(results, launches)
    ]


def _part(
    results: Path, manifest: GridManifest, others: int, *, source: Source, name: str, out: Path
) -> Part:
    asked: Source = source if manifest.grid in TABLES else "runs"
    try:
        report = write_launch(results, manifest, source=asked, out=out, others=others)
    except BenchError as error:
        return Part(name, None, str(error), manifest)
    return Part(name, report, manifest=manifest)


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
    return BenchError(
        f"There are no runs in {results}. Start some with `bench run --grid table2{in_results(results)}`."
    )


def _searches(results: Path, out: Path, storage: str | None = None) -> Iterator[Part]:
    """The reports of all searches; Optuna is imported only where there is one."""
    for card in search_cards(results):
        from reports.search.report import open_search, write_search_report

        name = card.study
        try:
            study = open_search(results, name, storage=storage if is_elsewhere(results, card) else None)
            yield Part(name, write_search_report(results, study, out=out / f"search-{name}").files)
        except BenchError as error:
            yield Part(name, None, str(error))


def _coverage(results: Path, manifest: GridManifest) -> Coverage:
    """By all factors, whatever they are: a launch without a table is covered, too. Runs that cannot be read have failed
    here as in every table."""
    keys = tuple(sorted({name for cell in manifest.cells for name in cell.factors}))
    place = Coordinates(keys, lambda factors: {key: factors.get(key, "") for key in keys})
    return coverage(manifest, planned_and_scored(results, manifest, place)[0], keys)


def _short(manifest: GridManifest, part: Part) -> str:
    """A grid's name in the navigation: table2 as Table 2, and on which data where it is there twice."""
    number = manifest.grid.removeprefix("table")
    name = f"Table {number}" if manifest.grid.startswith("table") and number.isdigit() else manifest.grid
    return ", ".join(filter(None, (name, _note(manifest, part))))


def _note(manifest: GridManifest, part: Part) -> str:
    """Data set and profile, where the grid is there with others, too."""
    return "" if part.name == manifest.grid else f"{manifest.dataset}, {manifest.profile}"
