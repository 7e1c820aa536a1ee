from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.planning.grid import Profile, Study, load_profile, load_study
from benchmark.planning.launch import PlannedRun, counts, launch, manifest, plan
from benchmark.results.manifests import CellRun, read_manifest, write_manifest
from benchmark.results.runs import RunFolder, RunRecord
from benchmark.vocabulary import BenchError


def small_study(tmp_path: Path, *, values: str = "[1, 2]", path: str = "method_args.size") -> Study:
    file = tmp_path / "small.yaml"
    file.write_text(
        "name: small\ndataset: autopet\n"
        "blocks: [{set: {method: m, loss_weights: {seg: 1}}, "
        f"over: {{size: {{path: {path}, values: {values}}}}}}}]"
    )
    return load_study(str(file))


def planned(study: Study, **changes: object) -> list[PlannedRun]:
    settings: dict = {"datasets": ["autopet"], "folds": [0], "seeds": [0], **changes}
    return plan(study, Profile(name="p"), **settings)


def test_folds_and_seeds_multiply_the_cells_and_a_fold_is_complete_before_the_next(tmp_path: Path) -> None:
    runs = planned(small_study(tmp_path), folds=[0, 3], seeds=[1, 2])
    assert [(run.config.fold, run.config.seed, run.factors["size"]) for run in runs] == [
        (fold, seed, size) for fold in (0, 3) for seed in (1, 2) for size in ("1", "2")
    ]


def test_a_study_runs_on_the_only_data_set_given(tmp_path: Path) -> None:
    assert {run.config.dataset for run in planned(small_study(tmp_path), datasets=["phantom"])} == {"phantom"}


def test_data_that_is_missing_or_that_nobody_uses_is_refused(tmp_path: Path) -> None:
    study = small_study(tmp_path, path="dataset", values="[autopet, brain]")
    with pytest.raises(BenchError, match="needs brain: say where, --data brain=DIR"):
        planned(study)
    assert {run.config.dataset for run in planned(study, datasets=["autopet", "brain"])} == {
        "autopet",
        "brain",
    }
    with pytest.raises(BenchError, match=r"--data sts: no run of small\.yaml uses it"):
        planned(study, datasets=["autopet", "brain", "sts"])


def test_a_factor_that_changes_nothing_is_refused(tmp_path: Path) -> None:
    study = small_study(tmp_path, values="{one: 1, single: 1}")
    with pytest.raises(BenchError, match="size=one and size=single are one training"):
        planned(study)


def test_an_invalid_value_is_refused_with_the_file_and_the_cell(tmp_path: Path) -> None:
    study = small_study(tmp_path, path="training.steps", values="[5, -1]")
    with pytest.raises(BenchError, match=r"small\.yaml with profile p, cell size=-1: training.steps"):
        planned(study)


def test_auto_is_decided_before_the_run_is_named() -> None:
    study, profile = load_study("table2"), load_profile("paper")
    fast = plan(study, profile, datasets=["autopet"], folds=[0], seeds=[0], bfloat16=True)[0].config.training
    plain = plan(study, profile, datasets=["autopet"], folds=[0], seeds=[0], bfloat16=False)[
        0
    ].config.training
    assert (fast.precision, fast.channels_last) == ("bfloat16", True)
    assert (plain.precision, plain.channels_last) == ("float32", False)


def the_manifest(study: Study, runs: Sequence[PlannedRun], *, fingerprint: str = "f", profile: str = "p"):
    (dataset,) = {run.config.dataset for run in runs}
    seen = [(run, fingerprint) for run in runs]
    return manifest(study, Profile(name=profile), dataset, seen, data_root=Path("d"))


def test_the_manifest_lists_all_cells_whatever_only_chooses(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    runs = planned(study, only=["size=2"])
    assert [run.chosen for run in runs] == [False, True]
    everything = the_manifest(study, planned(study))
    assert the_manifest(study, runs).cells == everything.cells
    assert the_manifest(study, runs).key == everything.key
    assert [cell.factors for cell in everything.cells] == [{"size": "1"}, {"size": "2"}]


def test_later_folds_and_seeds_extend_the_manifest_and_anything_else_begins_a_new_one(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    first = the_manifest(study, planned(study))
    assert the_manifest(study, planned(study, folds=[1], seeds=[0, 1])).name == first.name
    others = [
        the_manifest(study, planned(study), fingerprint="g"),
        the_manifest(study, planned(study), profile="q"),
        the_manifest(study, planned(study, overrides={"inference": {"score_grid": "native"}})),
        the_manifest(study, planned(study, datasets=["phantom"])),
    ]
    assert len({first.name, *(other.name for other in others)}) == 5

    write_manifest(tmp_path, first)
    write_manifest(tmp_path, the_manifest(study, planned(study, folds=[1])))
    stored = read_manifest(tmp_path / "grids" / f"{first.name}.json")
    assert sorted((cell.fold, cell.factors["size"]) for cell in stored.cells) == [
        (0, "1"), (0, "2"), (1, "1"), (1, "2")
    ]  # fmt: skip


def test_a_manifest_of_several_preparations_names_each_run_by_its_own(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    one, two = planned(study)
    mixed = manifest(study, Profile(name="p"), "autopet", [(one, "f"), (two, "g")], data_root=Path("d"))
    alone = [the_manifest(study, [run], fingerprint=f) for run, f in ((one, "f"), (two, "g"))]
    assert [cell.run_id for cell in mixed.cells] == [m.cells[0].run_id for m in alone]
    assert [cell.data_fingerprint for cell in mixed.cells] == ["f", "g"]
    assert mixed.data_fingerprint not in ("f", "g")


def readings_study(tmp_path: Path) -> Study:
    file = tmp_path / "read.yaml"
    file.write_text(
        "name: read\ndataset: autopet\n"
        "blocks: [{set: {method: m, loss_weights: {seg: 1}}, over: {method: {path: reading, values: [a, b]}}}]"
    )
    return load_study(str(file))


def test_cells_that_differ_in_their_reading_alone_share_one_run(tmp_path: Path) -> None:
    cells = the_manifest(readings_study(tmp_path), planned(readings_study(tmp_path))).cells
    assert [cell.reading for cell in cells] == ["a", "b"]
    assert len({cell.run_id for cell in cells}) == 1
    executed: list[CellRun] = []
    assert len(launch(tmp_path, cells, retry_failed=False, execute=executed.extend)) == 1
    assert [cell.factors for cell in executed] == [{"method": "a"}]


def test_a_method_from_outside_is_another_run_when_its_source_changes(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    runs = [planned(study, digest=lambda method, d=d: d)[0] for d in ("old", "new", None)]
    assert len({run.cell("f").run_id for run in runs}) == 3


def cells_in_every_state(results: Path) -> list[CellRun]:
    records = [
        RunRecord("pending"),
        RunRecord("done", "done"),
        RunRecord("code", "failed", "code"),
        RunRecord("stopped", "failed", "interrupted"),
        RunRecord("lacking", "failed", "unsupported"),  # A package may be there by now.
        RunRecord("killed", "running"),  # Says it runs, but nobody holds it.
    ]
    for record in records[1:]:
        RunFolder(results, record.run_id).write_record(record)
    return [CellRun({}, 0, 0, record.run_id) for record in records]


@pytest.mark.parametrize(
    ("retry_failed", "due"),
    [
        (False, ["pending", "stopped", "lacking", "killed"]),
        (True, ["pending", "code", "stopped", "lacking", "killed"]),
    ],
)
def test_a_launch_does_exactly_what_is_missing(tmp_path: Path, retry_failed: bool, due: list[str]) -> None:
    cells, executed = cells_in_every_state(tmp_path), []

    def execute(asked: Sequence[CellRun]) -> None:
        executed.extend(cell.run_id for cell in asked)
        RunFolder(tmp_path, "pending").write_record(RunRecord("pending", "done"))

    standings = launch(tmp_path, cells, retry_failed=retry_failed, execute=execute)
    assert executed == due
    assert counts(standings) == {
        "done": 2,
        "running": 0,
        "failed": 1,
        "interrupted": 2,
        "unsupported": 1,
        "pending": 0,
    }


def test_nothing_is_executed_when_nothing_is_missing(tmp_path: Path) -> None:
    def execute(_: Sequence[CellRun]) -> None:
        raise AssertionError

    cells = [replace(cells_in_every_state(tmp_path)[1])]
    assert launch(tmp_path, cells, retry_failed=True, execute=execute)[0].state == "done"
