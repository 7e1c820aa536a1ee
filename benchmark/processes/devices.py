"""What this machine offers to runs. Needs no torch and never initialises CUDA."""

from __future__ import annotations

import importlib.util
import math
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmark.vocabulary import BenchError

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Slot:
    """Room for one run at a time. `threads`: on the CPU those that compute, beside a GPU those that feed it."""

    device: str
    threads: int


def cores() -> int:
    """The cores this process may use: its affinity, cut to SLURM's share for the task and the cgroups' quotas."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.floor(min([affinity, *_of_the_task(), *_quotas()])))


def _of_the_task() -> Iterator[int]:
    given = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if given.isdecimal() and int(given) > 0:
        yield int(given)


def _quotas() -> Iterator[float]:
    """Cores that this process's cgroup, and each it lies in, may use; of either version of cgroups."""
    for folder in _own_cgroups("cpu"):
        words = [*_words(folder / "cpu.max"), *_words(folder / "cpu.cfs_quota_us")]
        words += _words(folder / "cpu.cfs_period_us") if len(words) == 1 else []
        # Without a quota there is `max` (version 2) or -1 (version 1).
        if len(words) == 2 and words[0].isdecimal() and words[1].isdecimal() and int(words[1]) > 0:
            yield int(words[0]) / int(words[1])


def _own_cgroups(controller: str) -> Iterator[Path]:
    """The folders of this process's cgroup and of all it lies in; empty where there are none."""
    for line in _lines(PROC / "self" / "cgroup"):
        _, controllers, place = [*line.split(":", 2), "", ""][:3]
        if controllers and controller not in controllers.split(","):
            continue
        mounts = (controllers, controller) if controllers else ("unified", "")
        root = next((CGROUPS / name for name in mounts if (CGROUPS / name).is_dir()), CGROUPS)
        folder = root / place.lstrip("/")
        # A container may see its own cgroup as the root, whatever the path says.
        yield from (f for f in (folder, *folder.parents) if f.is_relative_to(root) and f.is_dir())


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (OSError, ValueError):
        return []


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def cuda_is_likely() -> bool:
    """Whether an NVIDIA driver is present; only then is it worth asking torch, which takes seconds."""
    return any(Path(sign).exists() for sign in ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg"))


def torch_is_for_cpus() -> bool:
    """Whether the installed torch was built without CUDA, by its own words; False where it says nothing. No import."""
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return False
    try:
        said = Path(found.origin).with_name("version.py").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return re.search(r"^cuda\b[^=\n]*= None$", said, re.MULTILINE) is not None


def missing(asked: str, found: Iterable[str]) -> BenchError:
    """For a device that is not here: which there are, and whether the installed torch could see any GPU."""
    why = (
        " The installed torch is a build for CPUs, which sees no GPU: install the one for your GPU from "
        "https://pytorch.org/get-started/locally."
        if torch_is_for_cpus()
        else ""
    )
    return BenchError(f"There is no device {asked!r} here; there are {', '.join(['cpu', *found])}.{why}")


def cpu_has_bfloat16() -> bool:
    """Whether the CPU multiplies in bfloat16 (AVX-512 BF16, AMX, or Arm's BF16)."""
    flags = next(
        (
            set(line.split(":", 1)[1].split())
            for line in _lines(PROC / "cpuinfo")
            if line.startswith(("flags", "Features"))
        ),
        set(),
    )
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


def free_memory() -> int:
    """Bytes that new processes may use, as the system estimates; the limits of the process's cgroups count."""
    import psutil

    return max(0, min([psutil.virtual_memory().available, *_memory_left()]))


def _memory_left() -> Iterator[int]:
    for folder in _own_cgroups("memory"):
        for limit, used in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            numbers = [*_words(folder / limit), *_words(folder / used)]
            if len(numbers) == 2 and all(number.isdecimal() for number in numbers):
                yield int(numbers[0]) - int(numbers[1])


def oom_kills() -> int:
    """How many processes the kernel has killed for want of memory, in this process's cgroup or on this machine."""
    names = ("memory.events", "memory.oom_control")
    events = [folder / name for folder in _own_cgroups("memory") for name in names]
    for path in (*events, PROC / "vmstat"):
        for line in _lines(path):
            key, _, value = line.partition(" ")
            if key == "oom_kill" and value.isdecimal():
                return int(value)
    return 0


def cpu_jobs(step_voxels: int, runs: int, *, threads: int = 1) -> int:
    """How many runs to execute at once on the CPU, of which each computes with so many threads.

    `step_voxels`: voxels of one batch of patches. A v3 step at 4 x 96^3 takes 3 GB; the rest is the libraries and the
    patch queue.
    """
    bytes_per_run = 0.5e9 + 900 * step_voxels
    return max(1, min(runs, cores() // threads, int(0.8 * free_memory() / bytes_per_run)))


def slots(devices: list[str], *, per_device: int, threads: int = 1) -> list[Slot]:
    """`per_device` places on each device; devices take turns.

    On the CPU each has its run's `threads`, however many places there are; beside a GPU an equal share of the cores.
    """
    places = [device for _ in range(per_device) for device in devices]
    share = max(1, cores() // len(places))
    return [Slot(device, threads if device == "cpu" else share) for device in places]
