"""The report of claims: its files, its pages, its command, and text from files of claims that is no markup."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest
from planted_claims import plant_methods
from published_experiment import as_published

from benchmark.cli import main
from benchmark.planning.grid import STUDIES
from benchmark.results.manifests import manifests
from benchmark.vocabulary import BenchError
from reports.claims.frames import CLAIM, JUDGEMENT
from reports.claims.language import FORMS, QUANTIFIERS, REDUCTIONS, Claim, SpreadKind
from reports.claims.printed import ROWS_A_PAGE
from reports.claims.reading import claim_files
from reports.claims.report import claims_report

FILES = claim_files(STUDIES / "claims")
METHODS = {"PET": (0.6, 3.0, 2.0), "EF": (0.5, 5.0, 4.0)}
MINE = """
name: mine
paper: <script>alert(1)</script>
claims:
  - id: mine
    place: a | b
    says: <b>PET</b> & 100 % of $x_1$ *wins*
    table: table3
    test: {better: PET, than: EF}
    caveats: [{text: "| <i>", parameters: {one: 1000}}]
  - {id: talk, place: p, says: s, untestable: it is talk}
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(MINE, encoding="utf-8")
    return path


def test_the_published_report_has_every_file_and_is_the_same_each_time(tmp_path: Path) -> None:
    report = claims_report(None, FILES, source="paper", out=tmp_path / "one")
    names = [path.name for path in report.files[:5]]
    assert names == ["report.md", "claims.md", "claims.tex", "claims.csv", "claims_comparisons.csv"]
    assert report.summary[0] == (
        "As printed: 61 claims, 32 supported, 11 contradicted, 1 undecided, 17 untestable."
    )
    assert "(v1/noise/4 > v1/none/4: 62.83 against 62.88)" in report.summary[1]
    assert [path.name for path in report.files if path.suffix == ".html"] == ["claims.html"]
    assert len(report.files) == 6 + 61
    claims_report(None, FILES, source="paper", out=tmp_path / "two")
    for path in report.files:
        again = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert path.read_bytes() == again.read_bytes()
    index = report.files[0].read_text(encoding="utf-8")
    assert report.files[1].read_text(encoding="utf-8") in index
    linked = [line for line in index.splitlines() if "](claims/" in line]
    assert len(linked) == 61


def test_every_comparison_is_on_the_claims_page_and_in_the_csv(tmp_path: Path) -> None:
    claims_report(None, FILES, source="paper", out=tmp_path)
    page = (tmp_path / "claims" / "corruption-helps-everywhere.md").read_text(encoding="utf-8")
    assert "## As printed: contradicted" in page
    assert "| v1/noise/4 &gt; v1/none/4 | **62.83** | **62.88** | **−0.05** | **no** |" in page
    assert page.count("| yes |") == 41
    assert "`table2:v3/shuffle/5`" in page
    frame = pd.read_csv(tmp_path / "claims.csv")
    assert list(frame) == [*CLAIM, *JUDGEMENT]
    assert len(frame) == 61
    row = frame.set_index("claim").loc["corruption-helps-everywhere"]
    assert (row["verdict"], row["effect"], row["unit"], row["n_against"]) == (
        "contradicted",
        pytest.approx(-0.05),
        "points",
        1,
    )
    assert row["cells"].split("; ")[0] == "table2:v1/noise/3"
    comparisons = pd.read_csv(tmp_path / "claims_comparisons.csv", keep_default_na=False)
    of_claim = comparisons[comparisons["claim"] == "corruption-helps-everywhere"]
    assert of_claim["holds"].value_counts().to_dict() == {"yes": 41, "no": 1}


def test_own_and_published_stand_in_one_row_with_interval_and_p(tmp_path: Path, mine: Path) -> None:
    plant_methods(tmp_path / "results", "table3", METHODS, n_patients=20)
    as_published(tmp_path / "results", manifests(tmp_path / "results", "table3")[0])
    report = claims_report(tmp_path / "results", [mine], source="both", out=tmp_path / "out")
    text = report.files[1].read_text(encoding="utf-8")
    header = "| Claim | Place | Says | As printed | Margin | Own runs | Margin \\[95 %\\] | p | Cells | Against it |"
    assert header.replace("\\[", "[").replace("\\]", "]") in text.replace("\\[", "[").replace("\\]", "]")
    (row,) = [line for line in text.splitlines() if line.startswith("| mine |")]
    cells = [cell.strip() for cell in row.split(" | ")]
    assert cells[3:6] == ["supported", "+6.10 points", "supported"]
    assert cells[6].startswith("+10.") or cells[6].startswith("+9.")
    assert cells[7] == "&lt; 0.001"
    assert "table3: launch table3-k, data set autopet, profile paper." in text
    assert report.summary == (
        "As printed: 2 claims, 1 supported, 1 untestable.",
        "Own runs: 2 claims, 1 supported, 1 untestable.",
    )


def test_runs_on_phantoms_are_not_the_papers_experiment(tmp_path: Path, mine: Path) -> None:
    plant_methods(tmp_path / "results", "table3", METHODS, n_patients=20, profile="demo")
    report = claims_report(tmp_path / "results", [mine], source="runs", out=tmp_path / "out")
    assert "That is another experiment than the paper's" in report.files[1].read_text(encoding="utf-8")


def test_text_of_claims_is_no_markup(tmp_path: Path, mine: Path) -> None:
    report = claims_report(None, [mine], source="paper", out=tmp_path / "out")
    for path in report.files:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".md":
            assert "<" not in text.replace("<u>", "").replace("</u>", "")
            assert "*wins*" not in text.replace("\\*", "")
    tex = (tmp_path / "out" / "claims.tex").read_text(encoding="utf-8")
    assert r"100 \% of \$x\_1\$" in tex
    assert "one 1,000" in tex


def test_what_cannot_be_reported_is_refused(tmp_path: Path, mine: Path) -> None:
    with pytest.raises(BenchError, match=r"There are no runs in .* that claims could be tested on"):
        claims_report(tmp_path / "empty", [mine], source="runs", out=tmp_path / "out")
    with pytest.raises(BenchError, match="need a folder with results"):
        claims_report(None, [mine], source="both", out=tmp_path / "out")
    with pytest.raises(BenchError, match="No claim is about the table table2, only about table3"):
        claims_report(None, [mine], source="paper", out=tmp_path / "out", grid="table2")
    assert not (tmp_path / "out").exists(), "nothing is written before everything is known"


def test_claims_of_one_table_alone(tmp_path: Path) -> None:
    report = claims_report(None, FILES, source="paper", out=tmp_path, grid="table5")
    assert report.summary == ("As printed: 4 claims, 4 supported.",)


def called(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    told = capsys.readouterr()
    return stop.value.code, told.out, told.err


def test_the_command_judges_the_papers_claims_or_files_of_ones_own(
    tmp_path: Path, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ("--source", "paper", "--out", tmp_path / "out")
    code, told, _ = called(capsys, "report", "--claims", "--grid", "table4", *out)
    assert (code, told.splitlines()[1]) == (0, "As printed: 6 claims, 5 supported, 1 contradicted.")
    code, told, _ = called(capsys, "report", "--claims", mine, *out, "--json")
    assert code == 0
    assert json.loads(told)["summary"] == ["As printed: 2 claims, 1 supported, 1 untestable."]
    code, _, error = called(capsys, "report", mine, *out)
    assert code == 2
    assert "no use for FILE: it has claims to be judged with --claims" in error
    mine.write_text(MINE.replace("better:", "beter:"), encoding="utf-8")
    code, _, error = called(capsys, "report", "--claims", mine, *out)
    assert code == 2
    assert "mine.yaml: claim mine: test: no test begins with 'beter'. Did you mean 'better'?" in error


def test_a_table_in_latex_is_divided_into_pages(tmp_path: Path) -> None:
    claims_report(None, FILES, source="paper", out=tmp_path)
    tex = (tmp_path / "claims.tex").read_text(encoding="utf-8")
    tables = tex.split(r"\begin{table}")[1:]
    assert all(table.split(r"\bottomrule")[0].count("\\\\\n") <= ROWS_A_PAGE + 1 for table in tables)
    assert r"{Claims about table2 (1 of 4)}" in tex
    assert "?" not in tex.split(r"\begin{document}")[1], "every sign can be set"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(tmp_path: Path, mine: Path) -> None:
    claims_report(None, [*FILES, mine], source="paper", out=tmp_path)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "claims.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=60)
    assert done.returncode == 0, done.stdout[-2000:]


def test_the_example_of_the_documentation_is_read_and_judged(tmp_path: Path) -> None:
    text = (Path(__file__).parent.parent / "docs" / "claims.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    path = tmp_path / "example.yaml"
    path.write_text(example, encoding="utf-8")
    report = claims_report(None, [path], source="paper", out=tmp_path / "out")
    assert report.summary == ("As printed: 2 claims, 1 supported, 1 untestable.",)


def test_the_documentation_has_every_word_of_the_language() -> None:
    text = (Path(__file__).parent.parent / "docs" / "claims.md").read_text(encoding="utf-8")
    for word in (
        *FORMS,
        *QUANTIFIERS,
        *REDUCTIONS,
        *get_args(SpreadKind),
        *Claim.model_fields,
        "others",
        "all_but",
    ):
        assert re.search(rf"\b{word}\b", text), f"docs/claims.md does not say what {word!r} means"


def test_margin_p_and_counterexamples_have_the_addresses_of_their_cells(tmp_path: Path) -> None:
    claims = tmp_path / "claims.yaml"
    claims.write_text(
        """
name: hand
paper: by hand
claims:
  - {id: two, place: p, says: s, table: table3, test: {order: [EF, PET, CT]}}
  - {id: race, place: p, says: s, table: table3, test: {best: method, is: EF, among: [CT, PET, EF]}}
""",
        encoding="utf-8",
    )
    plant_methods(tmp_path / "results", "table3", {"CT": (0.3, 3, 3), **METHODS}, n_patients=20)
    report = claims_report(tmp_path / "results", [claims], source="runs", out=tmp_path / "out")
    (table,) = report.tables[0].printed
    cells = {row.label: dict(zip(table.columns, row.cells, strict=True)) for row in table.rows}
    addresses = {
        name: [span.address for column in ("Margin [95 %]", "p", "Cells") for span in found[column]]
        for name, found in cells.items()
    }
    # CT, said to be the best, is the worst: the step from PET to it decides.
    assert addresses["two"] == ["table3-k:CT|PET", "table3-k:PET|EF|CT", "table3-k:PET|EF|CT"]
    assert addresses["race"][0] == "table3-k:EF|PET"
    against = {name: [span.address for span in found["Against it"]] for name, found in cells.items()}
    assert against["two"] == ["table3-k:CT|PET", ""]
    assert against["race"] == ["table3-k:CT|PET|EF", ""]
    text = (tmp_path / "out" / "claims.html").read_text(encoding="utf-8")
    assert "bench why 'table3-k:CT|PET'" in unescape(text)
