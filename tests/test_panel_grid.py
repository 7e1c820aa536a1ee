"""Figures 7 and 8: which runs of a grid they show, where each tile stands, and how a report includes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_panel_figures import RULES, SHAPE, SPACING, body, empty
from written_pages import without_ink
from written_runs import NAN, V3, manifest_of, methods_manifest, write_regions, write_run

from benchmark.files.places import DamagedFileError
from benchmark.files.writing import write_json
from benchmark.planning.grid import matching
from benchmark.results.manifests import GridManifest, write_manifest
from benchmark.vocabulary import BenchError
from reports.panels.choice import Chosen
from reports.panels.grid import drawn_figures, figures_folder, selected_cells, write_grid_figures
from reports.panels.included import include_panels
from reports.panels.layout import PicturedCase, columns, pictured_case
from reports.panels.reading import Output, Outputs, RunFacts
from reports.panels.rows import case_words, name_of_run, row_label, row_name, scores_of_run
from reports.panels.rows_figure import FigureRow
from reports.tables.report import write_report

V1 = {"version": "v1", "self_supervision": "noise", "shared_layers": "5"}
V4 = {"version": "v4", "fusion_weight": "0.2", "shared_layers": "5"}
OTHER = {"version": "v3", "self_supervision": "none", "shared_layers": "4-5-6"}
MAP = np.full((1, *SHAPE), 0.25, np.float16)
TWO = np.concatenate([1 - MAP, MAP])


def said_by(outputs: dict[str, Output], case_id: str = "case00", **arguments: Any) -> Outputs:
    """A network with a branch for CT and one for PET, and a case in which a lesion is found and one missed."""
    reference, prediction = empty(), empty()
    reference[4:8, 4:8, 4:7] = reference[14:16, 8:10, 9:11] = 1
    prediction[4:8, 4:8, 4:7] = 1
    return Outputs(
        case_id,
        SPACING,
        ("CT", "PET"),
        body(),
        reference,
        prediction,
        outputs,
        RULES,
        (("CT",), ("PET",)),
        {"tumor": 1},
        {"tumor": (1,)},
        run=RunFacts("r", method="mirror_unet", method_args=arguments),
    )


V1_OUTPUTS = {
    "ct input": Output("input", "CT", MAP),
    "ct": Output("reconstruction", "CT", MAP),
    "pet": Output("segmentation", "", TWO),
}
V3_OUTPUTS = {
    **V1_OUTPUTS,
    "bottleneck": Output("reconstruction", "PET", MAP),
    "class": Output("classification", "", MAP),
}
V4_OUTPUTS = {name: Output("segmentation", "", TWO) for name in ("ct", "pet", "output")}


def test_rows_are_named_as_in_their_table() -> None:
    assert row_name(V3) == "Mirror U-Net v3, L2 + shuffling, L = {5}"
    assert row_name(V4) == "Mirror U-Net v4, θ = 0.2, L = {5}"
    assert row_name(OTHER) == "Mirror U-Net v3, L2, L = {4, 5, 6}"
    assert row_name({"method": "SegResNet"}) == "SegResNet"
    assert row_name({"modality": "CT", "patch_size": "96"}) == "modality CT, patch size 96"


def test_a_row_s_label_has_lines_that_fit_beside_a_picture() -> None:
    label = row_label(row_name({**V3, "shared_layers": "3-4-5-6-7"}))
    assert label.split("\n") == ["Mirror U-Net v3,", "L2 + shuffling,", "L = {3, 4, 5, 6, 7}"]
    assert row_label("SegResNet") == "SegResNet"


def test_a_run_of_no_grid_is_named_by_its_method(tmp_path: Path) -> None:
    assert name_of_run(tmp_path, "r", "", method="middle_fusion", method_args={"layer": 5}) == (
        "middle_fusion (layer 5)"
    )


def test_a_case_s_scores_are_said_in_the_units_of_the_tables(tmp_path: Path) -> None:
    write_run(tmp_path, "one", [0.6321, NAN], fpv_ml=[1.2, 0.0], fnv_ml=[0.305, 0.0])
    scores = scores_of_run(tmp_path, "one", "")
    assert case_words(scores, "case00") == ["Dice 63.2 %", "FPV 1.20 ml", "FNV 0.30 ml"]
    assert case_words(scores, "case01")[0] == "Dice undefined"
    write_regions(tmp_path, "brain", {"edema": {"dice": [0.5]}, "core": {"dice": [NAN]}})
    assert case_words(scores_of_run(tmp_path, "brain", ""), "case00") == [
        "edema: Dice 50.0 %",
        "core: Dice undefined",
    ]


def test_figure_7_shows_the_rows_of_the_paper_that_are_done(tmp_path: Path) -> None:
    write_run(tmp_path, "a", [0.5])
    write_run(tmp_path, "b", [0.5])
    manifest = manifest_of((V3, 0, 0, "a"), (OTHER, 0, 0, "b"), (V1, 0, 0, "c"))
    selected = selected_cells(tmp_path, manifest, None)
    assert [cell.run_id for cell in selected.cells] == ["a"]
    assert selected.left_out == ("Mirror U-Net v1, L2 + noise, L = {5}",)
    taken = matching(manifest.cells, ["shared_layers=4-5-6"], where="table2")
    chosen = [cell for cell, is_taken in zip(manifest.cells, taken, strict=True) if is_taken]
    assert [cell.run_id for cell in selected_cells(tmp_path, manifest, chosen).cells] == ["b"]
    with pytest.raises(BenchError, match=r"None of the 1 rows .* is done"):
        selected_cells(tmp_path, manifest_of((V1, 0, 0, "c")), None)


def test_all_rows_are_of_the_fold_that_most_of_them_have_and_the_first_seed(tmp_path: Path) -> None:
    for run_id in "abcd":
        write_run(tmp_path, run_id, [0.5])
    manifest = manifest_of((V3, 1, 1, "a"), (V3, 0, 0, "b"), (V3, 1, 0, "c"), (V1, 1, 2, "d"))
    assert [cell.run_id for cell in selected_cells(tmp_path, manifest, None).cells] == ["c", "d"]
    in_fold_0 = selected_cells(tmp_path, manifest, None, fold=0)
    assert [cell.run_id for cell in in_fold_0.cells] == ["b"]
    assert in_fold_0.left_out == ("Mirror U-Net v1, L2 + noise, L = {5}",)


def test_more_rows_than_a_page_has_are_refused(tmp_path: Path) -> None:
    cells = []
    for number in range(13):
        write_run(tmp_path, f"r{number}", [0.5])
        cells.append((f"Method {number}", 0, 0, f"r{number}"))
    with pytest.raises(BenchError, match=r"13 rows are more .* \(12\)"):
        selected_cells(tmp_path, methods_manifest("mine", *cells), None)


def test_the_branches_of_all_versions_stand_in_the_paper_s_columns() -> None:
    v1, v3, v4 = (pictured_case(said_by(outputs)) for outputs in (V1_OUTPUTS, V3_OUTPUTS, V4_OUTPUTS))
    assert columns([v1, v3, v4]) == {
        "CT": "CT\nsoft tissue,\n−100 to 240 HU",
        "PET": "PET\nSUV 0 to 7",
        "reference": "Reference",
        "input": "Input of the\nCT branch",
        "first branch": "CT branch",
        "second branch": "PET branch",
        "last": "Bottleneck\nor fused branches",
        "final": "Final mask",
    }
    said = {place.column: place.caption for place in v4.places}
    assert (said["first branch"], said["last"]) == ("P(tumor)", "P(tumor)")
    assert "input" not in said
    captions = {place.column: place.caption for place in v3.places}
    assert (captions["first branch"], captions["last"]) == ("reconstructed CT", "reconstructed PET")
    assert (v1.probability, v3.probability) == (None, 0.25)


def test_what_was_done_to_the_input_is_said() -> None:
    shuffled = pictured_case(said_by(V1_OUTPUTS, corruption="shuffle"))
    assert "shuffled" in {place.caption for place in shuffled.places}


def brain(outputs: dict[str, Output]) -> PicturedCase:
    reference, prediction = empty(), empty()
    reference[4:8, 4:8, 4:7], prediction[4:8, 4:8, 4:7] = 3, 1
    return pictured_case(
        Outputs(
            "case00",
            SPACING,
            ("FLAIR", "T1w", "T1Gd"),
            np.concatenate([body(negative=True), body()[:1]]),
            reference,
            prediction,
            outputs,
            {},
            (("T1Gd",), ("FLAIR",)),
            {"edema": 1, "enhancing": 3},
            {"whole": (1, 3), "core": (3,), "edema": (1,)},
            run=RunFacts("r", method_args={"branch_regions": ["core", "edema"]}),
        )
    )


def test_figure_8_shows_the_contrasts_of_the_branches_their_regions_and_the_whole_tumour() -> None:
    outputs = {
        "core": Output("segmentation", "core", TWO),
        "edema": Output("segmentation", "edema", TWO),
        "bottleneck": Output("segmentation", "whole", TWO),
    }
    case = brain(outputs)
    heads = columns([case])
    assert [heading.split("\n")[0] for heading in heads.values()] == [
        *("T1Gd", "FLAIR", "Reference", "T1Gd branch", "FLAIR branch", "Bottleneck"),
        *("Labels of the final mask", "Final mask"),
    ]
    captions = {place.column: place.caption for place in case.places}
    assert captions["first branch"] == "P(core)"
    assert captions["final"] == "whole"
    # Core that is called oedema is a hit of the whole tumour.
    final = next(place.tile for place in case.places if place.column == "final")
    assert set(np.unique(final.pictures[0])) == {0, 1}
    # The window is the case's own, and each branch's border that of its own region: there is no reference of edema.
    assert (heads["FLAIR"], captions["FLAIR"].endswith("as in the file")) == ("FLAIR", True)
    borders = {place.column: place.tile.outlines[0].any() for place in case.places if place.tile.outlines}
    assert borders == {"first branch": True, "second branch": False, "last": True}
    # MRI is cut, not projected.
    assert case.views[1].index is not None


def grid_with_figures(results: Path) -> tuple[GridManifest, list[Path]]:
    manifest = manifest_of((V1, 0, 0, "a"), (V3, 0, 0, "b"), (V4, 0, 0, "c"))
    for run_id in "abc":
        write_run(results, run_id, [0.5, 0.4], fpv_ml=[0.0, 1.0], fnv_ml=[0.0, 0.0])
    selected = selected_cells(results, manifest, None)
    outputs = {"a": V1_OUTPUTS, "b": V3_OUTPUTS, "c": V4_OUTPUTS}
    pictured = {
        (row_name(cell.factors), "case00"): pictured_case(said_by(outputs[cell.run_id]))
        for cell in selected.cells
    }
    folder, cases = figures_folder(results, manifest), [Chosen("case00", ("worst Dice",))]
    return manifest, write_grid_figures(folder, results, manifest, selected.cells, cases, pictured)


def test_a_figure_is_drawn_for_each_view_and_a_report_includes_it(tmp_path: Path) -> None:
    manifest, files = grid_with_figures(tmp_path)
    assert [path.name for path in files] == [
        f"figure7_case00_{view}.{kind}" for view in ("axial", "coronal") for kind in ("png", "pdf")
    ]
    (picture,) = drawn_figures(files[0].parent).values()
    assert picture.runs == ["a", "b", "c"]
    assert picture.title == "Case case00: worst Dice\nphantom, fold 0, seed 0"
    first = files[0].read_bytes()

    write_manifest(tmp_path, manifest)
    written = write_report(tmp_path, source="runs", out=tmp_path / "report")
    text = written.files[0].read_text()
    assert "### Figure 7. What each branch of Mirror U-Net has learned" in text
    assert "(figure7_case00_coronal.png)" in text
    assert "bench panels" not in text
    assert (tmp_path / "report" / "figure7_case00_axial.png").read_bytes() == first
    assert tmp_path / "report" / "figure7_case00_axial.pdf" in written.files


def test_figures_of_other_cases_are_kept_but_a_network_s_figure_has_the_cases_of_the_last_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[str]] = []

    def draw_rows(rows: Sequence[FigureRow], **_: Any) -> None:
        drawn.append([row.label.split("\n")[0] for row in rows])

    monkeypatch.setattr("reports.panels.grid.draw_rows", draw_rows)
    without_ink(monkeypatch)
    write_run(tmp_path, "a", [0.5, 0.4], fpv_ml=[0, 0], fnv_ml=[0, 0])
    manifests = (
        manifest_of((V1, 0, 0, "a")),
        methods_manifest("table5", ("Mirror U-Net v2", 0, 0, "a")),
    )
    for manifest in manifests:
        for case in ("case00", "case01"):
            pictured = {(row_name(manifest.cells[0].factors), case): pictured_case(said_by(V1_OUTPUTS, case))}
            folder = figures_folder(tmp_path, manifest)
            write_grid_figures(folder, tmp_path, manifest, manifest.cells, [Chosen(case)], pictured)
    first, second = (drawn_figures(figures_folder(tmp_path, manifest)) for manifest in manifests)
    assert list(first) == ["figure7_case00", "figure7_case01"]
    assert list(second) == ["figure8"]
    assert drawn[-1] == ["case01"]


def test_without_figures_and_with_those_of_other_runs_the_report_says_how_to_make_them(
    tmp_path: Path,
) -> None:
    manifest = manifest_of((V3, 0, 0, "b"))
    nothing = include_panels(tmp_path, manifest, tmp_path / "report")
    assert nothing.files == []
    assert nothing.texts == [
        "### Figure 7. What each branch of Mirror U-Net has learned\n",
        "`bench panels --grid table2-k` draws what every branch says of single cases.\n",
    ]
    record = figures_folder(tmp_path, manifest) / "figures.json"
    write_json(record, {"figure7_a": {"title": "a", "stems": ["figure7_a_axial"], "runs": ["b", "gone"]}})
    stale = include_panels(tmp_path, manifest, tmp_path / "report")
    assert not stale.files
    assert stale.texts[-1].startswith(
        "1 of the figures of single cases show runs that the grid has no more; `bench"
    )


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "figures.json").write_text("[1]")
    with pytest.raises(DamagedFileError, match=r"figures\.json is damaged"):
        drawn_figures(tmp_path)
