"""The language of claims: what a file of claims may say. `docs/claims.md` explains it with examples.

A quantity is a cell (`v3/shuffle/5`, or `{version: v3, level: shuffle}` where the rest is bound by a quantifier), a
`mean` or `spread` over cells, or one of several: `each`, `any`, `best`, `worst`.

A test is a mapping known by its first word:

    better: Q, than: Q, by: x                     by more than x, in the measure's own direction; 0 if left out
    order: [Q, Q, ...]                            from worst to best
    best | worst | highest | lowest: AXIS, is: v  the value (or values) of an axis where a quantity is so
    difference: Q, minus: Q, at_least | at_most: x
    for_each: {AXIS: values}, holds: TEST, except_at_most: n
    for_some: {AXIS: values}, holds: TEST
    all: [TEST, ...]    any: [TEST, ...]    at_least: k, of: [TEST, ...]    not: TEST

Nothing here knows a table: whether its cells exist is asked in `reports.claims.meaning`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from benchmark.vocabulary import did_you_mean


class Words(BaseModel):
    """A part of the language; a key that it does not have is an error that names the nearest one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _only_known_keys(cls, content: Any) -> Any:
        known = [field.alias or name for name, field in cls.model_fields.items()]
        if isinstance(content, Mapping):
            for key in content:
                if key not in known:
                    raise ValueError(f"there is no key {key!r} here. {did_you_mean(str(key), known)}")
        return content


def _name(value: Any) -> str:
    """The name of a level, as tables have it: 5 is "5", [4, 5, 6] in a list of levels is "4-5-6"."""
    if isinstance(value, list) and value:
        return "-".join(map(_name, value))
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"{value!r} is no level of an axis; put names such as no and null in quotes")
    return str(value)


Name = Annotated[str, BeforeValidator(_name)]


class Choice(Words):
    """Values of an axis. `listed` None: all that the table has, without those `but`; `others`: all values of the
    enclosing quantifier over this axis, without its present one."""

    listed: tuple[Name, ...] | None = None
    but: tuple[Name, ...] = ()
    others: bool = False

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, content: Any) -> Any:
        if content == "all":
            return {}
        if content == "others":
            return {"others": True}
        if isinstance(content, Mapping):
            if set(content) == {"all_but"}:
                but = content["all_but"]
                return {"but": but if isinstance(but, list) else [but]}
            if not set(content) <= set(cls.model_fields):
                raise ValueError("write a value, a list of values, all, others, or {all_but: [...]}")
            return content
        listed = content if isinstance(content, list) else [content]
        if not listed:
            raise ValueError("an empty list has no values")
        return {"listed": listed}


Choices = dict[str, Choice]
QUANTIFIERS = ("each", "any", "best", "worst")
REDUCTIONS = ("mean", "spread")
SpreadKind = Literal["range", "sd", "iqr"]


class Quantity(Words):
    """A number of a table, or several of them under a quantifier.

    `at` fixes axes; `path` is the whole place of a cell as in an address, without its grid (`PET#fnv_ml`). A
    `reduction` makes one number of the cells `over` which it runs, the `quantifier` runs over those `among`.
    """

    at: dict[str, Name] = {}
    path: str | None = None
    reduction: Literal["mean", "spread"] | None = None
    over: Choices = {}
    measured_as: SpreadKind = "range"
    quantifier: Literal["each", "any", "best", "worst"] | None = None
    among: Choices = {}

    @model_validator(mode="before")
    @classmethod
    def _from_words(cls, content: Any) -> Any:
        if isinstance(content, str):
            return {"path": content}
        if not isinstance(content, Mapping):
            raise ValueError(f"{content!r} is no quantity; write a cell such as v3/shuffle/5, or a mapping")
        parts: dict[str, Any] = {"at": {}}
        for kind, words, values in (("reduction", REDUCTIONS, "over"), ("quantifier", QUANTIFIERS, "among")):
            used = [word for word in words if word in content]
            if len(used) > 1:
                raise ValueError(f"one quantity cannot have both {used[0]} and {used[1]}")
            if used:
                if not isinstance(content[used[0]], Mapping) or not content[used[0]]:
                    raise ValueError(f"{used[0]} needs at least one axis and its values: {{axis: values}}")
                parts |= {kind: used[0], values: content[used[0]]}
        if "measured_as" in content:
            if "spread" not in content:
                raise ValueError("measured_as belongs to a spread")
            parts["measured_as"] = content["measured_as"]
        special = {*REDUCTIONS, *QUANTIFIERS, "measured_as"}
        parts["at"] = {str(axis): value for axis, value in content.items() if axis not in special}
        return parts


class Better(Words):
    """One quantity is better than another by more than `by`, in the direction of the measure."""

    better: Quantity
    than: Quantity
    by: float = Field(default=0.0, ge=0)


class Order(Words):
    """Each quantity is better than the one before it."""

    order: tuple[Quantity, ...] = Field(min_length=2)


class Extreme(Words):
    """Over an axis a quantity is best, worst, highest or lowest at the value `is_`, or at one of these values.

    `among`: the values that compete; all if left out. `rank` 2: second best.
    """

    which: Literal["best", "worst", "highest", "lowest"]
    over: str
    is_: Choice = Field(alias="is")
    among: Choice = Choice()
    of: Quantity = Quantity()
    rank: int = Field(default=1, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _from_words(cls, content: Any) -> Any:
        if not isinstance(content, Mapping):
            return content
        words = [word for word in ("best", "worst", "highest", "lowest") if word in content]
        if len(words) > 1:
            raise ValueError(f"a test has one of {' and '.join(words)}; write two tests, under all or any")
        if words:
            rest = {key: value for key, value in content.items() if key != words[0]}
            return {"which": words[0], "over": content[words[0]], **rest}
        return content

    @model_validator(mode="after")
    def _names_its_winner(self) -> Extreme:
        if not self.is_.listed:
            raise ValueError("'is' names a value or a list of values")
        if self.rank > 1 and len(self.is_.listed) > 1:
            raise ValueError("a rank other than the first has one holder")
        return self


class Difference(Words):
    """The difference of two quantities, in the printed unit, whatever the direction of the measure."""

    difference: Quantity
    minus: Quantity
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _has_a_bound(self) -> Difference:
        if self.at_least is None and self.at_most is None:
            raise ValueError("a difference needs at_least or at_most")
        return self


class ForEach(Words):
    """A test for every combination of values, with so many exceptions allowed."""

    for_each: Choices = Field(min_length=1)
    holds: Test
    except_at_most: int = Field(default=0, ge=0)


class ForSome(Words):
    """A test that at least one combination of values passes."""

    for_some: Choices = Field(min_length=1)
    holds: Test


class All(Words):
    """Every one of these tests."""

    all: tuple[Test, ...] = Field(min_length=1)


class Any_(Words):
    """At least one of these tests."""

    any: tuple[Test, ...] = Field(min_length=1)


class AtLeastOf(Words):
    """At least so many of these tests."""

    at_least: int = Field(ge=1)
    of: tuple[Test, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _can_be_met(self) -> AtLeastOf:
        if self.at_least > len(self.of):
            raise ValueError(f"at_least {self.at_least} of {len(self.of)} tests cannot be met")
        return self


class Not(Words):
    """The opposite of a test."""

    not_: Test = Field(alias="not")


FORMS: dict[str, type[Words]] = {
    "better": Better,
    "order": Order,
    **dict.fromkeys(("best", "worst", "highest", "lowest"), Extreme),
    "difference": Difference,
    "for_each": ForEach,
    "for_some": ForSome,
    "all": All,
    "any": Any_,
    "at_least": AtLeastOf,
    "not": Not,
}


def _test(content: Any) -> Any:
    """A test of the form that one of its keys names."""
    if isinstance(content, Words):
        return content
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"{content!r} is no test; write a mapping with one of {', '.join(FORMS)}")
    for word, form in FORMS.items():
        if word in content:
            return form.model_validate(content)
    first = str(next(iter(content)))
    raise ValueError(f"no test begins with {first!r}. {did_you_mean(first, FORMS)}")


Test = Annotated[Words, BeforeValidator(_test)]
"""One of the FORMS."""
for _form in (ForEach, ForSome, All, Any_, AtLeastOf, Not):
    _form.model_rebuild()


class Caveat(Words):
    """What a reader must know whatever the verdict is; `parameters` are counts of weights by what has them."""

    text: str
    parameters: dict[Name, int] = {}


class Claim(Words):
    """A sentence of a paper, where it stands, what it says in our own words, and its test.

    `untestable` says why no table can decide it, instead of `table` and `test`. `reading`: how a sentence is
    understood that can be read in several ways. `kind` logic: what must hold in every single case, whatever the
    data. `if_contradicted`: what follows if it does not hold. `measure` is that of all quantities that name none;
    the table's first if left out.
    """

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    place: str = Field(min_length=1)
    says: str = Field(min_length=1)
    reading: str = ""
    kind: Literal["empirical", "logic"] = "empirical"
    table: str | None = None
    measure: str | None = None
    test: Test | None = None
    untestable: str | None = None
    if_contradicted: str = ""
    caveats: tuple[Caveat, ...] = ()

    @model_validator(mode="after")
    def _is_testable_or_says_why_not(self) -> Claim:
        if (self.untestable is None) == (self.test is None):
            raise ValueError("give either a test or, where no table can decide, the reason as 'untestable'")
        if (self.test is None) != (self.table is None):
            raise ValueError("a test needs the table of its cells, and an untestable claim has none")
        return self


class ClaimFile(Words):
    """The claims of a paper, or some of them; `shared` has values under anchors, for the claims to refer to."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    paper: str
    shared: Any = None
    claims: tuple[Claim, ...] = Field(min_length=1)
