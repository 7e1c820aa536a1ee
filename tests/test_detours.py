"""Whoever writes into a stranger's results folder, in whatever process, writes through no link that lies in it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import fake_bench
import fake_trials
import pytest
from written_studies import write_study

import benchmark
from baselines.nnunet import NnUNet
from benchmark.cli import main
from benchmark.data.readers import autopet
from benchmark.files.places import DamagedFileError
from benchmark.nnunet.launch import run_process
from benchmark.nnunet.task import Prediction
from benchmark.protocols import ExternalJob
from benchmark.vocabulary import BenchError

LINK = r"is a link"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "mine").write_text("mine")
    return tmp_path / "outside"


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    for patient in range(6):
        write_study(tmp_path / "cases" / f"PETCT_{patient}" / "study", seed=patient)
    return tmp_path / "cases"


def lead(place: Path, outside: Path) -> None:
    """A link in the place of what was written there."""
    shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(outside)


def untouched(outside: Path) -> bool:
    return [(path.name, path.read_text()) for path in outside.rglob("*")] == [("mine", "mine")]


def bench(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out + err


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("part", ["stores/*", "stores/*/cases", "stores/*/cases/PETCT_3_study", "splits/*"])
def test_preparing_goes_no_detour(
    cases: Path, outside: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], part: str, jobs: int
) -> None:
    """Cases are prepared in processes of their own."""
    prepare = ("data", "prepare", f"autopet={cases}", "--results", tmp_path / "results", "--jobs", jobs)
    assert bench(capsys, *prepare)[0] == 0
    (place,) = (tmp_path / "results").glob(part)
    lead(place, outside)
    code, said = bench(capsys, *prepare)
    assert (code, untouched(outside)) == (2, True)
    assert f"{place} {LINK}" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("part", ["runs/*", "runs/*/log.txt", "grids/*.json", "grids/*.lock"])
def test_running_goes_no_detour(
    outside: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    part: str,
) -> None:
    fake_bench.patch(monkeypatch.setattr)
    (tmp_path / "cases").mkdir()
    grid = tmp_path / "fakes.yaml"
    grid.write_text(fake_bench.BEHAVIOURS.format(behaviours=["done"], seconds=0))
    asked = ("run", "--grid", grid, "--data", f"autopet={tmp_path / 'cases'}", "--no-mlflow", "--jobs", 1)
    asked = (*asked, "--results", tmp_path / "results")
    assert bench(capsys, *asked)[0] == 0
    place = sorted((tmp_path / "results").glob(part))[0]
    lead(place, outside if "." not in place.name else outside / "mine")
    _, said = bench(capsys, *asked)
    assert untouched(outside)
    assert "Traceback" not in said


def test_searching_goes_no_detour(
    outside: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_trials.fake_the_suite(monkeypatch.setattr)
    (tmp_path / "cases").mkdir()
    search = (
        "search",
        "--study",
        fake_trials.search_file(tmp_path),
        "--data",
        f"autopet={tmp_path / 'cases'}",
    )
    search = (*search, "--results", tmp_path / "results", "--no-mlflow", "--jobs", 1, "--trials", 2)
    (tmp_path / "results" / "searches").mkdir(parents=True)
    for name, target in (("small.journal", outside / "mine"), (".small.journal.flock", outside / "made")):
        place = tmp_path / "results" / "searches" / name
        lead(place, target)
        code, said = bench(capsys, *search)
        assert (code, untouched(outside)) == (2, True), said
        assert "Traceback" not in said
        place.unlink()


def test_phantoms_and_copies_of_results_go_no_detour(
    outside: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from written_pages import write_results

    results = write_results(tmp_path / "results")
    lead(tmp_path / "merged" / "runs" / "run3", outside)
    code, said = bench(capsys, "merge", results, "--into", tmp_path / "merged")
    assert untouched(outside), said
    assert code
    place = tmp_path / "more" / "phantoms" / "phantom-10-12x12x12mm-seed0"
    lead(place, outside)
    profile = tmp_path / "small.yaml"
    profile.write_text(
        "phantoms: {phantom: {cases: 10, spacing_mm: [12, 12, 12]}}\nconfig: {training: {steps: 1}}\n"
    )
    run = ("run", "--grid", "table2", "--profile", profile, "--results", tmp_path / "more", "--no-mlflow")
    code, said = bench(capsys, *run)
    assert (code, untouched(outside)) == (2, True), said
    assert re.search(rf"phantom-10-12x12x12mm-seed0 {LINK}", said), said


def test_functions_of_python_go_no_detour_either(outside: Path, tmp_path: Path) -> None:
    lead(tmp_path / "results" / "reports", outside)
    for call in (
        lambda: benchmark.write_report("table2", source="both", results=tmp_path / "results"),
        lambda: benchmark.run_grid("table2", results=tmp_path / "results", progress=False),
        lambda: benchmark.plan_grid("table2", results=tmp_path / "results"),
    ):
        with pytest.raises(BenchError, match=LINK):
            call()
    assert untouched(outside)


def job(tmp_path: Path, cases: Path) -> ExternalJob:
    found = autopet.discover(cases)
    settings: dict[str, Any] = {
        "tell": lambda *_, **__: None,
        "log": lambda _: None,
        "asked_to_stop": lambda: False,
    }
    return ExternalJob(
        train=found[:4], validation=found[4:], work=tmp_path / "work", shared=tmp_path / "shared", steps=1, seed=0,
        checkpoint="last", device="cpu", threads=1, checkpoint_seconds=0.0, **settings,
    )  # fmt: skip


@pytest.mark.parametrize("place", ["{prepared}", "nnunet-images/a.nii.gz"])
def test_nnunet_prepares_nothing_by_a_detour(cases: Path, outside: Path, tmp_path: Path, place: str) -> None:
    """Of a folder without its marker, as a killed process leaves it, everything is removed first."""
    asked, method = job(tmp_path, cases), NnUNet(autopet.SPEC, (96, 96, 96))
    prepared = Path(method.training_task(asked).shared).name
    lead(asked.shared / place.format(prepared=prepared), outside)
    with pytest.raises(DamagedFileError, match=LINK):
        method.training_task(asked)
    assert untouched(outside)


@pytest.mark.parametrize(
    "place", ["predictions", "results/d/t/fold_0", "predictions/a.nii.gz", "predictions/.a"]
)
def test_nnunet_works_in_no_folder_with_a_detour(
    cases: Path, outside: Path, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.nnunet.launch.COMMAND", ("false",))
    asked = job(tmp_path, cases)
    task = Prediction(str(tmp_path), "last", {}, str(asked.work / "predictions"), False, "cpu", 1)
    lead(asked.work / place, outside)
    with pytest.raises(DamagedFileError, match=LINK):
        run_process(task, asked, name="predict", settings={})
    # What a killed process left of its own is no obstacle: links to images in a hidden folder.
    (asked.work / place).unlink()
    lead(asked.work / "predictions" / ".case" / "case_0000.nii.gz", outside)
    with pytest.raises(BenchError, match="nnU-Net failed"):
        run_process(task, asked, name="predict", settings={})
    assert untouched(outside)
