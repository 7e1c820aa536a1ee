"""Every command that the suite prints, or its documents name, is understood by the real command line."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from benchmark.cli import app

ROOT = Path(__file__).parent.parent
SOURCES = [
    path
    for folder in ("benchmark", "reports", "studies", "baselines")
    for path in (ROOT / folder).rglob("*.py")
]
DOCUMENTS = [
    ROOT / "README.md",
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / "studies").rglob("*.yaml"),
    ROOT / "Makefile",
]
BETWEEN_TICKS = re.compile(r"`(bench [^`\n]+)`")
LINES = re.compile(r"^(?:\.venv/bin/)?(bench [a-z][^#\n]*)", re.MULTILINE)
FILLED = {"{}": "1", "N": "1", "S": "1", "FILE": "file.yaml", "...": ""}
PROSE = re.compile(r"bench (?:[A-Z]|is\b|COMMAND)")


def text_of(node: ast.expr) -> str:
    """A string, with `{}` where something is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return ""


def strings_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Constant, ast.JoinedStr)):
            yield text_of(node)


def commands() -> dict[str, str]:
    """By the command where it stands."""
    found: dict[str, str] = {}
    for path in SOURCES:
        for text in strings_of(path):
            whole = text if re.match(r"^(Next: )?bench [a-z]", text) and "\n" not in text else ""
            for command in (*BETWEEN_TICKS.findall(text), whole.removeprefix("Next: ")):
                found.setdefault(command.strip(), path.name)
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        for command in (*BETWEEN_TICKS.findall(text), *LINES.findall(text)):
            found.setdefault(command.strip(), path.name)
    return {command: where for command, where in found.items() if command and not PROSE.match(command)}


COMMANDS = commands()


def words_of(command: str) -> list[str]:
    """What a shell would pass on, with something for what is filled in."""
    text = re.sub(r"\[[^\]]*\]", "", command)
    text = re.sub(r"(--[a-z-]+)\|--?[a-z|-]+", r"\1", text)
    text = re.sub(r"(--\w+) (\w+)(\|\w+)+", r"\1 \2", text)
    words = [word for word in shlex.split(text, comments=True) if word not in ("...", "\\")]
    # What follows a command's name at once are options that may be empty.
    return [FILLED.get(word, re.sub(r"^([a-z]+)\{\}$", r"\1", word).replace("{}", "1")) for word in words]


def deaf() -> Any:
    """The command line, whose commands do nothing but bind their options."""
    whole = typer.main.get_command(app)
    for command in whole.commands.values():  # type: ignore[attr-defined]
        for one in (command, *getattr(command, "commands", {}).values()):
            one.callback = lambda **_: None
    return whole


def refused(words: list[str]) -> str:
    """Why the command line does not take these words; empty where it does."""
    try:
        deaf().main(args=words, prog_name="bench", standalone_mode=False)
    except Exception as error:
        # Typer may bring a click of its own, so that the error's class is known by its name.
        kinds = {kind.__name__ for kind in type(error).__mro__}
        if "UsageError" not in kinds:
            raise
        # `bench merge` or `bench search --final` names a command or an option, and not how it is called in full.
        if kinds & {"MissingParameter", "NoArgsIsHelpError"}:
            return ""
        if "BadOptionUsage" in kinds and words[-1].startswith("--"):
            return ""
        return str(error.format_message())  # type: ignore[attr-defined]
    return ""


def test_there_are_commands_to_look_at() -> None:
    assert len(COMMANDS) > 60
    assert any(command.startswith("bench run --grid") for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[:60])
def test_the_command_line_understands(command: str) -> None:
    words = words_of(command.partition(" | ")[0])[1:]
    assert refused(words) == "", f"{COMMANDS[command]}: {command}"


@pytest.mark.parametrize("wrong", ["bench report --grids table2", "bench runs", "bench data chekc x"])
def test_a_command_that_is_none_is_noticed(wrong: str) -> None:
    assert refused(wrong.split()[1:])
