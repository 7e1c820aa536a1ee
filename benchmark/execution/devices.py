"""What this machine offers to runs. Needs no torch and never initialises CUDA."""

from __future__ import annotations

import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Slot:
    """Room for one run at a time."""

    device: str
    threads: int


def cores() -> int:
    """The cores this process may use: its affinity, cut to the container's quota."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(affinity, int(quota) // int(period)))
    except (OSError, ValueError):
        return affinity


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


def cpu_has_bfloat16() -> bool:
    """Whether the CPU multiplies in bfloat16 (AVX-512 BF16, AMX, or Arm's BF16)."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return False
    flags = next(
        (set(line.split(":", 1)[1].split()) for line in lines if line.startswith(("flags", "Features"))),
        set(),
    )
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


def free_memory() -> int:
    """Bytes that new processes may use, as the system estimates; the container's limit counts."""
    import psutil

    available = psutil.virtual_memory().available
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        return max(0, min(available, limit - used))
    except (OSError, ValueError):
        return available


def oom_kills() -> int:
    """How many processes the kernel has killed for want of memory, on this machine, since it started."""
    for path in ("/sys/fs/cgroup/memory.events", "/proc/vmstat"):
        try:
            for line in Path(path).read_text().splitlines():
                key, _, value = line.partition(" ")
                if key == "oom_kill":
                    return int(value)
        except (OSError, ValueError):
            continue
    return 0


def cpu_jobs(step_voxels: int, runs: int) -> int:
    """How many runs to execute at once on the CPU. `step_voxels`: voxels of one batch of patches.

    One core a run while the patches are small, since a single thread wastes nothing; four for large ones,
    which scale well. A v3 step at 4 x 96^3 takes 3 GB; the rest is the libraries and the patch queue.
    """
    bytes_per_run = 0.5e9 + 900 * step_voxels
    cores_per_run = 1 if step_voxels <= 4 * 48**3 else 4
    return max(1, min(runs, cores() // cores_per_run, int(0.8 * free_memory() / bytes_per_run)))


def slots(devices: list[str], *, per_device: int) -> list[Slot]:
    """`per_device` places on each device, with an equal share of the cores each; devices take turns."""
    places = [device for _ in range(per_device) for device in devices]
    return [Slot(device, max(1, cores() // len(places))) for device in places]
