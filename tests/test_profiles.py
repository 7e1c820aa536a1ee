"""The profiles `paper` and `authors`: what each sets is what the paper's text, and its authors' code, say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from benchmark.cli import main
from benchmark.config import RunConfig, TrainingConfig, flat, run_config
from benchmark.data.readers.autopet import SPEC
from benchmark.planning.grid import PROFILES, STUDIES, Rule, load_profile, load_study
from benchmark.planning.launch import plan
from benchmark.results.runs import RunFolder
from benchmark.vocabulary import BenchError

DOCS = STUDIES.parent / "docs" / "differences.md"
TABLES = ("table2", "table3", "table4")

PAPER = {
    "training.patch_size": [96, 96, 96],
    "training.batch_size": 4,
    "training.epochs": 400,
    "training.optimiser": "adam",
    "training.learning_rate": 1e-3,
    "training.weight_decay": 1e-6,
    "training.lesion_fraction": pytest.approx(2 / 3),
    "training.schedule": "constant",
}
CODE = PAPER | {
    "spacing_mm": [2.036, 2.036, 3.0],
    "training.weight_decay": 1e-5,
    "training.schedule": "step",
    "training.crops_per_case": 4,
    "training.shuffle": False,
    "training.tumour_free": "dropped",
    "training.clip": "inference",
    "training.other_patches": "background",
    "training.checkpoint": "best",
    "training.validate_every": 200,
    "training.best_on": "test",
    "training.precision": "float32",
}
V123 = {"inference.overlap": 0.25, "method_args.rec_norm": "joint_mse", "loss_weights.seg": 0.5}
CELLS: dict[str, dict[str, Any]] = {
    "v1/none": V123 | {"loss_weights.rec_ct": 1e-3},
    "v2/noise": V123
    | {"loss_weights.rec_ct": 1e-3, "loss_weights.rec_pet": 1e-3, "method_args.noise_level": "drawn"},
    "v3/shuffle": V123
    | {
        "loss_weights.rec_pet": 1e-3,
        "loss_weights.class": 0.5,
        "method_args.class_input": "second",
        "method_args.n_cubes": 1,
        "method_args.cube_places": "common",
    },
    "v4/0.2": {"inference.overlap": 0.3, "loss_weights.seg": 1},
    "v4/learnable": {"inference.overlap": 0.3, "method_args.theta_bounds": "clamp"},
}


def bench(*arguments: str) -> int:
    """Run the command; its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def planned(profile: str, grid: str = "table2") -> dict[str, dict[str, Any]]:
    """The settings of a grid's runs by the first two coordinates of their cells, for AutoPET."""
    runs = plan(load_study(grid), load_profile(profile), datasets=["autopet"], folds=[0], seeds=[0])
    return {
        "/".join(list(run.factors.values())[:2]): flat(run.config.model_dump(mode="json")) for run in runs
    }


@pytest.mark.parametrize(("profile", "recipe"), [("paper", PAPER), ("authors", CODE)])
def test_every_run_of_a_profile_has_its_recipe(profile: str, recipe: dict[str, Any]) -> None:
    for settings in planned(profile).values():
        assert {name: settings.get(name) for name in recipe} == recipe


def test_the_profile_of_the_paper_sets_what_a_run_does_by_itself() -> None:
    """So that runs of before its settings were spelled out keep their names."""
    for settings in planned("paper").values():
        said = {name: value for name, value in settings.items() if name.startswith("training.")}
        usual = flat({"training": TrainingConfig(validations=20).model_dump(mode="json")})
        assert said == usual


@pytest.mark.parametrize("cell", CELLS)
def test_a_version_is_set_as_in_the_code(cell: str) -> None:
    settings = planned("authors")[cell]
    assert {name: settings.get(name) for name in CELLS[cell]} == CELLS[cell]


def test_what_a_version_has_no_use_for_is_left_alone() -> None:
    named = {"rec_norm", "class_input", "n_cubes", "cube_places", "noise_level", "theta_bounds"}
    cells = planned("authors")
    given = {cell: {name for name in named if f"method_args.{name}" in cells[cell]} for cell in CELLS}
    assert given == {
        "v1/none": {"rec_norm"},
        "v2/noise": {"rec_norm", "noise_level"},
        "v3/shuffle": {"rec_norm", "class_input", "n_cubes", "cube_places"},
        "v4/0.2": set(),
        "v4/learnable": {"theta_bounds"},
    }
    assert "loss_weights.class" not in cells["v1/none"]


def test_a_rule_changes_what_a_factor_says_for_its_runs_alone() -> None:
    rule = Rule(
        runs={"method": "a", "method_args": {"version": "v1"}}, set={"loss_weights": {"rec": 2.0, "no": 1.0}}
    )
    own = {
        "method": "a",
        "method_args": {"version": "v1", "width": 4},
        "loss_weights": {"rec": 1.0, "seg": 1.0},
    }
    assert rule.applied(own) == own | {"loss_weights": {"rec": 2.0, "seg": 1.0}}
    for other in ({**own, "method": "b"}, {**own, "method_args": {"version": "v2"}}, {"method": "a"}):
        assert rule.applied(other) == other


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("{runs: {methods: a}, set: {threads: 2}}", r"rules\[0\].runs: there is no setting 'methods'"),
        ("{runs: {method: a}, set: {thread: 2}}", r"rules\[0\].set: there is no setting 'thread'"),
        ("{runs: {method: a}, set: {seed: 2}}", r"rules\[0\].set: seed does not belong here"),
        ("{runs: {method: a}, set: {method: b}}", r"rules\[0\].set: method does not belong here"),
        ("{runs: {}, set: {threads: 2}}", r"rules"),
    ],
)
def test_a_rule_that_cannot_work_is_refused(tmp_path: Path, rule: str, message: str) -> None:
    (tmp_path / "odd.yaml").write_text(f"rules: [{rule}]\n")
    with pytest.raises(BenchError, match=message):
        load_profile(str(tmp_path / "odd.yaml"))


@pytest.mark.parametrize("grid", TABLES)
def test_the_authors_profile_can_be_planned_for_every_table(
    grid: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With every method built, as `bench run` does before anything is prepared."""
    arguments = ["run", "--grid", grid, "--profile", "authors", "--dry-run", "--json"]
    assert bench(*arguments, "--results", str(tmp_path)) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["state"] for row in rows} == {"pending"}
    assert len(rows) == {"table2": 105, "table3": 11, "table4": 14}[grid]


def test_each_version_trains_and_is_scored_with_the_authors_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A few steps of a narrow network on small phantoms; all else is the profile's."""
    content = yaml.safe_load((PROFILES / "authors.yaml").read_text())
    content["config"]["training"] |= {"patch_size": [32, 32, 32], "epochs": 1, "validate_every": 2}
    content["datasets"] = {}
    content["config"]["spacing_mm"] = [8, 8, 8]
    content["method_args"] = {"mirror_unet": {"channels": [2, 2, 4, 4, 4]}}
    content["phantoms"] = {"phantom": {"cases": 15, "seed": 3, "spacing_mm": [8, 8, 8]}}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(content))
    results = tmp_path / "results"
    arguments = ["run", "--grid", "table2", "--profile", str(tmp_path / "tiny.yaml"), "--no-mlflow", "--json"]
    only = [
        "version=v1,self_supervision=none,shared_layers=5",
        "version=v2,self_supervision=noise,shared_layers=5",
        "version=v3,self_supervision=shuffle,shared_layers=5",
        "version=v4,fusion_weight=learnable,shared_layers=5",
    ]
    for condition in only:
        arguments += ["--only", condition]
    assert bench(*arguments, "--results", str(results)) == 0, capsys.readouterr().err
    runs = [RunFolder(results, path.name) for path in (results / "runs").iterdir() if path.is_dir()]
    assert [run.record().state for run in runs] == ["done"] * 4
    assert {run.config()["training"]["clip"] for run in runs} == {"inference"}
    ill = sum(
        json.loads(path.read_text())["lesion_ml"] > 0
        for path in next(iter((results / "stores").iterdir())).glob("cases/*/case.json")
    )
    # An epoch has a step for every training case that has a lesion: fewer than there are with lesions in all.
    assert all(0 < (run.record().steps or 0) < ill for run in runs)
    images = [np.load(path) for path in (results / "stores").glob("*/cases/*/image.npy")]
    lowest = [float(image.min()) for image in images]
    # Air of -1000 HU, unclipped and clipped.
    assert min(lowest) == pytest.approx(-900 / 350, abs=0.1)
    assert max(lowest) == 0


def test_settings_that_came_later_are_not_said_at_their_defaults() -> None:
    """The identity of a run without any of them is what it was before there were any."""
    usual = run_config(
        {"dataset": "autopet", "method": "early_fusion", "loss_weights": {"seg": 1}}, source="test"
    )
    said = usual.model_dump(mode="json")
    assert not {*TrainingConfig.unsaid} & {*said["training"]}
    assert "threads" not in said
    changed = RunConfig.model_validate(
        said | {"threads": 2, "training": {"clip": "inference", "shuffle": False}}
    )
    again = changed.model_dump(mode="json")
    assert (again["threads"], again["training"]["clip"], again["training"]["shuffle"]) == (
        2,
        "inference",
        False,
    )
    assert RunConfig.model_validate(again) == changed


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"batch_size": 4, "crops_per_case": 3}, "multiple of crops_per_case"),
        ({"clip": "never"}, "training.clip"),
        ({"other_patches": "lesion"}, "training.other_patches"),
        ({"validate_every": 0}, "training.validate_every"),
    ],
)
def test_settings_of_training_that_cannot_be_are_refused(training: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        run_config({"dataset": "d", "method": "m", "loss_weights": {}, "training": training}, source="test")


def test_only_windows_are_left_unclipped() -> None:
    usual = SPEC.preparation
    unclipped = usual.unclipped()
    assert {type(rule).__name__ for rule in usual.intensities.values()} == {"Window"}
    assert {type(rule).__name__ for rule in unclipped.intensities.values()} == {"Unclipped"}
    assert (unclipped.spacing_mm, unclipped.crop_modality) == (usual.spacing_mm, usual.crop_modality)


def rows_of_page() -> list[list[str]]:
    """The cells of the page's tables, without their heads."""
    lines = [line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [row for row in rows if row[0] not in ("point", "---")]


def test_the_page_of_differences_names_every_setting_of_the_authors_profile_and_no_other() -> None:
    """A setting of the profile that departs from the paper's, and a name under "set by", are one list."""
    rows = rows_of_page()
    assert all(len(row) == 6 and all(row[:5]) for row in rows)
    named = {name.rpartition(".")[2] for row in rows for name in re.findall(r"`([a-z_.]+)`", row[4])}
    ours, theirs = planned("paper"), planned("authors")
    changed = {
        name.rpartition(".")[2]
        for cell in theirs
        for name, value in theirs[cell].items()
        if ours[cell].get(name) != value
    }
    brain = {"branches", "batch_size", "patch_size", "seg_tumor_core", "seg_edema", "seg_whole_tumor"}
    brain |= {"augmentation", "dice_twice"}
    assert changed <= named | {"channels_last"}
    chosen = {
        "class_label",
        "theta",
        "shown_at_inference",
        "zero_ct",
        "turns",
        "noise_std",
        "seg",
        "epochs",
        "score_grid",
    }
    values = {
        "none",
        "flip_scale_shift",
        "strict",
        "coin",
        "validation",
        "test",
        "both",
        "second",
        "volume",
        "patch",
        "sigmoid",
        "clamp",
        "own",
        "common",
        "fixed",
        "drawn",
        "constant",
        "step",
    }
    values |= {
        "kept",
        "dropped",
        "always",
        "inference",
        "anywhere",
        "background",
        "mse",
        "joint_mse",
        "mirror_unet",
        "l",
    }
    assert named - changed <= brain | chosen | values | {"lesion_fraction", "precision", "overlap"}
