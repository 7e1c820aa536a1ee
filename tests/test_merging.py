"""Results of several machines in one folder."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from written_runs import NAN, write_run

from benchmark.cli import main
from benchmark.files import tables
from benchmark.files.writing import write_json, write_text
from benchmark.merging import carry_out, planned, writing
from benchmark.results.evidence import scores_facts
from benchmark.results.manifests import CellRun, GridManifest, manifests, write_manifest
from benchmark.results.runs import DataPlaces, Heartbeat, RunFolder, RunRecord
from benchmark.vocabulary import BenchError

CPU = {"git_commit": "a" * 40, "cpu": "Xeon", "versions": {"torch": "2.6"}}
GPU = {"git_commit": "b" * 40, "gpu": "H100", "versions": {"torch": "2.7"}}


def run(
    results: Path, run_id: str, dice: Sequence[float] = (0.5, 0.7), *, steps: int = 9, **record: Any
) -> None:
    """A finished run with a configuration."""
    write_run(results, run_id, dice, **record)
    config = {"method": "m", "fold": 0, "seed": 0, "training": {"steps": steps}}
    RunFolder(results, run_id).write_config(config)


def launch(results: Path, runs: Mapping[str, str], *, key: str = "k", created: float = 1.0) -> GridManifest:
    """A launch of a grid of methods: a run for each method."""
    cells = tuple(CellRun({"method": method}, 0, 0, run_id) for method, run_id in runs.items())
    manifest = GridManifest("methods", key, "demo", "phantom", "", "f1", created, cells)
    return write_manifest(results, manifest)


def methods(results: Path, name: str = "methods-k") -> dict[str, str]:
    """The current run of each method."""
    (found,) = [manifest for manifest in manifests(results) if manifest.name == name]
    return {cell.factors["method"]: cell.run_id for cell in found.cells}


def merge(*sources: Path, into: Path, prefer: Path | None = None) -> bool:
    """Whether nothing was left to decide."""
    plan = planned(sources, into, prefer=prefer)
    carry_out(plan)
    return plan.is_complete


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def a(tmp_path: Path) -> Path:
    return tmp_path / "a"


@pytest.fixture
def b(tmp_path: Path) -> Path:
    return tmp_path / "b"


@pytest.fixture
def c(tmp_path: Path) -> Path:
    return tmp_path / "c"


def test_runs_of_both_stand_in_one_launch_and_the_sources_are_untouched(a: Path, b: Path, c: Path) -> None:
    run(a, "r1")
    run(b, "r2")
    write_text(b / "splits" / "phantom-1" / "splits.json", "{}")
    launch(a, {"one": "r1", "two": "r2"})
    launch(b, {"one": "r1", "two": "r2"})
    before = tree(a), tree(b)
    assert merge(a, b, into=c)
    assert methods(c) == {"one": "r1", "two": "r2"}
    assert all(RunFolder(c, run_id).record().state == "done" for run_id in ("r1", "r2"))
    assert (c / "splits" / "phantom-1" / "splits.json").read_text() == "{}"
    assert (tree(a), tree(b)) == before


def test_joining_again_changes_nothing(a: Path, b: Path, c: Path) -> None:
    run(a, "r1")
    run(b, "r2")
    launch(a, {"one": "r1"})
    launch(b, {"two": "r2"})
    assert merge(a, b, into=c)
    before = tree(c)
    stamps = {path: path.stat().st_mtime_ns for path in (c / "runs").rglob("*") if path.is_file()}
    assert merge(a, b, into=c)
    assert tree(c) == before
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())


def test_a_run_with_the_same_scores_is_taken_once_in_whatever_order_they_stand(
    a: Path, b: Path, c: Path
) -> None:
    run(a, "r", [0.5, NAN], facts=CPU)
    run(b, "r", [0.5, NAN], facts=GPU)
    scores = RunFolder(b, "r").scores()
    RunFolder(b, "r").write_scores(scores.iloc[::-1].reset_index(drop=True))
    assert RunFolder(a, "r").scores_file.read_bytes() != RunFolder(b, "r").scores_file.read_bytes()
    plan = planned([a, b], c)
    assert [copy.source.path for copy in plan.copies] == [a]
    assert [len(copies) for copies in plan.more.values()] == [1]
    assert plan.is_complete


def test_finished_runs_with_other_scores_are_not_taken_and_their_difference_is_told(
    a: Path, b: Path, c: Path
) -> None:
    run(a, "r", [0.5, 0.7, NAN], facts=CPU, data_fingerprint="f1")
    run(b, "r", [0.5, 0.6, 0.1], facts=GPU, data_fingerprint="f1")
    plan = planned([a, b], c)
    (conflict,) = plan.conflicts
    (scores,) = conflict.scores
    assert (scores.n, scores.total, scores.largest) == (2, 3, {"dice": float("inf")})
    found = {each.key: each.values for each in conflict.differences}
    assert found["git_commit"] == ("a" * 40, "b" * 40)
    assert found["versions.torch"] == ("2.6", "2.7")
    assert found["gpu"] == ("not there", "H100")
    assert "data.fingerprint" not in found
    carry_out(plan)
    assert not RunFolder(c, "r").path.exists()
    assert not plan.is_complete


def test_how_far_scores_are_apart_is_the_largest_difference_of_a_metric(a: Path, b: Path, c: Path) -> None:
    run(a, "r", [0.5, 0.7], fpv_ml=[1.0, 2.0])
    run(b, "r", [0.5, 0.625], fpv_ml=[1.0, 2.0])
    (scores,) = planned([a, b], c).conflicts[0].scores
    assert (scores.n, scores.total) == (1, 4)
    assert scores.largest == {"dice": pytest.approx(0.075)}


def test_what_the_target_has_stays_whatever_others_have_or_is_preferred(a: Path, c: Path) -> None:
    run(a, "r", [0.1])
    run(c, "r", [0.9])
    before = tree(c)
    for prefer in (None, a):
        assert not merge(a, into=c, prefer=prefer)
        assert {name: text for name, text in tree(c).items() if not name.startswith(".")} == before


def test_of_other_scores_those_of_the_preferred_folder_are_taken_where_the_target_has_none(
    a: Path, b: Path, c: Path
) -> None:
    run(a, "r", [0.1])
    run(b, "r", [0.9])
    assert merge(a, b, into=c, prefer=b)
    assert RunFolder(c, "r").scores()["value"].tolist() == [0.9]


def test_a_finished_run_wins_over_unfinished_ones_also_in_the_target(a: Path, b: Path, c: Path) -> None:
    RunFolder(a, "r").write_record(RunRecord("r", "failed", "memory"))
    run(b, "r")
    RunFolder(c, "r").write_record(RunRecord("r", "running"))
    write_text(RunFolder(c, "r").checkpoint_file, "half")
    assert merge(a, b, into=c)
    assert RunFolder(c, "r").record().state == "done"
    assert not RunFolder(c, "r").checkpoint_file.exists()
    assert not (c / writing.STAGE).exists()


def test_an_unfinished_run_of_the_target_does_not_give_way_to_another_unfinished_one(
    a: Path, c: Path
) -> None:
    RunFolder(a, "r").write_record(RunRecord("r", "trained"))
    RunFolder(c, "r").write_record(RunRecord("r", "failed", "memory"))
    assert merge(a, into=c)
    assert RunFolder(c, "r").record().state == "failed"


@pytest.mark.parametrize("how", ["lock", "heartbeat"])
def test_a_run_that_somebody_works_on_is_left_out_and_named(a: Path, c: Path, how: str) -> None:
    folder = RunFolder(a, "r")
    folder.write_record(RunRecord("r", "running"))
    with (folder.path / ".lock").open("w") as lock:
        if how == "lock":
            fcntl.flock(lock, fcntl.LOCK_EX)
        else:
            folder.write_heartbeat(Heartbeat("train", 1, 2, host="elsewhere", time=time.time()))
        assert planned([a], c).running == (("r", str(a)),)
        assert not merge(a, into=c)
    assert not RunFolder(c, "r").path.exists()
    folder.heartbeat_file.unlink(missing_ok=True)
    assert merge(a, into=c)
    assert RunFolder(c, "r").record().state == "running"


def test_launches_of_one_table_with_other_settings_stay_apart_and_say_key_by_key_why(
    a: Path, b: Path, c: Path
) -> None:
    run(a, "a1", facts=CPU)
    run(b, "b1", steps=12, facts=CPU)
    run(b, "b2", steps=12, facts=CPU)
    launch(a, {"one": "a1", "two": "a2"}, key="x")
    launch(b, {"one": "b1", "two": "b2"}, key="y")
    plan = planned([a, b], c)
    (apart,) = plan.launches.apart
    assert (apart.n_both, apart.n_only, apart.kept) == (1, (0, 1), "")
    (clash,) = apart.clashes
    assert clash.cells == ("method=one fold=0 seed=0",)
    assert clash.runs == (("a1", "b1"),)
    assert [(each.key, each.values) for each in clash.differences] == [("training.steps", (9, 12))]
    carry_out(plan)
    assert methods(c, "methods-x") == {"one": "a1", "two": "a2"}
    assert methods(c, "methods-y") == {"one": "b1", "two": "b2"}
    assert not plan.is_complete


def test_cells_that_differ_alike_are_told_together(a: Path, b: Path, c: Path) -> None:
    for method in ("one", "two", "three"):
        run(a, f"a-{method}", facts=CPU)
        run(b, f"b-{method}", facts=GPU if method == "three" else CPU, steps=12)
    launch(a, {method: f"a-{method}" for method in ("one", "two", "three")}, key="x")
    launch(b, {method: f"b-{method}" for method in ("one", "two", "three")}, key="y")
    clashes = planned([a, b], c).launches.apart[0].clashes
    assert [len(clash.cells) for clash in clashes] == [2, 1]


def test_with_a_preferred_folder_one_launch_has_its_cells_and_others_where_it_has_none(
    a: Path, b: Path, c: Path
) -> None:
    run(a, "a1")
    run(b, "b1", steps=12)
    run(b, "b2", steps=12)
    launch(a, {"one": "a1", "two": "a2"}, key="x")
    launch(b, {"one": "b1", "two": "b2", "three": "b3"}, key="y", created=9.0)
    assert merge(a, b, into=c, prefer=a)
    assert [manifest.name for manifest in manifests(c)] == ["methods-x"]
    assert methods(c, "methods-x") == {"one": "a1", "two": "b2", "three": "b3"}
    assert not RunFolder(c, "b1").path.exists()
    # Once more: nothing to be done, nothing to be decided.
    before = tree(c)
    assert merge(a, b, into=c, prefer=a)
    assert tree(c) == before


def test_a_launch_that_the_target_has_is_not_taken_away(a: Path, c: Path) -> None:
    run(a, "a1")
    run(c, "c1")
    launch(a, {"one": "a1"}, key="x")
    launch(c, {"one": "c1"}, key="y")
    with pytest.raises(BenchError, match=r"already has the launch methods-y.*Prefer .*c, or join into a new"):
        planned([a], c, prefer=a)


def test_other_runs_for_a_cell_of_one_launch_are_refused_or_the_preferred_folders_are_taken(
    a: Path, b: Path, c: Path, tmp_path: Path
) -> None:
    run(a, "a1")
    run(b, "b1", steps=12)
    run(b, "b2")
    launch(a, {"one": "a1"})
    launch(b, {"one": "b1", "two": "b2"})
    assert not merge(a, b, into=c)
    assert methods(c) == {"two": "b2"}
    assert merge(a, b, into=tmp_path / "d", prefer=b)
    assert methods(tmp_path / "d") == {"one": "b1", "two": "b2"}
    assert not RunFolder(tmp_path / "d", "a1").path.exists()


def test_a_cell_that_was_planned_anew_in_one_folder_is_no_contradiction(
    a: Path, b: Path, c: Path, tmp_path: Path
) -> None:
    run(a, "old")
    run(b, "old")
    run(b, "new")
    launch(a, {"one": "old"})
    launch(b, {"one": "old"})
    launch(b, {"one": "new"})
    run(d := tmp_path / "d", "new")
    launch(d, {"one": "new"})
    for sources in ([a, b], [b, a], [d, b], [d, a, b]):
        shutil.rmtree(c, ignore_errors=True)
        assert merge(*sources, into=c)
        assert methods(c) == {"one": "new"}


def test_killed_while_copying_no_grid_shows_half_a_run_and_repeating_does_the_rest(
    a: Path, c: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(a, "r1")
    run(a, "r2")
    launch(a, {"one": "r1", "two": "r2"})
    copy_folder, n = writing.copy_folder, 0

    def killed(source: Path, target: Path, **options: Any) -> None:
        nonlocal n
        n += 1
        copy_folder(source, target, **options)
        if n == 2:
            (target / "scores.parquet").unlink()
            raise KeyboardInterrupt

    monkeypatch.setattr(writing, "copy_folder", killed)
    with pytest.raises(KeyboardInterrupt):
        merge(a, into=c)
    assert [path.name for path in (c / "runs").iterdir()] == ["r1"]
    assert manifests(c) == []
    monkeypatch.undo()
    assert merge(a, into=c)
    assert methods(c) == {"one": "r1", "two": "r2"}
    assert len(RunFolder(c, "r2").scores()) == 2


def test_locks_and_heartbeats_are_not_copied_and_weights_only_if_wanted(a: Path, tmp_path: Path) -> None:
    run(a, "r")
    folder = RunFolder(a, "r")
    folder.write_heartbeat(Heartbeat("train", 1, 2))
    for path in (
        folder.path / ".lock",
        folder.path / ".x.tmp",
        folder.weights_file,
        folder.path / "panels/p.npz",
    ):
        write_text(path, "x")
    names = {}
    for weights in (True, False):
        into = tmp_path / f"{weights}"
        carry_out(planned([a], into, weights=weights))
        names[weights] = {name.removeprefix("runs/r/") for name in tree(into) if name.startswith("runs/r/")}
    assert names[False] == {"scores.parquet", "run.json", "config.yaml", "panels/p.npz"}
    assert names[True] == names[False] | {"last.safetensors"}


def test_evaluations_and_pictures_that_only_an_identical_copy_has_are_added(
    a: Path, b: Path, c: Path
) -> None:
    run(a, "r")
    run(b, "r")
    write_text(RunFolder(b, "r").panels / "case.json", "{}")
    write_text(RunFolder(b, "r").projections_file, "pictures")
    assert merge(a, b, into=c)
    assert (RunFolder(c, "r").panels / "case.json").exists()
    assert RunFolder(c, "r").projections_file.read_text() == "pictures"


def test_weights_that_were_left_behind_come_with_a_later_join(a: Path, c: Path) -> None:
    run(a, "r", train_seconds=1.5)
    folder = RunFolder(a, "r")
    for path in (folder.weights_file, folder.path / "external" / "fold_0" / "final.pth"):
        write_text(path, "w")
    write_text(folder.predictions / "case.nii.gz", "mask")
    carry_out(planned([a], c, weights=False))
    assert merge(a, into=c)
    files = {"last.safetensors", "external/fold_0/final.pth", "predictions/case.nii.gz"}
    assert files <= {name.removeprefix("runs/r/") for name in tree(c)}
    before = tree(c)
    assert planned([a], c).completions == {}
    assert merge(a, into=c)
    assert tree(c) == before


def test_an_unfinished_run_gets_what_is_needed_to_go_on_from_a_copy_of_the_same_attempt_alone(
    a: Path, b: Path, c: Path
) -> None:
    for results, attempts in ((a, 2), (b, 1)):
        RunFolder(results, "r").write_record(RunRecord("r", "failed", "interrupted", attempts=attempts))
        write_text(RunFolder(results, "r").checkpoint_file, results.name)
    carry_out(planned([a], c, weights=False))
    assert not RunFolder(c, "r").checkpoint_file.exists()
    assert merge(b, a, into=c)
    assert RunFolder(c, "r").checkpoint_file.read_text() == "a"


@pytest.mark.parametrize(
    ("recorded_by", "digest", "taken"),
    [
        ("a", hashlib.sha256(b"w").hexdigest(), True),
        ("b", hashlib.sha256(b"w").hexdigest(), True),
        ("a", "0" * 64, False),
        ("b", "0" * 64, False),
        ("", "", False),
    ],
)
def test_weights_are_added_only_if_they_are_those_that_were_scored(
    a: Path, b: Path, c: Path, recorded_by: str, digest: str, taken: bool
) -> None:
    """Of a training that was repeated: the seconds differ, so that without a digest nobody knows."""
    for results, seconds in ((a, 1.5), (b, 1.25)):
        facts = {"weights_file": "last.safetensors", "weights_sha256": digest}
        run(results, "r", train_seconds=seconds, facts=facts if results.name == recorded_by else {})
    write_text(RunFolder(b, "r").weights_file, "w")
    plan = planned([a, b], c)
    carry_out(plan)
    assert RunFolder(c, "r").weights_file.exists() is taken
    assert plan.unlike_files == (() if taken else (f"runs/r/last.safetensors of {b}",))
    assert plan.is_complete is taken
    found = RunFolder(c, "r").record().facts
    assert found.get("weights_sha256") == (digest if taken or recorded_by == "a" else None)


def test_facts_of_the_evaluation_that_only_an_identical_copy_noted_are_added(
    a: Path, b: Path, c: Path
) -> None:
    run(a, "r", facts=CPU, data_fingerprint="f1")
    run(b, "r", facts=GPU, data_fingerprint="f1")
    scores = scores_facts(RunFolder(b, "r"))
    record = RunFolder(b, "r").record()
    noted = {**GPU, **scores, "data": {"store": "s"}}
    RunFolder(b, "r").write_record(replace(record, facts=noted))
    assert merge(a, b, into=c)
    # The machine stays that of the copy that was taken.
    assert RunFolder(c, "r").record().facts == {**CPU, **scores, "data": {"store": "s"}}

    # Of the same scores in another order the digest is another.
    folder = RunFolder(b, "r")
    folder.write_scores(folder.scores().iloc[::-1].reset_index(drop=True))
    folder.write_record(replace(record, facts={**noted, **scores_facts(folder)}))
    shutil.rmtree(c)
    assert merge(a, b, into=c)
    assert "scores_sha256" not in RunFolder(c, "r").record().facts


def test_a_run_that_somebody_works_on_meanwhile_gets_nothing(a: Path, c: Path) -> None:
    run(a, "r")
    run(c, "r")
    write_text(RunFolder(a, "r").projections_file, "pictures")
    plan = planned([a], c)
    with RunFolder(c, "r").claimed(), pytest.raises(BenchError, match=r"Run r in .* has changed meanwhile"):
        carry_out(plan)
    assert not RunFolder(c, "r").projections_file.exists()


def test_the_command_says_what_runs_get_from_identical_copies(
    a: Path, c: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(a, "r", train_seconds=1.5)
    write_text(RunFolder(a, "r").weights_file, "w")
    note = [str(a), "--into", str(c)]
    told = []
    for more in (["--no-weights"], ["--dry-run"], []):
        with pytest.raises(SystemExit):
            main(["merge", *note, *more])
        told.append(capsys.readouterr().out)
    assert "identical copies" not in told[0]
    assert "From identical copies would be added: last.safetensors (1 run)." in told[1]
    assert "From identical copies were added: last.safetensors (1 run)." in told[2]
    assert "1 run there already" in told[2]


def test_files_of_one_name_with_other_content_are_named_and_the_first_stays(
    a: Path, b: Path, c: Path
) -> None:
    for results, text in ((a, "1"), (b, "2")):
        run(results, "r")
        write_text(results / "searches" / "theta-1.journal", text)
    plan = planned([a, b], c)
    assert plan.unlike_files == (f"searches/theta-1.journal of {b}",)
    carry_out(plan)
    assert (c / "searches" / "theta-1.journal").read_text() == "1"
    assert not plan.is_complete


def test_data_of_another_machine_are_named_and_their_places_kept(a: Path, c: Path) -> None:
    run(a, "r")
    there = DataPlaces(*(Path("/nowhere") / name for name in ("root", "store", "scored_on", "splits")))
    RunFolder(a, "r").write_data(there)
    plan = planned([a], c)
    assert plan.elsewhere == {"/nowhere/root": 1}
    carry_out(plan)
    assert RunFolder(c, "r").data() == there


def test_folders_that_cannot_be_joined_are_refused(a: Path, b: Path, c: Path) -> None:
    run(a, "r")
    b.mkdir()
    with pytest.raises(BenchError, match="b is no results folder"):
        planned([a, b], c)
    with pytest.raises(BenchError, match="only folder that was named"):
        planned([a], a)
    with pytest.raises(BenchError, match="which is not to be changed"):
        planned([a], a / "joined")
    with pytest.raises(BenchError, match="is none of"):
        planned([a], c, prefer=b)


def test_the_command_says_what_it_does_and_its_exit_code_whether_something_is_left(
    a: Path, b: Path, c: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(a, "r", [0.5])
    run(b, "r", [0.75])
    run(b, "s")
    launch(b, {"one": "r", "two": "s"})
    with pytest.raises(SystemExit) as ended:
        main(["merge", str(a), str(b), "--into", str(c), "--dry-run", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert ended.value.code == 1
    assert not c.exists()
    assert told["copied"] == {"s": str(b)}
    assert told["conflicts"][0]["scores"] == [{"n": 1, "total": 1, "largest": {"dice": 0.25}}]
    with pytest.raises(SystemExit) as ended:
        main(["merge", str(a), str(b), "--into", str(c), "--prefer", str(a)])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert f"1 from {a}, 1 from {b}" in text
    assert "1 of 1 scores differ (dice by up to 0.25)" in text
    assert RunFolder(c, "r").scores()["value"].tolist() == [0.5]


def test_a_run_whose_scores_cannot_be_read_is_named_and_stops_no_other(a: Path, b: Path, c: Path) -> None:
    run(a, "r")
    run(b, "r", [0.1])
    run(b, "s")
    RunFolder(b, "r").scores_file.write_bytes(b"PAR1")
    plan = planned([a, b], c)
    (words,) = plan.damaged
    assert words.startswith("Run r: ")
    assert "b/runs/r/scores.parquet cannot be read" in words
    assert words.endswith(f"Remove {b / 'runs' / 'r'} and start its grid again.")
    assert not plan.is_complete
    carry_out(plan)
    assert RunFolder(c, "r").scores()["value"].tolist() == RunFolder(a, "r").scores()["value"].tolist()
    assert RunFolder(c, "s").record().state == "done"


def test_no_frame_is_needed_for_runs_of_one_folder(a: Path, c: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(a, "r")
    monkeypatch.setattr(tables, "read_scores", lambda *_, **__: pytest.fail("read"))
    assert planned([a], c).is_complete


def test_a_record_that_says_it_runs_but_whose_process_is_gone_is_interrupted(a: Path, c: Path) -> None:
    RunFolder(a, "r").write_record(replace(RunRecord("r"), state="running"))
    (copy,) = planned([a], c).copies
    assert copy.state == "interrupted"


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        (("x",), ("y",), ("x", "y")),
        (("x",), ("x",), ("x",)),
        (("x",), (), ()),
        ((), (), ()),
    ],
)
@pytest.mark.parametrize("prefer", [False, True])
def test_what_launches_were_asked_for_is_joined_as_their_cells_are(
    a: Path,
    b: Path,
    c: Path,
    one: tuple[str, ...],
    other: tuple[str, ...],
    together: tuple[str, ...],
    prefer: bool,
) -> None:
    """An empty one was asked for everything; so is what it is joined with."""
    for results, run_id, asked in ((a, "x", one), (b, "y", other)):
        run(results, run_id)
        made = launch(results, {run_id: run_id}, key=f"k{run_id}" if prefer else "k")
        write_json(results / "grids" / f"{made.name}.json", asdict(replace(made, asked=asked)))
    merge(a, b, into=c, prefer=a if prefer else None)
    (joined,) = manifests(c)
    assert joined.asked == together
