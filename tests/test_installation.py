"""The lock files and the Makefile say what pyproject.toml says."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def names(requirements: list[str]) -> set[str]:
    found = (re.match(r"[A-Za-z0-9._-]+", text) for text in requirements)
    return {re.sub(r"[-_.]+", "-", match.group()).lower() for match in found if match}


def locked(file: str) -> set[str]:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    pinned = [line for line in lines if line and line[0] not in "#-"]
    assert all("==" in line for line in pinned)
    return names(pinned)


def test_what_runs_is_locked_without_any_extra() -> None:
    base = locked("requirements.lock")
    assert names(PROJECT["dependencies"]) <= base
    extras = names([one for extra in PROJECT["optional-dependencies"].values() for one in extra])
    assert not (extras - names(PROJECT["dependencies"])) & base


def test_every_extra_is_locked_once() -> None:
    extras = names([one for extra in PROJECT["optional-dependencies"].values() for one in extra])
    assert extras <= locked("requirements-all.lock") | locked("requirements.lock")
    assert not locked("requirements-all.lock") & locked("requirements.lock")
    assert "--requirement requirements.lock" in (ROOT / "requirements-all.lock").read_text(encoding="utf-8")


def test_torch_is_pinned() -> None:
    assert "torch==2.13.0" in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()


def printed(target: str, *settings: str) -> str:
    asked = subprocess.run(
        ["make", "--dry-run", "--always-make", *settings, target],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return asked.stdout


@pytest.mark.parametrize("target", ["quick", "demo"])
def test_looking_installs_no_extra(target: str) -> None:
    commands = printed(target)
    assert "requirements.lock" in commands
    assert "requirements-all.lock" not in commands


def test_testing_installs_every_extra() -> None:
    assert "requirements-all.lock" in printed("test")


def test_uv_installs_where_it_is_there() -> None:
    assert "/x/uv pip install --python .venv/bin/python" in printed("demo", "UV=/x/uv")
    assert ".venv/bin/python -m pip install" in printed("demo", "UV=")


def test_the_quick_look_is_a_dozen_cells_and_says_what_comes_next() -> None:
    from benchmark.planning.grid import load_study, select

    commands = printed("quick")
    chosen = select(load_study("table2"), re.findall(r"--only (\S+)", commands))
    assert sum(chosen) == 12
    assert re.search(r"Open results/reports/html/index\.html.*\n.*make demo", commands)
