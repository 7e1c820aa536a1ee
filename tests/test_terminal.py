"""Text of others in a terminal and in a spreadsheet: shown, never obeyed."""

from __future__ import annotations

import ast
from pathlib import Path

import pandas as pd
import pytest
from rich.table import Table
from rich.text import Text

import benchmark
from benchmark.execution.monitor import console, first_line
from benchmark.files.strict_yaml import read_yaml
from benchmark.terminal import complain, plain, say
from benchmark.vocabulary import BenchError
from reports.ground.files import write_csv

COMMANDS = [
    "\x1b[2J",
    "\x1b]0;t\x07",
    "\x9b31m",
    "\x08\x08",
    "\r",
    "\x7f",
    "\u202e",
    "\u2066",
    "\ud800",
    "\0",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_reaches_a_terminal(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = f"a{command}b\tc"
    say(text)
    complain(text)
    screen = console()
    screen.print(Text(text, "bold"))
    screen.print(text, soft_wrap=True)
    table = Table(title=text)
    table.add_column(text)
    table.add_row(Text(text))
    screen.print(table)
    told = capsys.readouterr()
    assert all(sign not in told.out + told.err for sign in command if plain(sign) != sign)
    assert "a" in told.out


@pytest.mark.parametrize("text", ["[/b]", "[bold]x", "[link=http://a]x"])
def test_no_text_is_markup(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Not in a status either, whose spinner shows markup whatever the console does."""
    screen = console()
    with screen.status(text) as shown:
        shown.update(f"1 {text}")
        assert str(shown.renderable.text) == f"1 {text}"
    with screen.status("") as shown:
        assert str(shown.renderable.text) == ""
    table = Table(text, title=text)
    table.add_row(text)
    screen.print(text)
    screen.print(table)
    assert capsys.readouterr().out.count(text) == 4


def test_lines_and_tabs_stay() -> None:
    assert plain("a\tb\nc é 日本") == "a\tb\nc é 日本"


def test_an_error_without_words_has_a_line() -> None:
    assert [first_line(text) for text in (None, "", " \n ", " a\n b")] == ["no reason given"] * 3 + ["a"]


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_text_is_a_formula_in_a_spreadsheet(text: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({text: [text, "plain"], "number": [-1.5, 2.0], "said": ["-1.5", "+0.11"]})
    written = pd.read_csv(write_csv(tmp_path / "a.csv", frame), dtype=str)
    shown = "'" + text.replace("\r", " ")
    assert list(written.columns) == [shown, "number", "said"]
    assert written.iloc[0].tolist() == [shown, "-1.5", "-1.5"]
    assert written.iloc[1].tolist() == ["plain", "2.0", "+0.11"]


def doubled(begin: str, line: str) -> str:
    """Ten lines, each of which stands for nine of the one before."""
    names = zip("abcdefghij", "bcdefghijk", strict=True)
    return begin + "".join(line.format(own=own, nine=",".join([f"*{one}"] * 9)) for one, own in names)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (doubled("a: &a [1]\n", "{own}: &{own} [{nine}]\n"), "aliases stand for more"),
        (doubled("a: &a {k: 1}\n", "{own}: &{own}\n  <<: [{nine}]\n"), "aliases stand for more"),
        ("a: &a [*a]", "aliases stand for more|undefined alias"),
        ("a: " + "[" * 10**5, "more than 50 levels"),
        ("a: " + "- " * 100, "not valid YAML"),
        ("- 1\n" * 60_000, "more than 50,000 values"),
        (f"a: {'9' * 10**5}", "not valid YAML"),
        ("a: 2001-99-99", "not valid YAML"),
        ("a: " + "x" * 2**21, "2,097,155 bytes, more than"),
        ("a: 1\na: 2\n", "key 'a' appears twice"),
    ],
)  # fmt: skip
def test_a_yaml_bomb_is_refused_before_it_goes_off(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb.yaml"
    path.write_text(text)
    with pytest.raises(BenchError, match=words):
        read_yaml(path)


def test_the_command_line_prints_text_through_one_writer() -> None:
    """What others wrote moves no cursor: `say` sees to that, `print` does not. JSON has no such characters, and
    `streams` is what stands in for a terminal that is gone."""
    plain_prints = []
    for path in (Path(benchmark.__file__).parent / "cli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "id", "") == "print"
                and path.name != "streams.py"
            ):
                given = node.args[0] if node.args else None
                is_json = isinstance(given, ast.Call) and ast.unparse(given.func) == "json.dumps"
                if not is_json:
                    plain_prints.append(f"{path.name}: {ast.unparse(node)}")
    assert plain_prints == ["__init__.py: print(f\"mirror-bench {version('mirror-bench')}\")"]
