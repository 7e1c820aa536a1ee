"""Numbers of claims in words: units, who won a race."""

from __future__ import annotations

from collections.abc import Callable

from reports.claims.tree import Operand, Race
from reports.frames import DECIMALS
from reports.measures import Measure
from reports.words import enumerated

UNITS = {"[%]": "points", "[ml]": "ml", "[mm]": "mm"}


def unit_of(measure: Measure) -> str:
    """The unit of a difference: points of a percentage, ml, mm."""
    found = [unit for sign, unit in UNITS.items() if measure.title.endswith(sign)]
    return found[0] if found else ""


def lost_race(race: Race, value: Callable[[Operand], float]) -> str:
    """`v1/none: shared_layers 4 (62.88) is first, 5 (61.92) comes 5th`."""
    numbers = {one.name: (max if one.largest else min)(map(value, one.operands)) for one in race.competitors}
    shown = {name: float(DECIMALS.format(number)) for name, number in numbers.items()}
    order = sorted(shown.values(), reverse=race.highest)
    first = [name for name, number in shown.items() if number == order[race.rank - 1]]
    claimed = [
        f"{name} ({DECIMALS.format(shown[name])}) comes {_ordinal(order.index(shown[name]) + 1)}"
        for name in race.winners
    ]
    leaders = enumerated([f"{name} ({DECIMALS.format(shown[name])})" for name in first])
    at = f"{race.at}: " if race.at else ""
    verb = "is" if len(first) == 1 else "are"
    return f"{at}{race.over} {leaders} {verb} {_ordinal(race.rank)}, {enumerated(claimed)}"


def _ordinal(rank: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(rank, f"{rank}th")
