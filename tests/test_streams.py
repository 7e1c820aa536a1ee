"""Commands whose output leads nowhere, and errors that nobody foresaw, as shells start them."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import fake_bench
import pytest

from benchmark import cli
from benchmark.cli.streams import Output
from benchmark.results.manifests import manifests
from benchmark.results.runs import RunFolder

BENCH = f"{sys.executable} -W ignore {fake_bench.__file__}"


@pytest.fixture
def run(tmp_path: Path) -> str:
    """A grid of two runs."""
    (tmp_path / "cases").mkdir()
    (tmp_path / "fakes.yaml").write_text(fake_bench.BEHAVIOURS.format(behaviours=["done"], seconds=0))
    return f"{BENCH} run --grid fakes.yaml --data autopet=cases --no-mlflow --jobs 1"


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=folder, capture_output=True, text=True, timeout=60
    )


def states(folder: Path) -> list[str]:
    (manifest,) = manifests(folder / "results")
    return [RunFolder(folder / "results", cell.run_id).record().state for cell in manifest.cells]


def test_help_that_nobody_reads_to_its_end_is_no_error(tmp_path: Path) -> None:
    # More than a pipe holds, so that the reader is gone while there is more to say.
    ended = shell(f"{BENCH} report --help | head -c 1; {BENCH} report --help >&-", tmp_path)
    assert "Traceback" not in ended.stderr
    assert "TypeError" not in ended.stderr


def test_a_stream_says_that_it_takes_no_bytes_and_still_moves_its_text(tmp_path: Path) -> None:
    kept = tmp_path / "kept.txt"
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as broken, kept.open("w") as elsewhere:
        output = Output(broken, lambda _: elsewhere)
        with pytest.raises(TypeError):
            output.write(b"")  # type: ignore[arg-type]
        output.write("text")
        output.flush()
        assert output.failure is not None
    assert kept.read_text() == "text"


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("| head -1", "Broken pipe"),
        ("> /dev/full", "No space left on device"),
        (">&- 2>&-", "it was closed at the start"),
        ("0<&- >&-", "it was closed at the start"),
    ],
)
def test_a_grid_goes_on_without_its_output_which_is_kept_in_a_log(
    run: str, tmp_path: Path, where: str, why: str
) -> None:
    done = shell(f"{run} {where}", tmp_path)
    assert done.returncode == 0, done.stderr
    assert states(tmp_path) == ["done", "done"]
    (log,) = (tmp_path / "results" / "logs").glob("output-*.log")
    lines = log.read_text().splitlines()
    assert lines[0] == f"bench run: the output cannot be printed any more ({why}); it goes on here."
    assert "[2/2] done    behaviour=done number=2" in log.read_text()
    if "2>&-" not in where:
        assert f"it goes on in {Path('results', 'logs', log.name)}" in done.stderr
    assert "Traceback" not in done.stderr + log.read_text()
    assert "Exception ignored" not in done.stderr


def test_what_was_not_printed_yet_is_in_the_log_whole_and_once(run: str, tmp_path: Path) -> None:
    shell(f"{run} > /dev/full", tmp_path)
    (log,) = (tmp_path / "results" / "logs").glob("output-*.log")
    for line in ("fakes: 2 of 2 runs to do on 1 x cpu", "[1/2] done", "[2/2] done"):
        assert log.read_text().count(line) == 1, log.read_text()


def test_a_grid_outlives_its_terminal(run: str, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    grid = subprocess.Popen(
        [*run.split()], cwd=tmp_path, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    os.close(ours)
    assert grid.wait(60) == 0
    assert states(tmp_path) == ["done", "done"]
    assert list((tmp_path / "results" / "logs").glob("output-*.log"))


@pytest.mark.parametrize("command", ["--help", "run --help"])
def test_a_full_disk_behind_what_a_command_tells_is_one_line_and_exit_code_2(
    tmp_path: Path, command: str
) -> None:
    done = shell(f"{BENCH} {command} > /dev/full", tmp_path)
    assert (done.returncode, done.stderr) == (
        2, "bench: the output could not be printed: No space left on device.\n"
    )  # fmt: skip


def test_a_reader_that_has_seen_enough_is_no_trouble(tmp_path: Path) -> None:
    done = shell(f"{BENCH} --help | head -c 1", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("with_results", [True, False])
def test_what_nobody_foresaw_is_one_line_a_log_and_an_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], with_results: bool
) -> None:
    results = tmp_path / "results"
    if with_results:
        results.mkdir()

    def broken(*_: object, **__: object) -> None:
        raise KeyError("no address postgresql://me:secret@host/db")

    monkeypatch.setattr(cli, "app", broken)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with pytest.raises(SystemExit) as end:
        cli.main(["status", f"--results={results}"])
    assert end.value.code == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("bench: bench status ended with an error that nobody foresaw: KeyError: ")
    log = Path(str(re.search(r"Its traceback is in (\S+);", line)[1]))  # type: ignore[index]
    assert log.parent == (results / "logs" if with_results else tmp_path)
    assert "in broken" in log.read_text()
    assert "secret" not in line + log.read_text()
