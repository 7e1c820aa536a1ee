"""Numbers of claims in words: units, who won a race."""

from __future__ import annotations

from collections.abc import Callable

from reports.claims.tree import Operand, Race
from reports.ground.frames import DECIMALS
from reports.ground.measures import Measure
from reports.ground.words import enumerated

UNITS = {"[%]": "points", "[ml]": "ml", "[mm]": "mm"}


def unit_of(measure: Measure) -> str:
    """The unit of a difference: points of a percentage, ml, mm."""
    found = [unit for sign, unit in UNITS.items() if measure.title.endswith(sign)]
    return found[0] if found else ""


def lost_race(race: Race, value: Callable[[Operand], float]) -> str:
    """`v1/none: shared_layers 4 (62.88) is first, 5 (61.92) comes 4th`, among those that have numbers."""
    shown: dict[str, float] = {}
    for one in race.competitors:
        known = [number for number in map(value, one.operands) if number == number]
        if known:
            shown[one.name] = float(DECIMALS.format(max(known) if one.largest else min(known)))
    order = sorted(shown.values(), reverse=race.highest)
    if len(order) < race.rank:
        return f"{race.at}: too few numbers" if race.at else "too few numbers"
    first = [name for name, number in shown.items() if number == order[race.rank - 1]]
    claimed = [
        f"{name} ({DECIMALS.format(shown[name])}) comes {_ordinal(order.index(shown[name]) + 1)}"
        if name in shown
        else f"{name} has no number"
        for name in race.winners
    ]
    leaders = enumerated([f"{name} ({DECIMALS.format(shown[name])})" for name in first])
    at = f"{race.at}: " if race.at else ""
    verb = "is" if len(first) == 1 else "are"
    return f"{at}{race.over} {leaders} {verb} {_ordinal(race.rank)}, {enumerated(claimed)}"


def _ordinal(rank: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(rank, f"{rank}th")
