"""Results that must not be written to, as on a disk that is mounted read-only, are looked at like others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from written_pages import write_results

from benchmark.results.manifests import manifests
from benchmark.results.runs import RunFolder, RunRecord

ROOT = Path(__file__).parent.parent
LOCKED = """
mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" || exit 77
if touch "$1/written"; then exit 77; fi 2> /dev/null
shift
exec "$@"
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two grids; a run of one of them says that it is being trained, and its process is gone."""
    made = write_results(tmp_path_factory.mktemp("read only") / "results")
    (grid,) = manifests(made, "table2")
    begun = RunFolder(made, grid.cells[-1].run_id)
    shutil.rmtree(begun.path, ignore_errors=True)
    begun.write_record(RunRecord(begun.run_id, "running", attempts=1))
    return made


def bench(results: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command while nothing can be written to the results; skips where this machine cannot mount."""
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare")
    code = "import sys; from benchmark.cli import main; main(sys.argv[1:])"
    command = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        LOCKED,
        "sh",
        str(results),
        sys.executable,
        "-c",
        code,
        *words,
    ]
    done = subprocess.run(
        [*command, "--results", str(results)],
        capture_output=True,
        text=True,
        cwd=results.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    if (done.returncode in (1, 77) and "unshare" in done.stderr) or done.returncode == 77:
        pytest.skip("nothing can be mounted here")
    return done


@pytest.mark.parametrize(
    ("words", "first"),
    [
        (("status",), "table"),
        (("status", "--json"), "["),
        (("report", "--grid", "table3", "--no-mlflow", "--out", "elsewhere"), "Table 3"),
        (("report", "--html", "--no-mlflow", "--out", "html"), "table2"),
        (("why", "table3:PET"), "table3"),
    ],
)
def test_who_only_looks_needs_not_to_write(results: Path, words: tuple[str, ...], first: str) -> None:
    before = sorted(results.rglob("*"))
    done = bench(results, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert first in done.stdout
    assert sorted(results.rglob("*")) == before


def test_a_report_that_should_be_written_there_says_in_one_line_why_not(results: Path) -> None:
    done = bench(results, "report", "--html", "--no-mlflow")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("bench: ")
    assert "Read-only file system" in line
