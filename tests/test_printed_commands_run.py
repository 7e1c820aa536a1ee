"""Every command that the suite prints about results is run as it stands, in a folder whose name has spaces."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import fake_bench
import fake_trials
import nibabel
import numpy as np
import pytest
from written_pages import without_ink, write_results

from benchmark.cli import main
from benchmark.results.manifests import manifests, write_manifest

ON_PHANTOMS = "No --data given: this is a demonstration on phantoms"
PRINTED = re.compile(r"`(bench [^`]+)`|(?:Next|browser|training again): (bench .+)$", re.MULTILINE)
RESULTS = "my results [1]"
FIRST_LINES = {
    "bench report --grid": r"Table \S+",
    "bench report --html": r"\S+: (\d+ files?|not shown)",
    "bench report --all": r"\S+: (\d+ files?|not shown)",
    "bench report --manifest": r"Table",
    "bench status": r".*",
    "bench run": rf"{ON_PHANTOMS}|Loading PyTorch to check every run",
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


def test_what_a_search_prints_can_be_typed(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_trials.fake_the_suite(monkeypatch.setattr)
    (tmp_path / "my cases").mkdir()
    study = fake_trials.search_file(tmp_path)
    where = f"--data 'autopet=my cases' --results '{RESULTS}' --no-mlflow"
    search = f"bench search --study {study} {where} --jobs 1 --trials 3 --pruner none"
    printed: list[str] = []
    for asked in (search, f"bench report --search small --results '{RESULTS}' --no-mlflow"):
        assert terminal(asked) == 0, terminal.err
        printed += terminal.printed
    assert [command.split()[1:3] for command in printed] == [
        ["run", "--grid"],
        ["run", "--grid"],
        ["report", "--html"],
    ]
    for command in dict.fromkeys(printed):
        run_as_printed(terminal, command)
    # What scores the best trial does it, and trains nothing.
    assert terminal(f"{printed[0]} --no-mlflow --jobs 1") == 0, terminal.err
    assert [command.split()[1:3] for command in terminal.printed] == [
        ["report", "--grid"],
        ["report", "--html"],
    ]
    for command in terminal.printed:
        run_as_printed(terminal, command)


def test_what_sync_prints_can_be_typed(terminal: Terminal, tmp_path: Path) -> None:
    write_results(tmp_path / RESULTS)
    database = tmp_path / RESULTS / "mlflow.db"
    database.write_text("no database")
    assert terminal(f"bench sync --results '{RESULTS}'") == 1
    (again,) = terminal.printed
    database.unlink()
    run_as_printed(terminal, again)
    assert database.exists()


def test_what_preparing_prints_can_be_typed(terminal: Terminal, tmp_path: Path, tcia_root: Path) -> None:
    root = shutil.copytree(tcia_root, tmp_path / "my cases")
    prepare = f"bench data prepare 'autopet=my cases' --results '{RESULTS}'"
    next(root.rglob("SUV.nii.gz")).write_bytes(b"damaged")
    assert terminal(prepare) != 0
    (check,) = terminal.printed
    assert shlex.split(check) == ["bench", "data", "check", "autopet=my cases"]
    assert terminal(check) == 1
    assert "SUV.nii.gz" in terminal.out
    # So are the commands of a data set that nobody can train on.
    for label in root.rglob("SEG.nii.gz"):
        label.unlink()
    assert terminal(prepare) != 0
    for command in terminal.printed:
        assert shlex.split(command)[-1] == "autopet=my cases"


def test_many_warnings_name_the_command_that_lists_them(
    terminal: Terminal, tmp_path: Path, tcia_root: Path
) -> None:
    root = shutil.copytree(tcia_root, tmp_path / "my cases")
    images = sorted(root.rglob("SUV.nii.gz"))[:5]
    for path in images:
        image = nibabel.load(path)
        image.set_qform(image.affine + np.diag([0, 0, 0.5, 0]), code=1)
        image.to_filename(path)
    assert terminal(f"bench data prepare 'autopet=my cases' --results '{RESULTS}'") == 0, terminal.err
    (check,) = terminal.printed
    assert terminal(check) == 0
    assert terminal.out.count("SUV.nii.gz") >= len(images) > 3


def is_whole(command: str) -> bool:
    """Not one with a place that the reader fills: `bench evaluate RUN`, `--thumbnails N`."""
    return not re.search(r"\b(RUN|NAME|N|DIR|FOLDER|FILE|METHOD)\b|\.\.\.", command)
