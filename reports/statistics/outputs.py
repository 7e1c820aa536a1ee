"""What a statistic has to show: tables and figures ready to be written, or why there are none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from reports.ground import drawing
from reports.ground.files import WrittenFigure, WrittenTable, write_csv, write_table
from reports.ground.printing import PrintedTable, markdown, markdown_text

FORMATS = ("png", "pdf")


@dataclass(frozen=True, eq=False)
class ReadyTable:
    """Tables that are written together as `stem`, as printed, as numbers in print's layout, and unrounded."""

    printed: tuple[PrintedTable, ...]
    layout: pd.DataFrame
    cells: pd.DataFrame
    stem: str


@dataclass(frozen=True, eq=False)
class ReadyFigure:
    """A figure to be drawn in the suite's style, and the `points` it shows, for CSV."""

    draw: Callable[[], Figure]
    title: str
    caption: str
    points: pd.DataFrame
    stem: str


@dataclass(frozen=True, eq=False)
class Outputs:
    """What there is to show; `reasons` are sentences on what there is not."""

    tables: tuple[ReadyTable, ...] = ()
    figures: tuple[ReadyFigure, ...] = ()
    reasons: tuple[str, ...] = ()


@dataclass
class WrittenOutputs:
    """What was written, the Markdown that shows it, and the sentences in it on what there is not."""

    tables: list[WrittenTable] = field(default_factory=list)
    figures: list[WrittenFigure] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def files(self) -> list[Path]:
        """All files, tables first."""
        found = [path for table in self.tables for path in table.files]
        return found + [path for figure in self.figures for path in figure.files]


def write_shown(all_shown: Iterable[Outputs], out: Path, *, launch: str) -> WrittenOutputs:
    """Write all tables and figures of a launch to the folder `out`."""
    written = WrittenOutputs()
    for shown in all_shown:
        for table in shown.tables:
            stem = out / table.stem
            written.tables.append(
                write_table(
                    stem, table.printed, layout=table.layout, cells=table.cells, digits=None, launch=launch
                )
            )
            written.texts += map(markdown, table.printed)
        for figure in shown.figures:
            stem = out / figure.stem
            with drawing.style():
                paths = drawing.save(figure.draw(), stem, formats=FORMATS)
            paths.append(write_csv(stem.with_suffix(".csv"), figure.points))
            written.figures.append(WrittenFigure(figure.title, figure.caption, tuple(paths)))
            links = ", ".join(f"[{path.suffix[1:].upper()}]({path.name})" for path in paths)
            title, caption = markdown_text(figure.title), markdown_text(figure.caption)
            written.texts.append(f"### {title}\n\n![{title}]({stem.name}.png)\n\n{caption} ({links})\n")
        written.texts += [f"{markdown_text(reason)}\n" for reason in shown.reasons]
        written.remarks += shown.reasons
    return written
