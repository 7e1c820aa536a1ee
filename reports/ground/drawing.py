"""The look of all figures, and how they are saved. The same numbers give the same bytes, in every format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from benchmark.files.writing import written_whole
from reports.ground import banner

FORMATS = ("png", "pdf", "svg")
TITLE_POINTS = 9.5
TITLE_SHARE = 0.98
"""Of the figure's width, at most."""
SHORTEST_LINE = 20
BANNER_INCHES = 0.22
# No dates and no versions, so that equal numbers give equal files.
METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
}
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "axes.linewidth": 0.7,
    "axes.ymargin": 0.06,
    "xtick.major.size": 0,
    "xtick.labelsize": 7.5,
    "legend.frameon": False,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,
    "svg.hashsalt": "mirror-bench",
    "svg.fonttype": "path",
}
# Wong, Points of view: Color blindness, Nature Methods 2011.
BLACK, ORANGE, SKY, GREEN, BLUE, VERMILLION = "#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00"
YELLOW, PURPLE = "#F0E442", "#CC79A7"


@contextmanager
def style() -> Iterator[None]:
    """The suite's look; nothing of the user's Matplotlib settings enters."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def write_title(figure: Figure, text: str) -> None:
    """Above the whole figure, on as many lines as its width asks for: what is longer would be cut off.

    The figure becomes as much taller as its title does.
    """
    title = figure.suptitle(text, fontsize=TITLE_POINTS)
    one_line = title.get_window_extent().height
    lines = text.splitlines()
    longest = max(map(len, lines), default=0)
    while longest > SHORTEST_LINE and title.get_window_extent().width > TITLE_SHARE * figure.bbox.width:
        longest -= 2
        title.set_text(
            "\n".join(part for line in lines for part in wrap(line, longest, break_on_hyphens=False) or [""])
        )
    taller = (title.get_window_extent().height - one_line) / figure.dpi
    figure.set_figheight(figure.get_figheight() + taller)


def draw_box(ax: Axes, box: Mapping[Any, Any], *, at: float, width: float, colour: str) -> None:
    """A box with whiskers, without points, from a row of `box_statistics`."""
    statistics = {
        "q1": box["q1"],
        "med": box["median"],
        "q3": box["q3"],
        "whislo": box["low"],
        "whishi": box["high"],
    }
    line = {"color": colour, "linewidth": 1.1}
    ax.bxp(
        [statistics],
        positions=[at],
        widths=width,
        showfliers=False,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": tint(colour), "edgecolor": colour, "linewidth": 1.1},
        medianprops={"color": colour, "linewidth": 2},
        whiskerprops=line,
        capprops=line,
        zorder=2,
    )


def tint(colour: str) -> tuple[float, float, float]:
    """A colour as the face of a box with an edge of that colour."""
    red, green, blue = mpl.colors.to_rgb(colour)
    return (0.65 + 0.35 * red, 0.65 + 0.35 * green, 0.65 + 0.35 * blue)


def save(figure: Figure, stem: Path, *, formats: Sequence[str] = FORMATS) -> list[Path]:
    """The figure as PNG (200 dpi), PDF and SVG beside one another, under the report's banner; the paths written."""
    strip = _banner_strip(figure, banner.shown())
    written = []
    for kind in formats:
        path = stem.with_name(f"{stem.name}.{kind}")
        with written_whole(path) as temporary:
            figure.savefig(temporary, format=kind, metadata=METADATA[kind], bbox_inches=strip)
        # All formats have one layout, which takes as long as drawing.
        figure.set_layout_engine("none")
        written.append(path)
    return written


def _banner_strip(figure: Figure, text: str) -> Bbox | None:
    """What is saved of a figure under a banner: all of it and a strip above, which no layout has to make room for."""
    if not text:
        return None
    width, height = figure.get_size_inches()
    figure.text(
        *(0.5, 1 + 0.5 * BANNER_INCHES / height),
        text,
        ha="center",
        va="center",
        fontsize=8,
        fontweight="bold",
        color=VERMILLION,
    )
    return Bbox.from_bounds(0, 0, width, height + BANNER_INCHES)
