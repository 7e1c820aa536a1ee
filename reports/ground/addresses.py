"""The address of a printed number: `GRID:COORDINATE/COORDINATE[#MEASURE]`.

    table2:v3/shuffle/5                 version, level and shared layers
    table4:Mirror U-Net v3#fnv_ml       a method, and a measure that is not the table's first
    table2-1a2b3c4d:v4/0.2/4-5-6        of one launch; without the key, of the newest with a finished run

A number that was computed from several cells, as a margin or a mean over them, has the address of all of them:

    table2:v3/shuffle/5|v3/none/5       these two
    table2:v3/*/5                       every level that the table has of v3 with layer 5

A number that is no table's, but a mean over cases of single runs, has the address of their rows:

    run:8924fe8193f4/validation         a trial of a search
    run:8924fe8193f4/without CT         an answer without a modality; with /READING where a run is read in several ways

Pure text: what an address names is looked up in `reports.tables.registry` and `reports.evidence.run_rows`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

from benchmark.vocabulary import BenchError

ANY = "*"
"""Stands for every value of a coordinate."""
OR = "|"
RUN = "run"
"""The grid in the address of a run's rows."""
_SIGNS = f"/#%{OR}"
"""What separates the parts of an address; inside a part it is percent-encoded."""


@dataclass(frozen=True)
class Address:
    """`grid` is a grid's name, or a launch's as in `results/grids`; `measure` empty: the first of its table."""

    grid: str
    coordinates: tuple[str, ...]
    measure: str = ""

    def __str__(self) -> str:
        return address(self.grid, self.coordinates, self.measure)


@dataclass(frozen=True)
class Places:
    """The address of several cells: those of a grid that fit one of the `patterns`, in which None fits every value."""

    grid: str
    patterns: tuple[tuple[str | None, ...], ...]
    measure: str = ""

    def __str__(self) -> str:
        return _text(self.grid, self.patterns, self.measure)

    @property
    def several(self) -> bool:
        """Whether more than one cell may be named."""
        return len(self.patterns) > 1 or None in self.patterns[0]

    def fit(self, coordinates: Sequence[str]) -> bool:
        """Whether a cell is among them."""
        return any(_fits(pattern, coordinates) for pattern in self.patterns)


def address(grid: str, coordinates: Sequence[str], measure: str = "") -> str:
    """The address in one line of text; `parse_address` reads it back."""
    return _text(grid, [coordinates], measure)


def address_of_cells(
    grid: str, cells: Iterable[Sequence[str]], *, among: Collection[Sequence[str]], measure: str = ""
) -> str:
    """The address of a single cell or of several, in few words: a coordinate that takes all its values `among` the
    table's cells is `*`. Empty without a cell."""
    patterns: list[tuple[str | None, ...]] = list(dict.fromkeys(map(tuple, cells)))
    if len(patterns) > 1:
        for axis in reversed(range(len(patterns[0]))):
            patterns = _joined(patterns, axis, among)
    return _text(grid, patterns, measure) if patterns else ""


def _joined(
    patterns: Sequence[tuple[str | None, ...]], axis: int, among: Collection[Sequence[str]]
) -> list[tuple[str | None, ...]]:
    """Patterns that differ along one axis alone, where they have all its values, as one."""
    values: dict[tuple[str | None, ...], set[str | None]] = {}
    for pattern in patterns:
        values.setdefault((*pattern[:axis], None, *pattern[axis + 1 :]), set()).add(pattern[axis])
    found: dict[tuple[str | None, ...], None] = {}
    there = _values_among(values, axis, among)
    for pattern in patterns:
        wide = (*pattern[:axis], None, *pattern[axis + 1 :])
        found.setdefault(wide if len(there[wide]) > 1 and there[wide] <= values[wide] else pattern)
    return list(found)


def _values_among(
    patterns: Iterable[tuple[str | None, ...]], axis: int, among: Collection[Sequence[str]]
) -> dict[tuple[str | None, ...], set[str | None]]:
    """By pattern the values along the axis of the cells that fit it."""
    found: dict[tuple[str | None, ...], set[str | None]] = {pattern: set() for pattern in patterns}
    # Patterns that are open at the same places are looked up in one walk over the cells.
    for named in {tuple(wanted is not None for wanted in pattern) for pattern in found}:
        for cell in among:
            if len(cell) == len(named):
                wide = tuple(value if kept else None for value, kept in zip(cell, named, strict=True))
                if wide in found:
                    found[wide].add(cell[axis])
    return found


def _fits(pattern: Sequence[str | None], coordinates: Sequence[str]) -> bool:
    return len(pattern) == len(coordinates) and all(
        wanted is None or wanted == value for wanted, value in zip(pattern, coordinates, strict=True)
    )


def parse_address(text: str) -> Address:
    """The parts of the address of one cell; BenchError where there is no grid or no coordinate, or several cells."""
    found = parse_places(text)
    if found.several:
        raise BenchError(f"{text} is the address of several cells, not of one number.")
    coordinates = tuple(value for value in found.patterns[0] if value is not None)
    return Address(found.grid, coordinates, found.measure)


def parse_places(text: str) -> Places:
    """The parts of any address; BenchError where there is no grid or no coordinate."""
    grid, _, rest = text.partition(":")
    places, _, measure = rest.partition("#")
    patterns = places.split(OR)
    if not grid or not all(patterns):
        raise BenchError(
            f"{text!r} is not the address of a number. Write GRID:COORDINATES, with #MEASURE where the table has "
            "several: table2:v3/shuffle/5, table3:PET#fnv_ml."
        )
    read = tuple(
        tuple(None if part == ANY else unquote(part) for part in place.split("/")) for place in patterns
    )
    return Places(unquote(grid), read, unquote(measure))


def run_address(run_id: str, part: str, reading: str = "") -> str:
    """The address of a run's rows on a part of the data."""
    return address(RUN, [run_id, part, *([reading] if reading else [])])


def together(*texts: str) -> str:
    """The address of all cells that these addresses of one grid name; with their measure, where it is the same."""
    places = list(map(parse_places, texts))
    patterns = dict.fromkeys(pattern for one in places for pattern in one.patterns)
    measures = {one.measure for one in places}
    return _text(places[0].grid, patterns, measures.pop() if len(measures) == 1 else "")


def of_launch(text: str, launch: str) -> str:
    """An address with the name of a launch instead of its grid's; that of a run's rows stays what it is."""
    grid, _, rest = text.partition(":")
    return text if grid == RUN else f"{_encoded(launch, ':')}:{rest}"


def _text(grid: str, patterns: Iterable[Sequence[str | None]], measure: str) -> str:
    places = OR.join("/".join(map(_coordinate, pattern)) for pattern in patterns)
    found = f"{_encoded(grid, ':')}:{places}"
    return f"{found}#{_encoded(measure)}" if measure else found


def _coordinate(value: str | None) -> str:
    if value is None:
        return ANY
    return quote(value, safe="") if value == ANY else _encoded(value)


def _encoded(part: str, more: str = "") -> str:
    signs = _SIGNS + more
    return "".join(quote(sign, safe="") if sign in signs or not sign.isprintable() else sign for sign in part)
