"""Tables as HTML. Every text is escaped by the templates; nothing here builds markup from strings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reports.ground.printing import Cell, PrintedTable

TEMPLATES = Path(__file__).parent / "templates"
_NUMBER = re.compile(r"<?\s*([+−-]?)((?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[+-]?\d+)?)")


@dataclass(frozen=True)
class HtmlRow:
    """A row of a table: its stub, whether a new group begins with it, whether its group was named before."""

    stub: tuple[str, ...]
    begins: bool
    repeats: bool
    cells: tuple[Cell, ...]


@cache
def environment() -> Environment:
    """The suite's templates; a name that is not there is an error, and every text is escaped."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "order_key": order_key,
        "number_link": number_link,
        "quoted": quoted,
        "html_rows": html_rows,
        "urlencode_all": partial(quote, safe=""),
    }
    return made


def standalone(tables: Sequence[PrintedTable]) -> str:
    """A page with these tables and nothing else: no script, no other file, light and dark."""
    return environment().get_template("standalone.html.j2").render(tables=tables)


def html_rows(table: PrintedTable) -> list[HtmlRow]:
    """The rows as they are printed; a group's name stands in each of its rows, since rows may be sorted."""
    rows: list[HtmlRow] = []
    group = None
    for row in table.rows:
        same = row.group == group
        stub = (row.group, row.label)[-len(table.stub) :]
        rows.append(HtmlRow(stub, bool(rows) and not same, same and len(stub) > 1, row.cells))
        group = row.group
    return rows


def order_key(cell: Cell, align: str = "r") -> str:
    """What a cell is sorted by: in a column of numbers, which is aligned right, the number it begins with, empty where
    it begins with none; in any other column that number or, where there is none, all of its text."""
    text = "".join(span.text for span in cell).strip()
    found = _NUMBER.match(text)
    if found:
        sign, size = found.groups()
        return f"{'-' if sign and sign in '−-' else ''}{size.replace(',', '')}"
    return "" if align == "r" or text.startswith("–") else text


def quoted(text: str) -> str:
    """A text as one word of a shell."""
    return "'" + text.replace("'", "'\\''") + "'"


def number_link(address: str) -> str:
    """Where in the page a number is taken apart."""
    return "#/number/" + quote(address, safe="")
