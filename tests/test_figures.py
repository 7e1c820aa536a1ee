"""Figures 4, 5 and 6: what is drawn, and that the same numbers give the same files."""

from __future__ import annotations

import itertools
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.ground.drawing import save, style
from reports.tables.table2.figures import FIGURES, draw
from reports.tables.table2.frames import published_table2

NAN = float("nan")


def ticks(ax: Axes) -> list[str]:
    return [label.get_text() for label in ax.get_xticklabels()]


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()] if figure.legends else []


def annotations(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


@pytest.mark.parametrize("number", FIGURES)
def test_own_and_published_panels_share_their_scale(number: int) -> None:
    own = published_table2().assign(value=lambda frame: frame["value"] - 10)
    left, right = draw(number, {"Own runs": own, "Published": published_table2()}).axes
    assert left.get_ylim() == right.get_ylim()
    assert left.get_ylim()[0] < 51
    assert right.get_ylim()[1] > 64
    assert [left.get_title(), right.get_title()] == ["Own runs", "Published"]


def test_figure_4_draws_nine_boxes_and_every_value_as_a_point() -> None:
    figure = draw(4, {"Published": published_table2()})
    ax = figure.axes[0]
    assert ticks(ax) == ["(v1)", "(v2)", "(v3)"]
    assert len(ax.patches) == 9
    drawn = np.concatenate([points.get_offsets()[:, 1] for points in ax.collections])
    frame = published_table2()
    assert sorted(drawn) == sorted(frame.loc[frame["factor"] == "self_supervision", "value"])
    assert legend_of(figure) == ["L2", "L2 + noise", "L2 + shuffling"]
    assert annotations(ax) == []


def test_figure_5_draws_one_line_a_version_through_the_bold_numbers() -> None:
    figure = draw(5, {"Published": published_table2()})
    ax = figure.axes[0]
    lines = [line for line in ax.lines if line.get_linestyle() == "-"]
    assert [round(float(line.get_ydata()[2]), 2) for line in lines] == [64.57, 65.50, 65.91, 64.24]
    assert ticks(ax) == ["{3}", "{4}", "{5}", "{6}", "{7}", "{4,5,6}", "{3,4,5,6,7}"]
    assert legend_of(figure) == ["(v1)", "(v2)", "(v3)", "(v4)"]


def test_figure_6_draws_a_box_per_choice_of_layers() -> None:
    ax = draw(6, {"Published": published_table2()}).axes[0]
    assert len(ax.patches) == 7
    assert all(len(points.get_offsets()) == 5 for points in ax.collections)


def test_empty_groups_stay_on_the_axis_and_incomplete_ones_say_so() -> None:
    frame = published_table2()
    frame.loc[frame["shared_layers"] == "7", "value"] = NAN
    frame.loc[(frame["version"] == "v1") & (frame["level"] == "none"), "value"] = NAN
    frame.loc[(frame["factor"] == "fusion_weight") & (frame["level"] == "0.1"), "value"] = NAN
    panels = {"Own runs": frame, "Published": published_table2()}
    own, paper = draw(4, panels).axes
    assert ticks(own) == ["(v1)", "(v2)", "(v3)"]
    assert len(own.patches) == 8
    assert annotations(own) == ["0/7"] + ["6/7"] * 8
    assert annotations(paper) == []
    figure = draw(5, panels)
    assert "{7}" in ticks(figure.axes[0])
    assert annotations(figure.axes[0]) == ["no value"]
    assert legend_of(figure)[-1] == "hollow: best of a part of its box"
    assert annotations(draw(6, panels).axes[0]) == ["4/5"] * 4 + ["0/5"] + ["4/5"] * 2


def test_a_grid_without_any_value_is_drawn_empty() -> None:
    missing = {4: ["0/7"] * 9, 5: ["no value"] * 7, 6: ["0/5"] * 7}
    for number in FIGURES:
        full, empty = (
            draw(number, {"Own runs": frame}, note="unfinished: 0 of 105 cells").axes[0]
            for frame in (published_table2(), published_table2().assign(value=NAN))
        )
        assert ticks(empty) == ticks(full)
        assert annotations(empty) == missing[number]
        drawn = [y for points in empty.collections for y in points.get_offsets()[:, 1]]
        drawn += [y for line in empty.lines for y in line.get_ydata()]
        assert (len(empty.patches), np.isfinite(np.array(drawn, float)).sum()) == (0, 0)


def test_the_note_stands_in_the_title() -> None:
    figure = draw(4, {"Own runs": published_table2()}, note="unfinished: 4 of 63 cells")
    title = figure.get_suptitle()
    assert title == "Figure 4. Self-supervision methods in versions 1 to 3\nunfinished: 4 of 63 cells"


def test_nothing_is_drawn_over_the_legend_or_beyond_the_page() -> None:
    with style():
        figure = draw(5, {"Published": published_table2()}, note="as published")
        figure.canvas.draw()
        legend = figure.legends[0].get_window_extent()
        assert legend.y1 < figure.axes[0].get_tightbbox().y0
        title = figure._suptitle.get_window_extent()  # type: ignore[attr-defined]
        assert title.x0 >= 0
        assert title.x1 <= figure.bbox.x1
        labels = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
        assert all(left.x1 < right.x0 for left, right in itertools.pairwise(labels))


def test_the_same_numbers_give_the_same_files_whatever_the_users_settings(tmp_path: Path) -> None:
    for folder, font in (("one", 8.0), ("two", 20.0)):
        with mpl.rc_context({"font.size": font, "svg.hashsalt": None}), style():
            written = save(draw(6, {"Published": published_table2()}), tmp_path / folder / "figure6")
    assert [path.name for path in written] == ["figure6.png", "figure6.pdf", "figure6.svg"]
    for path in written:
        assert path.read_bytes() == (tmp_path / "one" / path.name).read_bytes()
    assert b"CreationDate" not in (tmp_path / "one" / "figure6.pdf").read_bytes()
    assert (tmp_path / "one" / "figure6.png").read_bytes()[16:24] == bytes(
        [0, 0, 3, 212, 0, 0, 2, 128]
    )  # 980 x 640
