import random
from itertools import product

import numpy as np
import pytest

from benchmark.vocabulary import BenchError
from reports.ground.addresses import (
    Address,
    Places,
    address,
    address_of_cells,
    of_launch,
    parse_address,
    parse_places,
    together,
)

CELLS = (*product(("v1", "v2"), ("none", "noise"), ("3", "5")), ("v4", "0.1", "3"), ("v4", "0.1", "5"))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("table2:v3/shuffle/5", Address("table2", ("v3", "shuffle", "5"))),
        ("table2:v4/0.2/4-5-6", Address("table2", ("v4", "0.2", "4-5-6"))),
        ("table4:Mirror U-Net v3#fnv_ml", Address("table4", ("Mirror U-Net v3",), "fnv_ml")),
        ("table5:SegResNet#tumor_core_dice", Address("table5", ("SegResNet",), "tumor_core_dice")),
    ],
)
def test_an_address_names_grid_coordinates_and_measure(text: str, parts: Address) -> None:
    assert parse_address(text) == parts
    assert str(parts) == text


@pytest.mark.parametrize(
    "name", ["EF/MF", "U-Net #2", "50% θ", "a:b", "%2F", "two\nlines", "<b>", "x", " y ", "*", "CT|PET"]
)
def test_every_name_comes_back_from_its_address(name: str) -> None:
    text = address(name, ["first", name, "last"], name)
    assert "\n" not in text
    assert parse_address(f"{text}") == Address(name, ("first", name, "last"), name)


def test_separators_in_a_name_are_percent_encoded() -> None:
    assert address("table3", ["EF/MF #1"]) == "table3:EF%2FMF %231"


@pytest.mark.parametrize("text", ["table2", "table2:", ":v3", "", "table2:#dice"])
def test_what_names_no_cell_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BenchError, match="table2:v3/shuffle/5"):
        parse_address(text)


@pytest.mark.parametrize(
    ("cells", "text"),
    [
        ([("v1", "none", "3")], "table2:v1/none/3"),
        ([("v1", "none", "3"), ("v2", "noise", "5")], "table2:v1/none/3|v2/noise/5"),
        ([("v1", "none", "3"), ("v1", "none", "5")], "table2:v1/none/*"),
        ([cell for cell in CELLS if cell[0] == "v1"], "table2:v1/*/*"),
        ([cell for cell in CELLS if cell[0] != "v4" and cell[2] == "5"], "table2:v1/*/5|v2/*/5"),
        ([cell for cell in CELLS if cell[2] == "5"], "table2:v1/*/5|v2/*/5|v4/0.1/5"),
        (CELLS, "table2:v1/*/*|v2/*/*|v4/0.1/*"),
        ([], ""),
    ],
)
def test_several_cells_have_one_short_address(cells: list[tuple[str, ...]], text: str) -> None:
    assert address_of_cells("table2", cells, among=CELLS) == text


def test_an_address_of_several_fits_these_cells_and_no_others() -> None:
    generator = np.random.default_rng(5)
    for _ in range(200):
        chosen = [cell for cell in CELLS if generator.random() < 0.7]
        if chosen:
            places = parse_places(address_of_cells("table2", chosen, among=CELLS, measure="fpv_ml"))
            assert [cell for cell in CELLS if places.fit(cell)] == chosen
            assert places.measure == "fpv_ml"


def test_a_star_is_every_value_and_a_value_that_is_called_so_is_not() -> None:
    assert parse_places("table3:*") == Places("table3", ((None,),))
    assert parse_places(address("table3", ["*"])) == Places("table3", (("*",),))
    assert not Places("table3", (("*",),)).fit(["PET"])
    assert not parse_places("table2:v1/*").fit(["v1", "none", "3"])


def test_one_number_is_not_asked_for_by_the_address_of_several() -> None:
    for text in ("table3:PET|EF", "table2:v3/*/5"):
        with pytest.raises(BenchError, match="several cells"):
            parse_address(text)


def test_two_addresses_together_name_the_cells_of_both() -> None:
    assert together("table3:PET#fnv_ml", "table3:EF#fnv_ml") == "table3:PET|EF#fnv_ml"
    assert together("table3:PET#fnv_ml", "table3:PET") == "table3:PET"


def test_the_address_of_a_launch_begins_with_its_name() -> None:
    assert of_launch("table2:v3/*/5|v4/0.1/5#fpv_ml", "table2-k") == "table2-k:v3/*/5|v4/0.1/5#fpv_ml"


def test_patterns_of_many_cells_fit_these_cells_and_no_others() -> None:
    generator = random.Random(0)
    axes = ("ab", "xyz", "12")
    for _ in range(200):
        among = [cell for cell in product(*axes) if generator.random() < 0.8]
        cells = [cell for cell in among if generator.random() < 0.6]
        text = address_of_cells("g", cells, among=among)
        if cells:
            places = parse_places(text)
            assert [cell for cell in among if places.fit(cell)] == cells, text
        else:
            assert text == ""
