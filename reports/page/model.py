"""What the templates show: sections with their tables, figures and files, all of it text and addresses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from reports.ground.cells import titled
from reports.ground.files import ReportFiles, WrittenTable
from reports.ground.measures import Measure
from reports.ground.printing import Cell, PrintedTable, Row, Span
from reports.ground.words import counted
from reports.page.coverage import Coverage, Segment, bar
from reports.page.grids import ShownGrid


@dataclass(frozen=True)
class File:
    """A file of the folder: its address seen from the page, and its name."""

    href: str
    name: str


@dataclass(frozen=True)
class Group:
    """Tables that were written together, and their files."""

    number: int
    printed: tuple[PrintedTable, ...]
    files: tuple[File, ...]


@dataclass(frozen=True)
class Figure:
    """A figure: the picture that is shown, its size in CSS pixels, its caption, and its files."""

    source: str
    size: tuple[int, int] | None
    title: str
    caption: str
    files: tuple[File, ...]


@dataclass(frozen=True)
class Section:
    """A view of its own: a launch or a search. `cells` is the table of all cells, None without any."""

    name: str
    grid: str
    short: str
    title: str
    where: str
    findings: tuple[str, ...]
    groups: tuple[Group, ...]
    figures: tuple[Figure, ...]
    cells: PrintedTable | None = None
    measures: tuple[Measure, ...] = ()
    remarks: tuple[str, ...] = ()
    """On what could not be shown."""
    banner: str = ""
    apart: str = ""
    """Why own and published numbers are not comparable, where both are shown."""

    @property
    def has_files(self) -> bool:
        return bool(self.figures) or any(group.files for group in self.groups)


@dataclass(frozen=True)
class CoverageRow:
    """A launch in the table of coverage; `reason` says why it has no view, if it has none."""

    coverage: Coverage
    shown: bool
    reason: str = ""

    @property
    def bar(self) -> list[Segment]:
        return bar(self.coverage.states)

    @property
    def words(self) -> str:
        """The bar for who cannot see it."""
        return ", ".join(f"{counted(n, 'run')} {state}" for state, n in self.coverage.states.items())


@dataclass(frozen=True)
class Page:
    """All views: a launch's or a search's are `sections`; `states` are those that some run is in.

    `not_shown` says what has no view, and why, where the table of coverage does not."""

    title: str
    sections: tuple[Section, ...]
    coverage: tuple[CoverageRow, ...]
    states: tuple[str, ...]
    claims: Section | None
    no_claims: str
    not_shown: tuple[str, ...]
    made_by: tuple[str, ...]


Share = Callable[[str], str]
"""A text for whoever the page is given to."""


def section_of(
    report: ReportFiles,
    folder: Path,
    grid: ShownGrid | None,
    *,
    short: str,
    note: str = "",
    share: Share = str,
) -> Section:
    """A report as a view of the page in `folder`; `note` goes into its title."""
    first, *rest = report.summary if grid is not None else ("", *report.summary)
    return Section(
        name=report.manifest or report.title,
        grid=grid.manifest.grid if grid is not None else "",
        short=short,
        title=share(titled(report.title, note)),
        where=share(first),
        findings=tuple(map(share, rest)),
        groups=groups_of(report.tables, folder, share=share),
        figures=figures_of(report, folder, share=share),
        cells=cells_table(grid) if grid is not None and len(grid.cells) else None,
        measures=tuple(grid.measures.values()) if grid is not None else (),
        remarks=tuple(map(share, report.remarks)),
        banner=report.banner,
        apart=share(report.apart),
    )


def groups_of(tables: Sequence[WrittenTable], folder: Path, *, share: Share = str) -> tuple[Group, ...]:
    return tuple(
        Group(number, tuple(_shared(one, share) for one in table.printed), files_of(table.files, folder))
        for number, table in enumerate(tables)
    )


def _shared(table: PrintedTable, share: Share) -> PrintedTable:
    return replace(table, title=share(table.title), notes=tuple(map(share, table.notes)))


def figures_of(report: ReportFiles, folder: Path, *, share: Share = str) -> tuple[Figure, ...]:
    shown = []
    for figure in report.figures:
        picture = next((path for path in figure.files if path.suffix == ".png"), None)
        if picture is not None:
            files = files_of(figure.files, folder)
            source = address_of(picture, folder)
            title, caption = share(figure.title), share(figure.caption)
            shown.append(Figure(source, png_size(picture), title, caption, files))
    known = {path for figure in report.figures for path in figure.files}
    # A report may have pictures that are no figures of its own: those of single cases.
    others = [path for path in report.files if path.suffix == ".png" and path not in known]
    shown += [
        Figure(address_of(path, folder), png_size(path), path.stem, "", files_of([path], folder))
        for path in others
    ]
    return tuple(shown)


def files_of(paths: Sequence[Path], folder: Path) -> tuple[File, ...]:
    return tuple(File(address_of(path, folder), path.name) for path in paths)


def address_of(path: Path, folder: Path) -> str:
    """A file's address relative to the page, whatever signs its name has."""
    return quote(path.relative_to(folder).as_posix())


def png_size(path: Path, *, dpi: int = 200) -> tuple[int, int] | None:
    """Width and height in CSS pixels (96 an inch) of a PNG that is drawn at so many dots an inch."""
    head = path.read_bytes()[:24] if path.exists() else b""
    if head[:8] != b"\x89PNG\r\n\x1a\n":
        return None
    width, height = (int.from_bytes(head[start : start + 4], "big") for start in (16, 20))
    return round(width * 96 / dpi), round(height * 96 / dpi)


def cells_table(grid: ShownGrid) -> PrintedTable:
    """Every cell with all its measures and what stands behind them; each number leads to its cases."""
    keys = [key for key in grid.table.shown if key in grid.cells]
    rows = []
    for index, cell in enumerate(grid.cells.to_dict("records")):
        names = {str(key): str(value) for key, value in cell.items()}
        values = [
            _number(frame["value"].iloc[index], grid.table.address(names, key))
            for key, frame in grid.frames.items()
        ]
        first = next(iter(grid.frames.values())).iloc[index] if grid.frames else None
        counts = [
            f"{first['n_runs']}/{first['n_expected']}" if first is not None else "–",
            str(first["n_cases"]) if first is not None else "–",
            str(first["n_defined"]) if first is not None else "–",
        ]
        words = [(Span(names[key]),) for key in keys[1:]]
        linked = grid.table.address(names)
        rows.append(
            Row("", names[keys[0]], (*words, *values, *((Span(text, address=linked),) for text in counts)))
        )
    headings = [key.replace("_", " ").capitalize() for key in keys]
    first_name = next(iter(grid.measures.values())).name if grid.measures else "score"
    return PrintedTable(
        number=f"{grid.table.name} (cells)",
        title="Every cell with all its measures; a number leads to its runs and cases",
        stub=(headings[0],),
        columns=(
            *headings[1:],
            *(measure.heading for measure in grid.measures.values()),
            "Runs",
            "Cases",
            f"With {first_name}",
        ),
        rows=tuple(rows),
        align="l" * (len(headings) - 1),
    )


def _number(value: float, address: str) -> Cell:
    return (Span("–" if value != value else f"{value:.2f}", address=address),)
