"""AAHN's published numbers: all of them, and those of one data set beside own ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from written_runs import methods_manifest, write_regions, write_run

from benchmark.results.manifests import write_manifest
from reports.ground.printing import markdown
from reports.tables.aahn import comparison_on, numbers, numbers_on, published_table
from reports.tables.report import write_report


@pytest.fixture(autouse=True)
def _no_ink(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.ground.drawing.save", lambda figure, stem, *, formats: [])


def test_all_published_numbers_are_printed_by_data_set_and_region(tmp_path: Path) -> None:
    text = markdown(published_table(numbers()))
    assert "| Hecktor21 | tumor | 82.42 | 2.08 | 78.36 |" in text
    assert "| Prostate158 | peripheral zone | 78.33 | – | – |" in text
    assert "|  | enhancing tumor | 86.29 | 2.38 | – |" in text
    report = write_report(None, grid="aahn", source="paper", out=tmp_path)
    assert [path.name for path in report.files][:2] == ["report.md", "aahn.md"]
    assert (
        "AAHN on BraTS2023, Dice [%]: whole tumor 93.71, tumor core 90.54, enhancing tumor 86.29."
        in report.summary
    )


@pytest.mark.parametrize("name", ["Hecktor21", "HECKTOR21", "Dataset021_Hecktor-21", "task21_hecktor_21"])
def test_a_data_set_is_known_by_its_name_whatever_its_case_and_signs(name: str) -> None:
    numbers = numbers_on(name).set_index("method")
    assert numbers["dice"].to_dict() == pytest.approx({"AAHN": 82.42, "nnUNet": 78.36})


def test_numbers_of_several_regions_have_their_columns_and_those_without_a_unit_none() -> None:
    wide = numbers_on("brats2023")
    assert set(wide) == {"method", "whole_tumor_dice", "tumor_core_dice", "enhancing_tumor_dice"}
    assert wide["tumor_core_dice"].to_list() == [90.54]
    assert numbers_on("msd").empty


def test_published_numbers_of_the_same_data_set_stand_apart_from_own_ones(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write_run(results, "a", [0.7], fpv_ml=[1.0], fnv_ml=[0.0])
    manifest = methods_manifest("aahn", ("nnUNet", 0, 0, "a"), ("AAHN led by CT", 0, 0, "a"))
    write_manifest(results, replace(manifest, dataset="HECKTOR21"))
    write_report(results, grid="aahn", source="both", out=tmp_path / "out")
    text = (tmp_path / "out" / "aahn.md").read_text(encoding="utf-8")
    assert "| nnUNet | 70.00 | 1.00 | 0.00 |" in text
    assert "78.36" not in text
    published = (tmp_path / "out" / "aahn_published.md").read_text(encoding="utf-8")
    assert "| AAHN | **82.42** |" in published
    assert "| nnUNet | 78.36 |" in published
    for printed in (text, published):
        assert "cases that the authors divided by their own code" in printed
        assert "AutoPET" not in printed


def test_several_regions_are_matched_by_their_names(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write_regions(results, "a", {"whole tumor": {"dice": [0.9]}, "edema": {"dice": [0.8]}})
    manifest = methods_manifest("aahn", ("AAHN", 0, 0, "a"))
    write_manifest(results, replace(manifest, dataset="BraTS2019"))
    write_report(results, grid="aahn", source="both", out=tmp_path / "out")
    text = (tmp_path / "out" / "aahn.md").read_text(encoding="utf-8")
    assert "| AAHN | 90.00 | 80.00 |" in text
    published = (tmp_path / "out" / "aahn_published.md").read_text(encoding="utf-8")
    assert "| AAHN | 92.80 |" in published


def test_own_numbers_alone_name_no_published_ones(tmp_path: Path) -> None:
    assert comparison_on("autopet", source="both").publication is None
    assert comparison_on("Hecktor21", source="runs").printed().empty
    results = tmp_path / "results"
    write_run(results, "a", [0.7])
    write_manifest(results, methods_manifest("aahn", ("AAHN led by CT", 0, 0, "a")))
    report = write_report(results, grid="aahn", source="both", out=tmp_path / "out")
    assert "None of the published numbers is of what was scored on data set autopet" in report.summary[-1]
    assert "82.42" not in report.files[0].read_text(encoding="utf-8")
