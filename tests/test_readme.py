"""The README's example is a method that keeps the contract, and is checked as the README says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.registry import METHOD_FILES

README = Path(__file__).resolve().parent.parent / "README.md"


@pytest.fixture
def my_net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    text = README.read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    (path,) = {tmp_path / name for name in re.findall(r"--method-file (\S+\.py)", text)}
    path.write_text(code, encoding="utf-8")
    monkeypatch.setenv(METHOD_FILES, "")
    return path


def test_the_method_in_the_readme_keeps_the_contract_as_its_command_says(
    my_net: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "bench check-method my_net.py" in README.read_text(encoding="utf-8")
    with pytest.raises(SystemExit) as end:
        main(["check-method", str(my_net)])
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0].endswith(" on autopet and msd")
    assert said.endswith("It keeps the contract.\n")


def test_the_readme_lists_the_commands_around_methods() -> None:
    commands = set(re.findall(r"`(bench [a-z-]+)", README.read_text(encoding="utf-8")))
    assert {"bench run", "bench status", "bench show", "bench report", "bench sync", "bench data"} <= commands
    assert {"bench methods", "bench check-method"} <= commands
