"""How figures are saved."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from reports.ground import drawing


def test_a_figure_is_laid_out_once_for_all_formats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    laid_out: list[Figure] = []
    real = ConstrainedLayoutEngine.execute
    monkeypatch.setattr(
        ConstrainedLayoutEngine, "execute", lambda self, figure: laid_out.append(figure) or real(self, figure)
    )
    with drawing.style():
        figure = Figure(figsize=(4, 3), layout="constrained")
        FigureCanvasAgg(figure)
        ax = figure.add_subplot()
        ax.set_ylabel("Dice [%]")
        before = ax.get_position().bounds
        paths = drawing.save(figure, tmp_path / "figure")
    assert [path.suffix for path in paths] == [".png", ".pdf", ".svg"]
    assert all(path.stat().st_size for path in paths)
    assert len(laid_out) == 1
    assert ax.get_position().bounds != before, "the layout stays"
