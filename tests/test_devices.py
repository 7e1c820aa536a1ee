"""How much of the machine a launch takes."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmark.execution.places import chosen_devices
from benchmark.processes import devices
from benchmark.processes.devices import Slot, cores, cpu_jobs, free_memory, oom_kills, slots
from benchmark.training.environment import device_named
from benchmark.vocabulary import BenchError


class Machine:
    """A machine of 16 cores with /proc and /sys/fs/cgroup of its own."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.cgroups = folder / "proc", folder / "cgroup"
        self.cgroups.mkdir()
        (self.proc / "self").mkdir(parents=True)

    def is_in(self, *lines: str) -> None:
        (self.proc / "self" / "cgroup").write_text("\n".join(lines) + "\n")

    def says(self, place: str, text: str) -> None:
        (self.cgroups / place).parent.mkdir(parents=True, exist_ok=True)
        (self.cgroups / place).write_text(text + "\n")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    monkeypatch.setattr(devices, "PROC", made.proc)
    monkeypatch.setattr(devices, "CGROUPS", made.cgroups)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    return made


V1 = "4:cpu,cpuacct:/slurm/uid_1/job_7"
V2 = "0::/slurm/job_7/step_0"


@pytest.mark.parametrize(
    ("name", "lines", "files", "expected"),
    [
        ("no cgroups", [], {}, 16),
        ("version 2, of the container", ["0::/"], {"cpu.max": "400000 100000"}, 4),
        ("version 2, of the job", [V2], {"slurm/job_7/step_0/cpu.max": "300000 100000"}, 3),
        ("version 2, of what the job lies in", [V2], {"slurm/cpu.max": "200000 100000"}, 2),
        ("version 2, the smallest counts", [V2], {"slurm/cpu.max": "200000 100000", "cpu.max": "9 1"}, 2),
        ("version 2, without a quota", [V2], {"slurm/job_7/step_0/cpu.max": "max 100000"}, 16),
        ("version 2, a fraction is rounded down", ["0::/"], {"cpu.max": "250000 100000"}, 2),
        ("version 2, less than a core is one", ["0::/"], {"cpu.max": "50000 100000"}, 1),
        ("version 2, beside version 1", ["0::/"], {"unified/cpu.max": "500000 100000"}, 5),
        ("version 2, a container that sees no further", ["0::/not/here"], {"cpu.max": "600000 100000"}, 6),
        (
            "version 1, of the job",
            [V1],
            {
                "cpu,cpuacct/slurm/uid_1/job_7/cpu.cfs_quota_us": "300000",
                "cpu,cpuacct/slurm/uid_1/job_7/cpu.cfs_period_us": "100000",
            },
            3,
        ),
        (
            "version 1, by the short name, of what the job lies in",
            [V1],
            {"cpu/slurm/cpu.cfs_quota_us": "150000", "cpu/slurm/cpu.cfs_period_us": "50000"},
            3,
        ),
        (
            "version 1, without a quota",
            [V1],
            {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
            16,
        ),
        ("another controller's group", ["7:memory:/small"], {"memory/small/cpu.max": "100000 100000"}, 16),
        ("nonsense", ["x", "::", "0::/"], {"cpu.max": "a lot"}, 16),
    ],
)
def test_the_cores_are_those_of_the_process_s_own_cgroups(
    machine: Machine, name: str, lines: list[str], files: dict[str, str], expected: int
) -> None:
    machine.is_in(*lines)
    for place, text in files.items():
        machine.says(place, text)
    assert cores() == expected


@pytest.mark.parametrize(("given", "expected"), [("6", 6), ("64", 16), ("0", 16), ("", 16), ("4(x2)", 16)])
def test_the_cores_are_those_that_slurm_gives_the_task(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, given: str, expected: int
) -> None:
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", given)
    assert cores() == expected


def test_the_cores_are_those_of_the_affinity(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "6")
    assert cores() == 2


def test_the_memory_is_that_of_the_process_s_own_cgroups(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=1000))
    assert free_memory() == 1000
    machine.is_in("0::/job/step", "9:memory:/old")
    machine.says("job/memory.max", "700")
    machine.says("job/memory.current", "100")
    machine.says("job/step/memory.max", "max")
    machine.says("job/step/memory.current", "50")
    assert free_memory() == 600
    machine.says("memory/old/memory.limit_in_bytes", "300")
    machine.says("memory/old/memory.usage_in_bytes", "90")
    assert free_memory() == 210


def test_kills_for_want_of_memory_are_counted_where_they_happen(machine: Machine) -> None:
    assert oom_kills() == 0
    (machine.proc / "vmstat").write_text("nr_free_pages 7\noom_kill 5\n")
    assert oom_kills() == 5
    machine.is_in("0::/job")
    machine.says("job/memory.events", "low 0\noom 3\noom_kill 2")
    assert oom_kills() == 2
    machine.is_in("3:memory:/old")
    machine.says("memory/old/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1")
    assert oom_kills() == 1


def test_places_beside_gpus_share_the_cores_and_on_the_cpu_the_configuration_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("benchmark.processes.devices.cores", lambda: 16)
    assert slots(["cpu"], per_device=3) == [Slot("cpu", 1)] * 3
    assert slots(["cpu"], per_device=1, threads=5) == [Slot("cpu", 5)]
    assert slots(["cuda:0", "cuda:1"], per_device=2) == [
        Slot("cuda:0", 4),
        Slot("cuda:1", 4),
        Slot("cuda:0", 4),
        Slot("cuda:1", 4),
    ]
    assert slots(["cuda:0"], per_device=99)[0].threads == 1


@pytest.mark.parametrize("for_cpus", [True, False])
@pytest.mark.parametrize("asked", ["cuda:7", "gpu", "cuda:-1", ""])
def test_a_device_that_is_not_here_is_named_and_why_none_is_seen(
    monkeypatch: pytest.MonkeyPatch, asked: str, for_cpus: bool
) -> None:
    """By who plans runs, and by who opens them again."""
    monkeypatch.setattr(devices, "torch_is_for_cpus", lambda: for_cpus)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    pool: Any = SimpleNamespace(call=lambda *_: [])
    for look in (lambda: chosen_devices(pool, [asked], None), lambda: device_named(asked)):
        with pytest.raises(BenchError) as refused:
            look()
        assert str(refused.value).startswith(f"There is no device {asked!r} here; there are cpu.")
        assert ("The installed torch is a build for CPUs" in str(refused.value)) == for_cpus


def test_the_cores_and_the_memory_bound_the_number_of_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.processes.devices.cores", lambda: 16)
    monkeypatch.setattr("benchmark.processes.devices.free_memory", lambda: 10**12)
    assert cpu_jobs(4 * 32**3, runs=105) == 16
    assert cpu_jobs(4 * 32**3, runs=2) == 2
    assert cpu_jobs(4 * 96**3, runs=105, threads=4) == 4
    assert cpu_jobs(4 * 96**3, runs=105, threads=99) == 1
    monkeypatch.setattr("benchmark.processes.devices.free_memory", lambda: 5e9)
    assert cpu_jobs(4 * 96**3, runs=105) == 1
