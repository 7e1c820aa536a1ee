"""`bench run --on slurm` on a real SLURM of three nodes, which the tests start and stop; see `slurm_cluster`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import fake_bench
import fake_runs
import psutil
import pytest
from slurm_cluster import Cluster, own_slurm  # noqa: F401 (a fixture)

from benchmark.execution.pilot import pilot_file, pilot_records
from benchmark.execution.plan_file import RunPlan, read_plan, write_plan
from benchmark.execution.slurm import SlurmSettings, Submission, queue, submissions, submit
from benchmark.results.attempts import attempts
from benchmark.results.runs import RunFolder

FAKES = (sys.executable, "-W", "ignore", fake_bench.__file__)
SETTINGS = SlurmSettings(gpus="0", cpus=1, time="10", command=FAKES)


@pytest.fixture(autouse=True)
def _configured(slurm: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", str(slurm.configuration))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(fake_bench.__file__).parents[1]), *sys.path]))


def plan_of(results: Path, behaviour: str, *, copies: int, seconds: float = 0.0) -> RunPlan:
    orders = [
        fake_runs.order(results.resolve(), behaviour, number=number, seconds=seconds)
        for number in range(copies)
    ]
    return write_plan("fakes", orders, grids=["fakes-1"], labels={})


def ended(cluster: Cluster, *, seconds: float = 120) -> None:
    cluster.until(lambda: not cluster.call("squeue", "-h").strip(), seconds=seconds)


def logs(plan: RunPlan) -> str:
    return "\n".join(f"{path.name}\n{path.read_text()}" for path in sorted(plan.folder.glob("pilot-*.log")))


def states(plan: RunPlan) -> list[str]:
    return [RunFolder(order.results, order.run_id).record().state for order in plan.orders]


@pytest.mark.slow
def test_a_grid_is_done_by_more_pilots_than_an_array_may_have_tasks(
    slurm: Cluster,
    tmp_path: Path,
) -> None:
    """From the command line: 105 runs, 10 pilots, arrays of four. Every run is begun once."""
    results, grid, cases = tmp_path / "results", tmp_path / "fakes.yaml", tmp_path / "cases"
    cases.mkdir()
    text = fake_bench.BEHAVIOURS.format(behaviours=["done"], seconds=0)
    grid.write_text(text.replace("values: [1, 2]", f"values: {list(range(105))}"))
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text(f"gpus: 0\ncpus: 1\ncommand: {list(FAKES)}\n")
    words = ["run", "--grid", str(grid), "--data", f"autopet={cases}", "--results", str(results)]
    words += ["--profile", "small", "--on", "slurm", "--workers", "10", "--cluster", str(cluster)]
    said = subprocess.run([*FAKES, *words], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    (folder,) = (results / "plans").iterdir()
    plan = read_plan(folder)
    assert f"Plan {plan.id}: 105 runs of fakes, 10 pilots submitted (job " in " ".join(said.stdout.split())
    (made,) = submissions(plan)
    assert (len(made.jobs), made.workers) == (3, 10)
    ended(slurm)
    assert states(plan) == ["done"] * 105, logs(plan)
    assert {fake_runs.starts(order) for order in plan.orders} == {1}
    assert [(record.number, record.cause) for record in pilot_records(plan)] == [
        (number, "nothing left to start") for number in range(10)
    ]
    assert {record.node for record in pilot_records(plan)} <= {"n1", "n2", "n3"}
    assert len({record.job for record in pilot_records(plan)}) == 10
    again = subprocess.run([*FAKES, *words], capture_output=True, text=True, check=False)
    assert (again.returncode, again.stdout.splitlines()[-1]) == (0, "Nothing is left to do.")


@pytest.mark.slow
def test_before_its_time_is_up_a_pilot_saves_its_runs_and_comes_again(
    slurm: Cluster,
    tmp_path: Path,
) -> None:
    """One minute for four runs that take 12 s each, one at a time: USR1 comes after 40 s at the latest."""
    plan = plan_of(tmp_path, "slow", copies=4, seconds=12)
    submit(plan, SETTINGS.model_copy(update={"time": "1", "margin_seconds": 20}), 1)
    ended(slurm, seconds=300)
    assert states(plan) == ["done"] * 4, logs(plan)
    saved = [
        order
        for order in plan.orders
        if (RunFolder(order.results, order.run_id).path / "checkpoint.txt").exists()
    ]
    assert saved, "no run was interrupted"
    again = re.findall(r"^\d+$", (plan.folder / "resubmitted").read_text(), re.MULTILINE)
    (made,) = submissions(plan)
    assert len(again) >= 1
    assert pilot_records(plan)[0].job == f"{again[-1]}_0" != f"{made.jobs[0]}_0"
    assert "Stopped with" in logs(plan)
    for order in saved:
        causes = [attempt.cause for attempt in attempts(RunFolder(order.results, order.run_id))]
        assert causes == ["interrupted", "done"]


@pytest.mark.slow
def test_a_pilot_that_is_killed_comes_again_and_nothing_is_done_twice(
    slurm: Cluster,
    tmp_path: Path,
) -> None:
    plan = plan_of(tmp_path, "slow", copies=12, seconds=1)
    submit(plan, SETTINGS, 2)
    slurm.until(lambda: states(plan).count("done") >= 2)
    killed = 0
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "work" in words and str(plan.folder) in words and str(fake_bench.__file__) in words:
            process.send_signal(signal.SIGKILL)
            killed += 1
    assert killed == 2
    ended(slurm)
    assert states(plan) == ["done"] * 12, logs(plan)
    starts = [fake_runs.starts(order) for order in plan.orders]
    assert sum(starts) == 12 + sum(n - 1 for n in starts)
    assert max(starts) <= 2
    assert sum(n > 1 for n in starts) <= 2
    assert len(re.findall(r"^\d+$", (plan.folder / "resubmitted").read_text(), re.MULTILINE)) == 2


def test_cancelled_pilots_save_their_runs_and_do_not_come_again(slurm: Cluster, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "slow", copies=6, seconds=120)
    made = submit(plan, SETTINGS, 3)
    slurm.until(lambda: sum(map(fake_runs.starts, plan.orders)) >= 3)
    tasks = queue(plan)
    assert {task.job for task in tasks} == {f"{made.jobs[0]}_{number}" for number in range(3)}
    assert {task.state for task in tasks} == {"RUNNING"}
    assert len({task.node for task in tasks}) >= 2
    said = subprocess.run(
        [*FAKES, "work", str(plan.folder), "--cancel"], capture_output=True, text=True, check=False
    )
    assert said.stdout == f"3 pilots of plan {plan.id} cancelled; they save their checkpoints.\n", said.stderr
    ended(slurm)
    assert queue(plan) == []
    assert not (plan.folder / "resubmitted").exists()
    begun = [order for order in plan.orders if fake_runs.starts(order)]
    assert all((RunFolder(order.results, order.run_id).path / "checkpoint.txt").exists() for order in begun)
    assert {record.cause for record in pilot_records(plan)} == {"stopped"}


@pytest.mark.slow
def test_when_a_node_dies_its_runs_are_done_by_others(slurm: Cluster, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "slow", copies=9, seconds=8)
    submit(plan, SETTINGS, 3)
    slurm.until(lambda: sum(map(fake_runs.starts, plan.orders)) >= 3)
    node = pilot_records(plan)[0].node
    slurm.kill_node(node)
    slurm.start_node(node)

    def hurried() -> bool:
        # SLURM holds a job that it starts again back for two minutes.
        for line in slurm.call("squeue", "-h", "-t", "PENDING", "-o", "%A").split():
            slurm.call("scontrol", "update", f"JobId={line}", "StartTime=now")
        return not slurm.call("squeue", "-h").strip()

    slurm.until(hurried, seconds=240)
    assert states(plan) == ["done"] * 9, logs(plan) + slurm.told()
    assert max(fake_runs.starts(order) for order in plan.orders) <= 2
    lost = [order for order in plan.orders if fake_runs.starts(order) == 2]
    assert lost
    for order in lost:
        first, *_ = attempts(RunFolder(order.results, order.run_id))
        assert first.node == node


def test_what_slurm_refuses_is_told_in_its_words_and_nothing_stays_queued(
    slurm: Cluster,
    tmp_path: Path,
) -> None:
    from benchmark.vocabulary import BenchError

    plan = plan_of(tmp_path, "done", copies=9)
    with pytest.raises(BenchError, match=r"sbatch: .*[Ii]nvalid partition"):
        submit(plan, SETTINGS.model_copy(update={"partition": "nowhere"}), 3)
    assert submissions(plan) == []
    assert not slurm.call("squeue", "-h").strip()
    assert not pilot_file(plan, 0).exists()
    assert isinstance(submit(plan, SETTINGS, 1), Submission)
    ended(slurm)
    assert states(plan) == ["done"] * 9, logs(plan)


TINY = """
config:
  spacing_mm: [8, 8, 8]
  training: {patch_size: [16, 16, 16], batch_size: 2, steps: 60, precision: float32, validations: 1}
method_args: {mirror_unet: {channels: [2, 2, 4, 4, 4]}}
folds: [0]
seeds: [0]
n_folds: 3
phantoms: {phantom: {cases: 12, seed: 3, spacing_mm: [8, 8, 8]}}
"""


@pytest.mark.slow
def test_trainings_that_were_killed_on_a_cluster_end_as_undisturbed_ones(
    slurm: Cluster, tmp_path: Path
) -> None:
    """Real trainings, checkpoints all the time: pilots are killed, then told to stop, and weights and scores are equal
    byte for byte to those of one machine."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    words = [sys.executable, "-m", "benchmark.cli", "run", "--grid", "table2", "--checkpoint-seconds", "0.2"]
    words += ["--profile", str(tmp_path / "tiny.yaml"), "--only", "shared_layers=5,self_supervision=shuffle"]
    quiet, disturbed = tmp_path / "quiet", tmp_path / "disturbed"
    subprocess.run(
        [*words, "--results", str(quiet), "--no-mlflow", "--jobs", "1"], check=True, capture_output=True
    )
    options = [
        "--on",
        "slurm",
        "--workers",
        "2",
        "--submit",
        "gpus=0",
        "--submit",
        "cpus=1",
        "--submit",
        "time=10",
    ]
    subprocess.run([*words, "--results", str(disturbed), *options], check=True, capture_output=True)
    (folder,) = (disturbed / "plans").iterdir()
    plan = read_plan(folder)
    assert len(plan.orders) == 3

    def trained(order: object) -> bool:
        return RunFolder(disturbed, order.run_id).checkpoint_file.exists()  # type: ignore[attr-defined]

    slurm.until(lambda: any(map(trained, plan.orders)), seconds=120)
    for process in psutil.process_iter(["cmdline"]):
        if "work" in (process.info["cmdline"] or []) and str(plan.folder) in process.info["cmdline"]:
            process.send_signal(signal.SIGKILL)
    again = plan.folder / "resubmitted"
    slurm.until(lambda: again.exists() and len(again.read_text().split()) >= 2, seconds=60)
    slurm.until(
        lambda: any(record.job and record.ended is None for record in pilot_records(plan)), seconds=60
    )
    slurm.call("scancel", "--batch", "--signal=USR1", "--name=bench-table2")
    ended(slurm, seconds=300)
    assert states(plan) == ["done"] * 3, logs(plan)
    interrupted = 0
    for order in plan.orders:
        here, there = RunFolder(disturbed, order.run_id), RunFolder(quiet, order.run_id)
        assert here.weights_file.read_bytes() == there.weights_file.read_bytes()
        assert here.scores_file.read_bytes() == there.scores_file.read_bytes()
        interrupted += here.record().attempts > 1
    assert interrupted >= 1
