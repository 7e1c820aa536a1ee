"""Tables ready to be rendered, and as Markdown; `latex` and `hypertext` beside it render them as well."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Span:
    """A piece of a cell's text; a number has the `address` of its cell or its cells (see `reports.provenance`).

    In a page it leads there, unless it is not `linked`: what it names is not on the page.
    """

    text: str
    bold: bool = False
    underline: bool = False
    address: str = ""
    linked: bool = True


Cell = tuple[Span, ...]


@dataclass(frozen=True)
class Row:
    """`group` is printed once for rows that follow one another, where the table has two stub columns."""

    group: str
    label: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class PrintedTable:
    """A table ready to be rendered; `number` as in "Table 2".

    `stub` heads the columns of the rows' groups and labels, or of their labels alone. `align` has a letter a
    column (l, r, c, or p for a paragraph); all others are aligned right.
    """

    number: str
    title: str
    stub: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    align: str = ""
    banner: str = ""
    """What stands above the table, whatever it shows."""

    @property
    def alignment(self) -> str:
        """A letter for every column, without the stub's."""
        return self.align.ljust(len(self.columns), "r")

    def with_addresses(self, change: Callable[[str], str]) -> PrintedTable:
        """The table with another address for every number that has one."""
        return self.with_addressed(lambda span: replace(span, address=change(span.address)))

    def with_addressed(self, change: Callable[[Span], Span]) -> PrintedTable:
        """The table with every span that has an address changed."""

        def changed(span: Span) -> Span:
            return change(span) if span.address else span

        rows = [
            replace(row, cells=tuple(tuple(map(changed, cell)) for cell in row.cells)) for row in self.rows
        ]
        return replace(self, rows=tuple(rows))


def markdown(table: PrintedTable) -> str:
    """GitHub-flavoured Markdown: a heading, the table, its notes."""
    lines = [f"### Table {markdown_text(table.number)}. {markdown_text(table.title)}", ""]
    if table.banner:
        lines += [f"**{markdown_text(table.banner)}**", ""]
    lines.append(_markdown_row([*table.stub, *map(markdown_text, table.columns)]))
    rules = {"l": ":--", "p": ":--", "r": "--:", "c": ":-:"}
    lines.append(_markdown_row([*[":--"] * len(table.stub), *(rules[letter] for letter in table.alignment)]))
    group = None
    for row in table.rows:
        shown = ["" if row.group == group else row.group, row.label][-len(table.stub) :]
        group = row.group
        lines.append(_markdown_row([*map(markdown_text, shown), *map(_markdown_cell, row.cells)]))
    lines += [""] + [f"* {markdown_text(note)}" for note in table.notes]
    return "\n".join(lines).rstrip() + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_cell(cell: Cell) -> str:
    def marked(span: Span) -> str:
        text = markdown_text(span.text)
        text = f"**{text}**" if span.bold else text
        return f"<u>{text}</u>" if span.underline else text

    return "".join(marked(span) for span in cell)


def markdown_text(text: str) -> str:
    """Text that neither Markdown nor HTML takes for markup."""
    escaped = html.escape(re.sub(r"\s+", " ", text), quote=False)
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", escaped)
