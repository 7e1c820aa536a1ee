"""Tables as a LaTeX document that pdfLaTeX, XeLaTeX and LuaLaTeX set alike, whatever names rows have.

What the standard fonts cannot set is written as its code point, U+4E2D, and the document says so: a font that lacks a
sign drops it without a word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace

from reports.ground.printing import Cell, PrintedTable, Span

ROWS_A_PAGE = 28
"""Of a landscape page, with room for the notes."""
SIGNS = {
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
    '"': r"\textquotedblright{}",
    "−": r"$-$",
    "+": r"$+$",
    "±": r"$\pm$",
    "†": r"$^\dagger$",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "‡": r"$^\ddagger$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\rightarrow$",
    "✓": r"$\surd$",
    "°": r"$^\circ$",
    "¹": r"$^1$",
    "²": r"$^2$",
    "³": r"$^3$",
    "≥": r"$\geq$",
    "≈": r"$\approx$",
    "≃": r"$\simeq$",
    "∼": r"$\sim$",
    "≤": r"$\leq$",
    "…": r"\ldots{}",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
    "‘": r"\textquoteleft{}",
    "’": r"\textquoteright{}",
    "“": r"\textquotedblleft{}",
    "”": r"\textquotedblright{}",
    "ς": r"$\varsigma$",
    "µ": r"$\mu$",
    "ο": "o",
    **{
        chr(code): rf"$\{name}$"
        for code, name in zip(
            (*range(0x3B1, 0x3BF), 0x3C0, 0x3C1, *range(0x3C3, 0x3CA)),
            (
                *(
                    "alpha",
                    "beta",
                    "gamma",
                    "delta",
                    "epsilon",
                    "zeta",
                    "eta",
                    "theta",
                    "iota",
                    "kappa",
                    "lambda",
                ),
                *("mu", "nu", "xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega"),
            ),
            strict=True,
        )
    },
    **{
        chr(code): rf"$\{name}$"
        for code, name in {
            0x393: "Gamma",
            0x394: "Delta",
            0x398: "Theta",
            0x39B: "Lambda",
            0x39E: "Xi",
            0x3A0: "Pi",
            0x3A3: "Sigma",
            0x3A6: "Phi",
            0x3A8: "Psi",
            0x3A9: "Omega",
        }.items()
    },
}
ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0323": "d",
    "\u0327": "c",
    "\u0331": "b",
}
"""Combining marks, and the commands that set them on a letter."""
DOTLESS = {"i": r"\i", "j": r"\j"}
LIGATURES = re.compile(r"(?<=-)(?=-)|(?<=')(?=')|(?<=`)(?=`)|(?<=[?!])(?=`)|(?<=,)(?=,)")
"""Between these signs LaTeX would join two to one."""
LETTER = re.compile(r".[\u0300-\u036f]*", re.DOTALL)
CODE_POINT = "U+{:04X}"
UNSETTABLE = "Signs that LaTeX's standard fonts lack are written as their Unicode code points (U+0041 is A)."


def latex_text(text: str) -> str:
    """Text for LaTeX: its own signs escaped, mathematical ones in math mode, unknown ones as their code points."""
    if re.fullmatch(r"L = \{[\d, ]+\}", text):
        return f"${text.replace('{', SIGNS['{']).replace('}', SIGNS['}'])}$"
    plain = unicodedata.normalize("NFC", re.sub(r"\s+", " ", text))
    parts = ("".join(map(_sign, LETTER.findall(part))) for part in LIGATURES.split(plain))
    return "{}".join(parts)


def _sign(sign: str) -> str:
    """A character with the marks on it."""
    if sign in SIGNS:
        return SIGNS[sign]
    letter, *marks = list(unicodedata.normalize("NFD", sign))
    if not marks and " " <= letter <= "~":
        return letter
    if letter.isascii() and letter.isalpha() and len(marks) == 1 and marks[0] in ACCENTS:
        # An i or a j loses its dot under a mark.
        return rf"\{ACCENTS[marks[0]]}{{{DOTLESS.get(letter, letter)}}}"
    return "".join(rf"\texttt{{{CODE_POINT.format(ord(one))}}}" for one in sign)


PARAGRAPH = r">{\raggedright\arraybackslash}p{60mm}"


def latex(tables: Sequence[PrintedTable]) -> str:
    """A LaTeX document with the tables, one a page; needs array, booktabs, multirow, graphicx and geometry.

    A table of more than ROWS_A_PAGE rows goes on on further pages; its notes are on the last.
    """
    pages = "\n\\clearpage\n".join(_table(page) for table in tables for page in _pages(table))
    return (
        "\\documentclass[10pt]{article}\n"
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


def _table(table: PrintedTable) -> str:
    alignment = table.alignment.replace("p", PARAGRAPH)
    lines = ["\\begin{table}[p]", "\\centering"]
    if table.banner:
        lines.append(f"\\textbf{{{latex_text(table.banner)}}}\\par\\medskip")
    lines += [
        f"\\renewcommand{{\\thetable}}{{{latex_text(table.number)}}}",
        f"\\caption{{{latex_text(table.title)}}}",
        # Shrinks a table that is too wide for the page, and leaves the others alone.
        "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%",
        f"\\begin{{tabular}}{{{'l' * len(table.stub)}{alignment}}}",
        "\\toprule",
        _row(map(latex_text, [*table.stub, *table.columns])),
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
        lines.append(_row([*stub, *map(_cell, row.cells)]))
    lines += ["\\bottomrule", "\\end{tabular}}", ""]
    notes = list(map(latex_text, table.notes))
    if any(r"\texttt{U+" in line for line in (*lines, *notes)):
        notes.append(latex_text(UNSETTABLE))
    if notes:
        lines += ["\\medskip", f"\\parbox{{\\linewidth}}{{\\footnotesize {' '.join(notes)}}}"]
    lines.append("\\end{table}")
    return "\n".join(lines)


def _row(cells: Iterator[str] | Sequence[str]) -> str:
    # After `\\` and rules a bracket would be an option, and a star another command: every row begins with `{}`.
    return f"{{}}{' & '.join(cells)} \\\\"


def _cell(cell: Cell) -> str:
    def marked(span: Span) -> str:
        text = latex_text(span.text)
        text = f"\\textbf{{{text}}}" if span.bold else text
        return f"\\underline{{{text}}}" if span.underline else text

    return "".join(marked(span) for span in cell)
