"""The files of a report: tables as Markdown, LaTeX, CSV and HTML, and the index that shows all of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd

from benchmark.files.writing import write_text, written_whole
from reports.ground import banner
from reports.ground.addresses import of_launch
from reports.ground.cells import Source
from reports.ground.hypertext import standalone
from reports.ground.latex import latex
from reports.ground.printing import PrintedTable, markdown, markdown_text

SHOWN: dict[Source, str] = {
    "runs": "own runs",
    "paper": "as published",
    "both": "own runs beside the published numbers",
}
APART = "own runs, and apart from them the published numbers"
"""What is shown of both where they are not comparable."""
TWO_DECIMALS = "%.2f"
TABLE_ENDS = (".md", ".tex", ".html", ".csv", "_cells.csv")


@dataclass(frozen=True)
class WrittenTable:
    """Tables that were written together, and their files."""

    printed: tuple[PrintedTable, ...]
    files: tuple[Path, ...]


@dataclass(frozen=True)
class WrittenFigure:
    """A figure with the sentences under it, and its files in all formats; a PNG is among them."""

    title: str
    caption: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class ReportFiles:
    """What was written, its title, and the lines for the terminal; `files[0]` is the index."""

    title: str
    summary: tuple[str, ...]
    files: tuple[Path, ...]
    manifest: str | None = None
    """The name of the launch whose runs are shown."""
    tables: tuple[WrittenTable, ...] = ()
    figures: tuple[WrittenFigure, ...] = ()
    remarks: tuple[str, ...] = ()
    """Sentences on what could not be shown, and why."""
    banner: str = ""
    """What stands above all of it."""
    apart: str = ""
    """Why own and published numbers are not comparable, where both are shown."""

    @property
    def lines(self) -> tuple[str, ...]:
        """Title and summary, for the terminal; what must not be overlooked comes first."""
        return (self.title, *filter(None, (self.banner, self.apart)), *self.summary)


def write_table(
    stem: Path,
    printed: Sequence[PrintedTable],
    *,
    layout: pd.DataFrame,
    cells: pd.DataFrame,
    digits: str | None = TWO_DECIMALS,
    launch: str = "",
) -> WrittenTable:
    """`stem.md`, `stem.tex`, `stem.html`, `stem.csv` in the printed layout, `stem_cells.csv` with every number
    unrounded.

    `digits` is the format of the layout's numbers; None writes them in full. The addresses of numbers name the
    `launch`, so that they stay theirs whatever is started later.
    """
    printed = [replace(table, banner=banner.shown()) for table in printed]
    if launch:
        printed = [table.with_addresses(partial(of_launch, launch=launch)) for table in printed]
    paths = [stem.with_name(f"{stem.name}{end}") for end in TABLE_ENDS]
    write_text(paths[0], "\n".join(map(markdown, printed)))
    write_text(paths[1], latex(printed))
    write_text(paths[2], standalone(printed))
    write_csv(paths[3], layout, digits=digits)
    write_csv(paths[4], cells)
    return WrittenTable(tuple(printed), tuple(paths))


FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet computes, or hands to another program."""


NUMBER = re.compile(r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?", re.I)


def write_csv(path: Path, frame: pd.DataFrame, *, digits: str | None = None) -> Path:
    """The frame as CSV; NaN is NA, numbers in full or in the format `digits`. A text that a spreadsheet would take for
    a formula has an apostrophe before it."""
    texts = [
        frame.iloc[:, place] if pd.api.types.is_numeric_dtype(kind) else frame.iloc[:, place].map(_as_text)
        for place, kind in enumerate(frame.dtypes)
    ]
    shown = pd.concat(texts, axis="columns") if texts else frame
    shown = shown.rename(columns=_as_text)
    with written_whole(path) as temporary:
        shown.to_csv(temporary, index=False, na_rep="NA", float_format=digits)
    return path


def _as_text(value: object) -> object:
    if not isinstance(value, str):
        return value
    # Some readers begin a row there.
    shown = value.replace("\r", " ")
    return f"'{shown}" if value.startswith(FORMULA) and not NUMBER.fullmatch(value) else shown


def write_index(
    out: Path,
    title: str,
    *,
    lines: Sequence[str],
    texts: Sequence[str],
    files: Sequence[Path],
    tables: Sequence[WrittenTable] = (),
    figures: Sequence[WrittenFigure] = (),
    remarks: Sequence[str] = (),
    apart: str = "",
) -> ReportFiles:
    """`report.md`: the title, the lines for the terminal, and the Markdown of every table and figure.

    `remarks` are those sentences among the `texts` that say what could not be shown; `apart` says why own and published
    numbers are not comparable.
    """
    index, above = out / "report.md", banner.shown()
    listed = [f"* {markdown_text(line)}" for line in lines]
    head = [f"# {markdown_text(title)}", ""]
    for line in filter(None, (above, apart)):
        head += [f"**{markdown_text(line)}**", ""]
    write_text(index, "\n".join([*head, *listed, "", "\n".join(texts)]))
    return ReportFiles(
        title=title,
        summary=tuple(lines),
        files=(index, *files),
        tables=tuple(tables),
        figures=tuple(figures),
        remarks=tuple(remarks),
        banner=above,
        apart=apart,
    )
