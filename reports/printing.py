"""Tables as text: one renderer each for Markdown and LaTeX, for any `PrintedTable`."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Sequence
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


ROWS_A_PAGE = 28
"""Of a landscape page, with room for the notes."""
LATEX_SIGNS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "#": r"\#",
    "$": r"\$",
    "%": r"\%",
    "&": r"\&",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "θ": r"$\theta$",
    "−": r"$-$",
    "+": r"$+$",
    "±": r"$\pm$",
    "†": r"$^\dagger$",
    "–": "--",
    "‡": r"$^\ddagger$",
    "×": r"$\times$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "✓": r"$\surd$",
    "³": r"$^3$",
    "≥": r"$\geq$",
    "≈": r"$\approx$",
    "≃": r"$\simeq$",
    "∼": r"$\sim$",
    "≤": r"$\leq$",
    "…": r"\ldots{}",
}


def latex_text(text: str) -> str:
    """Text for pdfLaTeX: its own signs escaped, mathematical ones in math mode, unknown ones as `?`."""

    def sign(character: str) -> str:
        if character in LATEX_SIGNS:
            return LATEX_SIGNS[character]
        settable = " " <= character <= "~" or ("À" <= character <= "ÿ" and character not in "ÐÞðþ×÷")
        return character if settable else "?"

    if re.fullmatch(r"L = \{[\d, ]+\}", text):
        return f"${text.replace('{', LATEX_SIGNS['{']).replace('}', LATEX_SIGNS['}'])}$"
    return "".join(map(sign, re.sub(r"\s+", " ", text)))


LATEX_PARAGRAPH = r">{\raggedright\arraybackslash}p{60mm}"


def latex(tables: Sequence[PrintedTable]) -> str:
    """A LaTeX document with the tables, one a page; needs array, booktabs, multirow, graphicx and geometry.

    A table of more than ROWS_A_PAGE rows goes on on further pages; its notes are on the last.
    """
    pages = "\n\\clearpage\n".join(_latex_table(page) for table in tables for page in _pages(table))
    return (
        "\\documentclass[10pt]{article}\n"
        "\\usepackage[utf8]{inputenc}\n"
        "\\usepackage[a4paper,landscape,margin=15mm]{geometry}\n"
        "\\usepackage{array,booktabs,graphicx,multirow}\n"
        "\\pagestyle{empty}\n"
        "\\begin{document}\n"
        f"{pages}\n"
        "\\end{document}\n"
    )


def _pages(table: PrintedTable) -> Iterator[PrintedTable]:
    starts = range(0, max(len(table.rows), 1), ROWS_A_PAGE)
    for start in starts:
        rest = f" (continued, page {start // ROWS_A_PAGE + 1} of {len(starts)})" if start else ""
        yield replace(
            table,
            title=f"{table.title}{rest}",
            rows=table.rows[start : start + ROWS_A_PAGE],
            notes=table.notes if start == starts[-1] else (),
        )


def _latex_table(table: PrintedTable) -> str:
    header = " & ".join(map(latex_text, [*table.stub, *table.columns]))
    alignment = table.alignment.replace("p", LATEX_PARAGRAPH)
    lines = [
        "\\begin{table}[p]",
        "\\centering",
        f"\\renewcommand{{\\thetable}}{{{latex_text(table.number)}}}",
        f"\\caption{{{latex_text(table.title)}}}",
        # Shrinks a table that is too wide for the page, and leaves the others alone.
        "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%",
        f"\\begin{{tabular}}{{{'l' * len(table.stub)}{alignment}}}",
        "\\toprule",
        f"{header} \\\\",
    ]
    heights = {row.group: sum(other.group == row.group for other in table.rows) for row in table.rows}
    group = None
    for row in table.rows:
        first = row.group != group
        group = row.group
        if first:
            lines.append("\\midrule")
        shown = f"\\multirow{{{heights[group]}}}{{*}}{{{latex_text(group)}}}" if first else ""
        stub = [shown, latex_text(row.label)][-len(table.stub) :]
        lines.append(f"{' & '.join([*stub, *map(_latex_cell, row.cells)])} \\\\")
    lines += ["\\bottomrule", "\\end{tabular}}", ""]
    if table.notes:
        notes = " ".join(map(latex_text, table.notes))
        lines += ["\\medskip", f"\\parbox{{\\linewidth}}{{\\footnotesize {notes}}}"]
    lines.append("\\end{table}")
    return "\n".join(lines)


def _latex_cell(cell: Cell) -> str:
    def marked(span: Span) -> str:
        text = latex_text(span.text)
        text = f"\\textbf{{{text}}}" if span.bold else text
        return f"\\underline{{{text}}}" if span.underline else text

    return "".join(marked(span) for span in cell)
