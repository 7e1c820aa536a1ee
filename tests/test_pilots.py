"""Plans for other machines, and pilots that work on them, without a batch system."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import fake_bench
import fake_runs
import pytest

from benchmark.cli import main
from benchmark.execution import pilot as pilots
from benchmark.execution.pilot import PilotRecord, pilot_file, pilot_records, work
from benchmark.execution.plan_file import RunPlan, read_plan, refuse_other_code, write_plan
from benchmark.execution.pool import Pool
from benchmark.execution.slurm import SlurmSettings, script_of, settings_from
from benchmark.files.places import DamagedFileError
from benchmark.files.writing import write_json
from benchmark.processes.devices import Slot
from benchmark.results.manifests import CellRun, GridManifest, write_manifest
from benchmark.results.runs import RunFolder, RunRecord
from benchmark.vocabulary import BenchError


def plan_of(results: Path, *behaviours: str, seconds: float = 0.0, copies: int = 1) -> RunPlan:
    orders = [
        fake_runs.order(results.resolve(), behaviour, number=number, seconds=seconds)
        for behaviour in behaviours
        for number in range(copies)
    ]
    labels = {order.run_id: f"cell {number}" for number, order in enumerate(orders)}
    return write_plan("fakes", orders, grids=["fakes-1"], labels=labels)


def pool() -> Pool:
    return Pool(target=fake_runs.execute, preload=("fake_runs",))


def command(plan: RunPlan) -> list[str]:
    """A pilot with two places, as another process."""
    return [
        *(sys.executable, "-W", "ignore", fake_bench.__file__),
        *("work", str(plan.folder), "--devices", "cpu", "--jobs", "2"),
    ]


def states(plan: RunPlan) -> list[str]:
    return [RunFolder(order.results, order.run_id).record().state for order in plan.orders]


def test_a_plan_comes_back_as_it_was_written_and_the_same_orders_have_the_same_plan(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "done", "code")
    assert read_plan(plan.folder) == plan
    assert plan.folder == tmp_path.resolve() / "plans" / plan.id
    before = (plan.folder / "plan.json").stat().st_mtime_ns
    assert plan_of(tmp_path, "done", "code") == plan
    assert (plan.folder / "plan.json").stat().st_mtime_ns == before
    assert plan_of(tmp_path, "done").id != plan.id


def test_a_plan_that_was_moved_damaged_or_made_with_other_code_is_refused(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "a", "done")
    moved = tmp_path / "b" / "plans" / plan.id
    moved.parent.mkdir(parents=True)
    moved.symlink_to(plan.folder)
    assert read_plan(moved) == plan  # The same folder by another name.
    moved.unlink()
    moved.mkdir()
    content = json.loads((plan.folder / "plan.json").read_text())
    (moved / "plan.json").write_text(json.dumps(content))
    with pytest.raises(BenchError, match=r"is a plan for .*; where results were moved, plan again"):
        read_plan(moved)
    for odd in ({"orders": "none"}, {"later": 1}, {"id": "../x"}):
        (moved / "plan.json").write_text(json.dumps(content | odd))
        with pytest.raises(DamagedFileError, match="is damaged"):
            read_plan(moved)
    refuse_other_code(plan)
    for change, words in (("commit", "the commit abc"), ("packages", "the set of packages abc")):
        (plan.folder / "plan.json").write_text(json.dumps(content | {change: "abc"}))
        with pytest.raises(BenchError, match=f"was made with {words}, and here is"):
            refuse_other_code(read_plan(plan.folder))


def test_pilots_share_a_plan_and_do_no_run_twice(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "slow", seconds=0.2, copies=20)
    both = [
        subprocess.Popen([*command(plan), "--pilot", str(number)], stdout=subprocess.PIPE)
        for number in (0, 1)
    ]
    assert [process.wait(120) for process in both] == [0, 0]
    said = [process.communicate()[0].decode() for process in both]
    assert states(plan) == ["done"] * 20
    assert [fake_runs.starts(order) for order in plan.orders] == [1] * 20
    assert all("has nothing left to start" in one for one in said)
    assert [(record.number, record.cause) for record in pilot_records(plan)] == [
        (0, "nothing left to start"),
        (1, "nothing left to start"),
    ]


def test_a_run_that_failed_is_not_tried_again_by_another_pilot_unless_the_plan_says_so(
    tmp_path: Path,
) -> None:
    plan = plan_of(tmp_path, "code", "done")
    with pool() as own:
        for number in range(3):
            work(plan, number, own, [Slot("cpu", 1)])
    assert states(plan) == ["failed", "done"]
    assert fake_runs.starts(plan.orders[0]) == 1
    again = plan_of(tmp_path, "code", "done")
    assert again.failed == {plan.orders[0].run_id: 1}
    assert again.due() == [plan.orders[0]]
    with pool() as own:
        for number in range(3):
            work(again, number, own, [Slot("cpu", 1)])
    assert fake_runs.starts(plan.orders[0]) == 2


def test_a_pilot_does_not_wait_long_for_runs_that_others_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pilots, "PATIENCE_SECONDS", 0.5)
    plan = plan_of(tmp_path, "done", "code")
    held = RunFolder(plan.results, plan.orders[0].run_id)
    held.path.mkdir(parents=True)
    with held.claimed() as mine, pool() as own:
        assert mine
        held.write_record(RunRecord(held.run_id, "running", attempts=1))
        began = time.monotonic()
        end = work(plan, 0, own, [Slot("cpu", 1)])
    assert (end.stopped, end.left) == (False, 1)
    assert 0.5 < time.monotonic() - began < 20
    assert states(plan) == ["running", "failed"]


def test_starts_in_vain_are_bounded_and_progress_counts_anew(tmp_path: Path) -> None:
    """The plan stands as it stood at the start before: no run ended, and none has a newer checkpoint."""
    plan = plan_of(tmp_path, "slow", seconds=60)
    folder = RunFolder(plan.results, plan.orders[0].run_id)
    for vain in range(2):
        assert pilots._begun(plan, 7).vain == vain
        folder.write_record(RunRecord(folder.run_id, "running", attempts=vain + 1))
    folder.checkpoint_file.write_bytes(b"1")
    assert [pilots._begun(plan, 7).vain for _ in range(3)] == [0, 1, 2]
    with pytest.raises(
        BenchError, match=r"Pilot 7 was started 3 times since any run came further.*--submit time="
    ):
        pilots._begun(plan, 7)
    assert pilots._begun(plan, 8).vain == 0


def test_the_first_signal_saves_checkpoints_and_further_ones_do_not_kill(tmp_path: Path) -> None:
    """SLURM sends TERM to the script, which tells the pilot, and to the pilot itself."""
    plan = plan_of(tmp_path, "slow", seconds=60, copies=2)
    process = subprocess.Popen(command(plan), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while sum(map(fake_runs.starts, plan.orders)) < 2:
        assert process.poll() is None, process.stdout and process.stdout.read()
        time.sleep(0.05)
    for _ in range(3):
        process.terminate()
        time.sleep(0.05)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 75, said
    assert "Stopped with 2 runs to go." in said
    for order in plan.orders:
        assert (RunFolder(order.results, order.run_id).path / "checkpoint.txt").read_text() == "saved"
    (record,) = pilot_records(plan)
    assert (record.cause, record.vain, record.node) == ("stopped", 0, os.uname().nodename)


def test_a_damaged_pilot_file_is_left_out(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "done")
    pilots._begun(plan, 3)
    pilot_file(plan, 4).write_text("{")
    assert [record.number for record in pilot_records(plan)] == [3]
    assert isinstance(pilot_records(plan)[0], PilotRecord)


def test_status_tells_of_the_pilots_of_the_newest_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a cluster whose `squeue` knows a task that waits and one that runs; a third has gone without a word."""
    results = tmp_path / "results"
    orders = [fake_runs.order(results.resolve(), "done", number=n) for n in range(3)]
    cells = tuple(CellRun({"number": str(n)}, 0, 0, order.run_id) for n, order in enumerate(orders))
    write_manifest(results, GridManifest("fakes", "1", "p", "d", "r", "f", 0.0, cells))
    older = write_plan("fakes", orders, grids=["fakes-1"], labels={})
    plan = write_plan("fakes", orders[:2], grids=["fakes-1"], labels={})
    write_json(older.folder / "submissions" / "1.json", {"jobs": [1], "workers": 1, "submitted": 5.0})
    write_json(plan.folder / "submissions" / "7.json", {"jobs": [7], "workers": 4, "submitted": 9.0})
    for number, cause in enumerate((None, None, "nothing left to start")):
        record = PilotRecord(number, f"n{number}", f"7_{number}", 10.0, "s", cause=cause)
        write_json(pilot_file(plan, number), asdict(record))
    programs = tmp_path / "bin"
    programs.mkdir()
    told = "7_0|RUNNING|n0|n0|4:02\\n7_3|PENDING|(Resources)||10:00\\n"
    (programs / "squeue").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\nprintf "{told}"\n')
    (programs / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    with pytest.raises(SystemExit) as end:
        main(["status", "--results", str(results)])
    assert end.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"4 pilots of plan {plan.id}: 1 running, 1 gone, 1 ended, 1 pending" in lines
    assert "  running  pilot 0, job 7_0, on n0, 4:02 left" in lines
    assert "  gone     pilot 1, job 7_1, on n1, its job has ended without a word; see its log" in lines
    assert "  pending  a pilot, job 7_3, Resources, 10:00 left" in lines
    assert "--jobs=7 " in (tmp_path / "asked").read_text()
    with pytest.raises(SystemExit):
        main(["status", "--results", str(results), "--json"])
    (grid,) = json.loads(capsys.readouterr().out)
    assert [pilot["state"] for pilot in grid["pilots"]] == ["running", "gone", "ended", "pending"]


# ------------------------------------------------------------------------------------------------ the script of SLURM

SETTINGS = SlurmSettings(
    partition="gpu",
    account="proj_1",
    gpus="a100:2",
    cpus=8,
    time="24:00:00",
    memory="64G",
    modules=("cuda/12.4",),
    setup=("source ~/envs/bench/bin/activate",),
    sbatch=("--mail-type=END",),
    command=("apptainer", "exec", "--nv", "my image.sif", "bench"),
)


def test_the_script_says_what_was_asked_for_and_is_the_same_every_time(tmp_path: Path) -> None:
    folder = Path("/shared/my results/plans/1a2b")
    script = script_of(folder, "table 2; rm -rf", 105, SETTINGS)
    assert script == script_of(folder, "table 2; rm -rf", 105, SETTINGS)
    lines = script.splitlines()
    for expected in (
        "#SBATCH --job-name=bench-table-2--rm--rf",
        '#SBATCH --output="/shared/my results/plans/1a2b/pilot-%A_%a.log"',
        "#SBATCH --time=24:00:00",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH --gres=gpu:a100:2",
        "#SBATCH --mem=64G",
        "#SBATCH --partition=gpu",
        "#SBATCH --account=proj_1",
        "#SBATCH --mail-type=END",
        "module load cuda/12.4",
        "source ~/envs/bench/bin/activate",
        "apptainer exec --nv 'my image.sif' bench work '/shared/my results/plans/1a2b' --pilot \"$number\" &",
    ):
        assert expected in lines
    assert lines.index("#SBATCH --mail-type=END") < lines.index("module load cuda/12.4")
    checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    on_cpu = script_of(folder, "t", 1, SlurmSettings(gpus="0")).splitlines()
    assert not any("--gres" in line for line in on_cpu)
    assert any(line.endswith('--devices cpu --pilot "$number" &') for line in on_cpu)


@pytest.mark.parametrize("folder", ["/a/50%", "/a/$HOME", '/a/"b"', "/a/`id`"])
def test_folders_that_slurm_would_read_otherwise_are_refused(folder: str) -> None:
    with pytest.raises(BenchError, match="means something else to it"):
        script_of(Path(folder), "t", 1, SlurmSettings())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("partition: gpu\npartion: gpu", "partion: unknown key"),
        ("time: 24:00:00", r'write it in quotes, "24:00:00"'),
        ('time: "a day"', "time: String should match"),
        ("partition: gpu; rm -rf ~", "partition: String should match"),
        ("account: --array=0-999", "account: String should match"),
        ('setup: ["a\\nb"]', "setup.0: String should match"),
        ("memory: 32 GB", "memory: String should match"),
        ("cpus: 0", "cpus: Input should be greater"),
    ],
)
def test_settings_that_cannot_be_name_file_key_and_reason(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(text)
    with pytest.raises(BenchError, match=f"cluster.yaml.*{words}|{words}"):
        settings_from(file)


def test_the_command_line_s_settings_come_after_those_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text("partition: gpu\ngpus: 2\nmodules: [a]\n")
    read = settings_from(file, ["partition=cpu", "modules=b", "time=1-12", "bfloat16=false"])
    assert (read.partition, read.gpus, read.modules, read.time) == ("cpu", "2", ("a", "b"), "1-12")
    assert (read.uses_gpus, read.computes_in_bfloat16) == (True, False)
    assert SlurmSettings().computes_in_bfloat16
    assert not settings_from(None, ["gpus=a100:0"]).uses_gpus
    with pytest.raises(BenchError, match="--submit partition: write KEY=VALUE"):
        settings_from(None, ["partition"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--workers", "3"], "--workers has no effect without --on"),
        (["--submit", "time=1:00"], "--submit has no effect without --on"),
        (["--on", "slurm", "--jobs", "2"], "--jobs has no effect with --on slurm"),
        (["--on", "slurm", "--devices", "cuda:0"], "--devices has no effect with --on slurm"),
        (["--on", "pbs"], "pbs"),
    ],
)
def test_options_of_the_other_place_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--results", str(tmp_path / "r"), *options])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("signals", "again"),
    [
        (["USR1"], True),
        # At the end of its time a pilot that still saves gets TERM too, as the script does.
        (["USR1", "TERM"], True),
        (["TERM"], False),
    ],
)
def test_the_script_submits_its_task_again_unless_somebody_cancelled_it(
    tmp_path: Path, signals: list[str], again: bool
) -> None:
    stand_in = ("bash", "-c", "trap 'sleep 0.5; exit 75' TERM; touch began; while :; do sleep 0.1; done")
    (tmp_path / "slurm.sh").write_text(script_of(tmp_path, "t", 1, SlurmSettings(command=stand_in)))
    (tmp_path / "sbatch").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/submitted\n')
    (tmp_path / "sbatch").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": "2"}
    script = subprocess.Popen(
        ["bash", "slurm.sh", "4"], cwd=tmp_path, env=environment, start_new_session=True
    )
    while not (tmp_path / "began").exists():
        time.sleep(0.02)
    for name in signals:
        # USR1 is the script's alone; TERM is everybody's.
        (os.kill if name == "USR1" else os.killpg)(script.pid, getattr(signal, f"SIG{name}"))
        time.sleep(0.1)
    assert script.wait(20) == 75
    assert (tmp_path / "submitted").exists() == again
    if again:
        assert (tmp_path / "submitted").read_text() == f"--parsable --array=2 {tmp_path}/slurm.sh 4\n"
