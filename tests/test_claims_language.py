"""What claims may say, what they come down to, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.vocabulary import BenchError
from reports.claims.language import Claim
from reports.claims.meaning import meaning
from reports.claims.reading import load_claims
from reports.claims.tables import Cell, Table, paper_tables
from reports.claims.tree import (
    AtLeast,
    Comparison,
    Mean,
    Node,
    Spread,
    comparisons,
    decisive,
    held_margins,
    p_values,
    truth,
    value_of,
)
from reports.ground.measures import DICE, FPV, measures_of

SMALL = Table(
    "small",
    ("method", "size"),
    tuple((method, size) for method in "abc" for size in "12"),
    measures_of(DICE, FPV),
)


def node_of(test: dict[str, Any], table: Table = SMALL, **more: Any) -> Node:
    claim = Claim.model_validate(
        {"id": "x", "place": "here", "says": "so", "table": table.grid, "test": test, **more}
    )
    return meaning(claim, table, file="mine.yaml")


def texts(node: Node) -> list[str]:
    return [comparison.text for comparison in comparisons(node)]


def judged(test: dict[str, Any], numbers: dict[str, float], **more: Any) -> bool | None:
    """The test's truth where cells have these numbers; others are unknown."""

    def number(side: Mean | Spread) -> float:
        values = [
            numbers.get(
                "/".join(cell.coordinates) + ("" if cell.measure == "dice" else f"#{cell.measure}"),
                float("nan"),
            )
            for cell in side.cells
        ]
        return float(value_of(side, np.array(values)))

    def holds(one: Comparison) -> bool | None:
        margin = one.sign * (number(one.left) - number(one.right)) - one.threshold
        return None if np.isnan(margin) else margin > 0 or (margin == 0 and not one.strict)

    return truth(node_of(test, **more), holds)


def test_for_each_is_every_combination_and_an_inner_value_wins() -> None:
    test = {
        "for_each": {"method": ["b", "c"], "size": "all"},
        "holds": {"better": {}, "than": {"method": "a"}},
    }
    assert texts(node_of(test)) == ["b/1 > a/1", "b/2 > a/2", "c/1 > a/1", "c/2 > a/2"]


def test_better_is_higher_of_dice_and_lower_of_volumes() -> None:
    test = {"better": "a/1", "than": "b/1", "by": 2}
    assert texts(node_of(test)) == ["a/1 > b/1 + 2.00"]
    assert texts(node_of(test, measure="fpv_ml")) == ["a/1#fpv_ml < b/1#fpv_ml − 2.00"]
    assert judged(test, {"a/1": 5.0, "b/1": 3.0}) is False
    assert judged(test, {"a/1": 5.1, "b/1": 3.0}) is True
    assert judged(test, {"a/1#fpv_ml": 1.0, "b/1#fpv_ml": 3.5}, measure="fpv_ml") is True


def test_a_measure_is_an_axis_like_others() -> None:
    test = {"for_each": {"measure": ["dice", "fpv_ml"]}, "holds": {"better": "a/1", "than": "b/1"}}
    assert texts(node_of(test)) == ["a/1 > b/1", "a/1#fpv_ml < b/1#fpv_ml"]


@pytest.mark.parametrize(("best", "expected"), [(8.0, True), (6.9, False)])
def test_the_best_of_a_set_wins_if_one_of_it_beats_each_of_the_other(best: float, expected: bool) -> None:
    test = {
        "better": {"method": "a", "best": {"size": "all"}},
        "than": {"method": "b", "best": {"size": "all"}},
    }
    assert judged(test, {"a/1": 1.0, "a/2": best, "b/1": 7.0, "b/2": 5.0}) is expected


def test_the_worst_of_a_set_is_compared_as_such() -> None:
    test = {
        "better": {"method": "a", "worst": {"size": "all"}},
        "than": {"method": "b", "worst": {"size": "all"}},
    }
    assert judged(test, {"a/1": 4.0, "a/2": 9.0, "b/1": 3.0, "b/2": 8.0}) is True
    assert judged(test, {"a/1": 2.0, "a/2": 9.0, "b/1": 3.0, "b/2": 8.0}) is False


def test_of_volumes_the_best_is_the_smallest_also_in_differences() -> None:
    test = {
        "difference": {"method": "a", "best": {"size": "all"}},
        "minus": {"method": "b", "best": {"size": "all"}},
        "at_least": 1,
    }
    volumes = {"a/1#fpv_ml": 3.0, "a/2#fpv_ml": 9.0, "b/1#fpv_ml": 2.0, "b/2#fpv_ml": 5.0}
    assert judged(test, volumes, measure="fpv_ml") is True  # 3 - 2
    assert judged(test, {**volumes, "a/1#fpv_ml": 2.9}, measure="fpv_ml") is False
    dice = {"a/1": 3.0, "a/2": 9.0, "b/1": 2.0, "b/2": 8.0}
    assert judged(test, dice) is True  # 9 - 8
    assert judged(test, {**dice, "b/2": 8.1}) is False


def test_each_and_any_quantify_inside_a_comparison() -> None:
    numbers = {"a/1": 5.0, "b/1": 4.0, "c/1": 6.0}
    one_of = {"method": ["b", "c"]}
    each = {"for_each": {"size": ["1"]}, "holds": {"better": {"method": "a"}, "than": {"each": one_of}}}
    some = {"for_each": {"size": ["1"]}, "holds": {"better": {"method": "a"}, "than": {"any": one_of}}}
    assert judged(each, numbers) is False
    assert judged(some, numbers) is True


def test_an_order_goes_from_worst_to_best() -> None:
    test = {"order": ["a/1", "b/1", "c/1"]}
    assert texts(node_of(test)) == ["b/1 > a/1", "c/1 > b/1"]


def test_an_argmax_beats_every_other_value_and_a_rank_counts_those_ahead() -> None:
    first = {"for_each": {"size": ["1"]}, "holds": {"best": "method", "is": "b"}}
    assert texts(node_of(first)) == ["b/1 > a/1", "b/1 > c/1"]
    second = {"for_each": {"size": ["1"]}, "holds": {"best": "method", "is": "b", "rank": 2}}
    assert judged(second, {"a/1": 3.0, "b/1": 2.0, "c/1": 1.0}) is True
    assert judged(second, {"a/1": 3.0, "b/1": 4.0, "c/1": 1.0}) is False
    assert judged(second, {"a/1": 3.0, "b/1": 2.0, "c/1": 4.0}) is False
    either = {"for_each": {"size": ["1"]}, "holds": {"best": "method", "is": ["a", "b"]}}
    assert judged(either, {"a/1": 1.0, "b/1": 3.0, "c/1": 2.0}) is True
    assert judged(either, {"a/1": 1.0, "b/1": 1.0, "c/1": 2.0}) is False


def test_lowest_and_highest_ask_for_the_number_not_for_the_direction() -> None:
    lowest = {"for_each": {"size": ["1"]}, "holds": {"lowest": "method", "is": "a"}}
    assert texts(node_of(lowest)) == ["a/1 < b/1", "a/1 < c/1"]
    best = {"for_each": {"size": ["1"]}, "holds": {"best": "method", "is": "a"}}
    assert texts(node_of(best, measure="fpv_ml")) == ["a/1#fpv_ml < b/1#fpv_ml", "a/1#fpv_ml < c/1#fpv_ml"]


def test_means_and_spreads_are_taken_over_the_axes_they_name() -> None:
    mean = {"best": "method", "is": "a", "of": {"mean": {"size": "all"}}}
    assert texts(node_of(mean)) == ["mean of a/* > mean of b/*", "mean of a/* > mean of c/*"]
    assert judged(mean, {"a/1": 1.0, "a/2": 5.0, "b/1": 2.0, "b/2": 3.0, "c/1": 0.0, "c/2": 0.0}) is True
    values = np.array([1.0, 2.0, 4.0, 9.0])
    cells = tuple(Cell((name, "1"), "dice") for name in "abcd")
    assert value_of(Spread(cells, "", "range"), values) == 8.0
    assert value_of(Spread(cells, "", "sd"), values) == pytest.approx(np.std([1, 2, 4, 9], ddof=1))
    assert value_of(Spread(cells, "", "iqr"), values) == pytest.approx(5.25 - 1.75)


def test_exceptions_are_counted() -> None:
    test = {
        "for_each": {"method": ["a", "b", "c"]},
        "holds": {"better": {"size": "1"}, "than": {"size": "2"}},
        "except_at_most": 1,
    }
    numbers = {"a/1": 2.0, "a/2": 1.0, "b/1": 2.0, "b/2": 1.0, "c/1": 1.0, "c/2": 2.0}
    assert judged(test, numbers) is True
    assert judged(test, {**numbers, "b/2": 3.0}) is False


def test_others_are_the_values_of_the_quantifier_without_its_present_one() -> None:
    test = {
        "for_some": {"method": ["a", "b"]},
        "holds": {"better": {"size": "1"}, "than": {"each": {"method": "others"}, "size": "1"}},
    }
    assert texts(node_of(test)) == ["a/1 > b/1", "b/1 > a/1"]


def test_all_any_at_least_and_not_join_tests() -> None:
    a, b, c = ({"better": f"{name}/1", "than": f"{name}/2"} for name in "abc")
    numbers = {"a/1": 2.0, "a/2": 1.0, "b/1": 1.0, "b/2": 2.0, "c/1": 2.0, "c/2": 1.0}
    assert judged({"all": [a, b]}, numbers) is False
    assert judged({"any": [a, b]}, numbers) is True
    assert judged({"at_least": 2, "of": [a, b, c]}, numbers) is True
    assert judged({"not": {"at_least": 2, "of": [a, b, c]}}, numbers) is False
    assert judged({"not": b}, {**numbers, "b/2": 1.0}) is True, "what is not better may be equal"


def test_the_opposite_of_the_opposite_is_the_claim() -> None:
    test = {
        "for_each": {"method": "all"},
        "holds": {"difference": {"size": "1"}, "minus": {"size": "2"}, "at_least": 1, "at_most": 3},
        "except_at_most": 1,
    }
    node = node_of(test)
    assert node.opposite().opposite() == node
    assert texts(node.opposite())[:2] == ["a/1 < a/2 + 1.00", "a/1 > a/2 + 3.00"]


def test_unknown_numbers_leave_it_open_only_where_they_decide() -> None:
    both = {"all": [{"better": "a/1", "than": "a/2"}, {"better": "b/1", "than": "b/2"}]}
    assert judged(both, {"a/1": 2.0, "a/2": 1.0}) is None
    assert judged(both, {"a/1": 1.0, "a/2": 2.0}) is False


def test_p_of_all_is_the_largest_and_of_some_bonferronis() -> None:
    parts = [node_of({"better": f"{name}/1", "than": f"{name}/2"}) for name in "abc"]
    p = dict(zip(parts, [(0.01, 0.99), (0.02, 0.98), (0.2, 0.004)], strict=True))

    def of(one: Comparison) -> tuple[float, float]:
        return p[one]

    assert p_values(AtLeast(3, tuple(parts)), of) == pytest.approx((0.2, 3 * 0.004))
    assert p_values(AtLeast(1, tuple(parts)), of) == pytest.approx((3 * 0.01, 0.99))
    # Two of three: twice the second smallest; its opposite is that two of three fail.
    assert p_values(AtLeast(2, tuple(parts)), of) == pytest.approx((2 * 0.02, 1.0))


def test_the_decisive_comparison_is_that_on_which_the_truth_hangs() -> None:
    parts = [node_of({"better": f"{name}/1", "than": f"{name}/2"}) for name in "abc"]
    margins = dict(zip(parts, [3.0, -1.0, 2.0], strict=True))
    for k, expected in ((1, parts[0]), (2, parts[2]), (3, parts[1])):
        assert decisive(AtLeast(k, tuple(parts)), lambda one: margins[one]) is expected
    resampled = {part: np.array([margin, -margin]) for part, margin in margins.items()}
    assert held_margins(AtLeast(2, tuple(parts)), lambda one: resampled[one]).tolist() == [2.0, -2.0]


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ({"better": "d/1", "than": "a/1"}, "small has no cell 'd/1'. Did you mean"),
        ({"better": {"metod": "a"}, "than": "a/1"}, "small has no axis 'metod'. Did you mean 'method'?"),
        ({"better": "a/1#fpv", "than": "a/1"}, "small has no measure 'fpv'. Did you mean 'fpv_ml'?"),
        ({"better": {"method": "a"}, "than": "a/1"}, "leaves size open"),
        ({"better": {"method": "a", "spread": {"size": "all"}}, "than": "b/1"}, "neither better nor worse"),
        ({"better": "a/1#fpv_ml", "than": "b/1"}, "fpv_ml and dice are compared"),
        ({"better": "a", "than": "b/1"}, "write METHOD/SIZE"),
        ({"better": {"size": "1", "method": "others"}, "than": "b/1"}, "has no method 'others'"),
        ({"better": {"each": {"method": "others"}, "size": "1"}, "than": "b/1"}, "no quantifier around it"),
        ({"best": "method", "is": "a", "among": ["b", "c"]}, "'a' is not among the values"),
        ({"best": "method", "is": "a", "of": {"method": "b", "size": "1"}}, "method is what competes"),
        ({"best": "size", "is": "1", "of": {"method": "a", "mean": {"size": "all"}}}, "size is what competes"),
        ({"better": {"size": "1", "method": "a", "mean": {"measure": ["dice", "fpv_ml"]}}, "than": "b/1"}, "no mean"),
        ({"for_each": {"size": "all"}, "holds": {"order": ["a/1", "b/1"]}, "except_at_most": 2}, "nothing is claimed"),
    ],
)  # fmt: skip
def test_what_no_table_has_is_refused_with_file_claim_and_nearest_name(
    test: dict[str, Any], message: str
) -> None:
    with pytest.raises(BenchError) as refused:
        node_of(test)
    assert str(refused.value).startswith("mine.yaml: claim x: ")
    assert message in str(refused.value)


def written(tmp_path: Path, claim: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(f"name: mine\npaper: ours\nclaims:\n  - {claim}\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("table: t, test: {beter: PET, than: CT}", "test: no test begins with 'beter'. Did you mean 'better'?"),
        ("table: t, test: {better: PET, then: CT}", "test: there is no key 'then' here. Did you mean 'than'?"),
        ("table: t, test: {all: [{better: PET, then: CT}]}", "test.all.0: there is no key 'then' here."),
        ("say: s, table: t, test: {better: PET, than: CT}", "there is no key 'say' here. Did you mean 'says'?"),
        ("reading: none", "give either a test or"),
        ("untestable: no, table: t", "untestable: Input should be a valid string"),
        ("table: t, test: {best: x, worst: y, is: 1}", "a test has one of best and worst"),
        ("table: t, test: {difference: PET, minus: CT}", "a difference needs at_least or at_most"),
        ("table: t, test: {better: {mean: {x: 1}, spread: {x: 1}}, than: CT}", "cannot have both mean and spread"),
        ("table: t, test: {better: {x: null}, than: CT}", "None is no level of an axis"),
    ],
)  # fmt: skip
def test_a_wrong_word_is_refused_with_file_claim_and_nearest_word(
    tmp_path: Path, words: str, message: str
) -> None:
    with pytest.raises(BenchError) as refused:
        load_claims([written(tmp_path, f"{{id: a, place: p, says: s, {words}}}")])
    assert str(refused.value).startswith("mine.yaml: claim a: ")
    assert message in str(refused.value)


def test_a_claim_without_an_id_is_named_by_its_number(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"^mine\.yaml: claim number 1: id: Field required\.$"):
        load_claims([written(tmp_path, "{place: p, says: s, untestable: why}")])


def test_two_claims_of_one_id_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "{id: a, place: p, says: s, untestable: why}")
    with pytest.raises(BenchError, match=r"The claim a is twice in mine\.yaml"):
        load_claims([path, path])


def test_levels_may_be_written_as_numbers_and_layers_as_lists() -> None:
    test = {"better": {"version": "v4", "level": 0.2, "shared_layers": [4, 5, 6]}, "than": "v4/0.1/5"}
    assert texts(node_of(test, paper_tables()["table2"])) == ["v4/0.2/4-5-6 > v4/0.1/5"]


def test_addresses_are_those_of_bench_why() -> None:
    tables = paper_tables()
    assert tables["table2"].address(Cell(("v3", "shuffle", "5"), "dice")) == "table2:v3/shuffle/5"
    assert tables["table4"].address(Cell(("Mirror U-Net v3",), "fnv_ml")) == "table4:Mirror U-Net v3#fnv_ml"
    assert (
        tables["table5"].address(Cell(("SegResNet",), "tumor_core_dice"))
        == "table5:SegResNet#tumor_core_dice"
    )
