"""The whole report: which grid it takes, which files it writes, what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from published_experiment import as_published
from written_runs import V3, V4, manifest_of, methods_manifest, write_failure, write_run

from benchmark.cli.finished import named_launch
from benchmark.results.manifests import write_manifest
from benchmark.results.runs import RunFolder
from benchmark.vocabulary import BenchError
from reports.ground.drawing import FORMATS
from reports.tables.report import choose_launch, write_report

FIGURES = [f"figure{number}.{kind}" for number in (4, 5, 6) for kind in ("png", "pdf", "svg")]
TABLES = [f"{stem}{end}" for stem in ("table2",) for end in (".md", ".tex", ".html", ".csv", "_cells.csv")]
VOLUMES = [name.replace("table2", f"table2_{metric}") for metric in ("fpv_ml", "fnv_ml") for name in TABLES]
STATISTICS = [
    name.replace(stem, f"{stem}_statistics", 1)
    for stem, names in (
        ("table2", TABLES),
        ("table2_fpv_ml", VOLUMES[: len(TABLES)]),
        ("table2_fnv_ml", VOLUMES[len(TABLES) :]),
    )
    for name in names
]


@pytest.fixture(autouse=True)
def _no_ink(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes seconds; the last test does it, in a process of its own, the others write empty files."""

    def save(figure: object, stem: Path, *, formats: Sequence[str] = FORMATS) -> list[Path]:
        paths = [stem.with_name(f"{stem.name}.{kind}") for kind in formats]
        for path in paths:
            path.touch()
        return paths

    monkeypatch.setattr("reports.ground.drawing.save", save)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """One finished run of two."""
    folder = tmp_path / "results"
    write_run(folder, "a", [0.6591], fpv_ml=[1.0])
    write_manifest(folder, manifest_of((V3, 0, 0, "a"), (V4, 0, 0, "b")))
    return folder


@pytest.fixture
def reproduction(results: Path) -> Path:
    """The same runs, as if they were the published experiment."""
    manifest = replace(manifest_of((V3, 0, 0, "a"), (V4, 0, 0, "b")), dataset="AutoPET", profile="paper")
    write_manifest(results, as_published(results, manifest))
    return results


def test_the_published_report_needs_no_results_and_is_the_same_each_time(tmp_path: Path) -> None:
    report = write_report(None, source="paper", out=tmp_path / "one")
    assert [path.name for path in report.files] == ["report.md", *TABLES, *FIGURES]
    assert all(path.exists() for path in report.files)
    assert report.title == "Table 2 and Figures 4 to 6: as published"
    assert "v3 65.91 (L2 + shuffling, L = {5})" in report.summary[-1]
    write_report(None, source="paper", out=tmp_path / "two")
    for path in report.files:
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_the_index_embeds_every_table_and_figure(tmp_path: Path, reproduction: Path) -> None:
    report = write_report(reproduction, source="both", out=tmp_path / "out")
    assert [path.name for path in report.files] == ["report.md", *TABLES, *VOLUMES, *STATISTICS, *FIGURES]
    text = report.files[0].read_text(encoding="utf-8")
    for number in (4, 5, 6):
        assert f"](figure{number}.png)" in text
    for stem in ("table2", "table2_fpv_ml", "table2_fnv_ml"):
        assert (tmp_path / "out" / f"{stem}.md").read_text(encoding="utf-8") in text
    assert not list((tmp_path / "out").glob(".*"))


def test_an_unfinished_grid_says_so_in_every_title(tmp_path: Path, results: Path) -> None:
    report = write_report(results, source="runs", out=tmp_path / "out")
    assert report.title.endswith("unfinished: 1 of 105 cells")
    titles = [
        line for line in report.files[0].read_text(encoding="utf-8").splitlines() if line.startswith("#")
    ]
    assert all("unfinished: " in title for title in titles)
    assert any("Figure 4" in title and "1 of 63 cells" in title for title in titles)
    assert any("Figure 6" in title and "0 of 35 cells" in title for title in titles)


def test_the_csv_of_the_report_holds_the_printed_numbers(tmp_path: Path, reproduction: Path) -> None:
    write_report(reproduction, source="both", out=tmp_path)
    frame = pd.read_csv(tmp_path / "table2.csv")
    v3 = frame[(frame["version"] == "v3") & (frame["parameters"] == "L2 + shuffling")].set_index("source")
    assert v3["L = {5}"].to_dict() == {"own": 65.91, "paper": 65.91, "difference": 0.0}
    assert ",NA," in (tmp_path / "table2.csv").read_text(encoding="utf-8")
    assert len(pd.read_csv(tmp_path / "table2_cells.csv")) == 105


def test_the_newest_grid_is_taken_and_the_others_are_counted(tmp_path: Path, results: Path) -> None:
    write_run(results, "n", [0.5])
    newer = replace(manifest_of((V3, 0, 0, "n")), key="new", created=2.0, dataset="autopet", profile="paper")
    write_manifest(results, newer)
    newest = write_report(results, source="runs", out=tmp_path / "out")
    assert "Grid table2-new" in newest.summary[0]
    assert "others of this grid, not shown here: 1" in newest.summary[0]
    for choice in ({"profile": "demo"}, {"dataset": "phantom"}, {"manifest_name": "table2-k"}):
        report = write_report(results, source="runs", out=tmp_path / "out", **choice)
        assert "Grid table2-k " in report.summary[0]
    with pytest.raises(BenchError, match=r"dataset brain.*table2-new \(profile paper, data set autopet\)"):
        write_report(results, source="runs", out=tmp_path / "out", dataset="brain")


def test_a_launch_without_a_finished_run_is_passed_over_and_named(tmp_path: Path, results: Path) -> None:
    never = replace(manifest_of((V3, 0, 0, "never")), key="never", created=3.0)
    write_manifest(results, never)
    summary = write_report(results, source="runs", out=tmp_path / "out").summary
    assert "Grid table2-k of" in summary[0]
    assert "others of this grid, not shown here: 1 (launched later: table2-never)" in summary[0]
    asked = write_report(results, source="both", out=tmp_path / "out", manifest_name="table2-never")
    assert "Grid table2-never of" in asked.summary[0]
    # A damaged record is told to whoever asks for its cell, and stops no choice.
    RunFolder(results, "never").path.mkdir(parents=True)
    RunFolder(results, "never").record_file.write_text("{", encoding="utf-8")
    assert choose_launch(results, grid="table2")[0].name == "table2-k"
    # `bench panels` and `bench evaluate` take the same.
    assert [named_launch(results, name).name for name in ("table2", "table2-never")] == [
        *("table2-k", "table2-never")
    ]


def test_no_runs_at_all_is_an_error_that_says_what_next(tmp_path: Path) -> None:
    for source in ("runs", "both"):
        with pytest.raises(BenchError, match=r"bench run --grid table2.*--source paper"):
            write_report(tmp_path / "nothing", source=source, out=tmp_path / "out")
        with pytest.raises(BenchError, match="--results"):
            write_report(None, source=source, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_grid_without_a_finished_run_is_refused_alone_but_not_beside_the_paper(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write_failure(results, "a", "memory")
    write_manifest(results, manifest_of((V3, 0, 0, "a")))
    with pytest.raises(BenchError, match="None of the 1 runs of table2-k"):
        write_report(results, source="runs", out=tmp_path / "out")
    report = write_report(results, source="both", out=tmp_path / "out")
    assert report.title.endswith("unfinished: 0 of 105 cells")
    assert any("0 of 1 planned run done (1 failed)" in line for line in report.summary)


def test_unknown_grids_and_sources_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        BenchError, match="has a table for the grid 'table9', only for table2, table3, table4, table5, aahn"
    ):
        write_report(None, grid="table9", source="paper", out=tmp_path)
    with pytest.raises(BenchError, match="no source 'web'"):
        write_report(None, source="web", out=tmp_path)  # type: ignore[arg-type]


COSTS = [f"table3_costs{end}" for end in (".md", ".tex", ".html", ".csv", "_cells.csv")]
BOXES = [f"table3_boxes.{kind}" for kind in ("png", "pdf", "csv")]
TOLD_APART = [f"table3_statistics{end}" for end in (".md", ".tex", ".html", ".csv", "_cells.csv")]
SCORES = [f"table3{end}" for end in (".md", ".tex", ".html", ".csv", "_cells.csv")]


@pytest.fixture
def comparisons(tmp_path: Path) -> Path:
    """A grid table3 of three runs: PET and v3 done, EF failed."""
    folder = tmp_path / "results"
    record = {"parameters": 4_809_781, "train_seconds": 60.0}
    write_run(folder, "pet", [0.6], fpv_ml=[2.0], fnv_ml=[1.0], **record)
    write_run(folder, "v3", [0.5], fpv_ml=[1.0], fnv_ml=[1.0], **record)
    write_failure(folder, "ef", "memory")
    cells = [("PET", 0, 0, "pet"), ("Mirror U-Net v3", 0, 0, "v3"), ("EF", 0, 0, "ef")]
    write_manifest(folder, as_published(folder, methods_manifest("table3", *cells)))
    return folder


@pytest.mark.parametrize("grid", ["table3", "table4"])
def test_a_published_table_of_methods_needs_no_results_and_has_no_costs(tmp_path: Path, grid: str) -> None:
    report = write_report(None, grid=grid, source="paper", out=tmp_path)
    assert [path.name for path in report.files] == [
        "report.md",
        *(name.replace("table3", grid) for name in SCORES),
    ]
    assert report.title == f"Table {grid[-1]}: as published"
    best = (
        "Dice [%] 65.91 (Mirror U-Net v3); FPV [ml] 1.55 (Mirror U-Net v3); FNV [ml] 0.76 (Mirror U-Net v3)."
    )
    assert report.summary[1] == f"Published best: {best}"
    assert "Mirror U-Net v4 64.24 / 2.93 / 1.99" in report.summary[2]


def test_a_table_of_methods_comes_with_its_costs_and_box_plots(tmp_path: Path, comparisons: Path) -> None:
    report = write_report(comparisons, grid="table3", source="both", out=tmp_path / "out")
    assert [path.name for path in report.files] == ["report.md", *SCORES, *TOLD_APART, *COSTS, *BOXES]
    assert report.title == "Table 3: own runs beside the published numbers – unfinished: 2 of 11 methods"
    assert report.summary[2:4] == (
        "Own best: Dice [%] 60.00 (PET); FPV [ml] 1.00 (Mirror U-Net v3); FNV [ml] none, all 2 methods are equal in "
        "print.",
        "Own Dice [%] / FPV [ml] / FNV [ml]: Mirror U-Net v3 50.00 / 1.00 / 1.00.",
    )
    text = report.files[0].read_text(encoding="utf-8")
    for stem in ("table3", "table3_costs"):
        assert (tmp_path / "out" / f"{stem}.md").read_text(encoding="utf-8") in text
    scores = pd.read_csv(tmp_path / "out" / "table3.csv").set_index(["metric", "source"])
    assert scores["PET"]["dice"].to_dict() == {"own": 60.0, "paper": 60.99, "difference": -0.99}
    costs = pd.read_csv(tmp_path / "out" / "table3_costs.csv").set_index("method")
    assert costs.loc["PET", "parameters"] == 4_809_781
    assert ",4809781," in (tmp_path / "out" / "table3_costs.csv").read_text(encoding="utf-8")
    runs = pd.read_csv(tmp_path / "out" / "table3_costs_cells.csv")
    assert list(runs["run_id"]) == ["pet", "v3"]
    other = write_report(comparisons, grid="table3", source="both", out=tmp_path / "again")
    for path in report.files:
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
    assert other.summary == report.summary


def test_a_table_of_methods_without_a_finished_run_has_no_costs_beside_the_paper(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write_failure(results, "a", "code")
    write_manifest(results, methods_manifest("table4", ("nnUNet", 0, 0, "a")))
    with pytest.raises(BenchError, match=r"None of the 1 runs of table4-k .* the same `bench run`"):
        write_report(results, grid="table4", source="runs", out=tmp_path / "out")
    report = write_report(results, grid="table4", source="both", out=tmp_path / "out")
    assert "Own best: none yet." in report.summary
    assert not list((tmp_path / "out").glob("*costs*"))


@pytest.mark.usefixtures("results")
def test_the_report_is_written_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from reports.tables.report import write_report; "
        "report = write_report(Path(sys.argv[1]), source='both', out=Path(sys.argv[2])); "
        "assert all(path.stat().st_size > 100 for path in report.files); "
        "print(*(name for name in ('torch', 'monai', 'mlflow') if name in sys.modules))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "results"), str(tmp_path / "out")]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, "DISPLAY": ""}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""
