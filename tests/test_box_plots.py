"""Box plots of single cases: the numbers, and what is drawn of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from written_runs import NAN, methods_manifest, write_readings, write_regions, write_run

from benchmark.results.manifests import GridManifest
from reports.ground import drawing
from reports.ground.runs import planned_runs, reported_scores
from reports.tables.comparison.box_figure import FORMATS, draw_boxes
from reports.tables.comparison.boxes import box_cases, boxes
from reports.tables.comparison.frames import PLACE, Comparison

MINE = Comparison("mine", "Methods")
SCORES = {
    "dice": [0.8, 0.0, NAN, NAN],
    "hd95_mm": [4.0, 96.0, 96.0, 0.0],
    "missed": [0, 1, 0, 0],
    "invented": [0, 0, 1, 0],
}


def cases_of(results: Path, manifest: GridManifest) -> pd.DataFrame:
    planned = planned_runs(results, manifest, PLACE)
    return box_cases(MINE, planned, reported_scores(results, planned))


def texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_a_cases_value_is_its_mean_over_seeds_in_the_printed_unit(tmp_path: Path) -> None:
    write_readings(tmp_path, "a", {"": SCORES}, where={"seed": 0})
    again = SCORES | {"dice": [0.6, 0.5, NAN, NAN], "hd95_mm": [2.0, 4.0, 0.0, 0.0]}
    again |= {"missed": [0] * 4, "invented": [0] * 4}
    write_readings(tmp_path, "b", {"": again}, where={"seed": 1})
    cases = cases_of(tmp_path, methods_manifest("mine", ("net", 0, 0, "a"), ("net", 0, 1, "b")))
    dice, hd95 = (cases[cases["metric"] == metric] for metric in ("dice", "hd95_mm"))
    assert dice["value"].tolist()[:2] == pytest.approx([70.0, 25.0])
    assert dice["value"].isna().tolist() == [False, False, True, True]
    assert hd95["value"].tolist() == pytest.approx([3.0, 50.0, 48.0, 0.0])
    assert hd95["missed"].tolist() == [0, 0.5, 0, 0]
    assert set(cases["n_seeds"]) == {2}
    counted = boxes(cases).set_index("metric")
    assert list(counted.loc["dice", ["n", "n_missed", "n_invented"]]) == [2, 1, 1]
    assert list(counted.loc["hd95_mm", ["n", "n_missed", "n_invented"]]) == [4, 1, 1]
    assert counted.loc["hd95_mm", "median"] == pytest.approx(25.5)


def test_panels_are_regions_and_metrics_in_the_order_of_data_and_table(tmp_path: Path) -> None:
    write_regions(tmp_path, "b", {"whole": SCORES, "core": SCORES})
    write_regions(tmp_path, "a", {"whole": SCORES})
    manifest = methods_manifest("mine", ("zebra", 0, 0, "a"), ("ant", 0, 0, "b"))
    cases = cases_of(tmp_path, manifest)
    assert list(dict.fromkeys(cases["region"])) == ["whole", "core"]
    assert list(dict.fromkeys(cases["method"])) == ["zebra", "ant"]
    axes = draw_boxes(cases, "title").axes
    assert [ax.get_title() for ax in axes] == ["whole", "whole", "core", "core"]
    assert [len(ax.patches) for ax in axes] == [2, 2, 1, 1]
    assert [label.get_text() for label in axes[3].get_xticklabels()] == ["zebra", "ant"]
    # zebra cannot tell the core.
    assert texts(axes[2]) == ["2", "1", "–", "n", "missed"]


def test_every_case_is_a_point_and_penalties_are_marked_where_they_are(tmp_path: Path) -> None:
    write_readings(tmp_path, "a", {"": SCORES})
    figure = draw_boxes(cases_of(tmp_path, methods_manifest("mine", ("net", 0, 0, "a"))), "title")
    ax = figure.axes[1]
    plain, missed, invented = (np.sort(points.get_offsets()[:, 1]).tolist() for points in ax.collections)
    assert (plain, missed, invented) == ([0.0, 4.0], [96.0], [96.0])
    assert texts(ax) == ["4", "1", "1", "n", "missed", "invented"]
    assert ax.get_ylim()[1] > 96
    legend = [text.get_text().partition(":")[0] for text in figure.legends[0].get_texts()]
    assert legend == ["missed", "invented"]


def test_scores_from_before_the_counts_are_drawn_without_them(tmp_path: Path) -> None:
    write_run(tmp_path, "a", [0.5, 0.7])
    cases = cases_of(tmp_path, methods_manifest("mine", ("net", 0, 0, "a")))
    (ax,) = draw_boxes(cases, "title").axes
    assert ax.get_ylabel() == "Dice [%]"
    assert texts(ax) == ["2", "–", "n", "missed"]


def test_a_grid_without_a_finished_run_has_no_cases(tmp_path: Path) -> None:
    assert cases_of(tmp_path, methods_manifest("mine", ("net", 0, 0, "never"))).empty


def test_the_same_numbers_give_the_same_files_and_nothing_beyond_the_page(tmp_path: Path) -> None:
    write_readings(tmp_path, "a", {"": SCORES})
    names = ["Mirror U-Net v2-rec", "a", "SegResNet (no autoencoder)"]
    manifest = methods_manifest("mine", *((name, 0, 0, "a") for name in names))
    cases = cases_of(tmp_path, manifest)
    for folder in ("one", "two"):
        with drawing.style():
            figure = draw_boxes(cases, "title")
            written = drawing.save(figure, tmp_path / folder / "boxes", formats=FORMATS)
    for path in written:
        assert path.read_bytes() == (tmp_path / "one" / path.name).read_bytes()
    page = figure.bbox
    for ax in figure.axes:
        box = ax.get_tightbbox()
        assert box.x0 >= 0
        assert box.y0 >= figure.legends[0].get_window_extent().y1 - 1
        assert box.x1 <= page.x1


LONG = (
    "Boxes: every method on data set a-rather-long-name-of-data, profile small, unfinished: 3 of 11 methods"
)


@pytest.mark.parametrize("inches", [2.0, 4.8, 12.0])
def test_a_title_fits_its_figure_with_all_its_words(inches: float) -> None:
    figure = Figure(figsize=(inches, 3.0), layout="constrained")
    FigureCanvasAgg(figure)
    figure.subplots()
    with drawing.style():
        drawing.write_title(figure, f"{LONG}\nsecond line")
        figure.draw_without_rendering()
    (title,) = [text for text in figure.texts if text.get_text()]
    assert title.get_text().split() == [*LONG.split(), "second", "line"]
    extent = title.get_window_extent()
    assert extent.x0 >= 0
    assert extent.x1 <= figure.bbox.width
    assert title.get_text().splitlines()[-1] == "second line"


def test_the_title_of_boxes_of_one_method_is_not_cut(tmp_path: Path) -> None:
    write_readings(tmp_path, "a", {"": SCORES})
    cases = cases_of(tmp_path, methods_manifest("mine", ("m", 0, 0, "a")))
    with drawing.style():
        figure = draw_boxes(cases[cases["metric"] == "dice"], LONG)
        figure.draw_without_rendering()
    title = figure._suptitle
    assert title.get_window_extent().width <= figure.bbox.width
