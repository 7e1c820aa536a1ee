"""`bench evaluate`, `predict` and `panels` as they are typed."""

from __future__ import annotations

import io
import json
import operator
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import threshold_methods
import torch
from finished import finished, split_evenly
from rich.console import Console
from written_runs import score_rows

from benchmark.cli import evaluate, main
from benchmark.execution.worker import PRELOAD
from benchmark.finished.reopened import ReopenedRun
from benchmark.processes import server as server_module
from benchmark.processes.devices import Slot
from benchmark.processes.server import ForkServer
from benchmark.processes.side_by_side import in_workers
from benchmark.registry import METHOD_FILES
from benchmark.results.manifests import CellRun, GridManifest, write_manifest
from benchmark.results.runs import RunFolder, WithoutFacts
from benchmark.vocabulary import BenchError

NAN = float("nan")
WEIGHTS = {"rec_ct": 1e-4, "seg": 0.5}


@pytest.fixture(scope="module")
def workers() -> Iterator[ForkServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(METHOD_FILES, json.dumps([threshold_methods.__file__]))
        server = ForkServer(PRELOAD)
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch, workers: ForkServer) -> Iterator[None]:
    """One server for all tests: starting it takes seconds."""
    monkeypatch.setenv(METHOD_FILES, json.dumps([threshold_methods.__file__]))
    monkeypatch.setattr(server_module, "ForkServer", lambda _: workers)
    monkeypatch.setattr(workers, "close", lambda: None)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def v1(tcia_root: Path, tmp_path: Path) -> ReopenedRun:
    return finished(tcia_root, tmp_path, "mirror_unet", WEIGHTS, version="v1", channels=[2, 4, 4, 4, 4])


def bench(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


def test_what_workers_say_comes_back_and_so_does_that_one_could_not(workers: ForkServer) -> None:
    places = [Slot("cpu", 1), Slot("cpu", 1)]
    assert dict(in_workers(workers, len, {"a": None, "b": None, "c": None}, places)) == {
        "a": 2,
        "b": 2,
        "c": 2,
    }
    ((_, told),) = in_workers(workers, operator.truediv, {"a": None}, places)
    assert isinstance(told, BenchError)
    assert str(told).startswith("The worker failed (1): TypeError")


def test_a_run_is_scored_again_and_the_exit_code_says_whether_it_is_what_it_says(
    v1: ReopenedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("evaluate", v1.folder.run_id[:6], "--results", tmp_path, "--jobs", 1)
    assert bench(*asked) == 0
    rows = len(v1.folder.scores())
    assert (
        f"[1/1] method=mirror_unet fold=0 seed=0: all {rows} scores reproduced exactly"
        in capsys.readouterr().out
    )
    split_evenly(v1, "pet")
    assert bench(*asked, "--json") == 1
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["reproduced"], row["rows"]) == (False, rows)
    assert row["differences"]["over_ml"] > 0


def test_a_grid_is_scored_without_a_modality_once(
    v1: ReopenedRun, tcia_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split_evenly(v1, "pet")
    both = finished(tcia_root, tmp_path, "threshold_methods", {"seg": 1.0}, variant="hot", ct=2.0)
    liar = finished(tcia_root, tmp_path, "threshold_methods", {"seg": 1.0}, variant="liar", ct=2.0)
    names = {"v1": v1, "both": both, "liar": liar}
    cells = [CellRun({"method": name}, 0, 0, run.folder.run_id) for name, run in names.items()]
    cells.append(CellRun({"method": "late"}, 0, 0, "pending"))
    write_manifest(tmp_path, GridManifest("g", "k", "demo", "autopet", "", "f", 1.0, tuple(cells)))
    asked = ("evaluate", "--grid", "g", "--without", "CT", "--results", tmp_path, "--jobs", 1)
    assert bench(*asked) == 1
    out, err = capsys.readouterr()
    assert "1 of 4 runs not done, and left out." in out
    assert "liar fold=0 seed=0: threshold_methods says that it predicts without CT" in err
    (first,) = [line for line in out.splitlines() if line.startswith("│ method=v1 ")]
    assert [cell.strip() for cell in first.split("│")[5:7]] == ["own answer", "2 of 2 cases"]
    assert (out + err).count("[1/3]") == 1

    # The second time only what failed is tried again.
    assert bench(*asked, "--json") == 1
    out, err = capsys.readouterr()
    assert "[1/1]" in err
    rows = {row["cell"].split()[0]: row for row in json.loads(out)}
    assert set(rows) == {"method=v1", "method=both"}
    assert (rows["method=v1"]["manner"], rows["method=v1"]["identical"]) == ("own answer", 2)
    assert (rows["method=both"]["manner"], rows["method=both"]["identical"]) == ("zeros", 0)
    assert rows["method=both"]["dice_without"] == 100
    assert rows["method=both"]["difference"] == pytest.approx(100 - rows["method=both"]["dice"])


def test_a_damaged_run_is_said_once_however_often_it_is_asked_for(
    v1: ReopenedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = v1.folder.run_id
    v1.folder.weights_file.write_bytes(b"damaged")
    asked = ("evaluate", run_id, "--without", "CT", "--without", "PET", "--results", tmp_path, "--jobs", 1)
    assert bench(*asked) == 1
    err = capsys.readouterr().err
    assert len([line for line in err.splitlines() if "last.safetensors" in line]) == 1, err


def test_damaged_scores_are_said_once_for_all_modalities(
    v1: ReopenedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = (
        "evaluate",
        v1.folder.run_id,
        "--without",
        "CT",
        "--without",
        "PET",
        "--results",
        tmp_path,
        "--jobs",
        1,
    )
    assert bench(*asked) == 0
    capsys.readouterr()
    v1.folder.scores_file.write_bytes(b"damaged")
    bench(*asked)
    err = capsys.readouterr().err
    assert len([line for line in err.splitlines() if "scores.parquet" in line]) == 1, err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "Name runs, or a grid with --grid"),
        (("--grid", "tabel2"), "There is no grid 'tabel2'"),
        (("abc",), "No run in"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], words: str
) -> None:
    assert bench("evaluate", *options, "--results", tmp_path) == 2
    assert capsys.readouterr().err.startswith(f"bench: {words}")


def test_a_device_that_is_not_here_is_one_line(
    v1: ReopenedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    run = (v1.folder.run_id, "--results", tmp_path)
    assert bench("predict", *run, "--out", tmp_path / "m", "--device", "cuda:7") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("bench: There is no device 'cuda:7' here; there are cpu")
    assert bench("evaluate", *run, "--devices", "cuda:7") == 1
    assert "There is no device 'cuda:7' here; there are cpu" in capsys.readouterr().err


def test_an_unknown_modality_is_refused_before_anything_runs(
    v1: ReopenedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("evaluate", v1.folder.run_id, "--without", "PT", "--results", tmp_path) == 2
    assert "--without PT: autopet has no such modality. Did you mean 'PET'?" in capsys.readouterr().err


def test_panels_are_drawn_from_what_the_branches_say(
    v1: ReopenedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case_id = v1.data.test[0].case_id
    asked = ("panels", v1.folder.run_id, "--case", case_id, "--results", tmp_path, "--jobs", 1)
    assert bench(*asked, "--out", tmp_path / "drawn") == 0
    assert {path.name for path in v1.folder.panels.iterdir()} == {f"{case_id}.npz", f"{case_id}.json"}
    drawn = {path.name for path in (tmp_path / "drawn").iterdir()}
    assert f"{case_id}.png" in drawn
    assert all(name in capsys.readouterr().out.replace("\n", "") for name in sorted(drawn)[:1])
    # A launch that calls the data phantoms knows more than the reader, autopet.
    cell = CellRun({"method": "Mirror U-Net v1"}, 0, 0, v1.folder.run_id)
    write_manifest(tmp_path, GridManifest("mine", "k", "demo", "phantom", "", "f", 1.0, (cell,)))
    assert bench(*asked, "--out", tmp_path / "under") == 0
    plain, under = ((tmp_path / name / f"{case_id}.png").read_bytes() for name in ("drawn", "under"))
    heights = [int.from_bytes(content[20:24], "big") for content in (plain, under)]
    assert heights[1] == heights[0] + 44, "a strip of 0.22 inches for the banner"


def test_panels_need_runs_or_a_grid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for asked in ((), ("abc", "--grid", "table2")):
        assert bench("panels", *asked, "--results", tmp_path) == 2
        assert "Name either runs, or a grid" in capsys.readouterr().err
    assert bench("panels", "abc", "--only", "version=v3", "--results", tmp_path) == 2
    assert "--only chooses cells of a grid" in capsys.readouterr().err
    assert bench("panels", "abc", "--fold", 1, "--results", tmp_path) == 2
    assert "--fold chooses among a grid's runs" in capsys.readouterr().err
    assert bench("panels", "abc", "--case", "x", "--cases", "worst", "--results", tmp_path) == 2
    assert "--case and --cases say the same" in capsys.readouterr().err
    assert bench("panels", "--grid", "table2", "--results", tmp_path) == 2
    assert "There is no grid 'table2'" in capsys.readouterr().err


@pytest.mark.slow
def test_panels_of_a_grid_put_its_networks_beside_one_another(
    v1: ReopenedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = CellRun({"method": "Mirror U-Net v1"}, 0, 0, v1.folder.run_id)
    other = CellRun({"method": "Another"}, 0, 0, "none")
    write_manifest(tmp_path, GridManifest("mine", "k", "demo", "autopet", "", "f", 1.0, (cell, other)))
    assert bench("panels", "--grid", "mine", "--cases", "worst", "--results", tmp_path, "--jobs", 1) == 0
    out = capsys.readouterr().out
    assert "Not shown, since it is not done: Another" in out
    drawn = {path.suffix for path in (tmp_path / "panels" / "mine-k").glob("panels_*_axial.*")}
    assert drawn == {".png", ".pdf"}
    assert bench("panels", "--grid", "mine", "--cases", "wors", "--results", tmp_path) == 2
    assert "Did you mean 'worst'?" in capsys.readouterr().err


def test_predict_writes_the_named_cases_and_says_what_they_are(
    v1: ReopenedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = v1.data.train[0].case_id
    asked = (
        "predict",
        v1.folder.run_id,
        "--cases",
        train,
        "--out",
        tmp_path / "m",
        "--results",
        tmp_path,
        "--jobs",
        1,
    )
    assert bench(*asked) == 0
    out = capsys.readouterr().out
    assert "1 of the cases are not from this run's test part" in out
    assert f"1 mask in {tmp_path / 'm'}\n" in out
    assert bench(*asked) == 0
    assert "1 mask in" in (again := capsys.readouterr().out)
    assert "1 of them from before" in again


def test_predict_without_unlabelled_cases_says_what_to_do(
    v1: ReopenedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("predict", v1.folder.run_id, "--out", tmp_path / "m", "--results", tmp_path) == 2
    assert "Name cases with --cases" in capsys.readouterr().err


def test_numbers_without_a_modality_are_means_over_cases_and_then_over_regions(tmp_path: Path) -> None:
    """Of core 0.4 and 0.6, of whole 0.9 in one case alone: 0.7, not the 0.63 of three rows."""

    def scores(core: list[float], whole: float) -> pd.DataFrame:
        rows = [
            score_rows("run", {"": {"dice": core}}, where={"region": "core"}),
            score_rows("run", {"": {"dice": [whole, NAN]}}, where={"region": "whole"}),
        ]
        return pd.concat(rows, ignore_index=True)

    folder = RunFolder(tmp_path, "run")
    folder.write_scores(scores([0.4, 0.6], 0.9))
    facts = WithoutFacts("CT", "zeros", {"": {"case00": 0, "case01": 7}})
    folder.write_without(scores([0.2, 0.2], 0.6), facts)
    cell = CellRun({"method": "a"}, 0, 0, "run")
    (row,) = evaluate._rows_without(tmp_path, [cell], ["CT"])
    told = [row["dice"], row["dice_without"], row["difference"]]
    assert told == pytest.approx([70.0, 40.0, -30.0])
    screen = Console(file=io.StringIO(), width=200)
    evaluate._print_without(tmp_path, [cell], ["CT"], screen, as_json=False)
    printed = screen.file.getvalue()  # type: ignore[attr-defined]
    assert re.search(r"70\.0 │ +40\.0 │ +-30\.0 │ zeros +│ 1 of 2 cases", printed), printed


@pytest.mark.parametrize(
    ("regions", "title"),
    [
        (["tumor"], "Dice [%] without CT"),
        (["core", "whole"], "Dice [%] without CT, mean over the regions core, whole"),
    ],
)
def test_scores_without_a_modality_say_over_which_regions_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, regions: list[str], title: str
) -> None:
    row = {
        "modality": "CT",
        "cell": "a",
        "regions": regions,
        "untold": [],
        "manner": "zeros",
        "identical": 1,
        "cases": 2,
    }
    scores = {"dice": 50.0, "dice_without": 40.0, "difference": -10.0}
    monkeypatch.setattr(evaluate, "_rows_without", lambda *_: [{**row, **scores}])
    screen = Console(file=io.StringIO(), width=200)
    evaluate._print_without(tmp_path, [], ["CT"], screen, as_json=False)
    printed = screen.file.getvalue()  # type: ignore[attr-defined]
    assert printed.splitlines()[0].strip() == title
