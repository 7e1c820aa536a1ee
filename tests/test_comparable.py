"""Own numbers stand beside published ones only where they are of one experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from published_experiment import as_published
from written_runs import V3, V4, manifest_of, methods_manifest, write_run

from benchmark.config import flat, run_config
from benchmark.data.store import Store
from benchmark.planning.grid import load_profile, load_study
from benchmark.planning.launch import decide_auto
from benchmark.results.manifests import GridManifest, write_manifest
from benchmark.results.runs import RunFolder
from reports.everything import write_html
from reports.evidence.comparable import comparable, why_not
from reports.evidence.experiments import BANNER, Cases, Experiment, Folds, banner_of_run, experiment_of
from reports.ground.publications import MIRROR_UNET
from reports.provenance.trace import Traces
from reports.provenance.words import number_words
from reports.tables.report import write_report

AUTOPET = MIRROR_UNET[3]
WHOLE = Cases(("CT", "PET"), 1014, 900, 501)
RECIPE = {"dataset": "autopet", "training.patch_size": [96, 96, 96], "training.epochs": 400}
THE_PAPER_S = Experiment("AutoPET", False, Folds(1014, (203,)), WHOLE, {"a": RECIPE})


def with_settings(**settings: Any) -> Experiment:
    return replace(
        THE_PAPER_S, settings={"a": {**RECIPE, **{k.replace("__", "."): v for k, v in settings.items()}}}
    )


DEPARTURES = {
    "fewer cases": (
        replace(THE_PAPER_S, cases=Cases(("CT", "PET"), 51, 51, 51)),
        "data set AutoPET has 51 cases, AutoPET 1,014",
    ),
    "the same number of other patients": (
        replace(THE_PAPER_S, cases=Cases(("CT", "PET"), 1014, 1014, 501)),
        "1,014 patients, AutoPET 900",
    ),
    "other lesions": (
        replace(THE_PAPER_S, cases=Cases(("CT", "PET"), 1014, 900, 1014)),
        "1,014 cases with lesions, AutoPET 501",
    ),
    "other modalities": (
        replace(THE_PAPER_S, cases=Cases(("T1w", "T2w"), 1014, 900, 501)),
        "the modalities T1w and T2w, AutoPET CT and PET",
    ),
    "cases that nobody knows": (
        replace(THE_PAPER_S, cases=None, folds=None),
        "do not say which cases data set AutoPET has",
    ),
    "three folds": (
        replace(THE_PAPER_S, folds=Folds(1014, (338,))),
        "folds test 338 of 1,014 cases, the publication 203",
    ),
    "a short training": (with_settings(training__steps=30), "30 steps (400 epochs)"),
    "fewer epochs": (with_settings(training__epochs=40), "40 epochs (400 epochs)"),
    "small patches": (
        with_settings(training__patch_size=[64, 64, 64]),
        "patches of 64 × 64 × 64 (patches of 96 × 96 × 96)",
    ),
    "another optimiser": (with_settings(training__optimiser="sgd"), "optimiser sgd (optimiser adam)"),
    "a quarter of the width": (
        with_settings(method_args__channels=[4, 8, 16, 32, 64]),
        "networks of 4, 8, 16, 32, 64 channels (networks of 16, 32, 64, 128, 256 channels)",
    ),
    "a smaller plan": (with_settings(method_args__features=[4, 8]), "features 4 × 8 (the method's own)"),
    "large voxels": (
        with_settings(spacing_mm=[6.0, 6.0, 6.0]),
        "voxels of 6 × 6 × 6 mm (voxels of 2 × 2 × 3 mm)",
    ),
    "a run that nobody knows": (
        replace(THE_PAPER_S, settings={"a": RECIPE, "b": {}}),
        "how all runs were trained",
    ),
    "phantoms": (replace(THE_PAPER_S, phantoms=True), "own numbers are of phantoms, not of AutoPET"),
}


def test_the_published_experiment_is_comparable_with_itself() -> None:
    assert comparable(THE_PAPER_S, AUTOPET) == ()
    assert comparable(with_settings(training__steps=81_200), AUTOPET) == ()
    assert comparable(replace(THE_PAPER_S, cases=None), AUTOPET) == (), (
        "the folds say how many cases there are"
    )


@pytest.mark.parametrize(("made", "said"), DEPARTURES.values(), ids=DEPARTURES)
def test_every_departure_is_a_reason(made: Experiment, said: str) -> None:
    (reason,) = comparable(made, AUTOPET)
    assert said in reason


def test_table_5_is_of_cases_that_nobody_else_has() -> None:
    brain = Experiment("Task01", False, Folds(484, (97,)), None, {"a": {"dataset": "msd"}})
    assert comparable(brain, MIRROR_UNET[5])[0].startswith("the published numbers are of 266 test cases")


@pytest.mark.parametrize("grid", ["table2", "table3", "table4"])
@pytest.mark.parametrize("name", ["paper", "small", "demo"])
def test_of_the_suite_s_profiles_the_paper_s_alone_is_the_recipe(grid: str, name: str) -> None:
    profile = load_profile(name)
    settings = {}
    for number, cell in enumerate(load_study(grid).cells()):
        found = decide_auto(cell.settings(profile, "autopet") | {"fold": 0, "seed": 0}, True)
        settings[str(number)] = flat(run_config(found, source="test").model_dump(mode="json"))
    reasons = comparable(replace(THE_PAPER_S, settings=settings), AUTOPET)
    assert (reasons == ()) == (name == "paper"), reasons
    for size in profile.method_args.values():
        known = {*AUTOPET.experiment.left_alone, "channels"}  # type: ignore[union-attr]
        assert set(size) <= known, "an argument that a profile changes must be one that is looked at"


@pytest.fixture
def toy(tmp_path: Path) -> tuple[Path, GridManifest]:
    """Thirty steps on 51 cases that the reader of AutoPET read."""
    results = tmp_path / "results"
    write_run(results, "a", [0.6602], fpv_ml=[1.0])
    write_run(results, "b", [0.5], fpv_ml=[2.0])
    manifest = replace(
        manifest_of((V3, 0, 0, "a"), (V4, 0, 0, "b")), dataset="STS", reader="autopet", profile="paper"
    )
    as_published(results, manifest, cases=51, settings={"training": {"steps": 30}})
    return results, write_manifest(results, manifest)


def test_a_toy_run_is_not_set_beside_the_paper(tmp_path: Path, toy: tuple[Path, GridManifest]) -> None:
    report = write_report(toy[0], source="both", out=tmp_path / "out")
    assert report.lines[1].startswith("Own numbers and those published of AutoPET are not comparable")
    assert "data set STS has 51 cases, AutoPET 1,014; trained otherwise" in report.lines[1]
    text = (tmp_path / "out" / "table2.md").read_text(encoding="utf-8")
    assert "66.02" in text
    assert "65.91" not in text
    assert "+0.11" not in text
    assert "data set autopet" not in text
    assert text.split("\n* ")[1].startswith("Own numbers and those published of AutoPET are not comparable")
    published = (tmp_path / "out" / "table2_published.md").read_text(encoding="utf-8")
    assert "<u>**65.91**</u>" in published
    assert published.startswith("### Table 2 (published).")
    assert "Published best" not in " ".join(report.summary)
    names = {path.name for path in report.files}
    assert {"figure5.png", "figure5_published.png"} <= names


@pytest.mark.slow
def test_the_page_and_a_trace_compare_nothing_either(tmp_path: Path, toy: tuple[Path, GridManifest]) -> None:
    results, manifest = toy
    written = write_html(results, tmp_path / "html", source="both", thumbnail=None)
    page = written.files[0].read_text(encoding="utf-8")
    assert page.count('<p class="apart">Own numbers and those published of AutoPET are not comparable') == 2
    assert '"published":{}' in page
    found = Traces(results, manifest).of("table2:v3/shuffle/5")
    assert "not comparable with the own number: data set STS has 51 cases" in " ".join(
        text for _, text in number_words(found)
    )


def test_the_reproduction_is_set_beside_the_paper(tmp_path: Path, toy: tuple[Path, GridManifest]) -> None:
    results, manifest = toy
    as_published(results, manifest)
    assert why_not(results, manifest, AUTOPET) == ()
    report = write_report(results, source="both", out=tmp_path / "out")
    text = (tmp_path / "out" / "table2.md").read_text(encoding="utf-8")
    assert "66.02 / <u>**65.91**</u> (+0.11)" in text
    assert report.apart == ""


@pytest.mark.slow
def test_phantoms_carry_a_banner_on_tables_figures_and_page(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write_run(results, "a", [0.5, 0.6])
    write_run(results, "b", [0.4, 0.7])
    cells = [("PET", 0, 0, "a"), ("EF", 0, 0, "b")]
    write_manifest(results, replace(methods_manifest("table3", *cells), dataset="mine", reader="phantom"))
    both = write_report(results, grid="table3", source="both", out=tmp_path / "both")
    assert BANNER in (tmp_path / "both" / "table3.md").read_text(encoding="utf-8")
    assert BANNER not in (tmp_path / "both" / "table3_published.md").read_text(encoding="utf-8")
    assert "Own best: Dice [%], FPV" not in " ".join(both.summary)
    report = write_report(results, grid="table3", source="runs", out=tmp_path / "out")
    assert report.lines[1] == BANNER
    for path in (tmp_path / "out").iterdir():
        if path.suffix in (".md", ".html", ".tex"):
            assert BANNER in path.read_text(encoding="utf-8"), path.name
    plain = write_report(results_of_patients(tmp_path), grid="table3", source="runs", out=tmp_path / "plain")
    assert plain.banner == ""
    for path in plain.files:
        if path.suffix == ".png":
            assert png_height(tmp_path / "out" / path.name) == png_height(path) + 44, "a strip of 0.22 inches"
    page = write_html(results, tmp_path / "html", source="runs", thumbnail=None).files[0]
    assert f'<p class="banner">{BANNER}</p>' in page.read_text(encoding="utf-8")


def test_a_run_on_phantoms_that_a_reader_of_patients_read_is_known_by_its_launch() -> None:
    launch = methods_manifest("table3", ("PET", 0, 0, "a"))
    phantoms, patients = replace(launch, dataset="phantom"), replace(launch, dataset="mine", reader="autopet")
    assert banner_of_run("a", [patients, phantoms], reader="autopet") == BANNER
    assert banner_of_run("b", [phantoms], reader="autopet") == ""
    assert banner_of_run("a", [patients], reader="autopet") == ""
    assert banner_of_run("b", [], reader="brain_phantom") == BANNER


def results_of_patients(tmp_path: Path) -> Path:
    results = tmp_path / "patients"
    write_run(results, "a", [0.5, 0.6])
    write_run(results, "b", [0.4, 0.7])
    write_manifest(
        results, replace(methods_manifest("table3", ("PET", 0, 0, "a"), ("EF", 0, 0, "b")), dataset="mine")
    )
    return results


def png_height(path: Path) -> int:
    return int.from_bytes(path.read_bytes()[20:24], "big")


def test_an_older_launch_on_phantoms_is_known_by_its_configuration(tmp_path: Path) -> None:
    write_run(tmp_path, "a", [0.5])
    RunFolder(tmp_path, "a").write_config({"dataset": "brain_phantom"})
    manifest = replace(methods_manifest("table5", ("SegResNet", 0, 0, "a")), dataset="anything")
    assert experiment_of(tmp_path, manifest).phantoms


def test_a_store_outside_of_the_results_is_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Mapping[str, Any] | Path] = []
    monkeypatch.setattr(Store, "__init__", lambda self, root: opened.append(root))
    write_run(tmp_path / "results", "a", [0.5])
    manifest = methods_manifest("table3", ("PET", 0, 0, "a"))
    as_published(tmp_path / "results", manifest)
    folder = RunFolder(tmp_path / "results", "a")
    folder.write_data(replace(folder.data(), scored_on=tmp_path / "elsewhere"))
    assert experiment_of(tmp_path / "results", manifest).cases is None
    assert opened == []
