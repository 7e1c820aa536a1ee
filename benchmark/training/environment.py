"""Seeds, versions, commit and device: what a number depends on besides its configuration."""

from __future__ import annotations

import ctypes
import os
import platform
import re
from pathlib import Path
from typing import Any

import torch

from benchmark.processes.devices import missing
from benchmark.processes.versions import git_commit, version_of
from benchmark.vocabulary import BenchError

PACKAGES = ("torch", "monai", "numpy", "scipy", "nibabel", "connected-components-3d", "mirror-bench")


def facts(device: torch.device, *, threads: int) -> dict[str, Any]:
    """Versions, hardware and commit, for `run.json`."""
    content: dict[str, Any] = {
        "python": platform.python_version(),
        "versions": {name: version_of(name) for name in PACKAGES},
        "git_commit": git_commit(),
        "host": platform.node(),
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "threads": threads,
        "device": str(device),
    }
    if device.type == "cuda":
        content["gpu"] = torch.cuda.get_device_name(device)
        content["cuda"] = torch.version.cuda
        content["cudnn"] = torch.backends.cudnn.version()
    return content


def library_warnings(
    device: torch.device,
    precision: str,
    *,
    torch_version: str = torch.__version__,
    cudnn_version: int | None = None,
) -> tuple[str, ...]:
    """What is known to be wrong with the installed libraries, as far as it concerns runs on this device.

    `cudnn_version` as torch tells it, e.g. 91002 for 9.10.2; None: that of the installed torch. Sources: the issues
    166122, 166643 and 163539 of PyTorch.
    """
    if device.type != "cuda" or precision == "float32":
        return ()
    cudnn = torch.backends.cudnn.version() or 0 if cudnn_version is None else cudnn_version
    named = ".".join(map(str, (cudnn // 10000, cudnn // 100 % 100, cudnn % 100)))
    release = [int(number) for number in re.findall(r"\d+", torch_version)[:3]]
    if release[:2] == [2, 9] and (release == [2, 9, 0] or cudnn < 91500):
        return (
            f"torch {torch_version} with cuDNN {named} computes 3-D convolutions in {precision} without cuDNN: about "
            "four times slower, and with several times the memory. Install torch 2.10 or newer.",
        )
    if precision == "bfloat16" and 90800 <= cudnn < 91300 and release < [2, 9]:
        return (
            f"cuDNN {named} computes wrong 3-D convolutions in bfloat16 where shapes are large, without a word. "
            "Install torch 2.10 or newer, or set precision: float32.",
        )
    return ()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )


def keep_freed_memory() -> None:
    """Let glibc keep what is freed instead of giving it back to the system after every step.

    A training step allocates the same gigabytes again and again; fetching them again, page by page, takes a tenth of
    the step. Other C libraries are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and platform.libc_ver()[0] == "glibc":
        m_trim_threshold, m_mmap_max = -1, -4
        mallopt(m_mmap_max, 0)
        mallopt(m_trim_threshold, -1)


def device_named(name: str) -> torch.device:
    """BenchError for a device that torch does not have here."""
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    found = [f"cuda:{index}" for index in range(n_gpus)]
    if name not in ("cpu", *(["cuda", *found] if found else [])):
        raise missing(name, found)
    return torch.device(name)


def set_up(device: torch.device, *, threads: int, deterministic: bool) -> None:
    """Threads, determinism and device of this process."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    if deterministic:
        # cuBLAS is deterministic only with a workspace of fixed size.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Some CUDA kernels (3-D pooling, interpolation) have no deterministic version: warned about, not refused.
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    # Filling every new tensor with NaN would show uses of uninitialised memory, at a tenth of a step's time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = not deterministic
    if device.type == "cuda":
        if not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count():
            raise BenchError(
                f"There is no device {device}; torch sees {torch.cuda.device_count()} CUDA devices."
            )
        torch.cuda.set_device(device)
        torch.set_float32_matmul_precision("high")


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory of this process so far, in MiB: allocated on the GPU, or resident on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def step_seed(seed: int, step: int) -> int:
    """The seed of everything random inside one optimiser step: a hash of both, as 63 bits."""
    import numpy as np

    words = np.random.SeedSequence([seed, 2, step]).generate_state(2)
    return (int(words[0]) << 31) ^ int(words[1])
