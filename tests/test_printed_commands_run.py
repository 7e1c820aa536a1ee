"""Every command that the suite prints about results is run as it stands, in a folder whose name has spaces."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import fake_bench
import pytest
from written_pages import without_ink, write_results

from benchmark.cli import main
from benchmark.results.manifests import manifests, write_manifest

PRINTED = re.compile(r"`(bench [^`]+)`|(?:Next|browser): (bench .+)$", re.MULTILINE)
RESULTS = "my results [1]"
FIRST_LINES = {
    "bench report --grid": r"Table \S+",
    "bench report --html": r"\S+: (\d+ files?|not shown)",
    "bench report --all": r"\S+: (\d+ files?|not shown)",
    "bench report --manifest": r"Table",
    "bench status": r".*",
    "bench run": r"No --data given: this is a demonstration on phantoms",
    "bench sync": r".*",
    "bench evaluate": r".*",
}
TRAINS = ("bench run", "bench search")
"""Asked with `--dry-run`, where the first lines are the same."""


class Terminal:
    """Commands as they are typed; what they printed, and which commands were in it."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, command: str) -> int:
        self._capsys.readouterr()
        code = 0
        try:
            main(shlex.split(command)[1:])
        except SystemExit as end:
            code = int(end.code or 0)
        self.out, self.err = self._capsys.readouterr()
        return code

    @property
    def printed(self) -> list[str]:
        found = PRINTED.findall(self.out + self.err)
        return list(dict.fromkeys((ticked or last).strip() for ticked, last in found))


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    without_ink(monkeypatch)
    monkeypatch.chdir(tmp_path)
    return Terminal(capsys)


def run_as_printed(terminal: Terminal, command: str) -> None:
    """It ends well, does not complain, and its first line is one of those that it should have."""
    asked = f"{command} --dry-run" if command.startswith(TRAINS) else command
    code = terminal(asked)
    assert (code, terminal.err) == (0, ""), f"{asked}: {terminal.err}"
    expected = next(words for start, words in FIRST_LINES.items() if command.startswith(start))
    assert re.match(expected, terminal.out.splitlines()[0]), f"{asked}: {terminal.out}"


def test_what_a_run_prints_can_be_typed(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_bench.patch(monkeypatch.setattr)
    (tmp_path / "my cases").mkdir()
    (tmp_path / "my grid.yaml").write_text(fake_bench.BEHAVIOURS.format(behaviours=["done"], seconds=0))
    where = f"--results '{RESULTS}' --no-mlflow --jobs 1"
    assert terminal(f"bench run --grid 'my grid.yaml' --data 'autopet=my cases' {where}") == 0
    printed = terminal.printed
    assert [command.split()[1:3] for command in printed] == [["report", "--grid"], ["report", "--html"]]
    for command in printed:
        assert shlex.split(command)[-2:] == ["--results", RESULTS]
        run_as_printed(terminal, command)
        for next_one in terminal.printed:
            run_as_printed(terminal, next_one)


@pytest.mark.parametrize(
    "asked",
    [
        "bench report --grid table3 --no-mlflow",
        "bench report --grid table3 --no-mlflow --source both",
        "bench report --grid table2 --no-mlflow",
        "bench report --all --no-mlflow",
        "bench report --html --no-mlflow",
        "bench report --claims --no-mlflow",
        "bench status",
    ],
)
def test_what_reports_print_can_be_typed(terminal: Terminal, tmp_path: Path, asked: str) -> None:
    write_results(tmp_path / RESULTS)
    assert terminal(f"{asked} --results '{RESULTS}'") == 0, terminal.err
    printed = terminal.printed
    assert printed or asked not in ("bench report --grid table3 --no-mlflow",)
    for command in printed:
        if is_whole(command):
            run_as_printed(terminal, command)


@pytest.mark.parametrize(
    "asked",
    [
        "bench report --grid table4",
        "bench report --html",
        "bench report --all",
        "bench status",
        "bench why table4:nnUNet",
        "bench panels --grid table4",
    ],
)
def test_what_is_printed_where_nothing_is_there_can_be_typed(
    terminal: Terminal, tmp_path: Path, asked: str
) -> None:
    (tmp_path / RESULTS).mkdir()
    terminal(f"{asked} --results '{RESULTS}'")
    for command in terminal.printed:
        if is_whole(command):
            run_as_printed(terminal, command)
            assert RESULTS in shlex.split(command) or not command.startswith("bench run"), command


def test_what_merge_prints_can_be_typed(terminal: Terminal, tmp_path: Path) -> None:
    write_results(tmp_path / "one half")
    shutil.copytree(tmp_path / "one half", tmp_path / "other")
    (grid,) = manifests(tmp_path / "other", "table3")
    write_manifest(tmp_path / "other", grid)
    assert terminal(f"bench merge 'one half' other --into '{RESULTS}'") == 0, terminal.err
    for command in terminal.printed:
        if is_whole(command):
            run_as_printed(terminal, command)


def is_whole(command: str) -> bool:
    """Not one with a place that the reader fills: `bench evaluate RUN`, `--thumbnails N`."""
    return not re.search(r"\b(RUN|NAME|N|DIR|FOLDER|FILE|METHOD)\b|\.\.\.", command)
