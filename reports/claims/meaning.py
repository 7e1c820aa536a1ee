"""From the words of a claim to comparisons of the cells of a table; refuses what no table has."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

from benchmark.vocabulary import BenchError, did_you_mean
from reports.claims.language import (
    All,
    Any_,
    AtLeastOf,
    Better,
    Choice,
    Claim,
    Difference,
    Extreme,
    ForEach,
    ForSome,
    Not,
    Order,
    Quantity,
    Words,
)
from reports.claims.tables import Cell, Table
from reports.claims.tree import (
    AtLeast,
    Comparison,
    Competitor,
    Mean,
    Node,
    Operand,
    Race,
    Spread,
    all_of,
    any_of,
)

MEASURE = "measure"
"""The axis that every table has besides its own: `for_each: {measure: [dice, fpv_ml]}`."""
MAX_COMPARISONS = 20_000
Sign = Literal[1, -1]


def meaning(claim: Claim, table: Table, *, file: str) -> Node:
    """The claim's test as comparisons of the table's cells.

    Raises `BenchError` with the file, the claim and the nearest name where an axis, a value, a measure or a cell
    does not exist, or a quantity leaves an axis open.
    """
    assert claim.test is not None
    bound = {} if claim.measure is None else {MEASURE: claim.measure}
    scope = _Scope(table, f"{file}: claim {claim.id}", {}, {})
    for axis, value in bound.items():
        scope = scope.with_bound(axis, value, (value,))
    node = _test(claim.test, scope)
    if sum(1 for _ in _leaves(node)) > MAX_COMPARISONS:
        raise scope.fault(f"it has more than {MAX_COMPARISONS} comparisons; ask for less at once")
    return node


def _leaves(node: Node) -> Iterator[Comparison]:
    if isinstance(node, Comparison):
        yield node
    else:
        for part in node.parts:
            yield from _leaves(part)


@dataclass(frozen=True)
class _Scope:
    """Where a word of a claim stands: which axes the quantifiers around it have bound, and over which values."""

    table: Table
    where: str
    bound: Mapping[str, str]
    ranges: Mapping[str, tuple[str, ...]]

    def fault(self, text: str) -> BenchError:
        return BenchError(f"{self.where}: {text}" + ("" if text.endswith((".", "?")) else "."))

    def check(self, axis: str, value: str | None = None) -> None:
        axes = (*self.table.axes, MEASURE)
        if axis not in axes:
            raise self.fault(f"{self.table.grid} has no axis {axis!r}. {did_you_mean(axis, axes)}")
        if value is not None and value not in (known := self.table.levels(axis)):
            raise self.fault(f"{self.table.grid} has no {axis} {value!r}. {did_you_mean(value, known)}")

    def with_bound(self, axis: str, value: str, values: tuple[str, ...] | None = None) -> _Scope:
        self.check(axis, value)
        ranges = self.ranges if values is None else {**self.ranges, axis: values}
        return replace(self, bound={**self.bound, axis: value}, ranges=ranges)

    def values(self, axis: str, choice: Choice) -> tuple[str, ...]:
        """The values that a choice means here."""
        self.check(axis)
        for name in (*(choice.listed or ()), *choice.but):
            self.check(axis, name)
        if choice.others:
            if axis not in self.ranges:
                raise self.fault(f"no quantifier around it runs over {axis}, so that it has no others")
            found = [value for value in self.ranges[axis] if value != self.bound[axis]]
        elif choice.listed is not None:
            found = list(choice.listed)
        else:
            found = [value for value in self._possible(axis) if value not in choice.but]
        if not found:
            raise self.fault(f"no value of {axis} is left")
        if len(set(found)) < len(found):
            raise self.fault(f"a value of {axis} is named twice")
        return tuple(found)

    def _possible(self, axis: str) -> tuple[str, ...]:
        """The values of the axis for which the table has a cell, given what is bound."""
        if axis == MEASURE:
            return tuple(self.table.measures)
        axes = self.table.axes
        fits = [
            place
            for place in self.table.places
            if all(
                self.bound.get(name, value) == value
                for name, value in zip(axes, place, strict=True)
                if name != axis
            )
        ]
        return tuple(dict.fromkeys(place[axes.index(axis)] for place in fits))

    def combinations(self, choices: Mapping[str, Choice]) -> Iterator[_Scope]:
        """A scope for every combination of values; `all` of an axis is asked for given the axes before it."""
        scopes = [self]
        for axis, choice in choices.items():
            scopes = [
                inner.with_bound(axis, value, values)
                for inner in scopes
                for values in (inner.values(axis, choice),)
                for value in values
            ]
        yield from scopes

    @property
    def measure(self) -> str:
        return self.bound.get(MEASURE, next(iter(self.table.measures)))

    def cell(self) -> Cell:
        """The cell of which every axis is bound."""
        axes = self.table.axes
        if open_axes := [axis for axis in axes if axis not in self.bound]:
            raise self.fault(
                f"a quantity leaves {' and '.join(open_axes)} open; name a value, or say for_each, each, best or mean"
            )
        return self.existing(tuple(self.bound[axis] for axis in axes), self.measure)

    def existing(self, place: tuple[str, ...], measure: str) -> Cell:
        if place not in self.table.all_places():
            known = ["/".join(one) for one in self.table.all_places()]
            near = did_you_mean("/".join(place), known)
            raise self.fault(f"{self.table.grid} has no cell {'/'.join(place)!r}. {near}")
        self.check(MEASURE, measure)
        return Cell(place, measure)

    @property
    def label(self) -> str:
        """Where the quantifiers stand: `v1/none`; empty outside of them."""
        free = [axis for axis in (*self.table.axes, MEASURE) if axis in self.ranges and axis in self.bound]
        if self.ranges.get(MEASURE, ()) == (self.measure,):
            free = [axis for axis in free if axis != MEASURE]
        return "/".join(self.bound[axis] for axis in free)


# Quantities.


def _operands(quantity: Quantity, scope: _Scope) -> list[Operand]:
    """The numbers that the quantifier of a quantity runs over; without one a single number."""
    if quantity.path is not None:
        place, measure = scope.table.parse(quantity.path)
        if len(place) != len(scope.table.axes):
            raise scope.fault(
                f"{quantity.path!r} is no cell of {scope.table.grid}: write {'/'.join(scope.table.axes).upper()}"
            )
        return [_mean([scope.existing(place, measure or scope.measure)], scope)]
    for axis, value in quantity.at.items():
        scope = scope.with_bound(axis, value)
    return [_reduced(quantity, inner) for inner in scope.combinations(quantity.among)]


def _reduced(quantity: Quantity, scope: _Scope) -> Operand:
    cells = [inner.cell() for inner in scope.combinations(quantity.over)]
    measures = dict.fromkeys(cell.measure for cell in cells)
    if len(measures) > 1:
        raise scope.fault(f"numbers of {' and '.join(measures)} have no mean and no spread")
    if quantity.reduction != "spread":
        return _mean(cells, scope)
    if len(cells) < 2:
        raise scope.fault("a spread needs two cells or more")
    kind = quantity.measured_as
    return Spread(tuple(cells), f"{kind} of {_pattern(cells, scope.table)}", kind)


def _mean(cells: Sequence[Cell], scope: _Scope) -> Mean:
    pattern = _pattern(cells, scope.table)
    return Mean(tuple(cells), pattern if len(cells) == 1 else f"mean of {pattern}")


def _pattern(cells: Sequence[Cell], table: Table) -> str:
    """`v4/0.1…0.5/5`, `v1/none/*`: several cells in one line."""
    if len(cells) == 1:
        return table.address(cells[0]).removeprefix(f"{table.grid}:")
    parts = []
    for number, axis in enumerate(table.axes):
        used = list(dict.fromkeys(cell.coordinates[number] for cell in cells))
        known = [level for level in table.levels(axis) if level in used]
        levels = list(table.levels(axis))
        start = levels.index(used[0])
        if len(used) == len(levels):
            parts.append("*")
        elif len(used) > 2 and used == levels[start : start + len(used)]:
            parts.append(f"{used[0]}…{used[-1]}")
        else:
            parts.append(used[0] if len(used) == 1 else "{" + ", ".join(known) + "}")
    measures = dict.fromkeys(cell.measure for cell in cells)
    first = next(iter(table.measures))
    return "/".join(parts) + ("" if first in measures else f"#{next(iter(measures))}")


# Comparisons.


def _compared(
    left: Quantity,
    right: Quantity,
    scopes: tuple[_Scope, _Scope],
    *,
    direction: Callable[[str], Sign],
    threshold: float = 0.0,
    strict: bool = True,
) -> Node:
    """`sign * (left - right)` above the threshold, for what the quantifiers of both say.

    `direction` gives the sign for a measure. Of the best and the worst of a set it depends on the sign and the
    measure whether one of it must pass or each.
    """
    lefts, rights = _operands(left, scopes[0]), _operands(right, scopes[1])
    pairs = []
    for one in lefts:
        inner: list[Node] = []
        for other in rights:
            measure = one.cells[0].measure
            if other.cells[0].measure != measure:
                raise scopes[0].fault(
                    f"{measure} and {other.cells[0].measure} are compared; bind the measure around both"
                )
            inner.append(Comparison(one, other, direction(measure), threshold, strict))
        measure = one.cells[0].measure
        one_passes = _one_passes(right, scopes[0], measure, -direction(measure))
        pairs.append(any_of(inner) if one_passes else all_of(inner))
    measure = lefts[0].cells[0].measure
    one_passes = _one_passes(left, scopes[0], measure, direction(measure))
    return any_of(pairs) if one_passes else all_of(pairs)


def _one_passes(quantity: Quantity, scope: _Scope, measure: str, sign: int) -> bool:
    """Whether one of the quantity's numbers suffices: of `any`, and of the largest where it should be large."""
    if quantity.quantifier in ("best", "worst"):
        return _largest(quantity, scope, measure) == (sign > 0)
    return quantity.quantifier == "any"


def _largest(quantity: Quantity, scope: _Scope, measure: str) -> bool:
    """Whether `best` or `worst` is the largest of its set."""
    return (quantity.quantifier == "best") == scope.table.measures[measure].higher_is_better


def _upwards(scope: _Scope, *quantities: Quantity) -> Callable[[str], Sign]:
    """Which sign is better; refused of spreads."""
    if any(quantity.reduction == "spread" for quantity in quantities):
        raise scope.fault("a spread is neither better nor worse; say lowest, highest or difference")
    return lambda measure: 1 if scope.table.measures[measure].higher_is_better else -1


def _always(sign: Sign) -> Callable[[str], Sign]:
    return lambda measure: sign


# Tests.


def _test(test: Words, scope: _Scope) -> Node:
    compile_form = _FORMS[type(test)]
    return compile_form(test, scope)


def _better(test: Better, scope: _Scope) -> Node:
    direction = _upwards(scope, test.better, test.than)
    return _compared(test.better, test.than, (scope, scope), direction=direction, threshold=test.by)


def _order(test: Order, scope: _Scope) -> Node:
    direction = _upwards(scope, *test.order)
    steps = itertools.pairwise(test.order)
    return all_of([_compared(better, worse, (scope, scope), direction=direction) for worse, better in steps])


def _extreme(test: Extreme, scope: _Scope) -> Node:
    values = scope.values(test.over, test.among)
    winners = scope.values(test.over, test.is_)
    if stranger := [name for name in winners if name not in values]:
        raise scope.fault(f"{stranger[0]!r} is not among the values of {test.over} that compete")
    again = [axis for axis in (*test.of.at, *test.of.among, *test.of.over) if axis == test.over]
    if again or test.of.path is not None:
        raise scope.fault(
            f"{test.over} is what competes; leave it open in `of`, and name the other axes one by one"
        )
    others = [value for value in values if value not in winners]
    if len(others) < test.rank:
        raise scope.fault(f"{test.over} has too few values to compete for rank {test.rank}")
    up = _upwards(scope, test.of) if test.which in ("best", "worst") else _always(1)
    turned = test.which in ("worst", "lowest")

    def direction(measure: str) -> Sign:
        return -up(measure) if turned else up(measure)

    at = {value: scope.with_bound(test.over, value) for value in values}
    race = _race(test, scope, at, direction)

    def before(one: str, other: str) -> Node:
        return _compared(test.of, test.of, (at[one], at[other]), direction=direction)

    if test.rank == 1:
        alternatives = [[before(winner, other) for other in others] for winner in winners]
        if len(alternatives) == 1:
            return AtLeast(len(others), tuple(alternatives[0]), race)
        return AtLeast(1, tuple(all_of(parts) for parts in alternatives), race)
    (holder,) = winners
    ahead = AtLeast(test.rank - 1, tuple(before(other, holder) for other in others))
    behind = AtLeast(len(others) - test.rank + 1, tuple(before(holder, other) for other in others))
    return AtLeast(2, (ahead, behind), race)


def _race(
    test: Extreme, scope: _Scope, at: Mapping[str, _Scope], direction: Callable[[str], Sign]
) -> Race | None:
    """The race as it is told; None where its competitors are several numbers each."""
    found = {value: _operands(test.of, inner) for value, inner in at.items()}
    measures = {operand.cells[0].measure for operands in found.values() for operand in operands}
    if test.of.quantifier in ("each", "any") or len(measures) > 1:
        return None
    measure = measures.pop()
    largest = test.of.quantifier is None or _largest(test.of, scope, measure)
    some = next(iter(next(iter(found.values()))))
    what = f"{some.kind} by " if isinstance(some, Spread) else "mean by " if len(some.cells) > 1 else ""
    return Race(
        f"{what}{test.over}",
        tuple(Competitor(value, tuple(operands), largest) for value, operands in found.items()),
        scope.values(test.over, test.is_),
        direction(measure) > 0,
        scope.label,
        test.rank,
    )


def _difference(test: Difference, scope: _Scope) -> Node:
    bounds: list[Node] = []
    for bound, sign in ((test.at_least, 1), (test.at_most, -1)):
        if bound is not None:
            direction = _always(cast(Sign, sign))
            bounds.append(
                _compared(
                    test.difference,
                    test.minus,
                    (scope, scope),
                    direction=direction,
                    threshold=sign * bound,
                    strict=False,
                )
            )
    return all_of(bounds)


def _for_each(test: ForEach, scope: _Scope) -> Node:
    parts = [_test(test.holds, inner) for inner in scope.combinations(test.for_each)]
    if test.except_at_most >= len(parts):
        raise scope.fault(f"with {test.except_at_most} exceptions to {len(parts)} cases nothing is claimed")
    if test.except_at_most == 0:
        return all_of(parts)
    return AtLeast(len(parts) - test.except_at_most, tuple(parts))


def _for_some(test: ForSome, scope: _Scope) -> Node:
    return any_of([_test(test.holds, inner) for inner in scope.combinations(test.for_some)])


def _all(test: All, scope: _Scope) -> Node:
    return all_of([_test(part, scope) for part in test.all])


def _any(test: Any_, scope: _Scope) -> Node:
    return any_of([_test(part, scope) for part in test.any])


def _at_least(test: AtLeastOf, scope: _Scope) -> Node:
    return AtLeast(test.at_least, tuple(_test(part, scope) for part in test.of))


def _not(test: Not, scope: _Scope) -> Node:
    return _test(test.not_, scope).opposite()


_FORMS: Mapping[type[Words], Callable[..., Node]] = {
    Better: _better,
    Order: _order,
    Extreme: _extreme,
    Difference: _difference,
    ForEach: _for_each,
    ForSome: _for_some,
    All: _all,
    Any_: _any,
    AtLeastOf: _at_least,
    Not: _not,
}
