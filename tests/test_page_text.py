"""What stands in the page's scripts and tables, whatever names files and runs have."""

from __future__ import annotations

import base64
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml

from benchmark.vocabulary import BenchError
from reports.ground.hypertext import html_rows, number_link, order_key, quoted, standalone
from reports.ground.printing import PrintedTable, Row, Span
from reports.page.assets import Asset, classic_script, datatables, plotly
from reports.page.sharing import without_folders
from reports.page.text import packed, script_json, yaml_text
from reports.page.write import policy

NAN = float("nan")


@pytest.mark.parametrize(
    "text", ["</script><script>x()</script>", "<!--", "]]>", "\u2028", '"', "\\", "&lt;"]
)
def test_json_in_a_script_ends_nothing_and_comes_back(text: str) -> None:
    written = script_json({"name": text, text: [text]})
    assert not set("<>&\u2028") & set(written)
    assert json.loads(written) == {"name": text, text: [text]}


def test_undefined_numbers_are_null() -> None:
    assert script_json([NAN, np.float64("inf"), np.int64(3), True, None]) == "[null,null,3,true,null]"


def test_scores_are_packed_with_undefined_and_not_scored_apart() -> None:
    text = packed(np.array([0.045, NAN, NAN]), np.array([True, True, False]))
    first, second, third = np.frombuffer(base64.b64decode(text), "<f8")
    assert first == 0.045
    assert np.isnan(second)
    assert third == np.inf


def table(**changes: object) -> PrintedTable:
    rows = (
        Row("(v1)", "L2", ((Span("65.91", bold=True, address="table2:v1/none/5"), Span(" ± 0.20")),)),
        Row("(v1)", "noise", ((Span("–"),),)),
        Row("(v2)", "L2", ((Span("−3.5"),),)),
    )
    content = {
        "number": "2",
        "title": "T",
        "stub": ("Version", "Parameters"),
        "columns": ("Dice",),
        "rows": rows,
    }
    return PrintedTable(**{**content, **changes})  # type: ignore[arg-type]


def test_a_group_stands_in_each_of_its_rows_and_a_new_one_begins() -> None:
    rows = html_rows(table())
    assert [row.stub for row in rows] == [("(v1)", "L2"), ("(v1)", "noise"), ("(v2)", "L2")]
    assert [row.repeats for row in rows] == [False, True, False]
    assert [row.begins for row in rows] == [False, False, True]
    assert [row.stub for row in html_rows(table(stub=("Parameters",)))] == [("L2",), ("noise",), ("L2",)]


@pytest.mark.parametrize(
    ("texts", "key"),
    [
        (["65.91", " ± 0.20"], "65.91"),
        (["65.91", " / ", "64.00", " (+1.91)"], "65.91"),
        (["−3.5"], "-3.5"),
        (["–"], ""),
        (["–", " / ", "64.00"], ""),
        (["2 of 7"], "2"),
        (["< 0.001"], "0.001"),
        (["+38.00 [15.80, 54.92]"], "38.00"),
        (["−28.01 points"], "-28.01"),
        (["4,809,781"], "4809781"),
        (["3e-05"], "3e-05"),
        (["best"], ""),
    ],
)
def test_a_cell_is_sorted_by_its_first_number(texts: list[str], key: str) -> None:
    assert order_key(tuple(map(Span, texts))) == key


def test_a_cell_of_a_column_of_words_is_sorted_by_them() -> None:
    assert order_key((Span("supported"),), "l") == "supported"
    assert order_key((Span("–"),), "p") == ""


def test_a_link_to_a_number_has_no_sign_that_means_something_in_an_address() -> None:
    link = number_link('table3:EF%2FMF<b>"#fnv_ml')
    assert link == "#/number/table3%3AEF%252FMF%3Cb%3E%22%23fnv_ml"


def test_a_table_of_its_own_is_a_page_without_scripts_whose_texts_are_escaped() -> None:
    hostile = "<script>x</script>"
    rows = (Row("", hostile, ((Span(hostile, address=f"t:{hostile}'\""),),)),)
    page = standalone(
        [table(title=hostile, stub=(hostile,), columns=(hostile,), rows=rows, notes=(hostile,))]
    )
    assert "<script" not in page
    assert page.count("&lt;script&gt;x&lt;/script&gt;") >= 7
    assert "<b>65.91</b>" in re.sub(r"<span[^>]*>|</span>", "", standalone([table()]))


def test_a_module_becomes_a_script_that_sets_what_is_wanted() -> None:
    module = "var a=1,b=2;export{a as default,b as other};\n/* licence */"
    assert classic_script(module, {"default": "Thing"}) == (
        '(function(){"use strict";var a=1,b=2;window.Thing=a;\n/* licence */\n})();\n'
    )
    for unknown in ("var a=1;", "export{a as default};export{b};", 'import x from"y";export{a as default};'):
        with pytest.raises(BenchError, match=r"itables .* requirements\.lock"):
            classic_script(unknown, {"default": "Thing"})


def test_the_packages_ship_what_the_page_needs_with_their_licences() -> None:
    script, style = datatables()
    assert "window.DataTable=" in script.text
    assert "SpryMedia" in script.text
    assert "dt-container" in style.text
    assert "plotly.js v" in plotly().text[:200]
    assert "MIT" in plotly().text[:300]


def test_the_policy_allows_the_scripts_that_stand_in_the_page_by_their_digests() -> None:
    asset = Asset("x.js", "const text = '</script>';")
    assert asset.inline == r"const text = '<\/script>';"
    assert policy([asset]).split("script-src ")[1].startswith("'sha256-")
    assert asset.digest in policy([asset])
    for words in (policy([]), policy([asset])):
        assert words.startswith("default-src 'none'")
        assert "http" not in words
        assert "unsafe-inline" not in words.split("style-src")[0]


@pytest.mark.parametrize(
    ("text", "shared"),
    [
        ("/home/me/results/runs/a/scores.parquet cannot be read", "runs/a/scores.parquet cannot be read"),
        (
            "after `mlflow ui --backend-store-uri sqlite:////home/me/results/mlflow.db`",
            "after `mlflow ui --backend-store-uri sqlite:///mlflow.db`",
        ),
        ("not in file:///data/mlruns/1", "not in file://…/1"),
        ("not in file%3A///data/mlruns/1", "not in file://…/1"),
        ("not in FILE%3a%2f%2F%2Fdata%2fmlruns%2F1", "not in FILE://…/1"),
        ("?uri=sqlite%3A////home/me/results/mlflow.db", "?uri=sqlite:///mlflow.db"),
        ("at %2Fdata%2Fmy%20cases%2F1", "at …/1"),
        ("at file:///data/my%20cases/1", "at file://…/1"),
        (
            "http%3A%2F%2Fhost%2Fa%2Fb and table2%3Av3%2Fshuffle%2F5",
            "http%3A%2F%2Fhost%2Fa%2Fb and table2%3Av3%2Fshuffle%2F5",
        ),
        ("No such file: '/data/autopet/case1/CT.nii.gz'", "No such file: '…/CT.nii.gz'"),
        ("https://mlflow.test/#/a/b/c", "https://mlflow.test/#/a/b/c"),
        (
            "table2:v3/shuffle/5, 4/5 runs, 3.2 s/case, </pre>",
            "table2:v3/shuffle/5, 4/5 runs, 3.2 s/case, </pre>",
        ),
    ],
)
def test_a_text_that_is_shared_names_no_folder_of_this_machine(text: str, shared: str) -> None:
    assert without_folders(text, Path("/home/me/results")) == shared
    assert without_folders({"a": [text, 1, None]}, Path("/home/me/results")) == {"a": [shared, 1, None]}


def test_a_relative_folder_of_results_is_left_out_and_one_that_only_ends_like_it_is_not() -> None:
    text = "results/runs/a and my-results/runs/b"
    assert without_folders(text, Path("results")) == "runs/a and my-results/runs/b"


@pytest.mark.parametrize("text", ["table2:v3/*/5|v1/none/3", "table3:O'Neil's", "a b", "$HOME`id`"])
def test_an_address_is_one_word_of_a_shell(text: str) -> None:
    assert shlex.split(f"bench why {quoted(text)}") == ["bench", "why", text]


@pytest.mark.parametrize(
    "content",
    [
        {"a": 1, "b": [1.5, 1e-06, float("inf"), None, True], "c": {"d": "x", "e": []}},
        {
            "long": "word " * 60,
            "lines": "one\ntwo\n",
            "odd": "é 漢 \N{GRINNING FACE} \x07\t",
            "sign": "- a: b # c",
        },
        {
            "numbers": [
                "1",
                "1e3",
                "yes",
                "null",
                "~",
                "0x1",
                "1:30",
                "2026-11-29",
                "=",
                "<<",
                "!",
                "&a",
                "*b",
            ]
        },
    ],
)
def test_a_configuration_is_written_as_pyyaml_writes_it(content: dict[str, object]) -> None:
    assert yaml_text(content) == yaml.safe_dump(content, sort_keys=False)
