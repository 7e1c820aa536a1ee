"""Where runs are executed: devices, and how many runs at a time on each."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from benchmark.config import RunConfig
from benchmark.execution.pool import Pool
from benchmark.execution.worker import cuda_devices
from benchmark.processes import devices
from benchmark.processes.devices import Slot
from benchmark.vocabulary import BenchError


def chosen_devices(pool: Pool, asked: Sequence[str] | None, jobs: int | None) -> tuple[list[str], bool]:
    """The devices to run on, and whether all of them compute in bfloat16."""
    names = list(asked or ())
    if not names and jobs is not None and devices.cuda_is_likely():
        raise BenchError("--jobs is for the CPU: add --devices cpu, or say --jobs-per-device for the GPUs.")
    if names == ["cpu"] or (not names and not devices.cuda_is_likely()):
        return ["cpu"], devices.cpu_has_bfloat16()
    found = {device["name"]: bool(device["bfloat16"]) for device in pool.call(cuda_devices, None)}
    if not names:
        names = list(found) or ["cpu"]
    if unknown := [name for name in names if name not in found and name != "cpu"]:
        raise devices.missing(unknown[0], found)
    bfloat16 = all(found.get(name, devices.cpu_has_bfloat16()) for name in names)
    return list(dict.fromkeys(names)), bfloat16


def places_for(
    names: Sequence[str], configs: Sequence[RunConfig], jobs: int | None, jobs_per_device: int
) -> list[Slot]:
    """How many of the runs with these configurations each device takes at a time."""
    if list(names) != ["cpu"]:
        if jobs is not None:
            raise BenchError("--jobs is for the CPU; on GPUs say --jobs-per-device.")
        return devices.slots(list(names), per_device=jobs_per_device)
    if jobs_per_device != 1:
        raise BenchError("--jobs-per-device is for GPUs; on the CPU say --jobs.")
    largest = max(config.training.batch_size * prod(config.training.patch_size) for config in configs)
    runs = len({config.canonical_json() for config in configs})
    threads = max(config.threads for config in configs)
    return devices.slots(
        ["cpu"], per_device=jobs or devices.cpu_jobs(largest, runs, threads=threads), threads=threads
    )
