"""The commands as functions: the page about them is run as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import benchmark
from benchmark.vocabulary import BenchError

PAGE = Path(__file__).parent.parent / "docs" / "python.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.M | re.S)


def test_the_page_about_python_runs_as_it_stands(tmp_path: Path) -> None:
    (script,), (profile,) = blocks("python"), blocks("yaml")
    (tmp_path / "tiny.yaml").write_text(profile)
    (tmp_path / "script.py").write_text(script)
    # As the first launch of a machine, by a script and not by the tests' own process.
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    runs = list((tmp_path / "results" / "runs").iterdir())
    assert "'done': 3" in done.stdout
    assert all(run.name in done.stdout for run in runs if (run / "scores.parquet").exists())
    assert (tmp_path / "results" / "reports" / "table2" / "report.md").exists()
    assert "fusion" in done.stdout


def test_what_cannot_work_is_said_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"no grid 'tabel2'. Did you mean 'table2'"):
        benchmark.plan_grid("tabel2", results=tmp_path)
    with pytest.raises(BenchError, match=r"There are no runs of the grid table2"):
        benchmark.write_report("table2", results=tmp_path)
    assert not list(tmp_path.iterdir())


def test_published_numbers_need_no_runs(tmp_path: Path) -> None:
    report = benchmark.write_report("table2", source="paper", results=tmp_path, out=tmp_path / "published")
    assert {path.parent for path in report.files} == {tmp_path / "published"}
    assert not (tmp_path / "runs").exists()


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'run_grids'"):
        _ = benchmark.run_grids
