"""The address of a printed number: `GRID:COORDINATE/COORDINATE[#MEASURE]`.

    table2:v3/shuffle/5                 version, level and shared layers
    table4:Mirror U-Net v3#fnv_ml       a method, and a measure that is not the table's first
    table2-1a2b3c4d:v4/0.2/4-5-6        of one launch among several; without the key, of the newest

Pure text: what an address names is looked up in `reports.provenance.tables`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

from benchmark.vocabulary import BenchError

_SIGNS = "/#%"
"""What separates the parts of an address; inside a part it is percent-encoded."""


@dataclass(frozen=True)
class Address:
    """`grid` is a grid's name, or a launch's as in `results/grids`; `measure` empty: the first of its table."""

    grid: str
    coordinates: tuple[str, ...]
    measure: str = ""

    def __str__(self) -> str:
        return address(self.grid, self.coordinates, self.measure)


def address(grid: str, coordinates: Sequence[str], measure: str = "") -> str:
    """The address in one line of text; `parse_address` reads it back."""
    place = f"{_encoded(grid, ':')}:{'/'.join(map(_encoded, coordinates))}"
    return f"{place}#{_encoded(measure)}" if measure else place


def parse_address(text: str) -> Address:
    """The parts of an address; BenchError where there is no grid or no coordinate."""
    grid, _, rest = text.partition(":")
    place, _, measure = rest.partition("#")
    if not grid or not place:
        raise BenchError(
            f"{text!r} is not the address of a number. Write GRID:COORDINATES, with #MEASURE where the table has "
            "several: table2:v3/shuffle/5, table3:PET#fnv_ml."
        )
    return Address(unquote(grid), tuple(map(unquote, place.split("/"))), unquote(measure))


def _encoded(part: str, more: str = "") -> str:
    signs = _SIGNS + more
    return "".join(quote(sign, safe="") if sign in signs or not sign.isprintable() else sign for sign in part)
