"""YAML that people write: read by libyaml with the meaning that PyYAML gives it, and refused where it is too much."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from benchmark.files.strict_yaml import MOST_NODES, read_yaml
from benchmark.vocabulary import BenchError

GRID = """
# a comment
name: mine
values: [1, 2.5, 1e-3, .inf, 0x1F, 010, yes, no, on, null, ~, "null", 2026-11-29, 1:30]
text: |
  two
  lines
folded: >-
  one
  line
base: &base {a: 1, b: [x, "y: z", 'it''s']}
more:
  <<: *base
  b: 3
"quoted \\u00e9\\t": é ö 漢
? complex
: value
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "some.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text", [GRID, GRID.replace("\n", "\r\n"), "\ufeffa: 1", "a: {}\n...\n", "%YAML 1.1\n---\na: 1\n"]
)
def test_files_mean_what_pyyaml_says(tmp_path: Path, text: str) -> None:
    content = read_yaml(written(tmp_path, text))
    assert repr(content) == repr(yaml.safe_load(text.removeprefix("\ufeff")))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\na: 2", r"key 'a' appears twice.*line 1"),
        ("a:\n  b: 1\n  b: 2", r"key 'b' appears twice.*line 2"),
        ("a: " + "[" * 60 + "]" * 60, "more than 50 levels"),
        ("a: " + "[" * 50_000, "is not valid YAML"),
        ("a: [" + "1, " * (MOST_NODES + 1) + "1]", "more than 50,000 values"),
        ("a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
            f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdef", "bcdefg", strict=True)
        ), "its aliases stand for more than 50,000 values"),
        ("a: &a [*a]", "its aliases stand for more than"),
        ("a: !!python/object/apply:os.system [true]", "could not determine a constructor"),
        ("a: !mine 1", "could not determine a constructor"),
        ("a: [1, 2", r"is not valid YAML: .*line"),
        ("a: \tb: c", r"is not valid YAML: .*line 1"),
        ("a: \x01", "is not valid YAML"),
        ("a: *nobody", "undefined alias"),
        ("a: 1\n---\nb: 2", "expected a single document"),
        ("- 1", "must be a mapping"),
        ("", "must be a mapping"),
        ("[]: 1", "unhashable key"),
        ("a: 2026-13-45", "is not valid YAML"),
    ],
)  # fmt: skip
def test_what_is_wrong_or_too_much_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BenchError, match=f"(?s){words}"):
        read_yaml(written(tmp_path, text))


def test_libyaml_reads_where_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not yaml.__with_libyaml__:
        pytest.skip("PyYAML was built without libyaml")
    monkeypatch.setattr(yaml.scanner.Scanner, "fetch_more_tokens", lambda _: pytest.fail("scanned in Python"))
    assert read_yaml(written(tmp_path, "a: 1")) == {"a": 1}
