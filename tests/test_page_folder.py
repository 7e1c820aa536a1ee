"""Which launches a page shows, and how its folder takes an older one's place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from written_pages import without_ink, write_results

from benchmark.results.manifests import GridManifest, manifests, write_manifest
from benchmark.vocabulary import BenchError
from reports.everything import write_everything, write_html
from reports.ground.launches import newest_launches
from reports.page.folder import MARK, new_page


def test_a_page_replaces_an_earlier_one_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_ink(monkeypatch)
    results, out = write_results(tmp_path / "results"), tmp_path / "html"
    launches = [launch for launch in newest_launches(results) if launch[0].grid == "table3"]
    write_html(results, out, source="runs", launches=launches)
    (out / "mine.txt").write_text("kept")
    for stale in (out / "data" / "1", out / "files" / "table2"):
        stale.mkdir()
    write_html(results, out, source="runs", launches=launches)
    assert sorted(path.name for path in (out / "data").iterdir()) == ["0"]
    assert sorted(path.name for path in (out / "files").iterdir()) == ["table3"]
    assert (out / "mine.txt").read_text() == "kept"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("years of work")
    with pytest.raises(BenchError, match=r"is not empty.*--out"), new_page(tmp_path / "other"):
        pass
    assert (tmp_path / "other" / "thesis.tex").exists()


@pytest.mark.parametrize("kind", ["link", "huge", "pipe"])
def test_what_only_looks_like_a_page_is_no_page(tmp_path: Path, kind: str) -> None:
    (tmp_path / "html").mkdir()
    (tmp_path / "page").write_text(MARK)
    index = tmp_path / "html" / "index.html"
    if kind == "link":
        index.symlink_to(tmp_path / "page")
    elif kind == "pipe":
        os.mkfifo(index)
    else:
        index.touch()
        os.truncate(index, 2**43)
    with pytest.raises(BenchError, match="no page of an earlier report"), new_page(tmp_path / "html"):
        pass


def without_drawing(monkeypatch: pytest.MonkeyPatch, results: Path) -> list[GridManifest]:
    """Results of both grids with nothing drawn; the launch of Table 2, and one like it that is newer."""
    without_ink(monkeypatch)
    write_results(results)
    (first,) = manifests(results, "table2")
    return [first, replace(first, key="newer", created=first.created + 1)]


def unstarted(manifest: GridManifest) -> GridManifest:
    return replace(
        manifest, cells=tuple(replace(run, run_id=f"never-{run.run_id}") for run in manifest.cells)
    )


@pytest.mark.slow
def test_a_newer_launch_without_a_finished_run_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "results"
    first, newer = without_drawing(monkeypatch, results)
    write_manifest(results, unstarted(newer))
    assert [(one.name, others) for one, others in newest_launches(results)] == [
        (first.name, 1),
        ("table3-k", 0),
    ]
    parts = write_everything(results, tmp_path / "out", source="runs")
    assert [(part.name, part.report is not None) for part in parts] == [
        ("table2", True),
        ("table3", True),
        (newer.name, False),
    ]
    text = write_html(results, tmp_path / "html", source="runs").files[0].read_text(encoding="utf-8")
    assert f"None of its runs has finished; {first.name}, launched before, is shown." in text
    assert quote(f"{first.name}:v3/shuffle/5", safe="") in text
    assert quote("table2:v3/shuffle/5", safe="") not in text


@pytest.mark.slow
def test_the_newest_launch_is_shown_as_soon_as_one_of_its_runs_has_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "results"
    _, newer = without_drawing(monkeypatch, results)
    write_manifest(results, newer)
    assert [one.name for one, _ in newest_launches(results)] == [newer.name, "table3-k"]


@pytest.mark.slow
def test_a_grid_on_two_data_sets_has_a_folder_and_a_section_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "results"
    first, newer = without_drawing(monkeypatch, results)
    write_manifest(results, replace(newer, dataset="autopet"))
    parts = write_everything(results, tmp_path / "out", source="runs")
    assert [part.name for part in parts] == [newer.name, first.name, "table3"]
    assert (tmp_path / "out" / newer.name / "table2.md").is_file()
    written = write_html(results, tmp_path / "html", source="runs")
    assert (tmp_path / "html" / "files" / first.name / "table2.md").is_file()
    text = written.files[0].read_text(encoding="utf-8")
    for name in ("Table 2, autopet, demo", "Table 2, phantom, demo"):
        assert f">{name}</a>" in text
    for called in (newer.name, first.name):
        assert text.count(quote(f"{called}:v3/shuffle/5", safe="") + '"') >= 2


@pytest.mark.slow
def test_an_older_page_stays_until_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, out = tmp_path / "results", tmp_path / "html"
    without_drawing(monkeypatch, results)
    write_html(results, out, source="runs")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("reports.everything.write_page", stopped)
        with pytest.raises(KeyboardInterrupt):
            write_html(results, out, source="runs")
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    (out / ".building" / "data").mkdir(parents=True)
    (out / ".building" / "data" / "left.js").write_text("by a process that was killed")
    write_html(results, out, source="runs")
    assert sorted(path.name for path in out.iterdir()) == [
        "assets",
        "data",
        "files",
        "index.html",
        "single.html",
    ]


def test_a_page_is_not_written_by_two_at_once_nor_to_a_file(tmp_path: Path) -> None:
    with new_page(tmp_path / "html"):
        with pytest.raises(BenchError, match="Another process writes a page"), new_page(tmp_path / "html"):
            pass
        assert (tmp_path / "html" / ".building").is_dir()
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "html"):
        with pytest.raises(BenchError, match=r"file is a file, not a folder.*--out"), new_page(out):
            pass
    results = write_results(tmp_path / "results")
    with pytest.raises(BenchError, match=r"is a file, not a folder"):
        write_everything(results, tmp_path / "file", source="runs")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_page_that_could_not_be_made_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no runs"), new_page(tmp_path / "html"):
        raise BenchError("There are no runs.")
    assert not (tmp_path / "html").exists()


WRITES = """
import sys, time
from pathlib import Path
from reports.page.folder import MARK, new_page
with new_page(Path(sys.argv[1])) as building:
    (building / "half").write_text("a page")
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("earlier", [False, True])
def test_half_a_page_is_removed_when_its_process_is_asked_to_end(
    tmp_path: Path, number: signal.Signals, earlier: bool
) -> None:
    out = tmp_path / "html"
    if earlier:
        out.mkdir()
        (out / "index.html").write_text(f"<meta {MARK}>")
    with subprocess.Popen(
        [sys.executable, "-c", WRITES, str(out)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        assert (out / ".building" / "half").exists()
        process.send_signal(number)
        process.wait(timeout=30)
    assert process.returncode == (-number if number == signal.SIGINT else 128 + number)
    assert [path.name for path in tmp_path.rglob("*")] == (["html", "index.html"] if earlier else [])


def test_a_page_that_was_killed_leaves_nothing_to_the_next(tmp_path: Path) -> None:
    out = tmp_path / "html"
    with subprocess.Popen(
        [sys.executable, "-c", WRITES, str(out)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
    assert (out / ".building" / "half").exists()
    with new_page(out) as building:
        assert list(building.iterdir()) == []
        (building / "index.html").write_text("new")
    assert [path.name for path in out.iterdir()] == ["index.html"]
