"""What a report has to show, and who writes it: one folder, with an index of everything in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from reports.ground import drawing
from reports.ground.files import ReportFiles, WrittenFigure, WrittenTable, write_csv, write_index, write_table
from reports.ground.printing import PrintedTable, markdown, markdown_text

FORMATS = ("png", "pdf")


@dataclass(frozen=True, eq=False)
class ReadyTable:
    """Tables that are written together as `stem`, as printed, as numbers in print's layout, and unrounded.

    `digits` is the format of the layout's numbers; None writes them in full.
    """

    printed: tuple[PrintedTable, ...]
    layout: pd.DataFrame
    cells: pd.DataFrame
    stem: str
    digits: str | None = None


@dataclass(frozen=True, eq=False)
class ReadyFigure:
    """A figure to be drawn in the suite's style, and the `points` it shows, for CSV, unless a table has them."""

    draw: Callable[[], Figure]
    title: str
    caption: str
    points: pd.DataFrame | None
    stem: str
    formats: tuple[str, ...] = FORMATS


@dataclass(frozen=True, eq=False)
class Outputs:
    """What there is to show; `reasons` are sentences on what there is not."""

    tables: tuple[ReadyTable, ...] = ()
    figures: tuple[ReadyFigure, ...] = ()
    reasons: tuple[str, ...] = ()


@dataclass
class ReportWriter:
    """Writes what a report shows to the folder `out`, in this order; `index` ends it.

    Addresses of numbers name the `launch`. `texts` are the Markdown of the index, `remarks` those sentences in it that
    say what there is not.
    """

    out: Path
    launch: str = ""
    files: list[Path] = field(default_factory=list)
    tables: list[WrittenTable] = field(default_factory=list)
    figures: list[WrittenFigure] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def table(self, table: ReadyTable) -> None:
        """Write tables in every form."""
        written = write_table(
            self.out / table.stem,
            table.printed,
            layout=table.layout,
            cells=table.cells,
            digits=table.digits,
            launch=self.launch,
        )
        self.tables.append(written)
        self.files += written.files
        self.texts += map(markdown, written.printed)

    def figure(self, figure: ReadyFigure) -> None:
        """Draw and write a figure."""
        stem = self.out / figure.stem
        with drawing.style():
            paths = drawing.save(figure.draw(), stem, formats=figure.formats)
        if figure.points is not None:
            paths.append(write_csv(stem.with_suffix(".csv"), figure.points))
        title, caption = markdown_text(figure.title), markdown_text(figure.caption)
        links = ", ".join(f"[{path.suffix[1:].upper()}]({path.name})" for path in paths)
        self.pictures(
            [WrittenFigure(figure.title, figure.caption, tuple(paths))],
            [f"### {title}\n\n![{title}]({paths[0].name})\n\n{caption} ({links})\n"],
        )

    def pictures(
        self, figures: Iterable[WrittenFigure], texts: Iterable[str], remarks: Iterable[str] = ()
    ) -> None:
        """Take in figures that are in the folder already, with the Markdown that shows them."""
        for figure in figures:
            self.figures.append(figure)
            self.files += figure.files
        self.texts += texts
        self.remarks += remarks

    def outputs(self, shown: Outputs) -> None:
        """Write all tables, then all figures, then the reasons."""
        for table in shown.tables:
            self.table(table)
        for figure in shown.figures:
            self.figure(figure)
        self.texts += [f"{markdown_text(reason)}\n" for reason in shown.reasons]
        self.remarks += shown.reasons

    def index(self, title: str, *, lines: Sequence[str], apart: str = "") -> ReportFiles:
        """Write `report.md`; `lines` are those for the terminal."""
        return write_index(
            self.out,
            title,
            lines=lines,
            texts=self.texts,
            files=self.files,
            tables=self.tables,
            figures=self.figures,
            remarks=self.remarks,
            apart=apart,
        )
