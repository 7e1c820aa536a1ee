"""Which options of `bench report` go together, and where one's own claims get to."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from written_pages import without_ink
from written_runs import methods_manifest, write_run

from benchmark import tracking
from benchmark.cli import main
from benchmark.results.manifests import write_manifest
from benchmark.search.cards import SearchCard
from benchmark.vocabulary import BenchError

MINE = """
name: mine
paper: ours
claims:
  - {id: first, place: p, says: s, table: table3, test: {better: A, than: B}}
  - {id: second, place: p, says: s, table: table2, test: {better: v3/shuffle/5, than: v4/0.2/4-5-6}}
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(MINE, encoding="utf-8")
    return path


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two methods of Table 3; nothing is drawn."""
    without_ink(monkeypatch)
    folder = tmp_path / "results"
    for name, dice in (("a", 0.6), ("b", 0.5)):
        write_run(folder, name, [dice, dice + 0.1], fpv_ml=[1, 2], fnv_ml=[1, 2])
    write_manifest(folder, methods_manifest("table3", ("A", 0, 0, "a"), ("B", 0, 0, "b")))
    return folder


def bench(*arguments: object) -> int:
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("--html --manifest nosuch", "`bench report --html` has no use for --manifest"),
        ("--html --profile demo", "--html` has no use for --profile: it chooses among the own launches"),
        ("--all --dataset phantom", "`bench report --all` has no use for --dataset"),
        ("--all --grid table3", "`bench report --all` has no use for --grid"),
        ("--html --all", "`bench report --html` has no use for --all"),
        ("--html --claims", "--html` has no use for --claims: it shows claims alone"),
        ("--html --search theta", "`bench report --html` has no use for --search"),
        ("--html --grid table3 --storage a.db", "`bench report --html --grid` has no use for --storage"),
        ("--all --thumbnails 3", "`bench report --all` has no use for --thumbnails"),
        ("--thumbnails 3", "`bench report` has no use for --thumbnails: the small pictures are on the page"),
        ("--storage a.db", "`bench report` has no use for --storage"),
        ("mine.yaml", "`bench report` has no use for FILE: it has claims to be judged with --claims"),
        ("page --manifest nosuch", "`bench report --html` has no use for --manifest"),
        ("all table3", "`bench report --all` has no use for --grid"),
        ("page --claims", "--html` has no use for --claims: it shows claims alone"),
        ("table3 table2", "shows one grid at a time, or all: name table3 or table2"),
        ("table3 --grid table2", "shows one grid at a time, or all: name table3 or table2"),
        ("table3 mine.yaml", "`bench report` has no use for FILE: it has claims to be judged with --claims"),
        ("tabel3", "There are no runs of the grid tabel3"),
        ("--claims --search theta", "`bench report --claims` has no use for --search"),
        ("--search theta --grid table2", "`bench report --search` has no use for --grid"),
        ("--grid search_theta --profile demo", "`bench report --grid search_theta` has no use for --profile"),
        ("--search theta --source both", "has no use for --source: nobody published searches"),
        ("--source paper --profile demo", "has no use for --profile: published numbers have no launches"),
        ("--claims --source paper --manifest x", "`bench report --claims --source paper` has no use for"),
        ("--html --source paper", "--all and --html show own runs"),
    ],
)
def test_an_option_that_would_reach_nobody_is_refused(
    asked: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("report", *asked.split(), "--results", tmp_path) == 2
    assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_own_claims_get_onto_the_page_and_of_one_launch_those_about_its_table(
    results: Path, mine: Path
) -> None:
    out = results / "reports" / "html"
    assert bench("report", "--html", mine, "--results", results, "--no-mlflow") == 0
    judged = out / "files" / "claims" / "claims"
    assert sorted(path.name for path in judged.iterdir()) == ["first.md", "second.md"]
    assert bench("report", "--html", "--grid", "table3", mine, "--results", results, "--no-mlflow") == 0
    assert [path.name for path in judged.iterdir()] == ["first.md"]


def test_all_judges_own_claims(results: Path, mine: Path) -> None:
    assert bench("report", "--all", mine, "--results", results, "--no-mlflow") == 0
    assert len(list((results / "reports" / "claims" / "claims").iterdir())) == 2


def test_a_file_of_claims_that_is_not_there_stops_the_page_before_it_is_written(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for asked in (["--html"], ["--html", "--grid", "table3"], ["--all"]):
        assert bench("report", *asked, tmp_path / "no_such_claims.yaml", "--results", results) == 2
        assert "no_such_claims.yaml" in capsys.readouterr().err
    assert not (results / "reports").exists()


def test_storage_is_for_the_searches_whose_address_lacks_a_password(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}

    def opened(_: Path, name: str, *, storage: str | None) -> None:
        asked[name] = storage
        raise BenchError("nothing there")

    monkeypatch.setattr("reports.search.report.open_search", opened)
    (results / "searches").mkdir()
    for name, has_password in (("theta-1", True), ("lambda-1", False)):
        card = SearchCard(name.partition("-")[0], name, f"{name}.journal", has_password, created=1.0)
        (results / "searches" / f"{name}.json").write_text(json.dumps(asdict(card)))
    for asked_for in ("--all", "--html"):
        asked.clear()
        more = ("--storage", "postgresql://me:secret@there/db", "--results", results, "--no-mlflow")
        assert bench("report", asked_for, *more) == 0
        assert asked == {"theta-1": "postgresql://me:secret@there/db", "lambda-1": None}


def test_verdicts_are_added_to_mlflow_beside_the_newest_launch_they_are_about(
    results: Path, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[tuple[Any, ...]] = []
    newer = replace(methods_manifest("mine", ("A", 0, 0, "a")), created=9.0)
    write_manifest(results, newer)

    def log_report(
        _: Path, launch: str, files: Any, *, folder: Path | None = None, name: str = "report"
    ) -> None:
        logged.append((launch, name, {str(path.relative_to(folder)) for path in files} if folder else None))

    monkeypatch.setattr(tracking, "log_report", log_report)
    assert bench("report", "--claims", mine, "--results", results) == 0
    ((launch, name, files),) = logged
    assert (launch, name) == ("table3-k", "claims")
    assert {"report.md", "claims.csv", "claims/first.md"} <= files
    logged.clear()
    assert bench("report", "--all", mine, "--results", results) == 0
    assert [(launch, name) for launch, name, _ in logged] == [
        *((launch, "report") for launch in ("mine-k", "table3-k")),
        ("table3-k", "claims"),
    ]
    logged.clear()
    for more in (["--source", "paper"], ["--no-mlflow"]):
        assert bench("report", "--claims", *more, "--results", results) == 0
    assert logged == []


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("table3", "--grid table3"),
        ("claims mine.yaml", "--claims mine.yaml"),
        ("claims table3 mine.yaml", "--claims --grid table3 mine.yaml"),
        ("page table3", "--html --grid table3"),
        ("all", "--all"),
        ("table3 --source paper", "--grid table3 --source paper"),
    ],
)
def test_a_word_asks_for_what_its_option_asks(
    words: str,
    options: str,
    results: Path,
    mine: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(mine.parent)
    written = {}
    for name, asked in (("words", words), ("options", options)):
        assert bench("report", *asked.split(), "--results", results, "--out", name, "--no-mlflow") == 0
        said = capsys.readouterr().out.replace(f"{name}/", "").replace(f" {name}", "")
        written[name] = {path.relative_to(name) for path in Path(name).rglob("*")}, said
    assert written["words"] == written["options"]
