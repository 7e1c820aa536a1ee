import pytest

from benchmark.vocabulary import BenchError
from reports.provenance.addresses import Address, address, parse_address


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
    "name", ["EF/MF", "U-Net #2", "50% θ", "a:b", "%2F", "two\nlines", "<b>", "x", " y "]
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
