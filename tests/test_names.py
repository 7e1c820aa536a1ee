"""Names of their own: in tables, files and MLflow, whatever signs they have."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from written_runs import methods_manifest, write_regions

from benchmark.names import unique_names
from benchmark.results.manifests import write_manifest
from benchmark.tracking.content import accepted, accepted_name, originals
from benchmark.vocabulary import BenchError
from reports.ground.measures import DICE, measures_of, usual_measures
from reports.provenance.trace import trace
from reports.tables.report import write_report

HOSTILE = {
    "signs that tell": ["PSMA+", "PSMA-", "PSMA"],
    "signs alone": ["+", "-", "*", "°"],
    "one sign more": ["a+", "a*", "a"],
    "case": ["Liver", "liver", "LIVER"],
    "spaces": ["whole tumor", "whole_tumor", "whole  tumor"],
    "paths": ["./x", "x", "../x", "/x", "a//b", "a/b", "a/./b", "..", "."],
    "long": ["x" * 300, "x" * 300 + "y", "x" * 239],
    "scripts": ["病灶", "病変", "опухоль", "\u00e9", "e\u0301"],
    "a name like another's hash": ["a+", "a*", unique_names(["a+", "a*"], lambda name: name[0])["a+"]],
    "controls": ["a\n", "a\t", "a\x00", "a"],
    "surrogates": ["a\udce9", "a\udcea"],
}


@pytest.mark.parametrize("names", HOSTILE.values(), ids=HOSTILE)
def test_names_for_mlflow_are_taken_and_no_two_are_one(names: Sequence[str]) -> None:
    from mlflow.utils.validation import _validate_metric_name, _validate_param_name, _validate_tag_name

    found = accepted(names)
    assert list(found) == names
    assert len({unicodedata.normalize("NFC", name).casefold() for name in found.values()}) == len(names)
    for name in found.values():
        for check in (_validate_metric_name, _validate_param_name, _validate_tag_name):
            check(name)
        assert len(name) <= 250
    for tag in originals(found):
        _validate_tag_name(tag)
        assert len(tag) <= 250
    back = {f"{ours}": name for name, ours in found.items()}
    assert [back[found[name]] for name in names] == names


def test_a_plain_name_stays_what_it_is_among_others() -> None:
    assert accepted(["test/tumor/dice", "train/seg", "seed"]) == {
        name: name for name in ("test/tumor/dice", "train/seg", "seed")
    }
    assert accepted_name("test/./x//y/..") == "test/_/x/y/__"
    assert originals({"a+": "a_", "b": "b"}) == {"bench.name.a_": "a+"}


@pytest.mark.parametrize("regions", HOSTILE.values(), ids=HOSTILE)
def test_every_region_has_a_column_of_its_own(regions: Sequence[str]) -> None:
    found = usual_measures(regions, ["dice", "hd95_mm"])
    assert len(found) == 2 * len(regions)
    assert {measure.region for measure in found.values()} == set(regions)
    assert len({key.casefold() for key in found}) == 2 * len(regions)
    assert len({measure.title for measure in found.values()}) == 2 * len(regions)
    assert {measure.kind for measure in found.values()} == {"Dice", "HD95"}


def test_plain_regions_keep_the_names_of_the_published_columns() -> None:
    assert list(usual_measures(["whole tumor", "edema"], [])) == ["whole_tumor_dice", "edema_dice"]
    assert DICE.of("whole tumor").printed_as == "whole_tumor_dice"
    with pytest.raises(
        BenchError, match=r"Two columns would be called psma_dice: PSMA\+ Dice .*and PSMA- Dice"
    ):
        measures_of(DICE.of("PSMA+"), DICE.of("PSMA-"))


def test_a_table_has_both_of_two_regions_whose_names_differ_in_a_sign(tmp_path: Path) -> None:
    for name, first in (("a", 0.9), ("b", 0.8)):
        regions = {"PSMA+": {"dice": [first, 0.5]}, "PSMA-": {"dice": [0.3, first]}}
        write_regions(tmp_path / "results", name, regions)
    manifest = methods_manifest("mine", ("one", 0, 0, "a"), ("two", 0, 0, "b"))
    write_manifest(tmp_path / "results", manifest)
    written = write_report(tmp_path / "results", grid="mine", source="runs", out=tmp_path / "out")
    table = written.tables[0].printed[0]
    assert table.columns[:2] == ("PSMA+ Dice [%] ↑", "PSMA- Dice [%] ↑")
    assert [[cell[0].text for cell in row.cells[:2]] for row in table.rows] == [
        ["70.00", "60.00"],
        ["65.00", "55.00"],
    ]
    layout = pd.read_csv(tmp_path / "out" / "mine.csv")
    plus, minus = [name for name in layout if name.startswith("psma_")]
    assert list(layout[plus]) == [70.0, 65.0]
    assert list(layout[minus]) == [60.0, 55.0]
    traced = trace(tmp_path / "results", manifest, f"mine:two#{minus}")
    assert (traced.printed, traced.agrees) == ("55.00", True)
